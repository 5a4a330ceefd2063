"""The staff hear by Slack, once when it begins and once when it ends, of what cannot wait, and every morning of what is open. A scripted channel
stands where Slack would, the tests are the clock."""

import asyncio
import contextlib
import dataclasses
from datetime import UTC, date, datetime
from typing import Any

import msgspec
import pytest

from cloud_hub import app as hub_app
from cloud_hub import telling
from cloud_hub.config import DigestSettings
from cloud_hub.ports import Hooks, Letter
from cloud_hub.services import condition_judges
from cloud_hub.services import conditions as conditions_of
from cloud_hub.services.attempts import Attempts
from cloud_hub.services.condition_judges import without_addresses
from cloud_hub.services.digest import DIGEST_S, EVERY_S, GATHER_S, NOTE_S, Digest, due_of
from cloud_hub.services.staff_notes import LINES_MAX, Notes, length, moment
from cloud_hub.services.work_desk import WorkDesk
from cloud_hub.store import schema
from cloud_hub.store import told_conditions as told
from cloud_hub.vendors.slack import Slack
from cloud_hub.vendors.twilio_hooks import TwilioHooks
from shared.ledger import fencing, records, standing, work
from shared.ledger import schema as ledger_schema
from shared.ledger.work import Work
from shared.ledger.worker import LaneState
from shared.model import Attendance
from shared.outcomes import Later, Misconfigured, Never, Outcome, Taken, Unknown
from shared.runtime import postgres as pg
from tests.cloud_hub.hub_world import NOON, SITE, opened
from tests.cloud_hub.test_notifying import PUBLIC, SMS, TOKEN, Scripted, called_as_twilio
from tests.cloud_hub.visitor import Visitor
from tests.deploy.message_world import running

WANTED = DigestSettings(zone="America/Halifax")
URL = "https://hub.example.test"
#: 14:00 in Halifax, two hours after NOON
NEAR = 8
H, DAY = 3600, 86_400
#: 08:00 in Halifax of the day after NOON
MORNING = NOON + 20 * H


class Notepad(Scripted):
    """Slack: it gives no receipts, and cannot be asked."""

    finds = False

    async def send(self, letter: Letter) -> Outcome:
        outcome = await super().send(letter)
        return Taken(final=True) if isinstance(outcome, Taken) else outcome


class Staffed:
    """The hub, and what its staff were sent."""

    def __init__(self, w, slack: Notepad) -> None:
        self.w, self.slack, self.wanted = w, slack, WANTED
        self.digest, self.worker, self.conditions = w.hub.digest, w.hub.worker, w.hub.conditions
        self.dark = False

    # ---- what is done
    async def look(self) -> None:
        await self.digest.look()
        await self.done()

    async def done(self) -> None:
        """Whatever is due has been done."""
        self.worker.tick()
        await asyncio.sleep(0)
        await self.w.until(lambda: not self._under_way())

    def _under_way(self) -> bool:
        lanes = {one.lane: one for one in self.worker.states()}
        due = "SELECT 1 FROM work WHERE state IN ('waiting', 'unknown') AND next_at <= ? LIMIT 1"
        idle = lanes["slack"].open_until or self.w.hub.desk.clock_doubt()
        return any(one.doing for one in lanes.values()) or (
            not idle and self.w.db.read(lambda tx: tx.one(due, (int(self.w.clock.now()),))) is not None
        )

    async def go(self, seconds: float, step: float = 15) -> None:
        """Time passes, with a look every `step` seconds; the link is as it was."""
        while seconds > 0:
            self.w.clock.forward(min(step, seconds))
            seconds -= step
            if not self.dark:
                await self.w.greeting_until(lambda: self.w.hub.links.up(SITE))
            await self.look()

    async def told(self) -> None:
        """What is news has had its turn."""
        await self.look()
        await self.go(EVERY_S + GATHER_S, 31)

    def cut(self) -> None:
        self.dark = True
        self.w.cut()

    async def heal(self) -> None:
        await self.w.heal()
        self.dark = False

    async def restart(self, url: str = "", wanted: DigestSettings = WANTED) -> None:
        """Another process on the same books."""
        await self.worker.stop()
        self.begin(url, wanted)

    def begin(self, url: str = "", wanted: DigestSettings = WANTED) -> None:
        hub, db, self.wanted = self.w.hub, self.w.db, wanted
        attempts = Attempts(hub.desk.now)
        notes = Notes(hub.desk, wanted, url, {SITE: "Bedford (enrolled)"}, attempts, self.slack)
        _, self.worker = telling.telling(
            self.w.config, db, hub.desk, self.w.clock, hub.houses, hub.links, hub.customer_links, lambda: 0.5, {"slack": self.slack}, notes
        )
        desk = WorkDesk(db, hub.desk, self.worker.states)
        self.conditions = dataclasses.replace(hub.conditions, work=desk, attempts=attempts, began_at=hub.desk.now())
        self.digest = Digest(db, hub.desk, self.conditions, notes, wanted, "slack")
        self.worker.start()

    async def displaced(self, n: int = 1, start: int = NEAR, **more: Any) -> None:
        """A guest has lost their bay."""
        if (await self.w.get(f"/bookings/booking-{n:04d}")).status_code == 404:
            made = await self.w.post("/bookings", self.w.wish(n, start, booking_id=f"booking-{n:04d}"))
            assert made.status_code == 201, made.text
            await self.w.quiet()

        def lose(tx) -> None:
            b = records.booking(tx, f"booking-{n:04d}")
            records.put_booking(tx, msgspec.structs.replace(b, displaced=True, **more))
            records.put_conflict(tx, SITE, b.id, "", "slots", int(self.w.clock.now()))

        await self.w.db.write(lose)

    async def change(self, n: int = 1, **what: Any) -> None:
        def run(tx) -> None:
            b = records.booking(tx, f"booking-{n:04d}")
            records.put_booking(tx, msgspec.structs.replace(b, **what))
            records.end_conflicts(tx, b.id)

        await self.w.db.write(run)

    def stuck(self, lane: str = "twilio", name: str = "s-1", reason: str = "The number is not in service.") -> None:
        row = Work(id=name, kind="message", lane=lane, created_at=int(self.w.clock.now()))
        self.w.db.write_now(lambda tx: (work.put(tx, row), work.end(tx, work.one(tx, name), row.created_at, "stuck", "21211", reason)))

    def unstick(self, name: str = "s-1") -> None:
        self.w.db.write_now(lambda tx: tx.run("DELETE FROM work WHERE id = ?", (name,)))

    # ---- what is seen
    @property
    def texts(self) -> list[str]:
        """What each note said, with its title."""
        return [f"{letter.subject}\n{letter.text}" for letter in self.slack.letters]

    def rows(self, event: str = "") -> list[Work]:
        found = self.w.db.read(lambda tx: work.found(tx, limit=1000)).rows
        return [row for row in found if row.kind == "staff" and f"|{event}" in row.id]


@contextlib.asynccontextmanager
async def staffed(folder, monkeypatch, hooks: dict[str, Hooks] | None = None, **more):
    slack = Notepad("slack", "slack")
    monkeypatch.setattr(hub_app, "opened", lambda config, now: ({"slack": slack}, hooks or {}))
    async with opened(folder, **{"digest": WANTED, **more}) as w:
        w.app.ticker.stop()  # the tests are the clock
        t = Staffed(w, slack)
        await t.look()  # digests are due from now on
        try:
            yield t
        finally:
            await t.worker.stop()


@pytest.fixture
async def t(tmp_path, monkeypatch):
    async with staffed(tmp_path, monkeypatch) as there:
        yield there


# ---- a site that is not heard
async def test_a_cut_of_three_minutes_is_one_note_and_its_end_another(t):
    t.cut()
    await t.go(110)
    assert t.texts == [], "a link that breaks for less than two minutes is nobody's news"
    await t.go(70)
    assert len(t.texts) == 1 and "Bedford has not been heard since 12:00." in t.texts[0] and "1 thing to see to" in t.texts[0]
    await t.heal()
    await t.go(EVERY_S)
    assert len(t.texts) == 2 and "Bedford is heard again after 3 min." in t.texts[1] and "1 thing over" in t.texts[1]
    await t.go(2 * EVERY_S)
    assert len(t.texts) == 2 and t.w.db.read(told.rows) == []


async def test_a_note_goes_to_the_hook_of_the_settings_and_leads_to_where_it_is_mended(t):
    await t.restart(URL, DigestSettings(zone="America/Halifax", hook="night"))
    t.stuck()
    await t.told()
    (letter,) = t.slack.letters
    assert letter.to == "night" and letter.expires_at == t.rows("news")[0].until_at and t.rows("news")[0].state == "done"
    said = f"1 thing for Twilio is stuck since 12:00. The number is not in service. {URL}/manage/work?state=stuck"
    assert said in letter.text


async def test_two_things_at_once_are_one_note_and_what_needs_somebody_stands_before_what_is_over(t):
    t.stuck()
    await t.told()
    t.cut()
    await t.go(120)
    t.unstick()
    await t.told()
    first, second = t.texts
    assert "Twilio is stuck" in first and "1 thing to see to, 1 thing over" in second
    assert second.index("Bedford has not been heard") < second.index("Nothing for Twilio is stuck any more, after 7 min.")


async def test_what_begins_within_seconds_is_told_together(t):
    t.stuck()
    await t.look()
    t.stuck("smtp", "s-2")
    await t.go(GATHER_S, 5)
    assert len(t.texts) == 1 and "Twilio" in t.texts[0] and "the mail server" in t.texts[0]


async def test_no_two_notes_are_less_than_five_minutes_apart(t):
    t.stuck()
    await t.look()
    await t.go(GATHER_S, 5)
    t.stuck("smtp", "s-2")
    await t.go(EVERY_S - 10, 10)
    assert len(t.texts) == 1
    await t.go(10, 5)
    assert len(t.texts) == 2 and "the mail server" in t.texts[1] and "Twilio" not in t.texts[1]


async def test_a_restart_repeats_nothing_and_takes_no_silence_for_an_end(t):
    t.cut()
    await t.go(180)
    await t.restart()
    await t.go(60)
    await t.go(EVERY_S)
    assert len(t.texts) == 1
    await t.heal()
    await t.go(EVERY_S)
    assert len(t.texts) == 2 and "Bedford is heard again after 9 min." in t.texts[1]


async def test_a_hub_that_was_off_for_long_does_not_think_that_its_sites_are_dark(t):
    t.cut()
    t.w.clock.forward(2 * H)
    await t.restart()
    await t.look()
    await t.heal()
    await t.go(2 * EVERY_S)
    assert t.texts == []


async def test_two_replicas_on_one_database_tell_once(t):
    other = Staffed(t.w, t.slack)
    other.begin()
    try:
        t.stuck()
        for _ in range(4):
            await asyncio.gather(t.digest.look(), other.digest.look())
            await t.go(EVERY_S / 2)
            await other.look()
    finally:
        await other.worker.stop()
    assert len(t.texts) == 1 and len(t.rows("news")) == 1


async def test_a_site_that_is_enrolled_no_more_is_not_told_as_heard_again(t):
    t.cut()
    await t.go(180)
    t.w.hub.links._transports.clear(), t.w.hub.links._pumps.clear()
    await t.go(EVERY_S)
    assert len(t.texts) == 1 and t.w.db.read(told.rows) == []


async def test_a_link_that_comes_and_goes_is_told_as_one_outage(t):
    t.cut()
    await t.go(180)
    for _ in range(3):
        await t.heal()
        await t.look()
        t.cut()
        await t.go(150)
    assert len(t.texts) == 1, "what comes back so soon has not ended"
    await t.heal()
    await t.go(EVERY_S)
    assert len(t.texts) == 2 and "heard again" in t.texts[1]


async def test_an_end_is_not_told_while_the_link_is_broken_again(t):
    t.cut()
    await t.go(180)
    await t.heal()
    await t.go(15)
    await t.go(EVERY_S - 90)
    t.cut()
    await t.go(100)
    assert len(t.texts) == 1, "just when the end was to be told, it was not so any more"
    await t.heal()
    await t.go(60)
    assert len(t.texts) == 2 and "heard again" in t.texts[1]


# ---- the vendor
async def test_while_slack_is_away_the_note_waits_and_is_judged_when_it_is_its_turn(t):
    t.slack.answers.extend([Later("Slack cannot be reached.", 60)] * 3)
    t.cut()
    await t.go(180)
    await t.heal()
    await t.look()
    assert t.rows("news")[0].state == "waiting"
    t.slack.letters.clear()
    await t.go(3 * EVERY_S, 60)
    assert "Bedford was not heard for 3 min." in t.texts[-1] and "has not been heard" not in t.texts[-1]
    assert "news" in t.rows("news")[0].id and len(t.rows("news")) == 1, "the same row was tried until it was taken"


async def test_an_alarm_is_not_sent_hours_later_but_what_still_stands_is(t):
    t.slack.answers.append(Misconfigured("The hook is refused."))
    t.stuck()
    await t.go(GATHER_S)
    t.slack.answers.extend([Misconfigured("The hook is refused.")] * 30)
    await t.go(NOTE_S + 600, 60)
    old = [row for row in t.rows("news") if row.state == "dropped"]
    assert [row.code for row in old] == ["too_late"]
    t.slack.answers.clear(), t.slack.letters.clear()
    await t.go(600, 60)
    assert len(t.texts) == 1 and "1 thing for Twilio is stuck" in t.texts[0]


async def test_what_was_over_half_a_day_ago_is_nobodys_news(t):
    t.slack.answers.extend([Later("Slack cannot be reached.", 3600)] * 20)
    t.stuck()
    await t.go(GATHER_S)
    t.unstick()
    await t.go(13 * H, 1800)
    t.slack.answers.clear(), t.slack.letters.clear()
    await t.go(2 * H, 600)
    assert [text for text in t.texts if "Twilio" in text] == []


async def test_a_note_whose_answer_was_lost_is_not_sent_again_but_what_stands_is_in_the_next(t):
    t.slack.answers.append(Unknown("Slack's answer was lost."))
    t.stuck()
    await t.look()
    await t.go(GATHER_S, 5)
    assert len(t.texts) == 1
    await t.go(EVERY_S, 10)
    assert [row.state for row in sorted(t.rows("news"), key=lambda row: row.created_at)] == ["dropped", "done"]
    assert len(t.texts) == 2 and "Twilio is stuck" in t.texts[1] and t.slack.looked == 0
    await t.go(2 * EVERY_S, 30)
    assert len(t.texts) == 2


async def test_a_note_that_slack_will_never_take_is_for_a_person_and_is_not_asked_for_again_and_again(t):
    t.slack.answers.append(Never("invalid_payload", "Slack said 'invalid_payload' (400)."))
    t.stuck()
    await t.go(3 * EVERY_S)
    assert [(row.state, row.code) for row in t.rows("news")][-1] == ("stuck", "invalid_payload")
    assert len(t.texts) == 2 and "Slack is stuck" in t.texts[1] and "Twilio" not in t.texts[1]


async def test_a_process_that_dies_while_it_sends_loses_no_alarm(t):
    t.stuck()
    await t.digest.look()
    t.w.clock.forward(GATHER_S)
    (claimed,) = t.w.db.write_now(lambda tx: work.claim(tx, "slack", int(t.w.clock.now()), 10, 120))
    assert claimed.kind == "staff"
    await t.restart()
    await t.go(2 * EVERY_S, 30)
    assert len(t.texts) == 1 and "Twilio is stuck" in t.texts[0]


async def test_a_note_without_a_fresh_look_waits_for_one(t):
    t.stuck()
    await t.digest.look()
    t.w.clock.forward(EVERY_S)
    await t.done()
    assert t.texts == [] and t.rows("news")[0].reason == "What stands is being looked at."
    await t.go(15)
    assert len(t.texts) == 1


# ---- guests without a place
async def test_a_guest_without_a_bay_shortly_before_the_start_is_told_by_name_and_order_and_by_nothing_else(t):
    await t.restart(URL)
    await t.displaced()
    await t.look()
    await t.told()
    (text,) = t.texts
    reference = records.reference_of(t.w.hub.board.booking("booking-0001").order_id)
    said = (
        f"Testa Birdie 1 (order {reference}) has no bay at Bedford for Sat 21 Nov 2026, 14:00 to 15:00 since 12:00. Box 1 was booked there."
    )
    assert f"{said} {URL}/manage/displaced" in text
    assert "902" not in text and "@" not in text


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ({"displaced": False}, "has a bay after"),
        ({"displaced": False, "status": "cancelled", "replaced_by": "booking-0009"}, "has another place after"),
        ({"displaced": False, "status": "cancelled"}, "needs no bay any more, since the booking is cancelled, after"),
    ],
)
async def test_how_it_ended_for_the_guest_is_told(t, what, said):
    await t.displaced()
    await t.told()
    await t.change(**what)
    await t.told()
    assert len(t.texts) == 2 and said in t.texts[1]


async def test_a_guest_who_was_never_given_a_place_is_told_as_such(t):
    await t.displaced()
    await t.told()
    await t.go(4 * H, 600)
    assert "had no bay to the end of the booking after" in t.texts[1]


async def test_what_the_rule_settles_within_a_minute_is_nobodys_news(t):
    await t.displaced()
    await t.go(45, 5)
    await t.change(displaced=False)
    await t.told()
    assert t.texts == [] and t.w.db.read(told.rows) == []


async def test_a_guest_who_sits_elsewhere_has_a_place(t):
    await t.displaced()
    await t.w.db.write(lambda tx: records.put_attendance(tx, Attendance(booking_id="booking-0001", site_id=SITE, seat=f"{SITE}.box-3")))
    await t.told()
    assert t.texts == []


async def test_what_begins_far_ahead_waits_for_the_morning_and_is_urgent_two_hours_before(t):
    await t.displaced(1, NEAR + 4)
    await t.go(45 * 60, 60)
    assert t.texts == []
    await t.go(30 * 60, 60)
    assert len(t.texts) == 1 and "15:00 to 16:00" in t.texts[0]


async def test_what_guests_typed_calls_nobody_and_poses_as_no_line_of_ours(t):
    await t.displaced(shown_name="<!channel> <https://bad.example.test|ok>\n• Bedford is closed & on fire")
    await t.told()
    (letter,) = t.slack.letters
    assert letter.text.count("\n") == 0
    async with running() as vendors:
        channel = Slack({"staff": vendors.hook_url("staff")}, now=lambda: float(NOON))
        assert isinstance(await channel.send(msgspec.structs.replace(letter, expires_at=0)), Taken)
        await channel.close()
        (post,) = vendors.slack
    assert post.pings == () and "&lt;!channel&gt;" in post.text and "<http" not in post.text


async def test_a_flood_is_cut_with_a_count(t):
    await t.restart(URL)
    for n in range(LINES_MAX + 12):
        t.stuck(f"vendor-{n}", f"s-{n}")
    await t.told()
    (text,) = t.texts
    assert text.count("•") == LINES_MAX and f"… and 12 more. {URL}/health/ready" in text and f"{LINES_MAX + 12} things to see to" in text
    await t.go(2 * EVERY_S)
    assert len(t.texts) == 1, "what was counted was told"


# ---- what else is amiss
async def test_a_fence_is_told_at_once_and_its_end(t):
    t.w.db.write_now(lambda tx: fencing.fence(tx, t.w.hub.desk, SITE, "These books were put back from a backup."))
    await t.told()
    assert "The hub sells nothing for Bedford, because its books here may lack sales, since 12:00." in t.texts[0]
    assert "put back from a backup" in t.texts[0]


async def test_a_bay_whose_sales_are_stopped_is_told_as_its_facility_calls_it(t):
    t.w.db.write_now(lambda tx: standing.halt(tx, t.w.hub.desk, SITE, f"{SITE}.box-3", "Two bookings have one slot."))
    await t.told()
    t.w.db.write_now(lambda tx: standing.lift(tx, t.w.hub.desk, SITE, f"{SITE}.box-3", "Testa Birdie", "looked at it"))
    await t.told()
    assert "Sales of Box 3 at Bedford are stopped since 12:00. Two bookings have one slot." in t.texts[0]
    assert "Sales of Box 3 at Bedford go on after 5 min." in t.texts[1]


async def test_forged_calls_are_told_from_the_fifth_in_ten_minutes(t):
    for _ in range(4):
        t.conditions.attempts.refused_call()
    await t.told()
    assert t.texts == []
    for _ in range(5):
        t.conditions.attempts.refused_call()
    await t.told()
    await t.go(900)
    assert "Calls that pose as a vendor's are being refused since 12:05. 9 within 10 minutes." in t.texts[0]
    assert "Calls that pose as a vendor's have ceased after" in t.texts[1] and len(t.texts) == 2


async def test_a_call_that_poses_as_a_vendors_is_counted_and_a_stale_one_is_not(tmp_path, monkeypatch):
    async with staffed(tmp_path, monkeypatch, hooks={"twilio": TwilioHooks(TOKEN, PUBLIC, now=lambda: NOON)}) as t:
        counted = lambda: t.conditions.attempts.counted("forged_call", NOON, NOON + 1)  # noqa: E731
        assert (await t.w.client.post("/hooks/twilio", **called_as_twilio(SMS, "STOP", token="f" * 32))).status_code == 403
        assert counted() == 1
        assert (await t.w.client.post("/hooks/twilio", **called_as_twilio(SMS, "STOP"))).status_code == 200
        assert (await t.w.client.post("/hooks/nobody")).status_code == 404
        assert counted() == 1


async def test_wrong_keys_are_counted_at_both_doors(t):
    for n in range(6):
        await t.w.get("/sites", key=f"chk_wrong-{n}")
    await t.w.get("/sites", key="")
    assert t.conditions.attempts.counted("sign_in", NOON, NOON + 1) == 6, "whoever gives no key tries none"
    visitor = Visitor(t.w)
    for n in range(6):
        await visitor.send((await visitor.get("/manage/sign-in")).form("/manage/sign-in"), key=f"chk_wrong-{n}")
    (one,) = t.conditions.judged().open.values()
    assert one.text == "Sign-ins and calls with wrong keys are being refused" and one.why == "12 within 10 minutes." and not one.urgent


async def test_a_vendors_reason_is_told_without_the_customers_address(t):
    t.stuck(reason="The number +1 902-555-0101 and testa@example.test cannot be reached (21211).")
    await t.told()
    assert "The number … and … cannot be reached (21211)." in t.texts[0]


def test_only_what_may_be_an_address_is_taken_out():
    for kept in ("Slack answered 500.", "21211", "2 of 14 tries, 3 min"):
        assert without_addresses(kept) == kept
    for gone in ("9025550101", "+1 (902) 555-0101", "902.555.0101", "testa+x@mail.example.test"):
        assert without_addresses(f"to {gone} no") == "to … no"


async def test_a_vendor_that_is_away_waits_for_the_morning(t):
    t.conditions.work._states = lambda: [LaneState("twilio", 0, NOON + 60.0, "The key is refused.", float(NOON))]
    await t.go(1200, 60)
    assert t.texts == []
    (one,) = t.conditions.judged().open.values()
    assert (one.text, one.why) == ("Twilio has done nothing that it was asked", "What it should do waits. The key is refused.")


async def test_a_fault_in_one_judgement_hides_no_other_and_ends_nothing(t, monkeypatch):
    t.cut()
    await t.go(180)

    def broken(look):
        raise KeyError("what a judge did not think of")
        yield

    monkeypatch.setattr(conditions_of, "ALL", {**conditions_of.ALL, "dark": broken})
    monkeypatch.setattr("cloud_hub.services.digest.ALL", conditions_of.ALL)
    t.stuck()
    await t.told()
    assert len(t.texts) == 2 and "Twilio is stuck" in t.texts[1] and "heard again" not in t.texts[1]
    judged = t.conditions.judged(conditions_of.ALL)
    assert judged.open["fault|dark"].text == "What the hub should tell of 'dark' cannot be judged" and judged.is_undecided(f"dark|{SITE}")


async def test_a_clock_in_doubt_ends_nothing_and_is_told_once_it_is_trusted_again(t):
    t.cut()
    await t.go(180)
    t.conditions.trust.doubt, t.w.hub.desk.clock_doubt = (lambda: "Nothing has confirmed it."), (lambda: "Nothing has confirmed it.")
    await t.look()
    await t.go(600, 60)
    assert len(t.texts) == 1
    del t.conditions.trust.doubt
    t.w.hub.desk.clock_doubt = lambda: ""
    await t.go(EVERY_S)
    assert len(t.texts) == 2 and "The hub's clock was in doubt, and nothing could be sold for 10 min." in t.texts[1]
    assert "heard again" not in t.texts[1]


async def test_health_and_digest_are_told_from_one_list(t):
    t.stuck()
    assert (await t.w.client.get("/health/ready")).json()["status"] == "degraded"
    assert list(t.conditions.judged(conditions_of.OF_HEALTH).open) == ["stuck|twilio"]
    t.unstick()
    assert (await t.w.client.get("/health/ready")).json()["status"] == "ready"
    assert not t.conditions.judged(conditions_of.OF_HEALTH).open


# ---- the digest of the day
async def test_every_morning_one_digest_says_what_is_open_and_how_yesterday_was(t):
    await t.restart(URL)
    await t.displaced(1, 120)
    await t.w.post("/bookings", t.w.wish(2, NEAR, booking_id="booking-0002"))
    await t.w.quiet()
    sent = Work(id="m-1", kind="message", lane="twilio", created_at=NOON, state="done", since_at=NOON)
    t.w.db.write_now(
        lambda tx: [work.put(tx, msgspec.structs.replace(sent, id=f"m-{n}", state=s)) for n, s in enumerate(("done", "sent", "stuck"))]
    )
    t.w.db.write_now(lambda tx: tx.run("UPDATE work SET since_at = :n, changed_at = :n WHERE kind = 'message'", {"n": NOON}))
    t.unstick("m-2")
    await t.go(MORNING - NOON - 60, 1800)
    assert t.rows("digest") == []
    await t.go(60)
    (row,) = t.rows("digest")
    (text,) = [one for one in t.texts if "Sunday" in one]
    assert (row.id, row.due_at, row.until_at) == ("staff|digest|2026-11-22", MORNING, MORNING + DIGEST_S)
    assert text.startswith("ClubOS Booking, Sunday 22 November: 1 thing is open\n• Testa Birdie 1 (order")
    assert "Saturday 21 November:\n• Bedford: 1 booking.\n• Messages to customers: 2 sent, 0 failed.\n" in text
    assert "Refused sign-ins: 0, forged calls: 0 (known since 12:00, when the hub was started)." in text
    await t.restart()
    await t.go(H, 300)
    assert len(t.rows("digest")) == 1, "a restart repeats nothing"


async def test_a_morning_on_which_nothing_is_open_says_that_all_is_well(t):
    await t.go(MORNING - NOON, 1800)
    (text,) = t.texts
    assert text.startswith("ClubOS Booking, Sunday 22 November: all is well\nSaturday 21 November:\n• Bedford: 0 bookings.\n")


async def test_what_was_over_by_itself_is_told_in_the_morning_and_then_forgotten(t):
    for _ in range(12):
        t.conditions.attempts.refused_sign_in()
    await t.go(1200, 60)
    await t.go(MORNING - NOON - 1200, 1800)
    (text,) = t.texts
    assert "all is well\nOver since the last digest:\n• Sign-ins and calls with wrong keys were refused for 10 min.\n" in text
    assert "Refused sign-ins: 12" in text and t.w.db.read(told.rows) == []


async def test_what_is_not_known_is_said_as_not_known(t):
    t.w.db.write_now(lambda tx: tx.run("DELETE FROM documents WHERE kind = 'facility'"))
    t.w.clock.forward(MORNING - NOON)
    await t.restart()
    await t.look()
    (text,) = t.texts
    assert "• Bedford (enrolled): not known, since it has never been heard." in text
    assert "Refused sign-ins and forged calls: not known, since the hub was started later." in text


async def test_a_digest_missed_by_hours_is_not_sent_any_more(t):
    t.w.clock.forward(MORNING - NOON + DIGEST_S)
    await t.look()
    assert t.rows("digest") == []


async def test_without_urgent_everything_waits_for_the_morning(t):
    await t.restart(wanted=DigestSettings(zone="America/Halifax", urgent=False))
    t.stuck()
    await t.go(4 * EVERY_S, 60)
    assert t.texts == []
    await t.go(MORNING - NOON - 4 * EVERY_S, 1800)
    (text,) = t.texts
    assert "1 thing is open\n• 1 thing for Twilio is stuck since Sat 21 Nov, 12:00." in text


async def test_what_was_in_a_digest_is_still_told_at_once_when_it_becomes_urgent(t):
    await t.displaced(1, 96)  # 12:00 the next day
    await t.go(MORNING - NOON, 1800)
    assert len(t.texts) == 1 and "1 thing is open" in t.texts[0]
    await t.go(2 * H + 600, 300)
    assert len(t.texts) == 2 and "has no bay at Bedford" in t.texts[1]


async def test_a_hub_without_slack_does_nothing(tmp_path):
    async with opened(tmp_path, link=False) as w:
        assert await w.hub.digest.look() == 0
        assert w.db.read(told.rows) == [] and w.db.read(lambda tx: work.found(tx)).rows == []


# ---- clocks
@pytest.mark.parametrize(
    ("day", "at", "utc"),
    [
        (date(2026, 3, 7), "08:00", "2026-03-07T12:00"),
        (date(2026, 3, 8), "08:00", "2026-03-08T11:00"),  # the night has lost an hour
        (date(2026, 11, 1), "08:00", "2026-11-01T12:00"),  # and has got it back
        (date(2026, 3, 8), "02:30", "2026-03-08T06:30"),  # the clocks never show it: 03:30
        (date(2026, 11, 1), "01:30", "2026-11-01T04:30"),  # they show it twice: the first
    ],
)
def test_the_digest_is_due_by_the_local_clock_also_when_the_clocks_change(day, at, utc):
    wanted = DigestSettings(zone="America/Halifax", at=at)
    assert datetime.fromtimestamp(due_of(wanted, day), UTC).isoformat()[:16] == utc


async def test_on_the_day_on_which_the_clocks_change_there_is_one_digest_at_its_hour(t):
    spring = int(datetime(2027, 3, 13, 13, 0, tzinfo=UTC).timestamp())  # the day before, after its digest
    t.w.clock.forward(spring - NOON)
    await t.restart()
    await t.w.db.write(lambda tx: tx.run("UPDATE settings SET value = :v WHERE name = 'staff_digests_since'", {"v": str(spring)}))
    await t.go(DAY, 1200)
    (row,) = t.rows("digest")
    assert row.id == "staff|digest|2027-03-14" and datetime.fromtimestamp(row.due_at, UTC).hour == 11


def test_a_moment_is_said_by_the_local_clock_with_its_day_where_that_is_another():
    zone, fold = "America/Halifax", int(datetime(2026, 11, 1, 5, 30, tzinfo=UTC).timestamp())
    assert moment(zone, NOON, NOON + H) == "12:00" and moment(zone, NOON, NOON + DAY) == "Sat 21 Nov, 12:00"
    assert [moment(zone, fold + s, fold) for s in (-H, 0)] == ["01:30 ADT", "01:30 AST"]


def test_a_length_is_said_in_the_units_that_people_use():
    told_ = [length(s) for s in (0, 59, 60, 14 * 60 + 59, H, 2 * H + 300, 47 * H, 3 * DAY + 5)]
    assert told_ == ["0 s", "59 s", "1 min", "14 min", "1 h", "2 h 5 min", "47 h", "3 days"]


# ---- what is kept
@pytest.mark.needs_postgres
def test_what_was_told_is_kept_alike_on_postgres(postgres):
    url = postgres.books()
    pg.migrate(url, "ledger", ledger_schema.STEPS)
    pg.migrate(url, "hub", schema.STEPS)
    db = pg.InlinePostgres(url)
    row = told.Row("dark|bedford", NOON, 0, True, 0, "{}")
    db.write_now(lambda tx: (told.put(tx, row), told.mark(tx, row.key, 2), told.mark(tx, row.key, 1)))
    db.write_now(lambda tx: told.put(tx, msgspec.structs.replace(row, ended_at=NOON + 60)))
    assert db.read(told.rows) == [msgspec.structs.replace(row, ended_at=NOON + 60, told=2)], "never told less than before"
    assert db.read(lambda tx: (told.visits(tx, SITE, 0, 10), told.messages(tx, 0, NOON))) == (0, told.Sent())
    assert db.write_now(lambda tx: told.forget(tx, NOON + told.KEPT_S)) == 0
    assert db.write_now(lambda tx: told.forget(tx, NOON + told.KEPT_S + 61)) == 1
    db.session.close()


async def test_every_page_that_a_note_leads_to_is_there(t):
    visitor = Visitor(t.w)
    await visitor.send((await visitor.get("/manage/sign-in")).form("/manage/sign-in"), key=await t.w.new_key("admin"))
    for page in (condition_judges.STUCK_PAGE, condition_judges.WORK_PAGE, condition_judges.CONFLICTS_PAGE):
        assert (await visitor.get(page)).status == 200, page
    assert (await t.w.client.get(condition_judges.STATE_PAGE)).status_code == 200
