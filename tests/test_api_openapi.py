"""GET /api/openapi.json: valid OpenAPI 3.1 that describes every route and every answer."""

from __future__ import annotations

import copy
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry
from referencing.jsonschema import DRAFT202012
from schemathesis import GenerationMode, checks
from schemathesis.specs.openapi import checks as openapi_checks
from support.routes import native_rules
from support.zips import build_zip, run_files
from werkzeug.test import TestResponse

import chachaml_lite

LogRun = Callable[..., str]
METHODS = ("get", "post", "put", "patch", "delete")


@pytest.fixture
def document(client: FlaskClient) -> dict[str, Any]:
    answer = client.get("/api/openapi.json")
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    content: dict[str, Any] = answer.get_json()
    return content


def iterate_operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield method, path, item[method]


def test_document_is_valid_and_of_this_version(document: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"].startswith("3.1.")
    assert document["info"]["version"] == chachaml_lite.__version__


def test_every_route_of_the_api_is_described_and_every_description_is_a_route(
    document: dict[str, Any], client: FlaskClient
) -> None:
    routes = {
        (method.lower(), re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in native_rules(client.application)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule.startswith("/api")
    }
    assert {(method, path) for method, path, _ in iterate_operations(document)} == routes


def test_every_operation_has_a_name_and_each_schema_is_used(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in iterate_operations(document)]
    assert len(names) == len(set(names))
    text = json.dumps(document)
    for kind in ("schemas", "parameters", "responses"):
        for name in document["components"][kind]:
            assert f'"#/components/{kind}/{name}"' in text, name


def test_query_parameters_are_exactly_those_of_the_document(document: dict[str, Any], client: FlaskClient) -> None:
    """An unknown parameter is a 400 whose detail lists the known ones; they are those of the document."""
    for method, path, operation in iterate_operations(document):
        url = re.sub(r"{\w+}", "x", path)
        answer = client.open(url, method=method.upper(), query_string={"no-such-parameter": "1"})
        assert answer.status_code == 400, (method, path)
        assert "unknown query parameter" in answer.get_json()["detail"]
        accepted_names = answer.get_json()["detail"].rpartition("takes ")[2].split(", ")
        parameters = [resolve(document, parameter) for parameter in operation.get("parameters", ())]
        names = {parameter["name"] for parameter in parameters if parameter["in"] == "query"}
        assert {name for name in accepted_names if name not in ("none", "tag.KEY", "param.KEY")} == names, path


def resolve(document: dict[str, Any], node: Any) -> Any:
    """Return a node of the document, with its reference followed."""
    while "$ref" in node:
        value: Any = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            value = value[part]
        node = value
    return node


# -- real answers against the schemas


def close_schemas(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document with every schema of an answer closed: objects have the named properties and no others."""
    document = copy.deepcopy(document)

    def close(schema: Any) -> None:
        if isinstance(schema, list):
            for each in schema:
                close(each)
        elif isinstance(schema, dict):
            for each in schema.values():
                close(each)
            if "properties" in schema and "additionalProperties" not in schema:
                schema["additionalProperties"] = False

    def close_combination(schema: dict[str, Any]) -> None:
        """Close a schema that combines others, none of which can know the properties of the rest."""
        schema["unevaluatedProperties"] = False

    for name, schema in document["components"]["schemas"].items():
        if "allOf" in schema:
            close_combination(schema)
        elif not name.endswith("Fields"):
            close(schema)
    return document


class Conformance:
    """A client that validates each answer against the document."""

    def __init__(self, client: FlaskClient, document: dict[str, Any]) -> None:
        self.client = client
        self.document = close_schemas(document)
        self.registry = Registry().with_resource("urn:api", DRAFT202012.create_resource(self.document))
        #: operation, status and media type of each answer so far
        self.responses: set[tuple[str, int, str]] = set()

    def __call__(self, name: str, status: int = 200, /, **parts: Any) -> TestResponse:
        """Call an operation by its operationId. `parts`: path parameters by name, and arguments of the test client."""
        method, path, operation = next(
            entry for entry in iterate_operations(self.document) if entry[2]["operationId"] == name
        )
        for parameter in re.findall(r"{(\w+)}", path):
            path = path.replace(f"{{{parameter}}}", str(parts.pop(parameter)))
        answer: TestResponse = self.client.open(path, method=method.upper(), **parts)
        assert answer.status_code == status, answer.text
        assert str(status) in operation["responses"], f"{name} does not say that it answers {status}"
        description = resolve(self.document, operation["responses"][str(status)])
        for header in description.get("headers", {}):
            if header != "Link":
                assert header in answer.headers, (name, status, header)
        content = description.get("content", {})
        if status == 304:
            assert not content and not answer.data
            self.responses.add((name, status, ""))
            return answer
        mimetype = answer.mimetype or ""
        media_type = mimetype if mimetype in content else "*/*"
        assert media_type in content, (name, mimetype)
        self.responses.add((name, status, media_type))
        if media_type == "application/json":
            schema = self._absolute(content[media_type]["schema"])
            Draft202012Validator(schema, registry=self.registry).validate(answer.get_json())
        return answer

    def _absolute(self, schema: Any) -> Any:
        text = json.dumps(schema).replace('"#/components/', '"urn:api#/components/')
        return json.loads(text)

    def find_uncovered(self) -> set[tuple[str, int, str]]:
        """Return the documented successful responses that no call has covered."""
        documented = set()
        for _, _, operation in iterate_operations(self.document):
            for status, response in operation["responses"].items():
                if status in ("200", "206", "304", "422"):
                    kinds = resolve(self.document, response).get("content") or {"": None}
                    documented |= {(operation["operationId"], int(status), kind) for kind in kinds}
        return documented - self.responses


@pytest.fixture
def call(client: FlaskClient, document: dict[str, Any]) -> Conformance:
    return Conformance(client, document)


def test_real_answers_of_every_operation_are_as_described(call: Conformance) -> None:
    body = {"experiment": "iris", "name": "first", "tags": {"a": "b", "n": 1, "t": True}, "id": "one"}
    call("createRun", json=body)
    call("createRun", json={"experiment": "iris", "parent_run_id": "one", "created_by": "me"})
    call("createRun", json={"experiment": "iris", "id": "two"}, query_string={"format": "id"})
    call("setParams", run_id="one", json={"lr": 0.1, "layers": [1], "none": None})
    call("setParams", run_id="two", json={"lr": 0.2})
    call("logMetrics", run_id="one", json=[{"loss": 0.5, "step": step} for step in range(3)])
    call("logMetrics", run_id="one", json={"metrics": {"odd": "NaN"}, "step": 1, "timestamp": 5})
    call("logMetrics", run_id="two", data='{"loss":.4}\n', content_type="application/x-ndjson")
    call("createRun", json={"experiment": "iris", "id": "three"})
    for run_id in ("one", "two"):
        call("storeArtifact", run_id=run_id, query_string={"name": "m"}, data=b"bytes", content_type=OCTETS)
    call("setTags", run_id="one", json={"c": "d", "a": None})
    call("setTag", run_id="one", json={"key": "e", "value": 1.5})
    call("setNote", run_id="one", json={"note": "*n*"})
    call("setNoteOf", run_id="two", json={"note": "*n*"})
    call("logDataset", run_id="one", json={"role": "train", "n_rows": 1, "features": ["a"]})
    call("logDataset", run_id="one", json={"hash": "x", "features": {"a": 1}})
    call("endRun", run_id="one", json={"status": "failed", "error": "boom"})
    call("endRun", run_id="two")
    call("changeExperiment", name="iris", json={"description": "*flowers*", "tags": {"a": 1}})
    call("registerVersion", json={"name": "net", "run_id": "one", "artifact": "m", "description": "d"})
    call("registerVersion", json={"name": "net", "run_id": "two", "artifact": "m", "stage": "production"})
    demoted_versions = call("promoteVersion", name="net", json={"version": 1, "stage": "production"}).get_json()[
        "demoted"
    ]
    assert demoted_versions == [2]
    call("changeModel", name="net", json={"description": "*nets*", "tags": {"team": "vision", "n": None}})
    call("changeVersion", name="net", version="2", json={"description": "better", "tags": {"passed": True}})
    call("setAlias", name="net", json={"alias": "best", "version": 2})
    call("setAlias", name="net", json={"alias": "best", "version": None})
    for name in ("in/a", "in/b"):
        call("storeArtifact", run_id="three", query_string={"name": name}, data=b"bytes", content_type=OCTETS)
    folder = call("registerVersion", json={"name": "net", "run_id": "three", "artifact": "in/"}).get_json()
    assert folder["files"] == 2
    call("storeArtifact", run_id="three", query_string={"name": "old"}, data=b"bytes", content_type=OCTETS)
    call("deleteArtifacts", run_id="three", query_string={"name": "old"})
    call("registerVersion", json={"name": "doomed", "run_id": "three", "artifact": "in/a"})
    call("deleteVersion", name="doomed", version="1")
    call("listModels")
    call("deleteModel", name="doomed")

    of_lists: dict[str, dict[str, Any]] = {
        "listRuns": {},
        "searchRuns": {"query_string": {"metric_key": "loss", "op": "<", "metric_value": 1}},
        "getMetrics": {"run_id": "one"},
        "listArtifacts": {"run_id": "one"},
        "compareRuns": {"query_string": {"ids": "one,two"}},
        "diffVersions": {"name": "net", "one": "1", "other": "production"},
        "listExperiments": {},
        "listModels": {},
        "getRun": {"run_id": "one"},
    }
    for name, parts in of_lists.items():
        for form in ("application/json", "text/plain", "text/csv", "application/x-ndjson", "text/markdown"):
            if name != "getRun" or form in ("application/json", "text/plain", "text/markdown"):
                call(name, headers={"Accept": form}, **parts)
    of_one: dict[str, dict[str, Any]] = {
        "checkRun": {"run_id": "one", "query_string": {"rule": ["loss<=1", "loss<=baseline*2"], "baseline": "two"}},
        "exportRuns": {},
        "getModel": {"name": "net"},
        "getExperiment": {"name": "iris", "query_string": {"metric": "loss"}},
        "downloadFile": {"run_id": "one", "path": "metrics.jsonl"},
        "getManifest": {"run_id": "one", "query_string": {"points_bytes": 1}},
        "getDigests": {"query_string": {"ids": "one,two,none"}},
        "getTags": {"run_id": "one"},
        "getDatasets": {"run_id": "one"},
        "getDescription": {},
        "downloadArtifact": {"run_id": "one", "name": "m"},
        "downloadVersion": {"name": "net", "selector": "production"},
    }
    for name, parts in (of_one | of_lists).items():
        etag = call(name, **parts).headers["ETag"]
        call(name, 304, headers={"If-None-Match": etag}, **parts)
    for name in ("downloadArtifact", "downloadVersion"):
        call(name, 206, headers={"Range": "bytes=1-2"}, **of_one[name])
        call(name, 416, headers={"Range": "bytes=99-"}, **of_one[name])
    failing_rules = ["loss>=0.9", "nothing>0", "odd>0"]
    call("checkRun", 422, run_id="one", query_string={"rule": failing_rules})
    assert zipfile.ZipFile(io.BytesIO(call("downloadRun", run_id="one").data)).testzip() is None
    assert call("getDigests", query_string={"ids": "one,two,none"}).get_json().keys() == {"one", "two"}
    assert call("getHealth").get_json()["runs"] == 4
    call("createRun", json={"experiment": "iris", "id": "doomed"})
    call("renameRun", run_id="doomed", json={"name": "renamed"})
    call("endRun", run_id="doomed")
    call("resumeRun", run_id="doomed")
    call("trashRun", run_id="doomed")
    call("getRun", run_id="doomed")
    call("listRuns", query_string={"deleted": "all"})
    call("restoreRun", run_id="doomed")
    call("deleteRun", run_id="doomed")
    for kind in ("application/zip", OCTETS):
        call("importRuns", data=build_zip(run_files()), content_type=kind)
    assert call.find_uncovered() == set()


OCTETS = "application/octet-stream"


def test_real_errors_are_as_described(call: Conformance) -> None:
    call("createRun", json={"experiment": "iris", "id": "one"})
    call("storeArtifact", run_id="one", query_string={"name": "m"}, data=b"1", content_type=OCTETS)
    call("setParams", run_id="one", json={"lr": 1})
    call("registerVersion", json={"name": "net", "run_id": "one", "artifact": "m"})
    call("createRun", 400, data="experiment=iris")
    call("createRun", 409, json={"experiment": "other", "id": "one"})
    call("setParams", 409, run_id="one", json={"lr": 2})
    call("setParams", 404, run_id="nobody", json={"lr": 2})
    call("storeArtifact", 409, run_id="one", query_string={"name": "m"}, data=b"2", content_type=OCTETS)
    call("deleteRun", 409, run_id="one")
    call("endRun", 400, run_id="one", json={"status": "done"})
    call("setNote", 413, run_id="one", json={"note": "x" * 10_000_001})
    call("promoteVersion", 404, name="net", json={"version": 9, "stage": "none"})
    call("setAlias", 404, name="net", json={"alias": "best", "version": 9})
    call("deleteArtifacts", 409, run_id="one", query_string={"name": "m"})
    call("deleteArtifacts", 404, run_id="one", query_string={"name": "n/"})
    call("deleteArtifacts", 400, run_id="one")
    call("setAlias", 400, name="net", json={"alias": "v1", "version": 1})
    call("promoteVersion", name="net", json={"version": 1, "stage": "production"})
    call("deleteVersion", 409, name="net", version="1")
    call("deleteModel", 409, name="net")
    call("changeVersion", 404, name="net", version="latest", json={})
    call("changeModel", 400, name="net", json={"tags": {"a": []}})
    call("listRuns", 400, query_string={"limit": 0})
    call("listRuns", 403, headers={"Host": "evil.example"})
    call("getRun", 404, run_id="nobody")
    call("compareRuns", 404, query_string={"ids": "one,nobody"})
    for name in ("downloadRun", "getManifest"):
        call(name, 404, run_id="nobody")
    call("downloadFile", 404, run_id="one", path="nothing")
    call("getDigests", 400)
    call("diffVersions", 404, name="net", one="1", other="staging")


def test_server_with_a_token_answers_as_described(make_app: Callable[..., Flask], document: dict[str, Any]) -> None:
    call = Conformance(make_app(token="secret").test_client(), document)
    call("getHealth")
    for name in ("listRuns", "listModels", "getDescription", "exportRuns"):
        call(name, 401)
        call(name, headers={"Authorization": "Bearer secret"})
    call("createRun", 401, json={"experiment": "iris"})


# -- generated requests

DOCUMENT = json.loads((Path(chachaml_lite.__file__).parent / "web" / "api" / "openapi.json").read_text())
PATH_VALUES = {"run_id": "known", "selector": "1", "version": "1", "one": "1", "other": "none"}
CHECKS = [
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_schema_conformance,
    openapi_checks.response_headers_conformance,
    openapi_checks.unsupported_method,
]


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("method", "path"), [entry[:2] for entry in iterate_operations(DOCUMENT)])
def test_no_request_is_answered_otherwise_than_described(
    client: FlaskClient, log_run: LogRun, method: str, path: str, mode: GenerationMode
) -> None:
    """Valid and invalid requests, generated from the document; half of them to an existing run and model."""
    operation = schemathesis.openapi.from_wsgi("/api/openapi.json", read_to_end(client.application))[path][
        method.upper()
    ]

    @given(case=operation.as_strategy(generation_mode=mode), use_existing=st.booleans())
    @settings(max_examples=10, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    def send(case: schemathesis.Case[Any], use_existing: bool) -> None:
        if use_existing:
            ensure_existing(client)
            for name in case.path_parameters or {}:
                is_artifact = name == "name" and "artifacts" in path
                case.path_parameters[name] = "m" if is_artifact else PATH_VALUES.get(name, "known")
        case.call_and_validate(
            checks=CHECKS, headers={"Accept-Encoding": "identity"}
        )  # in-process, nothing decompresses

    try:
        send()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE and not operation.body and not list(operation.query)


def read_to_end(app: Flask) -> Callable[..., list[bytes]]:
    """Wrap the app so that each answer is read to its end and closed, as a server does."""

    def answer(environ: Any, start_response: Any) -> list[bytes]:
        content = app(environ, start_response)
        try:
            return [b"".join(content)]
        finally:
            getattr(content, "close", bool)()

    return answer


def ensure_existing(client: FlaskClient) -> None:
    """Create the run and the model, unless they exist: an earlier request may have removed them."""
    if client.get("/api/models/known").status_code == 200:
        return
    client.post("/api/w/runs", json={"experiment": "a", "id": "known"})
    client.post("/api/w/runs/known/artifacts?name=m", data=b"1", content_type=OCTETS)
    client.post("/api/w/models", json={"name": "known", "run_id": "known", "artifact": "m"})
