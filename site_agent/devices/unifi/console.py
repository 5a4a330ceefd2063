"""The house as a whole on the controller: emergency, doors that are held, where doors are, devices, and what our token may do.

Not for: who may do any of it. Invariant: what a controller or a device of it does not offer is refused with a sentence and not asked of it again
for `LACKS_S`; nothing that `check` does changes anything.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress

from site_agent.devices.unifi import objects, words
from site_agent.devices.unifi.wire import Wire, WireError
from site_agent.ports import (
    HOLD_MINUTES_MAX,
    DoorCheck,
    DoorDevice,
    DoorHold,
    DoorPlace,
    DoorsRefused,
    EmergencyMode,
    HoldRule,
)

#: no call tells a controller's version; what it has refused as unknown is asked for again after this, since it may have been updated
LACKS_S = 3600.0

#: what needs which update of the controller, for the sentence that refuses it
_SINCE = {
    "emergency": "Emergencies need Access 1.24.6 or later.",
    "hold": "Holding a door needs Access 1.24.6, some hubs Access 3.1.30 and firmware of that time.",
    "code": "Codes for the controller's own readers need Access 3.3.10 or later.",
    "card": "Reading a card needs a reader that takes cards.",
}
_WHAT = {"emergency": "emergencies", "hold": "a door that is held open or shut", "code": "QR codes", "card": "cards"}
_RULES: dict[str, str] = {
    "unlocked": "keep_unlock", "locked": "keep_lock", "unlocked_for": "custom", "normal": "reset", "end_schedule": "lock_early",
}  # fmt: skip
_PROBES = (
    ("view:space", "/doors", "see the doors"),
    ("view:visitor", "/visitors", "see its visitors"),
    ("view:device", "/devices", "see its devices and hear events as they happen"),
)
#: rights that only a change would prove
_UNPROVEN = (
    ("edit:space", "open doors, hold them, and call an emergency"),
    ("edit:visitor", "put PINs, codes and cards on the doors"),
    ("edit:credential", "have a reader read a new card"),
)


class Lacks:
    """What the controller was found not to have, for an hour each. What it has once done it has: while it starts it may answer as if it had not, and
    doors must be let go again all the same."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._until: dict[tuple[str, str], float] = {}
        self._has: set[tuple[str, str]] = set()

    def refuse(self, feature: str, device: str = "") -> None:
        """Raises DoorsRefused where it was found lately that there is no such thing here."""
        if self._until.get((feature, device), 0.0) > self._monotonic():
            raise self._refusal(feature, device)

    def noted(self, feature: str, device: str = "") -> DoorsRefused:
        """It was found just now."""
        if not self.has(feature, device):
            self._until[(feature, device)] = self._monotonic() + LACKS_S
        return self._refusal(feature, device)

    def done(self, feature: str, device: str = "") -> None:
        """It was done just now, so it is there."""
        self._has.add((feature, device))
        self._until.pop((feature, device), None)

    def has(self, feature: str, device: str = "") -> bool:
        return (feature, device) in self._has

    @staticmethod
    def _refusal(feature: str, device: str) -> DoorsRefused:
        who = "This door's hub" if device else "The door controller"
        return DoorsRefused(f"{who} does not offer {_WHAT[feature]}. {_SINCE[feature]}", code="not_supported")


class Console:
    """One controller's."""

    def __init__(self, wire: Wire, lacks: Lacks) -> None:
        self._wire, self._lacks = wire, lacks

    # ---- emergency
    async def emergency_now(self) -> EmergencyMode:
        self._lacks.refuse("emergency")
        pair = await self._offered("emergency", self._wire.get_emergency)
        return "evacuation" if pair.evacuation else "lockdown" if pair.lockdown else "normal"

    async def emergency(self, mode: EmergencyMode) -> None:
        await self._offered("emergency", lambda: self._wire.put_emergency(lockdown=mode == "lockdown", evacuation=mode == "evacuation"))

    async def _offered(self, feature: str, call: Callable[[], Awaitable[objects.EmergencyPair | None]]):
        """One that is called, or ended, is asked for whatever was found before."""
        try:
            found = await call()
        except WireError as error:
            if error.kind in ("unsupported", "unknown_thing"):
                raise self._lacks.noted(feature) from error
            raise words.failure(error) from error
        self._lacks.done(feature)
        return found

    # ---- doors that are held
    async def hold(self, door_id: str, rule: HoldRule, minutes: int = 0) -> None:
        if rule == "unlocked_for" and not 1 <= minutes <= HOLD_MINUTES_MAX:
            raise DoorsRefused(f"A door can be held open for 1 to {HOLD_MINUTES_MAX} minutes.")
        self._lacks.refuse("hold", door_id)
        try:
            await self._wire.put_rule(door_id, _RULES[rule], minutes if rule == "unlocked_for" else None)
        except WireError as error:
            raise self._of_hold(error, door_id) from error
        self._lacks.done("hold", door_id)

    async def held(self, door_id: str) -> DoorHold:
        self._lacks.refuse("hold", door_id)
        try:
            rule = await self._wire.get_rule(door_id)
        except WireError as error:
            raise self._of_hold(error, door_id) from error
        self._lacks.done("hold", door_id)
        return words.hold(door_id, rule)

    def _of_hold(self, error: WireError, door_id: str) -> Exception:
        # Old hubs were seen to answer 200 with a failure of the box's own, which is no failure that passes.
        old = error.code == "CODE_SYSTEM_ERROR" and 200 <= error.status < 300 and not self._lacks.has("hold", door_id)
        if error.kind == "unsupported" or old:
            return self._lacks.noted("hold", door_id)
        return words.failure(error, door=True)

    # ---- where and by what
    async def places(self) -> list[DoorPlace]:
        try:
            return words.places(await self._wire.topology())
        except WireError as error:
            raise words.failure(error) from error

    async def devices(self) -> list[DoorDevice]:
        try:
            return [words.device(one) for one in await self._wire.list_devices()]
        except WireError as error:
            raise words.failure(error) from error

    # ---- what our token may do
    async def check(self, pin_digits: int) -> list[DoorCheck]:
        found = [await self._probe(f"right {scope}", self._reading(path), f"The token may {what}.") for scope, path, what in _PROBES]
        found.append(
            await self._probe("right view:system_log", self._log, "The token may read the log, which says what was opened by whom.")
        )
        found.append(await self._probe("emergency", self._wire.get_emergency, "The controller offers emergencies.", "emergency"))
        door_id = await self._a_door()
        if door_id:
            found.append(
                await self._probe("hold", lambda: self._wire.get_rule(door_id), "The controller offers doors that are held.", "hold")
            )
        found += await self._pins(pin_digits)
        found += [DoorCheck(f"right {scope}", None, f"Only a change would show whether the token may {what}.") for scope, what in _UNPROVEN]
        return found

    async def _pins(self, digits: int) -> list[DoorCheck]:
        told: list[str] = []

        async def suggest() -> None:
            told.append(await self._wire.suggest_pin())

        right = await self._probe(
            "right view:credential", suggest, "The token may have PINs suggested, and read the codes for its own readers."
        )
        if not told:
            return [right]
        good = len(told[0]) == digits
        text = f"The controller takes PINs of {len(told[0])} digits{'' if good else f', and ours have {digits}: set doors.pin_digits to the same'}."
        return [right, DoorCheck("PIN length", good, text)]

    def _reading(self, path: str) -> Callable[[], Awaitable[object]]:
        return lambda: self._wire.probe(path)

    async def _log(self) -> None:
        await self._wire.search_log(1, 1, since=0)

    async def _a_door(self) -> str:
        with suppress(WireError):
            return next((door.id for door in await self._wire.list_doors() if door.is_bind_hub), "")
        return ""

    async def _probe(self, what: str, call: Callable[[], Awaitable[object]], text: str, feature: str = "") -> DoorCheck:
        try:
            await call()
        except WireError as error:
            if error.kind in ("away", "certificate", "busy"):
                raise words.failure(error) from error
            if error.kind == "credential":
                return DoorCheck(what, False, f"The token lacks a permission, or is not accepted: {what.removeprefix('right ')}. {error}")
            if feature and (error.kind in ("unsupported", "unknown_thing") or error.code == "CODE_SYSTEM_ERROR"):
                return DoorCheck(what, False, self._lacks.noted(feature).detail)
            return DoorCheck(what, False, str(error))
        return DoorCheck(what, True, text)
