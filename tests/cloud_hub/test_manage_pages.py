"""The admins' pages of work rows, without a script: how it goes, finding a row, reading its letter, trying it again; and what health and metrics say."""

import html

import msgspec
import pytest

from cloud_hub.ports import Letter
from cloud_hub.services.outgoing import Told
from cloud_hub.services.work_desk import AWAY_S, PAGE_ROWS, STATES
from cloud_hub.web.manage import words
from shared.errors import Unavailable
from shared.ledger import records, work
from shared.ledger.work import Work
from shared.ledger.worker import LaneState
from tests.cloud_hub.hub_world import NOON, SITE, HubWorld
from tests.cloud_hub.visitor import Page, Visitor

TEXT = "Bedford: Box 1, Sat 21 Nov, 18:00. PIN 123 456 <b>"


@pytest.fixture
async def v(w):
    """An admin who is signed in."""
    visitor = Visitor(w)
    form = (await visitor.get("/manage/sign-in")).form("/manage/sign-in")
    assert (await visitor.send(form, key=await w.new_key("admin"))).heading == "Work"
    yield visitor


def put(w: HubWorld, row_id: str = "confirmed|order-1|sms", **more) -> Work:
    values = {"kind": "message", "lane": "twilio", "site_id": SITE, "subject": "order-1", "who": "guest-1", "created_at": NOON}
    if more.get("state") in ("taken", "unknown", "sent"):  # not yet for the worker to look into
        values |= {"next_at": NOON + 300, "lease_at": NOON + 300}

    def write(tx) -> Work:
        work.put(tx, Work(**{"id": row_id, **values, **more}))
        return work.one(tx, row_id)

    return w.db.write_now(write)


def body(text: str = TEXT, **more) -> str:
    letter = Letter(**{"key": "k", "to": "+19025550101", "text": text, **more})
    return msgspec.json.encode(Told(event="confirmed", order_id="order-1", bookings=("b-1",), channel="sms", letter=letter)).decode()


def stuck(w: HubWorld, row_id: str = "confirmed|order-1|sms", **more) -> Work:
    usual = {"state": "stuck", "code": "21610", "reason": "The number is not in service.", "tries": 3, "body": body()}
    return put(w, row_id, **{**usual, **more})


def vendors(w: HubWorld, *states: LaneState) -> None:
    """Has the worker say this of its lanes."""
    w.app.litestar.state["work"]._states = lambda: list(states)


def now(w: HubWorld, row: Work) -> Work:
    return w.db.read(lambda tx: work.one(tx, row.id))


def journal(w: HubWorld) -> list[tuple[str, str, str]]:
    """`(what, of which row, why)` of the site, the latest first."""
    return [(what, ref, why) for _, _, what, ref, why in w.db.read(lambda tx: records.journal_of(tx, SITE)) if ref.startswith("confirmed")]


def shown(page: Page) -> list[str]:
    return page.links(r"^/manage/work/[\w-]{32}$")


# ---- the list
async def test_an_empty_hub_has_nothing_to_show_and_says_so(v):
    page = await v.get("/manage/work")
    assert "Nothing found No row is like this." in page.words and shown(page) == []


async def test_rows_are_counted_by_vendor_and_state_and_lead_to_themselves(w, v):
    put(w, "a"), put(w, "b"), stuck(w, "c"), put(w, "d", lane="smtp", state="done")
    page = await v.get("/manage/work")
    assert "SMS by Twilio" in page.words and "Mail by SMTP" in page.words and 'title="twilio"' in page.text
    assert "1 Stuck 2 Waiting" in page.words and "1 Done" in page.words
    (address,) = page.links("state=stuck&amp;lane=twilio")
    narrowed = await v.get(address)
    assert shown(narrowed) == [f"/manage/work/{work.mark_of('c')}"] and "The number is not in service." in narrowed.words


async def test_what_waits_longest_is_told(w, v):
    put(w, "a", due_at=NOON - 200)
    assert "Something has been due for 3 min." in (await v.get("/manage/work")).words


@pytest.mark.parametrize(
    ("lane", "said"),
    [
        (LaneState("twilio", 2, 0.0, ""), "SMS by Twilio No trouble."),
        (LaneState("twilio", 0, 0.0, "It timed out."), "Its last try failed: It timed out."),
        (LaneState("twilio", 0, NOON + 90.0, "The key is refused.", NOON - 300.0), "Left alone for 5 min. It is asked again in 1 min. The key is refused."),
        (LaneState("twilio", 1, 0.0, "It timed out.", NOON - 7200.0), "Left alone for 2 h. One thing at a time is tried. It timed out."),
    ],
)
async def test_each_vendor_is_told_with_its_breaker(w, v, lane, said):
    vendors(w, lane)
    assert said in (await v.get("/manage/work")).words


async def test_a_vendor_with_rows_that_nobody_works_for_is_told(w, v):
    put(w, "a", lane="pigeon")
    assert "Pigeon No channel of this hub works in it, so nothing of it is done." in (await v.get("/manage/work")).words


async def test_a_search_finds_by_booking_customer_and_reason_and_stays_in_its_field(w, v):
    put(w, "a", subject="order-7"), put(w, "b", who="guest-9"), stuck(w, "c")
    for text, row_id in (("order-7", "a"), ("guest-9", "b"), ("not in service", "c")):
        page = await v.get(f"/manage/work?text={text}")
        assert shown(page) == [f"/manage/work/{work.mark_of(row_id)}"]
        assert ("text", text) in page.form("/manage/work", "get").fields
    assert "Nothing found" in (await v.get("/manage/work?text=%25")).words


async def test_a_hundred_rows_make_a_page_and_older_ones_follow_in_the_same_search(w, v):
    for n in range(PAGE_ROWS + 5):
        put(w, f"row-{n:03}", created_at=NOON - n // 2, lane="a+b" if n else "c")
    first = await v.get("/manage/work?lane=a%2Bb&text=row-")
    (older,) = first.links("before=")
    second = await v.get(older)
    assert (len(shown(first)), len(shown(second))) == (PAGE_ROWS, 4) and not set(shown(first)) & set(shown(second))
    assert second.links("before=") == [] and ("lane", "a+b") in second.form("/manage/work", "get").fields


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("state=lost", "There is no such state, so all are shown."),
        ("lane=nobody", "Nothing is sent by a vendor of this name, so all are shown."),
        ("before=yesterday", "does not say where to go on"),
        ("before=" + "9" * 30 + "~a", "does not say where to go on"),
        ("before=1~" + "a" * 301, "does not say where to go on"),
        ("text=" + "a" * 101, "at most 100 characters"),
    ],
)
async def test_an_address_that_makes_no_sense_is_told_beside_the_rows(w, v, query, said):
    put(w, "a")
    page = await v.get(f"/manage/work?{query}")
    assert page.status == 400 and said in page.words and page.heading == "Work"


async def test_what_is_shown_is_escaped(w, v):
    row = stuck(w, "confirmed|<script>alert(1)</script>", subject='"><img src=x>', reason="<i>no</i>")
    for address in ("/manage/work", f"/manage/work/{row.mark}", "/manage/work?text=%3Cscript%3E"):
        page = await v.get(address)
        assert "<script>" not in page.text and "<img" not in page.text and "<i>no" not in page.text and "<b>" not in page.text


# ---- one row
async def test_a_row_is_told_in_full(w, v):
    row = stuck(w, ref="SM77", rank=5, due_at=NOON - 7260, until_at=NOON + 120, since_at=NOON - 60, created_at=NOON - 3 * 86_400)
    page = await v.get(f"/manage/work/{row.mark}")
    assert page.heading == "Confirmation by SMS, Bedford" and "Id confirmed|order-1|sms" in page.words
    for said in (
        "Stuck", "nothing more happens before a person has it tried again", "The number is not in service.", "What message",
        "Way SMS by Twilio (twilio)", "Facility Bedford", "About order-1", "For guest-1", "Code 21610", "Tries 3", "Due Sat 21 Nov 2026, 13:59:00 UTC (2 h ago)",
        "Worth nothing after Sat 21 Nov 2026, 16:02:00 UTC (in 2 min)", "First handed over Sat 21 Nov 2026, 15:59:00 UTC (1 min ago)",
        "Written down Wed 18 Nov 2026, 16:00:00 UTC (3 days ago)", f"Our name for it at the vendor {row.mark}", "The vendor's name for it SM77", "Rank 5",
    ):  # fmt: skip
        assert said in page.words, said


@pytest.mark.parametrize("state", STATES)
async def test_a_row_in_any_state_has_a_page_and_only_an_undone_one_can_be_tried_again(w, v, state):
    row = put(w, state=state, **({"next_at": NOON + 300} if state == "waiting" else {}), body=body())
    page = await v.get(f"/manage/work/{row.mark}")
    assert page.status == 200 and words.STATES[state][1] in page.words
    assert ("Try again" in page.words) == (state in ("stuck", "dropped"))
    assert ("(in 5 min)" in page.words) == (state in words.NEXT or state == "taken")


async def test_the_letter_is_shown_as_it_was_sent_and_its_reading_is_noted(w, v):
    row = stuck(w, since_at=NOON, body=body(subject="Your booking"))
    page = await v.get(f"/manage/work/{row.mark}")
    assert html.escape(TEXT) in page.text and "To +19025550101" in page.words and "Subject Your booking" in page.words
    assert journal(w) == [("read a letter", row.id, "")]


async def test_a_push_does_not_show_its_subscriptions_keys(w, v):
    row = stuck(w, body=body(to='{"endpoint": "https://push.example.test/1", "keys": {"auth": "secret"}}'))
    page = await v.get(f"/manage/work/{row.mark}")
    assert "a browser that wants to be told" in page.words and "secret" not in page.text


@pytest.mark.parametrize("text", ["", "not json", "[]", '{"letter": 7}', '{"letter": null, "event": "confirmed"}'])
async def test_a_row_without_a_letter_is_shown_with_what_it_has_and_nothing_is_noted(w, v, text):
    row = stuck(w, body=text)
    page = await v.get(f"/manage/work/{row.mark}")
    assert page.status == 200 and "No letter" in page.words and html.escape(text, quote=False) in html.unescape(page.text).replace("&", "&amp;")
    assert journal(w) == []


async def test_without_a_note_in_the_journal_no_letter_is_shown(w, v, monkeypatch):
    row = stuck(w)

    async def full(fn):
        raise Unavailable("The books could not be written: database or disk is full")

    with monkeypatch.context() as m:
        m.setattr(w.db, "write", full)
        page = await v.get(f"/manage/work/{row.mark}")
    assert page.status == 200 and "cannot be noted just now who read it" in page.words and "PIN" not in page.text
    assert "The number is not in service." in page.words


@pytest.mark.parametrize("mark", ["m" * 32, "x", "%20", "é", "confirmed|order-1|sms"])
async def test_a_row_that_is_not_there_is_told_in_the_frame_of_these_pages(w, v, mark):
    stuck(w)
    page = await v.get(f"/manage/work/{mark}")
    assert page.status == 404 and "There is no such work here" in page.words and page.links("/manage/work$")
    assert (await v.get("/manage/nowhere")).status == 404


# ---- trying again
async def test_a_stuck_row_is_tried_again_and_the_journal_says_by_whom(w, v):
    row = stuck(w, until_at=NOON - 5)
    page = await v.get(f"/manage/work/{row.mark}")
    after = await v.send(page.form("/retry"))
    again = now(w, row)
    assert (again.state, again.tries, again.until_at, again.next_at) == ("waiting", 0, 0, NOON)
    assert "It is tried again from now on." in after.words and after.status == 200 and "Try again" not in after.words
    assert ("had it tried again", row.id, "21610") in journal(w)
    ((actor,),) = w.db.read(lambda tx: tx.all("SELECT DISTINCT actor FROM journal WHERE what = 'had it tried again'"))
    assert actor.startswith("a program (key-")


async def test_a_row_that_may_have_been_done_needs_a_word_that_it_may_be_done_twice(w, v):
    row = stuck(w, code="unknown", reason="Nobody can tell whether it was done: the answer was lost.")
    form = (await v.get(f"/manage/work/{row.mark}")).form("/retry")
    no = await v.send(form)
    assert no.status == 400 and "Please confirm that it may be done twice." in no.words and now(w, row).state == "stuck"
    assert "had it tried again" not in str(journal(w))
    yes = await v.send(form, sure="yes")
    assert yes.status == 200 and now(w, row).state == "waiting"


@pytest.mark.parametrize("state", sorted(set(STATES) - {"stuck", "dropped"}))
async def test_what_is_under_way_or_done_is_not_tried_again(w, v, state):
    row = put(w, state=state)
    form = (await v.get(f"/manage/work/{stuck(w, 'other').mark}")).form("/retry")
    page = await v.post(f"/manage/work/{row.mark}/retry", form.filled())
    assert page.status == 409 and "There is nothing to try again" in page.words and now(w, row) == row


async def test_pressing_twice_tries_once(w, v):
    row = stuck(w)
    form = (await v.get(f"/manage/work/{row.mark}")).form("/retry")
    assert [(await v.send(form)).status for _ in range(2)] == [200, 409]
    assert [what for what, _, _ in journal(w)].count("had it tried again") == 1


async def test_a_row_that_is_gone_cannot_be_tried_again(w, v):
    form = (await v.get(f"/manage/work/{stuck(w).mark}")).form("/retry")
    assert (await v.post(f"/manage/work/{'m' * 32}/retry", form.filled())).status == 404


async def test_a_press_from_elsewhere_or_without_a_session_changes_nothing(w, v):
    row = stuck(w)
    assert (await v.post(f"/manage/work/{row.mark}/retry", [])).status == 403
    assert (await Visitor(w).post(f"/manage/work/{row.mark}/retry", [])).heading == "Sign in"
    assert (await v.post(f"/manage/work/{row.mark}/retry", (await v.get(f"/manage/work/{row.mark}")).form("/retry").filled(now="1"))).status == 400
    assert now(w, row).state == "stuck"


# ---- health and metrics
async def ready(w: HubWorld) -> dict:
    return (await w.client.get("/health/ready")).json()


async def test_stuck_work_makes_the_hub_degraded_until_somebody_has_seen_to_it(w, v):
    assert (await ready(w))["status"] == "ready"
    row = stuck(w)
    told = await ready(w)
    assert told["status"] == "degraded"
    said = "One thing that was to be done is stuck: a person must look at /manage/work?state=stuck."
    assert told["alarms"] == [{"code": "work_stuck", "text": said}]
    stuck(w, "another")
    assert "2 things that were to be done are stuck" in (await ready(w))["alarms"][0]["text"]
    w.db.write_now(lambda tx: (work.retry(tx, row.id, NOON), work.retry(tx, "another", NOON)))
    assert (await ready(w))["status"] == "ready"


async def test_a_vendor_that_is_away_for_long_makes_the_hub_degraded(w):
    vendors(w, LaneState("twilio", 0, NOON + 60.0, "The key is refused.", float(NOON)), LaneState("smtp", 0, 0.0, ""))
    w.clock.forward(AWAY_S)
    assert (await ready(w))["status"] == "ready"
    w.clock.forward(1)
    told = await ready(w)
    said = "twilio has been left alone for 10 minutes, and what it should do waits. The key is refused."
    assert (told["status"], told["alarms"]) == ("degraded", [{"code": "vendor_away", "text": said}])


async def metrics(w: HubWorld) -> str:
    return (await w.client.get("/metrics")).text


async def test_metrics_tell_of_rows_waiting_and_breakers_and_of_nobody(w):
    put(w, "a", due_at=NOON - 90), stuck(w)
    vendors(w, LaneState("twilio", 0, NOON + 60.0, "no", NOON - 60.0), LaneState("smtp", 0, 0.0, ""))
    text = await metrics(w)
    for line in (
        'clubos_work_rows{lane="twilio",state="stuck"} 1.0', 'clubos_work_rows{lane="twilio",state="waiting"} 1.0',
        'clubos_work_rows{lane="smtp",state="stuck"} 0.0', 'clubos_work_oldest_seconds{lane="twilio"} 90.0',
        'clubos_work_oldest_seconds{lane="smtp"} 0.0', 'clubos_work_breaker_open{lane="twilio"} 1.0', 'clubos_work_breaker_open{lane="smtp"} 0.0',
    ):  # fmt: skip
        assert line in text, line
    assert "902-555" not in text and "guest-1" not in text and "order-1" not in text


async def test_a_series_follows_its_rows_down(w):
    row = stuck(w, lane="pigeon")
    assert 'clubos_work_rows{lane="pigeon",state="stuck"} 1.0' in await metrics(w)
    w.db.write_now(lambda tx: work.retry(tx, row.id, NOON))
    text = await metrics(w)
    assert 'clubos_work_rows{lane="pigeon",state="stuck"} 0.0' in text and 'breaker_open{lane="pigeon"}' not in text
    w.db.write_now(lambda tx: tx.run("DELETE FROM work"))
    assert "pigeon" not in await metrics(w)


# ---- words
@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h"), (86_400, "24 h"), (172_799, "47 h"), (172_800, "2 days"), (10**7, "115 days")],
)
def test_a_span_has_one_unit(seconds, said):
    assert words.span(seconds) == said


def test_a_moment_is_said_with_its_zone_and_how_far_away_it_is():
    assert words.moment(NOON) == "Sat 21 Nov 2026, 16:00:00 UTC" and words.machine(NOON) == "2026-11-21T16:00:00Z"
    assert (words.away(NOON, NOON), words.away(NOON - 61, NOON), words.away(NOON + 61, NOON)) == ("now", "1 min ago", "in 1 min")


def test_every_state_has_its_words():
    assert set(words.STATES) == set(STATES) == set(words.ORDER)
