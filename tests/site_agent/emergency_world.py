"""A site whose emergencies the tests tick by hand, and how they call them and read what is told."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from site_agent.ports import DoorState
from site_agent.services.doors.emergency import EmergencyDesk
from site_agent.store import emergencies
from tests.site_agent.site_world import FRONT, SITE, SiteWorld, opened


@contextlib.asynccontextmanager
async def by_hand(folder: Path) -> AsyncIterator[SiteWorld]:
    async with opened(folder) as w:
        w.agent.ticker.stop()
        await w.until(lambda: w.doors.calls == ["doors"])
        yield w


def started_anew(world: SiteWorld) -> EmergencyDesk:
    """The emergencies of an agent that was restarted on the same books, before it has begun."""
    return EmergencyDesk(world.db, world.agent.desk, world.kit.bookings._houses, SITE, world.doors, world.clock.monotonic)


def wish(mode="lockdown", minutes=30, sure=True, number=1, reason="Somebody shouts in the hall"):
    return {"request_id": f"emergency-{number}", "mode": mode, "reason": reason, "minutes": minutes, "sure": sure}


async def called(world, **more) -> dict:
    answer = await world.staff.post("/api/doors/emergency", wish(**more))
    assert answer.status_code == 200, answer.text
    return answer.json()


async def after(world, seconds: float, *, step: int = 1) -> None:
    """Time goes on, with what the ticker does."""
    for _ in range(int(seconds / step)):
        world.clock.forward(step)
        await world.kit.emergency.tick()
        await quiet(world)


async def quiet(world) -> None:
    await world.until(lambda: (work := world.kit.emergency._working) is None or work.done())


def told(world) -> list[str]:
    return [row.sentence for row in world.kit.door_trail.page().rows]


def alarms(world) -> list[str]:
    return [alarm.text for alarm in world.kit.emergency.alarms()]


def state(world, number=1) -> str:
    return world.db.read(lambda tx: emergencies.one(tx, f"emergency-{number}")).state


def several_doors(world, *others: str) -> None:
    """The front door and these."""

    async def doors():
        known = [(FRONT, "Front"), *((door_id, door_id.removeprefix("door-").capitalize()) for door_id in others)]
        return [DoorState(door_id, name, name, True, "locked", "closed") for door_id, name in known]

    world.doors.doors = doors
