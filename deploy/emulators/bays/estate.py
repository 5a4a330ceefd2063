"""The emulated bays: a PC, a switch with two channels, a network card that can be called up, and what pulling a cable does to them.

Not for: HTTP. Invariant: a PC has power exactly while channel 0 of its switch is on and its cable is in.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from deploy.emulators.bays.pc import Pc
from deploy.emulators.bays.settings import BaySpec, Settings

CHANNELS = 2
PLUG, LIGHTS = 0, 1
LAMPS_W = 46.0


class Channel:
    """One relay of a switch. `back_at`: when it goes back by itself, monotonic; 0 for never."""

    def __init__(self, on: bool) -> None:
        self.on, self.back_at, self.source = on, 0.0, "init"


class Bay:
    """One bay. `cable`: the PC's is in the plug. `silent`: its switch answers nobody. `stuck`: its relays do not move, whatever it answers."""

    def __init__(self, spec: BaySpec, settings: Settings, folder: Path, monotonic: Callable[[], float]) -> None:
        self.spec, self.monotonic = spec, monotonic
        self.pc = Pc(spec, settings, folder / spec.id)
        self.channels = [Channel(True), Channel(False)]
        self.cable, self.silent, self.stuck = True, False, False
        self.errors: list[str] = []
        self.woken = 0
        self._had_power = True

    @property
    def powered(self) -> bool:
        return self.cable and self.channels[PLUG].on

    def watts(self, channel: int) -> float:
        if not self.channels[channel].on:
            return 0.0
        return LAMPS_W if channel == LIGHTS else self.pc.watts if self.cable else 0.0

    def switch(self, channel: int, on: bool, back_after_s: float, source: str) -> bool:
        """Moves a relay; whether it was on before."""
        one = self.channels[channel]
        was = one.on
        if not self.stuck:
            one.on, one.source = on, source
            one.back_at = self.monotonic() + back_after_s if back_after_s > 0 else 0.0
            self._power()
        return was

    def put_cable(self, in_plug: bool) -> None:
        self.cable = in_plug
        self._power()

    def call_up(self) -> None:
        """The magic packet: heard by a card that has power, in a PC that is off."""
        if self.powered:
            self.woken += 1
            self.pc.press(self.monotonic())

    def _power(self) -> None:
        before, self._had_power = self._had_power, self.powered
        if before and not self.powered:
            self.pc.cut()
        elif self.powered and not before:
            self.pc.press(self.monotonic())  # as its BIOS is set: on after the power was lost

    async def advance(self) -> None:
        now = self.monotonic()
        for one in self.channels:
            if one.back_at and now >= one.back_at:
                one.on, one.back_at, one.source = not one.on, 0.0, "timer"
                self._power()
        await self.pc.advance(now)

    def told(self) -> dict[str, Any]:
        """Everything of it as JSON values."""
        return {
            "id": self.spec.id,
            "name": self.spec.name,
            "pc": self.pc.state,
            "agent": self.pc.agent_on,
            "program": self.pc.program_on,
            "played_at": self.pc.played_at,
            "cable": self.cable,
            "plug": self.channels[PLUG].on,
            "lights": self.channels[LIGHTS].on,
            "watts": [self.watts(channel) for channel in range(CHANNELS)],
            "silent": self.silent,
            "stuck": self.stuck,
            "errors": self.errors,
            "woken": self.woken,
            "deeds": self.pc.deeds,
        }
