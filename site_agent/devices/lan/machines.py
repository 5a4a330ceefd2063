"""The `Machines` port on the local network: the PC is called up by its network card, its plug tells of its power, its lights are a switch.

Not for: HTTP (`shelly`), nor for what only the PC itself can do. Invariants: it speaks of the power alone (`of="power"`); the power of a PC is cut
only where the settings say so for this bay, and then the plug brings it back by itself, whatever becomes of us.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, NamedTuple

import msgspec

from shared.errors import Failure
from shared.model import RESOURCE_PATTERN
from shared.runtime.clock import Clock
from site_agent.devices.lan import wake
from site_agent.devices.lan.shelly import ShellySwitch, Switch
from site_agent.devices.machine_ways import Around
from site_agent.ports import (
    Activity,
    Bookmark,
    CommandKind,
    CommandOutcome,
    Machine,
    MachineCommand,
    MachinesRefused,
    MachinesUnavailable,
)

#: how long the power is off when it is cut, and how much later it must be on again
OFF_S, BACK_S = 8, 60
#: what a plug that took the command to cut the power is known by
CUT = "cut"
#: a PC that was called up draws power within this long, or did not hear
WOKEN_S = 90


class BayPowerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is around one bay's PC. `mac`: its network card's, for the call; `plug`: the address of the switch that it is powered by; `lights`: that of
    the lights' switch; channels count from 0. `idle_w`: drawing less than that it is off (0: the plug does not tell). `power_cycle`: a restart may cut
    the power where nothing else did it."""

    id: Annotated[str, msgspec.Meta(pattern=RESOURCE_PATTERN)]
    mac: str = ""
    plug: str = ""
    plug_channel: Annotated[int, msgspec.Meta(ge=0, le=15)] = 0
    lights: str = ""
    lights_channel: Annotated[int, msgspec.Meta(ge=0, le=15)] = 0
    idle_w: Annotated[float, msgspec.Meta(ge=0, le=500)] = 0
    power_cycle: bool = False


class LanSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`broadcast`: where PCs are called up, with a port if it is not 9. `password_file`: the password of the switches, where they have one; `user` is
    asked for by those of the first generation only."""

    bay: Annotated[tuple[BayPowerSettings, ...], msgspec.Meta(min_length=1, max_length=200)]
    broadcast: str = "255.255.255.255"
    user: str = "admin"
    password_file: str = ""
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=10)] = 3.0


SETTINGS = LanSettings


def open_machines(settings: LanSettings, around: Around) -> LanMachines:
    """The way as the settings want it. Raises ValueError with a sentence, ConfigError."""
    password = around.secret(settings.password_file, "password")
    return LanMachines(settings, around.clock, {bay.id: around.called(bay) for bay in around.bays}, password=password)


class _Bay(NamedTuple):
    settings: BayPowerSettings
    mac: bytes | None
    plug: ShellySwitch | None
    lights: ShellySwitch | None


class LanMachines:
    """Implements `site_agent.ports.Machines`. `names`: resource -> what the bay is called; ValueError for settings that cannot be right."""

    near = True

    def __init__(self, settings: LanSettings, clock: Clock, names: dict[str, str], *, password: str = ""):
        self._clock, self._target = clock, wake.target_of(settings.broadcast)
        self._bays: dict[str, _Bay] = {}
        for one in settings.bay:
            if one.id not in names:
                raise ValueError(f"{one.id!r} is no resource of this facility.")
            if one.id in self._bays:
                raise ValueError(f"{one.id!r} is given twice.")
            self._bays[one.id] = _made(one, names[one.id], settings, password)
        #: what was said at the last look: the plug's state by resource, and the switches that gave no answer
        self._plugs: dict[str, Switch] = {}
        self._failing: dict[str, Failure] = {}

    async def start(self) -> None: ...

    async def stop(self) -> None:
        for switch in self._switches():
            await switch.close()

    def _switches(self) -> list[ShellySwitch]:
        return [switch for bay in self._bays.values() for switch in (bay.plug, bay.lights) if switch is not None]

    # ---- what there is
    def reaches(self, resource_id: str, machine_id: str) -> str:
        return resource_id if resource_id in self._bays else ""

    def does(self, machine: str) -> frozenset[CommandKind]:
        bay = self._bays.get(machine)
        if bay is None:
            return frozenset()
        kinds: dict[CommandKind, bool] = {
            "wake": bay.mac is not None or bay.plug is not None, "lights": bay.lights is not None, "restart": bay.settings.power_cycle,
        }  # fmt: skip
        return frozenset(kind for kind, there in kinds.items() if there)

    def able(self, machine: str) -> frozenset[CommandKind]:
        bay = self._bays.get(machine)
        if bay is None:
            return frozenset()
        gone = set()
        if machine not in self._plugs:
            gone |= {"restart"} | ({"wake"} if bay.mac is None else set())
        if bay.lights is None or bay.lights.called in self._failing:
            gone |= {"lights"}
        return self.does(machine) - gone

    def activity(self, machine: str) -> Activity | None:
        return None

    async def machines(self) -> list[Machine]:
        return list(await asyncio.gather(*(self._look(resource_id, bay) for resource_id, bay in self._bays.items())))

    async def _look(self, resource_id: str, bay: _Bay) -> Machine:
        plug, _ = await asyncio.gather(self._asked(bay.plug), self._asked(bay.lights))
        self._plugs.pop(resource_id, None)
        now = int(self._clock.now())
        if plug is None:
            return Machine(resource_id, resource_id, None, 0, "unknown", of="power")
        self._plugs[resource_id] = plug
        online = _powered(plug, bay.settings.idle_w)
        assert bay.plug is not None
        troubles = [] if plug.on else ["It is off: its plug is switched off."]
        troubles += ["It is off: it draws no power."] if plug.on and online is False else []
        troubles += [f"{bay.plug.called} says: {one}." for one in plug.troubles]
        return Machine(resource_id, bay.plug.called, online, now, "trouble" if troubles else "good", tuple(troubles), "power")

    async def _asked(self, switch: ShellySwitch | None) -> Switch | None:
        if switch is None:
            return None
        try:
            found = await switch.state()
        except Failure as error:
            self._failing[switch.called] = error
            return None
        self._failing.pop(switch.called, None)
        return found

    def alarms(self) -> list[str]:
        return [self._failing[name].detail for name in sorted(self._failing)]

    async def renew(self) -> None: ...

    async def maintenance(self, machine_id: str, until_at: int, reason: str) -> None:
        """A plug raises no alerts."""
        self._bay(machine_id)

    # ---- commands
    def _bay(self, machine_id: str) -> _Bay:
        found = self._bays.get(machine_id)
        if found is None:
            raise MachinesRefused(f"The settings of the local network know no bay {machine_id!r}.", code="machine_unknown")
        return found

    async def bookmark(self, machine_id: str) -> Bookmark:
        self._bay(machine_id)
        return Bookmark("", int(self._clock.now()))

    async def command(self, machine_id: str, command: MachineCommand) -> str:
        bay = self._bay(machine_id)
        if command.kind not in self.does(machine_id):
            raise MachinesRefused(f"Nothing on the local network does {command.kind!r} for this bay.", code="command_unknown")
        if command.kind == "wake":
            await self._wake(bay)
        elif command.kind == "restart" and bay.plug is not None:
            await bay.plug.set(False, back_after_s=OFF_S)
            return CUT
        elif command.kind == "lights" and bay.lights is not None:
            if command.what not in ("on", "off"):
                raise MachinesRefused(f"Lights are on or off, not {command.what!r}.", code="command_unknown")
            await bay.lights.set(command.what == "on")
        return ""

    async def _wake(self, bay: _Bay) -> None:
        """The plug first: a PC without power hears no call. One that does not answer may well be on."""
        if bay.plug is not None:
            try:
                await bay.plug.set(True)
            except Failure:
                if bay.mac is None:
                    raise
        if bay.mac is not None:
            try:
                wake.send(bay.mac, self._target)
            except OSError as error:
                raise MachinesUnavailable(f"The call to wake it up could not be sent: {error.strerror or 'no way out'}.") from None

    async def outcome(self, machine_id: str, command: MachineCommand, since: Bookmark, ref: str) -> CommandOutcome:
        bay, passed_s = self._bay(machine_id), self._clock.now() - since.at
        if command.kind == "lights" and bay.lights is not None:
            on = (await bay.lights.state()).on
            if on == (command.what == "on"):
                return CommandOutcome("done", f"The lights are {command.what}.")
            return CommandOutcome("failed", f"The lights are {'on' if on else 'off'}.")
        if command.kind == "restart" and bay.plug is not None:
            return _cycled(await bay.plug.state(), passed_s, taken=ref == CUT)
        return await self._woken(bay, passed_s)

    async def _woken(self, bay: _Bay, passed_s: float) -> CommandOutcome:
        if bay.plug is None or not bay.settings.idle_w:
            return CommandOutcome("done", "It was called up; whether it heard shows when it is heard of.")
        if _powered(await bay.plug.state(), bay.settings.idle_w):
            return CommandOutcome("done", "It draws power.")
        if passed_s < WOKEN_S:
            return CommandOutcome("running", "It was called up, and draws no power yet.")
        return CommandOutcome("failed", "It was called up, and draws no power.")


def _made(one: BayPowerSettings, name: str, settings: LanSettings, password: str) -> _Bay:
    if not (one.mac or one.plug or one.lights):
        raise ValueError(f"{one.id!r} has neither 'mac' nor 'plug' nor 'lights'.")
    if (one.power_cycle or one.idle_w) and not one.plug:
        raise ValueError(f"{one.id!r} has no 'plug', which 'power_cycle' and 'idle_w' are about.")

    def switch(url: str, channel: int, what: str) -> ShellySwitch | None:
        called = f"The {what} of {name}"
        made = ShellySwitch(url, channel, called, user=settings.user, password=password, timeout_s=settings.timeout_s) if url else None
        return made

    mac = wake.mac_of(one.mac) if one.mac else None
    return _Bay(one, mac, switch(one.plug, one.plug_channel, "plug"), switch(one.lights, one.lights_channel, "light switch"))


def _powered(plug: Switch, idle_w: float) -> bool | None:
    """Whether the PC has its power: None where the plug is on and does not tell more."""
    if not plug.on:
        return False
    return None if plug.watts is None or not idle_w else plug.watts >= idle_w


def _cycled(plug: Switch, passed_s: float, *, taken: bool) -> CommandOutcome:
    """`taken`: its plug has said that it took the command; otherwise a plug that is on may never have been off."""
    if plug.on and not taken:
        return CommandOutcome("waiting")
    if plug.on and passed_s >= OFF_S:
        return CommandOutcome("done", f"Its power was off for {OFF_S} seconds, and is on again.", CUT)
    if passed_s < BACK_S:
        return CommandOutcome("running", "Its power is off for some seconds.", CUT)
    return CommandOutcome("failed", "Its power was cut, and its plug has not switched on again.", CUT)
