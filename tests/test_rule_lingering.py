"""A rejected client's connection is closed for writing only, in whatever order the loop and the task proceed."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import pytest
from waitress.adjustments import Adjustments

from chachaml_lite.waitress_channel import Channel


@pytest.mark.parametrize("ends", ["before the write", "during the write"])
def test_rejected_connection_is_closed_for_writing_only(ends: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel = Channel(SimpleNamespace(active_channels={}), ours, "peer", Adjustments(), map={})
        channel.lingers = True

        def end(do_close: bool = True) -> bool:
            channel.close_when_flushed = True  # as waitress's thread does once the response is complete
            return True

        if ends == "before the write":
            end()
            assert channel.writable() and not channel.readable()
        else:
            monkeypatch.setattr(channel, "_flush_some", end)
        channel.handle_write()
        assert theirs.recv(1) == b""
        theirs.sendall(b"more of the body")
        assert channel.connected and channel.readable() and not channel.writable()
        channel.handle_read()
        assert channel.connected and not channel.requests


def test_connection_that_does_not_linger_is_closed_after_its_last_response() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel = Channel(SimpleNamespace(active_channels={}), ours, "peer", Adjustments(), map={})
        channel.close_when_flushed = True
        assert channel.writable() and not channel.readable()
        channel.handle_write()
        assert not channel.connected and theirs.recv(1) == b""
