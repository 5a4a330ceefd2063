"""How it was: who is asked and until when, what an answer may hold, and the figures that follow: on the admins' page, in the API, in the metrics."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlite_utils import Database as Tables

from cloud_hub.services.surveys import CHANGE_S, COUNTED_DAYS, OPEN_S, PAGE_ROWS, WORDS_MAX, cleaned
from cloud_hub.store import notifications as kept
from cloud_hub.store import schema, surveys
from cloud_hub.store.surveys import SurveyAnswer
from shared.errors import Unavailable
from shared.ledger import attendance, records
from shared.ledger import schema as ledger_schema
from shared.model import Attendance
from shared.runtime.database import InlineWriter
from tests.cloud_hub.hub_world import NOON, SITE, HubWorld, books
from tests.cloud_hub.reach_world import DAY, FAR
from tests.cloud_hub.visitor import Page, Visitor

D = 86_400
END = NOON + (FAR + 4) * 900


class Guest(Visitor):
    """A guest who has booked; `root` is the order's address."""

    root = ""

    async def book(self, start: int = FAR, **details: str) -> "Guest":
        page = await self.booked(start, date=DAY, details=details)
        self.root = page.address.partition("?")[0]
        await self.w.quiet()
        return self

    @property
    def order_id(self) -> str:
        return self.root.split("/")[2]

    async def came(self, *states: str) -> None:
        """The facility has seen the guest, as it says to the hub."""
        for b in self.w.db.read(lambda tx: records.bookings_of_order(tx, self.order_id)):
            for state in states or ("checked_in",):
                self.w.site.db.write_now(lambda tx, b=b, state=state: attendance.attend(tx, self.w.site.desk, b.id, state, by="kiosk"))
        await self.w.quiet()

    async def asked(self, query: str = "") -> Page:
        return await self.get(f"{self.root}/survey{query}")

    async def says(self, score: str | None = "5", words: str = "", page: Page | None = None) -> Page:
        form = (page or await self.asked("?change=1")).form("/survey")
        return await self.send(form, score=score, words=words)

    def answer(self) -> SurveyAnswer | None:
        return self.w.db.read(lambda tx: surveys.of(tx, self.order_id))


@pytest.fixture
async def g(w):
    guest = await Guest(w).book()
    w.clock.forward(END - NOON + D)
    w.say_hello()
    yield guest


@pytest.fixture
async def admin(w):
    visitor = Visitor(w)
    form = (await visitor.get("/manage/sign-in")).form("/manage/sign-in")
    assert (await visitor.send(form, key=await w.new_key("admin"))).status == 200
    yield visitor


def put(w: HubWorld, n: int, score: int, *, words: str = "", at: int = NOON, site_id: str = SITE) -> None:
    one = SurveyAnswer(order_id=f"order-{n:04d}", site_id=site_id, customer_id="c-1", score=score, words=words, at=at, changed_at=at)
    w.db.write_now(lambda tx: surveys.put(tx, one))


# ---- who is asked
async def test_whoever_came_is_asked_and_thanked_and_the_answer_is_kept(g):
    await g.came("checked_in", "completed")
    page = await g.get(g.root)
    (link,) = page.links("/survey$")
    page = await g.get(link)
    assert page.status == 200 and page.heading == "How was it?" and "Saturday 21 November" in page.words
    page = await g.says("4", "  Good   balls.\r\n\r\n\r\n\r\nCold\tcoffee <b>!", page)
    assert page.heading == "Thank you" and "4 of 5, good" in page.words and "&lt;b&gt;!" in page.text
    kept_ = g.answer()
    assert (kept_.score, kept_.words, kept_.site_id) == (4, "Good balls.\n\nCold coffee <b>!", SITE)
    assert kept_.at == kept_.changed_at == END + D
    assert page.headers["x-robots-tag"] == "noindex, nofollow"


async def test_words_are_not_needed(g):
    await g.came()
    assert (await g.says("1")).heading == "Thank you" and g.answer().words == ""


@pytest.mark.parametrize("states", [(), ("no_show",), ("checked_in", "")], ids=["not seen", "no-show", "check-in taken back"])
async def test_whoever_did_not_come_is_not_asked_and_cannot_answer(g, states):
    if states:
        await g.came(*states)
    page = await g.asked()
    assert page.status == 200 and "once you have been with us and checked in" in page.words and not page.forms
    assert (await g.get(g.root)).links("/survey$") == []
    token = dict((await g.get(f"{g.root}/messages")).form("/messages").fields)["csrf_token"]
    page = await g.post(f"{g.root}/survey", [("csrf_token", token), ("score", "5")])
    assert page.status == 409 and g.answer() is None


async def test_a_visit_that_was_cancelled_is_not_asked_about(w):
    guest = await Guest(w).book()
    sure = await guest.get(f"{guest.root}/cancel")
    await guest.send(sure.form("/cancel"))
    await w.quiet()
    b = w.db.read(lambda tx: records.bookings_of_order(tx, guest.order_id))[0]
    w.db.write_now(
        lambda tx: records.put_attendance(tx, Attendance(booking_id=b.id, site_id=SITE, state="checked_in", at=NOON, by="kiosk", version=9))
    )
    assert "once you have been with us" in (await guest.asked()).words


async def test_a_wrong_link_asks_nothing(g):
    await g.came()
    form = (await g.asked()).form("/survey")
    assert (await g.get(f"/b/{g.order_id}/nonsense/survey")).status == 404
    assert (await g.post(f"/b/{g.order_id}/nonsense/survey", form.filled(score="5"))).status == 404
    assert (await g.post(form.action, form.filled(score="5", csrf_token="0"))).status == 403
    assert g.answer() is None


# ---- until when
async def test_it_can_be_answered_for_thirty_days_after_the_visit(w, g):
    await g.came()
    w.clock.forward(OPEN_S - D - 1)
    old = await g.asked()
    assert old.form("/survey")
    w.clock.forward(1)
    assert "for 30 days after the visit, which are over" in (await g.asked()).words
    page = await g.says("5", page=old)
    assert page.status == 409 and "30 days" in page.words and g.answer() is None


async def test_an_answer_can_be_changed_for_a_week_and_counts_once(w, g):
    await g.came()
    await g.says("2", "Meh.")
    page = await g.asked()
    assert page.heading == "Thank you" and page.links(r"/survey\?change=1$") and "Sunday 29 November" in page.words
    w.clock.forward(CHANGE_S - 1)
    page = await g.asked("?change=1")
    assert "Meh." in page.text and ("score", "2") in page.form("/survey").fields and "Change my answer" in page.words
    await g.says("5", "Second thoughts.", page)
    first = g.answer()
    assert (first.score, first.words, first.changed_at - first.at) == (5, "Second thoughts.", CHANGE_S - 1)
    w.clock.forward(1)
    late = await g.says("1", "", page)
    assert late.status == 409 and late.heading == "Thank you" and "changed for a week" in late.words and g.answer() == first
    assert not (await g.asked("?change=1")).forms and w.hub.surveys.satisfaction(SITE).answers == 1


async def test_the_week_ends_with_the_thirty_days(w, g):
    await g.came()
    w.clock.forward(OPEN_S - D - 60)
    await g.says("3")
    w.clock.forward(61)
    assert not (await g.asked("?change=1")).forms


# ---- what it may hold
@pytest.mark.parametrize("score", ["0", "6", "-1", "5.0", "٥", "five", "", None, "1e0"])
async def test_a_score_that_is_none_is_told_and_what_was_written_is_still_there(g, score):
    await g.came()
    page = await g.says(score, "Worth telling.")
    assert page.status == 422 and "Please choose a number from 1 to 5." in page.words and "Worth telling." in page.text
    assert g.answer() is None


async def test_a_thousand_characters_fit_and_one_more_is_told_and_not_lost(g):
    await g.came()
    page = await g.says("3", "é" * (WORDS_MAX + 1))
    assert page.status == 422 and f"There is room for {WORDS_MAX} characters; these are {WORDS_MAX + 1}." in page.words
    assert "é" * (WORDS_MAX + 1) in page.text and ("score", "3") in page.form("/survey").fields and g.answer() is None
    await g.says("3", "é" * WORDS_MAX)
    assert len(g.answer().words) == WORDS_MAX


@pytest.mark.parametrize(
    "fields",
    [
        [("score", "1"), ("score", "5")],
        [("score", "5"), ("stars", "5")],
        [("score", "5"), ("words", "x" * 20_001)],
        [("score", "5"), ("words", "a\x00")],
    ],
    ids=["two scores", "an unknown field", "a book", "a NUL"],
)
async def test_a_form_that_is_none_of_ours_is_refused(g, fields):
    await g.came()
    form = (await g.asked()).form("/survey")
    page = await g.post(form.action, [pair for pair in form.fields if pair[0] == "csrf_token"] + fields)
    assert page.status == 400 and g.answer() is None


@given(st.text(max_size=300))
@example("a\r\nb\rc\n\n\n\n\nd  e\tf\u202etxt\ufeff")
@example("\u0065\u0301")
def test_what_is_kept_of_words_is_text_alone_and_cleaning_it_again_changes_nothing(text):
    clean = cleaned(text)
    assert cleaned(clean) == clean == clean.strip()
    assert "\n\n\n" not in clean and "  " not in clean and "\r" not in clean
    assert not any(ord(one) < 32 and one != "\n" for one in clean) and not any(one in clean for one in "\u202e\u2066\x7f\ufeff")


def test_cleaned_words_read_as_they_were_meant():
    assert cleaned("  Good \tballs.\r\n\r\n\r\n\r\nCold coffee\x07.\u202e ") == "Good balls.\n\nCold coffee."


# ---- what they say
async def test_a_figure_is_the_mean_the_share_and_the_number_of_the_last_ninety_days(w):
    for n, score in enumerate((5, 4, 4, 1)):
        put(w, n, score, at=NOON - n * D)
    put(w, 10, 1, at=NOON - COUNTED_DAYS * D - 1)
    put(w, 11, 2, at=NOON, site_id="dartmouth")
    found = w.hub.surveys.satisfaction(SITE)
    assert (found.answers, found.mean, found.good_share) == (4, 3.5, 0.75)
    put(w, 12, 1, at=NOON - COUNTED_DAYS * D)
    assert w.hub.surveys.satisfaction(SITE).answers == 5, "the ninetieth day counts"
    assert [(one.site_id, one.answers) for one in w.hub.surveys.all_satisfaction([SITE])] == [(SITE, 5), ("dartmouth", 1)]


async def test_where_nobody_has_answered_it_is_unknown_and_not_nought(w, admin):
    assert (await w.get(f"/sites/{SITE}/satisfaction")).json() == {
        "site_id": SITE, "days": COUNTED_DAYS, "answers": 0, "mean": None, "good_share": None,
    }  # fmt: skip
    page = await admin.get("/manage/answers")
    assert "Bedford unknown Nobody has answered in the last 90 days." in page.words and "Nobody has answered yet." in page.words
    metrics = (await w.client.get("/metrics")).text
    assert f'clubos_survey_answers{{site="{SITE}"}} 0.0' in metrics and "clubos_survey_mean{" not in metrics


async def test_the_api_gives_the_figure_to_whoever_may_read_sites(w):
    put(w, 1, 5), put(w, 2, 3)
    assert (await w.get(f"/sites/{SITE}/satisfaction")).json() == {
        "site_id": SITE, "days": 90, "answers": 2, "mean": 4.0, "good_share": 0.5,
    }  # fmt: skip
    assert (await w.get("/sites/nowhere/satisfaction")).status_code == 404
    assert (await w.get(f"/sites/{SITE}/satisfaction", key=await w.new_key("bookings:read"))).status_code == 403
    assert (await w.get(f"/sites/{SITE}/satisfaction", key="")).status_code == 401


async def test_metrics_tell_the_figures_and_forget_a_mean_that_is_over(w):
    put(w, 1, 5), put(w, 2, 4), put(w, 3, 1)
    metrics = (await w.client.get("/metrics")).text
    assert f'clubos_survey_answers{{site="{SITE}"}} 3.0' in metrics and f'clubos_survey_mean{{site="{SITE}"}} 3.33' in metrics
    assert f'clubos_survey_good_share{{site="{SITE}"}} 0.667' in metrics
    w.clock.forward((COUNTED_DAYS + 1) * D)
    metrics = (await w.client.get("/metrics")).text
    assert f'clubos_survey_answers{{site="{SITE}"}} 0.0' in metrics and "clubos_survey_mean{" not in metrics


# ---- the admins' page
async def test_admins_read_the_answers_the_newest_first_with_the_orders_reference(w, g, admin):
    await g.came()
    await g.says("2", "Cold coffee.\nAnd <i>late</i>.")
    put(w, 1, 5, words="", at=w.hub.desk.now() - 3600)
    page = await admin.get("/manage/answers")
    reference = w.db.read(lambda tx: records.order(tx, g.order_id)).reference
    assert f"2 of 5 Cold coffee. And <i>late</i>. Bedford, order {reference}" in page.words and "<i>" not in page.text
    assert page.words.index("2 of 5 Cold") < page.words.index("5 of 5 Nothing written.")
    assert "3.5 of 5 50% gave 4 or 5. 2 answers in the last 90 days." in page.words
    assert page.headers["cache-control"] == "no-store" and page.links("^/manage/answers$")


async def test_who_reads_what_guests_wrote_stands_in_the_journal(w, admin):
    read = lambda: [(what, ref) for _, _, what, ref, _ in w.db.read(lambda tx: records.journal_of(tx, "")) if "survey" in what]  # noqa: E731
    put(w, 1, 5)
    await admin.get("/manage/answers")
    assert read() == [], "a number is nobody's words"
    put(w, 2, 1, words="Mine."), put(w, 3, 2)
    await admin.get("/manage/answers")
    assert read() == [("read survey answers", "1 from order-0003 on")]


async def test_where_that_cannot_be_noted_the_words_are_not_shown(w, admin, monkeypatch):
    put(w, 1, 1, words="Mine.")

    async def full(*_):
        raise Unavailable("The disk is full.")

    monkeypatch.setattr(w.db, "write", full)
    page = await admin.get("/manage/answers")
    assert "Mine." not in page.text and "cannot be noted" in page.words and "1.0 of 5" in page.words


async def test_older_answers_follow_page_by_page(w, admin):
    for n in range(2 * PAGE_ROWS + 1):
        put(w, n, 3, words=f"Number {n}.", at=NOON - n // 2)
    seen, address = [], "/manage/answers"
    for _ in range(3):
        page = await admin.get(address)
        seen += [n for n in range(2 * PAGE_ROWS + 1) if f"Number {n}." in page.text]
        (address,) = page.links("before=") or [""]
    assert address == "" and sorted(seen) == list(range(2 * PAGE_ROWS + 1)) and "Earlier answers" in page.words


@pytest.mark.parametrize("before", ["nonsense", "~", "-1~order-1", "9" * 40 + "~x", "1~" + "x" * 400])
async def test_an_address_that_says_nothing_shows_the_newest_with_a_sentence(w, admin, before):
    put(w, 1, 3, words="Here.")
    page = await admin.get(f"/manage/answers?before={before}")
    assert page.status == 400 and "Here." in page.words and "does not say where to go on" in page.words


async def test_nobody_but_an_admin_sees_them(w):
    put(w, 1, 1, words="Mine.")
    page = await Visitor(w).get("/manage/answers")
    assert page.heading == "Sign in" and "Mine." not in page.text
    answer = await w.client.get("/manage/answers", headers={"authorization": f"Bearer {w.key}"})
    assert answer.status_code == 401 and "Mine." not in answer.text


# ---- what is kept
async def test_an_answer_is_let_go_of_after_four_hundred_days_with_all_that_is_forgotten(w):
    put(w, 1, 5, words="Mine.")
    w.db.write_now(lambda tx: kept.forget(tx, NOON + surveys.KEPT_S))
    assert len(w.db.read(lambda tx: surveys.newest(tx, None, 10))) == 1
    assert w.db.write_now(lambda tx: kept.forget(tx, NOON + surveys.KEPT_S + 1)) == 1
    assert w.db.read(lambda tx: surveys.newest(tx, None, 10)) == []


def test_books_of_before_get_the_new_tables_and_keep_what_they_have():
    before = [step for step in schema.STEPS if step.__name__ < "m005"]
    db: InlineWriter = books(*ledger_schema.STEPS, *before)
    db.write_now(
        lambda tx: tx.run("INSERT INTO push_subscriptions (id, customer_id, doc, at) VALUES ('s-1', 'c-1', '{}', 1)")
    )  # fmt: skip
    schema.m005_surveys(Tables(db._c))
    assert db.read(lambda tx: kept.subscription(tx, "s-1")) == "{}"
    assert db.read(lambda tx: kept.subscriptions(tx, "order-1")) == [], "whoever asked for a customer asked for no order"
    assert [step.__name__ for step in schema.STEPS] == sorted(step.__name__ for step in schema.STEPS)
