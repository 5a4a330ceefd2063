"""The access trail (D6): why did this door open? In one sentence, tied to its booking, once, and with an alarm where somebody must look."""

import contextlib
import itertools
import re
import sqlite3

import pytest

from shared.errors import Unavailable
from shared.ledger import outage_pins, records
from shared.model import Customer
from site_agent.__main__ import main
from site_agent.ports import DoorEvent, DoorsUnavailable, EventKind
from site_agent.services.doors import door_trail as service
from site_agent.services.doors import door_words
from site_agent.store import door_trail, door_work
from tests.site_agent.site_world import CONFIG, FRONT, NOON, SITE, away, code_of, opened

NUMBERS = itertools.count(1)


def event(kind: EventKind = "unlocked", how: str = "pin", after_s: float = 0.0, **more) -> DoorEvent:
    said_ms = int((NOON + after_s) * 1000)
    told = {
        "at": int(NOON + after_s), "door_id": FRONT, "door_name": "Front", "admitted": kind == "unlocked", "how": how, "actor_id": "", "actor_name": "N/A",
        "request_id": "", "message": "", "kind": kind, "said_ms": said_ms, "key": f"key-{next(NUMBERS)}",
    }  # fmt: skip
    return DoorEvent(**(told | more))


def leaf(kind: EventKind, after_s: float = 0.0, lock: str = "locked", **more) -> DoorEvent:
    return event(kind, "", after_s, said_ms=0, lock=lock, **more)


async def happens(world, *events: DoorEvent) -> None:
    """The controller tells of these, and the trail has taken them."""
    before = world.kit.db.commits
    for one in events:
        world.doors.happens.put_nowait(one)
    await world.until(lambda: world.doors.happens.empty() and world.kit.door_trail._waiting.empty() and world.kit.db.commits > before)


def trail(world, **more) -> list[service.TrailRow]:
    return list(world.kit.door_trail.page(**more).rows)


def sentences(world, **more) -> list[str]:
    return [row.sentence for row in trail(world, **more)]


async def granted(world, booking_id: str) -> str:
    """The controller's name of the booking's credential."""
    await world.until(lambda: world.db.read(lambda tx: (door_work.work(tx, booking_id) or door_work.Work(booking_id="", wanted="grant")).ref) != "")
    return world.db.read(lambda tx: door_work.work(tx, booking_id).ref)


@pytest.fixture
async def world(tmp_path):
    async with opened(tmp_path) as w:
        await w.until(lambda: w.doors.calls == ["doors"])
        yield w


# ---- why did this door open?
async def test_a_pin_at_the_reader_is_told_with_its_guest_bay_and_time(world):
    booking = await world.booked(3, 0)
    ref = await granted(world, booking["id"])
    await happens(world, event(after_s=125, actor_id=ref, actor_name=f"ClubOS {booking['id']}"))
    assert sentences(world) == ["Front door opened at 12:02 by PIN for Testa B., Box 3, 12:00 to 13:00."]
    assert trail(world)[0].booking_id == booking["id"]


async def test_a_credential_that_the_books_let_go_is_still_known_by_the_words_it_bears(world):
    booking = await world.booked(3, 0)
    await happens(world, event("unlocked", "qr", actor_id="v-gone", actor_name="x", booking_id=booking["id"]))
    assert sentences(world) == ["Front door opened at 12:00 by QR code for Testa B., Box 3, 12:00 to 13:00."]


async def test_staff_who_open_a_door_are_told_with_their_reason_once_for_the_wish_and_once_for_the_door(world):
    for number, reason in enumerate(("parcel at the door", "")):
        asked = f"req-0000000{number}"
        answer = await world.staff.post(f"/api/doors/{FRONT}/unlock", {"request_id": asked, "reason": reason})
        assert answer.status_code == 200
        await world.until(lambda n=number: len(trail(world)) == 2 * n + 1)
        await happens(world, event("unlocked", "remote", 1, actor_id="staff-ada", actor_name="Ada Example", request_id=asked))
    assert sentences(world) == [
        "Front door opened at 12:00 by staff Ada Example.",
        "Ada Example asked to open the front door at 12:00, which the controller took.",
        "Front door opened at 12:00 by staff Ada Example: parcel at the door.",
        "Ada Example asked to open the front door at 12:00 (parcel at the door), which the controller took.",
    ]


async def test_a_check_in_ties_the_unlock_to_the_booking_even_where_the_event_is_here_before_the_answer(world):
    booking = await world.booked(2, 0)
    world.doors.silent = True
    asked = world.kit.doors.ask((FRONT,), _kiosk_actor(), booking["id"], "check-in")
    await world.until(lambda: world.doors.unlocked)
    request_id = world.doors.unlocked[0][2]
    await happens(world, event("unlocked", "remote", 1, actor_id="kiosk-1", actor_name="Front kiosk", request_id=request_id))
    assert sentences(world) == ["Front door opened at 12:00 on check-in for Testa B., Box 2, 12:00 to 13:00."]
    assert sentences(world, booking_id=booking["id"]) == sentences(world)
    asked[FRONT].cancel()


def _kiosk_actor():
    from site_agent.ports import Actor

    return Actor("kiosk-1", "Front kiosk")


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        (event("unlocked", "button"), "Front door opened at 12:00 from inside by the exit button."),
        (event("unlocked", "pin", actor_name="Console Person"), "Front door opened at 12:00 by PIN by nobody we know (the controller says: Console Person)."),
        (event("unlocked", "nfc"), "Front door opened at 12:00 by card by nobody we know."),
        (event("unlocked", "mobile_tap"), "Front door opened at 12:00 by mobile_tap by nobody we know."),
        (event("unlocked", ""), "Front door opened at 12:00 in a way that the controller does not tell by nobody we know."),
        (event("denied", "pin", message="Access Denied / Unknown credential (PIN_CODE)"), "Front door refused a PIN of no booking at 12:00: Unknown credential."),
        (event("forced", ""), "Front door was forced open at 12:00: it opened although nobody had been let in."),
        (event("held", ""), "Front door stood open at 12:00."),
        (leaf("opened"), "Somebody opened the leaf of the front door at 12:00."),
        (leaf("opened", live=False), "Front door was found open at 12:00, when the controller was heard again."),
    ],
)  # fmt: skip
async def test_whatever_happens_has_its_sentence(world, told, sentence):
    await happens(world, told)
    assert sentences(world) == [sentence]


async def test_a_guest_refused_outside_their_time_is_told_by_name(world):
    booking = await world.booked(1, 4)
    ref = await granted(world, booking["id"])
    await happens(world, event("denied", "pin", actor_id=ref, message="Access Denied / Outside the visit's time (PIN_CODE)"))
    assert sentences(world) == ["Front door refused a PIN of Testa B., Box 1, 14:00 to 15:00, at 12:00: Outside the visit's time."]


async def test_a_spare_pin_is_told_as_what_it_is_until_its_booking_is_known(world):
    def spare(tx):
        return outage_pins.make(tx, world.agent.desk, SITE, [(f"{SITE}.box-1", NOON // 900)])[0]

    made = world.db.write_now(spare)
    await world.kit.credentials.settle()
    ref = await granted(world, made.id)
    await happens(world, event(actor_id=ref, actor_name=f"ClubOS {made.id}"))
    assert sentences(world) == ["Front door opened at 12:00 by a spare PIN whose booking is not known here yet."]


async def test_an_unlock_whose_outcome_is_unknown_or_that_failed_says_so(world):
    for number, failure in enumerate([away(), DoorsUnavailable("No answer.", outcome_unknown=True)]):
        world.doors.failure = failure
        await world.staff.post(f"/api/doors/{FRONT}/unlock", {"request_id": f"req-0000000{number}"})
    await world.until(lambda: len(trail(world)) == 2)
    assert sentences(world) == [
        "Ada Example asked to open the front door at 12:00, and it is not known whether it opened: No answer.",
        "Ada Example asked to open the front door at 12:00, which did not work: The door controller does not answer.",
    ]


async def test_no_row_holds_a_guests_name_so_that_who_is_erased_is_gone_from_its_sentences(world):
    booking = await world.booked(3, 0, name="Testa Unforgettable")
    await happens(world, event(actor_id=await granted(world, booking["id"]), actor_name=f"ClubOS {booking['id']}"))
    rows = world.db.read(lambda tx: tx.all("SELECT * FROM door_trail"))
    assert "Testa" not in str(rows)

    def erase(tx):
        b = records.booking(tx, booking["id"])
        records.put_customer(tx, Customer(id=b.customer_id, name=""))
        tx.run("UPDATE bookings SET doc = json_set(doc, '$.shown_name', '') WHERE id = :b", {"b": b.id})

    world.db.write_now(erase)
    assert sentences(world) == ["Front door opened at 12:00 by PIN for a guest, Box 3, 12:00 to 13:00."]


@pytest.mark.parametrize(
    ("name", "short"), [("Testa Birdie", "Testa B."), ("Testa", "Testa"), ("", "a guest"), ("Testa van Bogey", "Testa B.")]
)
def test_a_guest_is_told_by_first_name_and_initial(name, short):
    assert door_words.short_name(name) == short


# ---- once, whatever happens
async def test_the_same_event_is_one_row_however_often_it_is_told(world):
    one = event()
    await world.kit.door_trail.keep([one, one])
    await world.kit.door_trail.keep([one, leaf("opened"), leaf("opened", 1), leaf("closed", 2), leaf("closed", 3)])
    assert [row.kind for row in trail(world)] == ["closed", "opened", "unlocked"]


async def test_a_controller_whose_clock_is_off_is_shown_by_ours_and_asked_by_its_own(world):
    world.doors.skew_s = 3600.0
    await happens(world, event(after_s=3605))
    assert trail(world)[0].at == "2026-11-21T16:00:05Z"
    assert world.db.read(lambda tx: door_trail.last_said_ms(tx, SITE)) == (NOON + 3605) * 1000


async def test_books_that_are_full_cost_no_event(world, monkeypatch):
    monkeypatch.setattr(service, "TRY_AGAIN_S", 0.01)
    real, tries = world.db.write, 0

    async def full(fn):
        nonlocal tries
        tries += 1
        if tries <= 3:
            raise Unavailable("The disk is full.")
        return await real(fn)

    monkeypatch.setattr(world.kit.door_trail._db, "write", full)
    for number in range(5):
        world.doors.happens.put_nowait(event(after_s=number))
    await world.until(lambda: len(trail(world)) == 5)
    assert [row.at[-3:-1] for row in trail(world)] == ["04", "03", "02", "01", "00"]


async def test_who_asked_for_an_unlock_is_written_down_when_the_books_take_it_again(world, monkeypatch):
    monkeypatch.setattr("site_agent.services.doors.doors.WRITE_AGAIN_S", 0.01)
    real, tries = world.db.write, 0

    async def full(fn):
        nonlocal tries
        tries += 1
        if tries <= 3:
            raise Unavailable("The disk is full.")
        return await real(fn)

    monkeypatch.setattr(world.kit.doors._db, "write", full)
    world.kit.doors.ask((FRONT,), _kiosk_actor(), "", "check-in")
    await world.until(lambda: len(trail(world)) == 1)
    assert tries == 4


async def test_one_event_that_breaks_costs_no_other(world, monkeypatch):
    real = world.kit.door_trail._row

    def breaks(tx, one):
        if one.how == "nfc":
            raise RuntimeError("a bug")
        return real(tx, one)

    monkeypatch.setattr(world.kit.door_trail, "_row", breaks)
    await world.kit.door_trail.keep([event(), event("unlocked", "nfc"), event("unlocked", "button")])
    assert len(trail(world)) == 2


async def test_an_adapter_that_breaks_is_listened_to_again(world, monkeypatch):
    monkeypatch.setattr(service, "TRY_AGAIN_S", 0.01)
    world.doors.happens.put_nowait(None)  # what no adapter may tell
    world.doors.happens.put_nowait(event())
    await world.until(lambda: len(trail(world)) == 1)
    assert world.doors.happens.empty()


# ---- alerts
def alerts(world) -> list[tuple[str, str]]:
    return [(one.kind, one.context) for one in world.kit.door_trail.alerts()]


async def test_a_leaf_that_opens_while_locked_and_nobody_was_let_in_is_forced_a_moment_later(world):
    await happens(world, leaf("opened"))
    await world.kit.door_trail.tick()
    assert alerts(world) == []
    world.clock.forward(service.FORCED_WAIT_S)
    await world.kit.door_trail.tick()
    await world.kit.door_trail.tick()
    assert alerts(world) == [("forced", "Nobody is known to have been let in there before.")]
    assert sentences(world)[0] == "Front door was forced open at 12:00: it opened although nobody had been let in."


@pytest.mark.parametrize(
    "before",
    [
        [event("unlocked", "button", -5), leaf("opened")], [leaf("opened"), event("unlocked", "pin", 1)], [leaf("opened", lock="unlocked")],
        [leaf("opened", live=False)],
    ],
)  # fmt: skip
async def test_a_leaf_that_somebody_may_have_opened_is_not_forced(world, before):
    await happens(world, *before)
    world.clock.forward(service.FORCED_WAIT_S)
    await world.kit.door_trail.tick()
    assert alerts(world) == []


async def test_an_unlock_that_was_asked_for_explains_the_leaf_and_one_that_failed_does_not(world):
    await world.staff.post(f"/api/doors/{FRONT}/unlock", {"request_id": "req-00000001"})
    await world.until(lambda: len(trail(world)) == 1)
    await happens(world, leaf("opened"))
    world.clock.forward(service.FORCED_WAIT_S)
    await world.kit.door_trail.tick()
    assert alerts(world) == []
    world.clock.forward(100)
    world.doors.failure = away()
    await world.staff.post(f"/api/doors/{FRONT}/unlock", {"request_id": "req-00000002"})
    world.doors.failure = None
    await happens(world, leaf("closed", 102), leaf("opened", 103))
    world.clock.forward(service.FORCED_WAIT_S)
    await world.kit.door_trail.tick()
    assert [kind for kind, _ in alerts(world)] == ["forced"]


async def test_the_controllers_own_word_of_a_forced_door_is_one_alert_with_ours(world):
    await happens(world, leaf("opened"), event("forced", "", 1))
    world.clock.forward(service.FORCED_WAIT_S)
    await world.kit.door_trail.tick()
    assert [kind for kind, _ in alerts(world)] == ["forced"]


async def test_a_leaf_that_stands_open_is_told_once_with_who_was_let_in_last(world):
    booking = await world.booked(3, 0)
    ref = await granted(world, booking["id"])
    await happens(world, event(actor_id=ref), leaf("opened", 1, "unlocked"))
    for _ in range(2):
        world.clock.forward(119)
        await world.kit.door_trail.tick()
    await world.kit.door_trail.tick()
    assert alerts(world) == [("held", "Let in there last: Testa B., Box 3, 12:00 to 13:00, at 12:00.")]
    assert sentences(world)[0] == "Front door stood open at 12:03, for 237 s by then."
    await happens(world, leaf("closed", 240), leaf("opened", 250, "unlocked"))
    world.clock.forward(700)
    await world.kit.door_trail.tick()
    assert len(alerts(world)) == 2


async def test_of_a_controller_that_is_not_heard_nothing_is_said_about_leaves(world):
    await happens(world, leaf("opened", 0, "unlocked"))
    world.doors.failure = away()
    world.clock.forward(500)
    await world.kit.door_trail.tick()
    assert alerts(world) == []


async def test_three_refusals_at_one_door_are_one_alert_and_three_at_three_doors_none(world):
    await happens(world, *(event("denied", "pin", number, door_id=f"door-{number}") for number in range(3)))
    assert alerts(world) == []
    await happens(world, *(event("denied", "pin", 10 + number) for number in range(5)))
    [one] = world.kit.door_trail.alerts()
    assert one.kind == "denied" and one.sentence.endswith("Refused there 5 times within 10 minutes.")


async def test_where_people_leave_by_a_handle_leaves_raise_no_alarm(tmp_path):
    doors = '[doors]\nkind = "unifi"\nhost = "127.0.0.1"\nleaf_alarms = false\nfingerprint = "%s"\n' % ("ab" * 32)
    async with opened(tmp_path, config=CONFIG + doors) as w:
        await happens(w, leaf("opened"))
        w.clock.forward(1000)
        await w.kit.door_trail.tick()
        assert alerts(w) == []
        await happens(w, event("forced", "", 1001))
        assert [kind for kind, _ in alerts(w)] == ["forced"]


async def test_an_alert_is_answered_with_a_word_by_somebody_who_may_and_stands_in_the_journal(world):
    await happens(world, event("forced", ""))
    [alert] = (await world.staff.get("/api/doors/alerts")).json()
    answer = {"alert": alert["n"], "word": "delivery, the wind took the door"}
    viewer = await world.signed_in("vi")
    assert code_of(await viewer.post("/api/doors/alerts/answer", answer)) == (403, "not_allowed")
    assert code_of(await world.staff.post("/api/doors/alerts/answer", {"alert": 999, "word": "x"})) == (404, "not_found")
    assert (await world.staff.post("/api/doors/alerts/answer", {"alert": alert["n"], "word": ""})).status_code == 400
    assert code_of(await world.staff.post("/api/doors/alerts/answer", answer | {"word": "  "})) == (400, "bad_request")
    assert trail(world)[0].alert == "forced"
    assert (await world.staff.post("/api/doors/alerts/answer", answer)).json() == []
    assert (await world.staff.post("/api/doors/alerts/answer", answer)).json() == []
    assert trail(world)[0].alert == ""
    told = [row for row in world.journal() if row[2].startswith("door alert answered")]
    assert [(row[1], row[4]) for row in told] == [("staff-ada", "delivery, the wind took the door")]


# ---- staff see it at once, page by page
async def test_the_trail_is_read_page_by_page_and_by_door_or_booking(world):
    booking = await world.booked(3, 0)
    ref = await granted(world, booking["id"])
    await happens(world, *(event(after_s=number, door_id=FRONT if number % 2 else "door-side", actor_id=ref if number == 3 else "") for number in range(7)))
    first = (await world.staff.get("/api/doors/trail", limit=3)).json()
    assert first["more"] and [row["n"] for row in first["rows"]] == [7, 6, 5] and first["live"]
    last = (await world.staff.get("/api/doors/trail", limit=50, before=5)).json()
    assert not last["more"] and [row["n"] for row in last["rows"]] == [4, 3, 2, 1]
    assert [row["n"] for row in (await world.staff.get("/api/doors/trail", door=FRONT)).json()["rows"]] == [6, 4, 2]
    assert [row["n"] for row in (await world.staff.get("/api/doors/trail", booking=booking["id"])).json()["rows"]] == [4]
    assert first["doors"] == [{"id": FRONT, "name": "Front door"}, {"id": "door-side", "name": "Door 2"}]
    assert (await world.anybody.get("/api/doors/trail")).status_code == 401
    assert (await world.kiosk.get("/api/doors/trail")).status_code == 403
    for query in ({"limit": 0}, {"limit": 500}, {"before": -1}, {"before": "x"}):
        assert (await world.staff.get("/api/doors/trail", **query)).status_code == 400, query


async def test_every_page_that_is_open_is_told_of_a_row_after_its_commit(world):
    told: list[bytes] = []
    world.kit.live.tell = lambda word, body: told.append((word, body))
    await happens(world, event("forced", ""))
    assert [word for word, _ in told] == ["door"] and b'"alert":"forced"' in told[0][1]
    await world.staff.post("/api/doors/alerts/answer", {"alert": 1, "word": "the wind"})
    assert b'"alert":""' in told[1][1]


async def test_a_stream_that_is_open_carries_the_row(world):
    from datetime import date

    async def allowed() -> bool:
        return True

    stream = world.kit.live.events(date(2026, 11, 21), "", allowed)
    await anext(stream)
    await anext(stream)
    await happens(world, event("unlocked", "button"))
    sent = await anext(stream)
    assert sent.startswith(b"event: door\ndata: {") and b"from inside by the exit button." in sent
    await stream.aclose()


# ---- nobody changes it unseen
async def checked(world) -> list[str]:
    world.staff = await world.signed_in("ada")  # whose session may have ended by the clock
    answer = await world.staff.post("/api/doors/trail/check")
    assert answer.status_code == 200, answer.text
    return answer.json()["problems"]


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("UPDATE door_trail SET door_id = 'door-other' WHERE n = 2", "row 2 is not what was written"),
        ("UPDATE door_trail SET at = at + 1 WHERE n = 2", "row 2 is not what was written"),
        ("UPDATE door_trail SET said_ms = 0 WHERE n = 2", "row 2 is not what was written"),
        ("DELETE FROM door_trail WHERE n = 2", "row 2 is missing"),
        ("DELETE FROM door_trail WHERE n = 4", "the last 1 rows are missing"),
        ("UPDATE door_trail SET n = CASE n WHEN 2 THEN 3 WHEN 3 THEN 2 ELSE n END", "row 2"),
        ("DELETE FROM door_trail WHERE n = 1", "row 1 is missing"),
        ("DELETE FROM door_trail_heads", "the head of the chain is missing"),
    ],
)
async def test_a_row_changed_removed_reordered_or_cut_off_is_told_on_the_page_and_by_health(world, sql, said):
    await happens(world, *(event(after_s=number) for number in range(4)))
    assert await checked(world) == []
    world.db.write_now(lambda tx: tx.run(sql))
    [problem] = await checked(world)
    assert "The door trail was changed from outside" in problem and said in problem
    alarms = (await world.staff.get("/api/panels", date="2026-11-21")).json()["alarms"]
    assert [one["code"] for one in alarms] == ["trail_changed"]
    health = (await world.anybody.get("/health/ready")).json()
    assert [one["code"] for one in health["alarms"]] == ["trail_changed"]


async def test_what_a_person_has_looked_at_is_told_no_more_until_it_is_changed_again(world):
    await happens(world, *(event(after_s=number) for number in range(4)))
    world.db.write_now(lambda tx: tx.run("UPDATE door_trail SET door_id = 'door-other' WHERE n = 2"))
    await checked(world)
    wrong = await world.staff.post("/api/changed/answer", {"alarm": "journal_changed", "reason": "the installer's test"})
    assert wrong.json()["code"] == "not_found"
    assert (await world.staff.post("/api/changed/answer", {"alarm": "trail_changed", "reason": "the installer's test"})).status_code == 204
    assert world.kit.halts.alarms() == [] and len(await checked(world)) == 1  # let stand is not made good
    world.db.write_now(lambda tx: tx.run("DELETE FROM door_trail WHERE n = 4"))
    await checked(world)
    assert [one.code for one in world.kit.halts.alarms()] == ["trail_changed"]


async def test_a_row_that_was_put_back_stays_told_until_a_person_has_looked(world):
    await happens(world, *(event(after_s=number) for number in range(4)))
    [(door,)] = world.db.read(lambda tx: tx.all("SELECT door_id FROM door_trail WHERE n = 2"))
    for door_id in ("door-other", door):
        world.db.write_now(lambda tx, d=door_id: tx.run("UPDATE door_trail SET door_id = :d WHERE n = 2", {"d": d}))
        assert len(await checked(world)) == 1
    assert (await world.staff.post("/api/changed/answer", {"alarm": "trail_changed", "reason": "the installer's test"})).status_code == 204
    assert await checked(world) == [] and world.kit.halts.alarms() == []


async def test_the_nightly_look_finds_it_too(world):
    await happens(world, event(), event(after_s=1))
    world.db.write_now(lambda tx: tx.run("DELETE FROM door_trail WHERE n = 1"))
    world.clock.forward(7 * 3600)
    await world.kit.halts.watch.look()
    assert [one.code for one in world.kit.halts.alarms()] == ["trail_changed"]


async def test_a_trail_cut_off_with_its_head_shows_against_the_journal(world):
    await happens(world, *(event(after_s=number) for number in range(4)))
    world.clock.forward(2 * 86_400)
    await world.kit.door_trail.tidy()

    def cut(tx):
        tx.run("DELETE FROM door_trail WHERE n > 2")
        tx.run("UPDATE door_trail_heads SET n = 2, chain = (SELECT chain FROM door_trail WHERE n = 2)")

    world.db.write_now(cut)
    assert "the door trail ends at row 2, but row 4 was noted" in (await checked(world))[0]


# ---- its time
async def test_rows_go_when_they_have_had_their_time_and_the_chain_is_sound_behind_them(world):
    await happens(world, event("forced", ""), event(after_s=1), event(after_s=2))
    world.clock.forward(401 * 86_400)
    assert await world.kit.door_trail.tidy() == 2, "the head stays, or nobody would know how far the trail had come"
    await happens(world, event("unlocked", "button", 401 * 86_400))
    assert [row.n for row in trail(world)] == [4, 3]
    assert await checked(world) == []
    assert world.kit.door_trail.alerts() == []
    world.db.write_now(lambda tx: tx.run("DELETE FROM door_trail WHERE n = 3"))
    world.db.write_now(
        lambda tx: tx.run("UPDATE door_trail_heads SET from_n = 3, from_chain = (SELECT chain FROM door_trail WHERE n = 4)")
    )
    assert "the beginning up to row 3 was taken away without its time being over" in (await checked(world))[0]


async def test_by_a_clock_in_doubt_nothing_goes(world):
    await happens(world, event(), event(after_s=1))
    world.clock.forward(401 * 86_400)
    world.agent.desk.clock_doubt = lambda: "the clock is in doubt"
    assert await world.kit.door_trail.tidy() == 0 and len(trail(world)) == 2


async def test_the_command_verifies_the_trail_beside_the_running_agent(world, capsys):
    await happens(world, event(), event(after_s=1))
    words = ["trail", "verify", "--config", str(world.loaded.file)]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "bedford: 2 rows, sound." in said
    [head] = re.findall(r"^bedford:2:[0-9a-f]{64}$", said, re.M)
    with contextlib.closing(sqlite3.connect(world.db.path, isolation_level=None)) as c:
        c.execute("DELETE FROM door_trail WHERE n = 2")
        c.execute("UPDATE door_trail_heads SET n = 1, chain = (SELECT chain FROM door_trail WHERE n = 1)")
    assert main(words) == 0, "nothing here shows it"
    capsys.readouterr()
    assert main([*words, "--noted", head]) == 1
    assert "the door trail ends at row 1, but row 2 was noted" in capsys.readouterr().err


# ---- the controller's own calls
async def test_a_call_that_the_controller_signed_is_taken_and_any_other_finds_nothing(world):
    post = world.anybody.http.post
    assert (await post("/hooks/doors", content=b"{}", headers={"signature": "good"})).status_code == 204
    for body, headers in ((b"{}", {}), (b"{}", {"signature": "bad"}), (b"[]", {"signature": "good"}), (b"x" * 100_000, {"signature": "good"})):
        assert (await post("/hooks/doors", content=body, headers=headers)).status_code in (404, 413)
    assert (await world.anybody.get("/hooks/doors")).status_code == 405
