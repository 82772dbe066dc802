"""Registered models of another tool brought here, version by version, by the API that everybody has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...client.base import ApiError, Client, build_path, expect_our_api
from .report import Moved

if TYPE_CHECKING:
    from ...importers.mlflow_registry import ModelPlan, VersionPlan

#: What is wrong with the one model; another may be fine.
_OF_THE_MODEL = (400, 404, 409)


def import_model(client: Client, wanted: ModelPlan, moved: Moved) -> None:
    """Make a model what it is to be; what of it is here already, and the same, stays. Raises ApiError, Unreachable.

    Versions keep their numbers: where one was deleted in the other store, its number is given and taken back here.
    """
    for text in wanted.omissions:
        moved.leave_out(f"model {wanted.name}", text)
    try:
        with expect_our_api(client):
            _import(client, wanted, moved)
    except ApiError as fault:
        if fault.status not in _OF_THE_MODEL:
            raise
        moved.fail(f"model {wanted.name}", fault)


def _import(client: Client, wanted: ModelPlan, moved: Moved) -> None:
    said = {"tags": wanted.tags, **({} if wanted.description is None else {"description": wanted.description})}
    client.post(build_path("api", "w", "models", wanted.name), said)
    here = _versions(client, wanted.name)
    before = dict(here)
    for version in wanted.versions:
        mine = here.get(version.number)
        if mine is None:
            _refuse_taken(version, here)
            here = _register(client, wanted.name, version, here)
        elif (mine["run_id"], mine["artifact"]) != (version.run_id, version.artifact):
            raise ApiError(
                409,
                "conflict",
                f"version {version.number} is another one here: {mine['artifact']} of {mine['run_id']}",
                {},
            )
        _describe(client, wanted.name, version)
    # What leaves production does so before another one comes: the version that is archived by that is told here.
    for version in sorted(wanted.versions, key=lambda version: version.stage == "production"):
        if _versions(client, wanted.name)[version.number]["stage"] != version.stage:
            body = {"version": version.number, "stage": version.stage}
            client.post(build_path("api", "w", "models", wanted.name, "promote"), body)
    for alias, number in wanted.aliases.items():
        client.post(build_path("api", "w", "models", wanted.name, "aliases"), {"alias": alias, "version": number})
    after = _versions(client, wanted.name)
    for version in wanted.versions:
        mine = before.get(version.number)
        kind = "imported" if mine is None else "unchanged" if mine == after[version.number] else "updated"
        moved.note_model(kind, f"{wanted.name} {version.number}")


def _versions(client: Client, name: str) -> dict[int, dict[str, Any]]:
    """The versions of a model that are here, by number."""
    return {each["version"]: each for each in client.get(build_path("api", "models", name))["versions"]}


def _refuse_taken(version: VersionPlan, here: dict[int, Any]) -> None:
    if here and max(here) > version.number:
        raise ApiError(
            409, "conflict", f"version {version.number} can't be made here: there is version {max(here)}", {}
        )


def _contradicts(detail: str) -> ApiError:
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
        raise _contradicts(f"version {version.number} can't be made here: its number was given before")
    return _versions(client, name)


def _describe(client: Client, name: str, version: VersionPlan) -> None:
    said = {"tags": version.tags, **({} if version.description is None else {"description": version.description})}
    client.post(build_path("api", "w", "models", name, "versions", str(version.number)), said)
