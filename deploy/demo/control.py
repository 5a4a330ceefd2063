"""The demo's control: what the check and the person at the terminal may do to a running demo, over HTTP on this machine only.

    POST /broker   {"do": "stop" | "start" | "kill"}   cut and heal the link; with `Authorization: Bearer <token>`
                   -> {"broker": "running" | "stopped"}
    POST /trail    {"site_id", "do": "change" | "restore"}   with the token: somebody with the disk in hand changes the newest row of a site's
                   access trail past the agent, and puts it back -> {"row": n}
    GET  /kiosk/{site_id}                              opens a site's kiosk, paired: leaves the kiosk's cookie and leads to the page

Cookies belong to a host whatever the port, so the site sees the cookie that is set here; the answer goes only to a browser that asked
for this machine by its own name. Address and token stand in `build/demo-control.json`: {"url", "token", "pid", "pids": {name: pid}}.
Not for: anything of a real installation. Invariant: without the token nothing is changed.
"""

import asyncio
import contextlib
import secrets
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
from sqlite_utils import Database

from deploy.broker import Broker, BrokerError
from shared.runtime import server
from shared.runtime.cookies import make_cookie

BODY_MAX = 1_000
OWN_NAMES = ("127.0.0.1", "localhost")
#: the name of the cookie by which a site knows its kiosks
KIOSK_COOKIE = "kiosk"


class Screen(msgspec.Struct, frozen=True):
    """A paired kiosk: the site's port, and the token that it was paired with; `books` is the file of the site's books."""

    port: int
    token: str
    books: Path = Path()

    def __repr__(self) -> str:
        return f"Screen({self.port})"


class BrokerBody(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be done to the broker; what is so already is no error."""

    do: Literal["stop", "start", "kill"]


class TrailBody(msgspec.Struct, forbid_unknown_fields=True):
    """Whose trail is to be changed or put back."""

    site_id: str
    do: Literal["change", "restore"]


class Control:
    """An ASGI app of three paths. `screens`: site id to the kiosk that a browser becomes here. `changed()` is called after an order."""

    def __init__(self, broker: Broker, screens: Mapping[str, Screen], changed: Callable[[], None]) -> None:
        self.token = secrets.token_urlsafe(24)
        self.broker_wanted = True
        self._broker = broker
        self._screens = screens
        self._changed = changed
        self._one_at_a_time = asyncio.Lock()
        self._changed_rows: dict[str, tuple[int, int, str]] = {}

    async def __call__(self, scope: dict[str, Any], receive: Callable, send: Callable) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["method"] == "POST" and scope["path"] == "/broker":
            await _answer(send, *await self._post(scope, receive, BrokerBody, self._order_broker))
        elif scope["method"] == "POST" and scope["path"] == "/trail":
            await _answer(send, *await self._post(scope, receive, TrailBody, self._order_trail))
        elif scope["method"] in ("GET", "HEAD") and scope["path"].startswith("/kiosk/"):
            await self._get_kiosk(scope, send)
        else:
            await _answer(send, 404, {"detail": "The demo's control has /broker, /trail and /kiosk/{site_id}."})

    async def _post(self, scope: dict[str, Any], receive: Callable, kind: type, order: Callable) -> tuple[int, dict[str, Any]]:
        given = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
        if not secrets.compare_digest(given.encode(), f"Bearer {self.token}".encode()):
            return 401, {"detail": "The demo's control needs the token of its file."}
        try:
            body = msgspec.json.decode(await _body(receive), type=kind)
        except msgspec.MsgspecError as error:
            return 400, {"detail": f"This is no order for the {scope['path'].removeprefix('/')}: {error}."}
        async with self._one_at_a_time:
            return await order(body)

    async def _order_broker(self, body: BrokerBody) -> tuple[int, dict[str, Any]]:
        try:
            await self._do(body.do)
            self._changed()
        except BrokerError as error:
            return 409, {"detail": str(error)}
        return 200, {"broker": "running" if self._broker.running else "stopped"}

    async def _order_trail(self, body: TrailBody) -> tuple[int, dict[str, Any]]:
        screen, kept = self._screens.get(body.site_id), self._changed_rows.get(body.site_id)
        if screen is None:
            return 404, {"detail": "The demo has no such site."}
        if (kept is None) == (body.do == "restore"):
            return 409, {"detail": "This trail is not changed." if kept is None else "This trail is changed already."}
        try:
            no, n, said = kept or await asyncio.to_thread(_newest_row, screen.books)
            await asyncio.to_thread(_say, screen.books, no, said if body.do == "restore" else f"{said} or so they say")
        except (sqlite3.Error, LookupError) as error:
            return 409, {"detail": f"The trail could not be changed: {error}."}
        if body.do == "change":
            self._changed_rows[body.site_id] = (no, n, said)
        else:
            del self._changed_rows[body.site_id]
        return 200, {"row": n}

    async def _do(self, what: str) -> None:
        if what == "start":
            if not self._broker.running:
                await asyncio.to_thread(self._broker.start)
            self.broker_wanted = True
            return
        # said first, so that nobody takes the broker's end for an accident
        self.broker_wanted = False
        await asyncio.to_thread(self._broker.stop if what == "stop" else self._broker.kill)

    async def _get_kiosk(self, scope: dict[str, Any], send: Callable) -> None:
        screen = self._screens.get(scope["path"].removeprefix("/kiosk/"))
        # a name that somebody else has pointed at this machine must not be given the cookie
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1").rpartition(":")[0]
        if screen is None or host not in OWN_NAMES:
            await _answer(send, 404, {"detail": "The demo has no such kiosk here."})
            return
        headers = [
            (b"location", f"http://{host}:{screen.port}/kiosk".encode()),
            (b"set-cookie", make_cookie(KIOSK_COOKIE, screen.token, tls=False)),
            (b"cache-control", b"no-store"),
            (b"content-length", b"0"),
        ]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


class Serving:
    """The control while it serves, on a free port."""

    def __init__(self, control: Control) -> None:
        self._sock = server.listen("127.0.0.1", 0)
        self._stop = asyncio.Event()
        self.port: int = self._sock.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._task = asyncio.create_task(server.serve(control, self._sock, stop=self._stop, signals=False))

    async def stop(self) -> None:
        self._stop.set()
        await asyncio.gather(self._task, return_exceptions=True)


def _newest_row(books: Path) -> tuple[int, int, str]:
    """The newest row of the trail in these books: its key, its number, and how it ended. LookupError where there is none."""
    with contextlib.closing(_opened(books)) as db:
        for row in Database(db)["door_trail"].rows_where(order_by="n desc", limit=1):
            return row["no"], row["n"], row["detail"]
    raise LookupError("it has no row yet")


def _say(books: Path, no: int, detail: str) -> None:
    with contextlib.closing(_opened(books)) as db:
        Database(db)["door_trail"].update(no, {"detail": detail})


def _opened(books: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{books.absolute().as_uri()}?mode=rw", uri=True)


async def _lifespan(receive: Callable, send: Callable) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        else:
            await send({"type": "lifespan.shutdown.complete"})
            return


async def _body(receive: Callable) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > BODY_MAX or message["type"] != "http.request" or not message.get("more_body"):
            return body[: BODY_MAX + 1]


async def _answer(send: Callable, status: int, value: dict[str, Any]) -> None:
    body = msgspec.json.encode(value)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
