"""SMS by Twilio: what goes out, and what is made of everything that may come back."""

import asyncio
import json
import logging
from base64 import b64decode

import pytest

from cloud_hub.ports import Letter
from cloud_hub.vendors.twilio_sms import TwilioSms
from shared.outcomes import Later, Misconfigured, Never, Taken, Unknown
from tests.cloud_hub.vendors.conftest import NOW
from tests.cloud_hub.vendors.stub import CLOSE, HANG, Says

ACCOUNT = "AC" + "0" * 32
SID = "SM" + "1" * 32
LETTER = Letter(key="n-17_A", to="+19025550101", text="Box 3 at 18:00. PIN 4711.")


def message(**more) -> dict:
    return {
        "sid": SID, "status": "queued", "to": LETTER.to, "body": LETTER.text, "date_created": "Mon, 21 Sep 2026 14:12:25 +0000", "date_sent": None
    } | more  # fmt: skip


def listed(*messages: dict) -> Says:
    return Says(200, json.dumps({"messages": list(messages), "page": 0, "page_size": 50, "next_page_uri": None, "uri": "/x"}))


MADE = Says(201, json.dumps(message()))


@pytest.fixture
def sms(now, closing):
    def make(url: str, **more) -> TwilioSms:
        given = {"callback_url": "https://hub.example.test/hooks/twilio", "timeout_s": 5.0, "sender": "+19025550199", "now": now} | more
        return closing(TwilioSms(account_sid=ACCOUNT, username=ACCOUNT, password="its-token", base_url=url, **given))

    return make


async def test_a_letter_goes_out_once_with_its_key_in_the_callback(http, sms) -> None:
    stub = await http(MADE)
    assert await sms(stub.url).send(LETTER) == Taken(SID)
    (asked,) = stub.asked
    assert (asked.method, asked.path) == ("POST", f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json")
    assert asked.form == {
        "To": LETTER.to, "From": "+19025550199", "Body": LETTER.text, "StatusCallback": "https://hub.example.test/hooks/twilio?m=n-17_A"
    }  # fmt: skip
    assert b64decode(asked.headers["authorization"].removeprefix("Basic ")).decode() == f"{ACCOUNT}:its-token"


async def test_a_messaging_service_sends_and_without_callback_the_answer_is_final(http, sms) -> None:
    stub = await http(MADE)
    service = "MG" + "2" * 32
    assert await sms(stub.url, sender=service, callback_url="").send(LETTER) == Taken(SID, final=True)
    assert stub.asked[0].form["MessagingServiceSid"] == service
    assert not {"From", "StatusCallback"} & set(stub.asked[0].form)


@pytest.mark.parametrize(("left_s", "validity"), [(1, "1"), (600, "600"), (36_001, "36000"), (9_000_000, "36000")])
async def test_the_end_of_its_use_goes_along_as_far_as_twilio_counts(http, sms, left_s: int, validity: str) -> None:
    stub = await http(MADE)
    await sms(stub.url).send(Letter(key="k", to=LETTER.to, text="x", expires_at=NOW + left_s))
    assert stub.asked[0].form["ValidityPeriod"] == validity


async def test_what_is_worth_nothing_any_more_is_not_sent(http, sms) -> None:
    stub = await http(MADE)
    outcome = await sms(stub.url).send(Letter(key="k", to=LETTER.to, text="x", expires_at=NOW))
    assert isinstance(outcome, Never) and outcome.code == "expired" and not outcome.dead_address
    assert stub.asked == []


def refusal(status: int, code: int, text: str = "No.") -> Says:
    return Says(status, json.dumps({"code": code, "message": text, "more_info": "https://example.test", "status": status}))


@pytest.mark.parametrize(
    ("says", "kind", "facts"),
    [
        (refusal(400, 21610), Never, {"code": "21610", "opted_out": True, "dead_address": False}),
        (refusal(400, 21211), Never, {"code": "21211", "dead_address": True, "opted_out": False}),
        (refusal(400, 21614), Never, {"dead_address": True}),
        (refusal(400, 21635), Never, {"dead_address": True}),
        (refusal(400, 21617), Never, {"code": "21617", "dead_address": False}),
        (refusal(400, 21408), Never, {"dead_address": False}),
        (refusal(400, 21606), Misconfigured, {}),
        (refusal(400, 21703), Misconfigured, {}),
        (refusal(401, 20003), Misconfigured, {}),
        (refusal(404, 20404), Misconfigured, {}),
        (Says(302, "", {"Location": "http://127.0.0.1:1/elsewhere"}), Misconfigured, {}),
        (Says(429, "", {"Retry-After": "7"}), Later, {"after_s": 7.0}),
        (Says(429, "<html>", {"Retry-After": "soon"}), Later, {"after_s": None}),
        (refusal(400, 20429), Later, {"after_s": None}),
        (Says(500, "oops"), Unknown, {}),
        (Says(502, "<html>bad gateway</html>"), Unknown, {}),
        (refusal(503, 20503), Unknown, {}),
        (Says(200, "<html>welcome</html>"), Unknown, {}),
        (Says(201, ""), Unknown, {}),
        (Says(201, "null"), Unknown, {}),
        (Says(201, "[]"), Unknown, {}),
        (Says(201, '"SM1"'), Unknown, {}),
        (Says(201, "{}"), Unknown, {}),
        (Says(201, '{"sid": 7, "status": "queued"}'), Unknown, {}),
        (Says(201, '{"sid": "x", "date_created": 5}'), Unknown, {}),
        (Says(201, '{"sid": null, "status": "accepted"}'), Taken, {"ref": ""}),
        (CLOSE, Unknown, {}),
    ],
)
async def test_every_answer_has_its_outcome_and_nothing_is_tried_twice(http, sms, says, kind, facts) -> None:
    stub = await http(says)
    outcome = await sms(stub.url).send(LETTER)
    assert isinstance(outcome, kind), outcome
    assert {name: getattr(outcome, name) for name in facts} == facts
    assert len(stub.asked) == 1
    assert "its-token" not in repr(outcome)


async def test_an_error_document_of_the_newer_kind_is_read_as_well(http, sms) -> None:
    document = {"type": "https://example.test/21211", "title": "Invalid 'To'", "status": 400, "code": 21211, "detail": "Not a number."}
    stub = await http(Says(400, json.dumps(document)))
    outcome = await sms(stub.url).send(LETTER)
    assert outcome == Never("21211", "Twilio: Not a number. (21211).", dead_address=True)


async def test_a_refused_connection_sent_nothing(sms, nobody) -> None:
    assert isinstance(await sms(f"http://127.0.0.1:{nobody}").send(LETTER), Later)


async def test_silence_ends_at_the_time_limit_and_is_unknown(http, sms) -> None:
    stub = await http(HANG)
    assert isinstance(await asyncio.wait_for(sms(stub.url, timeout_s=0.2).send(LETTER), 5), Unknown)


async def test_many_at_once_each_get_their_own_answer(http, sms) -> None:
    stub = await http(MADE)
    channel = sms(stub.url, connections_max=5)
    letters = [Letter(key=f"k{n}", to=f"+1902555{n:04d}", text=f"number {n}") for n in range(60)]
    assert set(await asyncio.gather(*(channel.send(letter) for letter in letters))) == {Taken(SID)}
    assert {asked.form["To"] for asked in stub.asked} == {letter.to for letter in letters}


async def test_the_proxy_and_the_edge_of_the_environment_count_for_nothing(http, sms, monkeypatch, nobody) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{nobody}")
    monkeypatch.setenv("TWILIO_EDGE", "sydney")
    monkeypatch.setenv("TWILIO_REGION", "au1")
    assert await sms((await http(MADE)).url).send(LETTER) == Taken(SID)


async def test_numbers_and_words_are_not_in_the_log(http, sms, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    stub = await http(MADE, listed())
    channel = sms(stub.url)
    await channel.send(LETTER)
    await channel.find(LETTER, NOW - 100)
    assert LETTER.to not in caplog.text and "5550101" not in caplog.text and "4711" not in caplog.text and "its-token" not in caplog.text


async def test_a_lost_send_is_found_by_its_words(http, sms) -> None:
    stub = await http(listed(message(body="something else"), message(sid="SM9", status="sent", body=LETTER.text)))
    assert await sms(stub.url).find(LETTER, NOW - 100) == Taken("SM9")
    (asked,) = stub.asked
    assert asked.query["To"] == [LETTER.to] and asked.query["DateSent>"] == ["2026-09-21T14:11:10Z"]


async def test_a_message_that_still_waits_and_has_no_date_is_found_among_the_newest(http, sms) -> None:
    stub = await http(listed(), listed(message()))
    assert await sms(stub.url).find(LETTER, NOW - 100) == Taken(SID)
    assert "DateSent>" not in stub.asked[1].query


@pytest.mark.parametrize(
    "other",
    [
        message(body="something else"),
        message(body=None),
        message(status="canceled"),
        message(date_created="Mon, 21 Sep 2026 12:00:00 +0000"),
    ],
    ids=["other words", "no words", "taken back", "from before"],
)
async def test_what_twilio_does_not_have_was_surely_not_sent(http, sms, other: dict) -> None:
    stub = await http(listed(other))
    assert await sms(stub.url).find(LETTER, NOW - 100) is None


async def test_too_early_nothing_is_sure(http, sms) -> None:
    stub = await http(listed())
    assert isinstance(await sms(stub.url).find(LETTER, NOW - 5), Unknown)


@pytest.mark.parametrize(
    "says",
    [Says(500), Says(200, "<html>"), Says(200, "[]"), Says(200, "{}"), Says(429), Says(401, "{}"), CLOSE, Says(200, '{"messages": [7]}')],
)
async def test_a_look_that_fails_tells_nothing(http, sms, says) -> None:
    stub = await http(says)
    assert isinstance(await sms(stub.url).find(LETTER, NOW - 100), Unknown)


@pytest.mark.parametrize(
    ("more", "told"),
    [({"base_url": "http://sms.example.test"}, "https://"), ({"base_url": "not an address"}, "no address"), ({"password": ""}, "missing")],
)
async def test_settings_that_cannot_be_right_are_told(now, more: dict, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        TwilioSms(**({"account_sid": ACCOUNT, "username": ACCOUNT, "password": "p", "sender": "+19025550199", "now": now} | more))
