"""Web push: what goes out sealed, to whom it goes at all, and what is made of everything that may come back."""

import asyncio
import base64
import json
import os

import http_ece
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from py_vapid import Vapid02

from cloud_hub.ports import Letter
from cloud_hub.vendors.web_push import PAYLOAD_MAX, WebPush, _payload
from shared.outcomes import Later, Misconfigured, Never, Taken, Unknown
from tests.cloud_hub.vendors.conftest import NOW
from tests.cloud_hub.vendors.stub import CLOSE, HANG, Says

MADE = Says(201, "", {"Location": "https://push.example.test/m/1"})


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def raw_key(key: ec.EllipticCurvePrivateKey) -> str:
    return b64(key.private_numbers().private_value.to_bytes(32, "big"))


class Browser:
    """A browser with its key; reads what a push service would hand it."""

    def __init__(self) -> None:
        self.key, self.secret = ec.generate_private_key(ec.SECP256R1()), os.urandom(16)
        self.point = self.key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)

    def subscription(self, endpoint: str, **more) -> str:
        return json.dumps(
            {"endpoint": endpoint, "expirationTime": None, "keys": {"p256dh": b64(self.point), "auth": b64(self.secret)}} | more
        )

    def read(self, body: bytes) -> dict:
        return json.loads(http_ece.decrypt(body, private_key=self.key, auth_secret=self.secret, version="aes128gcm"))


@pytest.fixture
def browser() -> Browser:
    return Browser()


@pytest.fixture
def push(now, closing):
    key = raw_key(ec.generate_private_key(ec.SECP256R1()))

    def make(**more) -> WebPush:
        given = {"vapid_key": key, "contact": "mailto:ops@example.test", "loopback": True, "timeout_s": 5.0, "now": now} | more
        return closing(WebPush(**given))

    return make


def letter(to: str, **more) -> Letter:
    return Letter(**({"key": "n-17_A", "to": to, "subject": "Box 3", "text": "À 18 h", "url": "https://hub.example.test/o/1"} | more))


async def test_a_push_is_sealed_for_the_browser_and_signed_for_its_service(http, push, browser) -> None:
    stub = await http(MADE)
    channel = push()
    sent = letter(browser.subscription(f"{stub.url}/p/1"), topic="bk-123", expires_at=NOW + 3600)
    assert await channel.send(sent) == Taken("https://push.example.test/m/1", final=True)
    (asked,) = stub.asked
    assert (asked.method, asked.target) == ("POST", "/p/1")
    assert browser.read(asked.body) == {"title": "Box 3", "body": "À 18 h", "url": "https://hub.example.test/o/1", "tag": "bk-123"}
    assert (asked.headers["ttl"], asked.headers["topic"], asked.headers["urgency"]) == ("3600", "bk-123", "high")
    assert Vapid02.verify(asked.headers["authorization"]) and f"k={channel.public_key}" in asked.headers["authorization"]


def claims(authorization: str) -> dict:
    body = authorization.removeprefix("vapid t=").split(",")[0].split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=="))


async def test_each_service_gets_claims_made_out_to_itself(http, push, browser) -> None:
    one, two = await http(MADE), await http(MADE)
    channel = push()
    for stub in (one, two):
        await channel.send(letter(browser.subscription(f"{stub.url}/p/1")))
    assert [claims(stub.asked[0].headers["authorization"])["aud"] for stub in (one, two)] == [one.url, two.url]


async def test_without_an_end_it_lives_for_a_day_and_never_for_nothing(http, push, browser) -> None:
    stub = await http(MADE)
    channel = push()
    for expires_at in (0, NOW + 1, NOW + 90 * 86_400):
        await channel.send(letter(browser.subscription(f"{stub.url}/p/1"), expires_at=expires_at))
    assert [asked.headers["ttl"] for asked in stub.asked] == ["86400", "1", str(28 * 86_400)]
    assert all("topic" not in asked.headers for asked in stub.asked)


async def test_a_topic_that_a_service_would_not_take_becomes_one_it_takes(http, push, browser) -> None:
    stub = await http(MADE)
    channel = push()
    for topic in ("order:réservé/1", "order:réservé/1", "order:réservé/2"):
        await channel.send(letter(browser.subscription(f"{stub.url}/p/1"), topic=topic))
    first, again, other = (asked.headers["topic"] for asked in stub.asked)
    assert first == again != other and len(first) == 32 and first.isascii()


async def test_what_is_worth_nothing_any_more_is_not_sent(http, push, browser) -> None:
    stub = await http(MADE)
    outcome = await push().send(letter(browser.subscription(stub.url), expires_at=NOW))
    assert isinstance(outcome, Never) and outcome.code == "expired" and not outcome.dead_address
    assert stub.asked == []


@pytest.mark.parametrize(
    ("says", "kind", "facts"),
    [
        (Says(200), Taken, {"ref": "", "final": True}),
        (Says(204), Taken, {}),
        (Says(200, "<html>welcome</html>"), Unknown, {}),
        (Says(400, "bad"), Never, {"code": "400", "dead_address": False}),
        (Says(401), Misconfigured, {}),
        (Says(403), Misconfigured, {}),
        (Says(404), Never, {"code": "404", "dead_address": True}),
        (Says(410), Never, {"code": "410", "dead_address": True}),
        (Says(413), Never, {"code": "413", "dead_address": False}),
        (Says(429, "", {"Retry-After": "9"}), Later, {"after_s": 9.0}),
        (Says(429), Later, {"after_s": None}),
        (Says(500), Unknown, {}),
        (Says(502, "<html>"), Unknown, {}),
        (CLOSE, Unknown, {}),
    ],
)
async def test_every_answer_has_its_outcome_and_nothing_is_tried_twice(http, push, browser, says, kind, facts) -> None:
    stub = await http(says)
    outcome = await push().send(letter(browser.subscription(f"{stub.url}/p/1")))
    assert isinstance(outcome, kind), outcome
    assert {name: getattr(outcome, name) for name in facts} == facts
    assert len(stub.asked) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(http, push, browser, status: int) -> None:
    inside = await http(MADE)
    stub = await http(Says(status, "", {"Location": f"{inside.url}/admin"}))
    assert isinstance(await push().send(letter(browser.subscription(f"{stub.url}/p/1"))), Never)
    assert inside.asked == []


async def test_a_refused_connection_sent_nothing(push, browser, nobody) -> None:
    assert isinstance(await push().send(letter(browser.subscription(f"http://127.0.0.1:{nobody}/p"))), Later)


async def test_silence_ends_at_the_time_limit_and_is_unknown(http, push, browser) -> None:
    stub = await http(HANG)
    assert isinstance(await asyncio.wait_for(push(timeout_s=0.2).send(letter(browser.subscription(stub.url))), 5), Unknown)


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://127.0.0.1:80/p",
        "https://127.0.0.1/p",
        "https://localhost/p",
        "https://169.254.169.254/latest",
        "http://fcm.googleapis.com/fcm/send/1",
        "https://fcm.googleapis.com:8443/fcm/send/1",
        "https://fcm.googleapis.com.example.test/1",
        "https://evilfcm.googleapis.com/1",
        "https://push.apple.com/1",
        "https://x@fcm.googleapis.com/1",
        "https://fcm.googleapis.com#@example.test/",
        "ftp://fcm.googleapis.com/1",
        "//fcm.googleapis.com/1",
        "https://[::1]/p",
        "https://fcm.googleapis.com:99999/1",
        "https://fcm.googleapis.com/a b",
        "",
    ],
)
async def test_only_known_push_services_are_called(push, browser, endpoint: str) -> None:
    outcome = await push(loopback=False).send(letter(browser.subscription(endpoint)))
    assert isinstance(outcome, Never) and outcome.dead_address, outcome


@pytest.mark.parametrize(
    "host", ["fcm.googleapis.com", "updates.push.services.mozilla.com", "web.push.apple.com", "wns2-by3p.notify.windows.com"]
)
def test_the_services_of_the_browsers_there_are_known(push, host: str) -> None:
    assert push(loopback=False)._is_service("https", host, None)


async def test_another_machine_of_the_same_net_is_not_called_in_a_trial_either(push, browser) -> None:
    for endpoint in ("http://192.0.2.1/p", "https://192.0.2.1/p", "http://[::1]:80/p"):
        assert isinstance(await push(loopback=True).send(letter(browser.subscription(endpoint))), Never)


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "[]", "{}", '{"endpoint": 7}', '{"endpoint": "https://fcm.googleapis.com/1"}',
        '{"endpoint": "https://fcm.googleapis.com/1", "keys": {"p256dh": "AA", "auth": "AA"}}',
        '{"endpoint": "https://fcm.googleapis.com/1", "keys": {"p256dh": "%%%", "auth": "é"}}',
    ],
)  # fmt: skip
async def test_what_is_no_subscription_is_told_so(push, text: str) -> None:
    outcome = await push().send(letter(text))
    assert isinstance(outcome, Never) and (outcome.code, outcome.dead_address) == ("bad_subscription", True)


async def test_a_point_off_the_curve_a_short_secret_and_an_endless_one_are_no_subscription(push, browser) -> None:
    good = json.loads(browser.subscription("http://127.0.0.1:1/p"))
    for wrong in (
        good | {"keys": good["keys"] | {"p256dh": b64(b"\x04" + bytes(64))}},
        good | {"keys": good["keys"] | {"auth": b64(bytes(8))}},
        good | {"endpoint": "http://127.0.0.1:1/" + "x" * 5000},
    ):
        outcome = await push().send(letter(json.dumps(wrong)))
        assert isinstance(outcome, Never) and outcome.code == "bad_subscription"


async def test_a_long_text_is_shortened_until_a_service_takes_it(http, push, browser) -> None:
    stub = await http(MADE)
    await push().send(letter(browser.subscription(f"{stub.url}/p/1"), text="é" * 9000))
    assert len(stub.asked[0].body) <= 4096
    shown = browser.read(stub.asked[0].body)["body"]
    assert shown.endswith("…") and len(shown) > 1800


async def test_an_endless_address_to_open_is_never_sent(push, browser) -> None:
    outcome = await push().send(letter(browser.subscription("http://127.0.0.1:1/p"), url="https://hub.example.test/" + "x" * 4000))
    assert isinstance(outcome, Never) and not outcome.dead_address


@given(st.text(max_size=6000), st.text(max_size=300))
def test_a_payload_fits_and_holds_as_much_as_can_be(text: str, title: str) -> None:
    try:
        (text + title).encode()
    except UnicodeEncodeError:
        return
    made = _payload(Letter(key="k", to="x", text=text, subject=title))
    assert made is not None and len(made.encode()) <= PAYLOAD_MAX
    shown = json.loads(made)["body"]
    assert shown == text or (shown.endswith("…") and text.startswith(shown[:-1]))


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"vapid_key": ""}, "vapid_key_file"),
        ({"vapid_key": "no key"}, "vapid_key_file"),
        ({"vapid_key": "é"}, "vapid_key_file"),
        ({"contact": "ops@example.test"}, "contact"),
        ({"contact": "https://hub.example.test/about"}, "contact"),
    ],
)
async def test_settings_that_cannot_be_right_are_told(push, more: dict, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        push(**more)
