"""Which rules were hit by whom, how often (R10): counted after the answer, bounded, told to the hub as they stand, found through merges."""

import asyncio
from collections import Counter
from datetime import date, timedelta

import pytest

from shared.errors import Refusal, Unavailable, Violation
from shared.ledger import old_rows, records, rule_hits, streams
from shared.ledger.rule_hits import Key, RuleTally
from shared.messages import RuleHitsStated
from shared.model import Customer, RuleHits
from tests.rules.story import until
from tests.two_sides import NOON, SITE, Party, World, play

SATURDAY = "2026-11-21"
LATE = Violation("R4", "cut_off_passed", "Box 1 can be booked on the web until 1 hour before the start.", "60")
FAR = Violation("R3", "too_far_ahead", "You can book up to 14 days ahead.", "14")
DAY_S = 86_400


def no(*violations: Violation) -> Refusal:
    return Refusal("rules_violated", "No.", violations=violations)


def tally_of(party: Party) -> tuple[RuleTally, Counter]:
    counted = Counter()
    return RuleTally(party.db, party.desk, lambda code: counted.update([code])), counted


def rows(party: Party) -> list[tuple]:
    return party.read(
        lambda tx: tx.all(
            "SELECT day, origin, code, customer_id, channel, hits FROM rule_hits ORDER BY day, origin, code, customer_id, channel"
        )
    )


def add(party: Party, code: str = "cut_off_passed", who: str = "", times: int = 1, at: int = NOON, channel: str = "kiosk") -> None:
    party.write(lambda tx, desk: rule_hits.add(tx, desk, {Key(SITE, "R4", code, who, channel): (times, at)}))


def tell(party: Party) -> int:
    """What the site's timer does."""
    if not party.read(lambda tx: rule_hits.untold(tx, party.desk, SITE)):
        return 0
    return party.write(lambda tx, desk: rule_hits.tell(tx, desk, SITE))


def story(script) -> None:
    play(script, equal=False)


def test_every_rule_that_a_refusal_names_is_counted_once_and_written_when_it_is_time():
    async def script(w: World):
        tally, counted = tally_of(w.site)
        for _ in range(3):
            tally.note(SITE, no(LATE, FAR, LATE), "guest-1", "kiosk")
        tally.note(SITE, no(LATE), "", "staff")
        assert rows(w.site) == [], "nothing is written while somebody waits for the answer"
        assert await tally.flush() == 3 and await tally.flush() == 0
        assert rows(w.site) == [
            (SATURDAY, "site", "cut_off_passed", "", "staff", 1),
            (SATURDAY, "site", "cut_off_passed", "guest-1", "kiosk", 3),
            (SATURDAY, "site", "too_far_ahead", "guest-1", "kiosk", 3),
        ]
        assert counted == {"cut_off_passed": 4, "too_far_ahead": 3}
        tally.note(SITE, no(FAR), "guest-1", "kiosk")
        await tally.flush()
        assert rows(w.site)[2][-1] == 4, "what comes later is added"

    story(script)


def test_a_refusal_that_names_no_rule_is_no_matter_of_rules():
    async def script(w: World):
        tally, counted = tally_of(w.site)
        tally.note(SITE, Refusal("slot_taken", "This time has just been taken."), "guest-1", "web")
        assert await tally.flush() == 0 and not counted

    story(script)


def test_a_flood_of_refusals_makes_few_rows_and_is_written_in_between():
    async def script(w: World):
        tally, _ = tally_of(w.hub)
        for n in range(5000):
            tally.note(SITE, no(LATE), f"guest-{n}", "web")
        await until(lambda: bool(rows(w.hub)), 5)
        await tally.stop()
        assert len(rows(w.hub)) <= rule_hits.WAITING_MAX + 1 and sum(row[-1] for row in rows(w.hub)) == 5000

    story(script)


def test_a_day_has_so_many_rows_of_a_facility_and_more_are_counted_as_nobody_known(monkeypatch):
    monkeypatch.setattr(rule_hits, "ROWS_A_DAY_MAX", 5)

    async def script(w: World):
        for n in range(9):
            add(w.hub, who=f"guest-{n}")
        add(w.hub, who="guest-2", times=2)
        found = {row[3]: row[-1] for row in rows(w.hub)}
        assert found == {"": 4, "guest-0": 1, "guest-1": 1, "guest-2": 3, "guest-3": 1, "guest-4": 1}
        add(w.hub, who="guest-9", at=NOON + DAY_S)
        assert {row[0] for row in rows(w.hub) if row[3] == "guest-9"} == {"2026-11-22"}, "the next day has room again"

    story(script)


def test_counts_that_could_not_be_written_wait_for_the_next_time():
    async def script(w: World):
        tally, _ = tally_of(w.site)
        write, tally._db.write = tally._db.write, None

        async def fails(fn):
            raise Unavailable("The disk is full.")

        tally._db.write = fails
        tally.note(SITE, no(LATE), "guest-1", "kiosk")
        with pytest.raises(Unavailable):
            await tally.flush()
        await tally.stop()
        tally.note(SITE, no(LATE), "guest-1", "kiosk")
        tally._db.write = write
        await tally.flush()
        assert [row[-1] for row in rows(w.site)] == [2]

    story(script)


def test_the_day_is_the_facilitys_own():
    async def script(w: World):
        add(w.site, at=NOON + 15 * 3600)  # 03:00 on Sunday in Halifax, 07:00 in UTC
        add(w.site, at=NOON + 10 * 3600)  # 22:00 on Saturday there, Sunday in UTC
        assert [(row[0], row[-1]) for row in rows(w.site)] == [(SATURDAY, 1), ("2026-11-22", 1)]

    story(script)


def test_the_hub_has_the_sites_counts_beside_its_own_and_a_repeat_changes_nothing():
    async def script(w: World):
        add(w.hub, channel="web", times=2)
        add(w.site, who="guest-1")
        assert tell(w.site) == 1 and tell(w.site) == 0
        await w.quiet()
        add(w.site, who="guest-1", times=4)
        assert tell(w.site) == 1
        await w.quiet()
        told = RuleHits(day=SATURDAY, rule="R4", code="cut_off_passed", channel="kiosk", customer_id="guest-1", hits=3, last_at=NOON)
        w.site.say(RuleHitsStated(rows=(told, told)))
        await w.quiet()
        assert rows(w.hub) == [
            (SATURDAY, "hub", "cut_off_passed", "", "web", 2), (SATURDAY, "site", "cut_off_passed", "guest-1", "kiosk", 5)
        ]  # fmt: skip
        found = w.hub.read(lambda tx: rule_hits.by_rule(tx, SITE, NOON, 30))
        assert [(one.channel, one.hits, one.customers) for one in found] == [("kiosk", 5, 1), ("web", 2, 0)]

    story(script)


def test_a_site_takes_no_counts_from_a_hub():
    async def script(w: World):
        w.hub.say(RuleHitsStated(rows=(RuleHits(day=SATURDAY, rule="R4", code="off_grid", channel="web", hits=9, last_at=NOON),)))
        await w.quiet()
        assert rows(w.site) == [] and not w.site.stream().unknown_count

    story(script)


def test_what_a_dark_site_counted_is_told_after_the_cut_and_to_an_older_hub_nothing():
    async def script(w: World):
        await w.quiet()
        await w.dark()
        add(w.site)
        assert tell(w.site) == 1, "it waits in the outbox like all else"
        await w.healed()
        assert [row[-1] for row in rows(w.hub)] == [1]
        w.site.write(lambda tx, _: tx.run("UPDATE streams SET peer_schema = 2"))
        add(w.site)
        assert tell(w.site) == 0 and not w.site.read(lambda tx: streams.waiting(tx, SITE))[0]

    story(script)


def test_a_hub_put_back_from_a_backup_is_told_the_last_month_again():
    async def script(w: World):
        await w.quiet()
        kept = w.hub.copy_of_books()
        add(w.site, times=3)
        add(w.site, times=7, at=NOON - 60 * DAY_S)
        tell(w.site)
        await w.quiet()
        assert [row[-1] for row in rows(w.hub)] == [7, 3]
        await w.dark()
        await w.hub.restore(kept)
        w.heal()
        await until(lambda: w.hub.up() and w.site.up() and not w.site.stream().repair and not w.hub.stream().fenced, 60)
        await w.quiet()
        assert tell(w.site) == 1 and tell(w.site) == 0
        await w.quiet()
        assert [row[-1] for row in rows(w.hub)] == [3], "older ones are of no use that would be worth it"

    story(script)


def test_a_customers_counts_are_found_under_every_id_that_was_merged_into_theirs():
    async def script(w: World):
        for one in ("walk-in", "twice", "testa", "other"):
            w.hub.write(lambda tx, _, c=one: records.put_customer(tx, Customer(id=c, name="Testa Birdie")))
            add(w.hub, who=one)
        for old, new in (("walk-in", "twice"), ("twice", "testa")):
            w.hub.write(lambda tx, _, o=old, n=new: tx.run("INSERT INTO aliases (old_id, new_id) VALUES (?, ?)", (o, n)))
        for asked in ("testa", "twice", "walk-in"):
            [found] = w.hub.read(lambda tx, c=asked: rule_hits.by_customer(tx, c, NOON))
            assert (found.code, found.hits) == ("cut_off_passed", 3)
        guests = w.hub.read(lambda tx: rule_hits.guests(tx, SITE, NOON, 30, 20))
        assert [(one.customer_id, one.hits) for one in guests] == [("testa", 3), ("other", 1)]
        assert w.hub.read(lambda tx: rule_hits.by_customer(tx, "nobody", NOON)) == []

    story(script)


def test_only_the_last_days_are_summed_and_after_400_days_a_count_is_forgotten():
    async def script(w: World):
        add(w.hub)
        assert w.hub.read(lambda tx: rule_hits.by_rule(tx, SITE, NOON + 29 * DAY_S, 30)) != []
        assert w.hub.read(lambda tx: rule_hits.by_rule(tx, SITE, NOON + 30 * DAY_S, 30)) == []
        w.forward(rule_hits.KEPT_DAYS * DAY_S)
        assert w.hub.write(old_rows.forget) == 0
        w.forward(DAY_S)
        assert w.hub.write(old_rows.forget) == 1
        assert date.fromisoformat(SATURDAY) + timedelta(rule_hits.KEPT_DAYS) == date(2027, 12, 26)

    story(script)


def test_counting_needs_no_turn_of_the_loop():
    async def script(w: World):
        tally, _ = tally_of(w.site)
        before = w.site.db.commits
        for _ in range(50):
            tally.note(SITE, no(LATE), "guest-1", "kiosk")
        await asyncio.sleep(0)
        assert w.site.db.commits == before

    story(script)
