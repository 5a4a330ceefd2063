"""What staff pages hear as it happens: the changed cells of the day they show, with a version (B14, T3).

Changes within `COALESCE_S` go out as one event. A page that missed one (its version does not fit) is told to fetch the day again, so a
dropped event is harmless. Invariant: a version is never used twice in one process, and every process begins with a mark of its own.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import date

import msgspec

from shared.ledger.desk import Desk
from shared.ledger.frontdesk import Houses
from shared.runtime.database import Database, InlineWriter, Tx
from site_agent.store import board
from site_agent.store.board import Board, BoardBay, Figures, Item

COALESCE_S = 0.05
PING_S = 15.0
WATCHERS_MAX = 200
EVENTS_WAITING_MAX = 64
DAYS_KEPT = 16

_TOPICS = frozenset({"booking", "resource", "block", "hold", "document"})
_PANEL_TOPICS = frozenset({"conflict", "alarm", "stream", "notice"})


class Changed(msgspec.Struct, frozen=True):
    """One event: the items that are new or other, the ids that are gone, and the bays where a line moved."""

    before: str
    version: str
    items: tuple[Item, ...]
    removed: tuple[str, ...]
    bays: tuple[BoardBay, ...]


class _Day:
    """What the watchers of one day have been told."""

    def __init__(self, on: date, shown: Board):
        self.on, self.version = on, shown.version
        self.watchers: set[asyncio.Queue[bytes]] = set()
        self.remember(shown)

    def remember(self, shown: Board) -> None:
        self.items = {(item.kind, item.id): item for item in shown.items}
        self.bays = {bay.id: bay for bay in shown.bays}


class Live:
    """The days that are being watched."""

    def __init__(self, db: Database | InlineWriter, desk: Desk, houses: Houses, site_id: str):
        self._db, self._desk, self._houses, self._site_id = db, desk, houses, site_id
        self._days: dict[date, _Day] = {}
        self._mark, self._count = secrets.token_hex(4), 0
        self._timer: asyncio.TimerHandle | None = None
        self._panel_timer: asyncio.TimerHandle | None = None
        self._closed = False
        db.listen(self._changed)

    # ---- pages
    def board(self, on: date) -> Board:
        """The day as it is, under the version that its next event will continue."""
        day = self._days.get(on)
        if day is not None and day.watchers:
            self._refresh(day)
            return self._read(on, day.version)
        shown = self._read(on, self._next())
        self._days[on] = _Day(on, shown)
        while len(self._days) > DAYS_KEPT:
            oldest = next((d for d, kept in self._days.items() if not kept.watchers), None)
            if oldest is None:
                break
            del self._days[oldest]
        return shown

    def figures(self, on: date) -> Figures:
        return self._db.read(lambda tx: board.figures(tx, self._desk, self._houses.of(tx, self._site_id), on))

    @property
    def watching(self) -> int:
        return sum(len(day.watchers) for day in self._days.values())

    async def events(self, on: date, version: str, still_allowed: Callable[[], Awaitable[bool]]) -> AsyncIterator[bytes]:
        """Server-sent events of one day from `version` on; ends when the site agent stops or the watcher may no longer look."""
        if self._closed or self.watching >= WATCHERS_MAX:
            yield b"retry: 10000\n\n"
            return
        if on not in self._days:
            self.board(on)
        day, queue = self._days[on], asyncio.Queue[bytes](EVENTS_WAITING_MAX)
        day.watchers.add(queue)
        clock = asyncio.get_running_loop().time
        allowed_at = clock()
        try:
            yield b"retry: 1500\n\n"
            if version != day.version:
                yield b"event: refetch\ndata: {}\n\n"
            while not self._closed:
                try:
                    async with asyncio.timeout(PING_S):  # not wait_for, which before Python 3.12 may swallow a cancel
                        event = await queue.get()
                except TimeoutError:
                    event = b": ping\n\n"
                if clock() - allowed_at >= PING_S:  # on a busy day no ping is ever due
                    if not await still_allowed():
                        return
                    allowed_at = clock()
                if not event:
                    return
                yield event
        finally:
            day.watchers.discard(queue)

    def panels_changed(self) -> None:
        """Link, doors or conflicts are other than they were: pages fetch their panels again."""
        if self._panel_timer is None and self.watching:
            self._panel_timer = asyncio.get_running_loop().call_later(COALESCE_S, self._tell_panels)

    def tell(self, event: str, body: bytes) -> None:
        """One event for every page at once; `event` is a constant word, `body` JSON of one line."""
        for day in self._days.values():
            for queue in day.watchers:
                _put(queue, b"event: %s\ndata: %s\n\n" % (event.encode(), body))

    def close(self) -> None:
        """Ends every stream: servers wait for them at SIGTERM."""
        self._closed = True
        for day in self._days.values():
            for queue in day.watchers:
                _put(queue, b"")

    # ---- changes
    def _changed(self, events: list[tuple[str, str]]) -> None:
        topics = {topic for topic, _ in events}
        if topics & _TOPICS:
            for on in [on for on, day in self._days.items() if not day.watchers]:
                del self._days[on]
            if self._days and self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(COALESCE_S, self._flush)
        if topics & _PANEL_TOPICS:
            self.panels_changed()

    def _flush(self) -> None:
        self._timer = None
        for day in list(self._days.values()):
            self._refresh(day)

    def _refresh(self, day: _Day) -> None:
        """Tells the day's watchers what is other than what they were told last."""
        shown = self._read(day.on, day.version)
        items = {(item.kind, item.id): item for item in shown.items}
        other = tuple(item for key, item in items.items() if day.items.get(key) != item)
        gone = tuple(f"{kind}/{item_id}" for kind, item_id in day.items if (kind, item_id) not in items)
        bays = tuple(bay for bay in shown.bays if day.bays.get(bay.id) != bay)
        if not (other or gone or bays) and len(shown.bays) == len(day.bays):
            return
        before, day.version = day.version, self._next()
        if len(shown.bays) != len(day.bays) or any(bay.id not in day.bays for bay in bays):
            event = b"event: refetch\ndata: {}\n\n"
        else:
            body = msgspec.json.encode(Changed(before, day.version, other, gone, bays))
            event = b"event: cells\nid: %s\ndata: %s\n\n" % (day.version.encode(), body)
        day.remember(shown)
        for queue in day.watchers:
            _put(queue, event)

    def _tell_panels(self) -> None:
        self._panel_timer = None
        for day in self._days.values():
            for queue in day.watchers:
                _put(queue, b"event: panels\ndata: {}\n\n")

    def _read(self, on: date, version: str) -> Board:
        def look(tx: Tx) -> Board:
            return board.board(tx, self._desk, self._houses.of(tx, self._site_id), on, version)

        return self._db.read(look)

    def _next(self) -> str:
        self._count += 1
        return f"{self._mark}-{self._count}"


def _put(queue: asyncio.Queue[bytes], event: bytes) -> None:
    """A watcher that does not keep up loses its oldest event; the version then tells its page to fetch the day again."""
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(event)
