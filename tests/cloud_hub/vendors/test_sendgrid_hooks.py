"""SendGrid's signed events: only what its key has signed lately is read, and what is read."""

import base64
import json

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from sendgrid.helpers.eventwebhook import EventWebhook

from cloud_hub.ports import Receipt
from cloud_hub.vendors.sendgrid_hooks import SIGNATURE, TIMESTAMP, SendGridHooks
from shared.errors import Refused
from tests.cloud_hub.vendors.conftest import NOW

KEY = ec.generate_private_key(ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP256R1())
DELIVERED = {
    "email": "testa@example.test", "timestamp": NOW - 3, "event": "delivered", "sg_event_id": "e-1", "sg_message_id": "tkUnO8.recvd-1-0.0",
    "msg_key": "n-17_A", "response": "250 OK", "category": ["x"],
}  # fmt: skip


def public(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> str:
    form = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(form).decode()


def hooks() -> SendGridHooks:
    return SendGridHooks(public(KEY), now=lambda: float(NOW), age_max_s=600)


def signed(body: bytes, *, at: object = NOW, key: ec.EllipticCurvePrivateKey = KEY) -> dict[str, str]:
    signature = key.sign(str(at).encode() + body, ec.ECDSA(hashes.SHA256()))
    return {SIGNATURE: base64.b64encode(signature).decode(), TIMESTAMP: str(at)}


def read(*events: object) -> list:
    body = json.dumps(list(events)).encode() + b"\r\n"
    return hooks().read("/hooks/sendgrid", signed(body), body)


def test_an_event_bears_the_letters_key_and_sendgrids_id_without_its_machine() -> None:
    assert read(DELIVERED) == [
        Receipt(id="e-1", key="n-17_A", ref="tkUnO8", state="delivered", code="", reason="250 OK", to="testa@example.test", at=NOW - 3)
    ]


@pytest.mark.parametrize(
    ("event", "more", "state", "dead", "out"),
    [
        ("processed", {}, "accepted", False, False),
        ("deferred", {"response": "451 later", "attempt": "5"}, "accepted", False, False),
        ("bounce", {"type": "bounce", "status": "5.1.1", "reason": "550 no such user"}, "bounced", True, False),
        ("bounce", {"type": "blocked", "reason": "blocked by policy"}, "bounced", False, False),
        ("dropped", {"reason": "Bounced Address"}, "dropped", True, False),
        ("dropped", {"reason": "Unsubscribed Address"}, "dropped", False, True),
        ("dropped", {"reason": "Spam Reporting Address"}, "dropped", False, True),
        ("dropped", {"reason": "Spam Content (if Spam Checker app enabled)"}, "dropped", False, False),
        ("spamreport", {}, "complained", False, True),
        ("unsubscribe", {}, "unsubscribed", False, True),
        ("group_unsubscribe", {"asm_group_id": 1}, "unsubscribed", False, True),
        ("open", {"useragent": "x"}, "opened", False, False),
        ("click", {"url": "https://example.test"}, "opened", False, False),
    ],
)
def test_every_event_has_its_state(event: str, more: dict, state: str, dead: bool, out: bool) -> None:
    (receipt,) = read(DELIVERED | {"event": event} | more)
    assert (receipt.state, receipt.dead_address, receipt.opted_out) == (state, dead, out)


def test_a_batch_is_read_in_order_and_what_is_not_known_is_passed_over() -> None:
    batch = [DELIVERED | {"sg_event_id": "a"}, {"event": "group_resubscribe"}, {"event": 7}, {}, DELIVERED | {"sg_event_id": "b"}]
    assert [receipt.id for receipt in read(*batch)] == ["a", "b"]


def test_an_event_without_ids_has_one_of_its_own_that_stays_the_same() -> None:
    bare = {"event": "bounce", "email": "testa@example.test", "type": "bounce", "sg_message_id": None, "timestamp": "soon"}
    (receipt,) = read(bare)
    assert (receipt.key, receipt.ref, receipt.at) == ("", "", NOW)
    assert receipt.id == read(dict(reversed(bare.items())))[0].id != read(bare | {"email": "testb@example.test"})[0].id


def code_of(body: bytes, headers: dict[str, str]) -> str:
    with pytest.raises(Refused) as refused:
        hooks().read("/hooks/sendgrid", headers, body)
    return refused.value.refusal.code


BODY = json.dumps([DELIVERED]).encode()


def test_what_sendgrid_has_not_signed_is_refused() -> None:
    assert code_of(BODY, {}) == "hook_forged"
    assert code_of(BODY, signed(BODY) | {SIGNATURE: "é"}) == "hook_forged"
    assert code_of(BODY, signed(BODY, key=OTHER)) == "hook_forged"
    assert code_of(BODY + b" ", signed(BODY)) == "hook_forged"
    assert code_of(BODY, signed(BODY) | {TIMESTAMP: str(NOW + 1)}) == "hook_forged"


@pytest.mark.parametrize("at", [NOW - 601, NOW + 601, "soon", "", "-1", "²"])
def test_what_was_signed_long_ago_or_ahead_of_time_is_refused(at: object) -> None:
    assert code_of(BODY, signed(BODY, at=at)) == "hook_stale"


@pytest.mark.parametrize("body", [b"", b"{}", b"[7]", b"[" * 100_000, b"\xff", b'["x"]'])
def test_what_is_no_list_of_events_is_refused(body: bytes) -> None:
    assert code_of(body, signed(body)) == "bad_request"


def test_the_vendors_own_package_agrees_on_what_is_signed() -> None:
    theirs, headers = EventWebhook(public(KEY)), signed(BODY)
    assert theirs.verify_signature(BODY.decode(), headers[SIGNATURE], headers[TIMESTAMP])
    assert hooks().read("/", headers, BODY)


@pytest.mark.parametrize(
    "key", ["", "no key", "é", base64.b64encode(b"x" * 91).decode(), public(ed25519.Ed25519PrivateKey.from_private_bytes(b"k" * 32))]
)
def test_a_key_that_is_none_is_told(key: str) -> None:
    with pytest.raises(ValueError, match="webhook_public_key"):
        SendGridHooks(key, now=lambda: 0.0)
