"""Who may: staff by password, kiosks by token, everybody else nothing."""

import asyncio
import os
import re
from datetime import date

import msgspec

from site_agent.services import live, people
from site_agent.services.people import RIGHTS, ROLES
from site_agent.store import spool
from tests.site_agent.site_world import PASSWORD, SITE, Client, code_of

BOOK = {"resource_id": f"{SITE}.box-1", "start": "2026-11-21T16:00:00Z", "end": "2026-11-21T17:00:00Z", "name": "Testa", "booking_id": "b-12345678"}


def guarded(world) -> list[tuple[str, str]]:
    """Every route of the API that its description says needs somebody."""
    schema = world.agent.asgi.app.openapi_schema.to_schema()
    return [
        (method, path) for path, item in schema["paths"].items() for method, operation in item.items() if operation.get("security")
    ]  # fmt: skip


async def test_nobody_gets_anything_from_the_api(world):
    routes = guarded(world)
    assert len(routes) >= 28
    for method, path in routes:
        answer = await world.anybody.http.request(method, re.sub(r"\{[^}]+\}", "some-id-01", path))
        assert (method, path, answer.status_code) == (method, path, 401), answer.text


async def test_a_token_that_is_not_ours_gets_nothing(world):
    for header in ("Bearer " + "x" * 43, "Bearer", "Basic abc", "Bearer " + "é" * 30):
        stranger = Client(world, authorization=header.encode())
        assert (await stranger.get("/api/link")).status_code == 401


async def test_the_matrix_of_rights_holds_at_the_routes(world):
    asked = {
        "view": ("GET", "/api/conflicts", None),
        "book": ("POST", "/api/quotes", {key: BOOK[key] for key in ("resource_id", "start", "end")}),
        "check_in": ("POST", "/api/bookings/none-such-1/check-in", {}),
        "block": ("DELETE", "/api/blocks/none-such-1", None),
        "unlock": ("POST", "/api/doors/nowhere/unlock", {"request_id": "request-1"}),
        "screens": ("GET", "/api/kiosks", None),
        "machines": ("POST", "/api/machines/bedford.box-1/help", {"command_id": "command-1", "kind": "restart", "reason": "It is stuck"}),
    }
    for user, role in (("ada", "admin"), ("sam", "staff"), ("vi", "viewer"), ("clea", "cleaner"), ("con", "contractor")):
        client = await world.signed_in(user)
        for right, (method, path, body) in asked.items():
            answer = await client.http.request(method, path, json=body)
            assert (role, right, answer.status_code == 403) == (role, right, right not in ROLES[role]), answer.text


def test_every_role_is_made_of_known_rights():
    assert all(rights <= set(RIGHTS) for rights in ROLES.values())
    assert ROLES["staff"] < ROLES["admin"] == set(RIGHTS)


async def test_a_kiosk_may_sell_and_check_in_and_nothing_else(world):
    for method, path in (("get", "/api/conflicts"), ("get", "/api/board?date=2026-11-21"), ("get", "/api/doors"), ("get", "/api/kiosks")):
        assert code_of(await world.kiosk.http.request(method, path)) == (403, "not_allowed")
    assert code_of(await world.kiosk.post("/api/bookings/none-such-1/cancel", {})) == (403, "not_allowed")
    over = await world.kiosk.post("/api/bookings", world.wish(2, 20, override_reason="let me in"))
    assert code_of(over) == (403, "not_allowed")


async def test_a_change_by_cookie_needs_the_csrf_token(world):
    del world.staff.http.headers["x-csrf-token"]
    assert code_of(await world.staff.post("/api/quotes", {})) == (403, "csrf_failed")
    assert (await world.staff.get("/api/conflicts")).status_code == 200
    cross = await world.staff.http.post("/api/quotes", json={}, headers={"sec-fetch-site": "cross-site", "x-csrf-token": "x"})
    assert code_of(cross) == (403, "csrf_failed")


async def test_wrong_passwords_lock_the_account_out_and_say_how_long(world):
    for _ in range(5):
        assert code_of(await world.anybody.post("/api/sign-in", {"user": "sam", "password": "not it at all"})) == (401, "wrong_credentials")
    locked = await world.anybody.post("/api/sign-in", {"user": "sam", "password": PASSWORD})
    assert code_of(locked) == (429, "too_many_tries") and int(locked.headers["retry-after"]) <= 901
    world.clock.forward(901)
    assert (await world.anybody.post("/api/sign-in", {"user": "SAM ", "password": PASSWORD})).status_code == 200


async def test_an_unknown_user_is_answered_like_a_wrong_password(world):
    known = await world.anybody.post("/api/sign-in", {"user": "sam", "password": "not it at all"})
    unknown = await world.anybody.post("/api/sign-in", {"user": "nobody", "password": "not it at all"})
    assert (known.status_code, known.json()["detail"]) == (unknown.status_code, unknown.json()["detail"])


async def test_signing_out_and_growing_old_end_a_session(world):
    sam = await world.signed_in("sam")
    assert (await sam.get("/api/me")).json()["role"] == "staff"
    assert (await sam.post("/api/sign-out")).status_code == 204
    assert (await sam.get("/api/me")).status_code == 401
    again = await world.signed_in("sam")
    world.clock.forward(8 * 3600 + 1)
    assert (await again.get("/api/me")).status_code == 401


async def test_a_session_is_kept_as_a_hash_only(world):
    cookie = world.staff.http.cookies["session"]
    kept = world.db.read(lambda tx: tx.all("SELECT * FROM sessions"))
    assert kept and cookie not in str(kept)
    assert world.kiosk.http.headers["authorization"].removeprefix("Bearer ") not in str(world.db.read(lambda tx: tx.all("SELECT * FROM kiosks")))


async def test_an_errand_of_the_command_line_is_taken_in_at_the_next_sign_in(world):
    folder = world.loaded.data_dir / people.SPOOL
    hashed = await world.kit.people._passwords.hash("another long word")
    spool.leave(folder, spool.Errand(kind="staff", user="nova", name="Nova Example", role="viewer", secret_hash=hashed))
    (folder / "broken.json").write_text("{")
    answer = await world.anybody.post("/api/sign-in", {"user": "nova", "password": "another long word"})
    assert answer.status_code == 200 and answer.json()["rights"] == ["view"]
    assert list(folder.iterdir()) == []


async def test_a_new_password_by_errand_ends_the_old_sessions(world):
    sam = await world.signed_in("sam")
    hashed = await world.kit.people._passwords.hash("another long word")
    spool.leave(world.loaded.data_dir / people.SPOOL, spool.Errand(kind="staff", user="sam", name="Sam", role="staff", secret_hash=hashed))
    await world.kit.people.take_errands()
    assert (await sam.get("/api/me")).status_code == 401


async def test_an_unpaired_browser_gets_nothing_of_the_kiosk(world):
    browser = Client(world, accept="text/html")
    for path in ("/kiosk", "/kiosk/check-in", "/kiosk/book", "/kiosk/book/bedford.box-1?start=1", "/kiosk/pair", "/kiosk/pair?code=AAAAA-BBBBB"):
        answer = await browser.get(path)
        assert answer.status_code == 404 and "Bedford" not in answer.text and "set-cookie" not in answer.headers, path
    for path in ("/kiosk/check-in", "/kiosk/review", "/kiosk/confirm", "/kiosk/leave"):
        assert (await browser.form(path, code="123456")).status_code == 404


async def test_a_pairing_code_works_once_and_not_for_ever(world):
    code = (await world.staff.post("/api/kiosks", {"name": "Front"})).json()["code"]
    first = await world.anybody.post("/api/kiosks/pair", {"code": code.lower().replace("-", " ")})
    assert first.status_code == 201 and len(first.json()["token"]) >= 40
    assert code_of(await world.anybody.post("/api/kiosks/pair", {"code": code})) == (404, "not_found")
    late = (await world.staff.post("/api/kiosks", {"name": "Back"})).json()["code"]
    world.clock.forward(901)
    assert code_of(await world.anybody.post("/api/kiosks/pair", {"code": late})) == (404, "not_found")


async def test_guessing_at_codes_is_locked_out(world):
    code = (await world.staff.post("/api/kiosks", {"name": "Front"})).json()["code"]
    for n in range(10):
        await world.anybody.post("/api/kiosks/pair", {"code": f"AAAAA-AAAA{n}"})
    assert code_of(await world.anybody.post("/api/kiosks/pair", {"code": code})) == (404, "not_found")


async def test_two_screens_cannot_use_one_code_at_once(world):
    code = (await world.staff.post("/api/kiosks", {"name": "Front"})).json()["code"]
    answers = await asyncio.gather(*(world.anybody.post("/api/kiosks/pair", {"code": code}) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 404, 404, 404]


async def test_a_removed_kiosk_gets_nothing_any_more(world):
    (row,) = (await world.staff.get("/api/kiosks")).json()
    assert (await world.staff.delete(f"/api/kiosks/{row['id']}")).status_code == 204
    assert (await world.kiosk.get("/api/link")).status_code == 401
    assert code_of(await world.staff.delete("/api/kiosks/none-such")) == (404, "not_found")


async def test_a_malformed_sign_in_is_a_bad_request(world):
    good = {"user": "sam", "password": "x"}
    for body in ({}, {"user": "sam"}, {**good, "user": ""}, {**good, "password": "x" * 300}, {**good, "admin": True}):
        assert (await world.anybody.post("/api/sign-in", body)).status_code == 400, body


async def test_who_may_not_let_people_in_sees_no_pin_no_pass_and_no_phone(world):
    booking = await world.booked(1, 0)
    block = {"block_id": "block-0001", "resource_id": f"{SITE}.box-1", "start": booking["start"], "end": booking["end"]}
    assert (await world.staff.post("/api/blocks", block)).status_code == 201
    for user in ("vi", "clea"):
        client = await world.signed_in(user)
        one = (await client.get(f"/api/bookings/{booking['id']}")).json()
        (of_day,) = (await client.get("/api/bookings?date=2026-11-21")).json()
        (conflict,) = (await client.get("/api/conflicts")).json()
        panels = await client.get("/api/panels?date=2026-11-21")
        for seen in (one, of_day, conflict["booking"]):
            assert seen["name"] == "Testa Birdie" and not {"pin", "pass", "phone"} & set(seen)
        assert booking["pin"] not in panels.text and booking["pass"] not in panels.text
    sam = await world.signed_in("sam")
    full = (await sam.get(f"/api/bookings/{booking['id']}")).json()
    assert full["pin"] == booking["pin"] and full["pass"] and full["phone"]


def test_what_the_command_line_leaves_is_for_the_owner_only_even_before_the_first_start(tmp_path):
    before = os.umask(0o022)
    try:
        spool.leave(tmp_path / "data" / people.SPOOL, spool.Errand(kind="pairing", name="Front", secret_hash="0" * 64, ends_at=1))
    finally:
        os.umask(before)
    for path in (tmp_path / "data", *(tmp_path / "data").rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path


async def test_a_password_changed_by_command_outlives_a_restart_with_the_old_staff_file(world):
    hashed = await world.kit.people._passwords.hash("another long word")
    spool.leave(world.loaded.data_dir / people.SPOOL, spool.Errand(kind="staff", user="sam", name="Sam", role="viewer", secret_hash=hashed))
    await world.kit.people.take_errands()
    await world.kit.people.begin(world.loaded.staff)
    old = await world.anybody.post("/api/sign-in", {"user": "sam", "password": PASSWORD})
    assert code_of(old) == (401, "wrong_credentials")
    new = await world.anybody.post("/api/sign-in", {"user": "sam", "password": "another long word"})
    assert new.status_code == 200 and new.json()["role"] == "viewer"


async def test_an_entry_changed_in_the_staff_file_is_taken_at_the_next_start(world):
    sam = await world.signed_in("sam")
    changed = tuple(msgspec.structs.replace(entry, role="viewer") if entry.user == "sam" else entry for entry in world.loaded.staff)
    await world.kit.people.begin(changed)
    assert (await sam.get("/api/me")).status_code == 401
    again = await world.anybody.post("/api/sign-in", {"user": "sam", "password": PASSWORD})
    assert again.json()["role"] == "viewer"


async def test_the_stream_of_a_busy_day_ends_with_its_session_too(world, monkeypatch):
    monkeypatch.setattr(live, "PING_S", 0.0)
    allowed = [True, False]

    async def still_allowed():
        return allowed.pop(0)

    heard = []
    on = date(2026, 11, 21)
    board = world.kit.live.board(on)
    stream = world.kit.live.events(on, board.version, still_allowed)
    queue_filled = False
    async with asyncio.timeout(5):
        async for event in stream:
            heard.append(event)
            if not queue_filled:
                queue_filled = True
                for queue in world.kit.live._days[on].watchers:
                    for _ in range(4):
                        queue.put_nowait(b"event: cells\n\n")
    assert allowed == [] and heard.count(b"event: cells\n\n") <= 1
