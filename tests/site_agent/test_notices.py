"""Facility notices at the site (B22): staff write and end them, guests read them at the kiosk, with or without the hub."""

import html

import pytest

from shared.ledger import notices
from shared.model import Notice
from tests.site_agent.site_world import NOON, SITE, SiteWorld, code_of

DOOR = "The front door sticks: pull it <b>hard</b>."
TOMORROW = "2026-11-22T22:00:00Z"


def body(**more) -> dict:
    return {"notice_id": "notice-door-1", "level": "critical", "text": DOOR, "text_fr": "La porte colle.", "until": TOMORROW, **more}


async def written(world: SiteWorld, **more) -> dict:
    answer = await world.staff.post("/api/notices", body(**more))
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_staff_at_a_dark_site_tell_guests_at_once_and_take_it_back(world):
    made = await written(world)
    assert made == {
        "id": "notice-door-1", "level": "critical", "text": DOOR, "text_fr": "La porte colle.", "since": "2026-11-21T16:00:00Z",
        "until": TOMORROW, "by": "staff-ada", "ended": False,
    }  # fmt: skip
    assert await written(world) == made, "sent twice it is one"
    assert (await world.kiosk.get("/api/notices")).json() == [made]
    panels = (await world.staff.get("/api/panels", date="2026-11-21")).json()
    assert panels["notices"] == [made]
    ended = await world.staff.delete("/api/notices/notice-door-1")
    assert ended.status_code == 200 and ended.json()["ended"]
    assert (await world.kiosk.get("/api/notices")).json() == []
    assert [(row[1], row[2]) for row in world.journal() if row[2].startswith("notice")] == [
        ("staff-ada", "notice ended"), ("staff-ada", "notice")
    ]  # fmt: skip


async def test_guests_read_it_at_the_kiosk_before_they_book_and_when_they_come(world):
    await written(world)
    await written(world, notice_id="notice-info-1", level="info", text="Bring a jacket.", text_fr="")
    screen = await world.screen()
    for path in ("/kiosk", "/kiosk/book", "/kiosk/check-in", f"/kiosk/book/{SITE}.box-1?start={NOON // 900}"):
        page = (await screen.get(path)).text
        assert html.escape(DOOR) in page and "<b>hard" not in page and 'lang="fr">La porte colle.' in page, path
        assert (
            page.index("Important") < page.index("Bring a jacket.") and 'critical" role="alert"' in page and 'info" role="status"' in page
        )


async def test_what_the_hub_writes_is_read_at_the_site_and_the_other_way_round(linked):
    hubs = Notice(
        id="notice-hub-01", site_id=SITE, level="info", text="Closed on Monday.", from_at=NOON, until_at=NOON + 86_400, by="a program"
    )
    linked.hub.db.write_now(lambda tx: notices.state(tx, linked.hub.desk, hubs))
    await written(linked)
    await linked.quiet()
    assert [one["id"] for one in (await linked.kiosk.get("/api/notices")).json()] == ["notice-door-1", "notice-hub-01"]
    assert [one.id for one in linked.hub.db.read(lambda tx: notices.current(tx, SITE, NOON))] == ["notice-door-1", "notice-hub-01"]
    assert (await linked.staff.delete("/api/notices/notice-hub-01")).status_code == 200
    await linked.quiet()
    assert [one.id for one in linked.hub.db.read(lambda tx: notices.current(tx, SITE, NOON))] == ["notice-door-1"]


async def test_an_older_hub_is_told_when_it_has_been_upgraded(linked):
    linked.db.write_now(lambda tx: tx.run("UPDATE streams SET peer_schema = 2"))
    await written(linked)
    assert await linked.kit.notices.tick() == 0
    linked.db.write_now(lambda tx: tx.run("UPDATE streams SET peer_schema = 3"))
    assert await linked.kit.notices.tick() == 1 and await linked.kit.notices.tick() == 0
    await linked.quiet()
    assert len(linked.hub.db.read(lambda tx: notices.current(tx, SITE, NOON))) == 1


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"text": " "}, "bad_request"),
        ({"text": "x" * 241}, "bad_request"),
        ({"text": "a\x00b"}, "bad_request"),
        ({"level": "shouted"}, "bad_request"),
        ({"until": "2026-11-21T15:00:00Z"}, "bad_interval"),
        ({"until": "2028-01-01T00:00:00Z"}, "bad_interval"),
        ({"until": "9999-01-01T00:00:00Z"}, "bad_request"),
        ({"until": "tomorrow"}, "bad_request"),
        ({"notice_id": "x"}, "bad_request"),
        ({"colour": "red"}, "bad_request"),
    ],
)
async def test_what_makes_no_sense_is_refused_in_a_sentence(world, wrong, code):
    answer = await world.staff.post("/api/notices", body(**wrong))
    assert answer.json()["code"] == code and answer.status_code in (400, 422) and answer.json()["detail"].endswith(".")
    assert (await world.kiosk.get("/api/notices")).json() == []


async def test_another_one_under_the_same_id_and_one_that_is_not_known_are_refused(world):
    await written(world)
    assert code_of(await world.staff.post("/api/notices", body(text="The roof leaks."))) == (409, "id_reused")
    assert code_of(await world.staff.delete("/api/notices/notice-none")) == (404, "notice_not_found")
    for n in range(notices.OPEN_MAX - 1):
        await written(world, notice_id=f"notice-no-{n:04d}")
    assert code_of(await world.staff.post("/api/notices", body(notice_id="notice-too-many"))) == (409, "too_many_notices")


async def test_only_those_who_may_take_bays_out_of_sale_write_and_end(world):
    await written(world)
    viewer = await world.signed_in("vi")
    assert (await viewer.get("/api/notices")).status_code == 200
    for client in (viewer, world.kiosk):
        assert (await client.post("/api/notices", body(notice_id="notice-door-2"))).status_code == 403
        assert (await client.delete("/api/notices/notice-door-1")).status_code == 403
    assert (await world.anybody.get("/api/notices")).status_code == 401
