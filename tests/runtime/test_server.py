"""Serving on a real port: raw bytes, streams, signals, systemd."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest

from shared.runtime import server
from shared.runtime.server import ListenError, listen, notify
from shared.runtime.web import EdgeSettings
from tests.runtime.demo_app import Demo, served


async def spoken(port: int, raw: bytes, *, end: bool = False) -> tuple[int, dict[str, str], bytes]:
    """Send raw bytes, read one answer: status, headers, body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(raw)
        if end:
            writer.write_eof()
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)}
        body = await asyncio.wait_for(reader.readexactly(int(headers.get("content-length", 0))), 5)
        return int(lines[0].split()[1]), headers, body
    finally:
        writer.close()


BODY = b'{"id":"3f1c6f0a-7d55-4c7e-9a55-0d6f6a1b2c3d","slots":[1],"guest":{"name":"Testa Birdie"}}'
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
HOST = b"Host: demo.test\r\n"
POST = b"POST /api/v1/things HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"

HOSTILE = [
    b"GET /\x00 HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /%00 HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /%ff HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /api/v1/hello?a=\xc3\x28 HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /api/v1/hello?%ff=1 HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET api/v1/hello HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /../../etc/passwd HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET //evil.test/ HTTP/1.1\r\n" + HOST + b"\r\n",
    b"CONNECT demo.test:443 HTTP/1.1\r\n" + HOST + b"\r\n",
    b"TRACE /api/v1/hello HTTP/1.1\r\n" + HOST + b"\r\n",
    b"BREW /pot HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /api/v1/hello HTTP/9.9\r\n\r\n",
    b"GET /api/v1/hello HTTP/1.1\r\nHost: a\x00b\r\n\r\n",
    b"GET /api/v1/hello HTTP/1.1\r\nHost: <script>\r\n\r\n",
    b"GET /api/v1/hello HTTP/1.1\r\nno colon here\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"SSH-2.0-x\r\n\r\n",
    POST + b"Content-Length: -5\r\n\r\n" + BODY,
    POST + b"Content-Length: 99999999999999999999999\r\n\r\n",
    POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n12345",
    POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    POST + b"Content-Length: 99999999\r\n\r\n",
    POST + b"Content-Encoding: gzip\r\n" + LENGTH + b"\r\n" + b"\x1f" * len(BODY),
    POST + b"\r\n",
    b"POST /api/v1/things HTTP/1.1\r\n" + HOST + LENGTH + b"\r\n" + BODY,
    b"POST /api/v1/things HTTP/1.1\r\n" + HOST + b"Content-Type: \xff\xff;;;=\r\n" + LENGTH + b"\r\n" + BODY,
    b"POST /notes HTTP/1.1\r\n" + HOST + b"Cookie: \xff\x80=\xfe; visitor=\xff\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    b"Content-Length: 9\r\n\r\ntext=%ff%",
    b"GET /api/v1/nothing HTTP/1.1\r\n" + HOST + b"Accept: text/html;q=abc\r\nAccept-Language: \xff\r\n\r\n",
]


async def test_hostile_bytes_are_answered_with_a_problem_and_the_server_lives():
    async with served(Demo().edge) as port:
        for raw in HOSTILE:
            status, headers, body = await spoken(port, raw)
            assert 400 <= status < 500, (raw, status, body)
            assert headers["content-type"] == "application/problem+json", (raw, headers)
            assert json.loads(body)["status"] == status and b"Traceback" not in body
        status, headers, _ = await spoken(port, POST + LENGTH + b"\r\n" + BODY)
        assert status == 201 and "server" not in headers


async def test_a_chunked_body_past_the_limit_is_cut():
    async with served(Demo(EdgeSettings(body_max=1000)).edge) as port:
        chunk = b"200\r\n" + b"x" * 512 + b"\r\n"
        status, headers, _ = await spoken(port, POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 3)
        assert status == 413 and headers["connection"] == "close"


async def test_a_head_without_end_is_refused_and_a_slow_one_closed(monkeypatch):
    monkeypatch.setattr(server, "HEAD_WAIT_S", 0.2)
    async with served(Demo().edge) as port:
        status, _, body = await spoken(port, b"GET / HTTP/1.1\r\nx-long: " + b"a" * 200_000)
        assert status == 431 and json.loads(body)["code"] == "headers_too_large"
        for start in (b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\nx-slow: "):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(start)
            assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.close()


async def test_a_body_that_trickles_in_is_not_waited_for_without_end(monkeypatch):
    monkeypatch.setattr(server, "BODY_WAIT_S", 0.3)
    async with served(Demo().edge) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(POST + b"Content-Length: 500\r\n\r\n{")
        ended = asyncio.create_task(reader.read())
        async with asyncio.timeout(5):
            while not ended.done():
                writer.write(b" ")
                await asyncio.sleep(0.05)
        assert ended.result() == b"", "closed, without an answer"
        writer.close()


async def test_an_idle_connection_that_has_asked_once_is_kept(monkeypatch):
    monkeypatch.setattr(server, "HEAD_WAIT_S", 0.1)
    async with served(Demo().edge) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(b"GET /health/live HTTP/1.1\r\n" + HOST + b"\r\n")
            assert b"200 OK" in await asyncio.wait_for(reader.readuntil(b"}"), 5)
            await asyncio.sleep(0.25)
        writer.close()


async def test_a_client_that_leaves_in_the_middle_is_no_bug(caplog):
    async with served(Demo().edge) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(POST + b"Content-Length: 500\r\n\r\n{")
        await writer.drain()
        writer.close()
        for _ in range(20):
            status, _, _ = await spoken(port, b"GET /health/live HTTP/1.1\r\n" + HOST + b"\r\n")
        assert status == 200
    assert not [record for record in caplog.records if record.message == "http.unexpected"]


async def test_an_answer_that_breaks_halfway_is_cut_and_logged(caplog):
    async with served(Demo().edge) as port, httpx.AsyncClient() as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(f"http://127.0.0.1:{port}/api/v1/halfway")
    assert [record for record in caplog.records if record.message == "http.broken_answer"]


async def test_an_open_stream_does_not_hold_up_the_end_and_ends_well(caplog):
    async with served(Demo().edge) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /stream HTTP/1.1\r\n" + HOST + b"\r\n")
        await asyncio.wait_for(reader.readuntil(b": hi\n\n"), 5)
        began = time.monotonic()
    assert time.monotonic() - began < 3
    assert await asyncio.wait_for(reader.read(), 5) == b"\r\n0\r\n\r\n"
    assert not [record for record in caplog.records if "Exception" in record.message]
    writer.close()


async def test_streams_are_told_when_the_end_begins():
    told = asyncio.Event()

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            while True:
                kind = (await receive())["type"]
                await send({"type": kind + ".complete"})
                if kind == "lifespan.shutdown":
                    return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await told.wait()
        await send({"type": "http.response.body", "body": b"bye", "more_body": False})

    async with httpx.AsyncClient() as client:
        async with served(app, on_stop=told.set, stream_end_s=5) as port:
            asked = asyncio.create_task(client.get(f"http://127.0.0.1:{port}/"))
            while not (await asyncio.sleep(0.01)) and port_idle(port):
                pass
            began = time.monotonic()
        assert (await asked).text == "bye" and time.monotonic() - began < 2


def port_idle(port: int) -> bool:
    """No connection is established to the port yet (read from the kernel's table)."""
    wanted = f":{port:04X}"
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    return not any(row[1].endswith(wanted) and row[3] == "01" for row in rows)


async def test_an_app_that_does_not_start_is_an_error_and_not_a_dead_process():
    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with pytest.raises(RuntimeError, match="did not start"):
        async with served(app):
            raise AssertionError("was served")


def test_a_port_that_is_taken_is_told_or_replaced():
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match=f"port {port}: another program has it"):
            listen("127.0.0.1", port)
        with listen("127.0.0.1", port, or_free=True) as other:
            assert other.getsockname()[1] not in (0, port)
    with pytest.raises(ListenError, match="Cannot listen on 192.0.2.1"):
        listen("192.0.2.1", 0)


def test_systemd_is_told_when_it_asked(tmp_path, monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify("READY=1")
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(address)
        sock.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        assert notify("READY=1") and sock.recv(100) == b"READY=1"
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    assert not notify("READY=1")


PROGRAM = """
import sys
from shared.runtime.server import listen, run
from tests.runtime.demo_app import Demo
run(Demo().edge, listen("127.0.0.1", 0), ready=lambda port: print(port, flush=True))
print("stopped", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_process_clean_and_systemd_hears_all_of_it(tmp_path, number):
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(address)
        told.settimeout(10)
        settings = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "600000", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, env=os.environ | settings, text=True) as process:
            port = int(process.stdout.readline())
            with httpx.stream("GET", f"http://127.0.0.1:{port}/stream") as answer:
                assert answer.status_code == 200
                heard = {told.recv(100) for _ in range(3)}
                process.send_signal(number)
                assert process.stdout.readline() == "stopped\n"
            assert process.wait(10) == 0
        while (word := told.recv(100)) == b"WATCHDOG=1":
            pass
    assert heard == {b"READY=1", b"WATCHDOG=1"} and word == b"STOPPING=1"
