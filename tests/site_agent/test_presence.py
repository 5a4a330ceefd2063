"""Doors and bays tell who came, who did not and who stayed longer; staff have the last word (B15, B21)."""

import pytest

from shared.ledger import records
from shared.model import Attendance
from site_agent.ports import Activity
from site_agent.services.visits.presence import is_playing
from tests.site_agent.site_world import NOON, SITE, SiteWorld, away, code_of
from tests.site_agent.test_door_trail import event, granted, happens

QUARTER = 3500 * 2 // 4 * 114 // 100  # of an hour on a Saturday, twice, with 14 % tax


class Bays:
    """What the bays' PCs tell of people: `playing[bay]` None for one that tells nothing."""

    def __init__(self, world: SiteWorld):
        self.world, self.playing = world, dict.fromkeys((1, 2, 3, 4), False)

    def activity(self, tx, resource_id: str) -> Activity | None:
        told = self.playing[int(resource_id[-1])]
        return Activity(self.world.agent.desk.now(), 0, told) if told is not None else None


@pytest.fixture
async def bays(world: SiteWorld) -> Bays:
    found = Bays(world)
    world.kit.presence._activity = found.activity
    await pass_by(world, 2)  # the doors have been heard for a while
    return found


async def pass_by(world: SiteWorld, minutes: float) -> None:
    for _ in range(round(minutes * 4)):
        world.clock.forward(15)
        await world.kit.presence.tick()


async def panel(world: SiteWorld) -> dict:
    return (await world.staff.get("/api/bays")).json()["presence"]


def visit(world: SiteWorld, one: dict) -> Attendance:
    return world.db.read(lambda tx: records.attendance(tx, one["id"])) or Attendance(booking_id=one["id"], site_id=SITE)


def check_in(world: SiteWorld, one: dict):
    return world.staff.post(f"/api/bookings/{one['id']}/check-in", {"open_doors": False})


def say(world: SiteWorld, one: dict, state: str):
    return world.staff.post(f"/api/bookings/{one['id']}/attendance", {"state": state})


async def test_the_pin_at_the_reader_checks_in_at_once_and_says_how(world, bays):
    one = await world.booked(1, 1)
    world.clock.forward(20 * 60)
    await happens(world, event(after_s=1320 + 60, actor_id=await granted(world, one["id"]), how="pin"))
    await world.kit.presence.tick()
    assert visit(world, one).state == "checked_in" and visit(world, one).by == "presence"
    [told] = (await panel(world))["visits"]
    assert told["told"] == "Testa B. came in by PIN at 12:23, front door." and told["bay"] == "Box 1"


async def test_who_does_not_come_is_a_no_show_after_fifteen_minutes_and_who_does_it_again_is_flagged(world, bays):
    first = await world.booked(1, 1, phone="902-555-0177")
    again = await world.booked(1, 4, phone="902-555-0177")
    await pass_by(world, 42)
    assert visit(world, first).state == ""
    await pass_by(world, 1)
    [told] = (await panel(world))["visits"]
    assert (told["state"], told["flagged"]) == ("no_show", "")
    assert (
        told["told"]
        == "Testa B. did not come: no check-in, no PIN or code used at a door, nobody in the bay until 15 minutes after the start."
    )
    assert any(row[1:4] == ("presence", "attendance no_show", first["id"]) for row in world.journal())
    await pass_by(world, 91)
    assert visit(world, again).state == "no_show"
    assert (await panel(world))["visits"][0]["flagged"] == "Did not come 2 times within 90 days."


async def test_who_buys_at_the_kiosk_18_minutes_into_a_half_hour_has_the_whole_grace_to_come(world, bays):
    await pass_by(world, 46)
    sold = await world.kiosk.post("/api/bookings", world.wish(1, 1, 2))
    assert sold.status_code == 201, sold.text
    one = sold.json()["booking"]
    await pass_by(world, 14)
    [item] = (await world.staff.get("/api/board", date="2026-11-21")).json()["items"]
    assert visit(world, one).state == "" and item["due_at"] == NOON + 48 * 60
    await pass_by(world, 2)
    [told] = (await panel(world))["visits"]
    assert told["state"] == "no_show" and told["told"].endswith("nobody in the bay until 15 minutes after it was booked.")


@pytest.mark.parametrize("deaf", ["door", "bay", "bay for a moment", "clock"])
async def test_what_was_not_heard_is_no_absence(world, bays, deaf):
    one, heard = await world.booked(1, 1), await world.booked(2, 1)
    await pass_by(world, 30)
    if deaf == "door":
        world.doors.failure = away()
    elif deaf == "clock":
        world.agent.desk.clock_doubt = lambda: "The clock is in doubt."
    else:
        bays.playing[1] = None
    await pass_by(world, 1)
    if deaf == "bay for a moment":
        bays.playing[1] = False
    await pass_by(world, 40)
    assert visit(world, one).state == ""
    assert visit(world, heard).state == ("no_show" if deaf.startswith("bay") else ""), "the other bay was heard"


async def test_a_party_that_came_in_by_one_pin_is_nobodys_no_show(world, bays):
    one = await world.booked(1, 1, phone="902-555-0177")
    other, stranger = await world.booked(2, 1, phone="902-555-0177"), await world.booked(3, 1)
    await check_in(world, one)
    await pass_by(world, 50)
    assert (visit(world, other).state, visit(world, stranger).state) == ("", "no_show")


async def test_play_without_a_check_in_is_a_visit_and_leaving_ends_it(world, bays):
    one = await world.booked(1, 0)
    bays.playing[1] = True
    await pass_by(world, 14)
    assert visit(world, one).how == "plays in the bay, without a check-in"
    await pass_by(world, 40)
    bays.playing[1] = False
    await pass_by(world, 13)
    assert visit(world, one).state == "checked_in"
    await pass_by(world, 2)
    assert (visit(world, one).state, visit(world, one).overtime_min) == ("completed", 0)


async def test_staff_have_the_last_word(world, bays):
    one, other = await world.booked(1, 1), await world.booked(2, 1)
    await check_in(world, one)
    await say(world, one, "none")
    await pass_by(world, 50)
    assert (visit(world, one).state, visit(world, one).said) == ("", True)
    assert visit(world, other).state == "no_show"
    assert (await say(world, other, "none")).status_code == 200
    await pass_by(world, 30)
    assert visit(world, other).state == "" and all(told["booking_id"] != other["id"] for told in (await panel(world))["visits"])


async def test_time_used_after_the_end_is_noted_charged_by_the_quarter_hour_and_waived_by_staff(world, bays):
    one = await world.booked(1, 0)
    await check_in(world, one)
    bays.playing[1] = True
    await pass_by(world, 58 + 10)
    assert visit(world, one).overtime_min == 0, "ten minutes are nobody's business"
    await pass_by(world, 1)
    assert (visit(world, one).overtime_min, visit(world, one).overtime_cents) == (11, QUARTER)
    await pass_by(world, 5)
    [over] = (await panel(world))["overtime"]
    assert over["going_on"] and over["cents"] == 2 * QUARTER and over["told"] == "Testa B. has been in Box 1 for 16 minutes after the end."
    await pass_by(world, 3)
    bays.playing[1] = False
    await pass_by(world, 2)
    [over] = (await panel(world))["overtime"]
    assert (over["minutes"], over["cents"], over["currency"], over["going_on"]) == (19, 2 * QUARTER, "CAD", False)
    assert visit(world, one).state == "completed"
    waived = await world.staff.post(f"/api/bookings/{one['id']}/overtime", {"reason": "The door stuck"})
    assert waived.json()["overtime"][0]["waived"] == "The door stuck" and visit(world, one).waived == "The door stuck"
    told = (await world.staff.get(f"/api/bookings/{one['id']}")).json()
    assert (told["overtime_min"], told["overtime_cents"], told["waived"], told["how"]) == (
        19,
        2 * QUARTER,
        "The door stuck",
        "the time was over",
    )
    assert any(row[1:5] == ("staff-ada", "overtime waived", one["id"], "The door stuck") for row in world.journal())
    charged = await world.staff.post(f"/api/bookings/{one['id']}/overtime", {"reason": ""})
    assert charged.json()["overtime"][0]["waived"] == ""
    nobody = await world.booked(1, 5)
    assert code_of(await world.staff.post(f"/api/bookings/{nobody['id']}/overtime", {"reason": "x"})) == (409, "illegal_move")
    assert code_of(await world.staff.post("/api/bookings/nothing-here/overtime", {"reason": "x"})) == (404, "booking_not_found")


class Hands:
    """A bay whose PC tells when it was last touched, and takes rested hands for a game for ten minutes more."""

    def __init__(self, world: SiteWorld):
        self.world, self.at = world, 0

    def activity(self, tx, resource_id: str) -> Activity | None:
        now = self.world.agent.desk.now()
        return Activity(now, self.at, now - self.at < 600)


async def test_only_what_hands_did_after_the_end_is_charged_and_not_how_long_they_rest(world, bays):
    hands = Hands(world)
    world.kit.presence._activity = hands.activity
    one = await world.booked(1, 0)
    await check_in(world, one)
    for _ in range(60):
        hands.at = world.agent.desk.now()
        await pass_by(world, 1)  # the last touch is a minute after the end
    await pass_by(world, 20)
    assert (visit(world, one).state, visit(world, one).overtime_min) == ("completed", 0)


async def test_who_comes_back_for_a_glove_or_cleans_up_after_the_end_costs_nobody_anything(world, bays):
    one, other = await world.booked(1, 0), await world.booked(2, 0)
    await check_in(world, one)
    await check_in(world, other)
    bays.playing |= {1: True}
    await pass_by(world, 56)
    bays.playing |= {1: False}
    await pass_by(world, 14)
    bays.playing |= {1: True}  # somebody cleans up
    await happens(world, event(after_s=72 * 60, actor_id=await granted(world, other["id"]), how="pin"))
    await pass_by(world, 3)
    bays.playing |= {1: False}
    await pass_by(world, 10)
    assert visit(world, one).state == visit(world, other).state == "completed"
    assert visit(world, one).overtime_min == visit(world, other).overtime_min == 0


async def test_where_only_doors_tell_who_may_have_come_in_otherwise_is_no_no_show(world):
    """A guest who stays for a second booking uses no PIN again, and staff let people in, too."""
    world.kit.presence._activity = lambda tx, resource_id: None
    await pass_by(world, 2)
    first, second = await world.booked(1, 1, phone="902-555-0177"), await world.booked(1, 3, phone="902-555-0177")
    absent, let_in = await world.booked(2, 1), await world.booked(3, 2)
    await pass_by(world, 27)
    await check_in(world, first)
    await pass_by(world, 20)
    assert visit(world, absent).state == "no_show", "nobody was let in but by PIN"
    await happens(world, event(after_s=49 * 60, how="remote"))
    await pass_by(world, 70)
    assert visit(world, second).state == visit(world, let_in).state == ""


async def test_after_a_while_in_which_nobody_looked_nothing_is_an_absence(world, bays):
    one = await world.booked(1, 1)
    await pass_by(world, 20)
    world.clock.forward(20 * 60)  # the machine was held up
    await pass_by(world, 20)
    assert visit(world, one).state == ""


async def test_overtime_ends_where_the_next_guest_begins(world, bays):
    one, following = await world.booked(1, 0), await world.booked(1, 3, name="Testa Bogey")
    await check_in(world, one)
    bays.playing[1] = True
    await pass_by(world, 88 + 20)
    assert visit(world, one).overtime_min == 30 and visit(world, following).overtime_min == 0
    assert visit(world, following).state == "", "who plays on without a pause may be the one or the other: people judge"
    bays.playing[1] = False
    await pass_by(world, 20)
    assert visit(world, following).state == ""
    await check_in(world, following)
    bays.playing[1] = True
    await pass_by(world, 30)
    assert visit(world, following).state == "checked_in"


async def test_play_in_a_bay_that_nobody_has_is_told_once_and_explained_by_staff(world, bays):
    bays.playing[3] = True
    await pass_by(world, 4.5)
    assert (await panel(world))["unbooked"] == []
    await pass_by(world, 10)
    [told] = (await panel(world))["unbooked"]
    assert told["told"].startswith("Box 3 was played from 12:02 to 12:") and told["told"].endswith("and nobody had booked it.")
    assert code_of(await world.staff.post(f"/api/bays/unbooked/{told['id']}", {"reason": " "})) == (400, "bad_request")
    assert code_of(await world.staff.post("/api/bays/unbooked/nobody", {"reason": "x"})) == (404, "not_found")
    assert (await world.staff.post(f"/api/bays/unbooked/{told['id']}", {"reason": "The coach tried the clubs"})).json()["unbooked"] == []
    await pass_by(world, 10)
    assert (await panel(world))["unbooked"] == [], "the same play is not told again"


async def test_who_comes_early_or_works_on_a_blocked_bay_is_no_stranger(world, bays):
    await world.booked(1, 1)
    blocked = {"block_id": "block-for-the-lamp", "resource_id": f"{SITE}.box-2", "start": world.at(0), "end": world.at(4), "reason": "lamp"}
    assert (await world.staff.post("/api/blocks", blocked)).status_code == 201
    await pass_by(world, 14)
    bays.playing |= {1: True, 2: True}
    await pass_by(world, 12)
    assert (await panel(world))["unbooked"] == []


def test_a_bays_word_is_news_for_two_minutes_and_hands_that_rest_play_no_more():
    told = [
        (None, None),
        ((0, 0, True), True),
        ((0, 0, False), False),
        ((121, 0, True), None),
        ((0, 0, None), None),
        ((0, 600, None), True),
        ((0, 601, None), False),
    ]
    for heard, playing in told:
        activity = heard and Activity(NOON - heard[0], heard[1] and NOON - heard[1], heard[2])
        assert is_playing(activity, NOON) is playing, heard


async def test_what_was_seen_survives_a_restart(world, bays):
    one = await world.booked(1, 0)
    await check_in(world, one)
    bays.playing[1] = True
    await pass_by(world, 68)
    presence = world.kit.presence
    presence._bays, presence._played, presence._written = {}, {}, {}  # a new process knows what the books know
    await pass_by(world, 3)
    assert visit(world, one).overtime_min >= 11


async def test_the_hub_hears_what_was_noted(linked):
    world, found = linked, Bays(linked)
    world.kit.presence._activity = found.activity
    one = await world.booked(1, 0)
    await check_in(world, one)
    found.playing[1] = True
    await pass_by(world, 72)
    await world.quiet()
    told = world.hub.db.read(lambda tx: records.attendance(tx, one["id"]))
    assert (told.overtime_min, told.overtime_cents) == (11, QUARTER) and told == visit(world, one)
