"""Import of another tool's registered models, version by version, through the public API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...client.base import ApiError, Client, build_path, expect_our_api
from .report import TransferReport

if TYPE_CHECKING:
    from ...importers.mlflow_registry import ModelPlan, VersionPlan

#: Statuses of errors that concern a single model.
_OF_THE_MODEL = (400, 404, 409)


def import_model(client: Client, plan: ModelPlan, report: TransferReport) -> None:
    """Create or update a model. Raises ApiError, Unreachable.

    Versions keep their numbers: for a version that was deleted in the other store, one is created and deleted here.
    """
    for text in plan.omissions:
        report.add_omission(f"model {plan.name}", text)
    try:
        with expect_our_api(client):
            _import(client, plan, report)
    except ApiError as fault:
        if fault.status not in _OF_THE_MODEL:
            raise
        report.add_failure(f"model {plan.name}", fault)


def _import(client: Client, plan: ModelPlan, report: TransferReport) -> None:
    fields = {"tags": plan.tags, **({} if plan.description is None else {"description": plan.description})}
    client.post(build_path("api", "w", "models", plan.name), fields)
    here = _versions(client, plan.name)
    before = dict(here)
    for version in plan.versions:
        existing = here.get(version.number)
        if existing is None:
            _check_number(version, here)
            here = _register(client, plan.name, version, here)
        elif (existing["run_id"], existing["artifact"]) != (version.run_id, version.artifact):
            raise ApiError(
                409,
                "conflict",
                f"version {version.number} already exists, with {existing['artifact']} of {existing['run_id']}",
                {},
            )
        _describe(client, plan.name, version)
    # Versions that leave production do so first, so that promoting another one doesn't archive them.
    for version in sorted(plan.versions, key=lambda version: version.stage == "production"):
        if _versions(client, plan.name)[version.number]["stage"] != version.stage:
            body = {"version": version.number, "stage": version.stage}
            client.post(build_path("api", "w", "models", plan.name, "promote"), body)
    for alias, number in plan.aliases.items():
        client.post(build_path("api", "w", "models", plan.name, "aliases"), {"alias": alias, "version": number})
    after = _versions(client, plan.name)
    for version in plan.versions:
        existing = before.get(version.number)
        kind = "imported" if existing is None else "unchanged" if existing == after[version.number] else "updated"
        report.add_model(kind, f"{plan.name} {version.number}")


def _versions(client: Client, name: str) -> dict[int, dict[str, Any]]:
    """Return the target's versions of a model by number."""
    return {each["version"]: each for each in client.get(build_path("api", "models", name))["versions"]}


def _check_number(version: VersionPlan, here: dict[int, Any]) -> None:
    if here and max(here) > version.number:
        raise ApiError(
            409, "conflict", f"version {version.number} can't be created: version {max(here)} already exists", {}
        )


def _conflict(detail: str) -> ApiError:
    return ApiError(409, "conflict", detail, {})


def _register(client: Client, name: str, version: VersionPlan, here: dict[int, Any]) -> dict[int, Any]:
    body = {"name": name, "run_id": version.run_id, "artifact": version.artifact}
    while True:
        number = client.post("/api/w/models", body)["version"]
        if number >= version.number:
            break
        client.ask("DELETE", build_path("api", "w", "models", name, "versions", str(number))).content()
    if number > version.number:
        client.ask("DELETE", build_path("api", "w", "models", name, "versions", str(number))).content()
        raise _conflict(f"version {version.number} can't be created: its number was already used")
    return _versions(client, name)


def _describe(client: Client, name: str, version: VersionPlan) -> None:
    fields = {"tags": version.tags, **({} if version.description is None else {"description": version.description})}
    client.post(build_path("api", "w", "models", name, "versions", str(version.number)), fields)
