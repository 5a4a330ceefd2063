"""What an emulated vendor does later: steps of a message's way, a batch's moment, a retry.

Not for: the product, whose due times stand in tables. Invariant: after `stop` nothing happens any more.
"""

import asyncio
from collections.abc import Callable


class Timers:
    """Calls that are due later, in seconds of the event loop; `waiting` counts those that somebody may wait for."""

    def __init__(self) -> None:
        self.waiting = 0
        self._handles: dict[int, asyncio.TimerHandle] = {}
        self._next = 0
        self._stopped = False

    def later(self, seconds: float, call: Callable[[], None], *, counted: bool = True) -> None:
        """Calls after `seconds`; not `counted` is what may lie hours ahead."""
        if self._stopped:
            return
        self._next += 1
        number = self._next
        self.waiting += counted

        def due() -> None:
            self.waiting -= counted
            del self._handles[number]
            call()

        self._handles[number] = asyncio.get_running_loop().call_later(seconds, due)

    def stop(self) -> None:
        self._stopped = True
        for handle in self._handles.values():
            handle.cancel()
        self._handles.clear()
        self.waiting = 0

    def restart(self) -> None:
        self._stopped = False
