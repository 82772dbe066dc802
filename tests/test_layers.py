"""The architecture, checked on the source: imports go down the layers, and each risky operation has one place."""

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

#: The layers that each layer may import, besides itself. "" is the package's __init__, with the version.
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
#: Third-party packages, with the layers that may import them.
THIRD_PARTY = {
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
#: The only modules that start processes or call another server.
STARTS_SERVERS = "sidecar/server.py"
HTTP_CLIENT, RUNS_COMMANDS = "client/http.py", "commands/child.py"
#: The modules that export to MLflow's client, import from it, import it, and silence it.
EXPORTER, IMPORTER = "export/mlflow_server.py", "importers/mlflow_source.py"
MLFLOW_CLIENT, MLFLOW_SETTINGS = "mlflow_client.py", "mlflow_settings.py"
#: The modules that run programs such as git, and that find programs and count processors.
RUNS_GIT, DESCRIBES_MACHINE = "machine/queries.py", "machine/environment.py"
#: The module that gets the terminal's width, with the one function of shutil that touches no files.
GETS_TERMINAL_WIDTH = "commands/printing.py"
#: Modules that access files.
FILE_MODULES = {"os", "shutil", "tempfile", "glob", "fcntl", "mmap", "stat", "zipfile", "sqlite3"}
#: Methods that access files without any of these modules.
FILE_CALLS = {"read_text", "read_bytes", "write_text", "write_bytes", "mkdir", "touch", "unlink", "rmdir", "iterdir"}


def get_layer(path: Path) -> str:
    """Return the layer of a module: `store` for store/atomic.py, `app` for app.py, "" for the package's __init__."""
    first = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


def iterate_imports(path: Path) -> Iterator[str]:
    """Yield the full names that a module imports, in either form: `chachaml_lite.store.layout`, `os`."""
    package = [PACKAGE, *path.relative_to(SOURCE).parent.parts]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def get_own_layer(name: str) -> str | None:
    """Return the layer of an imported name, or None for a name from outside of this package."""
    first, _, rest = name.partition(".")
    if first != PACKAGE:
        return None
    layer = rest.partition(".")[0]
    return layer if layer in MAY_IMPORT else ""


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_imports_only_go_down(path: Path) -> None:
    layer = get_layer(path)
    wrong = {name for name in iterate_imports(path) if get_own_layer(name) not in {None, layer, *MAY_IMPORT[layer]}}
    assert not wrong


@pytest.mark.parametrize(("one", "other"), [("api", "pages"), ("pages", "api")])
def test_api_and_pages_do_not_import_each_other(one: str, other: str) -> None:
    modules = sorted((SOURCE / "web" / one).glob("*.py"))
    assert modules
    for path in modules:
        assert not [name for name in iterate_imports(path) if name.startswith(f"{PACKAGE}.web.{other}")]


def test_export_and_importers_use_only_the_vocabulary_of_mlflow_api() -> None:
    vocabulary = SOURCE / "mlflow_api" / "vocabulary.py"
    assert "flask" not in {name.partition(".")[0] for name in iterate_imports(vocabulary)}
    assert {get_own_layer(name) for name in iterate_imports(vocabulary)} <= {None, "errors", "strict_json", "tracking"}
    for path in MODULES:
        if get_layer(path) in ("export", "importers"):
            names = [name for name in iterate_imports(path) if get_own_layer(name) == "mlflow_api"]
            assert all(name.startswith(f"{PACKAGE}.mlflow_api.vocabulary") for name in names)


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_third_party_packages_are_imported_only_in_their_layers(path: Path) -> None:
    outside = {name.partition(".")[0] for name in iterate_imports(path) if get_own_layer(name) is None}
    foreign = outside - sys.stdlib_module_names
    assert foreign <= THIRD_PARTY.keys()
    assert all(get_layer(path) in THIRD_PARTY[name] for name in foreign)


# The sidecar handles the files of a CI job. It can't import the store, and doesn't touch its files.
@pytest.mark.parametrize(
    "path", [path for path in MODULES if get_layer(path) not in ("store", "sidecar")], ids=lambda path: path.name
)
def test_only_the_store_opens_files(path: Path) -> None:
    roots = {name.partition(".")[0] for name in iterate_imports(path)}
    # The module that runs a command needs file descriptors, and a temporary file for the output. MLflow's client takes
    # artifacts as files, and settings from the environment, which is `os.environ`.
    name = path.relative_to(SOURCE).as_posix()
    is_runner = name == RUNS_COMMANDS
    allowed_modules = {RUNS_COMMANDS: {"os", "tempfile"}, EXPORTER: {"tempfile"}, GETS_TERMINAL_WIDTH: {"shutil"}}
    allowed_modules |= {RUNS_GIT: {"os"}, DESCRIBES_MACHINE: {"os", "shutil"}}
    allowed_modules |= {IMPORTER: {"tempfile", "sqlite3"}, MLFLOW_SETTINGS: {"os"}}
    assert not roots & FILE_MODULES - allowed_modules.get(name, set())
    attributes = {
        f"{ast.unparse(node.value)}.{node.attr}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("os", "shutil")
    }
    allowed_attributes = {
        MLFLOW_SETTINGS: {"os.environ"},
        GETS_TERMINAL_WIDTH: {"shutil.get_terminal_size"},
        RUNS_GIT: {"os.environ"},
        DESCRIBES_MACHINE: {"os.cpu_count", "shutil.which"},
    }
    assert name not in allowed_attributes or attributes == allowed_attributes[name]
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    assert "open" not in {call.id for call in calls if isinstance(call, ast.Name)}
    # The ready file is the server's, and not a part of the store.
    allowed_calls = {"write_text"} if get_layer(path) == "server" else {"unlink"} if is_runner else set()
    assert {call.attr for call in calls if isinstance(call, ast.Attribute)} & FILE_CALLS <= allowed_calls


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_nothing_is_unpickled_executed_or_requested_from_another_server(path: Path) -> None:
    names = set(iterate_imports(path))
    banned = {"pickle", "marshal", "shelve", "subprocess", "ftplib", "smtplib", "ssl", "xmlrpc", "asyncio"}
    if path.relative_to(SOURCE).as_posix() in (RUNS_COMMANDS, RUNS_GIT, STARTS_SERVERS):
        banned.remove("subprocess")
    assert not {name.partition(".")[0] for name in names} & banned
    # These two only read the proxy settings, by the usual rules, and send nothing.
    proxy_functions = {f"urllib.request.{each}" for each in ("getproxies", "proxy_bypass")}
    allowed_names = proxy_functions if path.relative_to(SOURCE).as_posix() == HTTP_CLIENT else set()
    assert not [name for name in names - allowed_names if name.startswith(("urllib.request", "multiprocessing"))]
    if path.relative_to(SOURCE).as_posix() not in (
        MLFLOW_CLIENT,
        IMPORTER,
    ):  # the importer also reads artifacts and databases
        assert not [name for name in names if name.partition(".")[0] == "mlflow"]
    if path.relative_to(SOURCE).as_posix() not in (EXPORTER, IMPORTER):
        assert not [name for name in names if name.startswith(f"{PACKAGE}.mlflow_client")]
    if path.relative_to(SOURCE).as_posix() != HTTP_CLIENT:
        assert not [name for name in names if name.startswith("http.client")]
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    assert not {call.id for call in calls if isinstance(call, ast.Name)} & {"eval", "exec", "__import__"}
    assert not {call.attr for call in calls if isinstance(call, ast.Attribute)} & {
        "create_connection",
        "system",
        "popen",
    }


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_module_is_short_and_has_a_specific_name(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_LINES
    assert path.stem not in {"utils", "helpers", "common", "misc"}


def iterate_texts(path: Path) -> Iterator[str]:
    """Yield the string constants of a module, without its docstrings."""
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
    "path", [path for path in MODULES if get_layer(path) in ("store", "tracking", "errors")], ids=lambda path: path.name
)
def test_rules_and_store_name_no_route_header_or_query_parameter(path: Path) -> None:
    """Their errors name a remedy in `resolvable_by`; web and the commands put it into words."""
    of_http = re.compile(r"/api/|(?:GET|POST|DELETE) [/.]|[?&][a-z_]+=|Content-Type|X-[A-Z]")
    assert not [text for text in iterate_texts(path) if of_http.search(text)]


def test_line_of_a_point_is_written_in_one_module() -> None:
    modules = [path for path in MODULES if any('"key":' in text for text in iterate_texts(path))]
    assert modules == [SOURCE / "tracking" / "series" / "points.py"]


def test_incremental_checksums_are_computed_in_one_module() -> None:
    """Other modules only hash a complete text: a name, a set of settings."""
    modules = [path for path in MODULES if re.search(r"\bsha256\(\)", path.read_text())]
    assert modules == [SOURCE / "store" / "checksum.py"]


TOP_LEVEL = {
    *("chachaml_lite", "tests", "artifacts", "finish", "setup.cfg", "pyproject.toml", "Makefile", "README.md"),
    *("CHANGELOG.md", "LICENSE", "MANIFEST.in", "Dockerfile", "action.yml", ".ci", ".github", ".gitignore"),
}


@pytest.mark.skipif(not (SOURCE.parent / ".git").exists(), reason="not a clone: the tracked files are unknown")
def test_top_level_has_only_the_files_that_tools_require() -> None:
    process = subprocess.run(["git", "ls-files", "-z"], cwd=SOURCE.parent, capture_output=True, text=True, check=True)
    assert {name.partition("/")[0] for name in process.stdout.split("\0") if name} == TOP_LEVEL


def test_iterate_imports_finds_both_forms_of_import() -> None:
    names = set(iterate_imports(SOURCE / "store" / "atomic.py")) | set(iterate_imports(SOURCE / "store" / "reading.py"))
    assert {"os", "chachaml_lite.store.durability.Durability", "chachaml_lite.strict_json"} <= names
    assert [get_own_layer(name) for name in ("chachaml_lite.__version__", "chachaml_lite.web", "os")] == [
        "",
        "web",
        None,
    ]
