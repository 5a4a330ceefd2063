"""The web edge: what every answer carries and what no request gets past."""

import json

import httpx
import pytest

from shared.runtime.problems import PROBLEM_MEDIA
from shared.runtime.ratelimit import RateRule
from shared.runtime.web import LARGE_MAX, EdgeSettings, rate_key
from tests.runtime.demo_app import Demo

PAGE = {"accept": "text/html"}


@pytest.mark.parametrize(("path", "status"), [("/page", 200), ("/nothing", 404), ("/refused", 422), ("/api/docs", 200)])
async def test_every_page_carries_the_security_headers(path, status):
    async with Demo().client(headers=PAGE) as client:
        answer = await client.get(path)
    assert answer.status_code == status
    policy = answer.headers["content-security-policy"]
    for part in ("default-src 'self'", "object-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"):
        assert part in policy
    assert "unsafe" not in policy and "http" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert "camera=()" in answer.headers["permissions-policy"]
    assert answer.headers["cache-control"] == "no-store"
    assert "strict-transport-security" not in answer.headers


async def test_data_gets_a_policy_that_lets_nothing_run():
    async with Demo().client() as client:
        for path in ("/api/v1/hello", "/api/v1/boom", "/nothing"):
            answer = await client.get(path)
            assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
            assert answer.headers["cache-control"] == "no-store" and answer.headers["x-content-type-options"] == "nosniff"


async def test_tls_brings_hsts():
    async with Demo(EdgeSettings(tls=True)).client() as client:
        answer = await client.get("/page")
    assert answer.headers["strict-transport-security"].startswith("max-age=")


async def test_a_page_that_asks_for_the_camera_gets_that_and_nothing_else():
    async with Demo().client() as client:
        answer = await client.get("/seeing")
    assert answer.headers.get_list("permissions-policy") == ["camera=(self), geolocation=(), microphone=(), payment=()"]
    assert "default-src 'self'" in answer.headers["content-security-policy"]


async def test_a_handlers_own_cache_control_stands_once():
    async with Demo().client() as client:
        answer = await client.get("/api/v1/cached")
    assert answer.headers.get_list("cache-control") == ["no-cache"]
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_sound_request_id_is_kept_and_any_other_replaced():
    async with Demo().client() as client:
        assert (await client.get("/page", headers={"x-request-id": "phone-12345678"})).headers["x-request-id"] == "phone-12345678"
        seen = set()
        for bad in ("short", "x" * 65, 'a"b<script>alert', "-leading-dash", "with space in", "líne-feed-no"):
            given = (await client.get("/page", headers=[(b"x-request-id", bad.encode())])).headers["x-request-id"]
            assert given != bad
            seen.add(given)
        assert len(seen) == 6


async def test_a_body_of_announced_size_past_the_limit_is_refused_unread():
    async with Demo(EdgeSettings(body_max=100)).client() as client:
        assert (await client.post("/api/v1/raw", content=b"x" * 100)).json() == {"octets": 100}
        answer = await client.post("/api/v1/raw", content=b"x" * 101)
        assert answer.status_code == 413 and answer.json()["code"] == "too_large" and "100 bytes" in answer.json()["detail"]
        assert "connection" not in answer.headers
        answer = await client.post("/api/v1/raw", content=b"x" * 2_000_000)
        assert answer.status_code == 413 and answer.headers["connection"] == "close"


async def test_a_body_of_unannounced_size_is_counted():
    async def chunks(count):
        for _ in range(count):
            yield b"x" * 10

    async with Demo(EdgeSettings(body_max=100)).client() as client:
        assert (await client.post("/api/v1/raw", content=chunks(10))).json() == {"octets": 100}
        answer = await client.post("/api/v1/raw", content=chunks(11))
        assert answer.status_code == 413 and answer.headers["content-type"] == PROBLEM_MEDIA


async def test_where_others_post_in_batches_a_body_may_be_larger_and_has_a_limit_too():
    async def chunks(count):
        for _ in range(count):
            yield b"x" * 100_000

    async with Demo(EdgeSettings(body_max=100, large=("/api/v1/raw",))).client() as client:
        assert (await client.post("/api/v1/raw", content=b"x" * LARGE_MAX)).json() == {"octets": LARGE_MAX}
        assert (await client.post("/api/v1/raw", content=chunks(10))).json() == {"octets": 1_000_000}
        for body in (b"x" * (LARGE_MAX + 1), chunks(11)):
            answer = await client.post("/api/v1/raw", content=body)
            assert answer.status_code == 413 and f"{LARGE_MAX} bytes" in answer.json()["detail"]
        assert (await client.post("/api/v1/hello", content=b"x" * 101)).status_code == 413


async def test_only_known_hosts_are_served_where_they_are_named():
    demo = Demo(EdgeSettings(allowed_hosts=frozenset({"demo.test", "[::1]"})))
    async with demo.client() as client:
        for host in ("demo.test", "DEMO.test:8080", "[::1]:80", "[::1]"):
            assert (await client.get("/page", headers={"host": host})).status_code == 200
        for host in ("evil.test", "demo.test.evil.test", "[::2]", ""):
            answer = await client.get("/api/v1/hello", headers={"host": host})
            assert answer.status_code == 400 and answer.json()["code"] == "bad_host"


async def test_the_rate_is_limited_by_class_and_address_and_says_so():
    rules = (RateRule("sign_in", 2, 60, ("/notes",), frozenset({"POST"})), RateRule("api", 3, 30, ("/api/",)))
    demo = Demo(EdgeSettings(rate_rules=rules))
    async with demo.client() as client:
        left = [(await client.get("/api/v1/hello")).headers["ratelimit-remaining"] for _ in range(3)]
        assert left == ["2", "1", "0"]
        answer = await client.get("/api/v1/hello")
        assert answer.status_code == 429 and answer.json()["code"] == "too_many_requests"
        assert (
            answer.headers["ratelimit-limit"] == "3" and answer.headers["retry-after"] == "10" and answer.headers["ratelimit-reset"] == "30"
        )
        assert "ratelimit-limit" not in (await client.get("/health/live")).headers
        assert (await client.post("/notes")).headers["ratelimit-limit"] == "2"
        demo.clock.forward(10)
        assert (await client.get("/api/v1/hello")).status_code == 200
        assert (await client.get("/api/v1/hello")).status_code == 429


async def address_seen(demo: Demo, peer: str, forwarded: str | None) -> str:
    seen = {}

    async def app(scope, receive, send):
        seen["ip"] = scope["clubos.client_ip"]
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    demo.edge.app = app
    async with httpx.AsyncClient(transport=httpx.ASGITransport(demo.edge, client=(peer, 1)), base_url="http://demo.test") as client:
        await client.get("/", headers={"x-forwarded-for": forwarded} if forwarded else {})
    return seen["ip"]


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("10.0.0.2", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.2", "6.6.6.6, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.2", "6.6.6.6, 203.0.113.9, 10.0.0.3", "203.0.113.9"),
        ("198.51.100.7", "203.0.113.9", "198.51.100.7"),
        ("10.0.0.2", None, "10.0.0.2"),
    ],
)
async def test_a_forwarded_address_is_believed_of_our_proxies_only(peer, forwarded, expected):
    assert await address_seen(Demo(EdgeSettings(trusted_proxies=("10.0.0.0/8",))), peer, forwarded) == expected


async def test_without_proxies_a_forwarded_address_is_never_believed():
    assert await address_seen(Demo(), "127.0.0.1", "203.0.113.9") == "127.0.0.1"


def test_one_ipv6_client_is_one_network():
    assert rate_key("2001:db8:1:2:aaaa::1") == rate_key("2001:db8:1:2:bbbb::2") != rate_key("2001:db8:1:3::1")
    assert rate_key("192.0.2.1") == "192.0.2.1" and rate_key("not:an:address!") == "not:an:address!"


async def test_requests_are_counted_by_route_and_never_by_path():
    demo = Demo()
    async with demo.client() as client:
        for number in range(3):
            await client.get(f"/api/v1/things/3f1c6f0a-7d55-4c7e-9a55-0d6f6a1b2c{number}e")
            await client.get(f"/no/{number}")
        await client.request("BREW", "/no/4")
        text = (await client.get("/metrics")).text
    assert 'http_requests_total{method="GET",route="/api/v1/things/{thing_id}",status="2xx"} 3.0' in text
    assert 'http_requests_total{method="GET",route="unmatched",status="4xx"} 3.0' in text
    assert 'method="other"' in text and "BREW" not in text and "/no/" not in text
    assert 'http_request_seconds_bucket{le="+Inf",method="GET",route="unmatched",status="4xx"} 3.0' in text


async def test_an_app_that_is_not_litestar_is_guarded_too():
    async def app(scope, receive, send):
        raise ValueError("inner")

    demo = Demo()
    demo.edge.app = app
    async with demo.client() as client:
        answer = await client.get("/x")
    assert answer.status_code == 500 and json.loads(answer.content)["code"] == "internal" and b"inner" not in answer.content
