"""What is at the edges of both apps: the first page, addresses of nothing, HEAD and OPTIONS."""

import pytest
import pytest_asyncio

from tests.api.hostile import asking, served
from tests.cloud_hub import hub_world
from tests.site_agent import site_world

BROWSER = {"accept": "text/html"}
of_one_app = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["hub", "site"])
async def app(request, tmp_path_factory):
    """A browser that follows nothing by itself, at either app, which is the same for all who only look."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "hub":
        async with hub_world.opened(folder, link=False) as w:
            yield w.client
    else:
        async with site_world.opened(folder) as w:
            yield w.anybody.http


@pytest_asyncio.fixture(loop_scope="module")
async def client(app):
    """It comes without cookies."""
    app.cookies.clear()
    return app


@of_one_app
async def test_the_first_address_leads_to_a_page_in_one_step(client):
    answer = await client.get("/", headers=BROWSER)
    if answer.status_code != 200:
        assert answer.status_code == 303
        answer = await client.get(answer.headers["location"], headers=BROWSER)
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/html") and answer.text.startswith("<!doctype html")


async def test_the_first_address_leads_each_to_their_own_page(tmp_path):
    async with site_world.opened(tmp_path) as w:
        screen = await w.screen()
        seen = [(await one.get("/")).headers["location"] for one in (w.staff, screen, site_world.Client(w))]
        assert seen == ["/staff", "/kiosk", "/staff/sign-in"]


@of_one_app
@pytest.mark.parametrize("path", ["/nowhere", "/api/nowhere", "/static/nowhere.css", "/api", "/.env", "/wp-login.php", "/%2e%2e/etc/passwd"])
async def test_an_address_of_nothing_is_a_page_for_people_and_a_problem_for_programs(client, path):
    program = await client.get(path)
    assert program.status_code == 404 and program.headers["content-type"] == "application/problem+json"
    assert program.json()["code"] == "not_found" and program.json()["detail"].endswith(".")
    person = await client.get(path, headers=BROWSER)
    assert person.status_code == 404
    assert person.text.startswith("<!doctype html") is not path.startswith(("/api/", "/static/"))


@of_one_app
@pytest.mark.parametrize("path", ["/", "/health/live", "/metrics", "/api/openapi.json", "/api/docs", "/nowhere"])
async def test_head_answers_as_get_does_without_the_body(client, path):
    got, asked = await client.get(path, headers=BROWSER), await client.head(path, headers=BROWSER)
    assert asked.status_code == got.status_code and asked.content == b""
    kept = ("content-type", "content-security-policy", "cache-control", "location", "x-content-type-options")
    assert {name: asked.headers.get(name) for name in kept} == {name: got.headers.get(name) for name in kept}


@of_one_app
async def test_head_is_refused_where_get_is(client):
    assert (await client.head("/api/sign-in" if "site" in client.base_url.host else "/api/v1/holds")).status_code == 405


async def test_options_and_a_wrong_method_name_every_method_of_the_address(tmp_path):
    async with site_world.opened(tmp_path) as w:
        both = await w.staff.http.options("/api/bookings"), await w.staff.http.put("/api/bookings")
        assert [answer.status_code for answer in both] == [204, 405]
        assert [answer.headers.get_list("allow") for answer in both] == [["GET, HEAD, OPTIONS, POST"]] * 2
        assert (await w.staff.http.options("/api/holds")).headers["allow"] == "OPTIONS, POST"


async def test_the_description_names_the_header_that_makes_a_retry_safe(tmp_path):
    async with hub_world.opened(tmp_path, link=False) as w:
        paths = (await w.client.get("/api/openapi.json")).json()["paths"]
        reading = {path for path, item in paths.items() for one in item.get("post", {}).get("parameters", ()) if one["name"] == "Idempotency-Key"}
        assert reading == {f"/api/v1/{name}" for name in ("bookings", "holds", "blackouts")} | {
            f"/api/v1/bookings/{{booking_id}}/{name}" for name in ("cancel", "withdraw", "reschedule", "extend", "open")
        }


def test_head_of_an_endless_stream_ends_and_the_connection_goes_on(tmp_path):
    with served(tmp_path) as apps, asking(apps, "site") as client:
        stream = apps.keys["site"] + "/staff/events?date=2026-11-21"
        for _ in range(3):
            answer = client.head(stream, timeout=5)
            assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream") and answer.content == b""
        assert client.get("bookings", params={"date": "2026-11-21"}).status_code == 200
