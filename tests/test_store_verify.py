"""`chachaml-lite verify` finds and names each kind of damage and repairs what it can; nothing is deleted."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from support.calls import LogRun, log_good_and_bad, upload
from support.servers import PATIENCE_SECONDS, environment
from support.snapshots import snapshot
from support.verifying import COMMAND, list_problems, load_report, verify

from chachaml_lite.store.reading import Damaged
from chachaml_lite.store.store import Store

POINT = b'{"key":"loss","value":0.5,"step":9,"timestamp":1763884800123}\n'


@pytest.fixture
def closed_store(client: FlaskClient, log_run: LogRun, data: Path, make_app: Callable[..., Flask]) -> Path:
    """A store without a server: the runs "good", "ended" and "bad"; the model "iris" has two versions of "bad"."""
    bad = log_good_and_bad(client, log_run)
    assert upload(client, bad, "deep/Weights", b"w" * 1000) == 200
    log_run(id="ended", metrics=[{"loss": 3}, {"acc": "NaN"}], artifacts={"log": b""}, end="completed")
    make_app(read_only=True)  # closes the app that owns the store
    return data


def test_summary_of_earlier_version_is_not_reported(closed_store: Path) -> None:
    path = closed_store / "runs/ended/summary.json"
    summary = json.loads(path.read_text())
    for series in summary["metrics"].values():
        del series["last_time"]
    path.write_text(json.dumps(summary))
    assert list_problems(closed_store) == []


def overwrite(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


def append(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(path.read_bytes() + content)

    return write


def prepend(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content + path.read_bytes())

    return write


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def remove(path: Path) -> None:
    path.unlink()


def flip_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def replace_by_link(path: Path) -> None:
    outside = path.parents[3] / "outside"
    path.replace(outside)
    path.symlink_to(outside)


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def create(content: bytes = b"x") -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    return write


def falsify_summary(path: Path) -> None:
    summary = json.loads(path.read_text())
    summary["metrics"]["loss"]["last"] = 4
    path.write_text(json.dumps(summary))


def drop_last_line(path: Path) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


RUN, IRIS = "runs/bad", "models/iris/history.jsonl"
#: The damage to a file, and the problems reported: path, kind, whether it can be repaired.
DAMAGES: dict[str, tuple[str, Callable[[Path], None], list[tuple[str, str, bool]]]] = {
    "meta not JSON": (f"{RUN}/meta.json", overwrite(b"{"), [(f"{RUN}/meta.json", "not a run", False)]),
    "meta gone": (f"{RUN}/meta.json", remove, [(f"{RUN}/meta.json", "not a run", False)]),
    "meta of another shape": (f"{RUN}/meta.json", overwrite(b"{}"), [(f"{RUN}/meta.json", "not a run", False)]),
    "params empty": (f"{RUN}/params.json", overwrite(b""), [(f"{RUN}/params.json", "damaged file", False)]),
    "params a link": (f"{RUN}/params.json", replace_by_link, [(f"{RUN}/params.json", "damaged file", False)]),
    "metrics torn": (f"{RUN}/metrics.jsonl", cut, [(f"{RUN}/metrics.jsonl", "torn tail", True)]),
    "metrics with lines that are none": (
        f"{RUN}/metrics.jsonl",
        prepend(b'{"key":1}\nno JSON\n' + POINT + b"\xff\n"),
        [(f"{RUN}/metrics.jsonl", "damaged lines", True)],
    ),
    "metrics torn and damaged": (
        f"{RUN}/metrics.jsonl",
        append(b"null\n" + POINT + POINT[:-9]),
        [(f"{RUN}/metrics.jsonl", "damaged lines", True), (f"{RUN}/metrics.jsonl", "torn tail", True)],
    ),
    "metrics with a carriage return": (
        f"{RUN}/metrics.jsonl",
        append(b"a\rb\n" + POINT),
        [(f"{RUN}/metrics.jsonl", "damaged lines", True)],
    ),
    "metrics a folder": (f"{RUN}/metrics.jsonl", replace_by_folder, [(f"{RUN}/metrics.jsonl", "damaged file", False)]),
    "metrics a pipe": (f"{RUN}/metrics.jsonl", replace_by_pipe, [(f"{RUN}/metrics.jsonl", "damaged file", False)]),
    "an upload's line damaged": (
        f"{RUN}/artifacts.jsonl",
        prepend(b'{"name":"../x","sha256":"0","size":1,"timestamp":1}\n'),
        [(f"{RUN}/artifacts.jsonl", "damaged lines", True)],
    ),
    "an upload's line gone": (
        f"{RUN}/artifacts.jsonl",
        drop_last_line,
        [(f"{RUN}/blobs/deep/Weights", "orphan", False)],
    ),
    "all uploads' lines gone": (
        f"{RUN}/artifacts.jsonl",
        remove,
        [
            (IRIS, "broken version", False),
            (IRIS, "broken version", False),
            (f"{RUN}/blobs/a", "orphan", False),
            (f"{RUN}/blobs/deep/Weights", "orphan", False),
        ],
    ),
    "a bit of a blob": (f"{RUN}/blobs/deep/Weights", flip_bit, [(f"{RUN}/blobs/deep/Weights", "wrong bytes", False)]),
    "a blob cut": (f"{RUN}/blobs/a", cut, [(f"{RUN}/blobs/a", "wrong bytes", False)]),
    "a blob gone": (f"{RUN}/blobs/a", remove, [(f"{RUN}/blobs/a", "missing", False)]),
    "a blob a link": (f"{RUN}/blobs/a", replace_by_link, [(f"{RUN}/blobs/a", "damaged file", False)]),
    "a blob a folder": (f"{RUN}/blobs/a", replace_by_folder, [(f"{RUN}/blobs/a", "damaged file", False)]),
    "a blob that nobody uploaded": (f"{RUN}/blobs/other/x", create(), [(f"{RUN}/blobs/other/x", "orphan", False)]),
    "a summary that is wrong": (
        "runs/ended/summary.json",
        falsify_summary,
        [("runs/ended/summary.json", "wrong summary", True)],
    ),
    "a summary that is none": (
        "runs/ended/summary.json",
        overwrite(b"[]"),
        [("runs/ended/summary.json", "wrong summary", True)],
    ),
    "a history torn": (IRIS, cut, [(IRIS, "torn tail", True)]),
    "a history with a line that is none": (
        IRIS,
        append(b'{"event":"promoted","version":7,"stage":"production","timestamp":1}\n'),
        [(IRIS, "damaged lines", True)],
    ),
    "a history of nothing good": (
        IRIS,
        overwrite(b"{}\n"),
        [(IRIS, "damaged lines", False), (IRIS, "not a model", False)],
    ),
    "a history of nothing": (IRIS, overwrite(b""), [(IRIS, "not a model", False)]),
    "a version of a run that is gone": (
        IRIS,
        append(
            b'{"event":"registered","model":"iris","version":3,"run_id":"gone","artifact":"a","sha256":"0",'
            b'"stage":"none","description":null,"timestamp":1}\n'
        ),
        [(IRIS, "broken version", False)],
    ),
    "a folder that is no run": ("runs/no run/x", create(), [("runs/no run", "not a run", False)]),
    "a folder without a meta.json": ("runs/none/x", create(), [("runs/none/meta.json", "not a run", False)]),
    "a folder that is no model": ("models/a%0Ab/x", create(), [("models/a%0Ab", "not a model", False)]),
    "a stray among the runs": ("runs/notes.txt", create(), [("runs/notes.txt", "stray", False)]),
    "a stray among the models": ("models/notes.txt", create(), [("models/notes.txt", "stray", False)]),
    "an upload that was cut off": (
        "runs/.incoming/upload~0a",
        create(),
        [("runs/.incoming/upload~0a", "leftover", True)],
    ),
    "a temporary": (f"{RUN}/.meta.json.tmp", create(), [(f"{RUN}/.meta.json.tmp", "leftover", True)]),
}
#: Changes that are no damage: the user's own files, a missing or old summary, a last line without its newline.
HARMLESS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "a file of the user's": (f"{RUN}/notes.md", create()),
    "a hidden file": (f"{RUN}/blobs/.DS_Store", create()),
    "a hidden file among the runs": ("runs/.DS_Store", create()),
    "a file beside the runs": ("README.md", create()),
    "no summary": ("runs/ended/summary.json", remove),
    "an older summary": ("runs/ended/metrics.jsonl", append(POINT)),
    "no line end": (f"{RUN}/metrics.jsonl", append(POINT[:-1])),
    "an empty line": (f"{RUN}/metrics.jsonl", append(b"\n" + POINT)),
}


def test_intact_store_has_no_problems(closed_store: Path) -> None:
    full_report = load_report(closed_store)
    assert full_report == {
        "ok": True,
        "runs": 3,
        "models": 1,
        "artifacts": 4,
        "bytes": len(b"good" + b"the bytes") + 1000,
        "points": 5,
        "problems": [],
        "repairs": [],
    }
    result = verify(closed_store)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "3 runs, 5 points, 4 artifacts (1013 bytes), 1 models: all good\n"


@pytest.mark.parametrize("case", DAMAGES)
def test_damage_is_reported_and_nothing_is_changed(closed_store: Path, case: str) -> None:
    path, damage, expected = DAMAGES[case]
    damage(closed_store / path)
    pipes = [each for each in closed_store.rglob("*") if each.is_fifo()]
    content_before = {} if pipes else snapshot(closed_store)
    assert list_problems(closed_store) == sorted(expected)
    assert pipes or snapshot(closed_store) == content_before


@pytest.mark.parametrize("case", [case for case in DAMAGES if any(each[2] for each in DAMAGES[case][2])])
def test_repairable_damage_is_repaired_once(closed_store: Path, case: str) -> None:
    path, damage, _ = DAMAGES[case]
    damage(closed_store / path)
    damaged_content = (closed_store / path).read_bytes()
    repair_report = load_report(closed_store, "--repair")
    assert repair_report["ok"]
    assert path in {each["where"] for each in repair_report["repairs"]}
    if path.endswith(".jsonl"):  # the damaged lines were moved aside, the good ones remain
        remaining_lines, moved_lines = (
            (closed_store / path).read_bytes(),
            (closed_store / f"{path}.damaged").read_bytes(),
        )
        assert sorted(remaining_lines.splitlines() + moved_lines.splitlines()) == sorted(damaged_content.splitlines())
    again = load_report(closed_store, "--repair")
    assert (again["ok"], again["repairs"]) == (True, [])


@pytest.mark.parametrize("case", [case for case in DAMAGES if not any(each[2] for each in DAMAGES[case][2])])
def test_unrepairable_damage_is_left_unchanged(closed_store: Path, case: str) -> None:
    path, damage, expected = DAMAGES[case]
    damage(closed_store / path)
    assert list_problems(closed_store, "--repair") == sorted(expected)
    assert load_report(closed_store, "--repair")["repairs"] == []


@pytest.mark.parametrize("case", HARMLESS)
def test_harmless_change_is_not_reported(closed_store: Path, case: str) -> None:
    path, change = HARMLESS[case]
    change(closed_store / path)
    assert list_problems(closed_store) == []


def test_repaired_store_is_served_without_damage(closed_store: Path, make_app: Callable[..., Flask]) -> None:
    for name in ("metrics.jsonl", "artifacts.jsonl"):
        append(b"half a li")(closed_store / RUN / name)
    append(b"half a li")(closed_store / IRIS)
    assert make_app(read_only=True).test_client().get("/api/health").get_json()["damaged"] == 2
    assert load_report(closed_store, "--repair")["ok"]
    client = make_app().test_client()
    assert client.get("/api/health").get_json()["damaged"] == 0
    assert client.get("/api/runs/bad").get_json()["metric_summary"]["loss"]["count"] == 2
    assert client.post("/api/w/runs/bad/metrics", json={"loss": 1}).status_code == 200
    make_app(read_only=True)
    assert list_problems(closed_store) == []


def test_upload_interrupted_before_its_rename_is_finished(closed_store: Path) -> None:
    blob = closed_store / RUN / "blobs/deep/Weights"
    line = json.loads((closed_store / RUN / "artifacts.jsonl").read_text().splitlines()[-1])
    blob.rename(closed_store / "runs/.incoming" / f"bad~{line['sha256']}~0a")
    kinds = {kind for _, kind, _ in list_problems(closed_store)}
    assert kinds == {"missing", "leftover"}
    repair_report = load_report(closed_store, "--repair")
    assert repair_report["ok"] and blob.read_bytes() == b"w" * 1000
    assert [each["detail"] for each in repair_report["repairs"]] == ["finished or removed"]


def test_single_run_is_verified_with_the_model_versions_that_point_to_it(closed_store: Path) -> None:
    (closed_store / "runs/good/params.json").write_bytes(b"")
    (closed_store / "runs/bad/blobs/a").unlink()
    (closed_store / "runs/stray").write_bytes(b"")
    assert list_problems(closed_store, "ended") == []
    assert list_problems(closed_store, "good") == [("runs/good/params.json", "damaged file", False)]
    assert list_problems(closed_store, "bad") == [("runs/bad/blobs/a", "missing", False)]
    assert list_problems(closed_store, "ended", "nobody", "../x") == [
        ("runs/../x", "no such run", False),
        ("runs/nobody", "no such run", False),
    ]
    (closed_store / "runs/bad/artifacts.jsonl").unlink()
    assert {kind for _, kind, _ in list_problems(closed_store, "bad")} == {"broken version", "orphan"}


def test_text_report_has_one_line_for_each_problem(closed_store: Path) -> None:
    cut(closed_store / RUN / "metrics.jsonl")
    remove(closed_store / RUN / "blobs/a")
    result = verify(closed_store)
    assert (result.returncode, result.stderr) == (1, "")
    assert f"torn tail  {RUN}/metrics.jsonl: its last " in result.stdout
    assert f"missing  {RUN}/blobs/a: the bytes of artifact 'a' are gone\n" in result.stdout
    assert "--repair" in result.stdout and result.stdout.endswith(": 2 problems\n")
    assert str(closed_store) not in result.stdout
    repair = verify(closed_store, "--repair")
    assert repair.returncode == 1
    assert f"repaired  {RUN}/metrics.jsonl: " in repair.stdout and "--repair" not in repair.stdout


def test_folder_name_cannot_send_terminal_escapes(closed_store: Path) -> None:
    (closed_store / "runs" / "\x1b[2Jx\n").mkdir()
    os.mkdir(os.fsencode(closed_store / "runs") + b"/\xff")
    result = verify(closed_store)
    assert result.returncode == 1 and "\x1b" not in result.stdout
    assert "runs/\\x1b[2Jx\\n" in result.stdout and "runs/\\udcff" in result.stdout
    assert len(load_report(closed_store)["problems"]) == 2


def test_folder_without_a_store_is_a_one_line_error_and_unchanged(tmp_path: Path) -> None:
    for arguments in ((), ("--repair",)):
        result = verify(tmp_path, *arguments)
        assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1)
        assert "there is no store" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_failed_repair_is_a_one_line_error(closed_store: Path) -> None:
    cut(closed_store / RUN / "metrics.jsonl")
    (closed_store / RUN / "metrics.jsonl.damaged").mkdir()  # in the way of the lines to be moved aside
    content_before = (closed_store / RUN / "metrics.jsonl").read_bytes()
    result = verify(closed_store, "--repair")
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert "cannot repair the store" in result.stderr
    assert (closed_store / RUN / "metrics.jsonl").read_bytes() == content_before


def test_line_reader_accepts_files_up_to_its_limit(data: Path) -> None:
    store = Store(data, "no")
    try:
        (data / "file").write_bytes(b"one\ntwo")
        assert [line.content for line in store.inspection.lines("file", 7)] == [b"one", b"two"]
        with pytest.raises(Damaged, match="file has 7 bytes"):
            list(store.inspection.lines("file", 6))
    finally:
        store.close()


def test_large_files_are_verified_in_little_memory(closed_store: Path, tool: Callable[[str], str]) -> None:
    """300 MB of one line, of many lines, and of a blob, in a process that may use 200 MB more than at its start."""
    with (closed_store / RUN / "metrics.jsonl").open("ab") as file:
        file.truncate(300_000_000)
    with (closed_store / "runs/ended/blobs/log").open("wb") as file:
        file.truncate(300_000_000)
    with (closed_store / IRIS).open("ab") as file:
        file.write(b"[]\n" * 1_000_000)
    command = [tool("prlimit"), "--data=250000000", *COMMAND, "--data", str(closed_store), "--json"]
    result = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=PATIENCE_SECONDS)
    assert result.stderr == ""
    problem_kinds = {(each["where"], each["kind"]) for each in json.loads(result.stdout)["problems"]}
    assert problem_kinds == {
        (f"{RUN}/metrics.jsonl", "torn tail"),
        ("runs/ended/blobs/log", "wrong bytes"),
        (IRIS, "damaged lines"),
    }


def test_progress_bar_is_shown_on_a_terminal(closed_store: Path) -> None:
    controller, terminal = pty.openpty()
    command = [*COMMAND, "--data", str(closed_store)]
    result = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=terminal, env=environment(TERM="xterm"), timeout=PATIENCE_SECONDS
    )
    os.close(terminal)
    output = os.read(controller, 65536).decode()
    os.close(controller)
    assert result.returncode == 0 and result.stdout.endswith(b"all good\n")
    assert "reading" in output and "100%" in output
