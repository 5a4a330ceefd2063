"""What the tests of the doors port share: times, an actor, a credential, waiting."""

import asyncio

from site_agent.ports import Actor, DoorCredential

NOON = 1_800_000_000
TOKEN = "testing-token-7d1f"
GUEST = Actor("booking-8472", "Booking 8472")


def credential(
    emulator, booking_id="booking-8472", pin="570121", door="front", opens_at=NOON - 600, closes_at=NOON + 3600
) -> DoorCredential:
    return DoorCredential(booking_id, (emulator.door_id(door),), pin, opens_at, closes_at, "Box 3, 18:00")


async def until(condition, deadline_s: float = 5.0) -> None:
    async with asyncio.timeout(deadline_s):
        while not condition():
            await asyncio.sleep(0.005)
