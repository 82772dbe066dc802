"""The receiver of chunked bodies: it decodes chunks of any size, however they arrive."""

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
    """The buffer that the receiver appends to."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def append(self, piece: bytes) -> None:
        self.pieces.append(piece)


def receive(pieces: Iterable[bytes], limit_bytes: int = 10**9) -> tuple[ChunkReceiver, bytes, int]:
    buffer = Buffer()
    receiver = ChunkReceiver(buffer, limit_bytes)
    consumed_bytes = sum(receiver.received(piece) for piece in pieces if not receiver.completed)
    return receiver, b"".join(buffer.pieces), consumed_bytes


def to_chunks(sizes: Iterable[int], source: random.Random, form: str = "%x") -> tuple[bytes, bytes]:
    """Return chunks of the given sizes as they are sent, and their content, which resembles their lines in places."""
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
def test_received_body_is_the_content_of_its_chunks(name: str, piece_bytes: int, form: str) -> None:
    body, content = to_chunks(SIZES[name], random.Random(1), form)
    stream = body + b"GET / HTTP/1.1\r\n"
    pieces = [stream[at : at + piece_bytes] for at in range(0, len(stream), piece_bytes)]
    receiver, received_content, consumed_bytes = receive(pieces)
    assert (receiver.completed, receiver.error, received_content) == (True, None, content)
    assert (len(receiver), consumed_bytes) == (len(content), len(body))


def test_damage_anywhere_in_a_row_of_chunks_is_refused() -> None:
    body, _ = to_chunks([8] * 400, random.Random(1))
    for number in (0, 1, 9, 200, 399):
        for place in (0, 1, 2, 11, 12):
            at = number * 13 + place
            damaged_body = body[:at] + b"?" + body[at + 1 :]
            receiver, _, _ = receive([damaged_body])
            assert receiver.error is not None, (number, place)


def test_limits_apply_to_rows_of_chunks() -> None:
    body, _ = to_chunks([8] * 5000, random.Random(1))
    receiver, _, _ = receive([body], limit_bytes=20_000)
    assert receiver.is_too_large
    many = waitress_chunks.FREE_CHUNKS
    body, _ = to_chunks([1] * (many - 10) + [8] * 100, random.Random(1))
    receiver, _, _ = receive([body])
    assert receiver.error is not None and "too small" in receiver.error.body


def test_row_of_small_chunks_is_not_processed_chunk_by_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    body, content = to_chunks([8] * 100_000, random.Random(1))
    steps = 0
    process_line = ChunkReceiver._process_line

    def count_line(receiver: ChunkReceiver, line: bytes) -> None:
        nonlocal steps
        steps += 1
        process_line(receiver, line)

    monkeypatch.setattr(ChunkReceiver, "_process_line", count_line)
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
    uploaded_file = upload.finish(400_000)
    assert len(writes) < 10
    assert Path(uploaded_file.path).read_bytes() == b"".join(b"%08d" % number for number in range(50_000))
