"""How a guest chooses by what, when and in which language they hear, below the link of their order; and that the choice holds."""

import msgspec
import pytest

from cloud_hub.ports import Inbound
from cloud_hub.services.reaching import masked
from cloud_hub.store import notifications as kept
from shared import slots
from shared.ledger import records
from shared.notifications import Preferences
from tests.cloud_hub.hub_world import NOON
from tests.cloud_hub.reach_world import DAY, FAR, reached
from tests.cloud_hub.test_notifying import H, at
from tests.cloud_hub.visitor import Visitor

SMS, MAIL = "+19025550101", "testa@example.test"


@pytest.fixture
async def t(tmp_path, monkeypatch):
    async with reached(tmp_path, monkeypatch) as told:
        yield told


# ---- what is shown
async def test_the_page_is_reached_from_what_we_told_and_shows_what_stands_with_addresses_in_part(t):
    await t.guest_books()
    page = await t.v.get(t.root)
    assert "What we told you" in page.words
    (link,) = page.links("/messages$")
    page = await t.v.get(link)
    assert page.status == 200 and page.heading == "How we reach you"
    assert "SMS to …0101" in page.words and "E-mail to t…@example.test" in page.words
    assert "5550101" not in page.text and "902-555" not in page.text and "testa@" not in page.text
    assert page.headers["cache-control"] == "no-store" and page.headers["referrer-policy"] == "same-origin"
    fields = page.form("/messages").fields
    assert [value for name, value in fields if name == "channel"] == ["sms", "mail", "app"], "no device is told yet"
    assert {"language": "en", "quiet_from": "", "courtesies": "yes"}.items() <= dict(fields).items()


async def test_a_hub_that_tells_nobody_links_to_no_such_page_and_keeps_a_choice_all_the_same(w):
    v = Visitor(w)
    page = await v.booked(FAR, date=DAY)
    assert page.links("/messages$") == []
    page = await v.get(page.address.partition("?")[0] + "/messages")
    assert "No messages are sent just now." in page.words
    assert "Saved." in (await v.send(page.form("/messages"), language="fr")).words


async def test_a_wrong_link_finds_no_page_whatever_is_below_it(t):
    await t.guest_books()
    order_id = t.order_id
    assert (await t.v.get(f"/b/{order_id}/nonsense/messages")).status == 404
    form = (await t.messages()).form("/messages")
    for below in ("messages", "messages/browsers"):
        assert (await t.v.post(f"/b/{order_id}/nonsense/{below}", form.fields)).status == 404
    assert t.chosen() == Preferences()


@pytest.mark.parametrize(
    ("address", "shown"),
    [("+19025550123", "…0123"), ("t@example.test", "…@example.test"), ("testa.birdie@example.test", "t…@example.test"), ("", "")],
)
def test_an_address_is_shown_in_part(address, shown):
    assert masked(address) == shown


# ---- choosing
async def test_what_is_chosen_is_kept_and_shown_again(t):
    await t.guest_books()
    page = await t.choose(channels=("mail",), language="fr", quiet_from="1350", quiet_until="480", courtesies=None)
    assert "Saved." in page.words
    assert t.chosen() == Preferences(language="fr", off=("sms", "app"), quiet=(22 * 60 + 30, 8 * 60), courtesies=False)
    fields = (await t.messages()).form("/messages").fields
    assert {"channel": "mail", "language": "fr", "quiet_from": "1350", "quiet_until": "480"}.items() <= dict(fields).items()
    assert "courtesies" not in dict(fields)


async def test_a_choice_is_sent_once_more_from_an_old_page_and_nothing_that_it_did_not_offer_changes(t):
    await t.guest_books()
    await t.w.db.write(lambda tx: kept.suppress(tx, "sms", SMS, "stop", "STOP", NOON))
    old = await t.messages()
    await t.w.db.write(lambda tx: kept.allow(tx, "sms", SMS))
    await t.choose(old, channels=("mail", "app"))
    assert t.chosen().off == (), "the page had not offered SMS, so nobody switched it off"


async def test_switching_everything_off_is_allowed_and_says_what_is_left(t):
    await t.guest_books()
    page = await t.choose(channels=())
    assert t.chosen().off == ("sms", "mail", "app")
    assert "Nothing is sent to you now" in page.words and "Its own page still shows the time, the PIN and the pass" in page.words
    assert "Nothing is sent" not in (await t.choose(channels=("app",))).words


async def test_midnight_is_an_hour_like_others(t):
    await t.guest_books()
    await t.choose(quiet_from="1320", quiet_until="0")
    assert t.chosen().quiet == (1320, 0)
    fields = dict((await t.messages()).form("/messages").fields)
    assert (fields["quiet_from"], fields["quiet_until"]) == ("1320", "0")


async def test_hours_that_stand_off_the_half_hour_are_shown_and_stay(t):
    await t.guest_books()
    customer = t.bookings_of_order()[0].customer_id
    await t.w.db.write(lambda tx: kept.put_preferences(tx, customer, Preferences(quiet=(1275, 455)), NOON))
    page = await t.messages()
    assert "21:15" in page.words and dict(page.form("/messages").fields)["quiet_until"] == "455"
    await t.choose(page, language="fr")
    assert t.chosen() == Preferences(language="fr", quiet=(1275, 455))


NONSENSE = [
    ({"quiet_from": "1320"}, "need a beginning and an end"),
    ({"quiet_until": "480"}, "need a beginning and an end"),
    ({"quiet_from": "480", "quiet_until": "480"}, "cannot end when they begin"),
    ({"quiet_from": "0", "quiet_until": "0"}, "cannot end when they begin"),
    ({"quiet_from": "1315", "quiet_until": "480"}, "on a half hour"),
    ({"quiet_from": "1440", "quiet_until": "480"}, "on a half hour"),
    ({"quiet_from": "-30", "quiet_until": "480"}, "on a half hour"),
    ({"quiet_from": "evening", "quiet_until": "480"}, "on a half hour"),
    ({"quiet_from": "٣٠", "quiet_until": "480"}, "on a half hour"),
    ({"language": "de"}, "English or French"),
    ({"language": None}, "English or French"),
    ({"courtesies": "perhaps"}, "whether you want follow-ups"),
    ({"channel": "pigeon"}, "no such way to reach you"),
    ({"offered": "slack"}, "no such way to reach you"),
]


async def test_what_makes_no_sense_is_told_in_a_sentence_keeps_what_was_typed_and_changes_nothing(t):
    await t.guest_books()
    for values, said in NONSENSE:
        usual = {"language": "fr", "quiet_from": "", "quiet_until": ""} | values
        page = await t.choose(**usual)
        assert page.status == 422 and said in page.words and "Not saved yet" in page.words, values
        assert t.chosen() == Preferences()
        fields = dict(page.form("/messages").fields)
        if values.get("language", "fr") == "fr":
            assert fields["language"] == "fr", "what was chosen beside it is still there"
        if values.get("quiet_from") == "1320":
            assert fields["quiet_from"] == "1320"


@pytest.mark.parametrize(
    "fields",
    [[("language", "en"), ("language", "fr")], [("shoe_size", "42")], [("language", "x" * 100)], [("language", "e\x00n")]],
    ids=["a name twice", "an unknown field", "far too long", "a NUL"],
)
async def test_a_form_that_is_none_of_ours_is_refused(t, fields):
    await t.guest_books()
    form = (await t.messages()).form("/messages")
    page = await t.v.post(form.action, [pair for pair in form.fields if pair[0] == "csrf_token"] + fields)
    assert page.status == 400 and t.chosen() == Preferences()


async def test_a_form_of_another_sites_page_chooses_nothing(t):
    await t.guest_books()
    form = (await t.messages()).form("/messages")
    assert (await t.v.post(form.action, form.filled(csrf_token="0" * 64, language="fr"))).status == 403
    assert (await t.v.post(form.action, form.filled(language="fr"), origin="https://elsewhere.example.test")).status == 403
    assert t.chosen() == Preferences()


# ---- what stands in the way
@pytest.mark.parametrize(
    ("channel", "address", "why", "said"),
    [
        ("sms", SMS, "stop", "You answered STOP from …0101, so nothing is sent there. Text START"),
        ("sms", SMS, "dead", "An SMS cannot be delivered to …0101."),
        ("mail", MAIL, "bounced", "Mail to t…@example.test came back"),
        ("mail", MAIL, "complained", "was marked as unwanted"),
        ("mail", MAIL, "unsubscribed", "You unsubscribed from mail to t…@example.test"),
        ("mail", MAIL, "dead", "Mail cannot be delivered to t…@example.test"),
        ("mail", MAIL, "stop", "You asked us to write no more to t…@example.test"),
        ("sms", SMS, "bounced", "Nothing can be sent by it just now."),
    ],
)
async def test_an_address_that_is_not_written_to_says_why_and_cannot_be_ticked(t, channel, address, why, said):
    await t.guest_books()
    await t.w.db.write(lambda tx: kept.suppress(tx, channel, address, why, "as the vendor says it", NOON))
    page = await t.messages()
    assert said in page.words and address not in page.text
    assert (("offered", channel) in page.form("/messages").fields) is False


async def test_stop_is_shown_and_start_ends_it(t):
    await t.guest_books()
    await t.heard(Inbound(id="SM1", sender=SMS, receiver="+19025550198", text="Stop", word="stop"))
    assert "You answered STOP" in (await t.messages()).words
    await t.heard(Inbound(id="SM2", sender=SMS, receiver="+19025550198", text="Start", word="start"))
    assert "SMS to …0101" in (await t.messages()).words


async def test_an_address_that_no_message_reaches_is_not_offered(t):
    await t.guest_books(phone="555-0101")
    page = await t.messages()
    assert "No mobile number is known that an SMS reaches." in page.words
    assert [value for name, value in page.form("/messages").fields if name == "offered"] == ["mail", "app"]


# ---- whose choice it is
async def test_a_choice_holds_for_all_bookings_of_the_customer_and_after_a_merge(t):
    await t.guest_books()
    await t.choose(channels=("mail",))
    old = t.bookings_of_order()[0].customer_id
    merged = msgspec.structs.replace(t.w.hub.board.customer(old)[0], id="c-merged")

    def merge(tx) -> None:
        records.put_customer(tx, merged)
        tx.run("INSERT INTO aliases (old_id, new_id) VALUES (?, ?)", (old, merged.id))

    await t.w.db.write(merge)
    read = lambda who: t.w.db.read(lambda tx: kept.preferences(tx, who)).off  # noqa: E731
    assert read("c-merged") == ("sms", "app"), "what they chose before is still theirs"
    assert [value for name, value in (await t.messages()).form("/messages").fields if name == "channel"] == ["mail"]
    t.w.clock.forward(5)
    await t.choose(channels=("sms", "mail", "app"))
    assert read("c-merged") == (), "and what they choose now is the last word"


async def test_whoever_typed_but_one_of_somebodys_addresses_decides_nothing_for_them_and_sees_no_address(t):
    await t.guest_books()
    mine, form = t.root, (await t.messages()).form("/messages")
    other = Visitor(t.w)
    page = await other.booked(FAR + 4, date=DAY, details={"name": "Testa Other", "email": MAIL, "phone": "902-555-0177"})
    root = page.address.partition("?")[0]
    assert t.w.hub.board.customer(t.bookings_of_order()[0].customer_id)[0].phone == "902-555-0101"
    page = await other.get(f"{root}/messages")
    assert "was made with another phone number or e-mail address" in page.words
    assert "0101" not in page.words and not [one for one in page.forms if one.action.endswith("/messages")]
    own_token = next(value for one in (await other.times()).forms for name, value in one.fields if name == "csrf_token")
    sent = [(name, own_token if name == "csrf_token" else value) for name, value in form.fields if name != "channel"]
    assert (await other.post(f"{root}/messages", sent)).status == 403
    assert t.chosen() == Preferences() and mine != root


# ---- that it holds
async def test_a_channel_switched_off_on_the_page_does_not_bring_the_next_message(t):
    await t.guest_books()
    assert t.sent() == (1, 1) and len(t.said()) == 1
    await t.choose(channels=("mail", "app"))
    sure = await t.v.get(f"{t.root}/cancel")
    await t.v.send(sure.form("/cancel"))
    await t.w.until(lambda: t.bookings_of_order()[0].status == "cancelled")
    await t.done()
    assert t.sent() == (1, 2) and len(t.said()) == 2


async def test_switched_on_again_it_brings_messages_again(t):
    await t.guest_books()
    await t.choose(channels=("mail",))
    await t.choose(channels=("sms", "mail", "app"))
    sure = await t.v.get(f"{t.root}/cancel")
    await t.v.send(sure.form("/cancel"))
    await t.w.until(lambda: t.bookings_of_order()[0].status == "cancelled")
    await t.done()
    assert t.sent() == (2, 2)


async def test_a_reminder_waits_for_the_end_of_the_quiet_hours_of_the_page(t):
    await t.guest_books()
    assert slots.label("America/Halifax", NOON // 900 + FAR) == "22:00"
    await t.choose(quiet_from=str(19 * 60), quiet_until=str(21 * 60))
    await t.until_at(at(FAR) - 2 * H)
    assert t.events(t.sms) == ["confirmed"], "20:00 is quiet"
    await t.until_at(at(FAR) - 1 * H - 60)
    assert t.events(t.sms) == ["confirmed"]
    await t.until_at(at(FAR) - 1 * H)
    assert t.events(t.sms) == ["confirmed", "reminder"]


async def test_the_next_message_is_in_the_language_of_the_page(t):
    await t.guest_books()
    await t.choose(language="fr")
    await t.until_at(at(FAR) - 2 * H)
    assert "22h" in t.sms.letters[1].text and "22:00" not in t.sms.letters[1].text


@pytest.mark.parametrize("ticked", ["yes", None], ids=["wanted", "not wanted"])
async def test_thanks_come_afterwards_to_whoever_wants_them(t, ticked):
    await t.guest_books()
    await t.choose(courtesies=ticked)
    await t.until_at(at(FAR) - 10 * 60)
    await t.came()
    await t.until_at(at(FAR + 4) + 12 * H)
    assert ("follow_up" in t.events(t.mail)) is (ticked == "yes")
