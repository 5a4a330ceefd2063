"""The controller's notification stream: everybody connected gets every event, nobody gets an old one.

Not for: what happened (that is the log). Invariant: a listener that does not read is dropped, never waited for.
"""

import asyncio
from typing import Any

import msgspec

WAITING_MAX = 1000


class Listener:
    """One connected listener; `None` in the queue ends it."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[str | None] = asyncio.Queue(WAITING_MAX + 1)


class Notifications:
    """Hands events to the listeners of now; there is no replay."""

    def __init__(self) -> None:
        self._listeners: set[Listener] = set()

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
        for listener in list(self._listeners):
            if listener.queue.qsize() >= WAITING_MAX:
                self._end(listener)
            else:
                listener.queue.put_nowait(frame)

    def drop_all(self) -> None:
        for listener in list(self._listeners):
            self._end(listener)

    def _end(self, listener: Listener) -> None:
        self.leave(listener)
        listener.queue.put_nowait(None)
