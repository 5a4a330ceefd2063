"""Facility notices (B22) on both sides of the link: who writes one, who ends one, and what a cut, a loss or an older peer makes of it."""

import msgspec
import pytest

from shared.errors import Refused
from shared.ledger import fencing, notices, old_rows, records, streams
from shared.messages import Message, NoticeStated
from shared.model import Notice
from tests.rules.story import until
from tests.two_sides import NOON, SITE, Party, World, books_in_memory, play

DAY_S = 86_400
DOOR = Notice(
    id="notice-door-1", site_id=SITE, level="warning", text="The front door sticks.", text_fr="La porte d’entrée colle.", from_at=NOON,
    until_at=NOON + DAY_S, by="Testa Birdie",
)  # fmt: skip


def notice(n: int = 1, **more) -> Notice:
    return msgspec.structs.replace(DOOR, id=f"notice-door-{n}", **more)


def state(party: Party, one: Notice = DOOR) -> Notice:
    return party.write(lambda tx, desk: notices.state(tx, desk, one))


def end(party: Party, one: Notice = DOOR) -> Notice:
    return party.write(lambda tx, desk: notices.end(tx, desk, one.site_id, one.id, by="staff"))


def tell(party: Party) -> int:
    """What the timer does."""
    if not party.read(lambda tx: notices.untold(tx, SITE, party.desk.now())):
        return 0
    return party.write(lambda tx, desk: notices.tell(tx, desk, SITE))


def shown(party: Party, now: int = NOON) -> list[str]:
    return [one.id for one in party.read(lambda tx: notices.current(tx, SITE, now))]


def texts(party: Party, language: str, ends_at: int = NOON + 1, starts_at: int = NOON) -> tuple[str, ...]:
    """What a letter of NOON says about a visit."""
    return party.read(lambda tx: notices.texts(tx, SITE, language, NOON, starts_at, ends_at))


def refused(act) -> str:
    with pytest.raises(Refused) as no:
        act()
    return no.value.refusal.code


def story(script) -> None:
    play(script, equal=False)


def test_what_either_side_writes_is_shown_on_both_and_what_either_ends_on_neither():
    async def script(w: World):
        state(w.hub, notice(1))
        state(w.site, notice(2))
        await w.quiet()
        assert sorted(shown(w.hub)) == sorted(shown(w.site)) == ["notice-door-1", "notice-door-2"]
        end(w.site, notice(1))
        end(w.hub, notice(2))
        await w.quiet()
        assert shown(w.hub) == shown(w.site) == []
        assert [row[1:3] for row in w.site.read(lambda tx: records.journal_of(tx, SITE)) if "notice" in row[2]] == [
            ("staff", "notice ended"), ("Testa Birdie", "notice")
        ]  # fmt: skip

    story(script)


def test_a_dark_site_says_at_once_what_its_guests_must_know_and_the_hub_says_it_after_the_cut():
    async def script(w: World):
        await w.quiet()
        await w.dark()
        state(w.site)
        state(w.hub, notice(2))
        assert shown(w.site) == ["notice-door-1"] and shown(w.hub) == ["notice-door-2"]
        await w.healed()
        assert sorted(shown(w.hub)) == sorted(shown(w.site)) == ["notice-door-1", "notice-door-2"]

    story(script)


def test_an_end_said_by_both_in_a_cut_is_one_end():
    async def script(w: World):
        state(w.hub)
        await w.quiet()
        await w.dark()
        assert end(w.hub) == end(w.site)
        await w.healed()
        assert shown(w.hub) == shown(w.site) == []
        assert not w.hub.stream().stopped and not w.site.stream().stopped

    story(script)


def test_what_was_heard_before_is_no_news_and_an_old_copy_brings_nothing_back():
    async def script(w: World):
        state(w.site)
        await w.quiet()
        ended = end(w.site)
        await w.quiet()
        w.site.say(NoticeStated(notice=DOOR))
        w.site.say(NoticeStated(notice=ended))
        await w.quiet()
        assert shown(w.hub) == [] and tell(w.hub) == tell(w.site) == 0

    story(script)


def test_an_older_peer_is_told_nothing_and_everything_once_it_is_upgraded():
    async def script(w: World):
        await w.quiet()
        w.hub.write(lambda tx, _: tx.run("UPDATE streams SET peer_schema = 2"))
        state(w.hub)
        assert tell(w.hub) == 0 and not w.hub.read(lambda tx: streams.waiting(tx, SITE))[0]
        assert shown(w.hub) == ["notice-door-1"], "here it is shown all the same"
        w.hub.write(lambda tx, _: tx.run("UPDATE streams SET peer_schema = 3"))
        assert tell(w.hub) == 1 and tell(w.hub) == 0
        await w.quiet()
        assert shown(w.site) == ["notice-door-1"]

    story(script)


def test_a_peer_that_does_not_know_the_message_keeps_it_and_goes_on():
    async def script(w: World):
        await w.quiet()
        tomorrows = msgspec.defstruct("NoticeStated", [("notice", dict)], bases=(Message,), tag=True, frozen=True, kw_only=True)
        w.hub.say(tomorrows(notice={**msgspec.to_builtins(notice(9)), "level": "shouted"}))
        state(w.hub)
        await w.quiet()
        assert shown(w.site) == ["notice-door-1"] and not w.site.stream().stopped and w.site.stream().unknown_count == 1

    story(script)


def test_a_notice_of_another_facility_stops_nothing_and_is_not_taken_in():
    async def script(w: World):
        w.site.say(NoticeStated(notice=notice(site_id="halifax")))
        await w.quiet()
        assert shown(w.hub) == [] and not w.hub.read(lambda tx: notices.one(tx, "halifax", DOOR.id))
        assert w.hub.stream().unknown_count == 1

    story(script)


async def _repaired(w: World) -> None:
    await until(lambda: w.hub.up() and w.site.up() and not w.site.stream().repair and not w.hub.stream().fenced, 60)
    await w.quiet()
    tell(w.hub), tell(w.site)
    await w.quiet()


def test_a_side_put_back_from_a_backup_has_all_notices_again_and_brings_none_back_that_was_ended():
    async def script(w: World):
        state(w.hub, notice(1))
        await w.quiet()
        kept = w.site.copy_of_books()
        end(w.site, notice(1))
        state(w.site, notice(2))
        state(w.hub, notice(3))
        await w.quiet()
        await w.dark()
        await w.site.restore(kept)
        assert shown(w.site) == ["notice-door-1"], "the copy knows no better"
        w.heal()
        await _repaired(w)
        assert sorted(shown(w.site)) == sorted(shown(w.hub)) == ["notice-door-2", "notice-door-3"]

    story(script)


def test_a_hub_with_empty_books_gets_the_notices_back_from_its_site():
    async def script(w: World):
        state(w.hub, notice(1))
        state(w.site, notice(2))
        await w.quiet()
        await w.dark()
        w.hub.db = books_in_memory()
        w.hub.db.write_now(lambda tx: streams.open_site(tx, SITE, hub_id="hub", box_id="hub-2"))
        w.hub.write(lambda tx, desk: fencing.fence_all(tx, desk, "This hub is rebuilt from its sites."))
        await w.hub.restart()
        w.heal()
        await _repaired(w)
        assert sorted(shown(w.hub)) == ["notice-door-1", "notice-door-2"]

    story(script)


def test_a_new_box_is_told_what_the_hub_knows():
    async def script(w: World):
        state(w.site)
        await w.quiet()
        await w.site.adopt(vouched=True, stated=True)
        await _repaired(w)
        assert shown(w.site) == ["notice-door-1"]

    story(script)


def test_the_most_urgent_come_first_then_the_newest_and_four_at_most():
    async def script(w: World):
        state(w.hub, notice(1, level="info", from_at=NOON - 5))
        state(w.hub, notice(2, level="info"))
        state(w.hub, notice(3, level="critical", from_at=NOON - 9))
        state(w.hub, notice(4, level="warning", text="Bring a jacket.", text_fr=""))
        state(w.hub, notice(5, level="info", from_at=NOON - 7))
        assert shown(w.hub) == [f"notice-door-{n}" for n in (3, 4, 2, 1)]
        assert texts(w.hub, "fr")[:2] == ("La porte d’entrée colle.", "Bring a jacket.")
        assert texts(w.hub, "en")[:2] == ("The front door sticks.", "Bring a jacket.")

    story(script)


def test_a_notice_is_shown_from_its_beginning_until_its_end_and_told_to_those_who_come_meanwhile():
    async def script(w: World):
        state(w.hub, notice(from_at=NOON + 3600))
        assert shown(w.hub) == [] and shown(w.hub, NOON + 3600) == ["notice-door-1"]
        assert shown(w.hub, NOON + DAY_S - 1) == ["notice-door-1"] and shown(w.hub, NOON + DAY_S) == []
        assert texts(w.hub, "en", NOON + 3599) == () and texts(w.hub, "en", NOON + 7200) == ("The front door sticks.",)

    story(script)


def test_the_same_notice_again_is_the_same_and_another_under_its_id_is_refused():
    async def script(w: World):
        first = state(w.hub)
        assert state(w.hub, notice(by="somebody else", from_at=NOON + 60)) == first
        assert refused(lambda: state(w.hub, notice(text="The roof leaks."))) == "id_reused"
        ended = end(w.hub)
        assert state(w.hub) == ended == end(w.hub), "what was ended is not begun again by a repeat"

    story(script)


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        ("bad_request", {"text": "  \n "}),
        ("bad_request", {"text": "x" * (notices.TEXT_MAX + 1)}),
        ("bad_request", {"text_fr": "é" * (notices.TEXT_MAX + 1)}),
        ("bad_request", {"text": "a\x07b"}),
        ("bad_request", {"level": "shouted"}),
        ("bad_interval", {"until_at": NOON}),
        ("bad_interval", {"from_at": NOON + DAY_S}),
        ("bad_interval", {"until_at": NOON + 367 * DAY_S}),
        ("facility_not_found", {"site_id": "nowhere"}),
    ],
)
def test_a_notice_that_makes_no_sense_is_refused_and_nothing_is_written(code, wrong):
    async def script(w: World):
        assert refused(lambda: state(w.site, notice(**wrong))) == code
        assert w.site.read(lambda tx: tx.one("SELECT COUNT(*) FROM notices")) == (0,)

    story(script)


def test_a_facility_has_so_many_notices_at_a_time_and_one_that_is_not_known_cannot_be_ended():
    async def script(w: World):
        for n in range(notices.OPEN_MAX):
            state(w.site, notice(n))
        assert refused(lambda: state(w.site, notice(99))) == "too_many_notices"
        end(w.site, notice(0))
        assert state(w.site, notice(99)).id == "notice-door-99"
        assert refused(lambda: end(w.site, notice(98))) == "notice_not_found"

    story(script)


def test_a_notice_is_forgotten_a_month_after_its_time_also_one_that_was_ended_early():
    async def script(w: World):
        state(w.site)
        end(w.site)
        w.forward(DAY_S + old_rows.KEPT_S - 60)
        assert w.site.write(old_rows.forget) == 0
        w.forward(120)
        assert w.site.write(old_rows.forget) == 1

    story(script)
