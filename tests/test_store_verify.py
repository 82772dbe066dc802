"""`chachaml-lite verify`: real damage of each kind is found, named and, where it can be, mended; nothing is deleted."""

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
from support.snapshots import files_of
from support.verifying import COMMAND, problems, report, verify

from chachaml_lite.store.reading import Damaged
from chachaml_lite.store.store import Store

POINT = b'{"key":"loss","value":0.5,"step":9,"timestamp":1763884800123}\n'


@pytest.fixture
def stored(client: FlaskClient, log_run: LogRun, data: Path, make_app: Callable[..., Flask]) -> Path:
    """A store whose server is gone: the runs "good" and "ended", and "bad", of which "iris" has two versions."""
    bad = log_good_and_bad(client, log_run)
    assert upload(client, bad, "deep/Weights", b"w" * 1000) == 200
    log_run(id="ended", metrics=[{"loss": 3}, {"acc": "NaN"}], artifacts={"log": b""}, end="completed")
    make_app(read_only=True)  # the owner is closed
    return data


def test_summary_of_an_earlier_version_is_no_damage(stored: Path) -> None:
    path = stored / "runs/ended/summary.json"
    summary = json.loads(path.read_text())
    for series in summary["metrics"].values():
        del series["last_time"]
    path.write_text(json.dumps(summary))
    assert problems(stored) == []


def damage(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


def appended(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(path.read_bytes() + content)

    return write


def before(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content + path.read_bytes())

    return write


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def gone(path: Path) -> None:
    path.unlink()


def one_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def linked(path: Path) -> None:
    outside = path.parents[3] / "outside"
    path.replace(outside)
    path.symlink_to(outside)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def made(content: bytes = b"x") -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    return write


def wrong_summary(path: Path) -> None:
    summary = json.loads(path.read_text())
    summary["metrics"]["loss"]["last"] = 4
    path.write_text(json.dumps(summary))


def without_last_lines(path: Path) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


RUN, IRIS = "runs/bad", "models/iris/history.jsonl"
#: What is done to a file, and what is found: where, of what kind, whether it can be mended.
FOUND: dict[str, tuple[str, Callable[[Path], None], list[tuple[str, str, bool]]]] = {
    "meta not JSON": (f"{RUN}/meta.json", damage(b"{"), [(f"{RUN}/meta.json", "not a run", False)]),
    "meta gone": (f"{RUN}/meta.json", gone, [(f"{RUN}/meta.json", "not a run", False)]),
    "meta of another shape": (f"{RUN}/meta.json", damage(b"{}"), [(f"{RUN}/meta.json", "not a run", False)]),
    "params empty": (f"{RUN}/params.json", damage(b""), [(f"{RUN}/params.json", "damaged file", False)]),
    "params a link": (f"{RUN}/params.json", linked, [(f"{RUN}/params.json", "damaged file", False)]),
    "metrics torn": (f"{RUN}/metrics.jsonl", cut, [(f"{RUN}/metrics.jsonl", "torn tail", True)]),
    "metrics with lines that are none": (
        f"{RUN}/metrics.jsonl",
        before(b'{"key":1}\nno JSON\n' + POINT + b"\xff\n"),
        [(f"{RUN}/metrics.jsonl", "damaged lines", True)],
    ),
    "metrics torn and damaged": (
        f"{RUN}/metrics.jsonl",
        appended(b"null\n" + POINT + POINT[:-9]),
        [(f"{RUN}/metrics.jsonl", "damaged lines", True), (f"{RUN}/metrics.jsonl", "torn tail", True)],
    ),
    "metrics with a carriage return": (
        f"{RUN}/metrics.jsonl",
        appended(b"a\rb\n" + POINT),
        [(f"{RUN}/metrics.jsonl", "damaged lines", True)],
    ),
    "metrics a folder": (f"{RUN}/metrics.jsonl", folder, [(f"{RUN}/metrics.jsonl", "damaged file", False)]),
    "metrics a pipe": (f"{RUN}/metrics.jsonl", pipe, [(f"{RUN}/metrics.jsonl", "damaged file", False)]),
    "an upload's line damaged": (
        f"{RUN}/artifacts.jsonl",
        before(b'{"name":"../x","sha256":"0","size":1,"timestamp":1}\n'),
        [(f"{RUN}/artifacts.jsonl", "damaged lines", True)],
    ),
    "an upload's line gone": (
        f"{RUN}/artifacts.jsonl",
        without_last_lines,
        [(f"{RUN}/blobs/deep/Weights", "orphan", False)],
    ),
    "all uploads' lines gone": (
        f"{RUN}/artifacts.jsonl",
        gone,
        [
            (IRIS, "broken version", False),
            (IRIS, "broken version", False),
            (f"{RUN}/blobs/a", "orphan", False),
            (f"{RUN}/blobs/deep/Weights", "orphan", False),
        ],
    ),
    "a bit of a blob": (f"{RUN}/blobs/deep/Weights", one_bit, [(f"{RUN}/blobs/deep/Weights", "wrong bytes", False)]),
    "a blob cut": (f"{RUN}/blobs/a", cut, [(f"{RUN}/blobs/a", "wrong bytes", False)]),
    "a blob gone": (f"{RUN}/blobs/a", gone, [(f"{RUN}/blobs/a", "missing", False)]),
    "a blob a link": (f"{RUN}/blobs/a", linked, [(f"{RUN}/blobs/a", "damaged file", False)]),
    "a blob a folder": (f"{RUN}/blobs/a", folder, [(f"{RUN}/blobs/a", "damaged file", False)]),
    "a blob that nobody uploaded": (f"{RUN}/blobs/other/x", made(), [(f"{RUN}/blobs/other/x", "orphan", False)]),
    "a summary that is wrong": (
        "runs/ended/summary.json",
        wrong_summary,
        [("runs/ended/summary.json", "wrong summary", True)],
    ),
    "a summary that is none": (
        "runs/ended/summary.json",
        damage(b"[]"),
        [("runs/ended/summary.json", "wrong summary", True)],
    ),
    "a history torn": (IRIS, cut, [(IRIS, "torn tail", True)]),
    "a history with a line that is none": (
        IRIS,
        appended(b'{"event":"promoted","version":7,"stage":"production","timestamp":1}\n'),
        [(IRIS, "damaged lines", True)],
    ),
    "a history of nothing good": (
        IRIS,
        damage(b"{}\n"),
        [(IRIS, "damaged lines", False), (IRIS, "not a model", False)],
    ),
    "a history of nothing": (IRIS, damage(b""), [(IRIS, "not a model", False)]),
    "a version of a run that is gone": (
        IRIS,
        appended(
            b'{"event":"registered","model":"iris","version":3,"run_id":"gone","artifact":"a","sha256":"0",'
            b'"stage":"none","description":null,"timestamp":1}\n'
        ),
        [(IRIS, "broken version", False)],
    ),
    "a folder that is no run": ("runs/no run/x", made(), [("runs/no run", "not a run", False)]),
    "a folder without a meta.json": ("runs/none/x", made(), [("runs/none/meta.json", "not a run", False)]),
    "a folder that is no model": ("models/a%0Ab/x", made(), [("models/a%0Ab", "not a model", False)]),
    "a stray among the runs": ("runs/notes.txt", made(), [("runs/notes.txt", "stray", False)]),
    "a stray among the models": ("models/notes.txt", made(), [("models/notes.txt", "stray", False)]),
    "an upload that was cut off": (
        "runs/.incoming/upload~0a",
        made(),
        [("runs/.incoming/upload~0a", "leftover", True)],
    ),
    "a temporary": (f"{RUN}/.meta.json.tmp", made(), [(f"{RUN}/.meta.json.tmp", "leftover", True)]),
}
#: What is no damage: files of the user's own, a summary that isn't needed, a last line without its end.
FINE: dict[str, tuple[str, Callable[[Path], None]]] = {
    "a file of the user's": (f"{RUN}/notes.md", made()),
    "a hidden file": (f"{RUN}/blobs/.DS_Store", made()),
    "a hidden file among the runs": ("runs/.DS_Store", made()),
    "a file beside the runs": ("README.md", made()),
    "no summary": ("runs/ended/summary.json", gone),
    "an older summary": ("runs/ended/metrics.jsonl", appended(POINT)),
    "no line end": (f"{RUN}/metrics.jsonl", appended(POINT[:-1])),
    "an empty line": (f"{RUN}/metrics.jsonl", appended(b"\n" + POINT)),
}


def test_store_as_it_was_written_is_fine(stored: Path) -> None:
    found = report(stored)
    assert found == {
        "ok": True,
        "runs": 3,
        "models": 1,
        "artifacts": 4,
        "bytes": len(b"good" + b"the bytes") + 1000,
        "points": 5,
        "problems": [],
        "repairs": [],
    }
    done = verify(stored)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "3 runs, 5 points, 4 artifacts (1013 bytes), 1 models: all good\n"


@pytest.mark.parametrize("case", FOUND)
def test_damage_is_found_and_named_and_nothing_is_touched(stored: Path, case: str) -> None:
    where, do, expected = FOUND[case]
    do(stored / where)
    pipes = [path for path in stored.rglob("*") if path.is_fifo()]
    before = {} if pipes else files_of(stored)
    assert problems(stored) == sorted(expected)
    assert pipes or files_of(stored) == before


@pytest.mark.parametrize("case", [case for case in FOUND if any(each[2] for each in FOUND[case][2])])
def test_what_can_be_mended_is_mended_once(stored: Path, case: str) -> None:
    where, do, expected = FOUND[case]
    do(stored / where)
    damaged = (stored / where).read_bytes()
    mended = report(stored, "--repair")
    assert mended["ok"]
    assert where in {each["where"] for each in mended["repairs"]}
    if where.endswith(".jsonl"):  # what was moved is there, and what is left is what was good
        kept, aside = (stored / where).read_bytes(), (stored / f"{where}.damaged").read_bytes()
        assert sorted(kept.splitlines() + aside.splitlines()) == sorted(damaged.splitlines())
    again = report(stored, "--repair")
    assert (again["ok"], again["repairs"]) == (True, [])


@pytest.mark.parametrize("case", [case for case in FOUND if not any(each[2] for each in FOUND[case][2])])
def test_what_can_t_be_mended_is_left_as_it_is(stored: Path, case: str) -> None:
    where, do, expected = FOUND[case]
    do(stored / where)
    assert problems(stored, "--repair") == sorted(expected)
    assert report(stored, "--repair")["repairs"] == []


@pytest.mark.parametrize("case", FINE)
def test_what_is_no_damage_is_not_reported(stored: Path, case: str) -> None:
    where, do = FINE[case]
    do(stored / where)
    assert problems(stored) == []


def test_repaired_store_is_served_without_damage(stored: Path, make_app: Callable[..., Flask]) -> None:
    for name in ("metrics.jsonl", "artifacts.jsonl"):
        appended(b"half a li")(stored / RUN / name)
    appended(b"half a li")(stored / IRIS)
    assert make_app(read_only=True).test_client().get("/api/health").get_json()["damaged"] == 2
    assert report(stored, "--repair")["ok"]
    client = make_app().test_client()
    assert client.get("/api/health").get_json()["damaged"] == 0
    assert client.get("/api/runs/bad").get_json()["metric_summary"]["loss"]["count"] == 2
    assert client.post("/api/w/runs/bad/metrics", json={"loss": 1}).status_code == 200
    make_app(read_only=True)
    assert problems(stored) == []


def test_upload_that_was_cut_off_before_its_rename_is_finished(stored: Path) -> None:
    blob = stored / RUN / "blobs/deep/Weights"
    line = json.loads((stored / RUN / "artifacts.jsonl").read_text().splitlines()[-1])
    blob.rename(stored / "runs/.incoming" / f"bad~{line['sha256']}~0a")
    found = {kind for _, kind, _ in problems(stored)}
    assert found == {"missing", "leftover"}
    mended = report(stored, "--repair")
    assert mended["ok"] and blob.read_bytes() == b"w" * 1000
    assert [each["detail"] for each in mended["repairs"]] == ["finished or removed"]


def test_one_run_is_verified_with_the_versions_that_point_to_it(stored: Path) -> None:
    (stored / "runs/good/params.json").write_bytes(b"")
    (stored / "runs/bad/blobs/a").unlink()
    (stored / "runs/stray").write_bytes(b"")
    assert problems(stored, "ended") == []
    assert problems(stored, "good") == [("runs/good/params.json", "damaged file", False)]
    assert problems(stored, "bad") == [("runs/bad/blobs/a", "missing", False)]
    assert problems(stored, "ended", "nobody", "../x") == [
        ("runs/../x", "no such run", False),
        ("runs/nobody", "no such run", False),
    ]
    (stored / "runs/bad/artifacts.jsonl").unlink()
    assert {kind for _, kind, _ in problems(stored, "bad")} == {"broken version", "orphan"}


def test_report_for_people_names_each_problem_in_a_line(stored: Path) -> None:
    cut(stored / RUN / "metrics.jsonl")
    gone(stored / RUN / "blobs/a")
    done = verify(stored)
    assert (done.returncode, done.stderr) == (1, "")
    assert f"torn tail  {RUN}/metrics.jsonl: its last " in done.stdout
    assert f"missing  {RUN}/blobs/a: the bytes of artifact 'a' are gone\n" in done.stdout
    assert "--repair" in done.stdout and done.stdout.endswith(": 2 problems\n")
    assert str(stored) not in done.stdout
    mended = verify(stored, "--repair")
    assert mended.returncode == 1
    assert f"repaired  {RUN}/metrics.jsonl: " in mended.stdout and "--repair" not in mended.stdout


def test_name_of_a_folder_can_t_repaint_a_terminal(stored: Path) -> None:
    (stored / "runs" / "\x1b[2Jx\n").mkdir()
    os.mkdir(os.fsencode(stored / "runs") + b"/\xff")
    shown = verify(stored)
    assert shown.returncode == 1 and "\x1b" not in shown.stdout
    assert "runs/\\x1b[2Jx\\n" in shown.stdout and "runs/\\udcff" in shown.stdout
    assert len(report(stored)["problems"]) == 2


def test_folder_that_holds_no_store_is_one_line_and_stays_as_it_is(tmp_path: Path) -> None:
    for arguments in ((), ("--repair",)):
        done = verify(tmp_path, *arguments)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert "there is no store" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_store_that_can_t_be_repaired_on_its_disk_is_one_line(stored: Path) -> None:
    cut(stored / RUN / "metrics.jsonl")
    (stored / RUN / "metrics.jsonl.damaged").mkdir()  # in the way of what is to be moved aside
    before = (stored / RUN / "metrics.jsonl").read_bytes()
    done = verify(stored, "--repair")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "cannot repair the store" in done.stderr
    assert (stored / RUN / "metrics.jsonl").read_bytes() == before


def test_file_of_lines_may_be_as_large_as_its_reader_allows(data: Path) -> None:
    store = Store(data, "no")
    try:
        (data / "file").write_bytes(b"one\ntwo")
        assert [line.content for line in store.inspection.lines("file", 7)] == [b"one", b"two"]
        with pytest.raises(Damaged, match="file has 7 bytes"):
            list(store.inspection.lines("file", 6))
    finally:
        store.close()


def test_large_files_take_no_memory(stored: Path, tool: Callable[[str], str]) -> None:
    """300 MB of one line, of many lines, and of a blob, in a process that may have 200 MB more than it has at start."""
    with (stored / RUN / "metrics.jsonl").open("ab") as file:
        file.truncate(300_000_000)
    with (stored / "runs/ended/blobs/log").open("wb") as file:
        file.truncate(300_000_000)
    with (stored / IRIS).open("ab") as file:
        file.write(b"[]\n" * 1_000_000)
    command = [tool("prlimit"), "--data=250000000", *COMMAND, "--data", str(stored), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=PATIENCE_SECONDS)
    assert done.stderr == ""
    found = {(each["where"], each["kind"]) for each in json.loads(done.stdout)["problems"]}
    assert found == {
        (f"{RUN}/metrics.jsonl", "torn tail"),
        ("runs/ended/blobs/log", "wrong bytes"),
        (IRIS, "damaged lines"),
    }


def test_on_a_terminal_a_bar_shows_how_far_it_is(stored: Path) -> None:
    ours, theirs = pty.openpty()
    command = [*COMMAND, "--data", str(stored)]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=theirs, env=environment(TERM="xterm"), timeout=PATIENCE_SECONDS
    )
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert done.returncode == 0 and done.stdout.endswith(b"all good\n")
    assert "reading" in shown and "100%" in shown
