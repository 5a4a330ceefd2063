"""The link to the hub as this site lives it: the pump, whether it is up and since when, and the keys that passes are believed by.

Without a broker in the config there is no pump, and the site is a facility on its own (L6). Invariant: what is said about the link
comes from replies to our own nonces (stream-4), never from the broker's word.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from shared.errors import refuse
from shared.keys import KeyRing, SigningKey
from shared.ledger import digests, streams
from shared.ledger.desk import Desk
from shared.ledger.keychain import Chain
from shared.ledger.pump import Pump
from shared.messages import Hello
from shared.runtime import log
from shared.runtime.clock import Clock
from shared.runtime.database import Database, InlineWriter, Tx
from shared.runtime.transport import Transport
from site_agent.services.keys import SiteKeys

_log = log.get("site_agent.link")


class LinkState(msgspec.Struct, frozen=True, kw_only=True):
    """What staff and programs see of the link. Times in unix seconds; `since_at` is when `link` last changed as far as we know.

    `waiting` messages have not been applied by the hub yet, the oldest written at `waiting_since_at` (0: none). `stopped` is the sentence
    of what stands in the way of the stream, empty if nothing does. `books` is what came of comparing them with the hub's; `doubtful` are
    the bookings on which they differ and which a person must settle (loss-8).
    """

    link: str
    since_at: int
    heard_at: int
    broker: bool
    configured: bool
    waiting: int
    waiting_since_at: int
    stopped: str
    fenced: bool
    skew_s: float
    round_trip_s: float
    unknown_messages: int
    epoch: str
    sent_no: int
    applied_no: int
    books: digests.Report
    doubtful: tuple[str, ...] = ()


class Link:
    """One site's side of the link."""

    def __init__(
        self, db: Database | InlineWriter, desk: Desk, clock: Clock, site_id: str, signing: SigningKey | Chain, transport: Transport | None
    ):
        self._db, self._desk, self._clock, self._site_id = db, desk, clock, site_id
        self.keys = SiteKeys(db, desk, site_id, signing, lone=transport is None)
        self._transport = transport
        self._pump: Pump | None = None
        self._was_up = False
        self._since_at = 0
        self._watchers: list[Callable[[], None]] = []
        #: told of every answer of the hub to our nonce, with the difference of the clocks that it showed
        self.on_answer: Callable[[Hello, float], None] = lambda hello, skew_s: None
        self._digests = digests.Rounds(db, desk, site_id)

    async def start(self) -> None:
        """Reads the keys; begins to connect where there is a broker to connect to."""
        await self.keys.start()
        stream = self._db.read(lambda tx: streams.read(tx, self._site_id))
        self._since_at = stream.heard_at if stream and stream.heard_at else self._desk.now()
        if self._transport is None:
            return
        self._pump = Pump(
            db=self._db, desk=self._desk, clock=self._clock, site_id=self._site_id, transport=self._transport, keys=self.keys.told,
            known_keys=self.keys.known, on_hello=self._heard,
        )  # fmt: skip
        self._pump.attach()
        await self._transport.start()

    async def stop(self) -> None:
        if self._transport is not None:
            await self._transport.stop()
        if self._pump is not None:
            await self._pump.close()

    # ---- for the timer
    def hello(self) -> None:
        if self._pump is not None and self._transport is not None and self._transport.connected:
            self._pump.hello()

    def tick(self) -> None:
        """About once a second: resends, and tells watchers when the link came or went."""
        if self._pump is not None:
            self._pump.tick()
        self.look()

    async def compare(self) -> bool:
        """Every few seconds: states a digest of our books after a cut and daily (loss-8). True where one was stated."""
        return await self._digests.tick(self.up())

    def look(self) -> bool:
        """Whether the link is up now; the change is noted, logged once and told."""
        up = self._pump is not None and self._pump.fresh()
        if up != self._was_up:
            self._was_up, self._since_at = up, self._desk.now()
            (_log.info if up else _log.warning)("link.up" if up else "link.dark", site_id=self._site_id)
            for watcher in self._watchers:
                watcher()
        return up

    def watch(self, watcher: Callable[[], None]) -> None:
        """`watcher()` is called whenever the link has come or gone."""
        self._watchers.append(watcher)

    # ---- for services
    def up(self) -> bool:
        """stream-4: a reply to our own nonce is younger than `link_silence_s`."""
        return self._pump is not None and self._pump.fresh()

    def up_and_heard(self, _site_id: str = "") -> tuple[bool, int]:
        """`(up, heard_at)` for the availability answers."""
        return self.up(), self._pump.heard_at if self._pump is not None else self._since_at

    def skew_s(self) -> int:
        """How far our clock is from the hub's, in whole seconds, for the window of passes (clock-1)."""
        return round(abs(self._pump.skew_s)) if self._pump is not None else 0

    def skew_is_shown(self) -> bool:
        """clock-1: whether the difference is more than the way of the messages explains."""
        return self._pump is not None and abs(self._pump.skew_s) > self._desk.limits.skew_show_s

    def hub_clock(self) -> float:
        """What the hub's clock shows now, as its answers tell (unix seconds): by it the age of what the hub says is known whatever ours shows."""
        return self._desk.clock() + (self._pump.skew_s if self._pump is not None else 0.0)

    @property
    def ring(self) -> KeyRing:
        """The keys that passes and quotes are believed by."""
        return self.keys.ring

    def key(self) -> SigningKey:
        """The key for our own passes: this site always knows it, whoever else does."""
        return self.keys.to_sign()

    def key_for_the_hub(self) -> SigningKey | None:
        """The key for quotes that the hub must honour too: none until it has acknowledged one."""
        return self.keys.acknowledged()

    def state(self) -> LinkState:
        up = self.look()

        def read(tx: Tx) -> tuple[streams.Stream | None, tuple[int, int], digests.Report, list[str]]:
            site_id = self._site_id
            return streams.read(tx, site_id), streams.waiting(tx, site_id), digests.report(tx, site_id), digests.doubtful(tx, site_id)

        stream, (waiting, since_at), books, doubtful = self._db.read(read)
        if stream is None:
            raise refuse("facility_not_found", "This facility has not been set up here yet.")
        return LinkState(
            link="up" if up else "dark", since_at=self._since_at, heard_at=self._pump.heard_at if self._pump else stream.heard_at,
            broker=bool(self._transport and self._transport.connected), configured=self._transport is not None, waiting=waiting,
            waiting_since_at=since_at, stopped=stream.stopped or (self._pump.foreign if self._pump else ""), fenced=bool(stream.fenced),
            skew_s=round(self._pump.skew_s, 3) if self._pump else 0.0, round_trip_s=round(self._pump.rtt_s, 4) if self._pump else 0.0,
            unknown_messages=stream.unknown_count, epoch=stream.epoch, sent_no=stream.sent_no, applied_no=stream.applied_no,
            books=books, doubtful=tuple(doubtful),
        )  # fmt: skip

    def _heard(self, hello: Hello) -> None:
        self.on_answer(hello, self._pump.skew_s if self._pump else 0.0)
        self.keys.heard(hello)
