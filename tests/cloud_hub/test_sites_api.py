"""Sites with their links, customers, health and metrics."""

import httpx

from tests.cloud_hub.hub_world import LINE_AFTER, NOON, SITE

FAR = LINE_AFTER + 8


async def test_a_site_that_is_heard_is_up(w):
    site = (await w.get(f"/sites/{SITE}")).json()
    assert (site["name"], site["link"], site["waiting_messages"], site["releasing"]) == ("Bedford", "up", 0, True)
    assert site["since"] == site["heard_at"] == "2026-11-21T16:00:00Z"
    assert site["hub_sells_from"][f"{SITE}.box-1"] == w.iso(LINE_AFTER)
    assert (await w.get("/sites")).json() == {"sites": [site]}


async def test_a_cut_shows_since_when_and_how_much_waits(w):
    w.cut()
    await w.until(lambda: not w.hub.links.up(SITE))
    w.clock.forward(120)
    await w.post("/bookings", w.wish(1, FAR))
    site = (await w.get(f"/sites/{SITE}")).json()
    assert (site["link"], site["since"], site["waiting_messages"]) == ("dark", "2026-11-21T16:00:00Z", 1)
    assert site["waiting_since"] == "2026-11-21T16:02:00Z" and site["releasing"] is False


async def test_a_link_that_falls_silent_goes_dark_by_itself(w):
    w.network.cut(f"site-{SITE}", "both", noticed=False)
    w.clock.forward(11)
    assert (await w.get(f"/sites/{SITE}")).json()["link"] == "dark"


async def test_a_clock_that_is_far_off_stops_the_releases_and_is_shown(w):
    w.site.desk.clock = lambda: w.clock.now() + 90
    w.site.pump.clock = type("Ahead", (), {"now": lambda s: w.clock.now() + 90, "monotonic": lambda s: w.clock.monotonic()})()
    w.say_hello()
    await w.until(lambda: w.hub.links.state(SITE).skew_s > 60)
    site = (await w.get(f"/sites/{SITE}")).json()
    assert (site["skew_shown"], site["releasing"], site["link"]) == (True, False, "up")
    w.clock.forward(10 * 3600)
    w.say_hello()
    assert await w.hub.links.release() == 0


async def test_lines_rise_by_the_hubs_clock_while_the_link_is_fresh(w):
    before = (await w.get(f"/sites/{SITE}")).json()["hub_sells_from"]
    w.clock.forward(7 * 3600)
    w.say_hello()
    await w.linked()
    assert await w.hub.links.release() == 4
    after = (await w.get(f"/sites/{SITE}")).json()["hub_sells_from"]
    assert all(after[bay] > before[bay] for bay in before)
    w.cut()
    await w.until(lambda: not w.hub.links.up(SITE))
    w.clock.forward(3600)
    assert await w.hub.links.release() == 0


async def test_an_unknown_site_is_not_found(w):
    no = await w.get("/sites/nowhere")
    assert (no.status_code, no.json()["code"]) == (404, "facility_not_found")


async def test_the_site_is_told_the_profile_once(w):
    from shared.ledger import records

    stated = w.site.db.read(lambda tx: records.document(tx, "profile", SITE))
    assert stated[0] == w.config.profile.version
    assert await w.hub.sites.tell(SITE) is False


async def test_a_customer_is_read_with_totals_from_the_bookings(w):
    made = (await w.post("/bookings", w.wish(1, FAR))).json()
    who = (await w.get(f"/customers/{made['customer_id']}")).json()
    assert (who["name"], who["phone"], who["email"]) == ("Testa Birdie 1", "902-555-0101", "testa1@example.test")
    assert (who["bookings"], who["upcoming"], who["completed"]) == (1, 1, 0)
    assert (await w.get("/customers/nobody-has-this")).json()["code"] == "customer_not_found"


async def test_the_same_contact_is_the_same_customer(w):
    first = (await w.post("/bookings", w.wish(1, FAR))).json()
    second = (await w.post("/bookings", w.wish(2, FAR, booking_id="booking-0002"))).json()
    assert first["customer_id"] == second["customer_id"]
    by_id = {**w.wish(3, FAR, booking_id="booking-0003"), "customer_id": first["customer_id"]}
    del by_id["customer"]
    assert (await w.post("/bookings", by_id)).json()["violations"][0]["rule"] == "R5"


# ---- health, metrics
async def test_health_needs_no_key_and_a_dark_site_does_not_make_it_red(w):
    w.cut()
    await w.until(lambda: not w.hub.links.up(SITE))
    assert (await w.client.get("/health/live")).json() == {"status": "live"}
    ready = await w.client.get("/health/ready")
    told = {name: ready.json()[name] for name in ("status", "sites", "books")}
    assert (ready.status_code, told) == (200, {"status": "ready", "sites": {SITE: "dark"}, "books": {SITE: "not compared yet"}})


async def test_books_that_cannot_be_written_make_it_red_with_a_time_to_come_back(w):
    w.db.failing = "disk full"
    red = await w.client.get("/health/ready")
    assert red.status_code == 503 and red.headers["retry-after"] == "5" and red.json()["code"] == "unavailable"
    assert "disk full" not in red.text


async def test_books_that_cannot_be_written_make_a_booking_503_and_nothing_is_booked(w, monkeypatch):
    from shared.errors import Unavailable

    async def full(fn):
        raise Unavailable("The books could not be written: database or disk is full")

    with monkeypatch.context() as m:
        m.setattr(w.db, "write", full)
        no = await w.post("/bookings", w.wish(1, FAR))
    assert (no.status_code, no.json()["code"], no.headers["retry-after"]) == (503, "unavailable", "5")
    assert "disk is full" not in no.text
    assert (await w.get("/bookings/booking-0001")).status_code == 404


async def test_metrics_tell_of_links_books_and_sales(w):
    await w.post("/bookings", w.wish(1, FAR))
    await w.post("/bookings", w.wish(1, FAR))
    await w.post("/bookings", w.wish(1, FAR, booking_id="booking-0002", who=2))
    text = (await w.client.get("/metrics")).text
    for line in (
        f'hub_link_up{{site="{SITE}"}} 1.0',
        'hub_bookings_total{outcome="confirmed"} 1.0',
        'hub_bookings_total{outcome="repeated"} 1.0',
        'hub_bookings_total{outcome="refused"} 1.0',
        'http_requests_total{method="POST",route="/api/v1/bookings",status="2xx"} 2.0',
        "hub_answers_waited_for 0.0",
    ):
        assert line in text
    assert "902-555" not in text and "example.test" not in text


async def test_the_description_is_complete_and_loads_nothing_from_elsewhere(w):
    schema = (await w.client.get("/api/openapi.json")).json()
    assert schema["openapi"].startswith("3.1")
    for path, item in schema["paths"].items():
        for operation in item.values():
            assert operation["security"] == [{"api_key": []}], path
            assert {"400", "401", "403", "503"} <= operation["responses"].keys(), path
    page = (await w.client.get("/api/docs")).text
    assert "/api/v1/bookings/{booking_id}/reschedule" in page and "https://" not in page.replace("http://www.w3.org", "")


async def test_no_answer_lacks_the_security_headers(w):
    for path in ("/health/live", "/api/v1/sites", "/api/docs", "/nowhere"):
        answer = await w.client.get(path)
        assert answer.headers["x-content-type-options"] == "nosniff" and "default-src" in answer.headers["content-security-policy"], path


def test_noon_is_noon():
    assert NOON % 86400 == 16 * 3600


async def test_metrics_are_not_for_the_world(w):
    transport = httpx.ASGITransport(w.app.asgi, raise_app_exceptions=False, client=("192.0.2.7", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://hub.test") as stranger:
        answer = await stranger.get("/metrics")
    assert answer.status_code == 404 and answer.json()["code"] == "not_found" and "hub_" not in answer.text
