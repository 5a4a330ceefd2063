"""What vouches for the time on this machine: a clock that runs without power, a time server, and how long the machine has been up.

Knows no booking and decides nothing; `ledger.clock_trust` asks it. Invariant: every answer is cheap enough for once a second, and what cannot
be found out is answered "no", since a clock is believed for a reason and never for want of one.
"""

from __future__ import annotations

import ctypes
import time
from pathlib import Path
from typing import Literal, Protocol

from .clock import Clock

#: what the config says of a real-time clock; `auto` looks for one
Rtc = Literal["auto", "yes", "no"]
#: clocks that a host keeps for its virtual machines; the kernel sets the wall clock from them at boot
HOST_CLOCKS = frozenset({"kvm-clock", "hyperv_clocksource_tsc_page", "hyperv_clocksource", "xen"})
#: adjtimex(2): its answer and its status bit for a clock that no time server disciplines
TIME_ERROR, STA_UNSYNC = 5, 0x40


class TimeSource(Protocol):
    """The machine, as the trust in its clock sees it."""

    def rtc(self) -> bool:
        """Whether the clock was set at boot from one that ran on."""

    def synchronised(self) -> bool:
        """Whether a time server disciplines the clock just now."""

    def boot_id(self) -> str:
        """Another text after every boot; empty where that is not known."""

    def uptime_s(self) -> float:
        """Seconds since boot, suspension included; never goes back and never jumps."""


class Machine:
    """The real one (Linux). `rtc` as the config says. `root` is "/" except in tests."""

    def __init__(self, rtc: Rtc = "auto", root: Path = Path("/")):
        self._rtc_said, self._root = rtc, root

    def rtc(self) -> bool:
        if self._rtc_said != "auto":
            return self._rtc_said == "yes"
        return self._set_from_rtc() or bool(HOST_CLOCKS & set(self._text("sys/devices/system/clocksource/clocksource0/available_clocksource").split()))

    def _set_from_rtc(self) -> bool:
        clocks = self._root / "sys/class/rtc"
        return clocks.is_dir() and any(self._text(f"sys/class/rtc/{one.name}/hctosys") == "1" for one in clocks.iterdir())

    def _text(self, name: str) -> str:
        try:
            return (self._root / name).read_text("ascii").strip()
        except (OSError, UnicodeDecodeError):
            return ""

    def synchronised(self) -> bool:
        answer = _adjtimex()
        return answer is not None and answer[0] != TIME_ERROR and not answer[1] & STA_UNSYNC

    def boot_id(self) -> str:
        return self._text("proc/sys/kernel/random/boot_id")

    def uptime_s(self) -> float:
        return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Given:
    """For a clock that was handed in: whoever moves it vouches for it, so it counts as set at boot from one that ran on."""

    def __init__(self, clock: Clock):
        self._clock = clock

    def rtc(self) -> bool:
        return True

    def synchronised(self) -> bool:
        return False

    def boot_id(self) -> str:
        return ""

    def uptime_s(self) -> float:
        return self._clock.monotonic()


class _Timex(ctypes.Structure):
    """The head of `struct timex`; the rest is room for the kernel to write to."""

    _fields_ = [
        ("modes", ctypes.c_uint), ("offset", ctypes.c_long), ("freq", ctypes.c_long), ("maxerror", ctypes.c_long), ("esterror", ctypes.c_long),
        ("status", ctypes.c_int), ("rest", ctypes.c_char * 512),
    ]  # fmt: skip


def _adjtimex() -> tuple[int, int] | None:
    """`(state, status)` of the kernel's clock, read and not changed; None where the system has no such call or forbids it."""
    try:
        call = ctypes.CDLL(None).adjtimex
    except (OSError, AttributeError):
        return None
    about = _Timex()
    state = call(ctypes.byref(about))
    return None if state < 0 else (state, about.status)
