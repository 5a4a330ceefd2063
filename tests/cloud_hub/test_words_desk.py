"""The operator's own words as a service: what is refused and why, what two admins at once are told, previews, tests by the real channels, journal."""

import asyncio
import re

import msgspec
import pytest

from cloud_hub.services.admins import Admin
from cloud_hub.services.texts import Texts
from cloud_hub.services.wording import FACTS, PIECES, Wording
from cloud_hub.services.words_desk import BY_KEY, TO_ADDRESS, Text, Which, WordsDesk, masked, name_of
from cloud_hub.store import notifications as people
from cloud_hub.store import texts as kept
from shared import sms_text
from shared.errors import Refused
from shared.ledger import records, work
from shared.model import Facility
from shared.notifications import CHANNELS, EVENTS, LANGUAGES
from shared.outcomes import Later, Never, Unknown
from tests.cloud_hub.hub_world import NOON, SITE, HubWorld
from tests.cloud_hub.test_notifying import Told, told_by

SMS, MAIL, PUSH = (Which("confirmed", channel, "en") for channel in ("sms", "mail", "push"))
ANA, BEN = Admin("key-1", "Testa Birdie"), Admin("key-2", "Mocka Eagle")
OWN = Text("Come to {{ facility }}, {{ bays }}.")
ONCE = "press-0001"


@pytest.fixture
async def t(tmp_path, monkeypatch):
    async with told_by(tmp_path, monkeypatch) as told:
        yield told


def desk(w: HubWorld) -> WordsDesk:
    return w.app.litestar.state["words"]


async def refused(coroutine) -> Refused:
    with pytest.raises(Refused) as caught:
        await coroutine
    return caught.value


def sentences(no: Refused) -> list[str]:
    return [one.detail for one in no.refusal.violations]


def journal(w: HubWorld, site_id: str = "") -> list[tuple[str, str, str, str]]:
    """`(who, what, of what, more)`, the latest first."""
    return [row[1:] for row in w.db.read(lambda tx: records.journal_of(tx, site_id)) if "text" in row[2]]


# ---- what an address names
@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("confirmd", "sms", "en"), "There is no message 'confirmd'; there are confirmed, moved, cancelled"),
        (("confirmed", "fax", "en"), "There is no channel 'fax'; there are sms, mail, push, app."),
        (("confirmed", "sms", "de"), "There is no language 'de'; there are en, fr."),
        (("confirmed", "sms", "en", "", "tournament"), "There is no kind of order 'tournament'; there are single, group, series."),
        (("confirmed", "sms", "en", "atlantis"), "There is no facility 'atlantis' here"),
        (("<script>" * 99, "sms", "en"), "There is no message '<script><script>"),
    ],
)
def test_what_there_is_not_is_told_with_what_there_is(w, asked, said):
    with pytest.raises(Refused) as caught:
        desk(w).which(*asked)
    assert caught.value.refusal.code == "not_found" and caught.value.refusal.detail.startswith(said)
    assert len(caught.value.refusal.detail) < 200


async def test_a_text_of_a_facility_that_is_no_more_can_still_be_reached_and_put_back(w):
    gone = SMS._replace(site_id="atlantis")
    await desk(w).save(gone, OWN, 0, ANA)
    assert desk(w).which(*gone) == gone
    assert not (await desk(w).put_back(gone, 1, ANA)).active


# ---- keeping
async def test_a_text_is_used_from_the_commit_on_and_the_journal_says_who_saved_it(w):
    saved = await desk(w).save(SMS._replace(site_id=SITE), OWN, 0, ANA)
    assert (saved.version, saved.active, saved.actor, saved.at) == (1, True, "Testa Birdie (key-1)", NOON)
    assert [o.text for o in w.db.read(lambda tx: Texts().for_site(tx, SITE))] == [OWN.text]
    assert journal(w, SITE) == [("Testa Birdie (key-1)", "saved a text", f"confirmed/sms/en/{SITE}", "version 1")]


BAD = [
    (SMS, Text(""), "The text is empty."),
    (SMS, Text("{{ pinn }}"), "there is no value 'pinn' here; there are address"),
    (SMS, Text("{{ ''.__class__.__mro__[1].__subclasses__() }}"), "nothing can be called"),
    (SMS, Text("{{ self._TemplateReference__context }}"), "a value has no parts that could be looked into"),
    (SMS, Text("{% for a in range(10 ** 9) %}x{% endfor %}"), "a for goes through one of"),
    (SMS, Text("{% for a in ways %}{% for b in ways %}x{% endfor %}{% endfor %}"), "a for stands inside another"),
    (SMS, Text("{{ 'x' * 10 ** 9 }}"), "a template does not calculate"),
    (SMS, Text("{% include '/etc/passwd' %}"), "'include' is not for templates"),
    (SMS, Text("{% macro m() %}{{ m() }}{% endmacro %}"), "'macro' is not for templates"),
    (SMS, Text("{% if pin %}x"), "cannot be read"),
    (SMS, Text("x" * 600), "it is an SMS of 4 segments; 3 are allowed"),
    (SMS, Text("x", subject="y"), "An SMS has no subject."),
    (SMS, Text("x" * 1_000_000), "It has 1,000,000 characters; 20,000 are allowed."),
    (SMS, Text("{% if pin %}" * 2000 + "x" + "{% endif %}" * 2000), "characters; 20,000 are allowed"),
    (SMS, Text("{% if pin %}" * 600 + "x" + "{% endif %}" * 600), "nested too deeply"),
    (PUSH, Text("x", html="<p>y</p>"), "Only a mail has html."),
    (MAIL, Text("x", html="<script>alert(1)</script>"), "<script> is not for mails"),
    (MAIL, Text("x", html="<p onclick='x'>y</p>"), "<p> may not have 'onclick'"),
    (MAIL, Text("x", html="<a href='javascript:x'>y</a>"), "A link begins with https://"),
    (MAIL, Text("x", html="<p title={{ name }}>y</p>"), "A value stands in 'title'"),
    (MAIL, Text("x", html="</body><p>y</p>"), "ends what is not open"),
    (MAIL, Text("x", subject="{{ pin_card }}"), "there is no value 'pin_card'"),
    (MAIL, Text("x", subject="y" * 151), "151 characters long; 150 are allowed"),
]


async def test_what_cannot_be_used_is_not_kept_and_the_sentences_say_why(w):
    for which, draft, said in BAD:
        no = await refused(desk(w).save(which, draft, 0, ANA))
        told = sentences(no)
        assert no.refusal.code == "bad_request" and any(said.lower() in one.lower() for one in told), told
        assert all(one[0].isupper() and one.endswith(".") and len(one) < 500 for one in told)
        assert desk(w).own() == [] and desk(w).previews(which, draft) == [] and journal(w) == []


async def test_the_second_of_two_admins_is_told_and_neither_text_is_lost(w):
    await desk(w).save(SMS, Text("From Ana"), 0, ANA)
    no = await refused(desk(w).save(SMS, Text("From Ben"), 0, BEN))
    assert no.refusal.code == "illegal_move"
    assert no.refusal.detail.startswith("Testa Birdie (key-1) has meanwhile saved this text.")
    assert [one.version.text for one in desk(w).own()] == ["From Ana"]
    await desk(w).save(SMS, Text("From Ben"), 1, BEN)
    assert [one.text for one in desk(w).shown(SMS).versions] == ["From Ben", "From Ana"]


async def test_a_text_is_put_back_once_and_can_be_taken_up_again(w):
    await desk(w).save(SMS, OWN, 0, ANA)
    await desk(w).put_back(SMS, 1, BEN)
    shown = desk(w).shown(SMS)
    assert shown.own is None and shown.otherwise == Wording().default(*SMS[:3])
    assert [(one.version, one.what, one.actor) for one in shown.versions] == [(2, "put back", BEN.signed), (1, "saved", ANA.signed)]
    assert "no text of your own here that is in use" in (await refused(desk(w).put_back(SMS, 2, BEN))).refusal.detail
    await desk(w).save(SMS, OWN, 2, ANA)
    assert desk(w).shown(SMS).own.version.version == 3
    assert [row[1] for row in journal(w)] == ["saved a text", "put back a text", "saved a text"]


async def test_to_put_back_what_another_has_changed_is_refused(w):
    await desk(w).save(SMS, OWN, 0, ANA)
    await desk(w).save(SMS, Text("Newer"), 1, BEN)
    no = await refused(desk(w).put_back(SMS, 1, ANA))
    assert no.refusal.code == "illegal_move" and desk(w).shown(SMS).own.version.text == "Newer"


async def test_what_is_sent_otherwise_is_the_next_wider_text(w):
    narrow = SMS._replace(site_id=SITE, order_kind="group")
    await desk(w).save(SMS, Text("For all"), 0, ANA)
    await desk(w).save(SMS._replace(order_kind="group"), Text("For groups"), 0, ANA)
    assert desk(w).shown(narrow).closest == SMS._replace(order_kind="group")
    await desk(w).save(SMS._replace(site_id=SITE), Text("For Bedford"), 0, ANA)
    shown = desk(w).shown(narrow)
    assert (shown.otherwise.text, shown.closest) == ("For Bedford", SMS._replace(site_id=SITE))
    assert desk(w).shown(SMS).closest is None and len(desk(w).shown(SMS).near) == 2


async def test_a_text_that_an_update_makes_unusable_is_shown_with_the_reason(w):
    await desk(w).save(SMS, OWN, 0, ANA)
    w.db.write_now(lambda tx: tx.run("UPDATE texts SET body = '{{ what_was_once_known }}'"))
    (own,) = desk(w).own()
    assert "there is no value 'what_was_once_known' here" in own.wrong[0]


# ---- previews
def test_a_preview_has_the_facilitys_own_facts_and_tells_what_an_sms_costs(w):
    facility = Facility(id=SITE, name="Bedford Links", zone="America/Halifax", support_phone="902-555-0170", word="Bay", version=9)
    w.db.write_now(lambda tx: records.put_document(tx, "facility", SITE, SITE, 9, records.text(facility)))
    w.hub.houses._changed([("document", SITE)])
    usual, full, least = desk(w).previews(
        SMS._replace(site_id=SITE), Text("{{ facility }}, {{ bays }} {{ support_phone }}{% if dark %} dark{% endif %}")
    )
    assert (usual.name, full.name, least.name) == ("usual", "all", "least")
    assert (
        usual.words.text == "Bedford Links, Bay 2 902-555-0170"
        and full.words.text.endswith("dark")
        and least.words.text == "Bedford Links, Bay 2"
    )
    assert usual.measure == sms_text.segments(usual.words.text)


def test_one_character_outside_the_alphabet_is_seen_in_the_preview(w):
    (usual, *_) = desk(w).previews(SMS, Text("{{ facility }} ⛳ " + "x" * 60))
    assert (usual.measure.encoding, usual.measure.segments) == ("ucs2", 2)


@pytest.mark.parametrize("channel", CHANNELS)
def test_ours_can_be_previewed_and_saved_in_every_event_and_language(w, channel):
    for event in EVENTS:
        for language in LANGUAGES:
            which = Which(event, channel, language)
            ours = desk(w).shown(which).otherwise
            assert desk(w).check(which, ours) == []
            assert [bool(one.words.html) for one in desk(w).previews(which, ours)] == [channel == "mail"] * 3


def test_the_values_are_told_with_how_they_look_in_the_language(w):
    values = dict(desk(w).values(MAIL._replace(language="fr")))
    assert set(values) == {*FACTS, *PIECES} and values["when"] == "sam. 21 nov., 18h à 19h30" and values["dark"] == "yes"
    assert set(dict(desk(w).values(SMS))) == set(FACTS)


# ---- tests by the real channels
async def sent(t: Told, which=SMS, draft=OWN, to="902-555-0150", once=ONCE, admin=ANA) -> work.Work:
    row = await desk(t.w).send_test(which, draft, to, once, admin)
    await t.done()
    return row


def state(t: Told, row: work.Work) -> work.Work:
    return t.w.db.read(lambda tx: work.one(tx, row.id))


async def test_a_test_goes_by_the_real_channel_marked_as_a_test_and_is_seen_as_a_work_row(t):
    row = await sent(t)
    (letter,) = t.sms.letters
    assert (letter.to, letter.text, letter.key) == ("+19025550150", "TEST Come to Sampleton, Box 2.", row.mark)
    assert (row.kind, row.lane, row.subject, state(t, row).state) == ("test", "twilio", "confirmed/sms/en", "sent")
    assert letter.expires_at == NOON + 3600
    assert journal(t.w) == [(ANA.signed, "sent a test of a text", row.id, "confirmed/sms/en to …0150")]
    assert "9025550150" not in str(journal(t.w))


async def test_a_test_of_a_mail_says_so_in_the_subject_the_text_and_the_page(t):
    draft = Text("Bonjour.\n\n{{ pin_card }}", "Réservé", "<p>Bonjour</p>")
    await sent(t, MAIL._replace(language="fr", site_id=SITE), draft, " Testa@Example.test ")
    (letter,) = t.mail.letters
    assert letter.to == "testa@example.test" and letter.subject == "[Essai] Réservé"
    assert letter.text.startswith("Ceci est un essai de ce texte.") and re.search(r"<body[^>]*><p [^>]*>Ceci est un essai", letter.html)
    assert journal(t.w, SITE)[0][3] == f"confirmed/mail/fr/{SITE} to t…@example.test"


async def test_pressing_twice_sends_once_and_another_draft_of_the_same_page_is_another_test(t):
    first, again = await sent(t), await sent(t)
    assert first.id == again.id and len(t.sms.letters) == 1 and len(journal(t.w)) == 1
    await sent(t, draft=Text("Another"))
    assert len(t.sms.letters) == 2


@pytest.mark.parametrize(
    ("which", "to", "draft", "code", "said"),
    [
        (SMS, "12", OWN, "bad_request", "A test goes to a telephone number"),
        (SMS, "testa@example.test", OWN, "bad_request", "A test goes to a telephone number"),
        (MAIL, "902-555-0150", OWN, "bad_request", "A test goes to a mail address"),
        (MAIL, "a@b\r\nBcc: c@example.test", OWN, "bad_request", "A test goes to a mail address"),
        (MAIL, "", OWN, "bad_request", "A test goes to a mail address"),
        (PUSH, "902-555-0150", OWN, "bad_request", "A test can be sent by SMS and by mail."),
        (SMS, "902-555-0150", Text("{{ pinn }}"), "bad_request", "This text cannot be used as it is."),
    ],
)
async def test_a_test_that_cannot_go_is_refused_with_a_sentence_and_leaves_no_row(t, which, to, draft, code, said):
    no = await refused(sent(t, which, draft, to))
    assert no.refusal.code == code and no.refusal.detail.startswith(said)
    assert t.rows() == [] and t.sent() == (0, 0)


async def test_without_a_vendor_for_it_no_test_can_be_sent(w):
    no = await refused(desk(w).send_test(SMS, OWN, "902-555-0150", ONCE, ANA))
    assert no.refusal.detail == "This hub has no vendor for SMS, so no test can be sent."


async def test_nobody_who_said_stop_gets_a_test_not_even_one_that_waits_already(t):
    t.sms.answers.append(Later("Busy.", 5))
    row = await sent(t)
    await t.w.db.write(lambda tx: people.suppress(tx, "sms", "+19025550150", "stop", "STOP", NOON))
    assert "This address is not written to" in (await refused(sent(t, once="press-0002"))).refusal.detail
    await t.wait(10)
    assert (state(t, row).state, state(t, row).code) == ("dropped", "suppressed") and len(t.sms.letters) == 1


async def test_tests_are_limited_by_key_and_by_address(t):
    for n in range(TO_ADDRESS.capacity):
        await sent(t, once=f"press-{n:04}")
    no = await refused(sent(t, once="press-9999"))
    assert (
        no.refusal.code == "too_many_requests"
        and "6 tests to this address within the hour" in no.refusal.detail
        and no.refusal.retry_after_s
    )
    for n in range(BY_KEY.capacity - TO_ADDRESS.capacity - 1):
        await sent(t, to=f"902-555-{n + 160:04}")
    assert "20 tests with this key" in (await refused(sent(t, to="902-555-0199"))).refusal.detail
    await sent(t, to="902-555-0199", admin=BEN)
    t.w.clock.forward(3600)
    await sent(t, once="press-later")


async def test_a_test_to_a_dead_address_is_over_alarms_nobody_and_is_not_written_to_again(t):
    t.sms.answers.append(Never("30006", "It is a landline.", dead_address=True))
    row = state(t, await sent(t))
    assert (row.state, row.code, row.reason) == ("dropped", "30006", "It is a landline.")
    assert t.w.db.read(lambda tx: people.suppressed(tx, "sms", "+19025550150")).why == "dead"
    assert t.w.app.litestar.state["work"].troubles() == []


async def test_a_test_whose_answer_was_lost_is_looked_up_and_not_sent_twice(t):
    t.sms.answers.append(Unknown("The answer was lost."))
    row = await sent(t)
    assert state(t, row).state == "unknown"
    await t.wait(60)
    await t.w.until(lambda: t.sms.looked > 0)
    assert len(t.sms.letters) == 1


async def test_a_test_that_is_tried_again_much_later_is_let_go(t):
    t.sms.answers.append(Never("21408", "Not this country."))
    row = await sent(t)
    t.w.clock.forward(3600)
    t.w.db.write_now(lambda tx: work.retry(tx, row.id, int(t.w.clock.now())))
    await t.done()
    assert (state(t, row).state, state(t, row).code) == ("dropped", "too_late") and len(t.sms.letters) == 1


async def test_a_page_that_is_not_whole_sends_nothing(t):
    assert "Please load it again" in (await refused(sent(t, once="x"))).refusal.detail and t.rows() == []


async def test_many_presses_at_once_send_one_letter(t):
    rows = await asyncio.gather(*(desk(t.w).send_test(SMS, OWN, "902-555-0150", ONCE, ANA) for _ in range(4)))
    await t.done()
    assert len({row.id for row in rows}) == 1 and len(t.sms.letters) == 1


# ---- names
def test_an_address_is_masked_for_the_journal():
    assert (masked("sms", "+19025550150"), masked("mail", "testa@example.test")) == ("…0150", "t…@example.test")


def test_a_text_has_a_short_name():
    assert name_of(SMS) == "confirmed/sms/en" and name_of(SMS._replace(order_kind="group")) == "confirmed/sms/en//group"


async def test_a_letter_is_written_in_the_operators_words_of_its_kind_and_faults_are_counted(w):
    """What a letter does with what is handed to it here, end to end."""
    cache, wording, facts = Texts(), Wording(), desk(w)._facts(SMS)
    await desk(w).save(SMS._replace(order_kind="group"), Text("{% if pin == '123456' or not pin %}x{% endif %}"), 0, ANA)
    await desk(w).save(SMS, Text("For all"), 0, ANA)
    other = msgspec.structs.replace(facts, pin="777777")

    def write(tx) -> str:
        words = wording.render("confirmed", "sms", "en", other, cache.for_site(tx, SITE), site_id=SITE, order_kind="group")
        cache.failed(tx, words.faults, NOON)
        return words.text

    assert w.db.write_now(write) == "For all"
    failing = {one.version.which: one.failing for one in desk(w).own()}
    assert failing[SMS] is None and failing[SMS._replace(order_kind="group")].times == 1
    assert w.db.read(kept.failing)[0].why == "The text came out empty."
