"""Facility notices at the hub (B22): written, looked at and ended on the admins' page; seen by guests on every page, and by programs."""

import html
from datetime import UTC, datetime

import pytest

from shared.ledger import notices, streams
from shared.model import Notice
from tests.cloud_hub.hub_world import NOON, SITE, HubWorld
from tests.cloud_hub.visitor import Page, Visitor

DAY_S = 86_400
DOOR = "The front door sticks: pull it <b>hard</b>."
DOOR_FR = "La porte colle : tirez fort."


@pytest.fixture
async def v(w):
    """An admin who is signed in."""
    visitor = Visitor(w)
    form = (await visitor.get("/manage/sign-in")).form("/manage/sign-in")
    await visitor.send(form, key=await w.new_key("admin"))
    yield visitor


def told(
    w: HubWorld, text: str = DOOR, level: str = "warning", notice_id: str = "notice-door-1", until_at: int = NOON + DAY_S, **more
) -> Notice:
    one = Notice(id=notice_id, site_id=SITE, level=level, text=text, from_at=NOON, until_at=until_at, **more)
    return w.db.write_now(lambda tx: notices.state(tx, w.hub.desk, one))


def standing(db) -> list[Notice]:
    return list(db.read(lambda tx: notices.upcoming(tx, SITE, NOON)))


async def filled(v: Visitor, **values: str) -> Page:
    """The form as somebody sends it, to look at the notice first."""
    form = (await v.get("/manage/notices")).form("/manage/notices")
    usual = {"text": DOOR, "level": "warning", "until_day": "2026-11-22", "until_clock": "18:00", "do": "look"}
    return await v.send(form, **{**usual, **values})


# ---- the admins' page
async def test_a_notice_is_looked_at_then_shown_here_and_at_the_facility(w, v):
    look = await filled(v, text_fr=DOOR_FR)
    assert (
        "This is what guests will see" in look.words
        and DOOR in look.words
        and "until Sun 22 Nov 2026, 18:00 by its own clock" in look.words
    )
    assert standing(w.db) == [], "looking writes nothing"
    done = await v.send(next(form for form in look.forms if form.buttons == [("do", "write")]), do="write")
    assert "shown from now on" in done.words and done.status == 200
    [one] = standing(w.db)
    assert (one.level, one.text, one.text_fr, one.site_id) == ("warning", DOOR, DOOR_FR, SITE) and "a program" in one.by
    assert datetime.fromtimestamp(one.until_at, UTC) == datetime(2026, 11, 22, 22, 0, tzinfo=UTC), "18:00 in Halifax"
    await w.quiet()
    assert standing(w.site.db) == [one]
    assert "<b>hard</b>" not in done.text and html.escape(DOOR) in done.text


async def test_sent_twice_it_is_one_notice_and_gone_back_to_and_changed_it_is_another(w, v):
    look = await filled(v)
    sent = next(form for form in look.forms if form.buttons == [("do", "write")])
    await v.send(sent, do="write")
    await v.send(sent, do="write")
    assert len(standing(w.db)) == 1
    other = await v.send(sent, do="write", text="The roof leaks.")
    assert other.status == 409 and "shown already" in other.words and len(standing(w.db)) == 1
    await v.send(other.form("/manage/notices"), do="write", text="The roof leaks.")
    assert len(standing(w.db)) == 2


async def test_one_is_ended_by_a_press_whoever_wrote_it(w, v):
    at_site = Notice(
        id="notice-site-1", site_id=SITE, level="critical", text="Fire drill at noon.", from_at=NOON, until_at=NOON + DAY_S, by="sam"
    )
    w.site.db.write_now(lambda tx: notices.state(tx, w.site.desk, at_site))
    await w.quiet()
    page = await v.get("/manage/notices")
    assert "Fire drill at noon." in page.words and "by sam" in page.words
    done = await v.send(page.form("/end"))
    assert "not shown any more" in done.words and standing(w.db) == []
    await w.quiet()
    assert standing(w.site.db) == []
    again = await v.client.post(f"/manage/notices/{SITE}/notice-none/end", content="")
    assert again.status_code == 403, "without the page's token nothing is ended"


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"text": "   "}, "Please write what guests must know."),
        ({"text": "x" * 241}, "at most 240 characters"),
        ({"until_day": "2026-11-20"}, "A notice ends after now"),
        ({"until_day": "2028-01-01"}, "at most 366 days"),
        ({"until_day": "tomorrow"}, "Please say until which day"),
        ({"until_clock": ""}, "Please say until which day"),
        ({"until_day": "0001-01-01"}, "between the years 2020 and 2100"),
        ({"site": "halifax"}, "not known here"),
    ],
)
async def test_what_makes_no_sense_is_said_in_a_sentence_and_what_was_typed_stays(w, v, wrong, sentence):
    page = await filled(v, text_fr=DOOR_FR, **wrong)
    assert page.status in (400, 404, 422) and sentence in page.words and DOOR_FR in page.words and standing(w.db) == []


@pytest.mark.parametrize("wrong", [{"level": "shouted"}, {"do": "burn"}, {"notice_id": "x"}, {"colour": "red"}])
async def test_a_form_that_is_none_of_ours_is_refused(w, v, wrong):
    assert (await filled(v, **wrong)).status == 400 and standing(w.db) == []


async def test_more_than_so_many_at_a_time_are_refused_with_a_sentence(w, v):
    for n in range(notices.OPEN_MAX):
        told(w, notice_id=f"notice-no-{n:04d}")
    look = await filled(v)
    full = await v.send(next(form for form in look.forms if form.buttons == [("do", "write")]), do="write")
    assert full.status == 409 and "at most 20 notices" in full.words


async def test_nobody_without_a_session_reads_or_writes(w):
    stranger = Visitor(w)
    assert (await stranger.get("/manage/notices")).heading == "Sign in"
    sent = await stranger.client.post("/manage/notices", content="text=x")
    assert (sent.status_code, sent.headers["location"]) == (303, "/manage/sign-in") and standing(w.db) == []


async def test_a_dark_facility_gets_it_after_the_cut(w, v):
    w.cut()
    await w.until(lambda: not w.hub.links.up(SITE))
    look = await filled(v)
    await v.send(next(form for form in look.forms if form.buttons == [("do", "write")]), do="write")
    assert len(standing(w.db)) == 1 and standing(w.site.db) == []
    await w.heal()
    assert len(standing(w.site.db)) == 1


async def test_the_timer_tells_what_an_older_facility_could_not_be_told(w):
    w.db.write_now(lambda tx: tx.run("UPDATE streams SET peer_schema = 2"))
    told(w)
    assert await w.hub.notices.tick() == 0 and w.db.read(lambda tx: streams.waiting(tx, SITE))[0] == 0
    w.db.write_now(lambda tx: tx.run("UPDATE streams SET peer_schema = 3"))
    assert await w.hub.notices.tick() == 1 and await w.hub.notices.tick() == 0
    await w.quiet()
    assert len(standing(w.site.db)) == 1


# ---- guests
async def test_a_guest_reads_it_on_every_page_of_the_way(w):
    told(w, text_fr=DOOR_FR)
    guest = Visitor(w)
    places, times = await guest.get("/book"), await guest.times()
    details = await guest.press(40)
    order = await guest.send(
        details.form(r"/book/hold/[^/]+"), name="Testa Birdie", phone="902-555-0101", email="testa@example.test", do="book"
    )
    for page in (places, times, details, order):
        assert f"Please note {DOOR}" in page.words and 'role="status"' in page.text and 'lang="fr"' in page.text, page.address
        assert html.escape(DOOR) in page.text and "<b>hard" not in page.text
        assert page.text.count("icon-warn") >= 1


async def test_the_level_is_a_word_an_icon_and_a_role(w):
    for level, word, icon, role in (("critical", "Important", "stop", "alert"), ("info", "Good to know", "info", "status")):
        told(w, level=level, notice_id=f"notice-{level}", text="Bring a jacket.")
        page = await Visitor(w).times()
        assert f"{word} Bring a jacket." in page.words and f"icon-{icon}" in page.text and f'{level}" role="{role}"' in page.text


async def test_at_most_four_are_shown_the_most_urgent_first_and_none_after_its_time(w):
    for n in range(5):
        told(w, notice_id=f"notice-no-{n:04d}", text=f"Number {n}.", level="critical" if n == 4 else "info")
    page = await Visitor(w).times()
    assert page.text.count('class="announcement ') == 4 and page.words.index("Number 4.") < page.words.index("Number 0.")
    w.clock.forward(DAY_S)
    assert "Number" not in (await Visitor(w).times()).words


async def test_an_order_that_is_over_or_cancelled_says_nothing_of_doors(w):
    told(w)
    guest = Visitor(w)
    order = await guest.booked(40)
    cancel = await guest.get(order.links("/cancel")[0])
    gone = await guest.send(cancel.form("/cancel"))
    assert gone.heading.startswith(("Cancelled", "Your cancellation")) and DOOR not in gone.words


# ---- programs
async def test_programs_get_them_with_the_facility(w):
    told(w, text_fr=DOOR_FR)
    told(w, notice_id="notice-door-2", level="critical", text="Fire drill at noon.")
    [site] = (await w.get("/sites")).json()["sites"]
    first, second = site["notices"]
    assert (first["level"], first["text"], first["text_fr"]) == ("critical", "Fire drill at noon.", "")
    assert second == {
        "id": "notice-door-1", "level": "warning", "text": DOOR, "text_fr": DOOR_FR, "since": "2026-11-21T16:00:00Z", "until": "2026-11-22T16:00:00Z"
    }  # fmt: skip
    assert (await w.get(f"/sites/{SITE}")).json()["notices"] == site["notices"]
