"""The `Doors` port on a UniFi Access controller: an unlock is a pulse; what else there is stands in files of its own.

Not for: HTTP and JSON (`wire`), visitors (`visitors`), codes and cards (`tokens`), the house as a whole (`console`), nor for deciding who may
enter. Invariant: one request id is at most one pulse, unless the controller's log shows that the first never happened.
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
from site_agent.devices.unifi import kept, words
from site_agent.devices.unifi.console import Console, Lacks
from site_agent.devices.unifi.feed import PAGE_PAUSE_S, Feed
from site_agent.devices.unifi.hooks import signed
from site_agent.devices.unifi.pinning import FingerprintError, fingerprint_of_pem, normal_fingerprint
from site_agent.devices.unifi.stream import Stream
from site_agent.devices.unifi.tokens import Tokens
from site_agent.devices.unifi.visitors import PAGE_SIZE, PAGES_MAX, Visitors
from site_agent.devices.unifi.wire import CONNECT_TIMEOUT_S, READ_TIMEOUT_S, Wire, WireError
from site_agent.ports import (
    Actor,
    DoorCard,
    DoorCheck,
    DoorCredential,
    DoorDevice,
    DoorEvent,
    DoorHold,
    DoorPlace,
    DoorsRefused,
    DoorState,
    DoorsUnavailable,
    EmergencyMode,
    Granted,
    GrantRef,
    HoldRule,
    Unlocked,
)

log = logging.getLogger("site_agent.devices.unifi")

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
            connect_timeout_s=settings.connect_timeout_s, on_heard=self._heard, on_date=self._dated, monotonic=clock.monotonic,
        )  # fmt: skip
        self._feed = Feed(
            self._wire,
            Stream(
                settings.host, settings.port, settings.token, settings.pinned(), connect_timeout_s=settings.connect_timeout_s,
                silent_after_s=settings.silent_after_s,
            ),
            clock.now, look_every_s=settings.look_every_s, back_off_s=settings.back_off_s, page_pause_s=settings.page_pause_s,
            on_trouble=self._heard, there=self._time_there,
        )  # fmt: skip
        self.reachable: bool | None = None
        self.trouble = ""
        """The sentence for staff while the controller is away or refuses us; empty otherwise."""
        writing, lacks = asyncio.Lock(), Lacks(clock.monotonic)
        self._visitors = Visitors(self._wire, writing)
        self._tokens = Tokens(self._wire, writing, lacks)
        self._console = Console(self._wire, lacks)
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

    def _time_there(self) -> float | None:
        skew_s = self.clock_skew_s()
        return None if skew_s is None else self._clock.now() + skew_s

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

    # ---- credentials
    async def grant(self, credential: DoorCredential) -> GrantRef:
        return await self._visitors.grant(credential)

    async def regrant(self, ref: GrantRef, credential: DoorCredential) -> GrantRef:
        return await self._visitors.regrant(ref, credential)

    async def revoke(self, ref: GrantRef, *, erase: bool = False) -> None:
        await self._visitors.revoke(ref, erase=erase)

    async def granted(self, *, ended: bool = False) -> list[Granted]:
        return await self._visitors.granted(ended=ended)

    async def kept(self, booking_id: str = "") -> list[Granted]:
        try:
            return await kept.all_of_ours(self._wire, booking_id)
        except WireError as error:
            raise words.failure(error) from error

    async def kept_one(self, ref: GrantRef) -> Granted | None:
        try:
            return await kept.one(self._wire, ref)
        except WireError as error:
            raise words.failure(error) from error

    async def code_of(self, ref: GrantRef) -> str:
        return await self._tokens.code_of(ref)

    async def card_begin(self, device_id: str) -> str:
        return await self._tokens.card_begin(device_id)

    async def card_read(self, session_id: str) -> DoorCard | None:
        return await self._tokens.card_read(session_id)

    async def card_end(self, session_id: str) -> None:
        await self._tokens.card_end(session_id)

    async def give_card(self, ref: GrantRef, card_id: str) -> None:
        await self._tokens.give_card(ref, card_id)

    async def take_card(self, ref: GrantRef, card_id: str) -> None:
        await self._tokens.take_card(ref, card_id)

    # ---- the house as a whole
    async def emergency_now(self) -> EmergencyMode:
        return await self._console.emergency_now()

    async def emergency(self, mode: EmergencyMode) -> None:
        await self._console.emergency(mode)

    async def hold(self, door_id: str, rule: HoldRule, minutes: int = 0) -> None:
        await self._console.hold(door_id, rule, minutes)

    async def held(self, door_id: str) -> DoorHold:
        return await self._console.held(door_id)

    async def places(self) -> list[DoorPlace]:
        return await self._console.places()

    async def devices(self) -> list[DoorDevice]:
        return await self._console.devices()

    async def check(self, pin_digits: int = 6) -> list[DoorCheck]:
        return await self._console.check(pin_digits)

    # ---- what happened
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
