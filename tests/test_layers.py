"""The arrows between the layers, held by the source itself: imports go down, and each dangerous thing has one place."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "chachaml_lite"
SOURCE = Path(__file__).resolve().parents[1] / PACKAGE
MODULES = sorted(SOURCE.rglob("*.py"))
IDS = [str(path.relative_to(SOURCE)) for path in MODULES]
MAX_LINES = 350

#: What each layer may import of this package, besides itself. "" is the package's own __init__, the version.
MAY_IMPORT: dict[str, set[str]] = {
    "": set(),
    "errors": set(),
    "strict_json": set(),
    "config": set(),
    "store": {"errors", "strict_json"},
    "tracking": {"store", "errors", "strict_json"},
    "text": {"tracking", "errors", "strict_json"},
    "web": {"text", "tracking", "errors", "strict_json"},
    "mlflow_api": {"web", "tracking", "errors", "strict_json"},
    "app": {"", "config", "mlflow_api", "tracking", "web"},
    "waitress_channel": {"strict_json", "waitress_parser"},
    "waitress_parser": {"store", "waitress_chunks"},
    "waitress_chunks": set(),
    "server": {"app", "config", "store", "tracking", "waitress_channel", "waitress_parser"},
    "client": {"app", "config", "errors", "store", "strict_json", "tracking"},
    "agents": {"", "client", "strict_json"},
    "sidecar": {"client", "machine", "text"},
    "mlflow_settings": set(),
    "mlflow_client": {"mlflow_settings"},
    "importers": {"errors", "mlflow_api", "mlflow_client", "mlflow_settings", "store", "strict_json", "tracking"},
    "export": {"client", "mlflow_api", "mlflow_client", "mlflow_settings", "strict_json", "tracking"},
    "machine": set(),
    "commands": {
        "",
        "agents",
        "client",
        "config",
        "errors",
        "export",
        "importers",
        "machine",
        "server",
        "sidecar",
        "store",
        "strict_json",
        "text",
        "tracking",
    },
    "cli": {"", "commands"},
    "__main__": {"cli"},
}
#: Who may import what isn't ours and isn't the standard library's.
OUTSIDE = {
    "flask": {"web", "app", "mlflow_api"},
    "werkzeug": {"web", "mlflow_api"},
    "jinja2": {"web"},
    "markupsafe": {"web"},
    "waitress": {"server", "waitress_channel", "waitress_chunks", "waitress_parser"},
    "click": {"cli", "commands"},
    "mlflow": {"importers", "mlflow_client"},
    "tensorboard": {"importers"},
    "psutil": {"machine"},
    "pynvml": {"machine"},
    "mcp": {"agents"},
    "mcp_types": {"agents"},
}
#: What asks another server, or runs something, and the one module that may.
STARTS_SERVERS = "sidecar/server.py"
ASKS, RUNS = "client/http.py", "commands/child.py"
#: What hands runs over to MLflow's client, what takes them from it, what has it, and what tells it to be quiet.
EXPORTS, IMPORTS = "export/mlflow_server.py", "importers/mlflow_source.py"
CLIENT, SETTINGS = "mlflow_client.py", "mlflow_settings.py"
#: What asks other programs such as git, and what tells which and how many processors there are.
QUERIES, DESCRIBES = "machine/queries.py", "machine/environment.py"
#: What asks how wide the terminal is, by the one function of a module that otherwise touches files.
MEASURES = "commands/printing.py"
#: Modules by which files are touched, and who may import them.
FILE_MODULES = {"os", "shutil", "tempfile", "glob", "fcntl", "mmap", "stat", "zipfile", "sqlite3"}
#: Calls by which a path is touched without any of them.
FILE_CALLS = {"read_text", "read_bytes", "write_text", "write_bytes", "mkdir", "touch", "unlink", "rmdir", "iterdir"}


def layer_of(path: Path) -> str:
    """`store` for store/atomic.py, `app` for app.py, "" for the package's own __init__."""
    first = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


def imported(path: Path) -> Iterator[str]:
    """The full name of everything that a module imports, in whichever form: `chachaml_lite.store.layout`, `os`."""
    package = [PACKAGE, *path.relative_to(SOURCE).parent.parts]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def own_layer(name: str) -> str | None:
    """The layer of ours that an imported name belongs to; None for what isn't ours."""
    first, _, rest = name.partition(".")
    if first != PACKAGE:
        return None
    layer = rest.partition(".")[0]
    return layer if layer in MAY_IMPORT else ""


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_imports_only_go_down(path: Path) -> None:
    layer = layer_of(path)
    wrong = {name for name in imported(path) if own_layer(name) not in {None, layer, *MAY_IMPORT[layer]}}
    assert not wrong


@pytest.mark.parametrize(("one", "other"), [("api", "pages"), ("pages", "api")])
def test_api_and_pages_do_not_import_each_other(one: str, other: str) -> None:
    modules = sorted((SOURCE / "web" / one).glob("*.py"))
    assert modules
    for path in modules:
        assert not [name for name in imported(path) if name.startswith(f"{PACKAGE}.web.{other}")]


def test_mlflows_tables_are_all_that_others_import_of_its_protocol() -> None:
    vocabulary = SOURCE / "mlflow_api" / "vocabulary.py"
    assert "flask" not in {name.partition(".")[0] for name in imported(vocabulary)}
    assert {own_layer(name) for name in imported(vocabulary)} <= {None, "errors", "strict_json", "tracking"}
    for path in MODULES:
        if layer_of(path) in ("export", "importers"):
            names = [name for name in imported(path) if own_layer(name) == "mlflow_api"]
            assert all(name.startswith(f"{PACKAGE}.mlflow_api.vocabulary") for name in names)


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_nothing_but_flask_waitress_and_what_they_bring_is_imported_and_each_in_its_place(path: Path) -> None:
    outside = {name.partition(".")[0] for name in imported(path) if own_layer(name) is None}
    foreign = outside - sys.stdlib_module_names
    assert foreign <= OUTSIDE.keys()
    assert all(layer_of(path) in OUTSIDE[name] for name in foreign)


# The files of the sidecar are those of a CI job; it can't import the store, whose files it leaves alone.
@pytest.mark.parametrize(
    "path", [path for path in MODULES if layer_of(path) not in ("store", "sidecar")], ids=lambda path: path.name
)
def test_only_the_store_opens_files(path: Path) -> None:
    roots = {name.partition(".")[0] for name in imported(path)}
    # The one that runs a command has its descriptors, and a temporary file for what it prints; MLflow's client takes
    # artifacts as files and settings from the environment, of which `os.environ` is part.
    name = path.relative_to(SOURCE).as_posix()
    is_runner = name == RUNS
    allowed_modules = {RUNS: {"os", "tempfile"}, EXPORTS: {"tempfile"}, MEASURES: {"shutil"}}
    allowed_modules |= {QUERIES: {"os"}, DESCRIBES: {"os", "shutil"}}
    allowed_modules |= {IMPORTS: {"tempfile", "sqlite3"}, SETTINGS: {"os"}}
    assert not roots & FILE_MODULES - allowed_modules.get(name, set())
    used = {
        f"{ast.unparse(node.value)}.{node.attr}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("os", "shutil")
    }
    of_two = {
        SETTINGS: {"os.environ"},
        MEASURES: {"shutil.get_terminal_size"},
        QUERIES: {"os.environ"},
        DESCRIBES: {"os.cpu_count", "shutil.which"},
    }
    assert name not in of_two or used == of_two[name]
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    assert "open" not in {call.id for call in calls if isinstance(call, ast.Name)}
    # The ready file is the server's: it is no part of the store.
    allowed = {"write_text"} if layer_of(path) == "server" else {"unlink"} if is_runner else set()
    assert {call.attr for call in calls if isinstance(call, ast.Attribute)} & FILE_CALLS <= allowed


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_nothing_is_unpickled_run_or_asked_of_another_server(path: Path) -> None:
    names = set(imported(path))
    banned = {"pickle", "marshal", "shelve", "subprocess", "ftplib", "smtplib", "ssl", "xmlrpc", "asyncio"}
    if path.relative_to(SOURCE).as_posix() in (RUNS, QUERIES, STARTS_SERVERS):
        banned.remove("subprocess")
    assert not {name.partition(".")[0] for name in names} & banned
    # Proxies are looked up, by the rules that everybody knows; nothing is asked by them.
    looked_up = {f"urllib.request.{each}" for each in ("getproxies", "proxy_bypass")}
    allowed = looked_up if path.relative_to(SOURCE).as_posix() == ASKS else set()
    assert not [name for name in names - allowed if name.startswith(("urllib.request", "multiprocessing"))]
    if path.relative_to(SOURCE).as_posix() not in (CLIENT, IMPORTS):  # which reads artifacts and databases as well
        assert not [name for name in names if name.partition(".")[0] == "mlflow"]
    if path.relative_to(SOURCE).as_posix() not in (EXPORTS, IMPORTS):
        assert not [name for name in names if name.startswith(f"{PACKAGE}.mlflow_client")]
    if path.relative_to(SOURCE).as_posix() != ASKS:
        assert not [name for name in names if name.startswith("http.client")]
    called = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    assert not {call.id for call in called if isinstance(call, ast.Name)} & {"eval", "exec", "__import__"}
    assert not {call.attr for call in called if isinstance(call, ast.Attribute)} & {
        "create_connection",
        "system",
        "popen",
    }


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_module_is_short_and_named_after_what_it_owns(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_LINES
    assert path.stem not in {"utils", "helpers", "common", "misc"}


def texts(path: Path) -> Iterator[str]:
    """The string constants of a module, without its docstrings."""
    tree = ast.parse(path.read_text())
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


@pytest.mark.parametrize(
    "path", [path for path in MODULES if layer_of(path) in ("store", "tracking", "errors")], ids=lambda path: path.name
)
def test_rules_and_store_name_no_route_header_or_query_parameter(path: Path) -> None:
    """Their errors say in `resolvable_by` what would help; web and the commands word it."""
    of_http = re.compile(r"/api/|(?:GET|POST|DELETE) [/.]|[?&][a-z_]+=|Content-Type|X-[A-Z]")
    assert not [text for text in texts(path) if of_http.search(text)]


def test_line_of_a_point_is_spelled_in_one_module() -> None:
    spelling = [path for path in MODULES if any('"key":' in text for text in texts(path))]
    assert spelling == [SOURCE / "tracking" / "series" / "points.py"]


def test_checksums_of_bytes_that_come_in_pieces_are_taken_in_one_module() -> None:
    """Others hash a text that they have whole: a name, a set of settings."""
    taking = [path for path in MODULES if re.search(r"\bsha256\(\)", path.read_text())]
    assert taking == [SOURCE / "store" / "checksum.py"]


TOP_LEVEL = {
    *("chachaml_lite", "tests", "artifacts", "finish", "setup.cfg", "pyproject.toml", "Makefile", "README.md"),
    *("CHANGELOG.md", "LICENSE", "MANIFEST.in", "Dockerfile", "action.yml", ".ci", ".github", ".gitignore"),
}


@pytest.mark.skipif(not (SOURCE.parent / ".git").exists(), reason="not a clone: nothing tells which files are tracked")
def test_top_level_has_only_the_names_that_a_tool_demands() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=SOURCE.parent, capture_output=True, text=True, check=True)
    assert {name.partition("/")[0] for name in listed.stdout.split("\0") if name} == TOP_LEVEL


def test_walk_sees_both_import_forms() -> None:
    seen = set(imported(SOURCE / "store" / "atomic.py")) | set(imported(SOURCE / "store" / "reading.py"))
    assert {"os", "chachaml_lite.store.durability.Durability", "chachaml_lite.strict_json"} <= seen
    assert [own_layer(name) for name in ("chachaml_lite.__version__", "chachaml_lite.web", "os")] == ["", "web", None]
