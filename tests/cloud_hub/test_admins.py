"""Who gets in to the hub's own pages: a key with the scope `admin`, and the session after it, for as long as both stand."""

import re

import httpx
import msgspec
import pytest

from cloud_hub import app as hub_app
from cloud_hub.config import Http
from cloud_hub.services.admins import SESSION_S, TRIES_MAX, TRIES_WINDOW_S
from cloud_hub.store import api_keys as rows
from shared.errors import Unavailable
from shared.ledger import records
from shared.runtime.clock import Chance
from tests.cloud_hub.hub_world import LIMITS, HubWorld
from tests.cloud_hub.visitor import Page, Visitor

INSIDE = ("/manage", "/manage/work", "/manage/work/" + "m" * 32)


@pytest.fixture
async def v(w):
    yield Visitor(w)


async def signed_in(v: Visitor, key: str | None = None) -> Page:
    """The page after the sign-in, with a new key if none is given."""
    form = (await v.get("/manage/sign-in")).form("/manage/sign-in")
    return await v.send(form, key=key if key is not None else await v.w.new_key("admin"))


def journal(w: HubWorld) -> list[tuple[str, str]]:
    """`(who, what)` of what belongs to no site, the latest first."""
    return [(actor, what) for _, actor, what, _, _ in w.db.read(lambda tx: records.journal_of(tx, ""))]


def sessions(w: HubWorld) -> list[tuple]:
    return w.db.read(lambda tx: tx.all("SELECT * FROM admin_sessions"))


@pytest.mark.parametrize("address", INSIDE)
async def test_nobody_gets_further_than_the_sign_in(w, v, address):
    page = await v.get(address)
    assert page.address.startswith("/manage/sign-in") and page.heading == "Sign in"
    program = await w.client.get(address)
    assert (program.status_code, program.json()["code"]) == (401, "not_signed_in")


async def test_a_right_key_leads_to_the_page_that_was_asked_for(w, v):
    asked = await v.get("/manage/work?state=stuck&text=a+b")
    page = await v.send(asked.form("/manage/sign-in"), key=await w.new_key("admin"))
    assert (page.status, page.address, page.heading) == (200, "/manage/work?state=stuck&text=a+b", "Work")
    assert (await v.get("/manage/sign-in")).address == "/manage/work"


@pytest.mark.parametrize("to", ["https://example.test/", "//example.test", "/manage/../book", "/manage/work\r\nx: y", "/book", "/manage/sign-out", "\\\\x"])
async def test_a_sign_in_leads_nowhere_but_to_these_pages(w, v, to):
    form = (await v.get("/manage/sign-in")).form("/manage/sign-in")
    page = await v.send(form, key=await w.new_key("admin"), next=to)
    assert page.address == "/manage/work"


async def test_the_cookie_is_for_this_server_alone_and_only_its_hash_is_kept(w, v):
    await signed_in(v)
    cookie = v.client.cookies["admin"]
    ((kept, *_),) = sessions(w)
    assert len(cookie) >= 43 and cookie not in str(sessions(w)) and re.fullmatch("[0-9a-f]{64}", kept)
    fresh = Visitor(w)
    form = (await fresh.get("/manage/sign-in")).form("/manage/sign-in")
    answer = await fresh.client.post("/manage/sign-in", data=dict(form.filled(key=await w.new_key("admin"))))
    (set_,) = [one for one in answer.headers.get_list("set-cookie") if one.startswith("admin=")]
    assert {"HttpOnly", "SameSite=Strict", f"Max-Age={SESSION_S}", "Path=/"} <= set(set_.split("; "))
    assert answer.headers["cache-control"] == "no-store"


async def test_behind_tls_the_cookie_is_secure_and_bound_to_the_host(w):
    config = msgspec.structs.replace(w.config, hub=msgspec.structs.replace(w.config.hub, http=Http(behind_tls=True)))
    app = hub_app.build(config, clock=w.clock, chance=Chance(9), db=w.db, transports=lambda _: hub_app.Unconnected(), limits=LIMITS)
    app.hub.api_keys.load()
    transport = httpx.ASGITransport(app.asgi, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="https://hub.test", headers={"accept": "text/html"}) as client:
        page = await client.get("/manage/sign-in")
        token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)[1]
        answer = await client.post("/manage/sign-in", data={"key": await w.new_key("admin"), "csrf_token": token})
        assert answer.status_code == 303, answer.text
        (set_,) = [one for one in answer.headers.get_list("set-cookie") if "admin=" in one]
        assert set_.startswith("__Host-admin=") and set_.endswith("; Secure")
        assert (await client.get("/manage/work")).status_code == 200


@pytest.mark.parametrize("key", ["", "chk_wrong", "x" * 400, "a b", "ключ"])
async def test_a_wrong_key_is_told_and_never_shown_again(w, v, key):
    page = await signed_in(v, key)
    assert page.status == 401 and "not known here, or has been revoked" in page.words
    assert "admin" not in v.client.cookies and not (key and key in page.text) and journal(w) == []


async def test_a_key_that_is_too_long_for_any_key_is_refused(v):
    assert (await signed_in(v, "x" * 401)).status == 400


async def test_a_key_without_the_scope_does_not_open_these_pages(w, v):
    page = await signed_in(v, await w.new_key("bookings:read", "sites:read"))
    assert page.status == 403 and "lacks the scope admin" in page.words and sessions(w) == []


async def test_many_wrong_keys_lock_the_address_out_but_not_a_key_that_is_right(w, v):
    for _ in range(TRIES_MAX):
        assert (await signed_in(v, "chk_wrong")).status == 401
        w.clock.forward(60)
    locked = await signed_in(v, "chk_wrong")
    assert locked.status == 429 and "Too many wrong keys" in locked.words and "minutes" in locked.words
    assert (await signed_in(Visitor(w, address="192.0.2.7"), "chk_wrong")).status == 401
    assert (await signed_in(v)).heading == "Work"
    w.clock.forward(TRIES_WINDOW_S)
    assert (await signed_in(Visitor(w), "chk_wrong")).status == 401


async def test_one_address_cannot_try_keys_without_end(w, v):
    answers = [(await signed_in(v, "chk_wrong")).status for _ in range(12)]
    assert answers[-1] == 429 and answers[0] == 401


async def test_a_session_ends_after_twelve_hours(w, v):
    await signed_in(v)
    w.clock.forward(SESSION_S - 1)
    assert (await v.get("/manage/work")).heading == "Work"
    w.clock.forward(1)
    assert (await v.get("/manage/work")).heading == "Sign in"
    await signed_in(v)
    assert len(sessions(w)) == 1


async def test_a_revoked_key_ends_its_sessions_and_no_others(w, v):
    key = await w.new_key("admin")
    await signed_in(v, key)
    other = Visitor(w)
    await signed_in(other)
    found = w.hub.api_keys.find(key)
    w.db.write_now(lambda tx: rows.revoke(tx, found.id, 1))
    assert (await v.get("/manage/work")).heading == "Sign in"
    assert (await other.get("/manage/work")).heading == "Work" and len(sessions(w)) == 1
    assert (await signed_in(v, key)).status == 401


@pytest.mark.parametrize("cookie", ["", "x" * 43, "é", "a; b", "../.."])
async def test_a_forged_session_opens_nothing(w, cookie):
    await signed_in(Visitor(w))
    answer = await w.client.get("/manage/work", headers={"cookie": f"admin={cookie}".encode("latin-1"), "accept": "text/html"})
    assert answer.status_code == 303 and answer.headers["location"].startswith("/manage/sign-in")


async def test_the_hash_of_a_session_is_no_session(w, v):
    await signed_in(v)
    ((kept, *_),) = sessions(w)
    assert (await w.client.get("/manage/work", headers={"cookie": f"admin={kept}"})).status_code == 401


async def test_a_key_in_a_header_opens_the_pages_to_nobody(w, v):
    key = await w.new_key("admin")
    assert (await w.client.get("/manage/work", headers={"authorization": f"Bearer {key}"})).status_code == 401
    await signed_in(v)
    await v.post("/manage/sign-out", [], authorization=f"Bearer {key}")
    assert len(sessions(w)) == 1 and (await v.get("/manage/work")).heading == "Work", "a header must not stand in for the page's token"


async def test_signing_out_ends_the_session_at_once(w, v):
    page = await signed_in(v)
    cookie = v.client.cookies["admin"]
    assert (await v.send(page.form("/manage/sign-out"))).heading == "Sign in"
    assert sessions(w) == [] and (await w.client.get("/manage/work", headers={"cookie": f"admin={cookie}"})).status_code == 401


@pytest.mark.parametrize("token", ["", "x" * 64])
async def test_a_form_of_another_sites_page_is_refused(w, v, token):
    await signed_in(v)
    page = await v.post("/manage/sign-out", [("csrf_token", token)])
    assert page.status == 403 and len(sessions(w)) == 1
    stranger = Visitor(w)
    assert (await stranger.post("/manage/sign-in", [("csrf_token", token), ("key", await w.new_key("admin"))])).status == 403
    assert len(sessions(w)) == 1


async def test_a_field_nobody_asked_for_is_refused(w, v):
    form = (await v.get("/manage/sign-in")).form("/manage/sign-in")
    page = await v.post(form.action, [*form.filled(key=await w.new_key("admin")), ("user", "robin")])
    assert page.status == 400 and sessions(w) == []


async def test_signing_in_and_out_stands_in_the_journal_with_the_keys_name(w, v):
    key = await w.new_key("admin")
    page = await signed_in(v, key)
    await v.send(page.form("/manage/sign-out"))
    who = f"a program ({w.hub.api_keys.find(key).id})"
    assert journal(w) == [(who, "signed out"), (who, "signed in")]


async def test_books_that_cannot_be_written_let_nobody_in_and_say_so(w, v, monkeypatch):
    form = (await v.get("/manage/sign-in")).form("/manage/sign-in")
    key = await w.new_key("admin")

    async def full(fn):
        raise Unavailable("The books could not be written: database or disk is full")

    with monkeypatch.context() as m:
        m.setattr(w.db, "write", full)
        page = await v.send(form, key=key)
    assert page.status == 503 and "admin" not in v.client.cookies and "disk is full" not in page.text
