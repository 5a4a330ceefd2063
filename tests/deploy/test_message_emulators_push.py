"""The emulated push service, asked with the official client; and the emulated Slack hooks."""

import json
import time
from random import Random

import aiohttp
import httpx
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from py_vapid import Vapid
from pywebpush import WebPushException, webpush_async

from deploy.emulators.messages import push_crypto
from deploy.emulators.messages.slack import SlackSettings
from deploy.emulators.messages.vendors import Settings
from shared.runtime.clock import ManualClock
from tests.deploy.message_world import running

MESSAGE = {"title": "Bay 3 is ready", "body": "Come in, Testa.", "url": "https://golf.example.test/order"}


@pytest.fixture
async def vendors():
    async with running() as vendors:
        yield vendors


@pytest.fixture(scope="module")
def vapid():
    key = Vapid()
    key.generate_keys()
    return key


def server_key(vapid):
    return push_crypto.b64(push_crypto.point_of(vapid.private_key))


async def push(subscription, vapid, message=MESSAGE, ttl=60, **headers):
    async with aiohttp.ClientSession() as session:
        return await webpush_async(
            subscription,
            json.dumps(message),
            vapid_private_key=vapid,
            vapid_claims={"sub": "mailto:ops@example.test"},
            ttl=ttl,
            timeout=5,
            headers=headers,
            aiohttp_session=session,
        )


async def refusal(subscription, vapid, **more):
    with pytest.raises(WebPushException) as caught:
        await push(subscription, vapid, **more)
    return caught.value.status_code


async def test_a_message_is_taken_opened_and_shown(vendors, vapid):
    subscription = vendors.subscribe(server_key(vapid), "testas-phone")
    answer = await push(subscription, vapid, Urgency="high")
    assert answer.status == 201 and answer.headers["Location"].startswith(vendors.push_origin)
    assert vendors.pushes[0].payload == MESSAGE and vendors.pushes[0].state == "delivered"
    shown = vendors.inbox.shown("testas-phone", "push")[0]
    assert (shown.title, shown.text, shown.url) == tuple(MESSAGE.values())


async def test_only_the_sender_that_the_browser_chose_may_send(vendors, vapid):
    other = Vapid()
    other.generate_keys()
    subscription = vendors.subscribe(server_key(vapid))
    assert await refusal(subscription, other) == 403
    vendors.faults["web_push"].revoked = True
    assert await refusal(subscription, vapid) == 403
    async with httpx.AsyncClient() as client:
        assert (await client.post(subscription["endpoint"], headers={"TTL": "60"})).status_code == 401
    assert not vendors.pushes


@pytest.mark.parametrize(
    ("claims", "sentence"),
    [
        ({"aud": "https://elsewhere.example.test"}, "is for"),
        ({"exp": 1}, "expired"),
        ({"exp": 2**40}, "24 hours"),
        ({"sub": "ops"}, "sub"),
    ],
)
def test_a_token_for_elsewhere_past_its_time_or_without_a_contact_is_refused(vapid, claims, sentence):
    now = 1_800_000_000
    token = vapid.sign({"aud": "http://push.test", "exp": now + 600, "sub": "mailto:ops@example.test"})["Authorization"]
    key, told = push_crypto.check_vapid(token, "http://push.test", now)
    assert key == server_key(vapid) and told["aud"] == "http://push.test"
    spoiled = _signed(vapid, {"aud": "http://push.test", "exp": now + 600, "sub": "mailto:ops@example.test"} | claims)
    with pytest.raises(push_crypto.BadVapid, match=sentence):
        push_crypto.check_vapid(spoiled, "http://push.test", now)


@pytest.mark.parametrize(
    "authorization", ["", "vapid", "vapid t=a.b.c,k=", "vapid t=a.b,k=AAAA", "Bearer x", "vapid t=e30.e30.AAAA,k=AAAA"]
)
def test_a_token_that_is_none_is_refused(authorization):
    with pytest.raises(push_crypto.BadVapid):
        push_crypto.check_vapid(authorization, "http://push.test", 0)


async def test_ended_unknown_and_oversized_are_told_apart(vendors, vapid):
    subscription = vendors.subscribe(name="phone")
    assert await refusal(subscription, vapid, message={"body": "x" * 4000}) == 413
    assert await refusal(subscription | {"endpoint": f"{vendors.push_origin}/push/nobody"}, vapid) == 404
    vendors.push_service.subscriptions["phone"].state = "gone"
    assert await refusal(subscription, vapid) == 410
    assert not vendors.pushes


async def test_headers_are_checked(vendors, vapid):
    subscription = vendors.subscribe()
    assert await refusal(subscription, vapid, Urgency="frantic") == 400
    assert await refusal(subscription, vapid, Topic="x" * 33) == 400
    claims = {"aud": vendors.push_origin, "sub": "mailto:ops@example.test", "exp": int(vendors.now()) + 600}
    signed = vapid.sign(claims)
    async with httpx.AsyncClient(headers=signed) as client:
        assert (await client.post(subscription["endpoint"])).status_code == 400
        assert (await client.post(subscription["endpoint"], headers={"TTL": "9"}, content=b"plain")).status_code == 415
        assert (await client.post(subscription["endpoint"], headers={"TTL": "9"})).status_code == 201


async def test_content_that_was_not_sealed_for_the_browser_is_taken_and_never_shown(vendors, vapid):
    mine, other = vendors.subscribe(name="mine"), vendors.subscribe(name="other")
    await push(mine | {"keys": other["keys"]}, vapid)
    assert (vendors.pushes[0].state, vendors.pushes[0].content) == ("unreadable", "")


async def test_an_absent_browser_gets_the_last_of_a_topic_and_nothing_past_its_time(vapid):
    clock = ManualClock(1_800_000_000)
    async with running(clock=clock) as vendors:
        subscription = vendors.subscribe(name="phone")
        phone = vendors.push_service.subscriptions["phone"]
        phone.online = False
        # The client signs by the machine's own clock, so the service's is set to it.
        clock.forward(time.time() - clock.now())
        for body, ttl, topic in (("first", 60, "bk"), ("second", 60, "bk"), ("short", 5, "x"), ("now or never", 0, "y")):
            await push(subscription, vapid, {"body": body}, ttl, Topic=topic)
        assert [one.state for one in vendors.pushes] == ["replaced", "waiting", "waiting", "expired"]
        clock.forward(30)
        vendors.push_service.set_online(phone, True)
        assert [one.state for one in vendors.pushes] == ["replaced", "delivered", "expired", "expired"]


async def test_a_subscription_can_be_the_browsers_own_and_bad_ones_are_refused(vendors, vapid):
    rng = Random(3)
    key, secret = (push_crypto.b64(rng.randbytes(size)) for size in (32, 16))
    told = vendors.push_service.subscribe(name="own", key=key, secret=secret)
    assert told["keys"]["auth"] == secret and told["expirationTime"] is None
    await push(told, vapid)
    assert vendors.pushes[0].payload == MESSAGE
    for wrong in ({"name": "own"}, {"name": "no spaces"}, {"secret": "AAAA"}, {"server_key": "AAAA"}, {"key": "!"}):
        with pytest.raises(ValueError):
            vendors.push_service.subscribe(**wrong)


async def test_a_push_service_asks_for_patience(vendors, vapid):
    subscription = vendors.subscribe()
    vendors.faults.next("web_push", "status", status=429, retry_after_s=7)
    with pytest.raises(WebPushException) as caught:
        await push(subscription, vapid)
    assert caught.value.status_code == 429 and int(caught.value.retry_after) == 7


def _signed(vapid, claims):
    """A token whatever its claims say: the official signer refuses wrong ones."""
    words = ".".join(push_crypto.b64(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "ES256"}, claims))
    r, s = decode_dss_signature(vapid.private_key.sign(words.encode(), ec.ECDSA(hashes.SHA256())))
    return f"vapid t={words}.{push_crypto.b64(r.to_bytes(32) + s.to_bytes(32))},k={server_key(vapid)}"


# Slack


async def say(vendors, body=None, name="staff", **more):
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.post(vendors.hook_url(name), **({"json": body} | more if body is not None else more))


async def test_a_post_appears_in_its_channel(vendors):
    answer = await say(vendors, {"text": "Bay 3 is stuck", "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "*Bay 3*"}}]})
    assert (answer.status_code, answer.text, answer.headers["content-type"]) == (200, "ok", "text/plain; charset=utf-8")
    await say(vendors, {"text": "<!channel> look"})
    assert [(one.hook, one.text, one.pings) for one in vendors.slack] == [
        ("staff", "Bay 3 is stuck", ()),
        ("staff", "<!channel> look", ("<!channel>",)),
    ]
    assert (await say(vendors, data={"payload": '{"text":"as a form"}'})).text == "ok"


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"content": b"{", "headers": {"content-type": "application/json"}}, "invalid_payload"),
        ({"json": {"text": 7}}, "invalid_payload"),
        ({"json": {"text": " "}}, "no_text"),
        ({"json": {"blocks": [{}]}}, "invalid_blocks"),
        ({"json": {"blocks": [{"type": "divider"}] * 51}}, "invalid_blocks"),
    ],
)
async def test_a_bad_payload_is_refused_in_plain_text(vendors, more, word):
    answer = await say(vendors, **more)
    assert (answer.status_code, answer.text) == (400, word)
    assert not vendors.slack


@pytest.mark.parametrize(
    ("state", "status", "word"),
    [("removed", 404, "no_service"), ("archived", 410, "channel_is_archived"), ("forbidden", 403, "action_prohibited")],
)
async def test_a_hook_that_ended_says_how(vendors, state, status, word):
    vendors.slack_hooks.hooks["staff"].state = state
    answer = await say(vendors, {"text": "x"})
    assert (answer.status_code, answer.text) == (status, word)


async def test_unknown_and_revoked_hooks_are_refused(vendors):
    async with httpx.AsyncClient() as client:
        assert (await client.post(f"{vendors.listeners['slack'].url}/services/T1/B1/x", json={"text": "x"})).text == "no_service"
    vendors.faults["slack"].revoked = True
    assert (await say(vendors, {"text": "x"})).text == "invalid_token"


async def test_a_hook_takes_a_burst_and_then_asks_for_patience():
    clock = ManualClock()
    async with running(Settings(slack=SlackSettings(per_s=0.5, burst=2)), clock) as vendors:
        answers = [await say(vendors, {"text": "x"}) for _ in range(3)]
        assert [one.status_code for one in answers] == [200, 200, 429] and answers[2].headers["retry-after"] == "2"
        clock.forward(2)
        assert (await say(vendors, {"text": "x"})).status_code == 200
        assert len(vendors.slack) == 3
