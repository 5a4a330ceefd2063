"""Values that Schemathesis would not think of, at the site; what they hit at the hub stands in tests/cloud_hub/test_bad_input.py."""

import time

import pytest

from shared.ledger import records
from tests.site_agent.site_world import opened

VALUES = {
    "a name with a bell": {"name": "Testa\u0007"},
    "a name with a line end": {"name": "Testa Birdie\n"},
    "a name of two lines": {"name": "Testa\r\nBirdie"},
    "an address with a second header": {"email": "testa@example.test\nBcc: all@example.test"},
    "an address with an escape sequence": {"email": "testa\u001b[2J@example.test"},
    "an address with a space of another kind": {"email": "testa\u00a0birdie@example.test"},
    "an address with a line end": {"email": "testa@example.test\n"},
    "a phone number with a line end": {"phone": "902-555-0101\n"},
    "a phone number of too many digits": {"phone": "1" * 31},
    "a phone number that is words": {"phone": "call me maybe"},
    "an id with a line end": {"booking_id": "attempt-0001\n"},
    "a hold with a line end": {"hold_id": "attempt-0001\n"},
    "a customer with a line end": {"customer_id": "attempt-0001\n"},
    "an override that is a list": {"override_reason": ["because"]},
    "a price of one's own": {"price_cents": 1},
}


@pytest.mark.parametrize("change", VALUES.values(), ids=VALUES.keys())
async def test_a_booking_with_a_bad_value_is_refused_and_changes_nothing(tmp_path, change):
    async with opened(tmp_path) as w:
        no = await w.staff.post("/api/bookings", {**w.wish(1, 4), **change})
        assert no.status_code == 400 and no.json()["code"] == "bad_request"
        assert next(iter(change)) in no.text
        assert w.db.read(lambda tx: [tx.one(f"SELECT COUNT(*) FROM {name}")[0] for name in ("bookings", "claims", "customers")]) == [0, 0, 0]
        assert not [row for row in w.db.read(lambda tx: records.journal_of(tx, "bedford")) if "book" in row[2]]


@pytest.mark.parametrize("phone", ["902-555-0101", "+1 (902) 555-0101", "9025550101", "902.555.0101", "555-0101"])
async def test_a_phone_number_as_people_write_it_is_taken(tmp_path, phone):
    async with opened(tmp_path) as w:
        assert (await w.staff.post("/api/bookings", w.wish(1, 4, phone=phone))).status_code == 201


@pytest.mark.parametrize("phone", ["1" * 31 + "x", "1 " * 15 + "x", "1-" * 16, "+" + "1(" * 15 + "x"])
async def test_a_phone_number_is_refused_at_once(tmp_path, phone):
    async with opened(tmp_path) as w:
        began = time.process_time()
        no = await w.staff.post("/api/bookings", w.wish(1, 4, phone=phone))
        assert time.process_time() - began < 0.5
        assert no.status_code == 400 and no.json()["detail"].startswith("The phone number is not written as it should be.")
