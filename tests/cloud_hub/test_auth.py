"""Who may use the API: every route needs a key with its scope; wrong keys lead nowhere and to a lock-out; rates have limits."""

import pytest

from cloud_hub.config import Rates
from cloud_hub.services.api_keys import SCOPES, make
from cloud_hub.store import api_keys as rows
from cloud_hub.web.auth import SCOPE, WRONG_KEYS_MAX, WRONG_KEYS_WINDOW_S
from shared.errors import Refused
from tests.cloud_hub.hub_world import LINE_AFTER, SITE, opened

FAR = LINE_AFTER + 8


def api_routes(w):
    for route in w.app.litestar.routes:
        if route.path.startswith("/api/v1"):
            for handler in route.route_handlers:
                for method in handler.http_methods - {"OPTIONS", "HEAD"}:
                    yield method, route.path_format.replace("{", "").replace("}", ""), handler


async def test_every_route_names_a_scope_and_refuses_without_a_key(w):
    seen = 0
    for method, path, handler in api_routes(w):
        assert handler.opt.get(SCOPE) in SCOPES, path
        no = await w.client.request(method, path, json={})
        assert (no.status_code, no.json()["code"]) == (401, "not_signed_in"), (method, path)
        assert no.headers["www-authenticate"] == "Bearer"
        seen += 1
    assert seen >= 20


async def test_every_route_refuses_a_key_without_its_scope(w):
    for method, path, handler in api_routes(w):
        token = await w.new_key(*(scope for scope in SCOPES if scope != handler.opt[SCOPE]))
        no = await w.client.request(method, path, json={}, headers={"authorization": f"Bearer {token}"})
        assert (no.status_code, no.json()["code"]) == (403, "not_allowed"), (method, path)
        assert handler.opt[SCOPE] in no.json()["detail"]


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer ", "Basic dGVzdGE6eA==", "Bearer wrong", "Bearer " + "x" * 5000, "Bearer \xff\xfe"]
)
async def test_what_is_no_key_opens_nothing(w, given):
    no = await w.client.get("/api/v1/sites", headers={"authorization": given.encode("latin-1")})
    assert (no.status_code, no.json()["code"]) == (401, "not_signed_in")
    assert given[7:] == "" or given[7:] not in no.text


async def test_a_revoked_key_is_refused_from_then_on(w):
    token = await w.new_key("sites:read")
    assert (await w.get("/sites", key=token)).status_code == 200
    key = w.hub.api_keys.find(token)
    w.db.write_now(lambda tx: rows.revoke(tx, key.id, 1))
    assert (await w.get("/sites", key=token)).status_code == 401


async def test_only_the_hash_of_a_key_is_kept(w):
    token = await w.new_key("sites:read")
    assert all(token not in str(key) for key in w.db.read(rows.all_keys))


async def test_many_wrong_keys_lock_the_address_out_but_not_the_keys_that_are_right(w):
    for _ in range(WRONG_KEYS_MAX):
        assert (await w.get("/sites", key="wrong")).status_code == 401
    locked = await w.get("/sites", key="wrong")
    assert (locked.status_code, locked.json()["code"]) == (429, "too_many_tries") and int(locked.headers["retry-after"]) > 0
    assert (await w.get("/sites")).status_code == 200
    w.clock.forward(WRONG_KEYS_WINDOW_S)
    assert (await w.get("/sites", key="wrong")).status_code == 401


async def test_a_key_has_its_own_rate(tmp_path):
    async with opened(tmp_path, rates=Rates(per_address=1000, per_key=3)) as w:
        assert [(await w.get("/sites")).status_code for _ in range(4)] == [200, 200, 200, 429]
        assert (await w.get("/sites", key=await w.new_key("sites:read"))).status_code == 200
        w.clock.forward(20)
        assert (await w.get("/sites")).status_code == 200


async def test_an_address_has_a_rate_and_every_answer_tells_of_it(tmp_path):
    async with opened(tmp_path, rates=Rates(per_address=3, per_key=1000)) as w:
        first = await w.get("/sites")
        assert (first.headers["ratelimit-limit"], first.headers["ratelimit-remaining"]) == ("3", "2")
        await w.get("/sites"), await w.get("/sites")
        no = await w.get("/sites")
        assert (no.status_code, no.json()["code"]) == (429, "too_many_requests") and int(no.headers["retry-after"]) > 0
        assert (await w.client.get("/health/live")).status_code == 200


@pytest.mark.parametrize(("name", "scopes"), [("", ["sites:read"]), ("x" * 81, ["sites:read"]), ("a\x00b", ["sites:read"]), ("reports", []),
                                              ("reports", ["everything"])])  # fmt: skip
def test_a_key_has_a_name_and_scopes_that_there_are(name, scopes):
    with pytest.raises(Refused):
        make(name, scopes, 1)


async def test_a_key_reads_no_more_than_it_was_given(w):
    await w.post("/bookings", w.wish(1, FAR))
    token = await w.new_key("availability:read")
    assert (await w.get(f"/availability?site_id={SITE}&date=2026-11-21", key=token)).status_code == 200
    assert (await w.get("/bookings/booking-0001", key=token)).status_code == 403
