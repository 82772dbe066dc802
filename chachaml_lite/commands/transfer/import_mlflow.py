"""`chachaml-lite import --from mlflow`: experiments, runs and models that MLflow's clients have logged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...client.base import ApiError, Client, Unreachable, build_path, expect_our_api
from ...client.push import NotPushed
from ...machine.secrets import strip_user_info
from ..errors import FAILED, UNREACHABLE, USAGE, CommandError
from ..printing import announce
from ..targets import Target
from .export import interruptible
from .import_foreign import import_run, progress
from .import_models import import_model
from .report import KINDS, Moved

if TYPE_CHECKING:
    from ...importers.mlflow_runs import Names
    from ...importers.mlflow_source import MlflowSource

#: Of the events of a run that is there already.
_LINES = "logged_models"


def import_mlflow(target: Target, uri: str, experiment: str | None, *, overwrite: bool, as_json: bool) -> None:
    """Import what is at a tracking URI, and end the process with the exit code that it means."""
    moved = Moved("id")
    moved.models = {kind: [] for kind in KINDS}
    with interruptible():
        source = _open(uri)  # before the target, whose folder would be made
        with target.opened(writes=True) as client:
            announce(f"importing {strip_user_info(uri)} into {client.url}", as_json=as_json)
            try:
                with _told():
                    _Import(source, client, moved, overwrite=overwrite).run(experiment)
            except CommandError:
                moved.show(as_json=as_json)
                raise
            except ApiError as fault:
                moved.show(as_json=as_json)
                raise CommandError(str(fault), USAGE if fault.status < 500 else UNREACHABLE) from fault
            except Unreachable:
                moved.show(as_json=as_json)
                raise
    moved.end(as_json=as_json)


@contextmanager
def _told() -> Iterator[None]:
    """Within it what is wrong with the source ends the command. Raises CommandError."""
    from ...importers.mlflow_source import Failed, NotInstalled, SourceMissing, SourceUnreachable

    try:
        yield
    except (NotInstalled, SourceMissing) as fault:
        raise CommandError(str(fault), USAGE) from fault
    except SourceUnreachable as fault:
        raise CommandError(str(fault), UNREACHABLE) from fault
    except Failed as fault:
        raise CommandError(f"MLflow doesn't say what there is: {fault}", FAILED) from fault


def _open(uri: str) -> MlflowSource:
    from ...importers.mlflow_source import MlflowSource

    with _told():
        return MlflowSource(uri)


class _Import:
    """One import: what is there is listed first, so that ids are known before the runs that speak of them."""

    def __init__(self, source: MlflowSource, client: Client, moved: Moved, *, overwrite: bool) -> None:
        from ...importers.mlflow_runs import Names

        self._source = source
        self._client = client
        self._moved = moved
        self._overwrite = overwrite
        self._names: Names = Names()
        #: The logged models of each run, by its old id.
        self._models: dict[str, list[Any]] = {}
        #: The names of the artifacts of each run that is here now.
        self._artifacts: dict[str, frozenset[str]] = {}

    def run(self, experiment: str | None) -> None:
        """Import an experiment, or all of them. Raises NotThere, NoAnswer, ApiError, Unreachable."""
        from ...importers.mlflow_runs import holder_id_of, run_id_of

        found = self._source.experiments(experiment)
        todo: list[tuple[str, Any, Any]] = []
        for each in found:
            runs = self._source.runs(each.experiment_id)
            self._names.runs |= {run.info.run_id: run_id_of(run) for run in runs}
            todo += [(each.name, run, None) for run in runs]
            here = {run.info.run_id for run in runs}
            for model in self._source.logged_models(each.experiment_id):
                if model.source_run_id in here:
                    self._models.setdefault(model.source_run_id, []).append(model)
                else:  # no run has logged it, or one that was deleted
                    self._names.runs[model.model_id] = holder_id_of(model)
                    todo.append((each.name, None, model))
            if runs or each.tags or each.name != "Default":
                self._describe(each)
        with progress(len(todo), iter(todo), lambda item: item[1].info.run_name if item[1] else item[2].name) as items:
            for name, run, model in items:
                self._import_one(name, run, model)
        self._import_models(only_known=experiment is not None)

    def _describe(self, experiment: Any) -> None:
        """Make an experiment, with its tags and its description."""
        from ...importers.mlflow_runs import describe_experiment

        try:
            self._client.post(build_path("api", "w", "experiments", experiment.name), describe_experiment(experiment))
        except ApiError as fault:
            if fault.status != 400:
                raise
            self._moved.fail(experiment.name, fault)

    def _import_one(self, experiment: str, run: Any, model: Any) -> None:
        """Import a run with its models, or the run that holds a model; what fails is named, and the next one comes."""
        from ...importers import mlflow_runs
        from ...importers.mlflow_source import Failed

        run_id = mlflow_runs.holder_id_of(model) if run is None else mlflow_runs.run_id_of(run)
        held = self._models.get(run.info.run_id, []) if run else [model]
        try:
            if run is None:
                made = mlflow_runs.create_holder(model, experiment)
            else:
                run = self._source.run(run.info.run_id)
                made = mlflow_runs.read_run(run, experiment, self._names)
                for key in run.data.metrics:
                    made.add_points(key, self._source.points(run.info.run_id, key))
            with _files(self._source, run, held) as files:
                at = made.meta["end_time"] or made.meta["start_time"]
                for name, path in files[0].items():
                    made.add_file(name, path, at)
                if held:
                    mlflow_runs.name_models(made, held, self._known_events(made.id), self._names)
                for each, of_model in zip(held, files[1:], strict=True):
                    for name, path in of_model.items():
                        made.add_file(f"{self._names.models[each.model_id][2]}/{name}", path, at)
                    mlflow_runs.add_model(made, each, self._names)
                if run is not None:
                    mlflow_runs.add_links(made, run, self._names)
                import_run(self._client, made, self._moved, overwrite=self._overwrite)
        except Failed as fault:
            self._moved.fail(run_id, _not_read(str(fault)))
        except OSError as fault:
            self._moved.fail(run_id, _not_read(f"a file of it can't be read: {fault.strerror}"))
        else:
            self._artifacts[made.id] = frozenset(made.artifacts)

    def _known_events(self, run_id: str) -> list[dict[str, Any]]:
        """Return the events of a run's logged models that are known here."""
        path = build_path("api", "runs", run_id, "manifest")
        try:
            with expect_our_api(self._client):
                return list(self._client.get(path).get(_LINES, []))
        except ApiError as fault:
            if fault.status != 404:
                raise
            return []

    def _import_models(self, *, only_known: bool) -> None:
        """Import the registered models, once the runs behind them are here."""
        from ...importers.mlflow_registry import is_prompt, translate_model
        from ...importers.mlflow_source import Failed

        try:
            models = self._source.registered_models()
        except Failed as fault:
            self._moved.fail("registered models", _not_read(str(fault)))
            return
        for model in models:
            if is_prompt(model):
                continue
            try:
                versions = self._source.model_versions(model.name)
            except Failed as fault:
                self._moved.fail(f"model {model.name}", _not_read(str(fault)))
                continue
            wanted = translate_model(model, versions, self._names, self._artifacts, only_known=only_known)
            if wanted.versions or not only_known:
                import_model(self._client, wanted, self._moved)


@contextmanager
def _files(source: MlflowSource, run: Any, models: list[Any]) -> Iterator[list[dict[str, Path]]]:
    """The files of a run and of each of its models by their names. Raises NoAnswer, Failed."""
    with ExitStack() as held:
        uris = ["" if run is None else run.info.artifact_uri, *(model.artifact_location for model in models)]
        yield [held.enter_context(source.files(uri)) if uri else {} for uri in uris]


def _not_read(why: str) -> NotPushed:
    return NotPushed("not read", why)
