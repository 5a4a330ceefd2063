"""A vendor on a free port of this machine that answers as it is told: over HTTP (`HttpStub`) or line by line (`SmtpStub`).

It keeps what it was asked. `CLOSE` as an answer: the request is read to its end and the connection closed without a word, which is how an
answer gets lost. `HANG`: nothing comes at all.
"""

import asyncio
import contextlib
import ssl
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from email.utils import formatdate
from urllib.parse import parse_qs, urlsplit

CLOSE, HANG = object(), object()


@dataclass
class Asked:
    """One request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query, keep_blank_values=True)

    @property
    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body.decode(), keep_blank_values=True).items()}


@dataclass
class Says:
    """An answer: status, body, headers."""

    status: int
    body: str | bytes = ""
    headers: dict[str, str] = field(default_factory=dict)


class _Server(ABC):
    def __init__(self) -> None:
        self.hold = asyncio.Event()
        self._tasks: set[asyncio.Task] = set()

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        self._server = await asyncio.start_server(self._met, "127.0.0.1", 0, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
            await self.serve(reader, writer)
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            writer.close()

    @abstractmethod
    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One conversation, to its end."""

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class HttpStub(_Server):
    """`answers`: said one after the other, the last one again and again."""

    def __init__(self, *answers: object) -> None:
        super().__init__()
        self.answers, self.asked = list(answers), []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            first, *lines = head.decode("latin-1").split("\r\n")
            method, target, _ = first.split(" ", 2)
            headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            self.asked.append(Asked(method, target, headers, body))
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if answer is CLOSE:
                return
            if answer is HANG:
                await self.hold.wait()
                return
            raw = answer.body.encode() if isinstance(answer.body, str) else answer.body
            more = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
            start = f"HTTP/1.1 {answer.status} Said\r\nDate: {formatdate(usegmt=True)}\r\nContent-Length: {len(raw)}\r\n{more}\r\n"
            writer.write(start.encode() + raw)
            await writer.drain()


class SmtpStub(_Server):
    """`says`: verb -> the reply instead of the usual one ("GREETING", "END" for what follows the text). `letters`: what was handed over."""

    def __init__(
        self, says: dict[str, object] | None = None, *, offers: tuple[str, ...] = ("8BITMIME",), upgrade: ssl.SSLContext | None = None
    ) -> None:
        super().__init__()
        self.says, self.offers, self.upgrade = says or {}, offers, upgrade
        self.letters: list[bytes] = []
        self.heard: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not await self._say(writer, "GREETING", "220 stub.example.test ESMTP"):
            return
        while line := (await reader.readline()).decode().rstrip("\r\n"):
            self.heard.append(line)
            verb = line.split(" ")[0].upper()
            if verb == "EHLO":
                lines = ["stub.example.test", *self.offers]
                usual = "\r\n".join(f"250{'-' if offer is not lines[-1] else ' '}{offer}" for offer in lines)
            else:
                usual = {"DATA": "354 go on", "QUIT": "221 bye", "STARTTLS": "220 go on", "AUTH": "235 welcome"}.get(verb, "250 fine")
            if not await self._say(writer, verb, usual):
                return
            if verb == "STARTTLS" and self.upgrade is not None:
                await writer.start_tls(self.upgrade)
            if verb == "DATA" and "DATA" not in self.says:
                self.letters.append(await reader.readuntil(b"\r\n.\r\n"))
                if not await self._say(writer, "END", "250 2.0.0 queued as 4711"):
                    return

    async def _say(self, writer: asyncio.StreamWriter, verb: str, usual: str) -> bool:
        answer = self.says.get(verb, usual)
        if answer is CLOSE:
            return False
        if answer is HANG:
            await self.hold.wait()
            return False
        writer.write(f"{answer}\r\n".encode())
        await writer.drain()
        return True
