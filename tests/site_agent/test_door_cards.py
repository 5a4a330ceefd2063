"""Cards that are lent for a booking (D11), the devices beneath the doors, and where a moment's recording is seen (D8)."""

import pytest
from msgspec.structs import replace

from site_agent.config import load
from site_agent.ports import CardTaken, DoorCard, DoorsRefused
from site_agent.services.doors.door_trail import Clips
from site_agent.store import door_work
from tests.site_agent.site_world import CONFIG, FRONT, NOON, away, code_of, opened, staff_file


@pytest.fixture
async def world(tmp_path):
    async with opened(tmp_path) as w:
        w.agent.ticker.stop()
        yield w


async def granted(world, booking_id: str) -> str:
    def ref(tx) -> str:
        row = door_work.work(tx, booking_id)
        return row.ref if row else ""

    await world.until(lambda: world.db.read(ref))
    return world.db.read(ref)


async def lent(world, booking_id: str, card_id: str = "token-1", label: str = "0451"):
    begun = await world.staff.post("/api/doors/cards", {"booking_id": booking_id, "device_id": "reader-1"})
    assert (begun.status_code, begun.json()["state"]) == (200, "waiting"), begun.text
    body = {"session": begun.json()["session"]}
    assert (await world.staff.post("/api/doors/cards/read", body)).json()["state"] == "waiting"
    world.doors.card = DoorCard(card_id, label)
    return await world.staff.post("/api/doors/cards/read", body)


async def test_a_card_is_held_to_a_reader_lent_and_taken_back_with_names_in_the_journal(world):
    booking = await world.booked(1, 0)
    ref = await granted(world, booking["id"])
    answer = await lent(world, booking["id"])
    assert answer.json()["told"] == "The card 0451 opens what this booking opens, until its end."
    assert world.doors.cards == {"token-1": ref} and "card_end" in world.doors.calls
    assert (await world.staff.get(f"/api/doors/cards/{booking['id']}")).json()["state"] == "lent"
    back = await world.staff.post("/api/doors/cards/back", {"booking_id": booking["id"]})
    assert (back.json()["state"], world.doors.cards) == ("none", {})
    assert [row[2] for row in world.journal() if "card" in row[2]] == ["card taken back", "card lent"]
    assert code_of(await world.staff.post("/api/doors/cards/back", {"booking_id": booking["id"]})) == (404, "not_found")


async def test_a_guest_who_plays_on_keeps_the_card_until_the_new_end(world):
    booking = await world.booked(1, 0)
    ref = await granted(world, booking["id"])
    await lent(world, booking["id"])
    longer = await world.staff.post(f"/api/bookings/{booking['id']}/extend", {"booking_id": "booking-longer-1", "minutes": 30})
    assert longer.status_code == 201, longer.text
    for _ in range(3):
        await world.kit.door_cards.tick()
        await world.kit.credentials.settle()
    assert world.doors.cards == {"token-1": ref} and "take_card" not in world.doors.calls
    assert (await world.staff.get("/api/doors/cards/booking-longer-1")).json()["state"] == "lent"
    world.clock.forward(5401)
    await world.kit.door_cards.tick()
    assert world.doors.cards == {}


@pytest.mark.parametrize("how", ["cancelled", "over"])
async def test_a_card_opens_nothing_when_the_booking_is_cancelled_or_over(world, how):
    booking = await world.booked(1, 0)
    await granted(world, booking["id"])
    await lent(world, booking["id"])
    if how == "cancelled":
        await world.staff.post(f"/api/bookings/{booking['id']}/cancel", {})
    else:
        world.clock.forward(3601)
    await world.kit.door_cards.tick()
    assert world.doors.cards == {} and world.kit.door_cards.of(booking["id"]).state == "none"


async def test_a_card_follows_its_booking_to_another_credential(world):
    booking = await world.booked(1, 0)
    await granted(world, booking["id"])
    await lent(world, booking["id"])
    world.db.write_now(lambda tx: door_work.put(tx, replace(door_work.work(tx, booking["id"]), ref="v-new")))
    await world.kit.door_cards.tick()
    assert world.doors.cards == {"token-1": "v-new"}


async def test_what_the_controller_does_not_take_now_is_said_and_tried_again(world):
    booking = await world.booked(1, 0)
    await granted(world, booking["id"])
    await lent(world, booking["id"])
    world.doors.failure = away()
    told = (await world.staff.post("/api/doors/cards/back", {"booking_id": booking["id"]})).json()
    assert told["state"] == "returning" and "has not taken it back yet" in told["told"]
    world.doors.failure = None
    world.clock.forward(11)
    await world.kit.door_cards.tick()
    assert world.doors.cards == {}


async def test_a_card_of_somebody_else_is_left_with_them(world):
    first, second = await world.booked(1, 0), await world.booked(2, 0)
    for one in (first, second):
        await granted(world, one["id"])
    await lent(world, first["id"])
    world.doors.card = None
    answer = await lent(world, second["id"])
    assert code_of(answer) == (409, "door_refused") and "lent to another guest" in answer.json()["detail"]
    world.doors.card = None

    async def taken(ref, card_id):
        raise CardTaken("This card belongs to somebody else already.")

    world.doors.give_card = taken
    answer = await lent(world, second["id"], "token-2")
    assert code_of(answer) == (409, "door_refused") and world.kit.door_cards.of(second["id"]).state == "none"


async def test_readers_that_cannot_or_wait_no_more_and_bookings_without_a_credential_are_refused(world):
    assert code_of(await world.staff.post("/api/doors/cards", {"booking_id": "nobody-00", "device_id": "reader-1"})) == (
        404,
        "booking_not_found",
    )
    booking = await world.booked(1, 0)
    await granted(world, booking["id"])
    begun = (await world.staff.post("/api/doors/cards", {"booking_id": booking["id"], "device_id": "reader-1"})).json()
    world.clock.forward(61)
    assert code_of(await world.staff.post("/api/doors/cards/read", {"session": begun["session"]})) == (409, "card_not_read")

    async def refuse(device_id):
        raise DoorsRefused("This door's hub does not offer cards.", code="not_supported")

    world.doors.card_begin = refuse
    assert code_of(await world.staff.post("/api/doors/cards", {"booking_id": booking["id"], "device_id": "reader-1"})) == (
        409,
        "door_refused",
    )
    await world.staff.post(f"/api/bookings/{booking['id']}/cancel", {})
    assert code_of(await world.staff.post("/api/doors/cards", {"booking_id": booking["id"], "device_id": "reader-1"})) == (
        409,
        "illegal_move",
    )


async def test_a_reader_or_hub_that_is_offline_is_a_sentence_beneath_the_doors(world):
    await world.until(lambda: world.kit.doors.panel().devices)
    hub, reader = world.doors.fitted
    world.doors.fitted = [replace(hub, online=False), replace(reader, online=False)]
    world.clock.forward(61)
    await world.kit.doors.look()
    await world.until(lambda: world.kit.doors.panel().told)
    panel = (await world.staff.get("/api/doors")).json()
    assert panel["told"] == [
        "The hub “Front hub” at the front door is offline. That door opens neither from here nor at its reader.",
        "The reader “Front reader” at the front door is offline. No PIN, code or card is read there; check-in at the kiosk still opens the door.",
    ]
    assert [(one["name"], one["door"], one["online"]) for one in panel["devices"]] == [
        ("Front hub", "Front door", False),
        ("Front reader", "Front door", False),
    ]


async def test_a_token_that_may_not_see_devices_is_said_and_costs_no_door(world):
    async def refuse():
        raise DoorsRefused("The controller does not accept the token, or the token lacks a permission (HTTP 403).", code="token_refused")

    world.doors.devices = refuse
    world.clock.forward(61)
    await world.kit.doors.look()
    await world.until(lambda: world.kit.doors.panel().told)
    panel = world.kit.doors.panel()
    assert panel.told[0].startswith("How the readers and hubs are cannot be seen. ") and panel.doors[0].lock == "locked"


def test_a_clip_is_the_address_of_that_camera_at_that_moment_and_nothing_for_other_doors():
    clips = Clips("https://protect.example.test/see?camera={camera}&at={at_ms}", {FRONT: "cam 1"})
    assert clips.at(FRONT, NOON) == f"https://protect.example.test/see?camera=cam%201&at={NOON}000"
    assert clips.at("door-side", NOON) == Clips().at(FRONT, NOON) == ""


@pytest.mark.parametrize(
    ("url", "cameras", "said"),
    [
        ("https://protect.example.test/{camera}", [FRONT], "with {camera} and {at_ms} in it"),
        ("javascript:{camera}{at_ms}", [FRONT], "with {camera} and {at_ms} in it"),
        ("https://protect.example.test/{camera}/{at_ms}", [], "go together"),
        ("", [FRONT], "go together"),
        ("https://protect.example.test/{camera}/{at_ms}", [FRONT, FRONT], "is given twice"),
        ("https://protect.example.test/{camera}/{at_ms}", [FRONT], ""),
    ],
)
def test_the_settings_of_clips_are_read_strictly(tmp_path, url, cameras, said):
    rows = "".join(f'[[doors.camera]]\ndoor_id = "{door}"\ncamera_id = "cam-1"\n' for door in cameras)
    (tmp_path / "staff.toml").write_text(staff_file())
    file = tmp_path / "site.toml"
    file.write_text(f'{CONFIG}\n[doors]\nkind = "unifi"\nhost = "192.0.2.10"\nfingerprint = "{"ab" * 32}"\nprotect_url = "{url}"\n{rows}')
    if not said:
        assert load(file).config.doors.camera[0].camera_id == "cam-1"
        return
    with pytest.raises(Exception, match=said.replace("{", "\\{").replace("}", "\\}")):
        load(file)
