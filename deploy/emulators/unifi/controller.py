"""The emulated controller itself: doors, visitors, log and notifications acting together.

Not for: HTTP. Invariant: nothing happens but by a call with the handed-in clock's time; `advance` plays what has become due.
Assumed where the documents are silent: a remote unlock works on a door under keep_lock and is refused during a site lockdown.
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from deploy.emulators.unifi.cards import Cards
from deploy.emulators.unifi.doors import Door, DoorSpec, Emergency, stable_id
from deploy.emulators.unifi.envelope import ApiError, Style
from deploy.emulators.unifi.faults import Faults
from deploy.emulators.unifi.logs import SystemLog, insight, row, target
from deploy.emulators.unifi.notifications import Notifications
from deploy.emulators.unifi.visitors import Visitor, VisitorBook
from deploy.emulators.unifi.webhooks import Webhooks

ALL_SCOPES = frozenset(
    [f"{verb}:{thing}" for verb in ("view", "edit") for thing in ("user", "visitor", "policy", "credential", "space", "device", "webhook")]
    + ["view:system_log", "edit:api_server"]
)
AGENT_SCOPES = frozenset(
    {"view:space", "edit:space", "view:visitor", "edit:visitor", "view:credential", "edit:credential", "view:device", "view:system_log"}
)
"""What a site agent's token needs; `edit:credential` for reading new cards alone."""

UNLOCKS_KEPT = 500
REQUESTS_KEPT = 2000
TOKEN_NAME = "Emulator API token"


class Unlock(msgspec.Struct, frozen=True):
    """A pulse that was given; `at` in unix seconds with fraction, `how` is the log's credential provider."""

    at: float
    door_id: str
    door_name: str
    how: str
    actor_id: str
    actor_name: str
    extra: dict[str, Any] | None = None


class Admission(msgspec.Struct, frozen=True):
    """What a reader decided, with the sentence it logs."""

    admitted: bool
    reason: str
    visitor_id: str = ""


class Controller:
    """State and behaviour of the box. `now` answers unix seconds; `tokens` maps each token to its scopes."""

    def __init__(
        self,
        now: Callable[[], float],
        rng: Random,
        doors: Iterable[DoorSpec],
        tokens: Mapping[str, Iterable[str]],
        *,
        pin_length: int = 6,
        pulse_s: float = 5.0,
        log_delay_s: float = 1.0,
        timezone: str = "America/Halifax",
        staff_pins: tuple[str, ...] = (),
        style: Style | None = None,
    ) -> None:
        self.now = now
        self.style = style or Style()
        self.timezone = ZoneInfo(timezone)
        self.pulse_s = pulse_s
        self.doors = {spec.id: Door(spec) for spec in doors}
        self.tokens = {token: frozenset(scopes) for token, scopes in tokens.items()}
        unknown = sorted(set().union(*self.tokens.values()) - ALL_SCOPES) if self.tokens else []
        if unknown:
            raise ValueError(f"The controller knows no such scope: {', '.join(unknown)}.")
        self.emergency = Emergency(lockdown=False, evacuation=False)
        self.visitors = VisitorBook(rng, pin_length, staff_pins)
        self.cards = Cards(rng)
        self.log = SystemLog(log_delay_s)
        self.notifications = Notifications(now, self._later)
        self.webhooks = Webhooks(now, rng)
        self.faults = Faults()
        self.unlocks: deque[Unlock] = deque(maxlen=UNLOCKS_KEPT)
        self.requests: deque[tuple[float, str, str]] = deque(maxlen=REQUESTS_KEPT)
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._due_count = self._rows = 0

    def advance(self) -> None:
        """Plays what has become due: ends of pulses, late notifications."""
        now = self.now()
        while self._due and self._due[0][0] <= now:
            heapq.heappop(self._due)[2]()
        self.notifications.greet()

    def door(self, door_id: str) -> Door:
        door = self.doors.get(door_id)
        if door is None:
            raise ApiError("CODE_NOT_EXISTS", "The door does not exist.")
        return door

    def known_resources(self) -> set[str]:
        """Ids that a visitor's resources may name: doors, and the group of the whole building."""
        return set(self.doors) | {self.building_id}

    @property
    def building_id(self) -> str:
        return stable_id("building")

    def topology(self) -> list[dict[str, Any]]:
        floors: dict[str, dict[str, Any]] = {}
        for door in self.doors.values():
            floor = floors.setdefault(door.floor_id, {"id": door.floor_id, "name": door.spec.floor, "type": "floor", "resources": []})
            floor["resources"].append({"id": door.id, "name": door.spec.name, "type": "door", "is_bind_hub": door.spec.bound})
        return [{"id": self.building_id, "name": "All Doors", "type": "building", "resource_topologies": list(floors.values())}]

    def remote_unlock(self, door_id: str, actor_id: str, actor_name: str, extra: dict[str, Any] | None) -> None:
        """One pulse by the API; empty actor means the token. ApiError when the door cannot be opened."""
        door = self.door(door_id)
        if not door.spec.bound:
            raise ApiError(self.style.unbound_code)
        if door.offline:
            raise ApiError("CODE_DEVICE_DEVICE_OFFLINE")
        if self.emergency.lockdown and not self.emergency.evacuation:
            raise ApiError("CODE_OPERATION_FORBIDDEN", "The site is locked down.")
        self._pulse(door, "REMOTE_THROUGH_UAH", actor_id, actor_name or TOKEN_NAME, extra)
        self.notifications.publish(
            "access.data.device.remote_unlock",
            door.hub_id,
            {"unique_id": door.id, "name": door.spec.name, "full_name": door.full_name, "up_id": door.floor_id, "location_type": "door"},
        )

    def read_pin(self, door_id: str, pin: str) -> Admission:
        """What the reader at a door does with a PIN typed in."""
        door = self._reader(door_id)
        if self.visitors.is_staff_pin(pin):
            return self._admit(door, "PIN_CODE", None)
        return self._judge(door, "PIN_CODE", self.visitors.holder_of_pin(pin))

    def read_qr(self, door_id: str, text: str) -> Admission:
        """What the reader at a door does with a QR code held before it."""
        return self._judge(self._reader(door_id), "QR", self.visitors.holder_of_qr(text))

    def would_admit(self, door_id: str, pin: str, at: float) -> Admission:
        """What the reader at a door would say to a PIN at that time (unix seconds) as things stand; nothing opens and nothing is logged."""
        visitor = self.visitors.holder_of_pin(pin)
        why = self._why_not(self._reader(door_id), visitor, at)
        return Admission(not why, why or "Access granted", visitor.id if visitor else "")

    def read_card(self, door_id: str, number: str) -> Admission:
        """What the reader at a door does with a card held to it: learns it where it waits for one, else judges it."""
        door = self._reader(door_id)
        if self.cards.held_to(door.reader_id, number):
            return Admission(False, "The card was read for whoever waits for it")
        return self._judge(door, "NFC", self.visitors.holder_of_card(self.cards.known.get(number, "")))

    def reader_of(self, device_id: str) -> Door:
        """The door whose reader this is. ApiError where there is none, or it is offline."""
        door = next((one for one in self.doors.values() if one.reader_id == device_id and one.spec.bound), None)
        if door is None:
            raise ApiError("CODE_DEVICE_DEVICE_NOT_FOUND")
        if door.offline or door.reader_offline:
            raise ApiError("CODE_DEVICE_DEVICE_OFFLINE")
        return door

    def set_emergency(self, emergency: Emergency) -> None:
        """By the API, or by somebody at the console."""
        self.emergency = emergency
        self.emergency_news()

    def rebooted(self) -> None:
        """By the time it is up again; whoever listened has gone and hears of nothing."""
        if not self.style.keeps_emergency:
            self.forget_emergency()

    def forget_emergency(self) -> None:
        """As a box does that wrote it nowhere: nobody is told, and the doors' rules go with it."""
        self.emergency = Emergency(lockdown=False, evacuation=False)
        for door in self.doors.values():
            door.rule = None

    def press_button(self, door_id: str) -> None:
        """Somebody inside presses the exit button: a pulse by nobody who is known."""
        self._pulse(self._reader(door_id), self.style.button_word, "", "N/A", None, exits=True)

    def deny(self, door_id: str) -> Admission:
        """Somebody tries a credential at the reader that nobody has."""
        return self._block(self._reader(door_id), "NFC", None, "Unknown credential")

    def move_leaf(self, door_id: str, *, opened: bool) -> None:
        """The leaf moves, whatever the lock says; a door without sensor or hub tells nobody."""
        door = self.door(door_id)
        door.leaf_open = opened
        self.door_news(door)
        if door.spec.bound and door.spec.sensor:
            told = {"event_type": "dps_change", "status": "open" if opened else "close"}
            self.webhooks.publish("access.device.dps_status", door.hub_id, door.hook(None, told))

    def force(self, door_id: str) -> None:
        """The leaf is opened while the door is locked."""
        door = self._reader(door_id)
        self.move_leaf(door_id, opened=True)
        if self.style.alarm_rows and door.spec.sensor:
            self._log_alarm(door, "access.door.forced_open", "Door Forced Open")

    def hold_open(self, door_id: str) -> None:
        """The leaf stands open for longer than the console allows."""
        door = self._reader(door_id)
        self.move_leaf(door_id, opened=True)
        if self.style.alarm_rows and door.spec.sensor:
            self._log_alarm(door, "access.door.held_open", "Door Held Open")

    def visitor_news(self, visitor: Visitor, message: str) -> None:
        """Writes the visitor's creation or cancellation to the log."""
        entry = row(
            self.now(),
            event_type="access.visitor.update",
            message=message,
            result="ACCESS",
            provider="",
            actor_id="",
            actor_name=TOKEN_NAME,
            actor_type="api_token",
            targets=[target("visitor", visitor.id, f"{visitor.first_name} {visitor.last_name}")],
        )
        self.log.add(self.now(), "visitor", entry)

    def door_news(self, door: Door) -> None:
        """Tells the listeners how a door stands now."""
        self.notifications.publish(self.style.state_event, door.id, door.notice(self.now(), self.emergency))

    def emergency_news(self) -> None:
        pair = {"lockdown": self.emergency.lockdown, "evacuation": self.emergency.evacuation}
        self.notifications.publish("access.data.setting.update", "", pair)
        for mode, value in pair.items():
            self.webhooks.publish("access.device.emergency_status", "", {"object": {"glocal": True, "mode": mode, "value": value}})
        for door in self.doors.values():
            self.door_news(door)

    def _reader(self, door_id: str) -> Door:
        door = self.door(door_id)
        if not door.spec.bound:
            raise ApiError(self.style.unbound_code, "This door has no reader.")
        if door.reader_offline:
            raise ApiError("CODE_DEVICE_DEVICE_OFFLINE", "The reader at this door is offline.")
        return door

    def _judge(self, door: Door, provider: str, visitor: Visitor | None) -> Admission:
        why = self._why_not(door, visitor, self.now())
        if why or visitor is None:
            return self._block(door, provider, visitor, why)
        visitor.visited = True
        return self._admit(door, provider, visitor)

    def _why_not(self, door: Door, visitor: Visitor | None, at: float) -> str:
        """Why a visitor is not let in at that time; empty where they are."""
        if visitor is None:
            return "Unknown credential"
        if door.refuses_credentials(at, self.emergency):
            return "The door is locked down"
        if not visitor.admitted_at(at, self.timezone):
            return "Outside the visit's time"
        if not {door.id, self.building_id} & {ref.id for ref in visitor.resources}:
            return "No permission for this door"
        return ""

    def _admit(self, door: Door, provider: str, visitor: Visitor | None) -> Admission:
        if visitor is None and door.refuses_credentials(self.now(), self.emergency):
            return self._block(door, provider, None, "The door is locked down")
        name = f"{visitor.first_name} {visitor.last_name}" if visitor else "Emulator staff"
        self._pulse(door, provider, visitor.id if visitor else "staff", name, None)
        return Admission(True, "Access granted", visitor.id if visitor else "")

    def _block(self, door: Door, provider: str, visitor: Visitor | None, reason: str) -> Admission:
        name = f"{visitor.first_name} {visitor.last_name}" if visitor else "N/A"
        self._log_door(door, provider, visitor.id if visitor else "", name, "BLOCKED", f"Access Denied / {reason}")
        return Admission(False, reason, visitor.id if visitor else "")

    def _pulse(
        self, door: Door, provider: str, actor_id: str, actor_name: str, extra: dict[str, Any] | None, *, exits: bool = False
    ) -> None:
        now = self.now()
        door.unlocked_until = now + self.pulse_s
        self.unlocks.append(Unlock(now, door.id, door.spec.name, provider, actor_id, actor_name, extra))
        self._log_door(door, provider, actor_id, actor_name, "ACCESS", "Access Granted", exits=exits, extra=extra)
        self.door_news(door)
        self._later(self.pulse_s, lambda: self.door_news(door))

    def _log_door(
        self, door: Door, provider: str, actor_id: str, actor_name: str, result: str, message: str, *, exits: bool = False,
        extra: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        entry = row(
            self.now(),
            event_type="access.door.unlock",
            message=f"{message} ({provider})",
            result=result,
            provider=provider,
            actor_id=actor_id,
            actor_name=actor_name,
            actor_type="visitor" if provider in ("PIN_CODE", "QR", "NFC") else "user",
            targets=[*door.targets(), target("device_config", "door_entry_method", "exit" if exits else "entry")],
            row_id=self._row_id(),
        )
        self._told("door_openings", entry)
        # The printed sample masks the name, and shows the device as offline although it works.
        actor = {"id": actor_id, "name": f"{actor_name[:3]}***", "type": entry["_source"]["actor"]["type"]} if actor_id else None
        done = {
            "authentication_type": provider,
            "authentication_value": "",
            "policy_id": "",
            "policy_name": "",
            "reader_id": "",
            "result": message,
        }
        self.webhooks.publish(
            "access.door.unlock", entry["_source"]["event"]["type"], door.hook(actor, done | ({"extra": extra} if extra else {}))
        )

    def _log_alarm(self, door: Door, event_type: str, message: str) -> None:
        entry = row(
            self.now(), event_type=event_type, message=message, result="", provider="", actor_id="", actor_name="N/A", actor_type="user",
            targets=door.targets(), row_id=self._row_id(),
        )  # fmt: skip
        self._told("critical", entry)

    def _row_id(self) -> str:
        self._rows += 1
        return f"row-{self._rows:08d}" if self.style.log_ids else ""

    def _told(self, topic: str, entry: dict[str, Any]) -> None:
        """Into the log, and to the listeners a moment later, in the shape that this firmware has."""
        self.log.add(self.now(), topic, entry)
        if self.style.log_event in ("access.logs.add", "both"):
            self._later(self.log.delay_s, lambda: self.notifications.publish("access.logs.add", "", {"_source": entry["_source"]}))
        if self.style.log_event in ("access.logs.insights.add", "both"):
            self._later(self.log.delay_s, lambda: self.notifications.publish("access.logs.insights.add", "", insight(entry)))

    def _later(self, delay_s: float, action: Callable[[], None]) -> None:
        if delay_s <= 0:  # a test or a measurement that wants no delay gets none, not the next tick
            action()
            return
        self._due_count += 1
        heapq.heappush(self._due, (self.now() + delay_s, self._due_count, action))
