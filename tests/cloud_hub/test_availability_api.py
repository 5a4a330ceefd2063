"""What is free, what it costs, and how it is sold."""

from datetime import date

import pytest

from tests.cloud_hub.hub_world import LINE_AFTER, NOON, SITE

FAR = LINE_AFTER + 8
NEAR = 8
TODAY = f"/availability?site_id={SITE}&date=2026-11-21"
HALF_HOUR_AT_NOON = 24


async def test_a_day_shows_every_bay_and_who_sells(w):
    day = (await w.get(TODAY)).json()
    assert (day["link"], day["zone"], len(day["rows"]), len(day["resources"])) == ("up", "America/Halifax", 48, 4)
    assert day["as_of"] == NOON
    cells = day["resources"][0]["cells"]
    assert cells[: HALF_HOUR_AT_NOON - 1] == "p" * (HALF_HOUR_AT_NOON - 1)
    assert cells[HALF_HOUR_AT_NOON] == "a" and cells[HALF_HOUR_AT_NOON + LINE_AFTER // 2] == "i"


async def test_a_sale_shows_at_once_and_an_unchanged_day_is_304(w):
    first = await w.get(TODAY)
    same = await w.get(TODAY, if_none_match=first.headers["etag"])
    assert (same.status_code, same.content) == (304, b"") and same.headers["etag"] == first.headers["etag"]
    await w.post("/bookings", w.wish(1, FAR))
    changed = await w.get(TODAY, if_none_match=first.headers["etag"])
    assert changed.status_code == 200 and changed.headers["etag"] != first.headers["etag"]
    assert changed.json()["resources"][0]["cells"][HALF_HOUR_AT_NOON + FAR // 2] == "x"


async def test_in_a_cut_the_sites_time_is_unreachable_and_as_of_stands_still(w):
    w.cut()
    await w.until(lambda: not w.hub.links.up(SITE))
    w.clock.forward(60)
    day = (await w.get(TODAY)).json()
    assert (day["link"], day["as_of"]) == ("dark", NOON)
    assert set(day["resources"][0]["cells"]) == {"p", "u", "i"}


@pytest.mark.parametrize(("on", "rows"), [(date(2026, 11, 1), 50), (date(2027, 3, 14), 46)])
async def test_the_nights_on_which_clocks_change_have_their_own_length(w, on, rows):
    assert len((await w.get(f"/availability?site_id={SITE}&date={on}")).json()["rows"]) == rows


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400), ("?site_id=bedford", 400), ("?date=2026-11-21", 400), ("?site_id=bedford&date=21.11.2026", 400),
        ("?site_id=bedford&date=2026-11-31", 400), ("?site_id=bedford&date=1900-01-01", 400), ("?site_id=bedford&date=9999-12-31", 400),
        ("?site_id=Bedford%0A&date=2026-11-21", 400), ("?site_id=nowhere&date=2026-11-21", 404), ("?site_id=%00&date=2026-11-21", 400),
    ],
)  # fmt: skip
async def test_a_day_that_cannot_be_asked_for_is_refused(w, query, status):
    assert (await w.get(f"/availability{query}")).status_code == status


# ---- one time
@pytest.mark.parametrize(("start", "how", "available"), [(FAR, "instant", True), (NEAR, "ask_site", True), (1, "refused", False)])
async def test_one_time_says_how_it_is_sold_and_for_how_much(w, start, how, available):
    time = w.time(1, start)
    found = (await w.get(f"/availability/check?resource_id={time['resource_id']}&start={time['start']}&end={time['end']}")).json()
    assert (found["how"], found["available"]) == (how, available)
    assert found["price"]["total_cents"] > 0 and bool(found["violations"]) == (how == "refused")


async def test_a_taken_and_an_unreachable_time_are_not_available(w):
    await w.post("/bookings", w.wish(1, FAR))
    ask = "/availability/check?resource_id={resource_id}&start={start}&end={end}"
    assert (await w.get(ask.format(**w.time(1, FAR)))).json()["how"] == "taken"
    w.cut()
    await w.until(lambda: not w.hub.links.up(SITE))
    assert (await w.get(ask.format(**w.time(1, NEAR)))).json()["how"] == "unreachable"


@pytest.mark.parametrize("start", ["2026-11-21T20:07:00Z", "2026-11-21T20:00:00", "tomorrow", "2026-11-21T23:30:00Z"])
async def test_a_time_that_is_none_is_refused(w, start):
    no = await w.get(f"/availability/check?resource_id={SITE}.box-1&start={start}&end=2026-11-21T22:00:00Z")
    assert no.status_code in (400, 422)


# ---- quotes
async def test_a_quote_is_kept_although_prices_have_changed_since(w):
    quoted = (await w.post("/pricing/quote", w.time(1, FAR))).json()
    assert quoted["price"]["total_cents"] == sum(line["cents"] for line in quoted["price"]["lines"])
    assert quoted["quote"].startswith("CQ1.") and quoted["violations"] == [] and quoted["valid_until"] == "2026-11-21T16:15:00Z"
    dearer = await w.post("/bookings", w.wish(1, FAR, quote=quoted["quote"][:-2] + "AA"))
    assert (dearer.status_code, dearer.json()["code"]) == (422, "quote_invalid")
    made = await w.post("/bookings", w.wish(1, FAR, quote=quoted["quote"]))
    assert made.status_code == 201 and made.json()["price"] == quoted["price"]


async def test_a_quote_is_for_its_own_time_and_its_own_quarter_hour(w):
    quoted = (await w.post("/pricing/quote", w.time(1, FAR))).json()
    other = await w.post("/bookings", w.wish(2, FAR, quote=quoted["quote"]))
    assert other.json()["code"] == "quote_invalid"
    w.clock.forward(901)
    late = await w.post("/bookings", w.wish(1, FAR, quote=quoted["quote"]))
    assert late.json()["code"] == "quote_expired"


async def test_several_bays_are_priced_together(w):
    one = (await w.post("/pricing/quote", w.time(1, FAR))).json()
    two = (await w.post("/pricing/quote", {"parts": [w.time(1, FAR), w.time(2, FAR)]})).json()
    assert two["price"]["total_cents"] == 2 * one["price"]["total_cents"] and len(two["parts"]) == 2 and two["quote"] == ""


async def test_a_quote_names_the_rules_that_stand_against_it(w):
    quoted = (await w.post("/pricing/quote", w.time(1, FAR, 2))).json()
    assert [v["rule"] for v in quoted["violations"]] == ["R2"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400), ({"parts": []}, 400), ({"resource_id": "bedford.box-1"}, 400), ({"customer_id": "nobody-has-this"}, 404),
        ({"resource_id": "bedford.box-99"}, 404), ({"guests": 0}, 400), ({"guests": 10**20}, 400), ({"price": 1}, 400),
    ],
)  # fmt: skip
async def test_a_quote_that_cannot_be_made_is_refused(w, body, status):
    base = w.time(1, FAR) if body.keys() & {"customer_id", "guests", "price"} or body.get("resource_id", "").endswith("99") else {}
    assert (await w.post("/pricing/quote", {**base, **body})).status_code == status


async def test_bays_are_listed_by_site(w):
    found = (await w.get(f"/resources?site_id={SITE}")).json()["resources"]
    assert [r["id"] for r in found] == [f"{SITE}.box-{n}" for n in (1, 2, 3, 4)]
    assert (await w.get("/resources?site_id=nowhere")).json() == {"resources": []}
