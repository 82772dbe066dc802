"""`chachaml-lite import --from mlflow`: experiments, runs and models logged by MLflow's clients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...client.base import ApiError, Client, build_path, expect_our_api
from ...client.push import NotPushed
from ...machine.secrets import strip_user_info
from ..errors import FAILED, UNREACHABLE, USAGE, CommandError
from ..printing import announce
from ..targets import Target
from .export import interruptible
from .import_foreign import import_run, progress
from .import_models import import_model
from .report import KINDS, TransferReport

if TYPE_CHECKING:
    from ...importers.mlflow_runs import Names
    from ...importers.mlflow_source import MlflowSource

#: The key of the events in a run's manifest.
_LINES = "logged_models"


def import_mlflow(target: Target, uri: str, experiment: str | None, *, overwrite: bool, as_json: bool) -> None:
    """Import the content of a tracking URI, and end the process with an exit code."""
    report = TransferReport("id")
    report.models = {kind: [] for kind in KINDS}
    with interruptible():
        source = _open(uri)  # before the target, whose folder would be created
        with target.open_client(writes=True) as client:
            announce(f"importing {strip_user_info(uri)} into {client.url}", as_json=as_json)
            with report.printing_before_errors(as_json=as_json), _report_source_errors():
                _Import(source, client, report, overwrite=overwrite).run(experiment)
    report.end(as_json=as_json)


@contextmanager
def _report_source_errors() -> Iterator[None]:
    """Convert errors of the source within a with block. Raises CommandError."""
    from ...importers.mlflow_source import Failed, NotInstalled, SourceMissing, SourceUnreachable

    try:
        yield
    except (NotInstalled, SourceMissing) as fault:
        raise CommandError(str(fault), USAGE) from fault
    except SourceUnreachable as fault:
        raise CommandError(str(fault), UNREACHABLE) from fault
    except Failed as fault:
        raise CommandError(f"MLflow's content can't be listed: {fault}", FAILED) from fault


def _open(uri: str) -> MlflowSource:
    from ...importers.mlflow_source import MlflowSource

    with _report_source_errors():
        return MlflowSource(uri)


class _Import:
    """One import: everything is listed first, so that ids are known before the runs that refer to them."""

    def __init__(self, source: MlflowSource, client: Client, report: TransferReport, *, overwrite: bool) -> None:
        from ...importers.mlflow_runs import Names

        self._source = source
        self._client = client
        self._report = report
        self._overwrite = overwrite
        self._names: Names = Names()
        #: The logged models by the old ids of their runs.
        self._models: dict[str, list[Any]] = {}
        #: The artifact names of each imported run.
        self._artifacts: dict[str, frozenset[str]] = {}

    def run(self, experiment: str | None) -> None:
        """Import an experiment, or all of them.

        Raises SourceMissing, SourceUnreachable, ApiError, Unreachable.
        """
        from ...importers.mlflow_runs import holder_id_of, run_id_of

        experiments = self._source.experiments(experiment)
        items_to_import: list[tuple[str, Any, Any]] = []
        for each in experiments:
            runs = self._source.runs(each.experiment_id)
            self._names.runs |= {run.info.run_id: run_id_of(run) for run in runs}
            items_to_import += [(each.name, run, None) for run in runs]
            run_ids = {run.info.run_id for run in runs}
            for model in self._source.logged_models(each.experiment_id):
                if model.source_run_id in run_ids:
                    self._models.setdefault(model.source_run_id, []).append(model)
                else:  # logged by no run, or by a deleted one
                    self._names.runs[model.model_id] = holder_id_of(model)
                    items_to_import.append((each.name, None, model))
            if runs or each.tags or each.name != "Default":
                self._describe(each)
        with progress(
            len(items_to_import), iter(items_to_import), lambda item: item[1].info.run_name if item[1] else item[2].name
        ) as items:
            for name, run, model in items:
                self._import_one(name, run, model)
        self._import_models(only_known=experiment is not None)

    def _describe(self, experiment: Any) -> None:
        """Create an experiment with its tags and description."""
        from ...importers.mlflow_runs import describe_experiment

        try:
            self._client.post(build_path("api", "w", "experiments", experiment.name), describe_experiment(experiment))
        except ApiError as fault:
            if fault.status != 400:
                raise
            self._report.add_failure(experiment.name, fault)

    def _import_one(self, experiment: str, run: Any, model: Any) -> None:
        """Import a run with its models, or create a run to hold a model. Failures are added to the report."""
        from ...importers import mlflow_runs
        from ...importers.mlflow_source import Failed

        run_id = mlflow_runs.holder_id_of(model) if run is None else mlflow_runs.run_id_of(run)
        models = self._models.get(run.info.run_id, []) if run else [model]
        try:
            if run is None:
                foreign_run = mlflow_runs.create_holder(model, experiment)
            else:
                run = self._source.run(run.info.run_id)
                foreign_run = mlflow_runs.read_run(run, experiment, self._names)
                for key in run.data.metrics:
                    foreign_run.add_points(key, self._source.points(run.info.run_id, key))
            with _files(self._source, run, models) as files:
                at = foreign_run.meta["end_time"] or foreign_run.meta["start_time"]
                for name, path in files[0].items():
                    foreign_run.add_file(name, path, at)
                if models:
                    mlflow_runs.name_models(foreign_run, models, self._known_events(foreign_run.id), self._names)
                for each, model_files in zip(models, files[1:], strict=True):
                    for name, path in model_files.items():
                        foreign_run.add_file(f"{self._names.models[each.model_id][2]}/{name}", path, at)
                    mlflow_runs.add_model(foreign_run, each, self._names)
                if run is not None:
                    mlflow_runs.add_links(foreign_run, run, self._names)
                import_run(self._client, foreign_run, self._report, overwrite=self._overwrite)
        except Failed as fault:
            self._report.add_failure(run_id, _read_error(str(fault)))
        except OSError as fault:
            self._report.add_failure(run_id, _read_error(f"one of its files can't be read: {fault.strerror}"))
        else:
            self._artifacts[foreign_run.id] = frozenset(foreign_run.artifacts)

    def _known_events(self, run_id: str) -> list[dict[str, Any]]:
        """Return the events of a run's logged models that the target has."""
        path = build_path("api", "runs", run_id, "manifest")
        try:
            with expect_our_api(self._client):
                return list(self._client.get(path).get(_LINES, []))
        except ApiError as fault:
            if fault.status != 404:
                raise
            return []

    def _import_models(self, *, only_known: bool) -> None:
        """Import the registered models, once their runs have been imported."""
        from ...importers.mlflow_registry import is_prompt, translate_model
        from ...importers.mlflow_source import Failed

        try:
            models = self._source.registered_models()
        except Failed as fault:
            self._report.add_failure("registered models", _read_error(str(fault)))
            return
        for model in models:
            if is_prompt(model):
                continue
            try:
                versions = self._source.model_versions(model.name)
            except Failed as fault:
                self._report.add_failure(f"model {model.name}", _read_error(str(fault)))
                continue
            plan = translate_model(model, versions, self._names, self._artifacts, only_known=only_known)
            if plan.versions or not only_known:
                import_model(self._client, plan, self._report)


@contextmanager
def _files(source: MlflowSource, run: Any, models: list[Any]) -> Iterator[list[dict[str, Path]]]:
    """Provide the files of a run and of each of its models by name. Raises SourceUnreachable, Failed."""
    with ExitStack() as stack:
        uris = ["" if run is None else run.info.artifact_uri, *(model.artifact_location for model in models)]
        yield [stack.enter_context(source.files(uri)) if uri else {} for uri in uris]


def _read_error(reason: str) -> NotPushed:
    return NotPushed("not read", reason)
