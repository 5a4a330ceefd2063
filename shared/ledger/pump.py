"""One link as one side lives it: hellos, batches out, batches in (protocol stream-1 to stream-7). Works over any `Transport`.

What it holds in memory may be lost at any moment: positions, chains and rows are in the books. Sending is a read and a publish, woken by
the commit that wrote the row; receiving is one transaction per handful of rows, with the position and the answers they cause, so that what
waited through a long cut does not keep this side's own sales waiting.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

import msgspec

from ..messages import SCHEMA, Batch, Hello, Position, Topics
from ..runtime.clock import Clock
from ..runtime.database import Database, InlineWriter, Tx
from ..runtime.transport import Transport
from . import boxes, fencing, lines, repair, streams
from .desk import Desk
from .intake import Intake, RowFailed

log = logging.getLogger("clubos.link")
_batch = msgspec.json.Decoder(Batch).decode
_hello = msgspec.json.Decoder(Hello).decode

#: nonces we wait for an answer to; older ones count no more
NONCES_MAX = 8
#: where `_where_to_go_on` finds nothing to send from
WAIT, ASK_AGAIN = -1, -2
#: how often a replaced box hands in what it had not told; the broker may lose some
HAND_IN_TIMES = 12
#: while more is coming in than that, what it causes and what is sold meanwhile goes out once in so many transactions, together
SENT_EVERY = 8
#: the peer's position stands still this long although rows are out: they are sent again
RESEND_S = 2.0


class Asked(NamedTuple):
    """A question that waits for its answer: when it was asked, on the clock of the process and on the wall's, and where we stood then."""

    at_s: float
    clock: float
    epoch: str
    applied_no: int
    acked_no: int


#: an answer to no question of ours (nothing can be concluded from it)
NOTHING_ASKED = Asked(0.0, 0.0, "", 0, 0)


class Pump:
    """The link between this side and one peer. `hello()` and `tick()` are called by a timer; `wake()` by whoever committed."""

    def __init__(
        self,
        *,
        db: Database | InlineWriter,
        desk: Desk,
        clock: Clock,
        site_id: str,
        transport: Transport,
        keys: Callable[[], tuple[dict[str, str], ...]] = tuple,
        known_keys: Callable[[], tuple[str, ...]] = tuple,
        on_hello: Callable[[Hello], None] | None = None,
        seal: Callable[[], tuple[str, ...]] = tuple,
    ):
        self.db, self.desk, self.clock, self.site_id, self.transport = db, desk, clock, site_id, transport
        self._keys, self._known_keys, self._seal, self._on_hello_reply = keys, known_keys, seal, on_hello
        topics = Topics(site_id)
        hub = desk.side == "hub"
        self.out_topic, self.in_topic = (topics.down, topics.up) if hub else (topics.up, topics.down)
        self.hello_out, self.hello_in = (topics.hello_hub, topics.hello_site) if hub else (topics.hello_site, topics.hello_hub)
        self.state_out, self.state_in = (topics.state_hub, topics.state_site) if hub else (topics.state_site, topics.state_hub)
        self._nonces: dict[str, Asked] = {}
        self._inbound: list[Batch] = []
        self._intake = Intake(db, desk, clock, site_id)
        self._draining: asyncio.Task | None = None
        self._tasks: set[asyncio.Task] = set()
        self._closed = False
        self._much = False
        self._resumed = False
        self._cursor = 0
        self._all_out = False
        self._progress_at = 0.0
        self._ack_timer: asyncio.TimerHandle | None = None
        self._last_reply: float | None = None
        self._asked_at = float("-inf")
        self.heard_at = 0
        self.skew_s = 0.0
        self.rtt_s = 0.0
        self.peer: Hello | None = None
        self.bad_payloads = 0
        #: another hub than the one this site is married to, speaking on its topics (loss-6)
        self._foreign, self._foreign_at = "", 0.0
        self._handed_in = 0

    # ---- life
    def attach(self) -> None:
        """Subscribes and listens. The owner calls `hello()` every `hello_every_s` and `tick()` about once a second."""
        self.transport.subscribe(self.in_topic, self._on_batch)
        self.transport.subscribe(self.hello_in, self._on_hello)
        self.transport.subscribe(self.state_in, self._on_state)
        self.transport.on_connect.append(self._on_connect)
        self.transport.on_disconnect.append(self._on_disconnect)
        self.db.listen(self._on_commit)
        stream = self.db.read(lambda tx: streams.read(tx, self.site_id))
        self.heard_at = stream.heard_at if stream else 0
        if self.transport.connected:
            self._on_connect()

    async def close(self) -> None:
        """Takes and sends nothing more, and waits for what is being written; the books may be closed afterwards."""
        self._closed = True
        if self._ack_timer:
            self._ack_timer.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task:
        """A task that is not lost before it ends, and whose failure is told."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None and not self._closed and not self.db.failing:
            log.error("link work failed", extra={"site_id": self.site_id}, exc_info=task.exception())

    def fresh(self) -> bool:
        """stream-4: the link is up while the last reply to my own nonce is young. A peer whose stream stands cannot answer: it counts as dark."""
        young = self._last_reply is not None and self.clock.monotonic() - self._last_reply < self.desk.limits.link_silence_s
        return young and not (self.peer is not None and self.peer.stopped)

    def may_release(self) -> bool:
        """clock-1: beyond a minute of skew the hub stops releasing."""
        return self.fresh() and (self.site_id not in self.desk.skewed or not self.desk.guard("skew_stops_release"))

    # ---- hello
    def _on_connect(self) -> None:
        self._resumed = False
        self.transport.publish(self.state_out, msgspec.json.encode({"up": True, "box_id": self.desk.box_id}), retain=True)
        self.hello()

    def _on_disconnect(self) -> None:
        self._resumed = False
        self._last_reply = None

    def _on_state(self, topic: str, payload: bytes, retained: bool) -> None:
        """stream-5: presence is a quicker notice of `down`, and never makes a link up."""
        try:
            up = msgspec.json.decode(payload, type=dict).get("up")
        except msgspec.MsgspecError:
            return
        if up is False:
            self._last_reply = None
        elif up is True and not retained:
            self.hello()

    def hello(self) -> None:
        """Asks the peer for a sign of life and for its positions."""
        nonce = self.desk.new_id()
        self._asked_at = self.clock.monotonic()
        told = self._hello(nonce=nonce)
        self._nonces[nonce] = Asked(self.clock.monotonic(), self.clock.now(), told.epoch, told.applied.no, told.acked.no)
        while len(self._nonces) > NONCES_MAX:
            self._nonces.pop(next(iter(self._nonces)))
        self.transport.publish(self.hello_out, msgspec.json.encode(told))

    def _hello(self, nonce: str = "", echo: str = "", to: Hello | None = None) -> Hello:
        def read(tx: Tx):
            s = streams.read(tx, self.site_id)
            retired = boxes.replaced_by(tx, self.desk, s, self.site_id, to) if to is not None else 0
            return s, lines.lines_of(tx, self.site_id), retired

        s, known_lines, retired = self.db.read(read)
        return Hello(
            hub_id=s.hub_id,
            site_id=self.site_id,
            box_id=self.desk.box_id,
            term=self.desk.term,
            fenced=bool(s.fenced),
            stopped=bool(s.stopped or s.closed),
            epoch=s.epoch,
            schema=SCHEMA,
            sent=Position(s.sent_no, s.sent_chain),
            applied=Position(s.applied_no, s.applied_chain),
            lines=known_lines,
            clock=self.clock.now(),
            clock_sure=not self.desk.clock_doubt(),
            keys=self._keys(),
            known_keys=self._known_keys(),
            seal=self._seal(),
            nonce=nonce,
            echo=echo,
            acked=Position(s.acked_no, s.acked_chain),
            closed=bool(s.closed),
            repair=s.repair,
            staged=Position(s.staged_no, s.staged_chain) if s.repair and self.desk.side == "hub" else None,
            retired=retired,
            grant=self.desk.grant,
        )

    def _on_hello(self, topic: str, payload: bytes, retained: bool) -> None:
        try:
            hello = _hello(payload)
        except msgspec.MsgspecError:
            self.bad_payloads += 1
            return
        if hello.site_id != self.site_id or self._closed:
            return
        if hello.nonce:
            self.transport.publish(self.hello_out, msgspec.json.encode(self._hello(echo=hello.nonce, to=hello)))
            if hello.epoch and not self._resumed and self.clock.monotonic() - self._asked_at >= 1:
                self.hello()  # the peer is there and has an epoch: no need to wait for the timer
        asked = self._nonces.get(hello.echo) if hello.echo else None
        if asked is None and self.desk.guard("only_nonce_counts"):
            return
        if not self._is_peer(hello):
            return  # and its answer uses no nonce up: the one to talk to may answer second
        self._nonces.pop(hello.echo, None)
        now = self.clock.monotonic()
        was_fresh = self.fresh()
        if asked is not None:
            self.rtt_s = now - asked.at_s
            self._measured(hello.clock - (asked.clock + self.clock.now()) / 2)
        self._last_reply, self.heard_at, self.peer = now, int(self.clock.now()), hello
        if not was_fresh:
            log.info("link up", extra={"site_id": self.site_id, "skew_s": round(self.skew_s, 3)})
        self._begin(self._resume(hello, asked or NOTHING_ASKED))

    def _is_peer(self, hello: Hello) -> bool:
        """Whether the speaker is the one to talk to: not a box that was replaced (loss-5), nor another hub than ours, nor a site that follows
        another: to overhear its repair would make two hubs of its books (loss-6)."""

        def read(tx: Tx):
            s = streams.read(tx, self.site_id)
            return boxes.replaced_by(tx, self.desk, s, self.site_id, hello), s

        replaced, s = self.db.read(read)
        # a site tells which hub it is married to, a new one of none yet
        foreign = bool(s.hub_id) and hello.hub_id != s.hub_id and (self.desk.side == "site" or bool(hello.hub_id))
        if foreign and self.desk.guard("one_hub"):
            if self._foreign != hello.hub_id:
                log.error("another hub is there", extra={"site_id": self.site_id, "hub_id": hello.hub_id})
            self._foreign, self._foreign_at = hello.hub_id, self.clock.monotonic()
            return False
        return not replaced

    @property
    def foreign(self) -> str:
        """What people are told while another hub takes part in this link (loss-6); empty where none does."""
        if not self._foreign or self.clock.monotonic() - self._foreign_at > 3 * self.desk.limits.hello_every_s:
            return ""
        if self.desk.side == "site":
            return f"Another hub, {self._foreign}, speaks to this facility. It is not listened to."
        return f"This facility follows another hub, {self._foreign}. It must be married to this one, or left out of this hub's settings."

    def _measured(self, skew_s: float) -> None:
        """clock-1: how far the peer's clock is from ours. Shown where it grows and where it is well again, not in between."""
        limits, before = self.desk.limits, abs(self.skew_s) > self.desk.limits.skew_show_s
        self.skew_s = skew_s
        if (abs(skew_s) > limits.skew_show_s) != before:
            log.warning("clocks differ" if not before else "clocks agree", extra={"site_id": self.site_id, "skew_s": round(skew_s, 3)})
        (self.desk.skewed.add if abs(skew_s) > limits.skew_stop_s else self.desk.skewed.discard)(self.site_id)

    async def _resume(self, hello: Hello, asked: Asked) -> None:
        """The peer's positions, answered to my nonce: where to go on sending; what it has acknowledged is let go."""
        if hello.retired:
            await self._retired(hello)
            return
        from_no = await self.db.write(lambda tx: self._where_to_go_on(tx, hello, asked))
        if self._on_hello_reply:
            self._on_hello_reply(hello)
        if from_no == ASK_AGAIN:
            self._resumed = False
            self.hello()
        elif from_no == WAIT:
            self._resumed = False
        else:
            if not self._resumed:
                self._resumed, self._cursor = True, from_no
                self._progress_at = self.clock.monotonic()
            self.send()

    def _where_to_go_on(self, tx: Tx, hello: Hello, asked: Asked) -> int:
        """The row after which to send, WAIT while there is none, or ASK_AGAIN where something has just changed that both must know."""
        desk, site_id = self.desk, self.site_id
        s = streams.lock(tx, site_id)
        if s.retired:
            return WAIT
        if desk.side == "hub":
            boxes.enrol(tx, desk, site_id, hello)
            if hello.repair and hello.repair != s.epoch:
                streams.heard(tx, site_id, hello, int(self.clock.now()))
                news = repair.propose(tx, desk, s, hello)
                return ASK_AGAIN if news or (self._intake.merge_waits(tx, s) and self._intake.merge(tx)) else WAIT
            if not s.epoch and hello.epoch and not hello.closed and not hello.applied.no and not (hello.acked and hello.acked.no):
                streams.adopt_epoch(tx, site_id, hello.epoch)
                return ASK_AGAIN  # first contact: now both have an epoch, so the positions can be asked
        # what I had applied and was told before a repair says nothing of the streams after it
        applied_no, acked_no = (asked.applied_no, asked.acked_no) if asked.epoch == s.epoch else (0, 0)
        found = [] if s.closed and desk.side == "hub" else fencing.evidence(tx, desk, s, hello, applied_no, acked_no)
        for behind in sorted(found, key=lambda b: not b.mine):
            if not s.fenced:
                fencing.close(tx, desk, site_id, behind)
        if desk.side == "site" and fencing.wanted(s, hello, acked_no):
            repair.begin(tx, desk, site_id, hello, peer_behind=bool(s.repair) or any(not behind.mine for behind in found))
            return ASK_AGAIN
        if not found:
            streams.heard(tx, site_id, hello, int(self.clock.now()))
        if s.repair and desk.side == "site" and hello.epoch == s.epoch and self._intake.merge_waits(tx, s) and self._intake.merge(tx):
            return ASK_AGAIN
        if s.repair and desk.side == "site" and hello.epoch != s.epoch:  # the hub is taking our snapshot in, or has not begun to
            if hello.repair != s.epoch or hello.staged is None:
                return WAIT
            streams.acknowledge(tx, desk, s, hello.staged)
            return hello.staged.no
        if found or not s.epoch or hello.epoch != s.epoch or (s.closed and not s.repair):
            return WAIT
        return hello.applied.no

    async def _retired(self, hello: Hello) -> None:
        """loss-5: a newer box stands in our place. We sell nothing any more, and hand in what we had not told."""
        if hello.retired < self.desk.term:
            return
        self._resumed = False
        news = await self.db.write(lambda tx: boxes.retire(tx, self.desk, self.site_id, hello.retired))
        if news:
            log.error("this box has been replaced", extra={"site_id": self.site_id, "term": hello.retired})
        if self._handed_in >= HAND_IN_TIMES:
            return
        self._handed_in += 1
        s, after = self.db.read(lambda tx: streams.read(tx, self.site_id)), 0
        while True:
            prev, rows = self.db.read(lambda tx, a=after: streams.rows_after(tx, s, max(a, s.acked_no), self.desk.limits.batch_max))
            if not rows:
                return
            self._publish(s, prev, tuple(rows))
            after = rows[-1].no

    # ---- out
    def _on_commit(self, events: list[tuple[str, str]]) -> None:
        if ("outbox", self.site_id) not in events:
            return
        self._all_out = False
        if not self._much:
            self.send()

    def send(self, *, again: bool = False) -> None:
        """Publishes what is committed and not yet out. Nothing leaves before its commit (stream-1). `again`: from what was acknowledged on."""
        if self._closed or not self._resumed or not self.transport.connected:
            return
        window = self.desk.limits.batch_max * self.desk.limits.batches_in_flight
        while True:

            def read(tx: Tx, again: bool = again):
                s = streams.read(tx, self.site_id)
                if again and self._cursor > s.acked_no:
                    self._cursor, self._progress_at = s.acked_no, self.clock.monotonic()
                self._cursor = max(self._cursor, s.acked_no)
                closed = s.closed and not (s.repair and self.desk.side == "site")
                if closed or s.retired or self._cursor - s.acked_no >= window or self._cursor >= s.sent_no:
                    return s, "", []
                return s, *streams.rows_after(tx, s, self._cursor, self.desk.limits.batch_max)

            s, prev, rows = self.db.read(read)
            again = False
            if rows:
                self._publish(s, prev, tuple(rows))
                self._cursor = rows[-1].no
            self._all_out = self._cursor >= s.sent_no  # what was committed since this read wakes us by itself
            if self._all_out or not rows:
                return

    def _publish(self, s: streams.Stream, prev: str, rows: tuple, gap: bool = False) -> None:
        batch = Batch(
            site_id=self.site_id,
            box_id=self.desk.box_id,
            term=self.desk.term,
            epoch=s.epoch,
            prev=prev,
            rows=rows,
            applied=Position(s.applied_no, s.applied_chain),
            gap=gap,
        )
        self.transport.publish(self.out_topic, msgspec.json.encode(batch))
        if self._ack_timer:
            self._ack_timer.cancel()
            self._ack_timer = None

    def _acknowledge(self, gap: bool = False) -> None:
        """stream-3: with nothing to send an empty batch acknowledges."""
        self._ack_timer = None
        s = self.db.read(lambda tx: streams.read(tx, self.site_id))
        if s.repair and self.desk.side == "hub":  # what is taken in is a snapshot, in the epoch to come
            s = msgspec.structs.replace(s, epoch=s.repair, applied_no=s.staged_no, applied_chain=s.staged_chain)
        self._publish(s, "", (), gap)

    def tick(self) -> None:
        """About once a second: rows that are out without an answer are sent again."""
        still = self._resumed and self.clock.monotonic() - self._progress_at >= RESEND_S
        if still and self.db.read(lambda tx: streams.unacknowledged(tx, self.site_id)):
            self.send(again=True)

    # ---- in
    def _on_batch(self, topic: str, payload: bytes, retained: bool) -> None:
        try:
            batch = _batch(payload)
        except msgspec.MsgspecError:
            self.bad_payloads += 1
            log.warning("payload on the link is no batch", extra={"site_id": self.site_id})
            return
        if batch.site_id != self.site_id:
            self.bad_payloads += 1
            return
        if self._closed:
            return
        self._progress(batch)
        if self._draining is not None and not self._draining.done():
            self._inbound.append(batch)
        elif not self._intake.is_repeat(batch):
            self._inbound.append(batch)
            self._draining = self._begin(self._drain())

    async def _drain(self) -> None:
        taken = 0
        while self._inbound:
            batches, self._inbound = self._inbound, []
            fresh = self.fresh()
            try:
                outcome = await self.db.write(lambda tx, b=batches, f=fresh: self._intake.take(tx, b, f))
            except RowFailed:  # seldom: taken once more, each row in a savepoint of its own
                outcome = await self.db.write(lambda tx, b=batches, f=fresh: self._intake.take(tx, b, f, apart=True))
            self._intake.settled(outcome)
            if self._closed:
                return
            self._inbound[:0] = outcome.rest
            self._much = bool(outcome.rest)
            taken += 1
            if outcome.merged:
                self._resumed = False
                self.hello()
            if outcome.stopped:
                log.error("link stopped", extra={"site_id": self.site_id, "why": outcome.stopped})
            if outcome.gap:
                self._acknowledge(gap=True)
            elif outcome.rows and self._ack_timer is None:
                self._ack_timer = asyncio.get_running_loop().call_later(self.desk.limits.ack_delay_s, self._acknowledge)
            if not self._all_out and (not self._much or taken % SENT_EVERY == 0):
                self.send()

    def _progress(self, batch: Batch) -> None:
        if batch.gap and self._resumed:
            self._cursor, self._all_out = min(self._cursor, batch.applied.no), False
        self._progress_at = self.clock.monotonic()
