"""What opens a door beside the PIN, against the emulated controller: its own QR codes, and cards."""

import pytest

from deploy.emulators.unifi.envelope import Style
from site_agent.ports import CardTaken, DoorsRefused, GrantRef
from tests.site_agent.devices.unifi_words import credential


@pytest.mark.parametrize("tells", [True, False])
async def test_the_code_for_the_controllers_own_readers_is_read_out_of_its_picture_and_opens_the_door(controller, connect, tells):
    emulator = await controller(style=Style(tells_codes=tells))
    doors = connect(emulator)
    ref = await doors.grant(credential(emulator))
    text = await doors.code_of(ref)
    assert text == emulator.box.visitors.get(ref).qr_text
    assert emulator.box.read_qr(emulator.door_id("front"), text).admitted
    assert await doors.code_of(ref) == text, "whoever has its picture already keeps it"


async def test_where_the_firmware_has_no_codes_there_is_none_and_nobody_asks_again(controller, connect):
    emulator = await controller(style=Style(lacks=frozenset({"code"})))
    doors = connect(emulator)
    ref = await doors.grant(credential(emulator))
    asked = len(emulator.requests("PUT", "/visitors"))
    assert [await doors.code_of(ref) for _ in range(3)] == ["", "", ""]
    assert len(emulator.requests("PUT", "/visitors")) == asked + 1


async def test_a_picture_that_holds_no_code_is_none(controller, connect):
    emulator = await controller()
    doors = connect(emulator)
    ref = await doors.grant(credential(emulator))
    emulator.faults.next("html", status=200, path="/credentials/qr_codes")
    assert await doors.code_of(ref) == ""
    with pytest.raises(DoorsRefused):
        await doors.code_of(GrantRef("nobody"))


async def test_a_card_is_read_given_opens_what_the_credential_opens_and_is_taken_back(controller, connect):
    emulator = await controller()
    doors, front = connect(emulator), emulator.door_id("front")
    ref = await doors.grant(credential(emulator))
    reader = next(one for one in await doors.devices() if "nfc" in one.reads)
    session = await doors.card_begin(reader.device_id)
    assert await doors.card_read(session) is None
    assert not emulator.box.read_card(front, "0451").admitted, "a reader that learns opens nothing"
    card = await doors.card_read(session)
    assert card.label == "0451" and card.card_id
    await doors.card_end(session)
    await doors.card_end(session)
    with pytest.raises(DoorsRefused, match="waits for no card any more"):
        await doors.card_read(session)
    assert not emulator.box.read_card(front, "0451").admitted
    await doors.give_card(ref, card.card_id)
    await doors.give_card(ref, card.card_id)
    assert emulator.box.read_card(front, "0451").admitted
    other = await doors.grant(credential(emulator, booking_id="booking-2", pin="570122"))
    with pytest.raises(CardTaken, match="belongs to somebody else"):
        await doors.give_card(other, card.card_id)
    await doors.take_card(ref, card.card_id)
    await doors.take_card(ref, card.card_id)
    await doors.take_card(GrantRef("nobody"), card.card_id)
    assert not emulator.box.read_card(front, "0451").admitted


async def test_a_reader_that_is_unknown_or_takes_no_cards_is_refused_with_a_sentence(controller, connect):
    emulator = await controller()
    with pytest.raises(DoorsRefused, match="does not know"):
        await connect(emulator).card_begin("ffffffffffff")
    emulator.box.style = Style(lacks=frozenset({"card"}), lacks_as="CODE_DEVICE_API_NOT_SUPPORTED")
    with pytest.raises(DoorsRefused, match="needs a reader that takes cards") as lacks:
        await connect(emulator).card_begin(emulator.box.door(emulator.door_id("front")).reader_id)
    assert lacks.value.code == "not_supported"
