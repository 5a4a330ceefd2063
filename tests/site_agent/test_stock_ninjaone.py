"""A bay's plug is pulled: whoever looks after its PC says so, the bay leaves sale, its guest is moved, and it comes back with the power (M3).

Over the emulated NinjaOne, whole; and with NinjaOne itself away, which proves nothing of the bays.
"""

from tests.deploy.ninjaone_world import BOX_1
from tests.site_agent.machines_world import LookedAfter, looked_after


async def pass_by(w: LookedAfter, minutes: int) -> None:
    for _ in range(minutes):
        await w.move(60)
        await w.kit.stock.tick()


async def out(w: LookedAfter) -> list[dict]:
    return (await w.staff.get("/api/bays")).json()["out"]


async def test_the_plug_of_a_bay_is_pulled_and_put_back(tmp_path):
    async with looked_after(tmp_path) as w:
        await pass_by(w, 2)
        guest = await w.booked(1, 2)
        w.ninja.estate.power(BOX_1.id, False)
        await pass_by(w, 8)
        await w.kit.placing.run()
        [one] = await out(w)
        assert one["told"].endswith("its PC is off, or cut off from the internet. 1 guest was moved.") and one["bay"] == "Box 1"
        moved = next(b for b in (await w.staff.get("/api/bookings", date="2026-11-21")).json() if b.get("replaces") == guest["id"])
        assert (moved["bay"], moved["clock"], moved["pin"]) == ("Box 2", guest["clock"], guest["pin"])
        w.ninja.estate.power(BOX_1.id, True)
        await pass_by(w, 14)
        assert await out(w) == []
        assert (await w.staff.post("/api/bookings", w.wish(1, 2))).status_code == 201


async def test_a_ninjaone_that_is_away_takes_nothing_out_of_sale(tmp_path):
    async with looked_after(tmp_path) as w:
        await w.booked(1, 2)
        await w.ninja.go_down()
        await pass_by(w, 20)
        assert await out(w) == [] and (await w.panel())["trouble"] != ""
