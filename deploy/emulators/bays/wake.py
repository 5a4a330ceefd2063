"""The network cards of the emulated PCs: a magic packet calls one up.

Invariant: a packet that is none, or for no card here, does nothing, as on a real network.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_HEAD = b"\xff" * 6


class Cards(asyncio.DatagramProtocol):
    """`call_up(mac)` is called for every card that a packet is for; `macs` are those that there are."""

    def __init__(self, macs: list[str], call_up: Callable[[str], None]) -> None:
        self._packets = {_HEAD + bytes.fromhex(mac.replace(":", "")) * 16: mac for mac in macs}
        self._call_up = call_up

    def datagram_received(self, data: bytes, addr: object) -> None:
        for packet, mac in self._packets.items():
            if packet in data:  # it may stand anywhere in what was sent
                self._call_up(mac)
