"""Forged requests are refused, honest forms without JavaScript are not."""

import re

import pytest

from shared.runtime.cookies import make_cookie, read_cookie
from shared.runtime.csrf import Csrf
from shared.runtime.web import EdgeSettings
from tests.runtime.demo_app import Demo


async def token_of(client) -> str:
    return re.search(r"<p>([0-9a-f]{64})", (await client.get("/page")).text)[1]


async def test_a_form_with_the_pages_token_is_taken_without_javascript():
    async with Demo().client() as client:
        answer = await client.post("/notes", data={"csrf_token": await token_of(client), "text": "hi", "tags": ["a", "b"], "count": "3"})
    assert answer.status_code == 201 and answer.json() == {"text": "hi", "count": 3, "tags": ["a", "b"]}


async def test_a_fetch_sends_the_token_as_a_header():
    async with Demo().client() as client:
        answer = await client.post("/notes", data={"text": "hi"}, headers={"x-csrf-token": await token_of(client)})
    assert answer.status_code == 201


async def test_the_visitor_cookie_is_out_of_reach_of_scripts_and_other_sites():
    async with Demo().client() as client:
        cookie = (await client.get("/page")).headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and "Secure" not in cookie
        assert "set-cookie" not in (await client.get("/page")).headers
    async with Demo(EdgeSettings(tls=True)).client() as client:
        cookie = (await client.get("/page")).headers["set-cookie"]
        assert cookie.startswith("__Host-visitor=") and cookie.endswith("; Secure") and "Path=/;" in cookie


@pytest.mark.parametrize("token", ["", "0" * 64, "x", "é\ufffd"])
async def test_a_wrong_token_is_refused(token):
    async with Demo().client() as client:
        await token_of(client)
        answer = await client.post("/notes", data={"csrf_token": token, "text": "hi"})
    assert answer.status_code == 403 and answer.json()["code"] == "csrf_failed"


async def test_a_token_of_another_visitor_is_refused():
    demo = Demo()
    async with demo.client() as mine, demo.client() as other:
        token = await token_of(mine)
        await token_of(other)
        assert (await other.post("/notes", data={"csrf_token": token, "text": "hi"})).status_code == 403


async def test_a_token_from_before_the_sign_in_is_refused_and_the_sessions_own_is_taken():
    demo = Demo()
    async with demo.client() as client:
        token = await token_of(client)
        client.cookies.set("session", "abc")
        assert (await client.post("/notes", data={"csrf_token": token, "text": "hi"})).status_code == 403
        assert (await client.post("/notes", data={"csrf_token": demo.csrf.token_for("abc"), "text": "hi"})).status_code == 201


@pytest.mark.parametrize("headers", [{"origin": "http://evil.test"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}])
async def test_a_request_from_another_sites_page_is_refused_even_with_a_token(headers):
    async with Demo().client() as client:
        answer = await client.post("/notes", data={"csrf_token": await token_of(client), "text": "hi"}, headers=headers)
    assert answer.status_code == 403 and "another site" in answer.json()["detail"]


async def test_our_own_origin_is_taken():
    async with Demo().client() as client:
        headers = {"origin": "http://demo.test", "sec-fetch-site": "same-origin"}
        answer = await client.post("/notes", data={"csrf_token": await token_of(client), "text": "hi"}, headers=headers)
    assert answer.status_code == 201


async def test_a_request_with_a_key_needs_no_token():
    async with Demo().client() as client:
        assert (await client.post("/notes", data={"text": "hi"}, headers={"authorization": "Bearer k"})).status_code == 201


def test_a_short_key_is_refused():
    with pytest.raises(ValueError, match="32 bytes"):
        Csrf(b"short", tls=False)


def test_a_cookie_that_is_planted_beside_ours_is_not_read():
    scope = {"headers": [(b"cookie", b"session=a; session=b"), (b"cookie", b"other=1")]}
    assert read_cookie(scope, "session", tls=False) == "" and read_cookie(scope, "other", tls=False) == "1"
    assert read_cookie({"headers": [(b"cookie", b'session="a b"')]}, "session", tls=False) == ""
    assert read_cookie({"headers": [(b"cookie", b"session=x")]}, "session", tls=True) == ""
    assert read_cookie({"headers": []}, "session", tls=False) == ""


@pytest.mark.parametrize(("name", "value"), [("a b", "x"), ("a", "x;y"), ("a", "x\r\nset-cookie: y"), ("", "x"), ("a", "x" * 600)])
def test_a_cookie_cannot_be_made_of_anything(name, value):
    with pytest.raises(ValueError, match="cannot carry"):
        make_cookie(name, value, tls=False)


def test_a_cookie_is_forgotten_at_once_with_age_zero():
    assert b"Max-Age=0" in make_cookie("session", "", tls=False, max_age_s=0)
    assert b"SameSite=Strict" in make_cookie("session", "x", tls=False, same_site="Strict")


@pytest.mark.parametrize("header", ["Basic dGVzdGE6YmlyZGll", "Digest x", "k"])
async def test_credentials_that_a_browser_fills_in_by_itself_need_the_token_like_any_other(header):
    async with Demo().client() as client:
        answer = await client.post("/notes", data={"text": "hi"}, headers={"authorization": header})
    assert answer.status_code == 403 and answer.json()["code"] == "csrf_failed"
