"""An emulator as a process of its own: it runs until somebody ends it.

Not for: what can be chosen on the command line. Invariant: what was started is stopped, also where the start failed half-way.
"""

import asyncio
import signal
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

import msgspec


class Emulator(Protocol):
    async def start(self) -> None: ...

    async def stop(self) -> None: ...


E = TypeVar("E", bound=Emulator)


def run(what: str, made: Callable[[], E], lines: Callable[[E], Iterable[str]]) -> int:
    """Starts what `made()` makes, prints its lines, and waits for SIGINT or SIGTERM: 0 after a clean stop, 2 with a sentence when it cannot start."""
    try:
        asyncio.run(_run(made, lines))
    except (ValueError, OSError, OverflowError, msgspec.ValidationError) as error:
        print(f"The {what} cannot start: {error}", flush=True)
        return 2
    return 0


async def _run(made: Callable[[], E], lines: Callable[[E], Iterable[str]]) -> None:
    emulator, stop = made(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await emulator.start()
        for line in lines(emulator):
            print(line, flush=True)
        await stop.wait()
    finally:
        await emulator.stop()
