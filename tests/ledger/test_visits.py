"""What the site notes of visits: staff's word, time used after the end, blocks that are made longer; and the hub has it all (own-2, own-6, B21)."""

import pytest

from shared.errors import Refused
from shared.ledger import attendance, blocks, records
from shared.model import Attendance
from tests.rules.story import story
from tests.two_sides import World


def both(w: World, booking_id: str) -> tuple[Attendance | None, Attendance | None]:
    return tuple(party.read(lambda tx: records.attendance(tx, booking_id)) for party in (w.site, w.hub))


def code_of(act) -> str:
    with pytest.raises(Refused) as caught:
        act()
    return caught.value.refusal.code


@story()
async def test_the_word_of_staff_is_marked_and_travels_with_how_it_is_known(w: World):
    (b,) = w.site.book(1, 2)
    w.site.write(lambda tx, desk: attendance.attend(tx, desk, b.id, "no_show", by="presence", how="nobody came"))
    w.site.write(lambda tx, desk: attendance.attend(tx, desk, b.id, "no_show", by="staff-ada", how="said by Ada", said=True))
    await w.quiet()
    here, there = both(w, b.id)
    assert here == there and (here.state, here.by, here.how, here.said) == ("no_show", "staff-ada", "said by Ada", True)
    version = here.version
    w.site.write(lambda tx, desk: attendance.attend(tx, desk, b.id, "no_show", by="staff-sam", said=True))
    assert both(w, b.id)[0].version == version, "the same word again changes nothing"


@story()
async def test_time_after_the_end_is_noted_waived_and_left_behind_by_a_longer_booking(w: World):
    (b,) = w.site.book(1, 2)
    note = lambda tx, desk: attendance.over(tx, desk, b.id, 19, 3990)  # noqa: E731
    assert code_of(lambda: w.site.write(note)) == "illegal_move", "nobody has come"
    assert code_of(lambda: w.site.write(lambda tx, desk: attendance.over(tx, desk, "nobody", 1, 1))) == "booking_not_found"
    w.site.write(lambda tx, desk: attendance.attend(tx, desk, b.id, "checked_in", by="kiosk"))
    assert code_of(lambda: w.site.write(lambda tx, desk: attendance.waive(tx, desk, b.id, "why"))) == "illegal_move"
    w.site.write(note)
    version = w.site.write(note).version
    assert version == both(w, b.id)[0].version == 2, "the same again changes nothing"
    w.site.write(lambda tx, desk: attendance.waive(tx, desk, b.id, "The door stuck"))
    await w.quiet()
    here, there = both(w, b.id)
    assert here == there and (here.overtime_min, here.overtime_cents, here.waived) == (19, 3990, "The door stuck")
    longer = w.site.extend(b.id, 30)
    await w.quiet()
    here, there = both(w, longer.id)
    assert here == there and (here.state, here.overtime_min, here.waived) == ("checked_in", 0, "")


@story()
async def test_a_block_made_longer_takes_what_lies_there_on_both_sides(w: World):
    k = w.site.block(1, 4, 1)
    (b,) = w.site.book(1, 8)
    await w.quiet()
    later = w.site.write(lambda tx, desk: blocks.prolong(tx, desk, k.id, k.end + 8))
    assert (later.end, later.version) == (k.end + 8, k.version + 1)
    assert w.site.write(lambda tx, desk: blocks.prolong(tx, desk, k.id, k.end)) == later, "never shorter"
    await w.quiet()
    assert [party.booking(b.id).displaced for party in w.parties] == [True, True]
    assert {party.read(lambda tx: records.block(tx, k.id)) for party in w.parties} == {later}
    w.site.unblock(k.id)
    await w.quiet()
    assert [party.booking(b.id).displaced for party in w.parties] == [False, False]
    assert code_of(lambda: w.site.write(lambda tx, desk: blocks.prolong(tx, desk, k.id, k.end + 12))) == "illegal_move"
    assert code_of(lambda: w.site.write(lambda tx, desk: blocks.prolong(tx, desk, "nothing", 1))) == "block_not_found"
