"""A browser asks to be told of an order, below its link: what is taken, what is refused, whom it tells then; against the emulated push service too."""

import json
import time
from random import Random

import pytest

from cloud_hub import app as hub_app
from cloud_hub.ports import Subscribed
from cloud_hub.store import notifications as kept
from cloud_hub.vendors.web_push import WebPush
from deploy.emulators.messages.push_crypto import new_vapid_key
from shared.outcomes import Never
from tests.cloud_hub.hub_world import NOON, opened
from tests.cloud_hub.reach_world import FAR, PUSH_KEY, Reached, reached, token_of
from tests.cloud_hub.test_notifying import H, Scripted, at
from tests.cloud_hub.visitor import Visitor
from tests.deploy.message_world import running

THERE = "https://push.example.test/1"


@pytest.fixture
async def t(tmp_path, monkeypatch):
    async with reached(tmp_path, monkeypatch) as told:
        await told.guest_books()
        yield told


async def test_the_pages_offer_it_with_the_hubs_own_key_and_only_where_it_pushes(t, tmp_path, monkeypatch):
    for address in (t.root, f"{t.root}/messages"):
        page = await t.v.get(address)
        assert f'data-push="{PUSH_KEY}"' in page.text and "book/push.js" in page.text and len(token_of(page)) == 64
    assert "Tell me on this device" in page.words
    async with reached(tmp_path / "other", monkeypatch, push=False) as other:
        await other.guest_books()
        for address in (other.root, f"{other.root}/messages"):
            assert "push" not in (await other.v.get(address)).text.lower()
        assert (await other.browser())[0] == 404


async def test_the_service_worker_comes_from_beside_the_orders_and_is_asked_for_anew(t):
    answer = await t.v.client.get("/b/push.js")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/javascript")
    assert answer.headers["cache-control"] == "no-cache" and "showNotification" in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_browser_that_asks_is_told_of_the_order_and_no_more_once_it_says_so(t):
    assert await t.browser() == (204, "")
    assert t.browsers() == [THERE]
    page = await t.messages()
    assert "Push to one device" in page.words and ("offered", "push") in page.form("/messages").fields
    await t.until_at(at(FAR) - 2 * H)
    (letter,) = t.push.letters
    assert json.loads(letter.to) == {"endpoint": THERE, "keys": {"p256dh": "p", "auth": "a"}} and "22:00" in letter.text
    assert await t.browser(where="push/off") == (204, "")
    assert await t.browser(where="push/off") == (204, ""), "whether or not it was told"
    await t.until_at(at(FAR) - 15 * 60)
    assert len(t.push.letters) == 1 and "No device is told of this booking yet." in (await t.messages()).words


async def test_the_same_browser_is_one_however_often_it_asks(t):
    for _ in range(3):
        assert (await t.browser())[0] == 204
    assert t.browsers() == [THERE]


async def test_what_else_a_browser_says_of_itself_is_not_kept(t):
    assert (await t.browser(expirationTime=None, contentEncoding="aes128gcm", note="x" * 2000))[0] == 204
    (doc,) = [doc for _, doc in t.w.db.read(lambda tx: kept.subscriptions(tx, t.order_id))]
    assert json.loads(doc) == {"endpoint": THERE, "keys": {"p256dh": "p", "auth": "a"}}


async def test_ten_browsers_hear_of_an_order_and_another_takes_the_place_of_the_oldest(t):
    for n in range(12):
        t.w.clock.forward(1)
        assert (await t.browser(f"https://push.example.test/{n}"))[0] == 204
    assert t.browsers() == [f"https://push.example.test/{n}" for n in range(2, 12)]
    await t.browser("https://push.example.test/2")
    await t.browser("https://push.example.test/new")
    assert len(t.browsers()) == kept.BROWSERS_MAX and {"https://push.example.test/2", "https://push.example.test/new"} <= set(t.browsers())
    assert "https://push.example.test/3" not in t.browsers(), "the one that has not asked for longest goes"


async def test_in_one_second_the_newest_still_comes_in(t):
    for n in range(14):
        await t.browser(f"https://push.example.test/{n}")
        assert f"https://push.example.test/{n}" in t.browsers()
    assert len(t.browsers()) == kept.BROWSERS_MAX


async def test_none_is_told_any_more_when_somebody_says_so_without_a_script(t):
    for n in range(3):
        await t.browser(f"https://push.example.test/{n}")
    page = await t.messages()
    page = await t.v.send(page.form("/messages/browsers"))
    assert "Saved." in page.words and t.browsers() == []


async def test_pushes_switched_off_reach_no_browser_that_has_asked(t):
    await t.browser()
    await t.choose(channels=("sms", "mail", "app"))
    await t.until_at(at(FAR) - 2 * H)
    assert t.push.letters == [] and t.browsers() == [THERE]


# ---- whose messages they are
async def test_a_browser_hears_of_the_order_whose_page_it_showed_and_of_no_other_of_that_customer(t):
    """Whoever books with somebody's number must not get their PINs."""
    other = Reached(t.w, t.sms, t.mail, t.push)
    other.v = Visitor(t.w)
    await other.guest_books(FAR + 4, name="Testa Other", email="other@example.test")
    customers = {b.customer_id for b in (*t.bookings_of_order(), *other.bookings_of_order())}
    assert len(customers) == 1, "the number alone makes them the same customer"
    assert (await other.browser("https://push.example.test/other"))[0] == 204
    await t.until_at(at(FAR) - 2 * H)
    assert t.push.letters == []
    await t.until_at(at(FAR + 4) - 2 * H)
    (letter,) = t.push.letters
    assert "23:00" in letter.text


# ---- what is refused
@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"endpoint": "https://elsewhere.example.test/1", "keys": {"p256dh": "p", "auth": "a"}}, 400, "no push service that is known here"),
        ({"endpoint": "https://push.example.test/1"}, 400, "keys"),
        ({"endpoint": 7, "keys": {"p256dh": "p", "auth": "a"}}, 400, "endpoint"),
        ({"endpoint": "https://push.example.test/" + "x" * 2000, "keys": {"p256dh": "p", "auth": "a"}}, 400, "endpoint"),
        ({"endpoint": "https://push.example.test/1", "keys": {"p256dh": "p" * 201, "auth": "a"}}, 400, "p256dh"),
        ([], 400, "object"),
        ("nothing", 400, "object"),
        ({"endpoint": "https://push.example.test/1", "keys": {"p256dh": "p", "auth": "a"}, "more": "x" * 70_000}, 413, "larger"),
    ],
    ids=["an unknown service", "no keys", "no text", "too long", "a key too long", "a list", "a text", "too large"],
)
async def test_what_is_no_subscription_is_refused_with_a_sentence(t, body, status, said):
    token = token_of(await t.v.get(t.root))
    answer = await t.v.client.post(f"{t.root}/push", json=body, headers={"x-csrf-token": token, "accept": "application/json"})
    assert answer.status_code == status and said in answer.text, answer.text
    assert t.browsers() == []


async def test_nothing_is_taken_without_the_pages_token_from_elsewhere_or_by_a_wrong_link(t):
    token, body = token_of(await t.v.get(t.root)), {"endpoint": THERE, "keys": {"p256dh": "p", "auth": "a"}}
    client = t.v.client
    assert (await client.post(f"{t.root}/push", json=body)).status_code == 415, "a form is asked for the token, and this is none"
    assert (await client.post(f"{t.root}/push", json=body, headers={"x-csrf-token": "0" * 64})).status_code == 403
    foreign = {"x-csrf-token": token, "origin": "https://elsewhere.example.test"}
    assert (await client.post(f"{t.root}/push", json=body, headers=foreign)).status_code == 403
    for below in ("push", "push/off"):
        wrong = await client.post(f"/b/{t.order_id}/nonsense/{below}", json=body, headers={"x-csrf-token": token})
        assert wrong.status_code == 404
    assert (await client.post(f"{t.root}/push", content="endpoint=x", headers={"x-csrf-token": token})).status_code == 415
    assert t.browsers() == []


async def test_a_subscription_that_has_ended_is_let_go_of(t):
    await t.browser()
    t.push.answers.append(Never("410", "The browser has given up the subscription.", dead_address=True))
    await t.until_at(at(FAR) - 2 * H)
    assert t.browsers() == []


async def test_browsers_that_have_not_asked_for_more_than_a_year_are_forgotten(t):
    await t.browser()
    t.w.db.write_now(lambda tx: kept.forget(tx, NOON + kept.BROWSERS_KEPT_S))
    assert t.browsers() == [THERE]
    t.w.db.write_now(lambda tx: kept.forget(tx, NOON + kept.BROWSERS_KEPT_S + 1))
    assert t.browsers() == []


# ---- in earnest
async def test_a_real_channel_tells_a_browser_of_the_emulated_push_service(tmp_path, monkeypatch):
    async with running() as vendors:
        sms, mail = Scripted("sms", "twilio"), Scripted("mail", "sendgrid")
        push = WebPush(vapid_key=new_vapid_key(Random(5)), contact="mailto:ops@example.test", loopback=True, now=time.time)
        assert isinstance(push, Subscribed)
        monkeypatch.setattr(hub_app, "opened", lambda config, now: ({"sms": sms, "mail": mail, "push": push}, {}))
        async with opened(tmp_path) as w:
            w.app.ticker.stop()
            t = Reached(w, sms, mail, None)
            await t.notifying.sweep()
            await t.guest_books()
            token = token_of(await t.v.get(t.root))
            there = vendors.subscribe(push.public_key)
            elsewhere, keyless = {**there, "endpoint": "https://intranet.example.test/x"}, {**there, "keys": {"p256dh": "AA", "auth": "AA"}}
            for body, status in ((there, 204), (elsewhere, 400), (keyless, 400)):
                answer = await t.v.client.post(f"{t.root}/push", json=body, headers={"x-csrf-token": token, "accept": "application/json"})
                assert answer.status_code == status, answer.text
            assert answer.json()["detail"] == "This is no subscription of a browser."
            push._now = lambda: w.clock.now()
            monkeypatch.setattr("deploy.emulators.messages.push.check_vapid", lambda authorization, origin, now: (push.public_key, {}))
            await t.until_at(at(FAR) - 2 * H)
            (told,) = vendors.pushes
            assert (
                told.state == "delivered" and "22:00" in told.payload["body"] and told.payload["tag"] and "Bedford" in told.payload["title"]
            )
            await t.worker.stop()
