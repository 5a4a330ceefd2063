"""The telephone's own look at its owner before it opens a door (D10): the first telephone is the order's, and everything that keeps the door shut."""

import json
from copy import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_hub.services.passkeys import Passkeys
from cloud_hub.services.phone_checks import ASKED_MAX, COUNTED_BACK, LATE, NOT_CONFIRMED, OTHER_PHONE, VALID_S, NotHeld
from cloud_hub.store import passkeys as rows
from shared.ledger import records
from shared.ledger.door_wishes import TRIES_MAX
from tests.cloud_hub.soft_phone import PRESENT, URL, SoftPhone
from tests.cloud_hub.test_phone_doors import HERE, NEAR, OPEN, doors_asked
from tests.two_apps import SOONEST, both

CHECKED = {"public_url": URL, "door_check": "passkey"}


@pytest.fixture
async def w(tmp_path):
    async with both(tmp_path, **CHECKED) as world:
        yield world


async def asks(w, b, address="/phone", link="", **more):
    """What the page's script sends, from the page as it stands."""
    page = await w.guest_page(b)
    token = next(value for form in page.forms for name, value in form.fields if name == "csrf_token")
    headers = {"accept": "application/json", "x-csrf-token": token}
    return await w.visitor.client.post((link or w.address(b)) + address, json={"booking": b.id, **more}, headers=headers)


async def bound(w, b, phone, **more):
    """The telephone has made its key, and has the question that it is to confirm."""
    question = (await asks(w, b)).json()
    assert question["purpose"] == "make", question
    return await asks(w, b, "/phone/bind", answer=phone.made(question["options"]), **more)


async def pressed(w, b, answer, **more):
    page = await w.guest_page(b)
    return await w.visitor.send(page.form(OPEN), answer=json.dumps(answer) if isinstance(answer, dict) else answer, **more)


async def at_the_door(w, phone, bay=1):
    """A booking whose telephone has opened the door once."""
    b = await w.at_its_time(bay)
    question = (await bound(w, b, phone)).json()
    assert "The door is open now" in (await pressed(w, b, phone.confirmed(question["options"]))).words
    return b


async def question_of(w, b):
    asked = (await asks(w, b)).json()
    assert asked["purpose"] == "confirm", asked
    return asked["options"]


async def test_the_first_telephone_makes_its_key_confirms_and_opens_the_door(w):
    b, phone = await w.at_its_time(2), SoftPhone()
    page = await w.guest_page(b)
    assert "This browser cannot do that: use your PIN." in page.words and "book/door-check" in page.text
    first = (await asks(w, b)).json()
    assert first["purpose"] == "make" and first["options"]["rp"]["id"] == "book.example.test"
    chosen = first["options"]["authenticatorSelection"]
    assert (chosen["authenticatorAttachment"], chosen["userVerification"], chosen["residentKey"]) == ("platform", "required", "discouraged")
    assert b.customer_id not in repr(first) and records.reference_of(b.order_id) in first["options"]["user"]["name"]
    second = (await asks(w, b, "/phone/bind", answer=phone.made(first["options"]))).json()
    [key] = second["options"]["allowCredentials"]
    assert (second["purpose"], second["options"]["userVerification"], key["transports"]) == ("confirm", "required", ["internal"])
    page = await pressed(w, b, phone.confirmed(second["options"]))
    assert "The door is open now." in page.words and "Only the one that did so first (13:00) opens the door for this booking" in page.words
    assert len(doors_asked(w)) == 2
    journal = w.db.read(lambda tx: records.journal_of(tx, b.site_id))
    assert ("customer", "telephone bound to the order's doors") in [(row[1], row[2]) for row in journal]


async def test_the_same_press_sent_twice_is_one_press_and_a_new_one_confirms_anew(w):
    phone = SoftPhone()
    b = await w.at_its_time()
    answer = phone.confirmed((await bound(w, b, phone)).json()["options"])
    form = (await w.guest_page(b)).form(OPEN)
    for _ in range(2):
        assert "The door is open now" in (await w.visitor.send(form, answer=json.dumps(answer))).words
    assert len(doors_asked(w)) == 1
    again = await pressed(w, b, answer)
    assert (again.status, again.heading) == (403, "The door stays shut") and LATE in again.words and "Your PIN" in again.words
    assert "The door is open now" in (await pressed(w, b, phone.confirmed(await question_of(w, b)))).words and len(doors_asked(w)) == 2


def _wrong_signature(phone, question):
    answer = phone.confirmed(question)
    answer["response"]["signature"] = answer["response"]["authenticatorData"]
    return answer


def _as(**changed):
    def answer(phone, question):
        vars(phone).update(changed)
        return phone.confirmed(question)

    return answer


WRONG = {
    "foreign origin": (_as(origin="https://book.example.test.evil.test"), NOT_CONFIRMED),
    "without TLS": (_as(origin=URL.replace("https", "http")), NOT_CONFIRMED),
    "foreign name": (_as(name="evil.test"), NOT_CONFIRMED),
    "not verified": (_as(flags=PRESENT), NOT_CONFIRMED),
    "counts back": (_as(counter=3), COUNTED_BACK),
    "counts the same": (_as(counter=4), COUNTED_BACK),
    "counts no more": (_as(counter=-1), COUNTED_BACK),
    "wrong signature": (_wrong_signature, NOT_CONFIRMED),
    "another telephone": (lambda phone, question: SoftPhone().confirmed(question), NOT_CONFIRMED),
    "a key instead": (lambda phone, question: phone.made(question), NOT_CONFIRMED),
    "nothing": (lambda phone, question: "", NOT_CONFIRMED),
    "no JSON": (lambda phone, question: "{", NOT_CONFIRMED),
    "a list": (lambda phone, question: "[1]", NOT_CONFIRMED),
    "never asked": (lambda phone, question: phone.confirmed(question | {"challenge": "A" * 43}), LATE),
}


async def test_what_does_not_hold_opens_no_door_and_is_told_with_the_pin(w):
    phone = SoftPhone()
    phone.counter = 4
    b = await at_the_door(w, phone)
    for name, (answer, told) in WRONG.items():
        page = await pressed(w, b, answer(copy(phone), await question_of(w, b)))
        assert (page.status, page.heading) == (403, "The door stays shut") and told in page.words and "Your PIN" in page.words, name
    assert len(doors_asked(w)) == 1
    counted = [row for row in w.db.read(lambda tx: records.journal_of(tx, b.site_id)) if "counts back" in row[2]]
    assert len(counted) == sum(told == COUNTED_BACK for _, told in WRONG.values())
    assert "The door is open now" in (await pressed(w, b, phone.confirmed(await question_of(w, b)))).words


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=40), lambda more: st.lists(more, max_size=3) | st.dictionaries(st.text(max_size=9), more)
)
PARTS = st.fixed_dictionaries({}, optional=dict.fromkeys(("clientDataJSON", "authenticatorData", "attestationObject", "signature"), JSON))


@given(st.fixed_dictionaries({}, optional={"id": JSON, "rawId": JSON, "type": JSON, "response": PARTS | JSON}))
def test_whatever_a_stranger_sends_is_a_no(answer):
    passkeys = Passkeys(URL)
    for judge in (
        lambda: passkeys.challenge_of(answer, "make"),
        lambda: passkeys.challenge_of(answer, "confirm"),
        lambda: passkeys.made("A" * 43, answer),
        lambda: passkeys.confirmed("A" * 43, "A" * 43, answer),
    ):
        with pytest.raises(NotHeld):
            judge()


@pytest.mark.parametrize(
    ("url", "origin"),
    [(URL, URL), (URL + ":443/", URL), (URL + ":8443/pages", URL + ":8443"), ("http://localhost:8080", "http://localhost:8080")],
)
def test_an_answer_comes_from_the_pages_own_origin(url, origin):
    name = origin.split("/")[2].split(":")[0]
    phone, passkeys = SoftPhone(name, origin), Passkeys(url)
    question = passkeys.to_make("order-0001", "Booking ABC", "A" * 43)
    assert passkeys.made("A" * 43, phone.made(question)).counter == 0
    phone.origin = "https://other.example.test"
    with pytest.raises(NotHeld):
        passkeys.made("A" * 43, phone.made(question))


async def test_a_telephone_that_never_counts_opens_the_door(w):
    phone = SoftPhone()
    phone.step = 0
    b = await at_the_door(w, phone)
    assert "The door is open now" in (await pressed(w, b, phone.confirmed(await question_of(w, b)))).words


async def test_a_wrong_answer_uses_the_question_up(w):
    phone = SoftPhone()
    b = await at_the_door(w, phone)
    question = await question_of(w, b)
    assert NOT_CONFIRMED in (await pressed(w, b, SoftPhone().confirmed(question))).words
    assert LATE in (await pressed(w, b, phone.confirmed(question))).words


async def test_a_question_is_worth_two_minutes(w):
    phone = SoftPhone()
    b = await at_the_door(w, phone)
    question = await question_of(w, b)
    await w.later(VALID_S)
    assert LATE in (await pressed(w, b, phone.confirmed(question))).words and len(doors_asked(w)) == 1


async def test_another_orders_telephone_and_question_open_nothing_here(w):
    theirs, mine = SoftPhone(), SoftPhone()
    b = await w.sold(1, SOONEST, booking_id="booking-0001", who=1)
    other = await w.at_its_time(2, booking_id="booking-0002", who=2)
    await bound(w, other, theirs)
    await bound(w, b, mine)
    assert NOT_CONFIRMED in (await pressed(w, b, theirs.confirmed(await question_of(w, b)))).words
    assert LATE in (await pressed(w, b, mine.confirmed(await question_of(w, other)))).words
    assert doors_asked(w) == []


async def test_a_second_telephone_does_not_take_the_place_of_the_first(w):
    b, first, second = await w.at_its_time(), SoftPhone(), SoftPhone()
    questions = [(await asks(w, b)).json()["options"] for _ in range(2)]
    assert (await asks(w, b, "/phone/bind", answer=first.made(questions[0]))).status_code == 200
    no = await asks(w, b, "/phone/bind", answer=second.made(questions[1]))
    assert (no.status_code, no.json()["code"], no.json()["detail"]) == (403, "not_confirmed", OTHER_PHONE)
    assert "The door is open now" in (await pressed(w, b, first.confirmed(await question_of(w, b)))).words


@pytest.mark.parametrize(
    "changed", [{"origin": "https://evil.test"}, {"name": "evil.test"}, {"flags": PRESENT}], ids=["origin", "name", "not verified"]
)
async def test_a_key_that_was_not_made_here_by_its_owner_is_none(w, changed):
    b, phone = await w.at_its_time(), SoftPhone()
    vars(phone).update(changed)
    no = await bound(w, b, phone)
    assert (no.status_code, no.json()["detail"]) == (403, NOT_CONFIRMED) and w.db.read(lambda tx: rows.of(tx, b.order_id)) is None


async def test_nobody_makes_a_key_before_the_window_nor_from_far_away_nor_without_the_link(tmp_path):
    async with both(tmp_path, NEAR, **CHECKED) as w:
        early = await w.sold(1, SOONEST, booking_id="booking-0001", who=1)
        page = await w.guest_page(early)
        assert "data-check" not in page.text
        await w.later(early.starts_at - int(w.clock.now()))
        far = await asks(w, early)
        assert (far.status_code, far.json()["code"]) == (403, "not_near")
        here = {"latitude": HERE[0], "longitude": HERE[1], "accuracy": 10}
        question = (await asks(w, early, **here)).json()["options"]
        phone = SoftPhone()
        assert (await asks(w, early, "/phone/bind", answer=phone.made(question))).json()["code"] == "not_near"
        asked = (await asks(w, early, "/phone/bind", answer=phone.made(question), **here)).json()
        page = await pressed(w, early, phone.confirmed(asked["options"]), **here)
        assert "The door is open now" in page.words
        later = await w.sold(2, SOONEST + 20, booking_id="booking-0002", who=2)
        assert (await asks(w, early, booking=later.id, **here)).status_code == 404
        assert (await asks(w, early, link=f"/b/{early.order_id}/{'x' * 22}", **here)).status_code == 404


async def test_questions_of_an_order_have_an_end(w):
    b = await w.at_its_time()
    for _ in range(ASKED_MAX):
        assert (await asks(w, b)).status_code == 200
    no = await asks(w, b)
    assert (no.status_code, no.json()["code"]) == (429, "too_many_tries") and "PIN" in no.json()["detail"]
    assert ASKED_MAX > TRIES_MAX, "whoever presses as often as they may is asked each time"


async def test_a_program_with_a_key_is_not_asked(w):
    b = await w.at_its_time()
    answer = await w.post(f"/bookings/{b.id}/open", {"open_id": "open-from-api-1"})
    assert (answer.status_code, answer.json()["outcome"]) == (200, "opened")


async def test_a_facility_that_does_not_want_it_asks_no_telephone(tmp_path):
    async with both(tmp_path) as w:
        b = await w.at_its_time()
        assert "data-check" not in (await w.guest_page(b)).text
        no = await asks(w, b)
        assert (no.status_code, no.json()["code"]) == (400, "bad_request") and "load it again" in no.json()["detail"]


async def test_an_admin_lets_a_telephone_go_and_the_next_one_is_the_orders(w):
    b = await at_the_door(w, SoftPhone())
    await w.visitor.send((await w.visitor.get("/manage/sign-in")).form("/manage/sign-in"), key=await w.new_key("admin"))
    page = await w.visitor.get("/manage/phones")
    assert page.links("/manage/phones") and "Bedford" in page.words
    reference = records.reference_of(b.order_id)
    assert "No order has this reference." in (await w.visitor.send(page.form("/manage/phones"), reference="NEVER2")).words
    done = await w.visitor.send(page.form("/manage/phones"), reference=f" {reference.lower()} ")
    assert f"Order {reference} has no telephone any more" in done.words
    assert "This order has no telephone" in (await w.visitor.send(page.form("/manage/phones"), reference=reference)).words
    who, what = next((row[1], row[2]) for row in w.db.read(lambda tx: records.journal_of(tx, b.site_id)) if "let go" in row[2])
    assert "a program" in who and what == "telephone of the order's doors let go"
    phone = SoftPhone()
    asked = (await bound(w, b, phone)).json()
    assert "The door is open now" in (await pressed(w, b, phone.confirmed(asked["options"]))).words


async def test_a_key_goes_a_day_after_the_visit_and_a_question_after_its_time(w):
    b = await at_the_door(w, SoftPhone())
    await asks(w, b)
    held = lambda: [len(w.db.read(lambda tx, t=t: tx.all(f"SELECT 1 FROM {t}"))) for t in ("door_passkeys", "door_challenges")]  # noqa: E731
    assert (await w.hub.phone_checks.forget(), held()) == (0, [1, 1])
    w.clock.forward(VALID_S)
    assert (await w.hub.phone_checks.forget(), held()) == (1, [1, 0])
    w.clock.forward(b.ends_at + rows.KEPT_S - int(w.clock.now()) - 60)
    assert (await w.hub.phone_checks.forget(), held()) == (0, [1, 0])
    w.clock.forward(3600)
    assert (await w.hub.phone_checks.forget(), held()) == (1, [0, 0])
