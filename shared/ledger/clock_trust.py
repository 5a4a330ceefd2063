"""Whether this box's clock may be believed, and by whose word (clock-2); the journal keeps who said so.

Three doubts: nothing has confirmed the time since boot; the clock stands behind the newest record of these books; it went ahead at once by
more than anybody's time server would. What confirms: a clock that ran on without power, a time server, the hub's reply to our nonce, the
door controller's answers, a person. Only a person may say that the records are the wrong ones.
Not here: what is refused meanwhile (`standing`), nor the difference to the other side as such (clock-1, `pump`).
Invariant: `doubt` reads no books and no files, so that every sale can ask it, from any thread.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from ..errors import refuse
from ..runtime import log
from ..runtime.clock import Clock
from ..runtime.database import Database, InlineWriter, Tx
from ..runtime.timesource import TimeSource
from . import facts, records
from .desk import Desk

_log = log.get("clock")

#: a real-time clock whose battery is dead says a year long past: before this moment (1 Jan 2026) it confirms nothing
EARLIEST_AT = 1_767_225_600
#: how often the newest trusted moment is written down: a crash forgets no more than this
KEEP_EVERY_S = 60
#: a person confirms the time that their screen showed; after this it is another time
SHOWN_MAX_S = 120
#: who may confirm, in the words of the screens
RTC, TIME_SERVER, HUB, DOORS, PERSON = "real-time clock", "time server", "hub", "door controller", "person"
_FACT = "clock"


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered over a restart: the newest trusted moment, and by whom the clock of this boot was confirmed at which difference to
    its uptime."""

    newest_at: int = 0
    confirmed_by: str = ""
    boot_id: str = ""
    offset_s: float = 0.0


class ClockState(msgspec.Struct, frozen=True, kw_only=True):
    """What people and programs see. `why` is a sentence, empty where the clock is trusted; times in unix seconds; `newest_at` 0: no record."""

    now_at: int
    trusted: bool
    why: str
    confirmed_by: str
    newest_at: int


class ClockTrust:
    """The trust of one box in its clock. `start` before anything is written; `tick` once a second."""

    def __init__(self, db: Database | InlineWriter, desk: Desk, clock: Clock, source: TimeSource):
        self._db, self._desk, self._clock, self._source = db, desk, clock, source
        self._confirmed_by = ""
        self._newest_at = 0.0
        self._offset_s = 0.0
        self._kept_at = 0.0
        self._told = ""

    async def start(self) -> None:
        """Reads what the books remember and asks the machine; from here on the desk knows the doubt."""
        kept, newest_at = self._db.read(lambda tx: (_kept(tx), newest_record(tx)))
        self._newest_at = float(max(kept.newest_at, newest_at))
        self._offset_s = self._offset()
        boot_id = self._source.boot_id()
        if boot_id and kept.boot_id == boot_id and kept.confirmed_by:
            # The clock of this boot was confirmed before we were started again; what it has done since shows against that.
            self._confirmed_by, self._offset_s = kept.confirmed_by, kept.offset_s
        if not self._confirmed_by and self._source.rtc() and self._clock.now() >= EARLIEST_AT:
            self._confirmed_by = RTC
        self._desk.clock_doubt, self._desk.believed = self.doubt, self.believed
        await self.tick()

    def doubt(self) -> str:
        """Why the clock is not to be trusted just now, as a sentence; empty where it is."""
        now = self._clock.now()
        return self._doubt(now, now - self._source.uptime_s())

    def _doubt(self, now: float, offset_s: float) -> str:
        if now < self._newest_at - self._desk.limits.clock_behind_s:
            return f"This machine's clock says {_words(now)}, but its own records go to {_words(self._newest_at)}."
        if not self._confirmed_by:
            return f"This machine's clock says {_words(now)}, and nothing has confirmed that since the machine was started."
        ahead_s = offset_s - self._offset_s
        if ahead_s > self._desk.limits.clock_ahead_s:
            return f"This machine's clock went ahead by {_length(ahead_s)} at once; it now says {_words(now)}."
        return ""

    def believed(self) -> float:
        """The time as far as it can be told: a clock that was moved out of its trust is taken for what it was, and has run on since (the
        uptime, which nobody sets). Where nothing has confirmed it since the machine was started there is nothing better than what it shows."""
        now, uptime_s = self._clock.now(), self._source.uptime_s()
        return uptime_s + self._offset_s if self._confirmed_by and self._doubt(now, now - uptime_s) else now

    def state(self) -> ClockState:
        why = self.doubt()
        return ClockState(
            now_at=int(self._clock.now()), trusted=not why, why=why, confirmed_by=self._confirmed_by, newest_at=int(self._newest_at)
        )

    async def tick(self) -> bool:
        """Once a second: asks for a time server, follows the clock while it is trusted, writes the newest moment down now and then.

        True where the doubt has come or gone.
        """
        if self._source.synchronised():
            self.confirm(TIME_SERVER, 0.0)
        now = self._clock.now()
        offset_s = now - self._source.uptime_s()
        why = self._doubt(now, offset_s)
        if not why:
            self._newest_at, self._offset_s = max(self._newest_at, now), offset_s
            if self._newest_at - self._kept_at >= KEEP_EVERY_S:
                await self.keep()
        changed = bool(why) != bool(self._told)
        if changed:
            (_log.error("clock.doubted", why=why) if why else _log.info("clock.trusted", confirmed_by=self._confirmed_by))
        self._told = why
        return changed

    async def keep(self) -> None:
        """Writes down what a restart must know. Nothing is written while the clock is in doubt: it would be believed later."""
        if self.doubt():
            return
        kept = Kept(
            newest_at=int(self._newest_at), confirmed_by=self._confirmed_by, boot_id=self._source.boot_id(), offset_s=round(self._offset_s, 3)
        )
        self._kept_at = self._newest_at
        await self._db.write(lambda tx: facts.put(tx, _FACT, msgspec.json.encode(kept).decode()))

    # ---- who confirms
    def confirm(self, by: str, skew_s: float) -> bool:
        """Somebody whose clock differs from ours by `skew_s` has just told the time. False where the difference is too large to confirm ours."""
        if abs(skew_s) > self._desk.limits.skew_stop_s:
            return False
        if not self._confirmed_by or self._offset() - self._offset_s > self._desk.limits.clock_ahead_s:
            self._confirmed_by, self._offset_s = by, self._offset()
            self._kept_at = 0.0
        return True

    async def vouch(self, by: str, shown_at: int, site_id: str) -> ClockState:
        """A person says that the time shown was right: from now on records of a later moment are the wrong ones. Journalled under `by`.

        Refuses `clock_moved` where the time shown is not the time any more.
        """
        now = self._clock.now()
        if abs(now - shown_at) > SHOWN_MAX_S:
            raise refuse("clock_moved", "The clock shows another time by now. Please look again, and confirm the time that is shown.")
        why = self.doubt()

        def run(tx: Tx) -> None:
            _no_later_than(tx, int(now))
            records.journal(tx, int(now), site_id, by, "clock confirmed", "", why)

        await self._db.write(run)  # first: a word that nobody could write down is none
        self._confirmed_by, self._newest_at, self._offset_s = PERSON, self._clock.now(), self._offset()
        await self.keep()
        await self.tick()
        return self.state()

    def _offset(self) -> float:
        """Wall clock minus uptime: stands still while the clock only runs."""
        return self._clock.now() - self._source.uptime_s()


def newest_record(tx: Tx) -> int:
    """The latest of the moments last written: the journal, the messages that wait, when a peer was heard. Unix seconds, 0 in empty books."""
    last = [
        tx.one("SELECT at FROM journal ORDER BY no DESC LIMIT 1"),
        tx.one("SELECT MAX(heard_at) FROM streams"),
        *(
            tx.one("SELECT at FROM outbox WHERE site_id = :s AND epoch = :e ORDER BY no DESC LIMIT 1", {"s": site_id, "e": epoch})
            for site_id, epoch in tx.all("SELECT site_id, epoch FROM streams")
        ),
    ]
    return max((row[0] or 0 for row in last if row), default=0)


def vouch_in(tx: Tx, now: int, site_id: str, by: str, source: TimeSource) -> None:
    """A person confirms the time of a box that is not running, from its own command line; read at the next start."""
    _no_later_than(tx, now)
    kept = Kept(newest_at=now, confirmed_by=PERSON, boot_id=source.boot_id(), offset_s=round(now - source.uptime_s(), 3))
    facts.put(tx, _FACT, msgspec.json.encode(kept).decode())
    records.journal(tx, now, site_id, by, "clock confirmed", "", "while the box was not running")


def _kept(tx: Tx) -> Kept:
    text = facts.get(tx, _FACT)
    return msgspec.json.decode(text, type=Kept) if text else Kept()


def _no_later_than(tx: Tx, now: int) -> None:
    """What says to be later than now was written by a wrong clock: it would be held against the right one at the next start."""
    tx.run("UPDATE streams SET heard_at = :n WHERE heard_at > :n", {"n": now})
    tx.run("UPDATE outbox SET at = :n WHERE at > :n", {"n": now})


def _words(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%d %b %Y, %H:%M UTC")


def _length(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes} minutes" if minutes < 180 else f"{minutes // 60} hours" if minutes < 4320 else f"{minutes // 1440} days"
