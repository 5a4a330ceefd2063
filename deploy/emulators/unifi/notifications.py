"""The controller's notification stream: everybody connected gets every event, nobody gets an old one.

Not for: what happened (that is the log). Invariant: a listener that does not read is dropped, never waited for; without a script in
`faults` every frame goes out once, at once and in order.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

WAITING_MAX = 1000
HELLO_EVERY_S = 5.0
"""Observed controllers greet again and again; it is how a client knows that the stream lives."""
FIRST_FRAME = "Hello from the emulated controller"
HELLO_FRAME = '"Hello"'
FRAMES_MAX = 10_000
"""The most frames that one script may name."""


class StreamFaults(msgspec.Struct, forbid_unknown_fields=True):
    """What the next frames suffer; counts go down by themselves.

    silent_until (unix seconds): until then nothing goes out, greetings included, though the connection stays. lose: so many vanish.
    duplicate: so many go out twice. late: so many go out `late_s` later. swap: the next one goes out after the one behind it.
    """

    silent_until: float = 0.0
    lose: int = 0
    duplicate: int = 0
    late: int = 0
    late_s: float = 5.0
    swap: bool = False


class Listener:
    """One connected listener; `None` in the queue ends it."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[str | None] = asyncio.Queue(WAITING_MAX + 2)


class Notifications:
    """Hands events to the listeners of now; there is no replay. `now` answers unix seconds, `later(delay_s, action)` puts something off."""

    def __init__(self, now: Callable[[], float], later: Callable[[float, Callable[[], None]], None]) -> None:
        self._listeners: set[Listener] = set()
        self._now, self._later = now, later
        self._held: str | None = None
        self._hello_at = now()
        self.faults = StreamFaults()
        self.published = 0

    def __len__(self) -> int:
        return len(self._listeners)

    def join(self) -> Listener:
        listener = Listener()
        self._listeners.add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        self._listeners.discard(listener)

    def publish(self, event: str, object_id: str, data: dict[str, Any]) -> None:
        frame = msgspec.json.encode(
            {"event": event, "receiver_id": "", "event_object_id": object_id, "save_to_history": False, "data": data}
        ).decode()
        self.published += 1
        faults = self.faults
        if self._silent():
            return
        if faults.lose > 0:
            faults.lose -= 1
        elif faults.late > 0:
            faults.late -= 1
            self._later(faults.late_s, lambda: self._send(frame))
        elif faults.swap:
            faults.swap, self._held = False, frame
        else:
            self._send(frame, twice=faults.duplicate > 0)
            faults.duplicate = max(0, faults.duplicate - 1)
            held, self._held = self._held, None
            if held is not None:
                self._send(held)

    def greet(self) -> None:
        """Sends the greeting where it is due."""
        if self._now() - self._hello_at >= HELLO_EVERY_S:
            self._hello_at = self._now()
            if not self._silent():
                self._send(HELLO_FRAME)

    def drop_all(self) -> None:
        for listener in list(self._listeners):
            self._end(listener)

    def _silent(self) -> bool:
        return self.faults.silent_until > self._now()

    def _send(self, frame: str, *, twice: bool = False) -> None:
        for listener in list(self._listeners):
            if listener.queue.qsize() >= WAITING_MAX:
                self._end(listener)
                continue
            for _ in range(1 + twice):
                listener.queue.put_nowait(frame)

    def _end(self, listener: Listener) -> None:
        self.leave(listener)
        listener.queue.put_nowait(None)
