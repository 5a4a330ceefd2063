"""Mail by SendGrid: what goes out, and what is made of everything that may come back."""

import asyncio
import json
import logging
from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from cloud_hub.ports import Letter
from cloud_hub.vendors.sendgrid_mail import SendGridMail
from shared.outcomes import Later, Misconfigured, Never, Taken, Unknown
from tests.cloud_hub.vendors.conftest import NOW
from tests.cloud_hub.vendors.stub import CLOSE, HANG, Says

KEY = "SG.its-key"
LETTER = Letter(key="n-17_A", to="testa@example.test", subject="Your booking", text="Box 3 at 18:00.", html="<p>Box 3</p>")
MADE = Says(202, "", {"X-Message-Id": "tkUnO8-XQ1Wr"})


@pytest.fixture
def mail(now, closing):
    def make(url: str, **more) -> SendGridMail:
        return closing(
            SendGridMail(**({"api_key": KEY, "sender": "desk@example.test", "base_url": url, "timeout_s": 5.0, "now": now} | more))
        )

    return make


async def test_a_letter_goes_out_with_its_key_as_a_custom_argument(http, mail) -> None:
    stub = await http(MADE)
    assert await mail(stub.url, sender_name="The Desk", reply_to="answers@example.test").send(LETTER) == Taken("tkUnO8-XQ1Wr")
    (asked,) = stub.asked
    assert (asked.method, asked.target, asked.headers["authorization"]) == ("POST", "/v3/mail/send", f"Bearer {KEY}")
    assert json.loads(asked.body) == {
        "personalizations": [{"to": [{"email": "testa@example.test"}], "custom_args": {"msg_key": "n-17_A"}}],
        "from": {"email": "desk@example.test", "name": "The Desk"},
        "reply_to": {"email": "answers@example.test"},
        "subject": "Your booking",
        "content": [{"type": "text/plain", "value": "Box 3 at 18:00."}, {"type": "text/html", "value": "<p>Box 3</p>"}],
        "tracking_settings": {"click_tracking": {"enable": False, "enable_text": False}},
    }


async def test_nothing_of_a_person_is_where_sendgrid_keeps_it_for_good(http, mail) -> None:
    stub = await http(MADE)
    await mail(stub.url).send(LETTER)
    body = json.loads(stub.asked[0].body)
    assert "categories" not in body and "custom_args" not in body
    assert list(body["personalizations"][0]["custom_args"].values()) == [LETTER.key]


async def test_a_subject_is_one_line_and_never_missing(http, mail) -> None:
    stub = await http(MADE)
    channel = mail(stub.url)
    await channel.send(Letter(key="k", to=LETTER.to, text="x", subject="a\r\nBcc: b@example.test"))
    await channel.send(Letter(key="k", to=LETTER.to, text="  first\nsecond "))
    assert [json.loads(asked.body)["subject"] for asked in stub.asked] == ["a Bcc: b@example.test", "first second"]


async def test_without_events_the_answer_is_final(http, mail) -> None:
    assert await mail((await http(Says(202))).url, reports=False).send(LETTER) == Taken("", final=True)


async def test_what_is_worth_nothing_any_more_is_not_sent(http, mail) -> None:
    stub = await http(MADE)
    outcome = await mail(stub.url).send(Letter(key="k", to=LETTER.to, text="x", expires_at=NOW - 1))
    assert isinstance(outcome, Never) and outcome.code == "expired"
    assert stub.asked == []


def refusal(status: int, message: str, field: str | None = None) -> Says:
    return Says(status, json.dumps({"errors": [{"message": message, "field": field, "help": None}]}))


@pytest.mark.parametrize(
    ("says", "kind", "facts"),
    [
        (refusal(400, "Does not contain a valid address.", "personalizations.0.to.0.email"), Never, {"code": "400", "dead_address": True}),
        (refusal(400, "Invalid.", "content.0.value"), Never, {"dead_address": False}),
        (Says(400, "<html>"), Never, {"dead_address": False}),
        (refusal(400, "The from address is not verified.", "from"), Misconfigured, {}),
        (refusal(401, "The provided authorization grant is invalid, expired, or revoked"), Misconfigured, {}),
        (refusal(403, "Not a verified sender.", "from"), Misconfigured, {}),
        (Says(404), Misconfigured, {}),
        (Says(413, "too large"), Never, {"code": "413"}),
        (Says(429, '{"errors":[{"field":null,"message":"too many requests"}]}', {"Retry-After": "12"}), Later, {"after_s": 12.0}),
        (Says(429, "", {"X-RateLimit-Reset": str(NOW + 30)}), Later, {"after_s": 30.0}),
        (Says(429), Later, {"after_s": None}),
        (Says(500, '{"errors":[]}'), Unknown, {}),
        (Says(502, "<html>bad gateway</html>"), Unknown, {}),
        (Says(503), Unknown, {}),
        (Says(200, "<html>welcome</html>"), Unknown, {}),
        (Says(200), Unknown, {}),
        (Says(202, "<html>welcome</html>"), Unknown, {}),
        (CLOSE, Unknown, {}),
    ],
)  # fmt: skip
async def test_every_answer_has_its_outcome_and_nothing_is_tried_twice(http, mail, says, kind, facts) -> None:
    stub = await http(says)
    outcome = await mail(stub.url).send(LETTER)
    assert isinstance(outcome, kind), outcome
    assert {name: getattr(outcome, name) for name in facts} == facts
    assert len(stub.asked) == 1
    assert KEY not in repr(outcome)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed_with_our_key(http, mail, status: int) -> None:
    elsewhere = await http(MADE)
    stub = await http(Says(status, "", {"Location": f"{elsewhere.url}/v3/mail/send"}))
    assert isinstance(await mail(stub.url).send(LETTER), Misconfigured)
    assert elsewhere.asked == []


async def test_a_refused_connection_sent_nothing(mail, nobody) -> None:
    assert isinstance(await mail(f"http://127.0.0.1:{nobody}").send(LETTER), Later)


async def test_silence_ends_at_the_time_limit_and_is_unknown(http, mail) -> None:
    stub = await http(HANG)
    assert isinstance(await asyncio.wait_for(mail(stub.url, timeout_s=0.2).send(LETTER), 5), Unknown)


async def test_many_at_once_do_not_hold_up_the_loop(http, mail) -> None:
    stub = await http(MADE)
    channel = mail(stub.url, connections_max=3)
    letters = [Letter(key=f"k{n}", to=f"testa{n}@example.test", text="x") for n in range(30)]
    assert set(await asyncio.gather(*(channel.send(letter) for letter in letters))) == {Taken("tkUnO8-XQ1Wr")}
    assert len({asked.body for asked in stub.asked}) == 30


async def test_a_send_that_is_cancelled_just_as_its_answer_comes_is_cancelled(mail) -> None:
    channel = mail("http://127.0.0.1:9")
    work: Future = Future()
    channel._pool = SimpleNamespace(submit=lambda call: work, shutdown=lambda **_: None)
    sending = asyncio.create_task(channel.send(LETTER))
    await asyncio.sleep(0)
    work.set_result(SimpleNamespace(status_code=202, body=b"", headers={}))
    await asyncio.sleep(0)  # what was awaited is done; who awaits it has not gone on yet
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending


async def test_the_proxy_of_the_environment_is_not_asked_for_this_machine(http, mail, monkeypatch, nobody) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{nobody}")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    assert isinstance(await mail((await http(MADE)).url).send(LETTER), Taken)


async def test_neither_key_nor_mail_is_in_the_log(http, mail, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    channel = mail((await http(MADE)).url)
    await channel.send(LETTER)
    assert KEY not in caplog.text and "testa@" not in caplog.text and "Box 3" not in caplog.text


async def test_sendgrid_cannot_be_asked(http, mail) -> None:
    stub = await http(MADE)
    channel = mail(stub.url)
    assert not channel.finds and isinstance(await channel.find(LETTER, NOW - 1000), Unknown)
    assert stub.asked == []


@pytest.mark.parametrize(("more", "told"), [({"base_url": "http://mail.example.test"}, "https://"), ({"api_key": ""}, "missing")])
async def test_settings_that_cannot_be_right_are_told(now, more: dict, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        SendGridMail(**({"api_key": KEY, "sender": "desk@example.test", "now": now} | more))
