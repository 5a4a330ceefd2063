"""The outage drill: unplugs the facility from the booking centre for some minutes, counts what went on, and reports (L7).

The link is pulled at the transport, so everything above it lives through a real outage; sales, check-ins and doors go on by themselves.
Not here: what an outage allows (the ledger) or how the plug is pulled (`plug`). Invariant: a drill never lasts longer than was asked, by
the monotonic clock; a restart ends it, because the plug does not outlive the process; every figure in a report was counted.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from shared.errors import Failure, Refused, refuse
from shared.ledger import digests, records
from shared.ledger.desk import Desk
from shared.runtime import log
from shared.runtime.database import Database, InlineWriter, Tx
from site_agent.services.link import Link
from site_agent.services.plug import Plug
from site_agent.services.tally import Counts, Tally
from site_agent.store import drills, spool

_log = log.get("site_agent.outage")

MINUTES_MAX = 60
#: so long the two sides may take to catch up before the report is closed as it stands
CATCH_UP_MAX_S = 600
#: folder of the data folder where the command leaves its wishes, and how old one may be when it is found
SPOOL, WISH_VALID_S = "drills", 60
SHOWN = 20

Ending = Literal["", "time", "early", "restart", "stopped"]
Books = Literal["not compared", "equal", "differ"]


class Drill(msgspec.Struct, frozen=True, kw_only=True):
    """One drill and its report. Times in unix seconds, 0 where it has not come to that; `-1` seconds where it never did.

    `state`: `running`, `catching_up` (plugged in again), `done`. `ended`: how it ended. `dark_after_s`: after so long this site took the
    booking centre as gone. `waiting_at_end`: messages that the booking centre had not heard when it was plugged in again, and
    `caught_up_s` how long it took to tell them. `books`: what the comparison of both sides' books said afterwards.
    """

    no: int
    by: str
    minutes: int
    state: Literal["running", "catching_up", "done"] = "running"
    started_at: int
    ends_at: int
    ended_at: int = 0
    ended: Ending = ""
    duration_s: int = 0
    dark_after_s: float = -1
    waiting_at_end: int = 0
    caught_up_s: float = -1
    books: Books = "not compared"
    counts: Counts = Counts()


class Outage:
    """At most one drill at a time. `plug` is None where no broker is configured: then there is nothing to unplug."""

    def __init__(
        self, db: Database | InlineWriter, desk: Desk, site_id: str, link: Link, plug: Plug | None, tally: Tally,
        monotonic: Callable[[], float], data_dir: Path,
    ):  # fmt: skip
        self._db, self._desk, self._site_id, self._link, self._plug, self._tally = db, desk, site_id, link, plug, tally
        self._monotonic, self._spool = monotonic, data_dir / SPOOL
        self._drill: Drill | None = None
        self._busy = False
        self._begun = self._plugged_in = 0.0
        self._written = 0
        self._answering: Path | None = None
        self._watchers: list[Callable[[], None]] = []

    def watch(self, watcher: Callable[[], None]) -> None:
        """`watcher()` is called whenever a drill has begun, ended or been reported."""
        self._watchers.append(watcher)

    # ---- at start and stop
    async def begin(self) -> None:
        """A drill that a restart has ended is closed with what was counted until then."""

        def run(tx: Tx) -> None:
            for doc in drills.unfinished(tx):
                drill = msgspec.json.decode(doc, type=Drill)
                how: Ending = drill.ended or "restart"
                over = msgspec.structs.replace(drill, state="done", ended=how, ended_at=drill.ended_at or min(self._desk.now(), drill.ends_at))
                self._put(tx, msgspec.structs.replace(over, duration_s=max(0, over.ended_at - over.started_at)))
                records.journal(tx, self._desk.now(), self._site_id, "agent", "outage drill ended", f"drill-{drill.no}", how)

        await self._db.write(run)

    async def stop(self) -> None:
        """The agent ends: so does the drill, with its report as far as it has come."""
        if self._drill is not None and self._drill.state == "running":
            await self._end("stopped", plug_in=False)
        if self._drill is not None:
            await self._finish()

    # ---- for people
    def current(self) -> Drill | None:
        """The drill that is under way, with its figures so far; else the last one; None where there never was one."""
        if self._drill is not None:
            counting = self._drill.state == "running"
            return msgspec.structs.replace(self._drill, counts=self._tally.so_far(), duration_s=self._lasted()) if counting else self._drill
        return next(iter(self.reports(1)), None)

    def reports(self, limit: int = SHOWN) -> list[Drill]:
        """The reports, the newest first."""
        return [msgspec.json.decode(doc, type=Drill) for doc in self._db.read(lambda tx: drills.latest(tx, limit))]

    async def start(self, minutes: int, by: str) -> Drill:
        """Unplugs for 1 to 60 minutes. Refuses `bad_request`, `no_broker`, `drill_running`, `hub_unreachable` (an outage is no drill)."""
        if not 1 <= minutes <= MINUTES_MAX:
            raise refuse("bad_request", f"An outage drill lasts 1 to {MINUTES_MAX} minutes.")
        if self._plug is None:
            raise refuse("no_broker", "This facility has no link to a booking centre, so there is nothing to unplug.")
        if self._busy or self._drill is not None:
            raise refuse("drill_running", "An outage drill is under way. Please wait for its report.")
        if not self._link.up():
            raise refuse("hub_unreachable", "The booking centre is not heard just now: this is an outage already, not a drill.")
        self._busy = True
        try:
            now = self._desk.now()

            def run(tx: Tx) -> Drill:
                drill = Drill(no=drills.next_no(tx), by=by, minutes=minutes, started_at=now, ends_at=now + minutes * 60)
                self._put(tx, drill)
                records.journal(tx, now, self._site_id, by, "outage drill started", f"drill-{drill.no}", f"{minutes} min")
                return drill

            drill = await self._db.write(run)
            self._begun = self._monotonic()
            self._tally.begin()
            self._drill = drill
            await self._plug.pull()
            self._see_dark()
        finally:
            self._busy = False
        _log.warning("outage.drill_started", site_id=self._site_id, drill=drill.no, minutes=minutes, by=by)
        self._tell()
        return self.current() or drill

    async def end(self, by: str) -> Drill:
        """Plugs in again before the time is over. Refuses `no_drill`."""
        if self._busy or self._drill is None or self._drill.state != "running":
            raise refuse("no_drill", "No outage drill is running.")
        ended = await self._end("early", by=by)
        return ended

    # ---- by the clock
    async def tick(self) -> None:
        """About once a second: ends what is due, follows the catching up, takes in what the command left."""
        await self._take_wishes()
        drill = self._drill
        if drill is None or self._busy:
            return
        if drill.state == "running":
            self._see_dark()
            if self._lasted() >= drill.minutes * 60:
                await self._end("time")
            elif self._tally.changes != self._written:
                self._written = self._tally.changes
                await self._keep(msgspec.structs.replace(self._drill, counts=self._tally.so_far()))
        else:
            await self._follow(drill)

    def _lasted(self) -> int:
        return int(self._monotonic() - self._begun)

    def _see_dark(self) -> None:
        if self._drill.dark_after_s < 0 and not self._link.look():
            self._drill = msgspec.structs.replace(self._drill, dark_after_s=round(self._monotonic() - self._begun, 1))

    async def _end(self, how: Ending, *, by: str = "agent", plug_in: bool = True) -> Drill:
        self._busy = True
        try:
            drill = msgspec.structs.replace(
                self._drill, state="catching_up", ended=how, ended_at=self._desk.now(), duration_s=self._lasted(), counts=self._tally.end(),
                waiting_at_end=self._link.state().waiting,
            )  # fmt: skip
            if plug_in and self._plug is not None:
                await self._plug.put_back()
            self._plugged_in = self._monotonic()
            await self._keep(drill, by, how)
        finally:
            self._busy = False
        _log.info("outage.drill_ended", site_id=self._site_id, drill=drill.no, how=how, waiting=drill.waiting_at_end)
        self._tell()
        return drill

    async def _follow(self, drill: Drill) -> None:
        """Plugged in again: until everything is told and both sides' books have been compared, or long enough has passed."""
        took_s = self._monotonic() - self._plugged_in
        state = self._link.state()
        if drill.caught_up_s < 0 and state.link == "up" and state.waiting == 0 and not state.stopped:
            self._drill = drill = msgspec.structs.replace(drill, caught_up_s=round(took_s, 1))
        if drill.caught_up_s >= 0:
            self._drill = drill = msgspec.structs.replace(drill, books=self._compared(drill.ended_at))
        if (drill.caught_up_s >= 0 and drill.books != "not compared") or took_s >= CATCH_UP_MAX_S:
            await self._finish()

    def _compared(self, since_at: int) -> Books:
        """What the digests of both directions have said since then (loss-8)."""
        told = self._db.read(lambda tx: digests.report(tx, self._site_id))
        if min(told.stated_at, told.answered_at, told.compared_at) < since_at:
            return "not compared"
        return "differ" if told.answered_differing or told.differing else "equal"

    async def _finish(self) -> None:
        drill = msgspec.structs.replace(self._drill, state="done")
        await self._keep(drill)
        self._drill = None
        _log.info("outage.drill_reported", site_id=self._site_id, drill=drill.no, caught_up_s=drill.caught_up_s, books=drill.books)
        self._answer(drill)
        self._tell()

    # ---- the books
    async def _keep(self, drill: Drill, by: str = "", why: str = "") -> None:
        self._drill = drill

        def run(tx: Tx) -> None:
            self._put(tx, drill)
            if why:
                records.journal(tx, self._desk.now(), self._site_id, by, "outage drill ended", f"drill-{drill.no}", why)

        await self._db.write(run)

    @staticmethod
    def _put(tx: Tx, drill: Drill) -> None:
        drills.put(tx, drill.no, drill.started_at, drill.state, records.text(drill))

    # ---- what the command leaves
    async def _take_wishes(self) -> None:
        for path, errand in spool.waiting(self._spool):
            if errand is None or errand.kind != "drill" or errand.ends_at <= self._desk.now():
                path.unlink(missing_ok=True)  # too old: whoever asked has gone, and an agent that starts must not unplug itself
                continue
            path.unlink(missing_ok=True)
            try:
                started = await self.start(errand.minutes, "command")
            except (Refused, Failure) as no:
                spool.answer(path, msgspec.json.encode({"refused": no.refusal.detail if isinstance(no, Refused) else no.detail}))
                continue
            self._answering = path
            spool.answer(path, msgspec.json.encode(started))

    def _answer(self, drill: Drill) -> None:
        path, self._answering = self._answering, None
        if path is not None:
            spool.answer(path, msgspec.json.encode(drill))

    def _tell(self) -> None:
        for watcher in self._watchers:
            watcher()


def sentences(drill: Drill) -> list[str]:
    """The report for people, a line each."""
    how = {"time": "as planned", "early": "ended early", "restart": "ended by a restart", "stopped": "ended because the agent was stopped"}
    lines = [f"Outage drill {drill.no}: {drill.duration_s} s unplugged of {drill.minutes} min, {how.get(drill.ended, 'still running')}."]
    if drill.dark_after_s >= 0:
        lines.append(f"The booking centre was seen as gone after {drill.dark_after_s:g} s.")
    for act in drill.counts.acts:
        lines.append(_act(act.what, act.worked, act.asked, sum(why.count for why in act.refused)))
        lines += [f"  {why.count} × {why.code}: {why.sentence}" for why in act.refused]
    if drill.counts.longest_what:
        lines.append(f"The longest answer took {drill.counts.longest_ms:g} ms ({drill.counts.longest_what}).")
    told = "message" if drill.waiting_at_end == 1 else "messages"
    lines.append(f"{drill.waiting_at_end} {told} waited for the booking centre at the end.")
    if drill.state == "done":
        caught = f"{drill.caught_up_s:g} s after plugging in" if drill.caught_up_s >= 0 else "not yet when this report was closed"
        lines.append(f"They were told {caught}. The two sides' books: {drill.books}.")
    return lines


def _act(what: str, worked: int, asked: int, refused: int) -> str:
    waiting = f", {asked} asked of the booking centre" if asked else ""
    return f"{what.capitalize()}: {worked} worked{waiting}, {refused} refused."
