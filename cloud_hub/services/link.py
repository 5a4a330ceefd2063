"""The links to all sites: one pump each, what is known of their state, and what the clock does with them.

Invariant: a link is *up* only by the pump's word (a reply to our own nonce, stream-4); a site that is not enrolled here has no link, so
nothing is sold for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from shared.errors import refuse
from shared.ledger import digests, lines, standing, streams
from shared.ledger.desk import Desk
from shared.ledger.pump import Pump
from shared.ledger.watch import Watch, open_count
from shared.messages import Hello, Topics
from shared.runtime import log
from shared.runtime.clock import Clock
from shared.runtime.database import Database, InlineWriter, Tx
from shared.runtime.transport import Transport

from .keys import Keys

_log = log.get("hub.link")
GOODBYE = b'{"up":false}'


class LinkState(msgspec.Struct, frozen=True, kw_only=True):
    """One link as people see it. Times in unix seconds, 0 for never; `lines` in slots: from there on the hub sells.

    `link`: `up`, `dark`, or `stopped` where the stream stands until a person has looked (`stopped_why`). `books` is what came of comparing
    them with the site's; `doubtful` are the bookings on which they differ and which people must settle (loss-8).
    `recovery`: `sound`, `fenced` (our books may lack sales of the site), `repairing`, or `retired` (another hub stands in our place);
    `unvouched`: the repair waits until somebody vouches that the hub before us is off (loss-5).
    `halted` are the bays whose sales are stopped here, `breaches` the broken invariants behind it that nobody has looked at.
    """

    site_id: str
    link: str
    since_at: int
    heard_at: int
    rtt_s: float
    skew_s: float
    skew_shown: bool
    releasing: bool
    waiting_rows: int
    waiting_since_at: int
    stopped_why: str
    fenced_why: str
    unknown_rows: int
    peer_schema: int
    lines: dict[str, int]
    books: digests.Report
    doubtful: tuple[str, ...] = ()
    halted: tuple[standing.Halt, ...] = ()
    breaches: int = 0
    recovery: str = "sound"
    unvouched: bool = False


def _recovery(s: streams.Stream) -> str:
    return "retired" if s.retired else "repairing" if s.repair else "fenced" if s.fenced else "sound"


class Links:
    """`transports`: site id -> its transport, with its own last will (stream-5)."""

    def __init__(
        self, db: Database | InlineWriter, desk: Desk, clock: Clock, keys: Keys, site_ids: list[str], transports: Callable[[str], Transport],
        watch: Watch,
    ):  # fmt: skip
        self._db, self._desk, self._clock, self._keys, self._watch = db, desk, clock, keys, watch
        self._transports = {site_id: transports(site_id) for site_id in site_ids}
        self._pumps: dict[str, Pump] = {}
        self._since: dict[str, tuple[bool, int]] = {}
        self._learning: set[asyncio.Task] = set()
        self._digests = {site_id: digests.Rounds(db, desk, site_id) for site_id in site_ids}

    async def start(self) -> None:
        """Begins to listen and to connect. Being without a broker is a normal state."""
        for site_id, transport in self._transports.items():
            pump = self._pumps[site_id] = Pump(
                db=self._db, desk=self._desk, clock=self._clock, site_id=site_id, transport=transport,
                keys=lambda s=site_id: self._keys.announced(s), known_keys=lambda s=site_id: self._keys.known(s),
                seal=lambda s=site_id: self._keys.seal(s),
                on_hello=lambda hello, s=site_id: self._heard(s, hello),
            )  # fmt: skip
            pump.attach()
            await transport.start()

    async def stop(self) -> None:
        for site_id, pump in self._pumps.items():
            transport = self._transports[site_id]
            transport.publish(Topics(site_id).state_hub, GOODBYE, retain=True)
            await pump.close()
            await transport.stop()
        await asyncio.gather(*self._learning, return_exceptions=True)

    def _heard(self, site_id: str, hello: Hello) -> None:
        task = asyncio.get_running_loop().create_task(self._keys.heard(site_id, hello, self._desk.now()))
        self._learning.add(task)
        self._watch.lines_heard(site_id, hello.lines, hello.epoch)
        task.add_done_callback(self._learning.discard)
        self._note(site_id)

    # ---- what is asked
    def enrolled(self, site_id: str) -> bool:
        return site_id in self._transports

    def up(self, site_id: str) -> bool:
        """Whether the site is heard now. Refuses `facility_not_found` for one that is not enrolled here."""
        pump = self._pumps.get(site_id)
        if pump is None:
            raise refuse("facility_not_found", "This facility is not known here.")
        return pump.fresh()

    def heard(self, site_id: str) -> tuple[bool, int]:
        """`(up, heard_at)`; refuses as `up` does."""
        return self.up(site_id), self._pumps[site_id].heard_at

    def states(self) -> list[LinkState]:
        return [self.state(site_id) for site_id in self._pumps]

    def state(self, site_id: str) -> LinkState:
        """Refuses `facility_not_found`."""
        up, pump = self.up(site_id), self._pumps[site_id]

        def read(tx: Tx):
            books = digests.report(tx, site_id), tuple(digests.doubtful(tx, site_id))
            stopped = tuple(standing.halts(tx, site_id)), open_count(tx, site_id)
            return streams.read(tx, site_id), streams.waiting(tx, site_id), lines.lines_of(tx, site_id), books, stopped

        s, (rows, since), at, (books, doubtful), (halted, breaches) = self._db.read(read)
        self._note(site_id)
        stopped_why = s.stopped or pump.foreign
        return LinkState(
            site_id=site_id, link="stopped" if stopped_why else "up" if up else "dark", since_at=self._since[site_id][1], heard_at=pump.heard_at,
            rtt_s=round(pump.rtt_s, 4), skew_s=round(pump.skew_s, 3), skew_shown=abs(pump.skew_s) > self._desk.limits.skew_show_s,
            releasing=pump.may_release() and not s.stopped and not s.fenced, waiting_rows=rows, waiting_since_at=since,
            stopped_why=stopped_why, fenced_why=s.fenced, unknown_rows=s.unknown_count, peer_schema=s.peer_schema, lines=at,
            books=books, doubtful=doubtful, halted=halted, breaches=breaches, recovery=_recovery(s), unvouched=bool(s.unvouched),
        )  # fmt: skip

    # ---- what the clock does
    def hello(self) -> None:
        for pump in self._pumps.values():
            pump.hello()

    def tick(self) -> None:
        for site_id, pump in self._pumps.items():
            pump.tick()
            self._note(site_id)

    async def compare(self) -> int:
        """loss-8: states a digest of our books to every site for which it is due (after a cut, daily). Returns to how many."""
        stated = 0
        for site_id, pump in self._pumps.items():
            stated += await self._digests[site_id].tick(pump.fresh())
        return stated

    async def release(self) -> int:
        """terr-2: raises the lines of every site that is heard and whose clock agrees (clock-1), which the ledger judges. Returns how many
        lines rose."""
        raised = 0
        for site_id, pump in self._pumps.items():
            raised += await self._db.write(lambda tx, s=site_id, f=pump.fresh(): lines.release(tx, self._desk, s, link_fresh=f))
        return raised

    def _note(self, site_id: str) -> None:
        """Since when the link is as it is; going dark is told once (coming up is told by the pump)."""
        pump = self._pumps[site_id]
        up = pump.fresh()
        before = self._since.get(site_id)
        if before is not None and before[0] == up:
            return
        self._since[site_id] = (up, self._desk.now() if up else pump.heard_at)
        if before is not None and not up:
            _log.warning("link.dark", site_id=site_id, heard_at=pump.heard_at)
