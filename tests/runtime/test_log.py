"""Log lines: readable by machines, and nothing that belongs to people or opens doors."""

import io
import json
import logging
import threading
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.runtime import log
from shared.runtime.passwords import hash_token
from tests.runtime.demo_app import Demo


class Person(msgspec.Struct):
    id: str
    name: str
    email: str


@pytest.fixture
def lines():
    """Give the root logger our handler for one test; call the result to stop it and read what was written."""
    root, stream = logging.getLogger(), io.BytesIO()
    handlers, level = list(root.handlers), root.level
    handler = log.setup("DEBUG", stream)

    def read() -> list[dict]:
        handler.close()
        return [json.loads(line) for line in stream.getvalue().splitlines()]

    yield read
    handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_line_has_time_level_logger_event_and_fields(lines):
    log.get("site.booking").info("booking.confirmed", booking_id="b-1", price_cents=5500, slots=[1, 2])
    (line,) = [line for line in lines() if line["logger"] == "site.booking"]
    assert line["event"] == "booking.confirmed" and line["level"] == "info" and line["time"].endswith("Z")
    assert (line["booking_id"], line["price_cents"], line["slots"]) == ("b-1", 5500, [1, 2])


def test_ids_are_carried_by_every_line_inside(lines):
    events = log.get("x")
    with log.bound(booking_id="b-1"), log.bound(message_id="m-2"):
        events.info("inside")
    events.info("outside")
    inside, outside = (line for line in lines() if line["logger"] == "x")
    assert inside["booking_id"] == "b-1" and inside["message_id"] == "m-2" and "booking_id" not in outside


async def test_the_request_id_is_on_the_lines_of_the_request(lines):
    async with Demo().client() as client:
        await client.get("/api/v1/boom", headers={"x-request-id": "phone-12345678"})
    (line,) = [line for line in lines() if line["event"] == "http.unexpected"]
    assert line["request_id"] == "phone-12345678" and "RuntimeError" in line["error"]


SECRETS = [
    "testa@example.test",
    "testa.birdie+x@mail.example.test",
    "902-555-0123",
    "(902) 555-0123",
    "9025550123",
    "+1 902 555 0123",
    "+44 20 7946 0123",
    "w9KKCNOwWxYTxitvE2U7-NRuaXYXuBOa3rRwKnfryNg",
    hash_token("x"),
    "eyJhbGciOiJFZERTQSJ9eyJhbGciOiJFZERTQSJ9eyJh.eyJzdWIiOiIxIn0.c2ln",
    "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA\n-----END PRIVATE KEY-----",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_contact_data_and_keys_are_taken_out_of_any_text(secret):
    for text in (secret, f"sent to {secret}.", f"<{secret}>", f'{{"to": "{secret}"}}', f"/my/{secret}", f"/my/{secret}?x=1"):
        shown = log.redact_text(text)
        assert secret not in shown and secret.split("\n")[0][:16] not in shown, shown


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer abc123",
        "pin=4821",
        "PIN: 482136",
        '"password": "fairway"',
        "token=abc&x=1",
        "api_key='k-1'",
        "Cookie: session=zz",
        "Basic dTpw",
    ],
)
def test_named_secrets_are_taken_out_of_any_text(text):
    shown = log.redact_text(text)
    assert not any(secret in shown for secret in ("abc", "4821", "fairway", "k-1", "zz", "dTpw")), shown
    assert log.REDACTED in shown


@pytest.mark.parametrize(
    "text",
    [
        "booking 3f1c6f0a-7d55-4c7e-9a55-0d6f6a1b2c3d confirmed",
        "90255501-2345-4789-8012-345678901234",
        "start 1763694000 slot 1959660",
        "shared.runtime.web spinning happened",
        "12 bookings, 3 holds, 5500 cents",
        "2027-05-14T18:30:00Z",
        "clubos/v1/bedford/up",
    ],
)
def test_ids_times_and_plain_words_stay(text):
    assert log.redact_text(text) == text


@pytest.mark.parametrize(
    "name",
    [
        *(
            "pin",
            "door_pin",
            "pins",
            "password",
            "token",
            "kiosk_token",
            "api_key",
            "apikey",
            "authorization",
            "Cookie",
            "set-cookie",
            "email",
        ),
        *(
            "e_mail",
            "phone",
            "mobile_number",
            "name",
            "guest_name",
            "full_name",
            "contact",
            "address",
            "session_id",
            "secret",
            "signature",
            "birthday",
        ),
    ],
)
def test_fields_named_like_secrets_or_people_are_never_shown(name):
    assert log.redact({"deep": [{name: "Testa"}]})["deep"][0][name] == log.REDACTED
    assert log.redact(4821, name) == log.REDACTED


@pytest.mark.parametrize(
    "name", ["booking_id", "site_id", "message_id", "pass_id", "resource_id", "spin_count", "route", "shipping", "event_at"]
)
def test_ordinary_fields_are_shown(name):
    assert log.redact("b-1", name) == "b-1"


def test_whole_people_are_not_shown():
    person = Person("c-1", "Testa Birdie", "testa@example.test")
    assert log.redact({"customer": person})["customer"] == log.REDACTED
    assert "Testa" not in json.dumps(log.redact([person])) and "c-1" in json.dumps(log.redact([person]))


def test_secrets_in_library_lines_arguments_and_tracebacks_do_not_come_through(lines):
    try:
        raise RuntimeError("no answer for testa@example.test with Bearer abc123")
    except RuntimeError:
        logging.getLogger("vendor").exception("call to %s failed", "+1 902 555 0123")
    text = json.dumps(lines())
    assert "testa@" not in text and "abc123" not in text and "555" not in text and "RuntimeError" in text


def test_odd_values_are_written_as_something(lines):
    deep: list = []
    deep.append(deep)
    log.get("x").info("odd", deep=deep, octets=b"123", weird=object, text="a\ud800b", time="mine", nan=float("nan"), big=10**30)
    (line,) = [line for line in lines() if line["logger"] == "x"]
    assert line["event"] == "odd" and line["time"].endswith("Z")


@given(st.text(max_size=300))
def test_any_text_can_be_written(text):
    record = logging.LogRecord("x", logging.INFO, "f", 1, text.replace("%", ""), None, None)
    assert json.loads(log.line_of(record, {"note": text}))["level"] == "info"


def test_a_pipe_that_is_stuck_does_not_hold_up_the_caller_and_losses_are_told():
    free, written = threading.Event(), []

    class Stuck(io.RawIOBase):
        def write(self, line):
            assert free.wait(10)
            written.append(line)
            return len(line)

    handler = log.JsonLines(Stuck(), waiting_max=5)
    logger = logging.Logger("stuck")
    logger.addHandler(handler)
    for number in range(50):
        logger.info("event %d", number)
    assert handler.dropped >= 40
    free.set()
    deadline = time.monotonic() + 10
    while not handler._waiting.empty():
        assert time.monotonic() < deadline
        time.sleep(0.001)
    logger.info("last")
    handler.close()
    assert any(b"log.dropped" in line for line in written) and b"last" in written[-1]
