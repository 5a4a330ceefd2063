"""Twilio's webhooks: only what it signed for this address is read, and what is read."""

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from cloud_hub.ports import Inbound, Receipt
from cloud_hub.vendors.twilio_hooks import TwilioHooks
from shared.errors import Refused
from tests.cloud_hub.vendors.conftest import NOW

TOKEN = "its-token"
PUBLIC = "https://hub.example.test"
STATUS = {
    "AccountSid": "AC" + "0" * 32, "MessageSid": "SM1", "SmsSid": "SM1", "MessageStatus": "delivered", "SmsStatus": "delivered",
    "From": "+19025550199", "To": "+19025550101", "ApiVersion": "2010-04-01", "RawDlrDoneDate": "2609211413",
}  # fmt: skip
INBOUND = {
    "MessageSid": "SM2", "SmsSid": "SM2", "SmsStatus": "received", "From": "+19025550101", "To": "+19025550199", "Body": "  stop. ",
    "NumMedia": "0", "FromCity": "",
}  # fmt: skip
TARGET = "/hooks/twilio?m=n-17_A"


def hooks(public_url: str = PUBLIC) -> TwilioHooks:
    return TwilioHooks(TOKEN, public_url, now=lambda: float(NOW))


def signed(form: dict, target: str = TARGET, *, url: str = PUBLIC, token: str = TOKEN) -> dict[str, str]:
    """The headers of a call as the vendor's own package signs it."""
    return {"x-twilio-signature": RequestValidator(token).compute_signature(url + target, form)}


def read(form: dict, target: str = TARGET) -> list:
    return hooks().read(target, signed(form, target), urlencode(form).encode())


def test_a_report_bears_the_letters_key_and_twilios_id() -> None:
    assert read(STATUS) == [
        Receipt(id="SM1:delivered:", key="n-17_A", ref="SM1", state="delivered", code="", reason="", to="+19025550101", at=NOW)
    ]


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("accepted", "accepted"), ("queued", "accepted"), ("sending", "accepted"), ("scheduled", "accepted"), ("sent", "sent"),
        ("delivered", "delivered"), ("partially_delivered", "delivered"), ("read", "opened"), ("undelivered", "failed"), ("failed", "failed"),
        ("canceled", "failed"),
    ],
)  # fmt: skip
def test_every_status_has_its_state(word: str, state: str) -> None:
    (receipt,) = read(STATUS | {"MessageStatus": word, "SmsStatus": word})
    assert receipt.state == state


def test_a_status_that_is_not_known_is_passed_over() -> None:
    assert read(STATUS | {"MessageStatus": "teleported"}) == []


@pytest.mark.parametrize(
    ("code", "dead", "out"),
    [
        ("30003", False, False),
        ("30005", True, False),
        ("30006", True, False),
        ("30007", False, False),
        ("21610", False, True),
        ("63014", False, True),
    ],
)
def test_a_failure_tells_whether_the_number_is_dead(code: str, dead: bool, out: bool) -> None:
    (receipt,) = read(STATUS | {"MessageStatus": "undelivered", "ErrorCode": code})
    assert (receipt.code, receipt.dead_address, receipt.opted_out) == (code, dead, out)
    assert receipt.reason


def test_the_same_report_has_the_same_id_and_another_status_another() -> None:
    first, again, other = read(STATUS)[0], read(STATUS)[0], read(STATUS | {"MessageStatus": "sent"})[0]
    assert first.id == again.id != other.id


def test_a_report_without_twilios_id_still_has_one_of_its_own() -> None:
    bare = {name: value for name, value in STATUS.items() if not name.endswith("Sid")}
    (receipt,) = read(bare)
    assert receipt.ref == "" and receipt.id == read(bare)[0].id != read(bare | {"To": "+19025550102"})[0].id


def test_a_report_without_a_key_is_told_as_such() -> None:
    assert read(STATUS, "/hooks/twilio")[0].key == ""


@pytest.mark.parametrize(
    ("text", "more", "word"),
    [
        ("STOP", {}, "stop"), ("  stop. ", {}, "stop"), ("Arrêt", {}, "stop"), ("ARRET", {}, "stop"), ("cancel", {}, "stop"), ("start", {}, "start"),
        ("Unstop", {}, "start"), ("help", {}, "help"), ("Aide", {}, "help"), ("please stop calling it a bay", {}, ""), ("stop it", {}, ""), ("", {}, ""),
        ("anything", {"OptOutType": "STOP"}, "stop"), ("anything", {"OptOutType": "HELP"}, "help"),
    ],
)  # fmt: skip
def test_what_people_write_is_read_with_the_word_it_asks(text: str, more: dict, word: str) -> None:
    assert read(INBOUND | {"Body": text} | more, "/hooks/twilio") == [
        Inbound(id="SM2", sender="+19025550101", receiver="+19025550199", text=text, word=word)
    ]


def code_of(form: dict, headers: dict[str, str], target: str = TARGET, body: bytes | None = None) -> str:
    with pytest.raises(Refused) as refused:
        hooks().read(target, headers, urlencode(form).encode() if body is None else body)
    return refused.value.refusal.code


def test_what_twilio_has_not_signed_for_this_address_is_refused() -> None:
    good = signed(STATUS)
    assert code_of(STATUS, {}) == "hook_forged"
    assert code_of(STATUS, {"x-twilio-signature": "é"}) == "hook_forged"
    assert code_of(STATUS, signed(STATUS, token="another")) == "hook_forged"
    assert code_of(STATUS | {"MessageStatus": "failed"}, good) == "hook_forged"
    assert code_of(STATUS | {"More": ""}, good) == "hook_forged"
    assert code_of({name: value for name, value in STATUS.items() if name != "To"}, good) == "hook_forged"
    assert code_of(STATUS, good, "/hooks/twilio?m=another") == "hook_forged"
    assert code_of(STATUS, signed(STATUS, url="http://hub.example.test")) == "hook_forged"
    assert code_of(STATUS, signed(STATUS, url="https://elsewhere.example.test")) == "hook_forged"


@pytest.mark.parametrize("body", [b"\xff\xfe", b"&".join(b"a=b" for _ in range(300))])
def test_what_is_no_form_is_refused(body: bytes) -> None:
    assert code_of(STATUS, signed(STATUS), body=body) == "bad_request"


@pytest.mark.parametrize("url", ["https://hub.example.test:443", "https://hub.example.test"])
def test_the_port_may_be_written_out_or_not(url: str) -> None:
    assert hooks().read(TARGET, signed(STATUS, url=url), urlencode(STATUS).encode())


def test_a_public_address_with_port_and_path_is_signed_as_it_is_called() -> None:
    url = "https://hub.example.test:8443/booking"
    assert hooks(url + "/").read(TARGET, signed(STATUS, url=url), urlencode(STATUS).encode())


@given(st.dictionaries(st.text("abAB%&= é\n+", min_size=1, max_size=6), st.text("abAB%&= é\n+", max_size=12), min_size=1, max_size=6))
def test_the_signature_is_the_one_of_the_vendors_own_package(form: dict[str, str]) -> None:
    assert hooks().read(TARGET, signed(form), urlencode(form).encode()) == []


def test_the_answer_says_nothing_to_the_guest() -> None:
    assert hooks().answer.media == "text/xml" and hooks().answer.body.endswith(b"<Response/>")
