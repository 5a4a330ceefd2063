"""One link as one side lives it: hellos, batches out, batches in (protocol stream-1 to stream-7). Works over any `Transport`.

What it holds in memory may be lost at any moment: positions, chains and rows are in the books. Sending is a read and a publish, woken by
the commit that wrote the row; receiving is one transaction per batch, with the positions and the answers it causes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from ..errors import Broken
from ..messages import SCHEMA, Batch, Hello, Position, Topics, Unknown, chain_next, decode
from ..runtime.clock import Clock
from ..runtime.database import Database, InlineWriter, Tx
from ..runtime.transport import Transport
from . import lines, streams
from .apply import From, apply
from .desk import Desk

log = logging.getLogger("clubos.link")

#: nonces we wait for an answer to; older ones count no more
NONCES_MAX = 8
#: the peer's position stands still this long although rows are out: they are sent again
RESEND_S = 2.0


class Applied(msgspec.Struct):
    """What came of one batch."""

    rows: int = 0
    gap: bool = False
    stopped: str = ""


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
    ):
        self.db, self.desk, self.clock, self.site_id, self.transport = db, desk, clock, site_id, transport
        self._keys, self._known_keys, self._on_hello_reply = keys, known_keys, on_hello
        topics = Topics(site_id)
        hub = desk.side == "hub"
        self.out_topic, self.in_topic = (topics.down, topics.up) if hub else (topics.up, topics.down)
        self.hello_out, self.hello_in = (topics.hello_hub, topics.hello_site) if hub else (topics.hello_site, topics.hello_hub)
        self.state_out, self.state_in = (topics.state_hub, topics.state_site) if hub else (topics.state_site, topics.state_hub)
        self._nonces: dict[str, tuple[float, float, int]] = {}
        self._inbound: list[Batch] = []
        self._draining: asyncio.Task | None = None
        self._tasks: set[asyncio.Task] = set()
        self._closed = False
        self._resumed = False
        self._cursor = 0
        self._progress_at = 0.0
        self._ack_timer: asyncio.TimerHandle | None = None
        self._last_reply: float | None = None
        self._asked_at = float("-inf")
        self.heard_at = 0
        self.skew_s = 0.0
        self.rtt_s = 0.0
        self.peer: Hello | None = None
        self.bad_payloads = 0

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
        if not task.cancelled() and task.exception() is not None and not self._closed:
            log.error("link work failed", extra={"site_id": self.site_id}, exc_info=task.exception())

    def fresh(self) -> bool:
        """stream-4: the link is up while the last reply to my own nonce is young. A peer whose stream stands cannot answer: it counts as dark."""
        young = self._last_reply is not None and self.clock.monotonic() - self._last_reply < self.desk.limits.link_silence_s
        return young and not (self.peer is not None and self.peer.stopped)

    def may_release(self) -> bool:
        """clock-1: beyond a minute of skew the hub stops releasing."""
        return self.fresh() and abs(self.skew_s) <= self.desk.limits.skew_stop_s

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
        applied_no = self.db.read(lambda tx: streams.read(tx, self.site_id)).applied_no
        self._nonces[nonce] = (self.clock.monotonic(), self.clock.now(), applied_no)
        while len(self._nonces) > NONCES_MAX:
            self._nonces.pop(next(iter(self._nonces)))
        self.transport.publish(self.hello_out, msgspec.json.encode(self._hello(nonce=nonce)))

    def _hello(self, nonce: str = "", echo: str = "") -> Hello:
        def read(tx: Tx):
            return streams.read(tx, self.site_id), lines.lines_of(tx, self.site_id)

        s, known_lines = self.db.read(read)
        return Hello(
            hub_id=s.hub_id,
            site_id=self.site_id,
            box_id=self.desk.box_id,
            term=self.desk.term,
            fenced=bool(s.fenced),
            stopped=bool(s.stopped),
            epoch=s.epoch,
            schema=SCHEMA,
            sent=Position(s.sent_no, s.sent_chain),
            applied=Position(s.applied_no, s.applied_chain),
            lines=known_lines,
            clock=self.clock.now(),
            keys=self._keys(),
            known_keys=self._known_keys(),
            nonce=nonce,
            echo=echo,
        )

    def _on_hello(self, topic: str, payload: bytes, retained: bool) -> None:
        try:
            hello = msgspec.json.decode(payload, type=Hello)
        except msgspec.MsgspecError:
            self.bad_payloads += 1
            return
        if hello.site_id != self.site_id or self._closed:
            return
        if hello.nonce:
            self.transport.publish(self.hello_out, msgspec.json.encode(self._hello(echo=hello.nonce)))
            if hello.epoch and not self._resumed and self.clock.monotonic() - self._asked_at >= 1:
                self.hello()  # the peer is there and has an epoch: no need to wait for the timer
        asked = self._nonces.pop(hello.echo, None) if hello.echo else None
        if asked is None and self.desk.guard("only_nonce_counts"):
            return
        now = self.clock.monotonic()
        was_fresh = self.fresh()
        if asked is not None:
            self.rtt_s = now - asked[0]
            self.skew_s = hello.clock - (asked[1] + self.clock.now()) / 2
        self._last_reply, self.heard_at, self.peer = now, int(self.clock.now()), hello
        if not was_fresh:
            log.info("link up", extra={"site_id": self.site_id, "skew_s": round(self.skew_s, 3)})
        self._begin(self._resume(hello, asked[2] if asked else 0))

    async def _resume(self, hello: Hello, applied_no: int) -> None:
        """The peer's positions, answered to my nonce: where to go on sending; what it has acknowledged is let go.

        `applied_no` is where I stood when I asked. Rows may have overtaken the answer since, so no later position is held against it.
        """

        def run(tx: Tx) -> bool | None:
            s = streams.lock(tx, self.site_id)
            if not s.epoch and hello.epoch and self.desk.side == "hub":
                streams.adopt_epoch(tx, self.site_id, hello.epoch)
                return None
            if not s.epoch or not hello.epoch or s.closed:
                return False
            if hello.epoch != s.epoch:
                streams.stop(tx, self.desk, self.site_id, "the two sides keep different epochs: repair needed")
                return False
            try:
                streams.acknowledge(tx, self.desk, s, hello.applied)
                if hello.sent.no < applied_no:
                    raise Broken(f"peer has sent {hello.sent.no} rows, we have applied {applied_no}")
            except Broken as e:
                streams.stop(tx, self.desk, self.site_id, e.detail)
                return False
            streams.heard(tx, self.site_id, hello, int(self.clock.now()))
            return True

        ok = await self.db.write(run)
        if self._on_hello_reply:
            self._on_hello_reply(hello)
        if ok is None:  # first contact: now both have an epoch, so the positions can be asked
            self.hello()
        if not ok:
            return
        if not self._resumed:
            self._resumed, self._cursor = True, hello.applied.no
            self._progress_at = self.clock.monotonic()
        self.send()

    # ---- out
    def _on_commit(self, events: list[tuple[str, str]]) -> None:
        if ("outbox", self.site_id) in events:
            self.send()

    def send(self) -> None:
        """Publishes what is committed and not yet out. Nothing leaves before its commit (stream-1)."""
        if self._closed or not self._resumed or not self.transport.connected:
            return
        window = self.desk.limits.batch_max * self.desk.limits.batches_in_flight
        while True:

            def read(tx: Tx):
                s = streams.read(tx, self.site_id)
                self._cursor = max(self._cursor, s.acked_no)
                if s.closed or self._cursor - s.acked_no >= window or self._cursor >= s.sent_no:
                    return s, "", []
                return s, *streams.rows_after(tx, s, self._cursor, self.desk.limits.batch_max)

            s, prev, rows = self.db.read(read)
            if not rows:
                return
            self._publish(s, prev, tuple(rows))
            self._cursor = rows[-1].no

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
        self._publish(s, "", (), gap)

    def tick(self) -> None:
        """About once a second: rows that are out without an answer are sent again."""
        now = self.clock.monotonic()
        if not self._resumed or now - self._progress_at < RESEND_S:
            return
        acked = self.db.read(lambda tx: streams.read(tx, self.site_id)).acked_no
        if self._cursor > acked:
            self._cursor, self._progress_at = acked, now
        self.send()

    # ---- in
    def _on_batch(self, topic: str, payload: bytes, retained: bool) -> None:
        try:
            batch = msgspec.json.decode(payload, type=Batch)
        except msgspec.MsgspecError:
            self.bad_payloads += 1
            log.warning("payload on the link is no batch", extra={"site_id": self.site_id})
            return
        if batch.site_id != self.site_id:
            self.bad_payloads += 1
            return
        if self._closed:
            return
        self._inbound.append(batch)
        if self._draining is None or self._draining.done():
            self._draining = self._begin(self._drain())

    async def _drain(self) -> None:
        while self._inbound:
            batches, self._inbound = self._inbound, []
            fresh = self.fresh()
            outcome = await self.db.write(lambda tx, b=batches, f=fresh: self._take(tx, b, f))
            self._progress(batches)
            if self._closed:
                return
            if outcome.stopped:
                log.error("link stopped", extra={"site_id": self.site_id, "why": outcome.stopped})
            if outcome.gap:
                self._acknowledge(gap=True)
            elif outcome.rows and self._ack_timer is None:
                self._ack_timer = asyncio.get_running_loop().call_later(self.desk.limits.ack_delay_s, self._acknowledge)
            self.send()

    def _progress(self, batches: list[Batch]) -> None:
        for batch in batches:
            if batch.gap and self._resumed:
                self._cursor = min(self._cursor, batch.applied.no)
        self._progress_at = self.clock.monotonic()

    def _take(self, tx: Tx, batches: list[Batch], link_fresh: bool) -> Applied:
        out = Applied()
        for batch in batches:
            s = streams.lock(tx, self.site_id)
            if batch.epoch != s.epoch or s.closed:
                continue
            try:
                streams.acknowledge(tx, self.desk, s, batch.applied)
                if not s.stopped:
                    self._rows(tx, batch, out, link_fresh)
            except Broken as e:
                streams.stop(tx, self.desk, self.site_id, e.detail)
            out.stopped = streams.lock(tx, self.site_id).stopped
        return out

    def _rows(self, tx: Tx, batch: Batch, out: Applied, link_fresh: bool) -> None:
        chain, desk = batch.prev, self.desk
        for row in batch.rows:
            s = streams.lock(tx, self.site_id)
            before, chain = chain, chain_next(chain, row.no, bytes(row.body))
            if row.no <= s.applied_no and desk.guard("applied_once"):
                if row.no == s.applied_no and chain != s.applied_chain and desk.guard("chain_continues"):
                    raise Broken(f"chain differs at the peer's row {row.no}")
                continue
            if row.no > s.applied_no + 1 and desk.guard("no_gap"):
                out.gap = True
                return
            if row.no == s.applied_no + 1 and before != s.applied_chain and desk.guard("chain_continues"):
                raise Broken(f"chain differs before the peer's row {row.no}")
            if not self._row(tx, row, link_fresh):
                return
            streams.advance(tx, streams.lock(tx, self.site_id), row.no, chain)
            out.rows += 1

    def _row(self, tx: Tx, row, link_fresh: bool) -> bool:
        """Applies one row in its own savepoint. False where the stream stops here (stream-6); what is only informative is kept and passed over."""
        body = bytes(row.body)
        try:
            message = decode(body, row.crit)
            tx.attempt(lambda: apply(tx, self.desk, message, From(self.site_id, link_fresh)))
            return True
        except Unknown as e:
            why = str(e)
        except Exception as e:  # a row that fails must not be lost, nor those behind it be applied over the hole
            log.exception("row of the link failed", extra={"site_id": self.site_id, "message_no": row.no})
            why = f"{type(e).__name__}: {e}"
        if row.must and self.desk.guard("must_understand_stops"):
            streams.stop(tx, self.desk, self.site_id, f"row {row.no}: {why}", row.no, body.decode(errors="replace"))
            return False
        streams.keep(tx, self.desk, streams.lock(tx, self.site_id), row.no, body.decode(errors="replace"), why)
        return True
