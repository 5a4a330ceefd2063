"""Doors of the emulated controller: relay, leaf, temporary rules, whole-site emergency.

Not for: credentials or logs. Invariant: every state is computed from facts and the handed-in time, so no timer can leave a door open.
"""

import uuid
from typing import Any, Literal

import msgspec

from deploy.emulators.unifi.envelope import ApiError
from deploy.emulators.unifi.logs import target

RULE_TYPES = ("custom", "keep_unlock", "keep_lock", "reset", "lock_early", "lock_now")
FAR_FUTURE_AT = 3_602_128_309
"""What the controller shows as the end of a rule without one (the year 2084)."""
RULE_MINUTES_MAX = 525_600
_NAMESPACE = uuid.UUID("6f2d2a54-6c0e-5f0e-9a53-0d7c3b1f4a10")


def stable_id(*words: str) -> str:
    """The same UUID for the same words, so that a site's config can name the emulator's doors ahead."""
    return str(uuid.uuid5(_NAMESPACE, "/".join(words)))


class DoorSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One door to emulate. `floor` is the facility's word for where it is; unbound doors have no hub and cannot be opened."""

    name: str
    floor: str = "bedford"
    bound: bool = True
    sensor: bool = True

    @property
    def id(self) -> str:
        return stable_id("door", self.floor, self.name)


class Rule(msgspec.Struct, frozen=True):
    """A temporary rule; `ends_at` in unix seconds."""

    type: Literal["custom", "keep_unlock", "keep_lock"]
    ends_at: int


class Emergency(msgspec.Struct, forbid_unknown_fields=True):
    """Whole-site override; evacuation opens everything and beats lockdown, people first."""

    lockdown: bool
    evacuation: bool


class Door(msgspec.Struct):
    """A door's facts. `unlocked_until` is the end of the running pulse in unix seconds."""

    spec: DoorSpec
    unlocked_until: float = 0.0
    leaf_open: bool = False
    rule: Rule | None = None
    schedule_until: int = 0
    schedule_ended_early: bool = False
    offline: bool = False
    reader_offline: bool = False

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def floor_id(self) -> str:
        return stable_id("floor", self.spec.floor)

    @property
    def hub_id(self) -> str:
        return stable_id("hub", self.id).replace("-", "")[:12]

    @property
    def reader_id(self) -> str:
        return stable_id("reader", self.id).replace("-", "")[:12]

    @property
    def full_name(self) -> str:
        return f"Emulator - {self.spec.floor} - {self.spec.name}"

    def rule_at(self, now: float) -> Rule | None:
        return self.rule if self.rule is not None and self.rule.ends_at > now else None

    def scheduled_open(self, now: float) -> bool:
        return self.schedule_until > now and not self.schedule_ended_early

    def refuses_credentials(self, now: float, emergency: Emergency) -> bool:
        """keep_lock is a lockdown of one door: valid PINs do not open it."""
        if emergency.evacuation:
            return False
        rule = self.rule_at(now)
        return emergency.lockdown or (rule is not None and rule.type == "keep_lock")

    def unlocked(self, now: float, emergency: Emergency) -> bool:
        """What the relay does at `now`."""
        if not self.spec.bound:
            return False
        if emergency.evacuation:
            return True
        if emergency.lockdown:
            return False
        if self.unlocked_until > now:
            return True
        rule = self.rule_at(now)
        if rule is not None:
            return rule.type != "keep_lock"
        return self.scheduled_open(now)

    def set_rule(self, kind: str, minutes: int | None, now: float) -> None:
        """Applies one of RULE_TYPES; `minutes` only with `custom`. ApiError for anything else."""
        if kind not in RULE_TYPES:
            raise ApiError("CODE_PARAMS_INVALID", f"type must be one of {', '.join(RULE_TYPES)}.")
        if kind == "custom" and (minutes is None or not 1 <= minutes <= RULE_MINUTES_MAX):
            raise ApiError("CODE_PARAMS_INVALID", "custom needs an interval in minutes, 1 or more.")
        if kind in ("keep_unlock", "keep_lock"):
            self.rule = Rule(kind, FAR_FUTURE_AT)
        elif kind == "custom":
            self.rule = Rule("custom", int(now) + 60 * (minutes or 0))
        elif kind == "reset":
            self.rule = None
        else:
            self._lock_early(kind, now)

    def _lock_early(self, kind: str, now: float) -> None:
        running = self.scheduled_open(now)
        if kind == "lock_early" and not running:
            raise ApiError("CODE_OPERATION_FORBIDDEN", "No unlock schedule is running on this door.")
        if running:
            self.schedule_ended_early = True
        if kind == "lock_now":
            self.rule = None
            self.unlocked_until = 0.0

    def rule_data(self, now: float) -> dict[str, Any]:
        """The body of GET lock_rule: its vocabulary has `schedule`, and an empty type when there is no rule."""
        rule = self.rule_at(now)
        if rule is not None:
            return {"type": rule.type, "ended_time": rule.ends_at}
        if self.schedule_until > now:
            return {"type": "lock_early" if self.schedule_ended_early else "schedule", "ended_time": self.schedule_until}
        return {"type": "", "ended_time": 0}

    def data(self, now: float, emergency: Emergency, no_sensor: str | None) -> dict[str, Any]:
        """The REST shape of a door."""
        leaf: str | None = ("open" if self.leaf_open else "close") if self.spec.bound and self.spec.sensor else no_sensor
        return {
            "id": self.id,
            "name": self.spec.name,
            "full_name": self.full_name,
            "floor_id": self.floor_id,
            "type": "door",
            "is_bind_hub": self.spec.bound,
            "door_lock_relay_status": "unlock" if self.unlocked(now, emergency) else "lock",
            "door_position_status": leaf,
        }

    def notice(self, now: float, emergency: Emergency) -> dict[str, Any]:
        """The notification shape of a door, whose words differ from REST."""
        rule = self.rule_at(now)
        state: dict[str, Any] = {
            "lock": "unlocked" if self.unlocked(now, emergency) else "locked",
            "dps": ("open" if self.leaf_open else "close") if self.spec.sensor else "none",
            "dps_connected": self.spec.sensor,
            "is_unavailable": self.offline,
        }
        if rule is not None:
            state["remain_lock" if rule.type == "keep_lock" else "remain_unlock"] = {
                "type": rule.type,
                "until": rule.ends_at,
                "state": "locked" if rule.type == "keep_lock" else "unlocked",
            }
        return {"id": self.id, "location_type": "door", "name": self.spec.name, "device_ids": [self.hub_id], "state": state}

    def targets(self) -> list[dict[str, Any]]:
        """What a log row about this door names."""
        return [
            target("UAH", self.hub_id, f"Hub {self.spec.name}"),
            target("door", self.id, self.spec.name),
            target("floor", self.floor_id, self.spec.floor),
        ]

    def hook(self, actor: dict[str, Any] | None, done: dict[str, Any]) -> dict[str, Any]:
        """What a webhook about this door says."""
        location = {
            "id": self.id,
            "location_type": "door",
            "name": self.spec.name,
            "up_id": self.floor_id,
            "extras": {},
            "device_ids": None,
        }
        device = {
            "id": self.hub_id,
            "name": f"Hub {self.spec.name}",
            "alias": "",
            "online": False,
            "device_type": "UAH",
            "location_id": self.id,
        }
        return {"location": location, "device": device, "actor": actor, "object": done}

    def devices(self, tells: Literal["much", "little"]) -> list[dict[str, Any]]:
        """The hub and the reader of a bound door, as one inner array of the device list."""
        hub = {"id": self.hub_id, "name": f"Hub {self.spec.name}", "alias": "", "type": "UAH"}
        reader = {"id": self.reader_id, "name": f"Reader {self.spec.name}", "alias": "", "type": "UA-G2-PRO"}
        if tells == "little":
            return [hub, reader]
        return [
            hub | _standing(not self.offline) | {"location_id": self.id, "capabilities": ["is_hub"], "firmware": "v4.9.3.0"},
            reader
            | _standing(not (self.offline or self.reader_offline))
            | {
                "location_id": self.id, "capabilities": ["is_reader", "pin_code", "nfc", "qr_code"], "connected_uah_id": self.hub_id,
                "firmware": "v2.7.18.0",
            },
        ]  # fmt: skip


def _standing(online: bool) -> dict[str, Any]:
    return {"is_adopted": True, "is_connected": online, "is_managed": True, "is_online": online}
