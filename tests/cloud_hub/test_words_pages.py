"""The pages of the operator's own words, without a script: finding a text, writing it, being refused without losing a letter, testing it."""

import html
import re

import pytest

from cloud_hub.services.admins import Admin
from cloud_hub.services.wording import FACTS, PIECES
from cloud_hub.services.words_desk import ORDER_KINDS, Text, Which
from cloud_hub.store import texts as kept
from cloud_hub.web.manage import words, words_of_texts
from shared.errors import Unavailable
from shared.ledger import records, work
from shared.ledger.work import Work
from shared.model import Order
from shared.notifications import CHANNELS, EVENTS, LANGUAGES
from tests.cloud_hub.hub_world import NOON, SITE, HubWorld
from tests.cloud_hub.test_notifying import Scripted, told_by
from tests.cloud_hub.visitor import Page, Visitor

SMS, MAIL = "/manage/texts/confirmed/sms/en", "/manage/texts/confirmed/mail/en"
OWN = "Come to {{ facility }}, {{ bays }}."
ANA = Admin("key-1", "Testa Birdie")


@pytest.fixture
async def v(w):
    yield await signed_in(w)


async def signed_in(w: HubWorld) -> Visitor:
    visitor = Visitor(w)
    form = (await visitor.get("/manage/sign-in")).form("/manage/sign-in")
    assert (await visitor.send(form, key=await w.new_key("admin"))).heading == "Work"
    return visitor


async def press(v: Visitor, do: str, address: str = SMS, page: Page | None = None, **fields: str) -> Page:
    """A button of the editor, with what was typed; what was in the text's field stays where nothing else is said."""
    page = page or await v.get(address)
    return await v.send(page.form(r"#said"), **{"text": field(page), "do": do, **fields})


def field(page: Page, name: str = "text") -> str:
    """What stands in a text area."""
    return html.unescape(re.search(rf'<textarea[^>]*name="{name}"[^>]*>\n?(.*?)</textarea>', page.text, re.S)[1])


async def save(w: HubWorld, which: Which, draft: Text, latest: int = 0) -> None:
    await w.app.litestar.state["words"].save(which, draft, latest, ANA)


def shown_latest(page: Page) -> str:
    return dict(page.form(r"#said").fields)["latest"]


# ---- all of them
async def test_every_message_is_there_in_every_channel_and_language(w, v):
    page = await v.get("/manage/texts")
    links = set(page.links("^/manage/texts/"))
    assert links == {f"/manage/texts/{event}/{channel}/{language}" for event in EVENTS for channel in CHANNELS for language in LANGUAGES}
    assert all(words_of_texts.EVENTS[event].name in page.words for event in EVENTS) and "Your own texts" not in page.words


async def test_own_texts_are_listed_with_whom_they_are_for_and_what_is_wrong_with_them(w, v):
    await save(w, Which("confirmed", "sms", "en", SITE, "group"), Text(OWN))
    await save(w, Which("reminder", "mail", "fr"), Text("Bonjour"))
    w.db.write_now(lambda tx: [kept.failed(tx, Which("reminder", "mail", "fr"), "The text came out empty.", NOON - n) for n in (120, 60)])
    page = await v.get("/manage/texts")
    assert "Confirmation by SMS, in English Version 1 by Testa Birdie (key-1) For Bedford, groups" in page.words
    assert "Reminder by mail, in French It could not be used 2 times since Sat 21 Nov 2026, 15:58:00 UTC, last 1 min ago" in page.words
    assert "English 1 own" in page.words and page.links(r"/manage/texts/confirmed/sms/en\?facility=bedford&amp;kind=group")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("/manage/texts/nothing/sms/en", "There is no message 'nothing'"),
        ("/manage/texts/confirmed/fax/en", "There is no channel 'fax'"),
        ("/manage/texts/confirmed/sms/xx", "There is no language 'xx'"),
        ("/manage/texts/confirmed/sms/en?facility=atlantis", "There is no facility 'atlantis' here"),
        ("/manage/texts/confirmed/sms/en?kind=party", "There is no kind of order 'party'"),
        ("/manage/texts/%3Cscript%3E/sms/en", "There is no message '<script>'"),
    ],
)
async def test_an_address_of_what_there_is_not_is_told_in_the_frame_of_these_pages(v, address, said):
    page = await v.get(address)
    assert page.status == 404 and said in page.words and "<script>" not in page.text and page.links("/manage/work$")
    assert (await v.post(address, [])).status in (403, 404)


# ---- one text
async def test_the_editor_begins_with_what_is_sent_and_tells_whose_it_is(w, v):
    page = await v.get(f"{SMS}?facility={SITE}&kind=series")
    assert page.heading == "Confirmation by SMS, in English" and "For Bedford, series, our text is sent." in page.words
    assert field(page).startswith("{{ facility }}: booked {{ bays }}")
    await save(w, Which("confirmed", "sms", "en"), Text(OWN))
    page = await v.get(f"{SMS}?facility={SITE}&kind=series")
    assert field(page) == OWN and "For Bedford, series, your text for all facilities is sent." in page.words
    page = await v.get(SMS)
    assert "your own text is sent: version 1, saved by Testa Birdie (key-1) now" in page.words and "Our text" in page.words


async def test_every_value_that_may_be_used_is_told_with_what_it_means(v):
    page = await v.get(MAIL)
    for name in (*FACTS, *PIECES):
        assert f"{{{{ {name} }}}} {words_of_texts.VALUES[name]}" in page.words, name
    assert "{{ pin_card }}" not in (await v.get(SMS)).words


async def test_a_text_is_checked_seen_saved_and_put_back(w, v):
    page = await press(v, "check", text="Hello {{ bays }} <b>")
    assert page.status == 200 and "It can be used as it is." in page.words and field(page) == "Hello {{ bays }} <b>"
    assert "Hello Box 2 &lt;b&gt;</pre>" in page.text and "15 of 160 characters, one segment" in page.words
    assert w.db.read(kept.active) == []
    page = await press(v, "save", page=page, text=OWN)
    assert page.status == 200 and "It is saved, and sent from now on." in page.words and page.address == f"{SMS}?saved=1"
    page = await press(v, "put_back", page=page)
    assert "Your text is put back" in page.words and w.db.read(kept.active) == []
    old = await v.get(page.links("version=1$")[0])
    assert field(old) == OWN and "This is version 1 again. It is sent once you have saved it." in old.words
    assert "in use" not in old.words and w.db.read(kept.active) == []


async def test_a_text_of_one_facility_and_kind_stays_there(w, v):
    page = await press(v, "save", f"{SMS}?facility={SITE}&kind=group", text=OWN)
    assert page.address == f"{SMS}?facility={SITE}&kind=group&saved=1"
    assert [one.which for one in w.db.read(kept.active)] == [Which("confirmed", "sms", "en", SITE, "group")]
    assert "Also your own: Bedford, groups" in (await v.get(SMS)).words


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "The text is empty."),
        ("{{ pinn }}", "there is no value 'pinn' here"),
        ("{{ name.__class__ }} </textarea><script>alert(1)</script>", "a value has no parts that could be looked into"),
        ("{% for a in range(9) %}{% endfor %}", "a for goes through one of"),
        ("é" * 150_000, "it has 150,000 characters; 20,000 are allowed."),
    ],
)
async def test_nothing_that_was_typed_is_lost_when_it_cannot_be_used(w, v, typed, said):
    w.hub.channels["sms"] = Scripted("sms", "twilio")
    for do in ("check", "save", "test"):
        page = await press(v, do, text=typed, to="902-555-0150")
        assert page.status == (200 if do == "check" else 400) and said in page.words, do
        assert field(page) == typed and "<script" not in page.text, do
        assert ("to", "902-555-0150") in page.form(r"#said").fields, do
        assert w.db.read(kept.active) == [] and "There is none, because this text cannot be used as it is." in page.words, do


async def test_the_browsers_line_ends_are_one_character_each(w, v):
    await press(v, "save", MAIL, text="One\r\n\r\nTwo", subject="Hello", html="")
    (saved,) = w.db.read(kept.active)
    assert (saved.text, saved.subject) == ("One\n\nTwo", "Hello")


async def test_a_text_that_begins_with_an_empty_line_keeps_it(w, v):
    await press(v, "save", MAIL, text="\nOne")
    assert "\n\nOne</textarea>" in (await v.get(MAIL)).text, "a browser leaves out the first line's end"


async def test_the_second_of_two_admins_sees_both_texts_and_decides(w, v):
    page = await v.get(SMS)
    await save(w, Which("confirmed", "sms", "en"), Text("From Ana"))
    checked = await press(v, "check", page=page, text="From me")
    assert shown_latest(checked) == "0", "whoever only looks has not seen the other's text"
    told = await press(v, "save", page=checked, text="From me")
    assert told.status == 409 and "Testa Birdie (key-1) has meanwhile saved this text" in told.words
    assert field(told) == "From me" and "What stands now Version 1 by Testa Birdie (key-1)" in told.words and "From Ana" in told.words
    assert (await press(v, "save", page=told, text="From me")).status == 200
    assert [one.text for one in w.db.read(lambda tx: kept.versions(tx, Which("confirmed", "sms", "en")))] == ["From me", "From Ana"]


async def test_a_text_that_cannot_be_used_does_not_hide_that_somebody_else_has_saved(w, v):
    page = await v.get(SMS)
    await save(w, Which("confirmed", "sms", "en"), Text("From Ana"))
    refused = await press(v, "save", page=page, text="{{ pinn }}")
    assert refused.status == 400 and shown_latest(refused) == "0"
    assert (await press(v, "save", page=refused, text="From me")).status == 409


async def test_books_that_take_no_writes_lose_no_text(w, v, monkeypatch):
    page = await v.get(SMS)

    async def full(fn):
        raise Unavailable("The books could not be written: the disk is full.")

    with monkeypatch.context() as m:
        m.setattr(w.db, "write", full)
        told = await press(v, "save", page=page, text=OWN)
    assert told.status == 503 and field(told) == OWN
    assert "It was not done: The books could not be written: the disk is full. What you have typed is still here" in told.words


@pytest.mark.parametrize("version", ["7", "x", "0", "9" * 30, "-1"])
async def test_a_version_that_is_not_there_is_told(v, version):
    page = await v.get(f"{SMS}?version={version}")
    assert page.status == 400 and "This version is not kept any more." in page.words and field(page).startswith("{{ facility }}")


async def test_a_form_that_is_not_ours_is_refused(w, v):
    page = await v.get(SMS)
    for wrong in ({"do": "burn"}, {"latest": "-1"}, {"latest": "many"}, {"more": "1"}, {"once": "x" * 65}):
        assert (await v.send(page.form("#said"), **{"text": OWN, "do": "save", **wrong})).status == 400
    assert (await v.post(SMS, [("text", OWN), ("do", "save")])).status == 403
    assert (await Visitor(w).get(SMS)).heading == "Sign in" and (await Visitor(w).post(SMS, [])).heading == "Sign in"
    assert w.db.read(kept.active) == []


# ---- a mail
async def test_the_page_of_a_mail_is_in_a_frame_without_rights_and_only_there_styles_are_allowed(v):
    page = await press(v, "check", MAIL, text="Hello", html='<p style="color:#123456">{{ name }}</p>')
    (frame, *_) = re.findall(r'<iframe class="mail" sandbox srcdoc="([^"]*)"', page.text)
    assert '<p style="color:#123456">Testa Birdie</p>' in html.unescape(frame) and "<p style" not in page.text
    policy = page.headers["content-security-policy"]
    assert "style-src 'self' 'unsafe-inline'" in policy and "script-src 'self';" in policy and "frame-ancestors 'none'" in policy
    for address in (SMS, "/manage/texts", "/manage/work"):
        assert "unsafe-inline" not in (await v.get(address)).headers["content-security-policy"]


async def test_html_that_could_do_harm_is_refused_and_shown_as_text(v):
    page = await press(v, "check", MAIL, text="Hello", html='</textarea><iframe src="https://x.example.test">')
    assert "is not for mails" in page.words and "<iframe src" not in page.text and "srcdoc" not in page.text
    assert field(page, "html") == '</textarea><iframe src="https://x.example.test">'


# ---- a test
async def test_a_test_is_sent_told_and_found_among_the_work(tmp_path, monkeypatch):
    async with told_by(tmp_path, monkeypatch) as t:
        v = await signed_in(t.w)
        page = await press(v, "test", text=OWN, to="902-555-0150")
        assert page.status == 200 and "The test is on its way." in page.words and field(page) == OWN
        assert ("to", "902-555-0150") in page.form(r"#said").fields
        await t.done()
        assert t.sms.letters[0].text == "TEST Come to Sampleton, Box 2."
        row = await v.get(page.links("^/manage/work/")[0])
        assert row.heading == "Test of words: Confirmation by SMS" and "TEST Come to Sampleton" in row.words
        no = await press(v, "test", text=OWN, to="nobody")
        assert no.status == 400 and "A test goes to a telephone number" in no.words and ("to", "nobody") in no.form(r"#said").fields


async def test_where_no_test_can_go_none_is_offered(v):
    page = await v.get("/manage/texts/confirmed/push/en")
    assert "Send a test" not in page.words and "Subject" in page.words


# ---- titles of rows
def put(w: HubWorld, row_id: str, **more) -> Work:
    row = Work(**{"id": row_id, "kind": "message", "lane": "twilio", "site_id": SITE, "created_at": NOON, **more})
    w.db.write_now(lambda tx: work.put(tx, row))
    return w.db.read(lambda tx: work.one(tx, row_id))


@pytest.mark.parametrize(
    ("row", "title"),
    [
        ({"body": '{"event":"confirmed","channel":"sms","order_id":"order-1"}'}, "Confirmation by SMS, Bedford, order K7QF2MX"),
        ({"kind": "plan", "body": '{"event":"check_in","order_id":"order-1"}'}, "Whom to tell: Door opens, Bedford, order K7QF2MX"),
        ({"subject": "order-1"}, "Bedford, order K7QF2MX"),
        ({"kind": "digest", "lane": "slack", "site_id": ""}, "Digest"),
        ({"kind": "crm_contact", "body": '{"event":"new_thing","channel":"hubspot"}'}, "Crm contact: new thing by hubspot, Bedford"),
        ({"body": "not json"}, "Bedford"),
        ({"body": '{"event": 7}', "site_id": ""}, "Work"),
    ],
)
async def test_a_row_has_a_title_that_a_person_can_read(w, v, row, title):
    order = Order(id="order-1", reference="K7QF2MX", site_id=SITE, customer_id="guest-1", channel="web")
    w.db.write_now(lambda tx: records.add_order(tx, order))
    made = put(w, "confirmed|order-1|sms", **row)
    assert f"<strong>{title}</strong>" in (await v.get("/manage/work")).text
    page = await v.get(f"/manage/work/{made.mark}")
    assert page.heading == title and "Id confirmed|order-1|sms" in page.words


async def test_what_people_call_an_order_finds_its_rows(w, v):
    w.db.write_now(
        lambda tx: records.add_order(tx, Order(id="order-1", reference="K7QF2MX", site_id=SITE, customer_id="guest-1", channel="web"))
    )
    row = put(w, "confirmed|order-1|sms", subject="order-1")
    put(w, "confirmed|order-2|sms", subject="order-2")
    assert (await v.get("/manage/work?text=k7qf2mx")).links(r"^/manage/work/[\w-]{32}$") == [f"/manage/work/{row.mark}"]


# ---- words
def test_whatever_there_is_has_its_words():
    assert (
        set(words_of_texts.EVENTS) == set(EVENTS)
        and set(words_of_texts.CHANNELS) >= set(CHANNELS)
        and set(words_of_texts.SHORT) == set(CHANNELS)
    )
    assert set(words_of_texts.LANGUAGES) == set(LANGUAGES) and set(words_of_texts.ORDER_KINDS) == set(ORDER_KINDS)
    assert set(words_of_texts.VALUES) == {*FACTS, *PIECES} and set(words_of_texts.PREVIEWS) == {"usual", "all", "least"}
    assert set(words.KINDS) >= {"plan", "message", "test"}


@pytest.mark.parametrize(
    ("units", "encoding", "segments", "said"),
    [
        (142, "gsm7", 1, "142 of 160 characters, one segment"),
        (200, "gsm7", 2, "200 of 306 characters, 2 segments"),
        (
            70,
            "ucs2",
            1,
            "70 of 70 characters, one segment; a character outside the plain alphabet makes each segment less than half as long",
        ),
    ],
)
def test_what_an_sms_costs_is_a_sentence(units, encoding, segments, said):
    assert words_of_texts.cost(units, encoding, segments) == said
