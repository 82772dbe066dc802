"""From a fresh clone or a package to a running server, as a first user gets there, with a plain Python."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from support.servers import PATIENCE_SECONDS, Server, await_ready, environment
from support.tools import NO_PACKAGE_INDEX, unavailable

from chachaml_lite import __version__

ROOT = Path(__file__).resolve().parents[1]
#: Downloads and builds are in it.
INSTALL_SECONDS = 600
pytestmark = pytest.mark.timeout(2 * INSTALL_SECONDS)


def run(*command: str, cwd: Path, succeeds: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command and return its result. AssertionError if it fails, or if it should fail and doesn't."""
    result = subprocess.run(
        command, cwd=cwd, env=plain_environment(**variables), capture_output=True, text=True, timeout=INSTALL_SECONDS
    )
    if NO_PACKAGE_INDEX.search(result.stderr):
        unavailable("the package index can't be reached")
    assert (result.returncode == 0) is succeeds, f"{command}: {result.returncode}\n{result.stdout}\n{result.stderr}"
    return result


def pip_for(python: str) -> list[str]:
    """Return the command of this environment's pip for another one: to install a pip there takes seconds."""
    return [sys.executable, "-m", "pip", "--python", python, "--quiet", "--disable-pip-version-check"]


def plain_environment(**variables: str) -> dict[str, str]:
    """Return the environment of a new shell: without the variables of the surrounding make or virtual environment."""
    is_of_this_environment = re.compile(r"MAKE|MFLAGS|VIRTUAL_ENV|PYTHON|ARGS$|VENV$")
    return {
        **{name: value for name, value in environment().items() if not is_of_this_environment.match(name)},
        **variables,
    }


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of this checkout as it is now, uncommitted changes included, in a folder with a space in its name."""
    for program in ("git", "make"):
        if shutil.which(program) is None:
            unavailable(f"{program} is not installed")
    # In a container the checkout may well be another user's.
    listing = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listing.returncode:
        unavailable("this is no git checkout, so it can't be cloned")
    origin, clone = tmp_path_factory.mktemp("origin"), tmp_path_factory.mktemp("a") / "fresh clone"
    for name in filter(None, listing.stdout.split("\0")):
        if (ROOT / name).is_file():  # a file that was removed and not committed yet is still listed
            (origin / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, origin / name)
    run("git", "init", "--quiet", cwd=origin)
    run("git", "add", "--all", cwd=origin)
    identity = ("-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false")
    run("git", *identity, "commit", "--quiet", "--message", "as it is", cwd=origin)
    run("git", "clone", "--quiet", str(origin), str(clone), cwd=origin)
    return clone


@contextlib.contextmanager
def serving(command: list[str], cwd: Path, scratch: Path, data: Path) -> Iterator[Server]:
    """A server that `command` starts, as a child or as itself, ended as by Ctrl-C when the block is left."""
    scratch.mkdir(parents=True, exist_ok=True)
    log_file = scratch / "server.log"
    with log_file.open("ab") as log:
        process = subprocess.Popen(
            command, cwd=cwd, env=plain_environment(), stdout=log, stderr=log, start_new_session=True
        )
    try:
        url = await_ready(process, scratch / "ready", log_file, INSTALL_SECONDS)
        yield Server(url, data, process, log_file)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        process.wait(PATIENCE_SECONDS)


def shows_its_page(server: Server) -> bool:
    """Whether the page of runs comes with its style sheet: templates and static files are there."""
    page = requests.get(f"{server.url}/runs", timeout=60)
    assert page.status_code == 200, page.text
    (style,) = re.findall(r'<link rel="stylesheet" href="(.*?)"', page.text)
    return "No runs yet" in page.text and "--page:" in requests.get(server.url + style, timeout=60).text


# -- the tests themselves


def test_tests_of_a_rule_run_with_pytest_flask_and_waitress_alone(clone: Path, tmp_path: Path) -> None:
    python = str(tmp_path / "venv" / "bin" / "python")
    run(sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv"), cwd=tmp_path)
    run(*pip_for(python), "install", "pytest", "flask", "waitress", cwd=tmp_path)
    printed = run(python, "-m", "pytest", "-p", "no:cacheprovider", "tests/test_rule_names.py", cwd=clone).stdout
    assert re.search(r"^=+ \d+ passed in", printed, re.M), printed


# -- a release


def test_release_whose_tag_is_another_version_is_refused_before_the_build(clone: Path) -> None:
    result = subprocess.run(
        ["bash", ".ci/release", "v0.0.0"],
        cwd=clone,
        env=plain_environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 1, result
    assert f"the tag is v0.0.0 and the package {__version__}" in result.stderr
    assert not (clone / "dist").exists()


def test_release_builds_checks_and_describes_packages_that_install_in_clean_environments(
    clone: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "release"
    shutil.copytree(clone, copy, symlinks=True, ignore=shutil.ignore_patterns(".venv"))
    printed = run("bash", ".ci/release", f"v{__version__}", cwd=copy).stdout
    assert printed.count("PASSED") == 2 and f"those of v{__version__}" in printed
    assert sorted(path.suffix for path in (copy / "dist").iterdir()) == [".gz", ".whl"]
    components = {part["name"].lower() for part in json.loads((copy / "sbom.json").read_text())["components"]}
    assert {"chachaml-lite", "flask", "waitress", "click", "jinja2", "werkzeug"} <= components
    assert not components & {"pip", "setuptools", "pytest", "requests"}


# -- make, in a fresh clone


@pytest.fixture(scope="module")
def make_run_output(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """`make run` in the fresh clone, to where it answers, and stopped by Ctrl-C: what it printed."""
    scratch = tmp_path_factory.mktemp("scratch")
    arguments = f"ARGS=--port 0 --ready-file {scratch}/ready"
    with serving(["make", "run", f"PYTHON={sys.executable}", arguments], clone, scratch, clone / "artifacts") as server:
        assert shows_its_page(server)
        started = requests.post(f"{server.url}/api/w/runs", json={"experiment": "iris", "id": "first"}, timeout=60)
        started.raise_for_status()
    return server.log


def test_make_run_in_a_fresh_clone_installs_and_serves_the_folder_artifacts(clone: Path, make_run_output: str) -> None:
    first, *lines = make_run_output.splitlines()
    assert first.startswith("installing what is needed into .venv")
    expected_line = rf"chachaml-lite {__version__} on http://localhost:\d+, data in artifacts \(0 runs\)"
    assert [line for line in lines if re.fullmatch(expected_line, line)]
    assert (clone / "artifacts" / "runs" / "first" / "meta.json").is_file()


def test_installed_files_and_logged_runs_are_ignored_by_git(clone: Path, make_run_output: str) -> None:
    assert (clone / ".venv").is_dir()
    assert run("git", "status", "--porcelain", cwd=clone).stdout == ""


def test_second_make_run_installs_nothing(clone: Path, make_run_output: str) -> None:
    def what_make_would_do(*arguments: str) -> str:
        return run("make", "--dry-run", f"PYTHON={sys.executable}", *arguments, "run", cwd=clone).stdout

    assert what_make_would_do().strip() == "exec .venv/bin/chachaml-lite serve"
    assert "pip install" in what_make_would_do("--what-if=setup.cfg"), "new requirements are to be installed"


def test_environment_of_another_python_is_rebuilt(clone: Path, make_run_output: str, tmp_path: Path) -> None:
    def steps(**variables: str) -> str:
        named = [f"{name}={value}" for name, value in variables.items()]
        return run("make", "--dry-run", *named, "run", cwd=clone).stdout

    script = f'case "$2" in *version_info*2*) echo 3.99; exit;; esac; exec "{sys.executable}" "$@"'
    fake_python(tmp_path / "bin", script)
    assert "venv --clear .venv" in steps(PYTHON=f"{tmp_path}/bin/python3")
    assert "venv" not in steps().replace(".venv/", ""), "nobody has named a Python, and this one works"


def test_moved_clone_rebuilds_its_environment(clone: Path, make_run_output: str, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(clone, moved, symlinks=True)
    result = run("make", "run", f"PYTHON={sys.executable}", "ARGS=--help", cwd=moved)
    assert result.stdout.startswith("rebuilding .venv") and "Usage: chachaml-lite serve" in result.stdout
    assert str(clone) not in (moved / ".venv/bin/chachaml-lite").read_text()
    assert "rebuilding" not in run("make", "run", f"PYTHON={sys.executable}", "ARGS=--help", cwd=moved).stdout


def test_unreachable_package_index_is_reported_in_one_line(clone: Path, tmp_path: Path) -> None:
    result = subprocess.run(
        ["make", "run", f"VENV={tmp_path}/venv", f"PYTHON={sys.executable}"],
        cwd=clone,
        env=plain_environment(
            PIP_INDEX_URL="http://127.0.0.1:1/simple", PIP_RETRIES="1", PIP_NO_CACHE_DIR="1", PIP_CONFIG_FILE=os.devnull
        ),
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
    )
    assert result.returncode == 2, result
    line, failure = result.stderr.splitlines()
    assert line.startswith("the package index can't be reached: ") and failure.startswith("make: ***")
    assert "connection broken by" in (tmp_path / "venv" / "pip.log").read_text()


def test_make_clean_keeps_only_the_clone_and_its_runs(clone: Path, make_run_output: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(clone, copy, symlinks=True)
    run("make", "clean", cwd=copy)
    remaining = run("git", "status", "--porcelain", "--ignored", cwd=copy).stdout.splitlines()
    assert [line for line in remaining if not line.startswith("!! artifacts/") and "__pycache__" not in line] == []
    assert (copy / "artifacts" / "runs" / "first").is_dir()


def fake_python(folder: Path, script: str) -> dict[str, str]:
    """A `python3` that stands first on the PATH; the environment for that."""
    folder.mkdir()
    program = folder / "python3"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.parametrize(
    ("script", "expected_line"),
    [
        (
            'case "$1" in -V) echo Python 3.9.18; exit;; '
            '-c) shift; set -- -c "import sys; sys.version_info = (3, 9, 18); $1";; esac; '
            f'exec "{sys.executable}" "$@"',
            r".*3\.10 or newer.* Python 3\.9\.18;.*make PYTHON=",
        ),
        (
            f'case "$2" in *ensurepip*) echo no ensurepip >&2; exit 1;; esac; exec "{sys.executable}" "$@"',
            r".*can't make virtual environments.*apt-get install python3-venv",
        ),
    ],
    ids=["old", "without venv"],
)
@pytest.mark.parametrize("target", ["run", "test", "check"])
def test_unsuitable_python_is_reported_in_one_line(
    clone: Path, tmp_path: Path, script: str, expected_line: str, target: str
) -> None:
    path = fake_python(tmp_path / "bin", script)
    # --help: should it go on, it neither serves nor tests
    result = run("make", target, f"VENV={tmp_path}/venv", "ARGS=--help", cwd=clone, succeeds=False, **path)
    (line,) = [line for line in (result.stdout + result.stderr).splitlines() if not line.startswith("make: ***")]
    assert re.match(expected_line, line)
    assert not (tmp_path / "venv").exists()


def test_missing_python_is_reported_in_one_line(clone: Path, tmp_path: Path) -> None:
    result = run("make", "run", f"VENV={tmp_path}/venv", "PYTHON=no-such-python", cwd=clone, succeeds=False)
    (line,) = [line for line in (result.stdout + result.stderr).splitlines() if not line.startswith("make: ***")]
    assert line.startswith("no-such-python was not found; install Python 3.10 or newer")


# -- pip, from the source package over the wheel to an environment that has nothing else


@pytest.fixture(scope="module")
def packages(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source package, the wheel made of that, and a virtual environment with the wheel in it."""
    folder = tmp_path_factory.mktemp("packages")
    source = folder / "source"
    run("git", "clone", "--quiet", str(clone), str(source), cwd=folder)
    run(sys.executable, "-m", "venv", "--without-pip", str(folder / "venv"), cwd=folder)
    python = str(folder / "venv" / "bin" / "python")
    pip = pip_for(python)
    run(*pip, "install", "setuptools >= 70.1", cwd=folder)  # the first that makes wheels by itself
    build = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    run(python, "-c", build, str(folder), cwd=source)
    (sdist,) = folder.glob("*.tar.gz")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(sdist), cwd=folder)
    (wheel,) = folder.glob("*.whl")
    run(*pip, "install", str(wheel), cwd=folder)
    return folder


def test_source_package_has_the_license_and_the_readme_and_no_tests(packages: Path) -> None:
    (sdist,) = packages.glob("chachaml_lite-*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "README.md", "CHANGELOG.md", "setup.cfg", "pyproject.toml", "chachaml_lite/cli.py"} <= names
    # They need the repository around them: its workflows, its Dockerfile, its git.
    assert not [name for name in names if name.startswith("tests")]


def test_wheel_has_every_file_of_the_package_and_nothing_else(packages: Path) -> None:
    (wheel,) = packages.glob(f"chachaml_lite-{__version__}-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    source = packages / "source"
    files = {path.relative_to(source).as_posix() for path in source.glob("chachaml_lite/**/*") if path.is_file()}
    assert {name for name in names if ".dist-info/" not in name} == files
    assert {"chachaml_lite/py.typed", "chachaml_lite/web/templates/run.html"} <= names
    assert any(name.endswith("/LICENSE") for name in names)


def test_only_flask_and_waitress_are_required(packages: Path) -> None:
    (wheel,) = packages.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (archive.read(name).decode() for name in archive.namelist() if name.endswith("/METADATA"))
    lines = re.findall(r"^Requires-Dist: ([^;\n]+)$", metadata, re.MULTILINE)  # those of extras have a condition
    required = {re.sub(r"\W.*", "", line): set(re.findall(r"[<>=]+[\d.]+", line)) for line in lines}
    assert required == {"flask": {">=3.0"}, "waitress": {">=3.0.2", "<4"}}
    assert "Requires-Python: >=3.10" in metadata


@pytest.mark.parametrize("command", [["chachaml-lite"], ["python", "-m", "chachaml_lite"]], ids=" ".join)
def test_installed_command_prints_its_version(packages: Path, tmp_path: Path, command: list[str]) -> None:
    program = packages / "venv" / "bin" / command[0]
    result = run(str(program), *command[1:], "--version", cwd=tmp_path)
    assert result.stdout == f"chachaml-lite, version {__version__}\n"


def test_installed_command_serves_its_pages(packages: Path, tmp_path: Path) -> None:
    options = ["serve", "--port", "0", "--ready-file", str(tmp_path / "ready")]
    program = str(packages / "venv" / "bin" / "chachaml-lite")
    with serving([program, *options], tmp_path, tmp_path, tmp_path / "artifacts") as server:
        assert shows_its_page(server)
    assert server.process.returncode == 0, server.log
    assert (tmp_path / "artifacts" / "runs").is_dir()


def test_installed_command_runs_a_command_and_shows_the_run(packages: Path, tmp_path: Path) -> None:
    program = str(packages / "venv" / "bin" / "chachaml-lite")
    data = str(tmp_path / "artifacts")
    assert run(program, "run", "--data", data, "--id", "one", "--", "echo", "hello", cwd=tmp_path).stdout == "hello\n"
    assert "completed" in run(program, "show", "one", "--data", data, cwd=tmp_path).stdout
