"""The `Doors` port on a UniFi Access controller: a booking is a visitor, an unlock is a pulse.

Not for: HTTP and JSON (the wire), nor for deciding who may enter. Invariants: one request id is at most one pulse, unless the
controller's log shows that the first never happened; one booking is at most one live visitor.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Container
from contextlib import suppress
from pathlib import Path

import msgspec

from shared.runtime.clock import Clock
from site_agent.devices.door_ways import Around, DoorTable
from site_agent.devices.unifi import objects, words
from site_agent.devices.unifi.feed import PAGE_PAUSE_S, Feed
from site_agent.devices.unifi.hooks import signed
from site_agent.devices.unifi.pinning import FingerprintError, fingerprint_of_pem, normal_fingerprint
from site_agent.devices.unifi.stream import Stream
from site_agent.devices.unifi.wire import CONNECT_TIMEOUT_S, READ_TIMEOUT_S, Wire, WireError
from site_agent.ports import (
    Actor,
    DoorCredential,
    DoorEvent,
    DoorsRefused,
    DoorState,
    DoorsUnavailable,
    Granted,
    GrantRef,
    Unlocked,
)

log = logging.getLogger("site_agent.devices.unifi")

PAGE_SIZE = 100
PAGES_MAX = 100
REQUESTS_KEPT = 1024
LOG_SETTLE_S = 3
"""The controller's log is about a second behind; before this much has passed since we gave up, its silence proves nothing."""
LOG_SLACK_S = 600
"""How far the controller's clock may be from ours before its log is searched in the wrong place."""
WARM_EVERY_S = 20.0
LOOK_EVERY_S = 60.0
"""How often the log is looked at beside a stream that lives, for what the stream may have lost."""
SILENT_AFTER_S = 70.0
"""Observed controllers greet every few seconds; some only answer our pings, of which this is three."""
LIVE_STATUSES = (1, 3, 6)
ENDED_STATUSES = (2, 5)


class UnifiSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the controller is and how it is known: one of `fingerprint` (SHA-256) and `certificate_path` (PEM of the leaf)."""

    host: str
    token: str
    port: int = 12445
    fingerprint: str = ""
    certificate_path: str = ""
    read_timeout_s: float = READ_TIMEOUT_S
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    warm_every_s: float = WARM_EVERY_S
    webhook_secret: str = ""
    look_every_s: float = LOOK_EVERY_S
    silent_after_s: float = SILENT_AFTER_S
    back_off_s: float = 1.0
    page_pause_s: float = PAGE_PAUSE_S

    def __repr__(self) -> str:
        # Settings end up in messages and tracebacks; the token must not.
        return f"UnifiSettings(host={self.host!r}, port={self.port})"

    def pinned(self) -> str:
        """The fingerprint to insist on. FingerprintError (a ValueError) with a sentence when there is none or it cannot be read."""
        if bool(self.fingerprint) == bool(self.certificate_path):
            raise FingerprintError("The door controller needs its certificate's fingerprint or the certificate's file: one of the two.")
        if self.fingerprint:
            return normal_fingerprint(self.fingerprint)
        try:
            return fingerprint_of_pem(Path(self.certificate_path).read_text(encoding="ascii", errors="replace"))
        except OSError as error:
            raise FingerprintError(f"The door controller's certificate cannot be read: {error.strerror}.") from error


class _Attempt(msgspec.Struct):
    """What became of a request: its task, when it was last sent and given up (unix seconds), and whether its outcome is unknown."""

    task: asyncio.Task[Unlocked] | None
    door_id: str
    sent_at: float
    given_up_at: float = 0.0
    unknown: bool = False


#: how long the controller's word on the time is carried on
DATE_KEPT_S = 600


class UnifiDoors:
    """Implements `site_agent.ports.Doors`. `reachable` is None until the controller was first asked."""

    def __init__(self, settings: UnifiSettings, clock: Clock) -> None:
        self._clock = clock
        self._webhook_secret = settings.webhook_secret
        self._warm_every_s = settings.warm_every_s
        self._wire = Wire(
            settings.host, settings.port, settings.token, settings.pinned(), read_timeout_s=settings.read_timeout_s,
            connect_timeout_s=settings.connect_timeout_s, on_heard=self._heard, on_date=self._dated,
        )  # fmt: skip
        self._feed = Feed(
            self._wire,
            Stream(
                settings.host, settings.port, settings.token, settings.pinned(), connect_timeout_s=settings.connect_timeout_s,
                silent_after_s=settings.silent_after_s,
            ),
            clock.now, look_every_s=settings.look_every_s, back_off_s=settings.back_off_s, page_pause_s=settings.page_pause_s,
            on_trouble=self._heard,
        )  # fmt: skip
        self.reachable: bool | None = None
        self.trouble = ""
        """The sentence for staff while the controller is away or refuses us; empty otherwise."""
        # Unlocks come from people and pass; what changes visitors goes one by one, because the box asks for few requests.
        self._writing = asyncio.Lock()
        self._attempts: OrderedDict[str, _Attempt] = OrderedDict()
        self._warming: asyncio.Task[None] | None = None
        self._date: tuple[float, float] | None = None

    def clock_skew_s(self) -> float | None:
        if self._date is None:
            return None
        said_at, heard = self._date
        age_s = self._clock.monotonic() - heard
        # Carried on by our uptime, not by our clock: that is the one in question.
        return said_at + age_s - self._clock.now() if age_s <= DATE_KEPT_S else None

    def _dated(self, said_at: float) -> None:
        self._date = (said_at, self._clock.monotonic())

    async def start(self) -> None:
        with suppress(WireError):
            await self._wire.warm()
        if self._warming is None:
            self._warming = asyncio.create_task(self._keep_warm())

    async def stop(self) -> None:
        warming, self._warming = self._warming, None
        running = [attempt.task for attempt in self._attempts.values() if attempt.task is not None]
        # A pulse under way is waited for (its timeout bounds it): cutting it would leave nobody knowing what happened.
        await asyncio.gather(*running, return_exceptions=True)
        if warming is not None:
            warming.cancel()
            with suppress(asyncio.CancelledError):
                await warming
        await self._wire.close()

    async def unlock(self, door_id: str, actor: Actor, request_id: str) -> Unlocked:
        words.check_actor(actor, request_id)
        attempt = self._attempts.get(request_id)
        if attempt is not None and attempt.door_id != door_id:
            raise DoorsRefused("This request was made for another door.")
        if attempt is not None and attempt.task is not None and not (attempt.task.done() and _failed(attempt.task)):
            return await asyncio.shield(attempt.task)
        if attempt is None:
            attempt = self._attempts[request_id] = _Attempt(None, door_id, self._clock.now())
            self._forget_old()
        # A task of its own: a customer's browser that goes away must not cut the pulse and leave its outcome unknown.
        attempt.task = asyncio.create_task(self._attempt(attempt, actor, request_id))
        attempt.task.add_done_callback(_retrieve)
        return await asyncio.shield(attempt.task)

    async def unlocked_already(self, door_id: str, actor: Actor, request_id: str, since_at: int) -> Unlocked | None:
        words.check_actor(actor, request_id)
        wanted = words.actor_id(actor, request_id)
        try:
            hits, _ = await self._wire.search_log(1, PAGE_SIZE, since=max(0, since_at - LOG_SLACK_S), actor_id=wanted)
        except WireError as error:
            raise words.failure(error) from error
        for event in map(words.door_event, hits):
            if event.admitted and event.request_id == request_id and event.actor_id == actor.id and event.door_id in ("", door_id):
                return Unlocked(door_id, request_id, event.at, "log")
        return None

    async def doors(self) -> list[DoorState]:
        try:
            return [words.door_state(door) for door in await self._wire.list_doors()]
        except WireError as error:
            raise words.failure(error) from error

    async def grant(self, credential: DoorCredential) -> GrantRef:
        words.check_credential(credential)
        async with self._writing:
            try:
                return await self._grant(credential)
            except WireError as error:
                raise words.failure(error) from error

    async def regrant(self, ref: GrantRef, credential: DoorCredential) -> GrantRef:
        words.check_credential(credential)
        async with self._writing:
            try:
                visitor = await self._visitor(ref)
                if visitor is None or words.status(visitor) == "cancelled":
                    return await self._grant(credential)
                return await self._renew(visitor, credential)
            except WireError as error:
                raise words.failure(error) from error

    async def revoke(self, ref: GrantRef, *, erase: bool = False) -> None:
        async with self._writing:
            try:
                await self._revoke(ref, erase)
            except WireError as error:
                raise words.failure(error) from error

    async def granted(self, *, ended: bool = False) -> list[Granted]:
        found: dict[str, Granted] = {}
        try:
            for status in LIVE_STATUSES + (ENDED_STATUSES if ended else ()):
                for row in await self._all_visitors(status=status):
                    if row.first_name == words.MARK and row.id not in found:
                        found[row.id] = words.granted(await self._whole(row))
        except WireError as error:
            raise words.failure(error) from error
        return list(found.values())

    async def log(self, since_at: int, until_at: int) -> list[DoorEvent]:
        events: dict[tuple[object, ...], DoorEvent] = {}
        try:
            for page in range(1, PAGES_MAX + 1):
                hits, total = await self._wire.search_log(page, PAGE_SIZE, since=since_at, until=until_at)
                for hit in hits:
                    # The box's own row id may be empty, and rows shift between pages while new ones come.
                    event = words.door_event(hit)
                    events[(hit.source.event.published, hit.source.event.type, event.actor_id, event.door_id, event.message)] = event
                if len(hits) < PAGE_SIZE or page * PAGE_SIZE >= total:
                    break
        except WireError as error:
            raise words.failure(error) from error
        return sorted(events.values(), key=lambda event: event.at)

    def events(self, after_ms: int, known: Container[str] = frozenset()) -> AsyncIterator[DoorEvent]:
        return self._feed.events(after_ms, known)

    def called(self, signature: str, body: bytes) -> bool:
        if not signed(self._webhook_secret, signature, body, self._clock.now() + (self.clock_skew_s() or 0.0)):
            return False
        self._feed.nudge()
        return True

    def hearing(self) -> bool:
        return self._feed.live

    async def _attempt(self, attempt: _Attempt, actor: Actor, request_id: str) -> Unlocked:
        if attempt.unknown:
            known = await self._settle(attempt, actor, request_id)
            if known is not None:
                return known
        attempt.sent_at = self._clock.now()
        try:
            await self._wire.unlock_door(attempt.door_id, words.actor_id(actor, request_id), actor.name, {"request_id": request_id})
        except WireError as error:
            attempt.unknown, attempt.given_up_at = error.may_have_acted, self._clock.now()
            raise words.failure(error, door=True) from error
        return Unlocked(attempt.door_id, request_id, int(self._clock.now()), "answer")

    async def _settle(self, attempt: _Attempt, actor: Actor, request_id: str) -> Unlocked | None:
        """What the log says of a pulse whose answer was lost; None when it surely never happened."""
        try:
            known = await self.unlocked_already(attempt.door_id, actor, request_id, int(attempt.sent_at))
        except DoorsUnavailable as error:
            raise DoorsUnavailable(error.detail, retry_after_s=error.retry_after_s, outcome_unknown=True) from error
        waited_s = self._clock.now() - attempt.given_up_at
        if known is None and waited_s < LOG_SETTLE_S:
            raise DoorsUnavailable(
                "The controller did not answer an unlock, and its log does not tell yet whether the door opened.",
                retry_after_s=max(1, round(LOG_SETTLE_S - waited_s)),
                outcome_unknown=True,
            )
        return known

    def _forget_old(self) -> None:
        while len(self._attempts) > REQUESTS_KEPT:
            oldest = next(iter(self._attempts.values()))
            if oldest.task is not None and not oldest.task.done():
                return
            self._attempts.popitem(last=False)

    async def _grant(self, credential: DoorCredential) -> GrantRef:
        # Looked for first, always: the answer to an earlier create may have been lost, with or without this process.
        mine = await self._live_visitors_of(credential.booking_id)
        for spare in mine[1:]:
            await self._revoke(GrantRef(spare.id), erase=True)
        if mine:
            return await self._renew(mine[0], credential)
        try:
            visitor = await self._wire.create_visitor(words.fields(credential))
        except WireError as error:
            if not error.may_have_acted:
                raise
            found = await self._live_visitors_of(credential.booking_id)
            if not found:
                raise
            visitor = found[0]
        if credential.pin is not None:
            await self._put_pin(visitor, credential.pin)
        return GrantRef(visitor.id)

    async def _renew(self, visitor: objects.Visitor, credential: DoorCredential) -> GrantRef:
        try:
            await self._wire.update_visitor(visitor.id, words.fields(credential))
        except WireError as error:
            if error.kind != "unknown_thing" or await self._visitor(GrantRef(visitor.id)) is not None:
                raise
            return await self._grant(credential)
        if credential.keep_pin and visitor.pin_code is not None:
            return GrantRef(visitor.id)
        if credential.pin is not None:
            await self._put_pin(visitor, credential.pin)
        elif visitor.pin_code is not None:
            await self._wire.unassign_pin(visitor.id)
        return GrantRef(visitor.id)

    async def _put_pin(self, visitor: objects.Visitor, pin: str) -> None:
        try:
            await self._wire.assign_pin(visitor.id, pin)
        except WireError as error:
            if error.code != "CODE_CREDS_PIN_CODE_CREDS_ALREADY_EXIST" or visitor.pin_code is None:
                raise
            # It may be this visitor's own, put there by a call whose answer was lost; a PIN cannot be read back to compare.
            await self._wire.unassign_pin(visitor.id)
            await self._wire.assign_pin(visitor.id, pin)

    async def _revoke(self, ref: GrantRef, erase: bool) -> None:
        # The PIN first: whether a cancelled visitor's PIN becomes free is not documented.
        for step in (lambda: self._wire.unassign_pin(ref), lambda: self._wire.delete_visitor(ref, force=erase)):
            try:
                await step()
            except WireError as error:
                if error.kind != "unknown_thing":
                    raise
                return

    async def _live_visitors_of(self, booking_id: str) -> list[objects.Visitor]:
        """Our visitors of a booking that are not cancelled, the oldest first, as whole records."""
        rows = [row for row in await self._all_visitors(keyword=booking_id) if row.last_name == booking_id and row.first_name == words.MARK]
        whole = [await self._wire.get_visitor(row.id) for row in rows if words.status(row) != "cancelled"]
        return sorted((v for v in whole if words.status(v) != "cancelled"), key=lambda v: (v.create_time or 0, v.id))

    async def _all_visitors(self, *, keyword: str = "", status: int | None = None) -> list[objects.Visitor]:
        rows: list[objects.Visitor] = []
        for page in range(1, PAGES_MAX + 1):
            got = await self._wire.list_visitors(page, PAGE_SIZE, keyword=keyword, status=status)
            rows += got
            if len(got) < PAGE_SIZE:
                break
        return rows

    async def _visitor(self, ref: GrantRef) -> objects.Visitor | None:
        try:
            return await self._wire.get_visitor(ref)
        except WireError as error:
            if error.kind != "unknown_thing":
                raise
            return None

    async def _whole(self, row: objects.Visitor) -> objects.Visitor:
        """List rows may lack the window or the remarks on some firmwares; the single record has them."""
        if row.start_time is not None and row.end_time is not None and row.remarks:
            return row
        return await self._wire.get_visitor(row.id)

    async def _keep_warm(self) -> None:
        while True:
            await asyncio.sleep(self._warm_every_s)
            with suppress(WireError):
                await self._wire.warm()

    def _heard(self, error: WireError | None) -> None:
        """Says once when the controller goes and once when it is back."""
        if error is not None and not error.about_controller:
            error = None
        trouble = "" if error is None else str(error)
        if error is None and self.reachable is False:
            log.info("The door controller answers again.")
        elif error is not None and self.reachable is not False:
            log.warning("The door controller cannot be used: %s", trouble)
        elif error is not None and not error.passing and trouble != self.trouble:
            log.error("The door controller needs a person: %s", trouble)
        self.reachable = error is None
        self.trouble = trouble


def _failed(task: asyncio.Task[Unlocked]) -> bool:
    return task.cancelled() or task.exception() is not None


def _retrieve(task: asyncio.Task[Unlocked]) -> None:
    """Looks at the outcome even if nobody waits any more, so that asyncio does not complain of it."""
    if not task.cancelled():
        task.exception()


def open_doors(settings: DoorTable, around: Around) -> UnifiDoors:
    """The controller that the configuration names. ValueError with a sentence for settings that cannot be right."""
    certificate = str(around.path(settings.certificate_file)) if settings.certificate_file else ""
    token = around.secret(settings.token_file, "doors.token")
    wanted = UnifiSettings(
        settings.host, token, port=settings.port, fingerprint=settings.fingerprint, certificate_path=certificate,
        webhook_secret=around.secret(settings.webhook_secret_file, "doors.webhook_secret"),
    )  # fmt: skip
    return UnifiDoors(wanted, around.clock)
