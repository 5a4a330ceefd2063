"""The watch over the invariants in production: looks again and again, and where one is broken stops the sales of that bay and says so.

For both sides. Not for keeping the invariants: that is done where things change, and nothing here repairs by itself. A person lifts the
stop with a reason; what can be put right is then put right by the ledger's own rules, the rest is noted as let stand.
Invariant: a stop is written only after the same question was answered the same way inside the transaction that writes it, and a look
never holds up the event loop for longer than one window of one bay.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import msgspec

from ..errors import Failure
from ..model import Interval, site_of
from ..runtime import log
from ..runtime.database import Database, Event, InlineWriter, Tx
from . import claims, fencing, journal, records, soundness, standing, streams
from .desk import Desk
from .soundness import Breach

DAY = 96  # slots
#: days around now that are looked at as soon as something changed there
NEAR_DAYS_BEFORE, NEAR_DAYS_AFTER = 1, 3
#: everything is looked at once in so many seconds, and at the first look
ALL_EVERY_S = 6 * 3600
#: bays that one look takes; the rest waits for the next
BAYS_MAX = 200
#: where a person lifts a stop, the whole stream is followed, and not a stretch of it
ALL_ROWS = 1 << 40
_log = log.get("ledger.watch")
Question = Callable[[Tx], list[Breach]]


class Standing(msgspec.Struct, frozen=True):
    """A breach in the books: `state` is `open`, or `accepted` once a person let it stand. `at` in unix seconds."""

    breach: Breach
    state: str
    at: int


# ---- in the books
def note(tx: Tx, desk: Desk, found: Iterable[Breach]) -> int:
    """Enters breaches and stops the sales of their bays. What a person let stand, or is known, changes nothing; a journal that a person let stand
    and that was changed once more is told again. Returns how many are new."""
    new = 0
    for b in found:
        fresh = tx.run(
            "INSERT INTO breaches (kind, site_id, resource_id, ref, detail, state, at) VALUES (:k, :s, :r, :ref, :d, 'open', :at)"
            " ON CONFLICT (site_id, resource_id, kind, ref) DO UPDATE SET state = 'open', detail = excluded.detail, at = excluded.at"
            " WHERE breaches.kind = 'journal' AND breaches.state = 'accepted' AND breaches.detail <> excluded.detail",
            {"k": b.kind, "s": b.site_id, "r": b.resource_id, "ref": b.ref, "d": b.detail, "at": desk.now()},
        )
        if not fresh:
            continue
        new += 1
        if b.kind != "journal":  # tells of people, not of slots
            standing.halt(tx, desk, b.site_id, b.resource_id, b.detail)
        tx.tell("alarm", b.site_id)
        _log.error("invariant.broken", kind=b.kind, site_id=b.site_id, resource_id=b.resource_id, ref=b.ref, detail=b.detail)
    return new


def known(tx: Tx, site_id: str) -> list[Standing]:
    rows = tx.all(
        "SELECT kind, site_id, resource_id, ref, detail, state, at FROM breaches WHERE site_id = :s ORDER BY at, resource_id, kind, ref",
        {"s": site_id},
    )
    return [Standing(Breach(*row[:5]), row[5], row[6]) for row in rows]


def open_count(tx: Tx, site_id: str) -> int:
    return tx.one("SELECT COUNT(*) FROM breaches WHERE site_id = :s AND state = 'open'", {"s": site_id})[0]


def lift(tx: Tx, desk: Desk, site_id: str, resource_id: str, *, by: str, reason: str) -> tuple[Breach, ...]:
    """A person has looked and lets the bay (the site, where `resource_id` is empty) be sold again.

    A claim without a reason is ended and a live booking without its slots takes them, or is displaced and told, as always. Returns what
    still does not hold and is let stand from now on; each is journalled. A changed journal stops nothing, and stays told.
    Where both sides sell the same slots, the repair that begins raises the hub's line again (loss-2).
    """
    streams.lock(tx, site_id)
    before = [s.breach for s in known(tx, site_id) if s.breach.resource_id == resource_id and s.breach.kind != "journal"]
    for b in before:
        _mend(tx, desk, b)
    now_found = _ask_bay(tx, resource_id, Interval(0, 1 << 40)) if resource_id else soundness.stream(tx, site_id, limit=ALL_ROWS)[0]
    again = {_key(b) for b in now_found}
    left = tuple(b for b in before if _key(b) in again or b.kind == "books")
    tx.run("DELETE FROM breaches WHERE site_id = :s AND resource_id = :r AND kind <> 'journal'", {"s": site_id, "r": resource_id})
    for b in left:
        tx.run(
            "INSERT INTO breaches (kind, site_id, resource_id, ref, detail, state, at) VALUES (:k, :s, :r, :ref, :d, 'accepted', :at)",
            {"k": b.kind, "s": b.site_id, "r": b.resource_id, "ref": b.ref, "d": b.detail, "at": desk.now()},
        )
        records.journal(tx, desk.now(), site_id, by, f"let stand: {b.kind}", b.ref, reason)
    standing.lift(tx, desk, site_id, resource_id, by, reason)
    tx.tell("alarm", site_id)
    return left


def accept_changed(tx: Tx, desk: Desk, site_id: str, ref: str, *, by: str, reason: str) -> bool:
    """A person has looked at a journal (`ref` as its breach names it) that was changed from outside, and says what it was. False if none waits."""
    found = tx.run("UPDATE breaches SET state = 'accepted' WHERE kind = 'journal' AND site_id = :s AND ref = :r AND state = 'open'", {"s": site_id, "r": ref})
    if found:
        records.journal(tx, desk.now(), site_id, by, "let stand: changed from outside", ref, reason)
        tx.tell("alarm", site_id)
    return bool(found)


def _sound_again(tx: Tx, site_id: str, ref: str) -> None:
    """What a person let stand is gone; what nobody has looked at stays told although somebody has put it back."""
    tx.run("DELETE FROM breaches WHERE kind = 'journal' AND site_id = :s AND ref = :r AND state = 'accepted'", {"s": site_id, "r": ref})


def _key(b: Breach) -> tuple[str, str, str]:
    return b.kind, b.resource_id, b.ref


def _ask_bay(tx: Tx, resource_id: str, window: Interval) -> list[Breach]:
    return soundness.bay(tx, site_of(resource_id), resource_id, window)


def _mend(tx: Tx, desk: Desk, breach: Breach) -> None:
    if breach.kind == "line":
        fencing.fence(tx, desk, breach.site_id, breach.detail)
        return
    b = records.booking(tx, breach.ref)
    if breach.kind == "unowned":
        if b is None or b.status not in soundness.LIVE:
            claims.free(tx, desk, breach.ref)
        else:  # a living booking keeps what is its own
            freed = claims.drop(tx, b.id)
            _take_again(tx, desk, b.id)
            for resource_id, interval in freed:
                claims.pass_on(tx, desk, resource_id, interval)
    elif breach.kind in ("unclaimed", "overlap") and b is not None and b.status in soundness.LIVE:
        _take_again(tx, desk, b.id)


def _take_again(tx: Tx, desk: Desk, booking_id: str) -> None:
    b, a = records.booking(tx, booking_id), records.attendance(tx, booking_id)
    if b.status == "pending":
        claims.take_free(tx, b.resource_id, b.claimed, "pending", b.id)
    elif a is not None and a.seat:
        claims.take_free(tx, a.seat, b.claimed, "booking", b.id)
    else:
        claims.seat(tx, desk, b)


# ---- again and again
class Watch:
    """The looks of one side; `chains` are looked at beside the journal.

    `begin()` is called before the first sale, `look()` about once a minute; `lines_heard` for every answered hello at the hub.
    """

    def __init__(self, db: Database | InlineWriter, desk: Desk, *chains: journal.Chained):
        self._db, self._desk, self._chains = db, desk, (journal.JOURNAL, *chains)
        self._changed: dict[str, None] = {}
        self._all_at = 0
        self._noting: set[asyncio.Task] = set()
        self._first: asyncio.Task | None = None
        self.looks = 0
        db.listen(self._heard)

    def _heard(self, events: list[Event]) -> None:
        for topic, key in events:
            if topic == "resource":
                self._changed[key] = None

    async def begin(self) -> None:
        """Whatever was done to the books while nobody had them open: the near days are looked at before this returns (0.4 ms a bay and day),
        those of as many bays as one look takes, and everything right afterwards. Books that cannot be read or written are looked at later."""
        try:
            for resource_id in self._db.read(_bays)[:BAYS_MAX]:
                await self._look_near(resource_id)
        except Failure as error:
            _log.error("watch.first_look_failed", why=error.detail)
            return
        self._first = asyncio.get_running_loop().create_task(self._look_first())

    async def _look_first(self) -> None:
        try:
            await self.look_at_all()
        except Exception as error:
            self._all_at = 0  # the next look begins anew
            _log.error("watch.first_look_failed", error=error)

    async def look(self) -> int:
        """What changed since the last look, in the near days, and every stream; everything where that is due. Returns how many breaches
        are new."""
        self.looks += 1
        if self._desk.now() - self._all_at >= ALL_EVERY_S:
            return await self.look_at_all()
        bays = list(self._changed)[:BAYS_MAX]
        for resource_id in bays:
            del self._changed[resource_id]
        new = 0
        for resource_id in bays:
            new += await self._look_near(resource_id)
        return new + await self._look_at_links()

    async def _look_near(self, resource_id: str) -> int:
        first = self._desk.now_slot() - NEAR_DAYS_BEFORE * DAY
        new = 0
        for day in range(NEAR_DAYS_BEFORE + NEAR_DAYS_AFTER):
            new += await self._look_at(resource_id, Interval(first + day * DAY, first + (day + 1) * DAY))
        return new

    async def look_at_all(self) -> int:
        """Every bay and every day in the books, every stream, every row of the journal."""
        self._all_at = self._desk.now()
        self._changed.clear()
        new = 0
        for resource_id in self._db.read(_bays):
            first, last = self._db.read(lambda tx, r=resource_id: _extent(tx, r))
            for start in range(first, last, DAY):
                new += await self._look_at(resource_id, Interval(start, start + DAY))
        return new + await self._look_at_links() + await self.look_at_chains()

    async def _look_at(self, resource_id: str, window: Interval) -> int:
        return await self._ask(lambda tx: _ask_bay(tx, resource_id, window))

    async def _look_at_links(self) -> int:
        new = 0
        for site_id in self._db.read(streams.sites):
            new += await self._ask(lambda tx, s=site_id: soundness.books(tx, s, self._desk.now()))
            after = -1
            while True:
                found, on = self._db.read(lambda tx, s=site_id, a=after: soundness.stream(tx, s, a))
                if found:  # asked again from where we were, since what waits is let go meanwhile
                    new += await self._note(lambda tx, s=site_id, a=after: soundness.stream(tx, s, a)[0])
                await asyncio.sleep(0)
                if on < 0:
                    break
                after = on
        return new

    async def look_at_chains(self) -> int:
        """Every row of the journal and of what is chained like it. Returns how many breaches are new."""
        new = 0
        for kept in self._chains:
            for site_id in self._db.read(lambda tx, k=kept: journal.sites(tx, k)):
                new += await self._look_at_chain(kept, site_id)
        return new

    async def _look_at_chain(self, kept: journal.Chained, site_id: str) -> int:
        check, here = journal.Check(site_id, kept=kept), self._db.read(streams.sites)
        while not self._db.read(check.step):
            await asyncio.sleep(0)
        report = check.report()
        told_at = site_id or (here[0] if len(here) == 1 else "")  # what belongs to no site is told where there is but one
        ref = (site_id or "no site") if kept is journal.JOURNAL else kept.called
        if not report.problems:  # told where it cannot be changed any more, so that a chain written anew shows
            await self._db.write(lambda tx: _sound_again(tx, told_at, ref))
            _log.info(f"{kept.called.replace(' ', '_')}.sound", site_id=site_id, rows=report.rows, head=f"{report.n}:{report.chain}")
            return 0
        detail = f"The {kept.called} was changed from outside: {'; '.join(report.problems)}."
        return await self._note(lambda tx: [Breach("journal", told_at, "", ref, detail)])

    def lines_heard(self, site_id: str, told: dict[str, int], epoch: str) -> None:
        """At the hub, with the lines and the epoch of a hello that answered our own nonce (`site_line <= hub_line`)."""
        if self._db.read(lambda tx: soundness.lines_told(tx, site_id, told, epoch)):
            task = asyncio.get_running_loop().create_task(self._note(lambda tx: soundness.lines_told(tx, site_id, told, epoch)))
            self._noting.add(task)
            task.add_done_callback(self._noting.discard)

    async def stop(self) -> None:
        """Ends a first look that is under way, and waits for what is being noted."""
        if self._first is not None:
            self._first.cancel()
            await asyncio.gather(self._first, return_exceptions=True)
        await asyncio.gather(*self._noting, return_exceptions=True)

    async def _ask(self, question: Question) -> int:
        found = self._db.read(question)
        await asyncio.sleep(0)
        return await self._note(question) if found else 0

    async def _note(self, question: Question) -> int:
        return await self._db.write(lambda tx: note(tx, self._desk, question(tx)))


def _bays(tx: Tx) -> list[str]:
    return [r[0] for r in tx.all("SELECT resource_id FROM lines ORDER BY resource_id")]


def _extent(tx: Tx, resource_id: str) -> tuple[int, int]:
    """The slots from the first thing of the bay in the books to the last; each is found by an index."""
    ends = tx.one(
        "SELECT (SELECT MIN(slot) FROM claims WHERE resource_id = :r), (SELECT MIN(first) FROM bookings WHERE resource_id = :r),"
        " (SELECT MAX(slot) FROM claims WHERE resource_id = :r), (SELECT MAX(first) FROM bookings WHERE resource_id = :r)",
        {"r": resource_id},
    )
    begins, last = [at for at in ends[:2] if at is not None], [at for at in ends[2:] if at is not None]
    return (min(begins), max(last) + soundness.LONGEST) if begins else (0, 0)
