"""Malformed, hostile and impossible requests get a 4xx with a code and a sentence, and change nothing.

One hub hears all that is refused, and its books are compared before and after; what is no harm is asked of a hub of its own.
"""

import json

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from cloud_hub.web.api.common import read_cursor, write_cursor
from shared.runtime.problems import Problem
from tests.cloud_hub.hub_world import LINE_AFTER, SITE, opened

FAR = LINE_AFTER + 8
of_one_hub = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub(tmp_path_factory):
    """The hub with its site, the same for all of this file."""
    async with opened(tmp_path_factory.mktemp("hub")) as world:
        yield world


@pytest_asyncio.fixture(loop_scope="module")
async def w(hub):
    """The hub, whose books a refusal leaves as they were."""
    before = counted(hub)
    yield hub
    assert counted(hub) == before


def counted(w):
    return w.db.read(lambda tx: [tx.one(f"SELECT COUNT(*) FROM {t}")[0] for t in ("bookings", "claims", "outbox", "customers", "orders")])


def refused(answer) -> int:
    """The status of a refusal that is told as every refusal is; 0 for any other answer."""
    if answer.headers.get("content-type") != "application/problem+json":
        return 0
    body = answer.json()
    told = body["code"] and body["detail"].endswith((".", "?")) and body["status"] == answer.status_code
    return answer.status_code if told else 0


BAD_FIELDS = {
    "an id that is too short": {"booking_id": "b1"},
    "an id with a slash": {"booking_id": "../../etc/passwd"},
    "an id with a line end": {"booking_id": "booking-0001\n"},
    "an id that is too long": {"booking_id": "b" * 65},
    "an id that is a number": {"booking_id": 17},
    "an id of another script": {"booking_id": "buchung-ü0001"},
    "a bay of no site": {"resource_id": "box-1"},
    "a bay that is SQL": {"resource_id": "bedford.box-1' OR '1'='1"},
    "a moment without an offset": {"start": "2026-11-22T02:00:00"},
    "a moment that is a number": {"start": 1795276800},
    "a day that there is not": {"start": "2026-02-30T02:00:00Z"},
    "an unknown field": {"price_cents": 1},
    "no guests": {"guests": 0},
    "half a guest": {"guests": 1.5},
    "a crowd": {"guests": 10**9},
    "a number beyond all bounds": {"guests": 10**400},
    "notes without end": {"notes": "x" * 501},
    "a customer without contact": {"customer": {"name": "Testa Birdie"}},
    "a customer without a name": {"customer": {"name": "", "phone": "902-555-0101"}},
    "a customer with a name of control characters": {"customer": {"name": "Testa\u0007", "phone": "902-555-0101"}},
    "a phone number that is none": {"customer": {"name": "Testa", "phone": "call me"}},
    "an address that is none": {"customer": {"name": "Testa", "email": "testa at example"}},
    "an address with a second header": {"customer": {"name": "Testa", "email": "testa@example.test\nBcc: all@example.test"}},
    "two customers": {"customer_id": "customer-0001"},
    "nobody": {"customer": None},
    "one bay and several": {"parts": [{"resource_id": "bedford.box-1", "start": "2026-11-22T02:00:00Z", "end": "2026-11-22T03:00:00Z"}]},
    "a quote that is a number": {"quote": 3500},
}  # fmt: skip


@of_one_hub
@pytest.mark.parametrize("change", BAD_FIELDS.values(), ids=BAD_FIELDS.keys())
async def test_a_booking_with_a_bad_field_is_refused_and_changes_nothing(w, change):
    body = json.dumps({**w.wish(1, FAR), **change})
    no = await w.client.post(
        "/api/v1/bookings", content=body, headers={"authorization": f"Bearer {w.key}", "content-type": "application/json"}
    )
    assert refused(no) == 400, no.text


IMPOSSIBLE = {
    "off the quarter hour": ({"start": "2026-11-22T02:07:00Z"}, 422),
    "by a second": ({"start": "2026-11-22T02:00:01Z"}, 422),
    "by a fraction": ({"start": "2026-11-22T02:00:00.5Z"}, 422),
    "ends before it starts": ({"end": "2026-11-21T02:00:00Z"}, 422),
    "ends when it starts": ({"start": "2026-11-22T03:00:00Z", "end": "2026-11-22T03:00:00Z"}, 422),
    "lasts a year": ({"end": "2027-11-22T02:00:00Z"}, 422),
    "in the past": ({"start": "2026-11-20T02:00:00Z", "end": "2026-11-20T03:00:00Z"}, 422),
    "before all years": ({"start": "0001-01-01T00:00:00Z", "end": "0001-01-01T01:00:00Z"}, 422),
    "after all years": ({"start": "9999-12-31T00:00:00Z", "end": "9999-12-31T01:00:00Z"}, 422),
    "too far ahead": ({"start": "2027-11-22T02:00:00Z", "end": "2027-11-22T03:00:00Z"}, 422),
    "at a bay that there is not": ({"resource_id": f"{SITE}.box-99"}, 404),
    "at a site that there is not": ({"resource_id": "nowhere.box-1"}, 404),
    "by a customer that there is not": ({"customer": None, "customer_id": "customer-0001"}, 404),
    "with a code that there is not": ({"code": "FREE-GOLF"}, 422),
    "with a quote that is none": ({"quote": "CQ1.AAAA"}, 422),
}


@of_one_hub
@pytest.mark.parametrize(("change", "status"), IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
async def test_an_impossible_booking_is_refused_and_changes_nothing(w, change, status):
    no = await w.post("/bookings", {**w.wish(1, FAR), **change})
    assert refused(no) == status, no.text


async def test_a_hold_that_there_is_not_is_no_harm(tmp_path):
    async with opened(tmp_path) as own:
        assert (await own.post("/bookings", {**own.wish(1, FAR), "hold_id": "hold-nobody"})).status_code == 201


BODIES = {
    "nothing": b"", "no JSON": b"hello", "half of it": b'{"booking_id": "book', "a list": b"[]", "null": b"null",
    "a key twice": b'{"guests": 1, "guests": 2}', "no UTF-8": b'{"notes": "\xff\xfe"}', "a NUL": b'{"notes": "a\\u0000b"}',
    "very deep": b"[" * 30_000, "not a number": b'{"guests": NaN}', "a lone surrogate": b'{"notes": "\\ud800"}',
}  # fmt: skip


@of_one_hub
@pytest.mark.parametrize("path", ["/bookings", "/holds", "/blackouts", "/pricing/quote", "/bookings/booking-0001/cancel",
                                  "/bookings/booking-0001/reschedule", "/bookings/booking-0001/extend"])  # fmt: skip
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
async def test_a_body_that_is_none_is_refused(w, path, body):
    no = await w.client.post(
        f"/api/v1{path}", content=body, headers={"authorization": f"Bearer {w.key}", "content-type": "application/json"}
    )
    assert refused(no) == 400, no.text


@of_one_hub
async def test_a_body_of_another_kind_or_size_is_refused(w):
    head = {"authorization": f"Bearer {w.key}"}
    form = await w.client.post("/api/v1/bookings", content=b"a=1", headers={**head, "content-type": "application/x-www-form-urlencoded"})
    large = await w.client.post("/api/v1/bookings", content=b" " * 70_000, headers={**head, "content-type": "application/json"})
    assert (refused(form), refused(large)) == (415, 413)


@of_one_hub
@pytest.mark.parametrize("key", ["", "k" * 201, "schlüssel", "a\tb"])
async def test_an_idempotency_key_is_plain_text(w, key):
    wish = w.wish(1, FAR)
    del wish["booking_id"]
    head = {"authorization": f"Bearer {w.key}", "idempotency-key": key.encode("latin-1")}
    assert refused(await w.client.post("/api/v1/bookings", json=wish, headers=head)) == 400


BAD_FILTERS = [
    "limit=0", "limit=201", "limit=many", "cursor=%00", "cursor=zzz", "cursor=MTIz", "cursor=" + "A" * 201, "status=lost", "from=yesterday",
    "from=2026-11-21T00:00:00", "to=0.5", "to=2026-02-30T00:00:00Z", "site_id=a%27b", "reference=%27--",
]  # fmt: skip


@of_one_hub
@pytest.mark.parametrize("query", BAD_FILTERS)
async def test_a_list_with_a_bad_filter_is_refused(w, query):
    assert refused(await w.get(f"/bookings?{query}")) == 400


@of_one_hub
@pytest.mark.parametrize("query", ["from=0001-01-01T00:00:00Z", "to=9999-12-31T23:59:59Z", "from=9999-12-31T23:59:59-12:00", "limit=200"])
async def test_a_list_with_a_far_filter_is_just_a_list(w, query):
    assert (await w.get(f"/bookings?{query}")).status_code == 200


@of_one_hub
@pytest.mark.parametrize(
    "path", ["/bookings/%00", "/bookings/%ff", "/bookings/..%2f..%2fetc", "/bookings/" + "x" * 3000, "/sites/%27", "/nowhere"]
)
async def test_an_address_of_nothing_is_not_found(w, path):
    assert refused(await w.get(path)) in (400, 404)


@of_one_hub
async def test_a_method_that_there_is_not_is_refused(w):
    assert refused(await w.ask("PATCH", "/bookings/booking-0001", {})) == 405
    assert refused(await w.ask("DELETE", "/bookings/booking-0001")) == 405


@given(st.integers(0, 10**9), st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{7,63}", fullmatch=True))
def test_a_cursor_comes_back_as_it_was_given(first, row_id):
    assert read_cursor(write_cursor(first, row_id)) == (first, row_id)


@given(st.text(max_size=60))
def test_any_text_is_a_cursor_or_a_refusal(text):
    try:
        first, row_id = read_cursor(text)
    except Problem as problem:
        assert problem.status == 400
    else:
        assert first >= 0 and row_id
