"""Hub and site, really linked and really served, in one process: `python -m tests.api.served FOLDER`. Ends by SIGTERM.

It prints one line of JSON once both answer: `{"hub": url, "site": url, "api_key", "kiosk_token", "session", "csrf_token"}`. Limits by rate and
by wrong tries are lifted, since thousands of requests come from one address; they have tests of their own. The clock stands.

Every answer is judged as it leaves: a refusal changed no book, a problem is a problem, nothing is a 5xx. What was found stands, a line
of JSON each, in `FOLDER/findings` and is for the test to read. Requests are taken one at a time, so that a change has one cause.
"""

import asyncio
import contextlib
import json
import re
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable
from contextvars import ContextVar
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

import httpx
import uvloop

from cloud_hub import app as hub_app
from cloud_hub.config import Config, HubConfig, Site
from cloud_hub.services import api_keys
from cloud_hub.store import api_keys as key_rows
from shared.ledger import streams
from shared.profiles import profile
from shared.runtime import log, passwords, ratelimit
from shared.runtime.clock import Chance, ManualClock
from shared.runtime.database import Database, Tx
from shared.runtime.server import listen, serve
from shared.runtime.transport import MemoryNetwork
from site_agent import app as site_app
from site_agent.config import load
from tests.site_agent.machines_world import NOBODY, WITH_IDS
from tests.site_agent.site_world import NOON, PASSWORD, SITE, DoorsDouble, staff_file

#: what a refusal may leave behind: wrong tries, sessions and the record of what was asked of the other side
UNWATCHED = {"sqlite_sequence", "sessions", "journal", "journal_heads"}
#: a no of the other side is kept under the id that was asked with (terr-6), and still takes no slot
RECORDED = {"slot_taken", "declined", "answer_late", "rules_violated", "already_checked_in", "already_cancelled"}


#: the tables that the request under judgement has written itself; jobs, the link and doors write beside it
OWN: ContextVar[set[str] | None] = ContextVar("own", default=None)
_WRITES = re.compile(r"\s*(?:INSERT(?: OR \w+)? INTO|REPLACE INTO|UPDATE|DELETE FROM)\s+(\w+)", re.IGNORECASE)


def note_writes() -> None:
    """From now on every transaction of this process that a request asks for notes its tables in `OWN`."""
    write, here = Database.write, threading.local()

    async def noted(self: Database, fn: Callable[[Tx], Any]) -> Any:
        own = OWN.get()
        if own is None:
            return await write(self, fn)

        def job(tx: Tx) -> Any:
            here.tables = set()
            try:
                value = fn(tx)
                own.update(here.tables)  # a transaction that was taken back has written nothing
                return value
            finally:
                here.tables = None

        return await write(self, job)

    def noting(method: Callable) -> Callable:
        def call(self: Tx, sql: str, *more: Any) -> int:
            changed = method(self, sql, *more)
            tables, found = getattr(here, "tables", None), _WRITES.match(sql)
            if changed and tables is not None and found:
                tables.add(found[1])
            return changed

        return call

    Database.write, Tx.run, Tx.many = noted, noting(Tx.run), noting(Tx.many)


class Books:
    """The rows of one side's file as a reader sees them; `changed()` tells the tables that differ since it was last asked."""

    def __init__(self, path: Path) -> None:
        self._reader = sqlite3.connect(path, check_same_thread=False)
        names = [row[0] for row in self._reader.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        self._tables = sorted(name for name in names if name not in UNWATCHED and not name.startswith("_"))
        self._version, self._seen = -1, {}
        self.changed()

    def changed(self) -> list[str]:
        (version,) = self._reader.execute("PRAGMA data_version").fetchone()
        if version == self._version:
            return []
        now = {name: hash(tuple(self._reader.execute(f"SELECT * FROM {name}"))) for name in self._tables}
        different = [name for name in self._tables if now[name] != self._seen.get(name)]
        self._version, self._seen = version, now
        return different


def _waits(db: Any) -> bool:
    try:
        return bool(db.read(lambda tx: streams.waiting(tx, SITE))[0])
    except AssertionError:  # the apps have been stopped beneath their last request
        return False


class Judge:
    """An app with every answer looked at. `quiet` waits until neither side has anything to tell the other; `whose` says which tables the
    request has written itself (None: nobody else writes)."""

    def __init__(
        self, name: str, app: Any, path: Path, quiet: Callable[[], Any], findings: Path, turn: asyncio.Lock, whose: Callable | None = None
    ) -> None:
        self.name, self.app, self.path, self.quiet, self.findings, self.turn = name, app, path, quiet, findings, turn
        self.whose = whose
        self.granted: set[str] = set()

    @cached_property
    def books(self) -> Books:
        """Opened with the first request, when the app has made them."""
        return Books(self.path)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/health/"):
            await self.app(scope, receive, send)
            return
        async with self.turn:
            self.books.changed()
            OWN.set(set())
            told: dict[str, Any] = {"status": 0, "headers": {}, "body": b""}

            async def heard(message: Any) -> None:
                if message["type"] == "http.response.start":
                    told["status"] = message["status"]
                    told["headers"] = {k.decode(): v.decode("latin-1") for k, v in message["headers"]}
                elif len(told["body"]) < 100_000:
                    told["body"] += message.get("body", b"")
                await send(message)

            await self.app(scope, receive, heard)
            if 200 <= told["status"] < 300:
                self._grant(f"{scope['method']} {scope.get('path_template', '')}")
            for what in self._wrong(scope, told):
                self._note(scope, told, what)
            await self.quiet()

    def _wrong(self, scope: Any, told: dict[str, Any]) -> list[str]:
        status, headers, body = told["status"], told["headers"], told["body"]
        wrong = []
        if status >= 500 and not (status == 503 and "retry-after" in headers):
            wrong.append("a 5xx that is no 503 with Retry-After")
        if any(word in body for word in (b"Traceback", b"sqlite3.", b"/site-packages/", b".py\"")):
            wrong.append("internals in the answer")
        if headers.get("x-content-type-options") != "nosniff" or not headers.get("x-request-id"):
            wrong.append("an answer without the edge's headers")
        if status < 400:
            return wrong
        problem = _problem(headers, body, scope["method"])
        if problem is None:
            wrong.append("a refusal that is no problem document and no page")
        elif problem and not (problem.get("status") == status and problem.get("code") and problem.get("detail", "")[-1:] in (".", "?")):
            wrong.append("a problem without code, status or a full sentence")
        changed = [table for table in self.books.changed() if self.whose is None or table in (self.whose() or ())]
        if changed and ((problem or {}).get("code") not in RECORDED or "claims" in changed):
            wrong.append(f"a refusal that changed {', '.join(changed)}")
        return wrong

    def _grant(self, place: str) -> None:
        """Notes each operation that has done what it is for, once, in `granted-APP`."""
        if place not in self.granted:
            self.granted.add(place)
            with (self.findings.parent / f"granted-{self.name}").open("a") as out:
                out.write(f"{place}\n")

    def _note(self, scope: Any, told: dict[str, Any], what: str) -> None:
        query = scope["query_string"].decode("latin-1")
        line = {"app": self.name, "what": what, "request": f"{scope['method']} {scope['path']}?{query}", "status": told["status"]}
        with self.findings.open("a") as out:
            out.write(json.dumps({**line, "body": told["body"][:600].decode("utf-8", "replace")}) + "\n")


def _problem(headers: dict[str, str], body: bytes, method: str) -> dict[str, Any] | None:
    """The problem told; empty for a page or an answer to HEAD, which has no body; None for anything else."""
    kind = headers.get("content-type", "")
    if method == "HEAD" or (kind.startswith("text/html") and body.lower().startswith(b"<!doctype html")):
        return {}
    if kind != "application/problem+json":
        return None
    with contextlib.suppress(ValueError):
        return json.loads(body)
    return None


class World:
    """Both sides, built for earnest, with doors that are a double and the clock at noon."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, ManualClock(float(NOON))
        self.network = MemoryNetwork(Random(1), asyncio.get_running_loop().call_later)
        self.hub, self.site = self._hub(), self._site()
        self.findings, self.turn = folder / "findings", asyncio.Lock()
        self.findings.touch()

    def _hub(self) -> hub_app.App:
        data = self.folder / "hub"
        told = HubConfig(hub_id="hub-test", data_dir=str(data), sites=(Site(id=SITE, name="Bedford"),))
        config = Config(hub=told, data_dir=data, profile=profile("business"))
        return hub_app.build(config, clock=self.clock, chance=Chance(3), transports=lambda site_id: self.network.attach(f"hub-{site_id}"))

    def _site(self) -> site_app.SiteAgent:
        (self.folder / "site.toml").write_text(WITH_IDS + NOBODY)
        (self.folder / "staff.toml").write_text(staff_file())
        loaded = load(self.folder / "site.toml")
        return site_app.build(loaded, clock=self.clock, chance=Chance(5), doors=DoorsDouble(), transport=self.network.attach("site"))

    async def linked(self) -> None:
        hub, link = self.hub.hub, self.site.kit.link
        ready = [lambda: hub.links.up(SITE), link.up, lambda: hub.keys.to_sign(SITE), lambda: link.key_for_the_hub(), lambda: hub.board.resources(SITE)]
        async with asyncio.timeout(20):
            while not all(one() for one in ready):
                hub.links.hello()
                link.hello()
                await asyncio.sleep(0.05)
            await self.quiet()

    async def quiet(self) -> None:
        """Neither side has anything left to tell; after 2 s it is told as it is."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                while any(_waits(db) for db in (self.hub.hub.db, self.site.kit.db)):
                    await asyncio.sleep(0.001)

    def judged(self, name: str) -> Judge:
        app, path = {
            "hub": (self.hub.asgi, self.folder / "hub" / hub_app.DATABASE),
            "site": (self.site.asgi, self.folder / "data" / site_app.DATABASE),
        }[name]
        return Judge(name, app, path, self.quiet, self.findings, self.turn, OWN.get)

    async def keys(self, site_url: str) -> dict[str, str]:
        """What opens the doors of both APIs."""
        key, api_key = api_keys.make("a hostile program", list(api_keys.SCOPES), NOON)
        await self.hub.hub.db.write(lambda tx: key_rows.add(tx, key))
        async with httpx.AsyncClient(base_url=site_url) as client:
            signed = (await client.post("/api/sign-in", json={"user": "ada", "password": PASSWORD})).json()
            session, head = client.cookies["session"], {"x-csrf-token": signed["csrf_token"]}
            code = (await client.post("/api/kiosks", json={"name": "Front kiosk"}, headers=head)).json()["code"]
            token = (await client.post("/api/kiosks/pair", json={"code": code})).json()["token"]
        return {"api_key": api_key, "kiosk_token": token, "session": session, "csrf_token": head["x-csrf-token"]}


def lift_limits() -> None:
    """No limit by rate or wrong tries in this process."""
    ratelimit.RateLimiter.take = lambda self, rule, key: (1000, 1, 0)
    passwords.LockOut.wait_s = lambda self, keys, now: 0


async def main(folder: Path) -> None:
    lift_limits()
    note_writes()
    world, stop = World(folder), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    socks = {name: listen("127.0.0.1", 0) for name in ("hub", "site")}
    urls = {name: f"http://127.0.0.1:{sock.getsockname()[1]}" for name, sock in socks.items()}
    ready = {name: asyncio.Event() for name in socks}
    async with asyncio.TaskGroup() as both:
        for name, sock in socks.items():
            told = lambda port, name=name: ready[name].set()  # noqa: E731
            both.create_task(serve(world.judged(name), sock, ready=told, stop=stop, signals=False))
        for name in socks:
            await ready[name].wait()
        await world.linked()
        print(json.dumps({**urls, **await world.keys(urls["site"])}), flush=True)


if __name__ == "__main__":
    handler = log.setup("WARNING")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(Path(sys.argv[1])))
    handler.close()
