"""Everything that happens at the doors, once each: the notification stream while it lives, the log for whatever it did not tell.

Not for: connections (`stream`) or HTTP (`wire`). Invariants: after every connection the log is read from before the last event on, and again
every `look_every_s`, so what the stream loses comes late and not never; an event is known by its key, whichever way it came; memory is
bounded however many rows the log has.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Container
from contextlib import aclosing, suppress

import msgspec

from site_agent.devices.unifi import objects, words
from site_agent.devices.unifi.stream import Line, Stream, StreamEnded
from site_agent.devices.unifi.wire import Wire, WireError
from site_agent.ports import DoorEvent

log = logging.getLogger("site_agent.devices.unifi")

PAGE_SIZE = 100
#: rows of a long log that are read and put into order together
SLICE_ROWS = 1000
PAGES_MAX = 200
#: between two pages of one look: the controller is asked for few requests a second
PAGE_PAUSE_S = 0.1
#: how far before the last event the log is read: rows come late, and those of a reader that was offline very late
BEHIND_S, BEHIND_AFTER_A_CUT_S = 120, 3600
FIRST_LOOK_S = 3600
#: a lock that opened is told at once, the row that says for whom a second later, by some firmwares not at all: then the log is looked at
ROW_WITHIN_S = 1.5
#: a row that is older than this and was not told by a stream that tells of rows shows that the stream has gone deaf
DEAF_AFTER_S = 10
#: without a stream the log is asked so often
WITHOUT_STREAM_S = 10.0
BACK_OFF_MAX_S = 60.0

_ROWS = ("access.logs.add", "access.logs.insights.add")
_PLACES = ("access.data.device.location_update_v2", "access.data.v2.location.update", "access.data.location.update")
_MODE = "access.data.setting.update"
_DEVICES = ("access.data.device.update", "access.data.v2.device.update")


class Feed:
    """The events of one controller. `now` answers unix seconds, `there` the same by the controller's clock, None where that is not known;
    `on_trouble(error)` hears of a certificate that changed."""

    def __init__(
        self,
        wire: Wire,
        stream: Stream,
        now: Callable[[], float],
        *,
        look_every_s: float,
        back_off_s: float,
        page_pause_s: float,
        on_trouble: Callable[[WireError], None] = lambda error: None,
        there: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._wire, self._stream, self._now = wire, stream, now
        self._look_every_s, self._back_off_s, self._page_pause_s = look_every_s, back_off_s, page_pause_s
        self._on_trouble, self._there = on_trouble, there
        self.live = False
        self._cursor_ms = 0
        self._given: dict[str, int] = {}
        self._known: Container[str] = frozenset()
        self._leaves: dict[str, str] = {}
        self._locks: dict[str, str] = {}
        self._look_at = 0.0
        self._row_due: dict[str, float] = {}
        self._tells_rows = self._told_trouble = False
        self._moves = 0
        self._nudged = asyncio.Event()

    def nudge(self) -> None:
        """Something has happened: where nothing is heard live, the log is asked now and not when its turn comes."""
        if not self.live:
            self._nudged.set()

    async def events(self, after_ms: int, known: Container[str]) -> AsyncIterator[DoorEvent]:
        """See `site_agent.ports.Doors.events`."""
        self._known = known
        self._cursor_ms = after_ms or int((self._now() - FIRST_LOOK_S) * 1000)
        self._given.clear()
        waits_s = self._back_off_s
        while True:
            heard = False
            try:
                async with self._stream.opened() as line, aclosing(self._follow(line)) as found:
                    heard, waits_s = True, self._back_off_s
                    self._say_back()
                    async for event in found:
                        yield event
            except StreamEnded as error:
                self._say_gone(str(error))
            except WireError as error:
                self._on_trouble(error)
                self._say_gone(str(error))
            finally:
                self.live = False
            if not heard:
                answered = False
                async with aclosing(self._by_log()) as found:
                    async for event in found:
                        answered = True
                        if event is not None:
                            yield event
                waits_s = min(waits_s, WITHOUT_STREAM_S) if answered else waits_s
            with suppress(TimeoutError):
                async with asyncio.timeout(waits_s):  # not wait_for, which before Python 3.12 may swallow a cancel
                    await self._nudged.wait()
            self._nudged.clear()
            waits_s = min(BACK_OFF_MAX_S, waits_s * 2)

    async def _by_log(self) -> AsyncIterator[DoorEvent | None]:
        """What the log has, while there is no stream. Yields None at its end if the controller answered."""
        try:
            async with aclosing(self._look(BEHIND_AFTER_A_CUT_S)) as found:
                async for event in found:
                    yield event
            for event in await self._found_leaves():
                yield event
            yield None
        except StreamEnded:
            return

    async def _follow(self, line: Line) -> AsyncIterator[DoorEvent]:
        """One line to its end. The log is read after the line is open, so that nothing falls between."""
        for event in await self._found_leaves():
            yield event
        async with aclosing(self._look(BEHIND_AFTER_A_CUT_S)) as found:
            async for event in found:
                yield event
        self.live = True
        clock = asyncio.get_running_loop().time
        self._look_at, self._row_due = clock() + self._look_every_s, {}
        while True:
            due_at = min([self._look_at, *self._row_due.values()])
            frame = await line.frame(max(0.0, due_at - clock()))
            if frame is not None:
                for event in self._read(frame):
                    yield event
            if clock() >= min([self._look_at, *self._row_due.values()]):
                missed = 0
                async with aclosing(self._look(BEHIND_S)) as found:
                    async for event in found:
                        missed += self._tells_rows and self._age_s(event) > DEAF_AFTER_S
                        yield event
                self._look_at, self._row_due = clock() + self._look_every_s, {}
                if missed:
                    raise StreamEnded(f"it did not tell of {missed} events that the log has")

    def _age_s(self, event: DoorEvent) -> float:
        """By the controller's clock, as far as its newest event tells the time there."""
        return (self._cursor_ms - event.said_ms) / 1000 if event.said_ms < self._cursor_ms else self._now() - event.at

    # ---- the stream
    def _read(self, frame: str) -> list[DoorEvent]:
        """The events of one frame. What is no JSON object is a greeting, and what cannot be read is left to the log."""
        try:
            notice = msgspec.json.decode(frame, type=objects.Notice)
        except (msgspec.DecodeError, RecursionError):
            return []
        try:
            if notice.event in _ROWS:
                return self._row(notice)
            if notice.event in _PLACES:
                place = msgspec.convert(notice.data, objects.Place, strict=False)
                state = place.state or objects.PlaceState()
                return self._place(place.id, place.name, state.lock, state.dps) if place.location_type in ("door", "") else []
            if notice.event == _MODE:
                pair = msgspec.convert(notice.data, objects.EmergencyPair, strict=False)
                return [words.emergency_event("evacuation" if pair.evacuation else "lockdown" if pair.lockdown else "normal", self._now())]
            if notice.event in _DEVICES:
                news = msgspec.convert(notice.data, objects.DeviceNews, strict=False)
                return [event for at in news.location_states or [] for event in self._place(at.location_id, "", at.lock, at.dps)]
        except msgspec.ValidationError as error:
            log.info("A notification of the door controller could not be read (%s): %s", notice.event[:60], error)
            self._look_at = 0.0
        return []

    def _row(self, notice: objects.Notice) -> list[DoorEvent]:
        if notice.event == _ROWS[0]:
            source = msgspec.convert(notice.data, objects.LogNotice, strict=False).source
        else:
            source = words.row_of_insight(msgspec.convert(notice.data, objects.Insight, strict=False))
        if not words.is_of_a_door(source):
            return []
        self._tells_rows = True
        event = words.event_of_row(source)
        self._row_due.pop(event.door_id, None)
        return [event] if self._news(event) else []

    def _place(self, door_id: str, name: str, lock: str | None, dps: str | None, *, live: bool = True) -> list[DoorEvent]:
        if not door_id:
            return []
        word, leaf = words.lock_word(lock), words.leaf_word(dps)
        if live and word == "unlocked" != self._locks.get(door_id):
            self._row_due.setdefault(door_id, asyncio.get_running_loop().time() + ROW_WITHIN_S)
        self._locks[door_id] = word
        if not leaf or self._leaves.get(door_id) == leaf:
            return []
        self._leaves[door_id] = leaf
        self._moves += 1
        return [words.leaf_event(door_id, name, leaf, lock, self._now(), self._moves, live=live)]

    async def _found_leaves(self) -> list[DoorEvent]:
        """How the leaves stand now: nobody tells what was missed of them."""
        try:
            doors = await self._wire.list_doors()
        except WireError as error:
            raise StreamEnded(str(error)) from None
        return [
            event
            for door in doors
            if door.is_bind_hub
            for event in self._place(door.id, door.name, door.door_lock_relay_status, door.door_position_status, live=False)
        ]

    # ---- the log
    async def _look(self, behind_s: int) -> AsyncIterator[DoorEvent]:
        """What the log has since `behind_s` before the last event and was not given yet, the oldest first. Raises StreamEnded."""
        there = self._there()
        if there is not None:  # a row from when its clock was ahead would have us look into the future alone
            self._cursor_ms = min(self._cursor_ms, int(there * 1000))
        since = max(0, self._cursor_ms // 1000 - behind_s)
        try:
            hits, total = await self._page(1, since, None)
            while len(hits) >= PAGE_SIZE:
                # Too many for one page: from the oldest on, in slices of time, whose pages cannot shift while new rows come.
                newest = max(hit.source.event.published for hit in hits) // 1000
                async with aclosing(self._slices(since, newest, max(total, len(hits)))) as found:
                    async for event in found:
                        yield event
                if newest <= since:
                    break
                since = newest
                hits, total = await self._page(1, since, None)
        except WireError as error:
            raise StreamEnded(str(error)) from None
        for event in self._new_of(hits):
            yield event

    async def _slices(self, since: int, last: int, total: int) -> AsyncIterator[DoorEvent]:
        step = max(1, (last - since) * SLICE_ROWS // max(1, total))
        while since <= last:
            until = min(last, since + step - 1)
            hits, count = await self._page(1, since, until)
            if count > 2 * SLICE_ROWS and until > since:
                step = max(1, step // 2)
                continue
            for number in range(2, PAGES_MAX + 1):
                if len(hits) < (number - 1) * PAGE_SIZE:
                    break
                more, _ = await self._page(number, since, until)
                hits = hits + more
            for event in self._new_of(hits):
                yield event
            since = until + 1
            if count < SLICE_ROWS // 2:
                step *= 2

    async def _page(self, number: int, since: int, until: int | None) -> tuple[list[objects.LogHit], int]:
        # Every topic in one call: which one a forced door is under is not documented.
        found = await self._wire.search_log(number, PAGE_SIZE, since=since, until=until, topic="all")
        if number > 1 or until is not None:
            await asyncio.sleep(self._page_pause_s)
        return found

    def _new_of(self, hits: list[objects.LogHit]) -> list[DoorEvent]:
        # newest first as they come; those of one moment keep their order
        events = [words.event_of_row(hit.source) for hit in reversed(hits) if words.is_of_a_door(hit.source)]
        return [event for event in sorted(events, key=lambda one: one.said_ms) if self._news(event)]

    def _news(self, event: DoorEvent) -> bool:
        """Whether it was not given before; remembers it."""
        if event.key in self._given or event.key in self._known:
            self._given.setdefault(event.key, event.said_ms)
            self._cursor_ms = max(self._cursor_ms, event.said_ms)
            return False
        self._given[event.key] = event.said_ms
        self._cursor_ms = max(self._cursor_ms, event.said_ms)
        if len(self._given) > 4 * SLICE_ROWS:
            oldest_ms = self._cursor_ms - 2 * BEHIND_AFTER_A_CUT_S * 1000
            self._given = {key: said_ms for key, said_ms in self._given.items() if said_ms >= oldest_ms}
        return True

    # ---- said once when it goes and once when it is back
    def _say_gone(self, why: str) -> None:
        if not self._told_trouble:
            log.warning("The door controller's events are not heard live: %s. Its log is asked instead.", why.rstrip("."))
        self._told_trouble = True

    def _say_back(self) -> None:
        if self._told_trouble:
            log.info("The door controller's events are heard live again.")
        self._told_trouble = False
