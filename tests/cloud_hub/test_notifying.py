"""Customers hear once, by the channels they can be reached by, of what happened to their bookings and of what the clock brings; scripted
channels stand where vendors would. What each channel does is in `test_channels`, the words in `test_wording`."""

import asyncio
import base64
import contextlib
from collections import deque
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cloud_hub import app as hub_app
from cloud_hub import telling
from cloud_hub.ports import Hooks, Inbound, Letter, Receipt
from cloud_hub.services.outgoing import RULE_S
from cloud_hub.store import notifications as kept
from cloud_hub.store import texts
from cloud_hub.vendors.sendgrid_hooks import SIGNATURE, TIMESTAMP, SendGridHooks
from cloud_hub.vendors.twilio_hooks import TwilioHooks
from deploy.emulators.messages.twilio_words import signature
from shared import notifications, slots
from shared.ledger import fencing, notices, records, repair, streams, work
from shared.model import Attendance, Notice
from shared.notifications import Preferences
from shared.outcomes import Later, Never, Outcome, Taken, Unknown
from shared.policy import Overtime
from shared.runtime.web import LARGE_MAX
from tests.cloud_hub.hub_world import LINE_AFTER, NOON, SITE, HubWorld, opened
from tests.cloud_hub.lost_world import states

#: 22:00 in Halifax, ten hours after NOON: the hub sells it itself
FAR = LINE_AFTER + 8
NEAR = 8
H = 3600
SMS, MAIL = "+19025550101", "testa1@example.test"
TOKEN, PUBLIC = "0123456789abcdef0123456789abcdef", "http://hub.test"


class Scripted:
    """A channel that keeps what it is given. `answers` are the next outcomes, `fates` what a look finds; after them everything is taken."""

    finds = True

    def __init__(self, name: str, vendor: str) -> None:
        self.name, self.vendor = name, vendor
        self.letters: list[Letter] = []
        self.answers: deque[Outcome] = deque()
        self.fates: deque[Taken | None | Unknown] = deque()
        self.looked = 0

    async def send(self, letter: Letter) -> Outcome:
        self.letters.append(letter)
        return self.answers.popleft() if self.answers else Taken(f"{self.vendor}-{len(self.letters)}")

    async def find(self, letter: Letter, since_at: int) -> Taken | None | Unknown:
        self.looked += 1
        return self.fates.popleft() if self.fates else Unknown("Nobody knows yet.")

    async def close(self) -> None:
        return None


class Told:
    """The hub, and what its customers were sent."""

    def __init__(self, w: HubWorld, sms: Scripted, mail: Scripted) -> None:
        self.w, self.sms, self.mail = w, sms, mail
        self.notifying, self.worker = w.hub.notifying, w.hub.worker

    # ---- what is done
    async def book(self, bay: int = 1, start: int = FAR, **more: Any) -> None:
        made = await self.w.post("/bookings", self.w.wish(bay, start, **more))
        assert made.status_code == 201, made.text
        await self.w.quiet()

    async def cancel(self, booking_id: str = "booking-0001") -> None:
        gone = await self.w.post(f"/bookings/{booking_id}/cancel", {})
        assert gone.status_code in (200, 202), gone.text
        await self.w.until(lambda: self.booking(booking_id).status == "cancelled")

    async def until_at(self, at: int) -> None:
        """The clock stands at `at`, and has caused what it causes."""
        self.w.clock.forward(at - self.w.clock.now())
        await self.notifying.sweep()
        await self.done()

    async def wait(self, seconds: float) -> None:
        self.w.clock.forward(seconds)
        await self.done()

    async def done(self) -> None:
        """Whatever is due has been done."""
        self.worker.tick()
        await asyncio.sleep(0)
        await self.w.until(lambda: not self._under_way())

    def _under_way(self) -> bool:
        due = "SELECT 1 FROM work WHERE state = 'taken' OR (state = 'waiting' AND next_at <= ?) LIMIT 1"
        return self.w.db.read(lambda tx: tx.one(due, (int(self.w.clock.now()),))) is not None

    async def change(self, booking_id: str, **what: Any) -> None:
        await self.w.db.write(lambda tx: records.put_booking(tx, msgspec.structs.replace(records.booking(tx, booking_id), **what)))

    async def prefer(self, **what: Any) -> None:
        customer = self.booking().customer_id
        await self.w.db.write(lambda tx: kept.put_preferences(tx, customer, Preferences(**what), NOON))

    async def heard(self, *news: Receipt | Inbound) -> None:
        await self.w.hub.reports.heard(list(news))

    async def restart(self) -> None:
        """Another process on the same books."""
        await self.worker.stop()
        hub = self.w.hub
        self.notifying, self.worker = telling.telling(
            self.w.config, self.w.db, hub.desk, self.w.clock, hub.houses, hub.links, hub.customer_links, lambda: 0.5,
            {"sms": self.sms, "mail": self.mail},
        )  # fmt: skip
        self.worker.start()

    # ---- what is seen
    def booking(self, booking_id: str = "booking-0001"):
        return self.w.hub.board.booking(booking_id)

    def rows(self, event: str = "") -> list[work.Work]:
        """Every row, or those of one event."""
        found = self.w.db.read(lambda tx: work.found(tx, limit=1000)).rows
        return [row for row in found if row.id.startswith(f"{event}|") or not event]

    def row(self, channel: str, event: str = "confirmed") -> work.Work:
        (found,) = [row for row in self.rows(event) if row.id.endswith(f"|{channel}")]
        return found

    def sent(self) -> tuple[int, int]:
        """How many SMS and how many mails."""
        return len(self.sms.letters), len(self.mail.letters)

    def events(self, channel: Scripted) -> list[str]:
        """Of what the channel was told, in order."""
        by_mark = {row.mark: row.id.partition("|")[0] for row in self.rows()}
        return [by_mark[letter.key] for letter in channel.letters]

    def mailed(self, event: str) -> list[str]:
        """To whom mails about it went."""
        return [letter.to for letter, of in zip(self.mail.letters, self.events(self.mail), strict=True) if of == event]


@contextlib.asynccontextmanager
async def told_by(folder, monkeypatch, hooks: dict[str, Hooks] | None = None, **more):
    sms, mail = Scripted("sms", "twilio"), Scripted("mail", "sendgrid")
    monkeypatch.setattr(hub_app, "opened", lambda config, now: ({"sms": sms, "mail": mail}, hooks or {}))
    async with opened(folder, **more) as w:
        w.app.ticker.stop()  # the tests are the clock
        told = Told(w, sms, mail)
        await told.notifying.sweep()  # it tells from now on
        try:
            yield told
        finally:
            await told.worker.stop()


@pytest.fixture
async def t(tmp_path, monkeypatch):
    async with told_by(tmp_path, monkeypatch) as told:
        yield told


def elsewhere(tx, booking_id: str) -> None:
    """The house has put it into another bay."""
    old = records.booking(tx, booking_id)
    new = msgspec.structs.replace(
        old, id="booking-0002", resource_id=f"{SITE}.box-2", replaces=old.id, displaced=False, placed=True, created_at=NOON, pin="654321"
    )
    records.add_booking(tx, new)
    records.put_booking(tx, msgspec.structs.replace(old, status="cancelled", reason="moved", replaced_by=new.id, displaced=False))


def put_together(tx, *, whole: bool = True) -> None:
    """This transaction merges a snapshot into books that had forgotten nothing, or something."""
    tx.memo["|restates"] = whole
    assert repair.restates(tx) and repair.merges_into_whole_books(tx) is whole


def at(slot: int) -> int:
    """A slot of the world as a moment."""
    return NOON + slot * 900


# ---- what happened
async def test_a_booking_is_told_at_once_by_sms_and_mail_with_its_pin_and_the_facilitys_clock(t):
    await t.book()
    await t.done()
    assert t.sent() == (1, 1)
    (sms,), (mail,) = t.sms.letters, t.mail.letters
    assert (sms.to, mail.to) == (SMS, MAIL)
    for letter in (sms, mail):
        assert t.booking().pin in letter.text and "22:00 to 23:00" in letter.text and "Box 1" in letter.text
        assert letter.expires_at == at(FAR + 4), "of no use after the visit"
    assert "Bedford" in mail.subject and mail.html
    assert len({sms.key, mail.key, t.row("sms").mark, t.row("mail").mark}) == 2
    (read_here,) = t.w.db.read(lambda tx: kept.app_messages(tx, t.booking().order_id))
    assert t.booking().pin in read_here.text


async def test_what_is_told_again_by_the_books_is_told_to_nobody_twice(t):
    await t.book()
    await t.done()
    await t.change("booking-0001", changes=1)
    await t.change("booking-0001", sale_no=77)
    await t.done()
    assert t.sent() == (1, 1)


async def test_a_near_booking_is_told_once_its_facility_has_taken_it(t):
    await t.book(2, NEAR)
    await t.done()
    assert t.sent() == (1, 1) and "14:00 to 15:00" in t.sms.letters[0].text


async def test_a_group_is_one_message_with_all_its_bays(t):
    wish = t.w.wish(1, FAR)
    parts = [{**t.w.time(bay, start), "booking_id": f"booking-{bay:04d}"} for bay, start in ((1, FAR), (2, FAR), (3, FAR))]
    made = await t.w.post("/bookings", {"parts": parts, "customer": wish["customer"], "guests": 8})
    assert made.status_code == 201, made.text
    await t.done()
    assert t.sent() == (1, 1)
    assert all(bay in t.mail.letters[0].text for bay in ("Box 1", "Box 2", "Box 3"))


async def test_a_group_across_the_line_waits_for_the_facilitys_answer(t):
    parts = [{**t.w.time(1, FAR), "booking_id": "booking-far1"}, {**t.w.time(2, NEAR), "booking_id": "booking-near"}]
    made = await t.w.post("/bookings", {"parts": parts, "customer": t.w.wish(1, FAR)["customer"]})
    assert made.status_code == 201, made.text
    await t.wait(4)
    assert t.sent() == (1, 1)
    assert "14:00" in t.mail.letters[0].text and "22:00" in t.mail.letters[0].text


async def test_a_group_cancelled_in_one_stroke_is_one_message_whatever_is_touched_later(t):
    parts = [{**t.w.time(bay, FAR), "booking_id": f"booking-{bay:04d}"} for bay in (1, 2)]
    assert (await t.w.post("/bookings", {"parts": parts, "customer": t.w.wish(1, FAR)["customer"]})).status_code == 201
    await t.done()

    def gone(tx) -> None:
        for booking_id in ("booking-0001", "booking-0002"):
            records.put_booking(tx, msgspec.structs.replace(records.booking(tx, booking_id), status="cancelled"))

    await t.w.db.write(gone)
    await t.change("booking-0002", changes=1)
    await t.done()
    assert t.events(t.mail) == ["confirmed", "cancelled"] and t.events(t.sms) == ["confirmed", "cancelled"]


async def test_a_moved_booking_is_told_as_moved_and_not_as_cancelled(t):
    await t.book()
    await t.done()
    moved = await t.w.post("/bookings/booking-0001/reschedule", {**t.w.time(2, FAR + 4), "booking_id": "booking-0002"})
    assert moved.status_code == 201, moved.text
    await t.w.until(lambda: t.booking().status == "cancelled")
    await t.done()
    assert t.events(t.sms) == ["confirmed", "moved"] == t.events(t.mail)
    assert "23:00 to 00:00" in t.sms.letters[1].text and t.booking("booking-0002").pin in t.sms.letters[1].text


async def test_a_place_that_the_house_gave_instead_of_one_that_it_could_not_keep_is_told_as_such_and_not_as_a_change(t):
    await t.book()
    await t.done()
    await t.change("booking-0001", displaced=True)
    await t.wait(RULE_S)
    await t.w.db.write(lambda tx: elsewhere(tx, "booking-0001"))
    await t.done()
    assert t.events(t.sms) == ["confirmed", "displaced", "placed"] == t.events(t.mail)
    assert "Box 2" in t.sms.letters[-1].text and "654321" in t.sms.letters[-1].text
    assert "can no longer give you Box 1" in t.mail.letters[-1].text


async def test_who_is_put_elsewhere_at_once_is_told_the_new_place_only(t):
    await t.book()
    await t.done()
    await t.change("booking-0001", displaced=True)
    await t.wait(2)
    await t.w.db.write(lambda tx: elsewhere(tx, "booking-0001"))
    await t.wait(RULE_S)
    assert t.events(t.sms) == ["confirmed", "placed"] == t.events(t.mail)


async def test_who_was_given_another_bay_while_the_facility_was_not_heard_is_told_though_the_loss_was_never_seen(t):
    await t.book()
    await t.done()

    def both_at_once(tx) -> None:
        lost = records.put_booking(tx, msgspec.structs.replace(records.booking(tx, "booking-0001"), displaced=True))
        records.put_attendance(tx, Attendance(booking_id=lost.id, site_id=SITE, seat=f"{SITE}.box-3", version=1))
        records.put_booking(tx, msgspec.structs.replace(lost, displaced=False))

    await t.w.db.write(both_at_once)
    await t.done()
    await t.change("booking-0001", changes=1)
    await t.done()
    assert t.events(t.sms) == ["confirmed", "placed"] and "now Box 3" in t.sms.letters[-1].text


async def test_who_extends_a_place_that_the_house_gave_reads_of_a_change_and_of_no_loss(t):
    await t.book()
    await t.done()
    await t.w.db.write(lambda tx: elsewhere(tx, "booking-0001"))
    await t.done()

    def longer(tx) -> None:
        old = records.booking(tx, "booking-0002")
        records.add_booking(tx, msgspec.structs.replace(old, id="booking-0003", end=old.end + 2, replaces=old.id))
        records.put_booking(tx, msgspec.structs.replace(old, status="cancelled", reason="moved", replaced_by="booking-0003"))

    await t.w.db.write(longer)
    await t.done()
    assert t.events(t.sms) == ["confirmed", "placed", "moved"] and "had to move you" not in t.sms.letters[-1].text


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "Reason: nobody had come, so the rest of the time is on sale again; the price stays."),
        ("fr", "Motif : personne n’était venu, le reste du temps est donc remis en vente; le prix ne change pas."),
    ],
)
async def test_who_did_not_come_is_told_why_the_time_is_shorter(t, language, said):
    await t.book()
    await t.done()

    def shorter(tx) -> None:
        old = records.booking(tx, "booking-0001")
        kept.put_preferences(tx, old.customer_id, Preferences(language=language), NOON)
        records.put_attendance(tx, Attendance(booking_id="booking-0002", site_id=SITE, state="no_show"))
        records.add_booking(tx, msgspec.structs.replace(old, id="booking-0002", end=old.end - 2, replaces=old.id, reason="rest_on_sale"))
        records.put_booking(tx, msgspec.structs.replace(old, status="cancelled", reason="moved", replaced_by="booking-0002"))

    await t.w.db.write(shorter)
    await t.done()
    assert t.events(t.sms) == ["confirmed", "moved"] == t.events(t.mail)
    assert said in t.mail.letters[-1].text.replace(chr(0xA0), " ") and said[8:40].strip() in t.sms.letters[-1].text.replace("'", "’")


async def test_a_place_that_was_given_long_before_it_could_be_heard_of_is_told(t):
    await t.book(1, FAR + 120)
    await t.done()
    t.w.clock.forward(13 * H)
    await t.w.db.write(lambda tx: elsewhere(tx, "booking-0001"))  # made 13 hours ago
    await t.done()
    assert t.events(t.sms) == ["confirmed", "placed"]


async def test_while_another_place_is_being_asked_for_nothing_is_said_and_after_the_time_to_answer_it_is(t):
    await t.book()
    await t.done()

    def asked(tx) -> None:
        lost = records.put_booking(tx, msgspec.structs.replace(records.booking(tx, "booking-0001"), displaced=True))
        wanted = msgspec.structs.replace(
            lost, id="booking-0002", resource_id=f"{SITE}.box-2", status="requested", replaces=lost.id, displaced=False, answer_by=NOON + 60
        )
        records.add_booking(tx, wanted)
        records.put_ask(tx, "move", SITE, wanted.id, lost.id, NOON)

    await t.w.db.write(asked)
    await t.wait(50)
    assert t.events(t.sms) == ["confirmed"]
    await t.wait(20)
    assert t.events(t.sms) == ["confirmed", "displaced"]


async def test_who_has_lost_a_bay_is_told_why_and_where_to_choose_with_what_it_costs(tmp_path, monkeypatch):
    async with told_by(tmp_path, monkeypatch) as t:
        await t.book()
        await t.done()
        blocked = await t.w.post("/blackouts", {"block_id": "block-0001", **t.w.time(1, FAR), "kind": "maintenance"})
        assert blocked.status_code in (200, 201), blocked.text
        await t.w.until(lambda: t.booking().displaced)
        await t.wait(RULE_S)
        mail = t.mail.letters[-1]
        assert t.events(t.mail) == ["confirmed", "displaced"] and "Reason: maintenance." in mail.text
        assert "Box 2, Sat 21 Nov, 22:00 to 23:00" in mail.text and mail.text.count("$") == 3, "three ways at the price agreed"


async def test_a_change_that_was_told_and_is_undone_is_told_and_one_that_never_was_is_not(t):
    await t.book()
    await t.done()
    moved = await t.w.post("/bookings/booking-0001/reschedule", {**t.w.time(2, FAR + 4), "booking_id": "booking-0002"})
    assert moved.status_code == 201, moved.text
    await t.done()
    await t.change("booking-0002", status="cancelled", reason="withdrawn", withdrawn=True)
    await t.done()
    assert t.events(t.sms) == ["confirmed", "moved", "cancelled"]
    await t.change("booking-0001", status="cancelled", reason="withdrawn", replaced_by="", created_at=NOON)
    await t.done()
    assert t.events(t.sms) == ["confirmed", "moved", "cancelled"], "nobody was told that it had been had"


async def test_a_letter_about_a_cancellation_says_what_comes_back_as_it_was_judged_when_it_was_asked_for(t):
    await t.book()
    await t.done()
    await t.cancel()
    await t.done()
    total = f"${t.booking().price.total_cents / 100:.2f}"
    assert f"{total} comes back" in t.sms.letters[-1].text
    assert f"The whole price, {total}, comes back." in t.mail.letters[-1].text


async def test_a_cancellation_is_told_when_it_is_done(t):
    await t.book()
    await t.done()
    t.w.cut()
    await t.w.until(lambda: not t.w.hub.links.up(SITE))
    assert (await t.w.post("/bookings/booking-0001/cancel", {})).status_code == 202
    await t.done()
    assert t.sent() == (1, 1), "nobody says cancelled before it is"
    await t.w.heal()
    await t.w.until(lambda: t.booking().status == "cancelled")
    await t.done()
    assert t.events(t.sms) == ["confirmed", "cancelled"] == t.events(t.mail)
    assert t.booking().door_pin == "" or t.booking().door_pin not in t.sms.letters[1].text


async def test_the_operators_own_words_are_what_guests_read_and_words_that_cannot_be_used_are_counted(t):
    sms, mail = texts.Which("confirmed", "sms", "en", SITE), texts.Which("confirmed", "mail", "en", SITE)

    def written(tx) -> None:
        for which, text in ((sms, "Fore! {{ bays }}, PIN {{ pin }}"), (mail, "{{ nothing_of_that_name }}")):
            texts.put(tx, texts.Version(which=which, version=1, active=True, text=text, what="saved", actor="Testa Admin", at=NOON))
        texts.changes(tx, "token-1")

    await t.w.db.write(written)
    await t.book()
    await t.done()
    assert t.sms.letters[0].text == f"Fore! Box 1, PIN {t.booking().pin}"
    assert t.booking().pin in t.mail.letters[0].text, "ours, where the operator's cannot be used"
    assert [(one.which, one.times) for one in t.w.db.read(texts.failing)] == [(mail, 1)]


async def test_a_notice_of_the_facility_is_in_what_its_guests_are_told_while_it_stands(t):
    sticks = Notice(id="n-1", site_id=SITE, level="warning", text="The front door sticks.", from_at=NOON, until_at=at(FAR + 8))
    await t.w.db.write(lambda tx: notices.state(tx, t.w.hub.desk, sticks))
    await t.book()
    await t.done()
    assert "The front door sticks." in t.mail.letters[0].text
    await t.book(2, FAR + 96, booking_id="booking-0002", who=2)
    await t.done()
    assert "The front door sticks." not in t.mail.letters[1].text, "that visit begins when it is over"


async def test_a_confirmation_that_waits_is_dropped_when_its_booking_is_cancelled(t):
    t.sms.answers.append(Later("busy", 60))
    t.mail.answers.append(Later("busy", 60))
    await t.book()
    await t.done()
    await t.cancel()
    await t.wait(61)
    assert (t.row("sms").state, t.row("sms").code) == ("dropped", "no_longer")
    assert (t.row("mail").state, t.row("mail").code) == ("dropped", "no_longer")
    assert t.events(t.sms) == ["confirmed", "cancelled"] == t.events(t.mail), "what was tried once; and that it is cancelled"


async def test_a_booking_moved_before_it_was_told_is_told_as_moved_only(t):
    t.sms.answers.append(Later("busy", 60))
    await t.book()
    await t.done()
    moved = await t.w.post("/bookings/booking-0001/reschedule", {**t.w.time(2, FAR + 4), "booking_id": "booking-0002"})
    assert moved.status_code == 201, moved.text
    await t.wait(61)
    assert t.events(t.sms) == ["confirmed", "moved"]
    assert (t.row("sms").state, t.row("sms").code) == ("dropped", "no_longer")


async def test_every_time_a_booking_loses_its_bay_and_finds_one_its_guest_is_told(t):
    await t.book()
    for displaced in (True, True, False, False, True, False):
        await t.change("booking-0001", displaced=displaced)
        await t.wait(RULE_S)
    assert t.events(t.sms) == ["confirmed", "displaced", "placed", "displaced", "placed"] == t.events(t.mail)


async def test_a_bay_found_before_it_was_said_that_it_was_lost_is_told_as_found(t):
    await t.book()
    await t.done()
    t.sms.answers.append(Later("busy", 60))
    await t.change("booking-0001", displaced=True)
    await t.wait(RULE_S)
    await t.change("booking-0001", displaced=False)
    await t.wait(61)
    assert (t.row("sms", "displaced").state, t.row("sms", "displaced").code) == ("dropped", "no_longer")
    assert t.events(t.sms)[-1] == "placed"


async def test_a_request_that_its_facility_hears_too_late_is_told_as_declined(t):
    t.w.network.cut(f"site-{SITE}", "both", noticed=False)
    assert (await t.w.post("/bookings", t.w.wish(2, NEAR))).status_code == 202
    t.w.clock.forward(70)
    t.w.network.heal(f"site-{SITE}")

    def answered() -> bool:
        t.w.clock.forward(0.1)
        t.w.hub.links.tick()
        t.w.site.pump.tick()
        return t.booking().status == "declined"

    await t.w.greeting_until(answered)
    await t.done()
    assert t.events(t.sms) == ["declined"] == t.events(t.mail)


async def test_a_refusal_that_was_shown_where_it_was_asked_is_not_told_again(t):
    await t.book(2, NEAR)
    no = await t.w.post("/bookings", t.w.wish(2, NEAR, booking_id="booking-0002", who=2))
    assert no.status_code == 409
    await t.done()
    assert t.sent() == (1, 1)


async def test_books_put_together_again_are_no_news(t):
    def again(tx) -> None:
        put_together(tx)
        records.touched(tx, records.booking(tx, "booking-0001"))

    await t.book()
    await t.w.db.write(lambda tx: tx.run("DELETE FROM work"))
    await t.w.db.write(again)
    await t.done()
    assert t.rows() == []


async def test_two_sold_one_bay_in_a_cut_and_the_guest_who_has_none_now_is_told_so_by_the_repair_that_finds_it(t):
    def found(tx) -> None:
        put_together(tx)
        records.put_booking(tx, msgspec.structs.replace(records.booking(tx, "booking-0001"), displaced=True))

    await t.book()
    await t.done()
    await t.w.db.write(found)
    await t.wait(RULE_S)
    assert t.events(t.sms) == ["confirmed", "displaced"]


@pytest.mark.parametrize("whole", [True, False])
async def test_a_cancellation_that_books_first_hear_of_in_a_repair_is_told_where_they_have_forgotten_nothing(t, whole):
    def heard(tx) -> None:
        put_together(tx, whole=whole)
        records.put_booking(tx, msgspec.structs.replace(records.booking(tx, "booking-0001"), status="cancelled"))

    await t.book()
    await t.done()
    await t.w.db.write(heard)
    await t.done()
    assert t.events(t.sms) == (["confirmed", "cancelled"] if whole else ["confirmed"])


async def test_a_sale_stands_though_what_is_to_be_told_of_it_cannot_be_written(t, monkeypatch, caplog):
    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(notifications, "news", broken)
    await t.book()
    await t.done()
    assert t.booking().status == "confirmed" and t.rows() == []
    assert "follower_failed" in caplog.text


@pytest.mark.parametrize("known", [{"outage_pin": "471100"}, {"created_at": 1}, {"seller": "site"}, {}])
async def test_the_guest_of_a_facility_that_is_not_heard_is_told_that_the_pin_works_where_its_doors_know_it(t, known):
    t.w.cut()
    await t.w.until(lambda: not t.w.hub.links.up(SITE))
    made = await t.w.post("/bookings", t.w.wish(1, FAR))
    assert made.status_code == 201, made.text
    await t.w.db.write(lambda tx: records.put_booking(tx, msgspec.structs.replace(records.booking(tx, "booking-0001"), **known)))
    await t.done()
    await t.w.heal()
    await t.book(2, FAR, booking_id="booking-0002", who=2)
    await t.done()
    for channel in (t.sms, t.mail):
        dark, lit = channel.letters
        assert ("works" in dark.text) == bool(known) and "works" not in lit.text


@pytest.mark.parametrize(
    ("day", "night", "said"),
    [
        ("2027-03-08T12:00", "2027-03-14T01:30", "Sun 14 Mar, 01:30 to 03:30"),
        ("2027-11-01T12:00", "2027-11-07T01:30", "Sun 7 Nov, 01:30 ADT to 01:30 AST"),
    ],
)
async def test_an_hour_in_the_night_when_clocks_change_is_told_by_the_facilitys_clock(t, day, night, said):
    start, now = (slots.parse_local("America/Halifax", moment)[0] for moment in (night, day))
    t.w.clock.forward(now * 900 - NOON)
    await t.w.linked()
    await t.book(1, start - NOON // 900)
    await t.done()
    assert all(said in channel.letters[0].text and t.booking().pin in channel.letters[0].text for channel in (t.sms, t.mail))


# ---- whom it reaches
async def test_somebody_without_an_address_is_told_nothing_but_can_read_it(t):
    customer = {"name": "Testa Birdie", "phone": "555-0101"}
    made = await t.w.post("/bookings", {**t.w.wish(1, FAR), "customer": customer})
    assert made.status_code == 201, made.text
    await t.done()
    assert t.sent() == (0, 0)
    assert len(t.w.db.read(lambda tx: kept.app_messages(tx, t.booking().order_id))) == 1


async def test_a_guest_without_an_address_who_has_lost_the_bay_is_for_people_to_call(t):
    made = await t.w.post("/bookings", {**t.w.wish(1, FAR), "customer": {"name": "Testa Birdie", "phone": "555-0149"}})
    assert made.status_code == 201, made.text
    await t.done()
    await t.change("booking-0001", displaced=True)
    await t.wait(RULE_S)
    row = t.w.db.read(lambda tx: work.one(tx, "displaced|booking-0001|1"))
    assert (row.state, row.code) == ("stuck", "not_told") and "call the guest" in row.reason
    assert "displaced" in [one.id.partition("|")[0] for one in t.notifying.said(t.booking().order_id)], "it can be read on the booking's page"


async def test_after_stop_no_sms_goes_to_that_number_and_after_start_they_go_again(t):
    await t.book()
    await t.done()
    await t.heard(Inbound(id="SM1", sender=SMS, receiver="+19025550198", text="Stop", word="stop"))
    await t.cancel()
    await t.done()
    assert t.events(t.sms) == ["confirmed"] and t.events(t.mail) == ["confirmed", "cancelled"]
    await t.heard(Inbound(id="SM2", sender=SMS, receiver="+19025550198", text="start", word="start"))
    await t.heard(Inbound(id="SM1", sender=SMS, receiver="+19025550198", text="Stop", word="stop"))
    await t.book(2, FAR, booking_id="booking-0002")
    await t.done()
    assert len(t.sms.letters) == 2, "a report that comes again is no new word"


async def test_a_stop_holds_back_an_sms_that_waits(t):
    t.sms.answers.append(Later("busy", 60))
    await t.book()
    await t.done()
    await t.heard(Inbound(id="SM1", sender=SMS, receiver="+19025550198", text="STOP", word="stop"))
    await t.wait(61)
    assert (t.row("sms").state, t.row("sms").code) == ("dropped", "suppressed")
    assert t.sent() == (1, 1), "the one try, and the mail"


async def test_a_number_that_the_vendor_says_has_opted_out_is_not_written_to_again(t):
    t.sms.answers.append(Never("21610", "The number has opted out.", opted_out=True))
    await t.book()
    await t.done()
    assert (t.row("sms").state, t.row("sms").code) == ("stuck", "21610")
    await t.cancel()
    await t.done()
    assert t.sent() == (1, 2)


async def test_a_dead_number_is_not_written_to_again(t):
    t.sms.answers.append(Never("21614", "No mobile.", dead_address=True))
    await t.book()
    await t.done()
    await t.cancel()
    await t.done()
    assert t.sent() == (1, 2)


async def test_a_channel_that_the_customer_switched_off_is_not_used(t):
    await t.book()
    await t.done()
    await t.prefer(off=("sms",))
    await t.cancel()
    await t.done()
    assert t.events(t.sms) == ["confirmed"] and t.events(t.mail) == ["confirmed", "cancelled"]


async def test_what_is_urgent_goes_by_what_is_left_where_the_usual_is_impossible(t):
    await t.book()
    await t.done()
    await t.prefer(off=("mail",))
    await t.heard(Inbound(id="SM1", sender=SMS, receiver="+19025550198", text="STOP", word="stop"))
    await t.cancel()
    await t.done()
    assert t.sent() == (1, 1)
    assert len(t.w.db.read(lambda tx: kept.app_messages(tx, t.booking().order_id))) == 2, "it can be read here"


# ---- what the clock brings
async def test_a_reminder_comes_two_hours_before_and_once_across_a_restart(t):
    await t.book()
    await t.until_at(at(FAR) - 2 * H - 1)
    assert "reminder" not in t.events(t.sms)
    await t.until_at(at(FAR) - 2 * H)
    assert t.events(t.sms) == ["confirmed", "reminder"] and t.events(t.mail) == ["confirmed"]
    assert t.booking().pin in t.sms.letters[1].text and "22:00" in t.sms.letters[1].text
    await t.restart()
    await t.until_at(at(FAR) - 2 * H + 60)
    assert t.events(t.sms) == ["confirmed", "reminder"]


async def test_a_reminder_that_fell_due_while_the_hub_was_off_comes_while_it_is_worth_something(t):
    await t.book()
    await t.done()
    await t.until_at(at(FAR) - 5 * H)
    await t.restart()
    await t.until_at(at(FAR) - 1 * H)
    assert t.events(t.sms) == ["confirmed", "reminder"]


async def test_a_reminder_is_not_sent_when_its_moment_has_passed(t):
    await t.book()
    await t.done()
    await t.until_at(at(FAR) - 5 * H)
    await t.restart()
    await t.until_at(at(FAR) - 19 * 60)
    assert "reminder" not in t.events(t.sms)


async def test_a_moved_bookings_reminder_moves_with_it(t):
    await t.book()
    moved = await t.w.post("/bookings/booking-0001/reschedule", {**t.w.time(2, FAR + 12), "booking_id": "booking-0002"})
    assert moved.status_code == 201, moved.text
    await t.w.until(lambda: t.booking().status == "cancelled")
    await t.until_at(at(FAR) - 2 * H)
    assert "reminder" not in t.events(t.sms)
    await t.until_at(at(FAR + 12) - 2 * H)
    assert t.events(t.sms).count("reminder") == 1 and "01:00" in t.sms.letters[-1].text


async def test_a_guest_who_cancelled_is_not_reminded(t):
    await t.book()
    await t.cancel()
    await t.until_at(at(FAR) - 2 * H)
    assert "reminder" not in t.events(t.sms)


async def test_a_reminder_that_waits_is_dropped_when_its_guest_is_there_already(t):
    await t.book()
    await t.done()
    t.sms.answers.append(Later("busy", 60))
    await t.until_at(at(FAR) - 2 * H)
    await t.w.db.write(lambda tx: came(tx, "booking-0001"))
    await t.wait(61)
    assert (t.row("sms", "reminder").state, t.row("sms", "reminder").code) == ("dropped", "no_longer")


async def test_nobody_is_reminded_of_a_bay_that_is_not_to_be_had_before_there_is_another(t):
    await t.book()
    await t.done()
    await t.change("booking-0001", displaced=True)
    await t.until_at(at(FAR) - 2 * H)
    assert t.events(t.sms) == ["confirmed", "displaced"]
    await t.change("booking-0001", displaced=False)
    await t.done()
    await t.wait(120)
    assert t.events(t.sms) == ["confirmed", "displaced", "placed", "reminder"]


async def test_a_reminder_that_waits_tells_the_bay_that_its_guest_has_now(t):
    await t.book()
    await t.done()
    t.sms.answers.append(Later("busy", 60))
    await t.until_at(at(FAR) - 2 * H)
    moved = await t.w.post("/bookings/booking-0001/reschedule", {**t.w.time(3, FAR), "booking_id": "booking-0002"})
    assert moved.status_code == 201, moved.text
    await t.w.until(lambda: t.booking().status == "cancelled")
    await t.wait(61)
    assert t.events(t.sms)[-1] == "reminder" and "Box 3" in t.sms.letters[-1].text


async def test_a_group_of_somebody_who_was_known_twice_is_reminded_as_one(t):
    parts = [{**t.w.time(bay, FAR), "booking_id": f"booking-{bay:04d}"} for bay in (1, 2)]
    assert (await t.w.post("/bookings", {"parts": parts, "customer": t.w.wish(1, FAR)["customer"]})).status_code == 201
    await t.done()

    def merged(tx) -> None:
        customer = records.customer(tx, t.booking().customer_id)
        records.put_customer(tx, msgspec.structs.replace(customer, id="c-known-before"))
        tx.run("INSERT INTO aliases (old_id, new_id) VALUES (?, ?)", (customer.id, "c-known-before"))
        records.put_booking(tx, msgspec.structs.replace(records.booking(tx, "booking-0002"), customer_id="c-known-before"))

    await t.w.db.write(merged)
    await t.until_at(at(FAR) - 2 * H)
    assert t.events(t.sms) == ["confirmed", "reminder"] and "Box 1 and Box 2" in t.sms.letters[-1].text


async def test_a_group_is_reminded_once(t):
    parts = [{**t.w.time(bay, FAR), "booking_id": f"booking-{bay:04d}"} for bay in (1, 2)]
    assert (await t.w.post("/bookings", {"parts": parts, "customer": t.w.wish(1, FAR)["customer"]})).status_code == 201
    await t.until_at(at(FAR) - 2 * H)
    assert t.events(t.sms) == ["confirmed", "reminder"]
    assert "Box 1" in t.sms.letters[1].text and "Box 2" in t.sms.letters[1].text


async def test_who_books_shortly_before_needs_no_reminder(t):
    await t.book(2, NEAR)
    await t.until_at(at(NEAR) - 30 * 60)
    assert t.events(t.sms) == ["confirmed"]


async def test_quiet_hours_hold_a_reminder_back_until_it_is_of_no_use(t):
    await t.book()
    await t.done()
    await t.prefer(quiet=(19 * 60, 8 * 60))
    await t.until_at(at(FAR) - 2 * H)
    assert t.events(t.sms) == ["confirmed"]
    assert (t.row("sms", "reminder").state, t.row("sms", "reminder").code) == ("dropped", "too_late")


async def test_what_quiet_hours_held_back_comes_at_their_end_where_it_is_still_of_use(t):
    morning = 80  # 08:00 the next day
    await t.book(1, morning)
    await t.done()
    await t.prefer(quiet=(22 * 60, 7 * 60))
    await t.until_at(at(morning) - 2 * H)
    assert (t.events(t.sms), t.row("sms", "reminder").next_at) == (["confirmed"], at(morning) - 1 * H)
    await t.until_at(at(morning) - 1 * H)
    assert t.events(t.sms) == ["confirmed", "reminder"]


async def test_what_answers_the_customer_comes_in_quiet_hours_too(t):
    await t.book()
    await t.done()
    await t.prefer(quiet=(8 * 60, 23 * 60))
    await t.cancel()
    await t.done()
    assert t.events(t.sms) == ["confirmed", "cancelled"]


async def test_thanks_and_questions_come_after_a_visit_only_and_in_usual_hours(tmp_path, monkeypatch):
    async with told_by(tmp_path, monkeypatch, public_url=PUBLIC) as t:
        await t.book()
        await t.book(2, FAR, booking_id="booking-0002", who=2)
        await t.w.db.write(lambda tx: came(tx, "booking-0001"))
        await t.until_at(at(FAR + 4) + 30 * 60)
        assert "follow_up" not in t.events(t.mail), "at half past eleven at night"
        await t.until_at(at(80))
        assert t.mailed("follow_up") == [MAIL]
        await t.until_at(at(FAR + 4) + 36 * H)
        assert t.mailed("survey") == [MAIL]
        order_id = t.booking().order_id
        link = f"{PUBLIC}/b/{order_id}/{t.w.hub.customer_links.token(order_id)}/survey"
        assert link in t.mail.letters[-1].text and t.mail.letters[-1].url == link


def asks(t, share_percent: int) -> None:
    """The house asks so many of its guests whether they stay longer."""
    states(t.w, overtime=Overtime(offer_share_percent=share_percent))


async def test_who_is_in_a_bay_that_is_free_afterwards_is_asked_to_stay_longer(tmp_path, monkeypatch):
    async with told_by(tmp_path, monkeypatch, public_url=PUBLIC) as t:
        asks(t, 100)
        await t.book()
        await t.book(2, FAR, booking_id="booking-0002", who=2)  # nobody comes
        await t.book(3, FAR, booking_id="booking-0003", who=3)
        await t.book(3, FAR + 4, booking_id="booking-0004", who=4)  # plays after them
        for booking_id in ("booking-0001", "booking-0003"):
            await t.w.db.write(lambda tx, booking_id=booking_id: came(tx, booking_id))
        await t.until_at(at(FAR + 4) - 11 * 60)
        assert "extend" not in t.events(t.sms)
        await t.until_at(at(FAR + 4) - 9 * 60)
        [letter] = [one for one, of in zip(t.sms.letters, t.events(t.sms), strict=True) if of == "extend"]
        assert "; the half hour after is free. Stay longer?" in letter.text and f" {PUBLIC}/b/" in letter.text
        assert sorted(row.code for row in t.rows("extend") if row.kind == "plan") == ["", "not_free"]


async def test_nobody_is_asked_to_stay_where_the_house_asks_nobody_or_the_guest_wants_no_offers(t):
    asks(t, 0)
    await t.book()
    await t.w.db.write(lambda tx: came(tx, "booking-0001"))
    await t.until_at(at(FAR + 4) - 9 * 60)
    asks(t, 100)
    await t.book(2, FAR + 8, booking_id="booking-0002")
    await t.w.db.write(lambda tx: came(tx, "booking-0002"))
    await t.prefer(courtesies=False)
    await t.until_at(at(FAR + 12) - 9 * 60)
    assert "extend" not in t.events(t.sms) and sorted(row.code for row in t.rows("extend")) == ["no_channel", "not_free"]


async def test_nobody_is_asked_how_it_was_where_there_is_no_page_to_answer_on(t):
    await t.book()
    await t.w.db.write(lambda tx: came(tx, "booking-0001"))
    await t.until_at(at(FAR + 4) + 36 * H)
    assert t.mailed("survey") == [] and [row.code for row in t.rows("survey")] == ["no_page"]


async def test_while_the_books_of_a_facility_may_be_an_old_copy_nobody_is_told_anything_from_them(t):
    await t.book()
    await t.done()
    t.w.cut()
    await t.w.until(lambda: not t.w.hub.links.up(SITE))
    await t.w.db.write(lambda tx: fencing.fence(tx, t.w.hub.desk, SITE, "restored"))
    assert await t.notifying.sweep() == 0
    t.w.clock.forward(at(FAR) - 2 * H - NOON)
    assert await t.notifying.sweep() == 0
    assert t.events(t.sms) == ["confirmed"]
    await t.w.heal()
    await t.until_at(at(FAR) - 2 * H + 60)
    assert t.events(t.sms) == ["confirmed", "reminder"]


async def test_what_was_due_before_books_were_put_back_is_not_told_by_them_again(t):
    await t.book()
    await t.until_at(at(FAR) - 2 * H)
    copy = lambda tx: tx.run("DELETE FROM work WHERE id LIKE 'reminder%'")  # noqa: E731
    await t.w.db.write(copy)
    t.w.cut()
    await t.w.until(lambda: not t.w.hub.links.up(SITE))
    await t.w.db.write(lambda tx: fencing.fence(tx, t.w.hub.desk, SITE, "restored"))
    assert await t.notifying.sweep() == 0
    await t.w.heal()
    await t.until_at(at(FAR) - 2 * H + 60)
    assert len(t.sms.letters) == 2, "the booking's and its reminder"


async def test_a_booking_made_long_ago_is_told_as_cancelled_though_what_was_told_of_it_is_let_go_of(t):
    await t.book()
    await t.done()
    await t.change("booking-0001", created_at=NOON - work.KEPT_S - 1)
    await t.w.db.write(lambda tx: tx.run("DELETE FROM work"))
    await t.cancel()
    await t.done()
    assert [row.id.partition("|")[0] for row in t.rows() if row.kind == "message" and row.lane == "twilio"] == ["cancelled"]


async def test_a_facility_whose_books_are_put_together_again_keeps_no_other_from_being_told(t):
    await t.book()
    await t.done()
    await t.w.db.write(lambda tx: fencing.fence(tx, t.w.hub.desk, streams.open_site(tx, "truro", epoch="1").site_id, "restored"))
    await t.until_at(at(FAR) - 2 * H)
    assert t.events(t.sms) == ["confirmed", "reminder"]


async def test_what_was_due_before_a_repair_that_no_sweep_saw_is_not_told_again(t):
    await t.book()
    await t.until_at(at(FAR) - 2 * H)
    await t.w.db.write(lambda tx: tx.run("DELETE FROM work WHERE id LIKE 'reminder%'"))
    t.w.cut()
    await t.w.until(lambda: not t.w.hub.links.up(SITE))
    await t.w.db.write(lambda tx: fencing.fence(tx, t.w.hub.desk, SITE, "restored"))
    await t.w.heal()
    await t.until_at(at(FAR) - 2 * H + 60)
    assert not t.w.db.read(lambda tx: streams.read(tx, SITE).fenced)
    assert len(t.sms.letters) == 2, "the booking's and its reminder"


async def test_a_report_of_a_letter_that_was_to_be_sent_again_ends_it(t):
    t.sms.answers.append(Later("busy", 60))
    await t.book()
    await t.done()
    row = t.row("sms")
    assert row.state == "waiting"
    await t.heard(receipt(row, "delivered"))
    await t.wait(120)
    assert t.row("sms").state == "done" and t.events(t.sms) == ["confirmed"]


async def test_by_a_clock_that_is_not_believed_nothing_is_planned_or_sent(t, monkeypatch):
    t.sms.answers.append(Later("busy", 60))
    await t.book()
    await t.done()
    believed = t.w.hub.desk.clock_doubt
    monkeypatch.setattr(t.w.hub.desk, "clock_doubt", lambda: "unconfirmed")
    t.w.clock.forward(at(FAR) - 2 * H - NOON)
    assert await t.notifying.sweep() == 0
    t.worker.tick()
    await asyncio.sleep(0.05)
    assert t.events(t.sms) == ["confirmed"]
    monkeypatch.setattr(t.w.hub.desk, "clock_doubt", believed)
    await t.until_at(at(FAR) - 2 * H)
    assert t.events(t.sms) == ["confirmed", "confirmed", "reminder"]


# ---- what vendors say
def receipt(row: work.Work, state: str, **more: Any) -> Receipt:
    given = {"id": f"{row.mark}:{state}", "key": row.mark, "ref": row.ref, "code": "", "reason": "", "to": "", "at": NOON}
    return Receipt(state=state, **(given | more))  # type: ignore[arg-type]


async def test_receipts_in_any_order_end_in_what_became_of_it(t):
    await t.book()
    await t.done()
    row = t.row("sms")
    assert row.state == "sent"
    await t.heard(receipt(row, "delivered"))
    await t.heard(receipt(row, "sent"), receipt(row, "accepted"), receipt(row, "delivered"))
    assert t.row("sms").state == "done"


async def test_a_mail_that_bounced_is_shown_and_its_address_is_not_written_to_again(t):
    await t.book()
    await t.done()
    await t.heard(receipt(t.row("mail"), "bounced", code="5.1.1", reason="No such mailbox.", to=MAIL, dead_address=True))
    assert (t.row("mail").state, t.row("mail").code, t.row("mail").reason) == ("stuck", "5.1.1", "No such mailbox.")
    await t.cancel()
    await t.done()
    assert t.sent() == (2, 1)


async def test_a_complaint_ends_mail_though_it_was_delivered(t):
    await t.book()
    await t.done()
    await t.heard(receipt(t.row("mail"), "delivered", to=MAIL), receipt(t.row("mail"), "complained", to=MAIL, opted_out=True))
    assert t.row("mail").state == "done"
    await t.cancel()
    await t.done()
    assert t.sent() == (2, 1)


async def test_a_report_of_something_that_is_not_known_changes_nothing(t):
    await t.book()
    await t.done()
    before = t.rows()
    await t.heard(Receipt(id="x", key="nobody-knows-it", ref="", state="failed", code="", reason="", to=SMS, at=NOON, dead_address=True))
    assert t.rows() == before
    await t.cancel()
    await t.done()
    assert t.sent() == (2, 2)


async def test_an_sms_whose_answer_was_lost_is_looked_up_and_not_sent_again(t):
    t.sms.answers.append(Unknown("The answer was lost."))
    t.sms.fates.append(Taken("SM7"))
    await t.book()
    await t.done()
    assert t.row("sms").state == "unknown"
    t.w.clock.forward(60)
    t.worker.tick()
    await t.w.until(lambda: t.row("sms").state == "sent")
    assert (t.sms.looked, len(t.sms.letters), t.row("sms").ref) == (1, 1, "SM7")


async def test_an_sms_that_the_vendor_never_had_is_sent_again_under_the_same_name(t):
    t.sms.answers.append(Unknown("The answer was lost."))
    t.sms.fates.append(None)
    await t.book()
    await t.done()
    t.w.clock.forward(60)
    t.worker.tick()
    await t.w.until(lambda: len(t.sms.letters) == 2)
    await t.done()
    assert len({(letter.key, letter.to) for letter in t.sms.letters}) == 1 and t.row("sms").state == "sent"


async def test_one_vendors_outage_delays_nobody_elses(t):
    t.sms.answers.extend(Later("refused") for _ in range(50))
    for bay in (1, 2, 3, 4):
        await t.book(bay, FAR, booking_id=f"booking-{bay:04d}", who=bay)
    await t.w.until(lambda: len(t.mail.letters) == 4)
    assert all(t.booking(f"booking-{bay:04d}").status == "confirmed" for bay in (1, 2, 3, 4))


# ---- the hooks
def called_as_twilio(sender: str, text: str, token: str = TOKEN) -> dict[str, Any]:
    form = {"From": sender, "To": "+19025550198", "Body": text, "MessageSid": f"SM{datetime.now(UTC).timestamp()}", "SmsStatus": "received"}
    headers = {"x-twilio-signature": signature(token, f"{PUBLIC}/hooks/twilio", form.items())}
    return {"content": urlencode(form), "headers": headers | {"content-type": "application/x-www-form-urlencoded"}}


async def test_a_signed_stop_is_in_the_books_before_it_is_answered_and_a_forged_one_is_refused(tmp_path, monkeypatch):
    hooks = {"twilio": TwilioHooks(TOKEN, PUBLIC, now=lambda: NOON)}
    async with told_by(tmp_path, monkeypatch, hooks) as t:
        forged = await t.w.client.post("/hooks/twilio", **called_as_twilio(SMS, "STOP", token="f" * 32))
        assert (forged.status_code, forged.json()["code"]) == (403, "hook_forged")
        assert t.w.db.read(lambda tx: kept.suppressed(tx, "sms", SMS)) is None
        heard = await t.w.client.post("/hooks/twilio", **called_as_twilio(SMS, "STOP"))
        assert heard.status_code == 200 and heard.headers["content-type"].startswith("text/xml") and heard.text.endswith("<Response/>")
        assert t.w.db.read(lambda tx: kept.suppressed(tx, "sms", SMS)).why == "stop"


async def test_a_large_batch_of_reports_is_taken_whole(tmp_path, monkeypatch):
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    hooks = {"sendgrid": SendGridHooks(base64.b64encode(public).decode(), now=lambda: NOON)}
    async with told_by(tmp_path, monkeypatch, hooks) as t:
        await t.book()
        await t.done()
        told = {"event": "delivered", "email": MAIL, "sg_message_id": "x.y", "timestamp": NOON, "msg_key": t.row("mail").mark}
        body = msgspec.json.encode([*({"event": "processed", "sg_event_id": f"e{n}", "smtp-id": "x" * 200} for n in range(1000)), told])
        assert len(body) > 200_000
        signed = base64.b64encode(key.sign(f"{NOON}".encode() + body, ec.ECDSA(hashes.SHA256()))).decode()
        heard = await t.w.client.post("/hooks/sendgrid", content=body, headers={SIGNATURE: signed, TIMESTAMP: f"{NOON}"})
        assert heard.status_code == 204, heard.text
        assert t.row("mail").state == "done"
        assert (await t.w.client.post("/hooks/sendgrid", content=b"x" * (LARGE_MAX + 1))).status_code == 413
        assert (await t.w.client.post("/api/v1/bookings", content=b"x" * 70_000)).status_code == 413


async def test_a_vendor_that_reports_nothing_here_gets_404(t):
    for path in ("/hooks/slack", "/hooks/twilio", "/hooks/../x"):
        assert (await t.w.client.post(path)).status_code == 404
    assert (await t.w.client.get("/hooks/twilio")).status_code == 405


def came(tx, booking_id: str) -> None:
    """The guest has checked in, as the facility tells."""
    records.put_attendance(tx, Attendance(booking_id=booking_id, site_id=SITE, state="checked_in"))
