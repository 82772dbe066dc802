"""The receiver of chunked bodies: whatever the chunks are and however they arrive, it takes the body they hold."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

import pytest

from chachaml_lite import waitress_chunks
from chachaml_lite.store.atomic import write_all
from chachaml_lite.store.durability import Durability
from chachaml_lite.store.incoming import Incoming
from chachaml_lite.waitress_chunks import ChunkReceiver


class Buffer:
    """A buffer to be filled."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def append(self, piece: bytes) -> None:
        self.pieces.append(piece)


def receive(pieces: Iterable[bytes], limit_bytes: int = 10**9) -> tuple[ChunkReceiver, bytes, int]:
    buffer = Buffer()
    receiver = ChunkReceiver(buffer, limit_bytes)
    taken = sum(receiver.received(piece) for piece in pieces if not receiver.completed)
    return receiver, b"".join(buffer.pieces), taken


def framed(sizes: Iterable[int], source: random.Random, form: str = "%x") -> tuple[bytes, bytes]:
    """The chunks of some sizes as they are sent, and what they hold, which looks like their lines now and then."""
    contents = [bytes(source.choices(b"8\r\n0a;", k=size)) for size in sizes]
    body = b"".join((form % len(content)).encode() + b"\r\n" + content + b"\r\n" for content in contents)
    return body + b"0\r\n\r\n", b"".join(contents)


SIZES = {
    "all of the smallest": [8] * 3000,
    "all of one size": [17] * 2000,
    "of the largest that are taken together": [64] * 500,
    "larger ones": [65] * 500,
    "alternating": [8, 9] * 1000,
    "a few alike, another, a few alike": ([8] * 20 + [100] + [9] * 7) * 50,
    "one byte each": [1] * 500,
    "one byte each, then of the smallest": [1] * 500 + [8] * 3000,
}


@pytest.mark.parametrize("form", ["%x", "%X", "%04x", "%x;ext=1"])
@pytest.mark.parametrize("piece_bytes", [1, 7, 100, 5000, 10**6])
@pytest.mark.parametrize("name", SIZES)
def test_body_is_what_its_chunks_hold(name: str, piece_bytes: int, form: str) -> None:
    body, content = framed(SIZES[name], random.Random(1), form)
    sent = body + b"GET / HTTP/1.1\r\n"
    pieces = [sent[at : at + piece_bytes] for at in range(0, len(sent), piece_bytes)]
    receiver, received, taken = receive(pieces)
    assert (receiver.completed, receiver.error, received) == (True, None, content)
    assert (len(receiver), taken) == (len(content), len(body))


def test_damage_in_a_row_of_chunks_is_refused_wherever_it_is() -> None:
    body, _ = framed([8] * 400, random.Random(1))
    for number in (0, 1, 9, 200, 399):
        for place in (0, 1, 2, 11, 12):
            at = number * 13 + place
            damaged = body[:at] + b"?" + body[at + 1 :]
            receiver, _, _ = receive([damaged])
            assert receiver.error is not None, (number, place)


def test_limits_hold_for_rows_of_chunks() -> None:
    body, _ = framed([8] * 5000, random.Random(1))
    receiver, _, _ = receive([body], limit_bytes=20_000)
    assert receiver.is_too_large
    many = waitress_chunks.FREE_CHUNKS
    body, _ = framed([1] * (many - 10) + [8] * 100, random.Random(1))
    receiver, _, _ = receive([body])
    assert receiver.error is not None and "too small" in receiver.error.body


def test_row_of_small_chunks_costs_no_step_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    body, content = framed([8] * 100_000, random.Random(1))
    steps = 0
    take = ChunkReceiver._process_line

    def count(receiver: ChunkReceiver, line: bytes) -> None:
        nonlocal steps
        steps += 1
        take(receiver, line)

    monkeypatch.setattr(ChunkReceiver, "_process_line", count)
    buffer = Buffer()
    receiver = ChunkReceiver(buffer, 10**9)
    joins: list[int] = []
    join_chunks = waitress_chunks._join_chunks

    def count_join_chunks(data: bytes, at: int, head_bytes: int, size: int, chunks: int) -> bytes:
        joins.append(chunks)
        return join_chunks(data, at, head_bytes, size, chunks)

    monkeypatch.setattr(waitress_chunks, "_join_chunks", count_join_chunks)
    for at in range(0, len(body), 262_144):
        receiver.received(body[at : at + 262_144])
    assert b"".join(buffer.pieces) == content
    assert steps < 100 and sum(joins) > 99_000 and len(joins) < 200


def test_small_pieces_of_an_upload_are_written_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[int] = []

    def count(descriptor: int, content: bytes) -> None:
        writes.append(len(content))
        write_all(descriptor, content)

    monkeypatch.setattr("chachaml_lite.store.incoming.write_all", count)
    upload = Incoming(str(tmp_path / "upload"), Durability("no"))
    for number in range(50_000):
        upload.append(b"%08d" % number)
    assert upload.size == 400_000
    done = upload.finish(400_000)
    assert len(writes) < 10
    assert Path(done.path).read_bytes() == b"".join(b"%08d" % number for number in range(50_000))
