"""Connections of the HTTP server: one that is used stays, one that is not is let go."""

import asyncio
import contextlib
import socket
import time

import pytest
import uvicorn

from streams.runtime import http_server


async def app(_: object, receive: object, send: object) -> None:
    """Answers at once."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})  # type: ignore[operator]
    await send({"type": "http.response.body", "body": b"ok"})  # type: ignore[operator]


@pytest.mark.parametrize("used", [True, False])
def test_a_connection_is_let_go_when_it_is_not_used(used: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "LOOK_S", 0.02)
    monkeypatch.setattr(http_server, "SILENT_S", 0.5)

    async def lasts() -> float:
        """How long a connection lasts, at most four times as long as one that is not used may."""
        listening = http_server.listen("127.0.0.1", 0)
        config = uvicorn.Config(app, log_config=None, http=http_server.Bounded, lifespan="off")  # type: ignore[arg-type]
        server = http_server.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        began = time.monotonic()
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while time.monotonic() - began < 2.0:
                if used:
                    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                    await reader.readuntil(b"ok")
                    await asyncio.sleep(0.001)
                else:
                    await reader.readexactly(1)
        lasted = time.monotonic() - began
        for one in server.server_state.connections:
            wire = one.transport.get_extra_info("socket")  # type: ignore[union-attr]
            assert wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), "an answer of two packets would wait 40 ms"
        writer.close()
        server.should_exit = True
        await serving
        return lasted

    lasted = asyncio.run(lasts())
    assert lasted >= 2.0 if used else 0.4 <= lasted < 2.0
