"""The plug of the link: a transport that staff can pull out and put back, as if somebody had cut the cable.

For the outage drill. Not here: when, by whom and for how long (`outage`). Invariant: while it is out nothing is published and nothing is
heard, whatever the wire underneath does; the wire leaves with its last will, so that the hub notices. Nothing of it outlives the process.
"""

from __future__ import annotations

from shared.runtime.transport import Handler, Hook, Transport


class Plug:
    """A `Transport` around another one. `pull()` and `put_back()` are the only things it adds."""

    def __init__(self, wire: Transport):
        self._wire = wire
        self._begun = False
        self.out = False

    @property
    def connected(self) -> bool:
        return self._wire.connected and not self.out

    @property
    def on_connect(self) -> list[Hook]:
        return self._wire.on_connect

    @property
    def on_disconnect(self) -> list[Hook]:
        return self._wire.on_disconnect

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        if not self.out:
            self._wire.publish(topic, payload, retain=retain)

    def subscribe(self, topic: str, handler: Handler) -> None:
        def hear(topic: str, payload: bytes, retained: bool) -> None:
            if not self.out:  # what was under way when the plug was pulled is lost with the cable
                handler(topic, payload, retained)

        self._wire.subscribe(topic, hear)

    async def start(self) -> None:
        self._begun = True
        if not self.out:
            await self._wire.start()

    async def stop(self) -> None:
        self._begun = False
        await self._wire.stop()

    async def pull(self) -> None:
        """Leaves the broker and stays away. Does nothing where it is out already."""
        if self.out:
            return
        await self._wire.stop()  # first, or the last will would not be said
        self.out = True

    async def put_back(self) -> None:
        """Connects again. Does nothing where it is in."""
        if not self.out:
            return
        self.out = False
        if self._begun:
            await self._wire.start()
