"""A failing bay leaves sale, its guests are placed, staff are told, and it is back when it is well (M3); maintenance is proposed (M4)."""

import asyncio
import uuid

import msgspec
import pytest

from shared import model
from shared.health import Sign
from shared.ledger import records, site_alarms, work
from shared.model import Attendance, Booking
from shared.policy import Hours, Opening
from site_agent.ports import MachineCommand
from site_agent.services.bays.bay_signs import BaySigns
from site_agent.services.bays.machine_choice import Told
from site_agent.services.bays.machine_work import JOB, Order
from site_agent.store import foresight as usage
from site_agent.store import stock as store
from tests.site_agent.site_world import NOON, SITE, SiteWorld, code_of

OFF, GOOD, UNKNOWN = Sign(kind="silent", why="Its PC is off, or cut off from the internet."), Sign(kind="good"), Sign(kind="unknown")


class Bays:
    """Whoever hears the bays: all well until a test says otherwise."""

    def __init__(self) -> None:
        self.signs: dict[int, Sign] = {}
        self.troubles: dict[int, tuple[str, ...]] = {}

    def sign_of(self, tx, resource_id: str) -> Sign:
        return self.signs.get(int(resource_id[-1]), GOOD)

    def troubles_of(self, tx, resource_id: str) -> tuple[str, ...]:
        return self.troubles.get(int(resource_id[-1]), ())


@pytest.fixture
async def bays(world: SiteWorld) -> Bays:
    world.kit.stock._signs = found = Bays()
    await pass_by(world, 1)
    return found


async def pass_by(world: SiteWorld, minutes: int) -> None:
    """The site looks every minute, while its clock goes on."""
    for _ in range(minutes):
        world.clock.forward(60)
        await world.kit.stock.tick()


async def panel(world: SiteWorld) -> dict[str, dict]:
    return {one["bay"]: one for one in (await world.staff.get("/api/bays")).json()["out"]}


async def blocks(world: SiteWorld) -> list[dict]:
    return [one for one in (await world.staff.get("/api/blocks", date="2026-11-21")).json() if one["status"] == "active"]


async def booking(world: SiteWorld, one: dict) -> dict:
    return (await world.staff.get(f"/api/bookings/{one['id']}")).json()


async def is_displaced(world: SiteWorld, one: dict) -> bool:
    return (await booking(world, one)).get("displaced", False)


def act(world: SiteWorld, bay: int, what: str, who=None, **body):
    return (who or world.staff).post(f"/api/bays/{SITE}.box-{bay}/{what}", body)


async def test_a_bay_whose_pc_is_off_leaves_sale_its_guests_are_moved_and_staff_read_why(world, bays):
    placed, waiting = await world.booked(1, 2), await world.booked(1, 4)  # the other bays are the booking centre's by then
    bays.signs[1] = OFF
    await pass_by(world, 5)
    assert await panel(world) == {} and await blocks(world) == [], "four minutes may be a restart"
    await pass_by(world, 1)
    await world.kit.placing.run()
    out = (await panel(world))["Box 1"]
    assert out["state"] == "out" and out["told"] == (
        "Box 1 was taken out of sale at 12:07: its PC is off, or cut off from the internet. 1 guest was moved, 1 needs you."
    )
    [block] = await blocks(world)
    assert (block["by"], block["kind"], block["reason"], block["start"]) == ("health", "blocked", OFF.why, world.at(0))
    assert (await booking(world, placed))["status"] == "cancelled" and await is_displaced(world, waiting)
    assert code_of(await world.staff.post("/api/bookings", world.wish(1, 2))) == (409, "slot_taken")


async def test_it_is_out_as_long_as_it_fails_and_back_when_it_has_been_well_for_ten_minutes(world, bays):
    guest = await world.booked(3, 2)
    for bay in (1, 2, 4):
        await world.booked(bay, 2)
    bays.signs[3] = OFF
    await pass_by(world, 60)
    [block] = await blocks(world)
    assert block["end"] >= world.at(7), "it is made longer while the bay fails"
    assert await is_displaced(world, guest)
    bays.signs[3] = GOOD
    await pass_by(world, 10)
    assert (await panel(world))["Box 3"]["told"].endswith("It is well again and comes back by itself soon.")
    await pass_by(world, 1)
    assert await blocks(world) == [] and await panel(world) == {}
    assert not await is_displaced(world, guest), "who waited has the bay again"
    told = [(row[1], row[2]) for row in world.journal() if row[3] == f"{SITE}.box-3"]
    assert told == [("health", "bay back on sale"), ("health", "bay taken out of sale")]


async def test_while_nobody_is_heard_nothing_is_taken_out_nor_put_back(world, bays):
    await world.booked(3, 2)
    bays.signs[3] = UNKNOWN
    await pass_by(world, 30)
    assert await blocks(world) == []
    bays.signs[3] = OFF
    await pass_by(world, 7)
    bays.signs[3] = UNKNOWN
    await pass_by(world, 60)
    assert "nobody is heard" in (await panel(world))["Box 3"]["told"]
    await pass_by(world, 150)
    assert await blocks(world) == [] or (await blocks(world))[0]["end"] <= world.at(8), "its block runs out by itself"
    assert await panel(world) == {}


async def test_who_plays_there_stays_and_staff_are_told(world, bays):
    playing, later = await world.booked(3, 0), await world.booked(3, 2)
    await world.staff.post(f"/api/bookings/{playing['id']}/check-in", {"open_doors": False})
    bays.signs[3] = OFF
    await pass_by(world, 7)
    [block] = await blocks(world)
    assert block["start"] == world.at(2), "it begins when they have gone"
    assert not await is_displaced(world, playing)
    assert await is_displaced(world, later)
    assert "Somebody plays in Box 3 until 13:00: please look how it is there." in (await panel(world))["Box 3"]["told"]


async def test_bays_that_fall_silent_together_stay_on_sale_until_staff_have_looked(world, bays):
    for bay in (1, 2, 3):
        await world.booked(bay, 2)
        bays.signs[bay] = OFF
    await pass_by(world, 10)
    assert await blocks(world) == []
    asked = await panel(world)
    assert [one["state"] for one in asked.values()] == ["asked"] * 3
    assert asked["Box 1"]["told"].startswith(
        "Box 1 fell silent at 12:02 together with Box 2 and Box 3. It may be the power, the network or whoever"
    )
    viewer = await world.signed_in("vi")
    assert code_of(await act(world, 2, "take-out", viewer)) == (403, "not_allowed")
    taken = await act(world, 2, "take-out")
    assert taken.status_code == 200 and [one["state"] for one in taken.json()] == ["asked", "out", "asked"]
    assert code_of(await act(world, 2, "take-out")) == (409, "illegal_move")
    bays.signs[2] = GOOD
    await pass_by(world, 11)
    [one, other] = await blocks(world)
    assert f"{SITE}.box-2" not in (one["resource_id"], other["resource_id"]), "it is back by itself, and now the others are known to be off"


async def test_the_hubs_staff_hear_of_it_without_a_guests_name(linked):
    linked.kit.stock._signs = bays = Bays()
    await linked.booked(1, 0, name="Testa Birdie")
    bays.signs[1] = OFF
    await pass_by(linked, 7)
    await linked.kit.alarms_up.tick()
    await linked.quiet()
    [alarm] = linked.hub.db.read(lambda tx: site_alarms.current(tx, SITE))
    assert (
        alarm.kind == f"bay_out_{SITE}.box-1" and alarm.text.startswith("Box 1 was taken out of sale at 12:") and "Testa" not in alarm.text
    )
    bays.signs[1] = GOOD
    await pass_by(linked, 12)
    await linked.kit.alarms_up.tick()
    await linked.quiet()
    assert linked.hub.db.read(lambda tx: site_alarms.current(tx, SITE)) == []


async def test_staff_have_it_sold_all_the_same_for_a_while(world, bays):
    await world.booked(3, 2)
    bays.signs[3] = OFF
    await pass_by(world, 7)
    assert code_of(await act(world, 3, "sell", reason=" ")) == (400, "bad_request")
    assert (await act(world, 3, "sell", reason="It plays without the PC")).status_code == 200
    await pass_by(world, 100)
    assert await blocks(world) == []
    told = (await panel(world))["Box 3"]
    assert told["state"] == "spared" and told["told"].startswith(
        "Box 3 is sold all the same until 14:08, as Ada Example said: its PC is off"
    )
    assert any(row[1:5] == ("staff-ada", "bay sold all the same", f"{SITE}.box-3", "It plays without the PC") for row in world.journal())
    await pass_by(world, 30)
    assert len(await blocks(world)) == 1, "the word was for two hours"
    assert code_of(await act(world, 1, "sell", reason="why not")) == (409, "illegal_move")
    assert code_of(await act(world, 9, "sell", reason="why not")) == (404, "resource_not_found")


async def test_a_block_that_staff_made_or_ended_is_theirs(world, bays):
    wanted = {"block_id": str(uuid.uuid4()), "resource_id": f"{SITE}.box-3", "start": world.at(0), "end": world.at(40), "reason": "lamp"}
    await world.staff.post("/api/blocks", wanted)
    bays.signs[3] = OFF
    await pass_by(world, 60)
    assert [one["reason"] for one in await blocks(world)] == ["lamp"], "it is out already"
    bays.signs |= {3: GOOD, 4: OFF}
    await pass_by(world, 40)
    assert sorted(one["reason"] for one in await blocks(world)) == [OFF.why, "lamp"]
    [own] = [one for one in await blocks(world) if one["by"] == "health"]
    await world.staff.delete(f"/api/blocks/{own['id']}")
    await pass_by(world, 30)
    assert [one["reason"] for one in await blocks(world)] == ["lamp"] and (await panel(world))["Box 4"]["state"] == "spared"


async def test_a_bay_that_fails_again_and_again_stays_out_until_staff_put_it_back(world, bays):
    for _ in range(4):
        bays.signs[3] = OFF
        await pass_by(world, 31)
        bays.signs[3] = GOOD
        await pass_by(world, 85)
    told = (await panel(world))["Box 3"]
    assert told["state"] == "stays" and "It failed 4 times within a day, so it stays out until somebody puts it back." in told["told"]
    await pass_by(world, 240)
    assert len(await blocks(world)) == 1, "and is made longer"
    assert (await act(world, 3, "sell", reason="The lamp is new")).status_code == 200
    assert await blocks(world) == [] and await panel(world) == {}


async def test_after_a_restart_or_in_a_clock_in_doubt_the_count_begins_anew(world, bays):
    await world.booked(3, 2)
    bays.signs[3] = OFF
    await pass_by(world, 3)
    world.kit.stock._looked_at = 0  # a new process
    await pass_by(world, 4)
    assert await blocks(world) == []
    world.agent.desk.clock_doubt = lambda: "The clock is in doubt."
    await pass_by(world, 30)
    assert await blocks(world) == []


async def test_pcs_switched_off_at_closing_time_stay_on_sale_and_count_from_before_the_first_guest_or_the_opening(world, bays):
    houses = world.kit.stock._houses
    day = Hours(weekly=(Opening(opens="09:00", closes="20:00"),))
    open_by_day = msgspec.structs.replace(houses._fallback.policy, hours=day)
    houses._fallback = msgspec.structs.replace(houses._fallback, policy=open_by_day)
    houses._houses.clear()
    guest = await world.booked(1, 42)  # tomorrow at nine
    world.clock.forward(8 * 3600)
    for bay in (1, 2, 3):
        bays.signs[bay] = OFF
        await pass_by(world, 20)
    world.clock.forward(11 * 3600)
    world.staff = await world.signed_in("ada")
    await pass_by(world, 13)
    assert await panel(world) == {} and not await is_displaced(world, guest), "a quarter past eight"
    await pass_by(world, 6)
    assert {bay: one["state"] for bay, one in (await panel(world)).items()} == {"Box 1": "out"} and await is_displaced(world, guest)
    await pass_by(world, 71)
    assert {bay: one["state"] for bay, one in (await panel(world)).items()} == {"Box 1": "out", "Box 2": "out", "Box 3": "out"}


# ---- how a bay is, by what is believed of its machine
class Believed:
    def __init__(self, told: Told | None):
        self.told_now = told

    def told(self, tx, resource_id: str) -> Told | None:
        return self.told_now


def done(world: SiteWorld, resource_id: str, kind: str, minutes_ago: int) -> None:
    """The bay's machine was asked for that."""
    at = world.agent.desk.now() - minutes_ago * 60
    order = Order(machine_id="31", command=MachineCommand(kind, "mark"), told=kind, by="staff-ada", why="test")
    row = work.Work(
        id=f"{resource_id}-{kind}-{at}",
        kind=JOB,
        lane="x",
        subject=resource_id,
        state="done",
        body=msgspec.json.encode(order).decode(),
        created_at=at,
    )
    world.db.write_now(lambda tx: work.put(tx, row))


OFFLINE = Told("trouble", (OFF.why,), NOON, False)
BROKEN = "TrackMan does not run on its PC."


SIGNS = [
    (None, (), "unknown"),
    (Told("unknown", (), 0, None), (), "unknown"),
    (Told("good", (), NOON, True), (), "good"),
    (Told("trouble", ("The disk is nearly full.",), NOON, True), (), "good"),
    (Told("trouble", (BROKEN,), NOON, True), (), "broken"),
    (Told("trouble", (BROKEN,), NOON, True), (("restart", 5),), "resting"),
    (OFFLINE, (), "silent"),
    (Told("asleep", (), NOON, False), (), "resting"),
    (OFFLINE, (("prepare", 1),), "silent"),
    (OFFLINE, (("wake", 1),), "silent"),
    (OFFLINE, (("restart", 10),), "resting"),
    (OFFLINE, (("restart", 20),), "silent"),
    (OFFLINE, (("lights", 1),), "silent"),
]


async def test_a_pc_that_we_switched_off_rests_and_any_other_that_is_off_has_failed(world):
    for n, (told, before, kind) in enumerate(SIGNS):
        for what, minutes_ago in before:
            done(world, f"{SITE}.case-{n}", what, minutes_ago)
        signs = BaySigns(world.agent.desk, Believed(told), ("Does not run on its PC",))
        found = world.db.read(lambda tx, signs=signs, n=n: signs.sign_of(tx, f"{SITE}.case-{n}"))
        assert found.kind == kind, (told, before)


# ---- maintenance
def worn(world: SiteWorld, hours: int, bay: int = 3) -> None:
    """That many hours were played there in the last weeks, eight a day from noon."""

    def run(tx) -> None:
        for day in range(1, hours // 8 + 1):
            start = NOON // 900 - day * 96
            order = model.Order(id=f"order-{day:04d}", reference=f"OLD{day:04d}", site_id=SITE, customer_id="c-regular", channel="staff")
            b = Booking(
                id=f"old-visit-{day:04d}",
                order_id=order.id,
                site_id=SITE,
                resource_id=f"{SITE}.box-{bay}",
                start=start,
                end=start + 32,
                customer_id="c-regular",
            )
            records.add_order(tx, order)
            records.add_booking(tx, b)
            records.put_attendance(tx, Attendance(booking_id=b.id, site_id=SITE, state="completed"))

    world.db.write_now(run)


async def test_a_worn_bay_gets_a_quiet_time_proposed_that_staff_accept_or_dismiss(world, bays):
    worn(world, 208)
    [proposed] = (await world.staff.get("/api/bays")).json()["proposed"]
    assert proposed["bay"] == "Box 3" and "Box 3 has been played for 208 hours since hours are counted." in proposed["why"]
    assert proposed["clock"] == "Sun 22 Nov 2026, 00:00 to 02:00" and proposed["why"].endswith(
        "from 00:00 to 02:00 is free and usually quiet."
    )
    accept = {
        "block_id": str(uuid.uuid4()),
        "kind": "maintenance",
        "reason": proposed["why"][:300],
        **{key: proposed[key] for key in ("resource_id", "start", "end")},
    }
    assert (await world.staff.post("/api/blocks", accept)).status_code == 201
    assert (await world.staff.get("/api/bays")).json()["proposed"] == []
    world.clock.forward(86_400)
    world.staff = await world.signed_in("ada")
    assert (await world.staff.get("/api/bays")).json()["proposed"] == [], "after it the hours count from there"


async def test_what_bays_were_played_is_counted_bay_by_bay_and_not_anew_for_a_block(world, monkeypatch):
    counted, played = [], usage.played
    monkeypatch.setattr(usage, "played", lambda tx, rid, *window: counted.append(rid) or played(tx, rid, *window))
    worn(world, 208)
    looking = asyncio.create_task(world.kit.foresight.proposals())
    await asyncio.sleep(0)
    assert len(set(counted)) == 1, "others have their turn before the next bay"
    [proposed] = await looking
    assert len(set(counted)) == 4
    counted.clear()
    assert (await world.staff.post("/api/blocks", {"block_id": str(uuid.uuid4()), "kind": "maintenance", "reason": "now", **{
        key: getattr(proposed, key) for key in ("resource_id", "start", "end")}})).status_code == 201  # fmt: skip
    assert await world.kit.foresight.proposals() == () and counted == []


async def test_troubles_are_counted_once_each_and_a_dismissed_proposal_rests(world, bays):
    for n in range(5):
        bays.troubles[2] = (f"The disk told of error {n}.",)
        await pass_by(world, 1)
        bays.troubles[2] = ()  # and comes and goes
        await pass_by(world, 1)
        bays.troubles[2] = (f"The disk told of error {n}.",)
        await pass_by(world, 2)
    assert world.db.read(lambda tx: store.troubles_since(tx, f"{SITE}.box-2", 0)) == 5
    world.clock.forward(600)
    [proposed] = (await world.staff.get("/api/bays")).json()["proposed"]
    assert "its PC told of trouble 5 times within 14 days" in proposed["why"]
    assert code_of(await act(world, 2, "not-now", reason="")) == (400, "bad_request")
    assert (await act(world, 2, "not-now", reason="The new disk comes on Friday")).json() == []
    world.clock.forward(8 * 86_400)
    world.staff = await world.signed_in("ada")
    assert len((await world.staff.get("/api/bays")).json()["proposed"]) == 1
