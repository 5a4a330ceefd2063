"""Problems: one shape for every refusal, whatever was sent."""

import json
import logging

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.runtime.problems import PROBLEM_MEDIA, Problem, ProblemDocument, Problems, Unavailable, of_status, plain_page
from tests.runtime.demo_app import Demo

THING = {"id": "3f1c6f0a-7d55-4c7e-9a55-0d6f6a1b2c3e", "slots": [1, 2], "guest": {"name": "Testa Birdie"}}
JSON = {"content-type": "application/json"}


def problem(answer) -> dict:
    """The problem that is told, once it has the form of one: by its status and code the tests know it."""
    assert answer.headers["content-type"] == PROBLEM_MEDIA, answer.text
    document = answer.json()
    msgspec.convert(document, ProblemDocument)
    assert document["type"] == f"urn:clubos:problem:{document['code']}" and document["status"] == answer.status_code
    assert document["detail"].endswith(".") and document["request_id"] == answer.headers["x-request-id"]
    return document


def kind(answer) -> tuple[int, str]:
    """Status and code of a problem."""
    document = problem(answer)
    return document["status"], document["code"]


async def test_a_good_request_is_answered():
    async with Demo().client() as client:
        answer = await client.post("/api/v1/things", json=THING)
        assert answer.status_code == 201 and answer.json() == {"id": THING["id"], "slots": [1, 2]}
        assert (await client.get("/api/v1/hello")).json() == {"hello": "there"}


@pytest.mark.parametrize(
    ("change", "path", "words"),
    [
        ({"slots": [1, "2"]}, "$.slots[1]", "str"),
        ({"slots": [0]}, "$.slots[0]", ">= 1"),
        ({"slots": []}, "$.slots", "length"),
        ({"guest": {"name": "x", "vip": True}}, "$.guest", "vip"),
        ({"guest": None}, "$.guest", "null"),
        ({"on": "tomorrow"}, "$.on", "date"),
        ({"id": "7"}, "$.id", "UUID"),
    ],
)
async def test_a_body_that_does_not_fit_is_told_where(change, path, words):
    async with Demo().client() as client:
        answer = await client.post("/api/v1/things", json=THING | change)
    document = problem(answer)
    assert kind(answer) == (400, "bad_request")
    assert document["violations"][0]["path"] == path and words in document["violations"][0]["message"]
    assert path in document["detail"]


GOOD = json.dumps(THING).encode()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"{",
        b"\xff\xfe",
        b'{"a":',
        GOOD + b"x",
        GOOD.replace(b'"Testa', b'"\xff\xffTesta'),
        GOOD.replace(b'"Testa', b'"\\ud800Testa'),
        GOOD.replace(b'"Testa', b'"\\u0000Testa'),
        GOOD.replace(b'"Testa', b'"\x00Testa'),
        GOOD.replace(b"[1, 2]", b"[NaN]"),
        GOOD.replace(b"[1, 2]", b"[1e400]"),
        GOOD.replace(b"[1, 2]", b"[" + b"9" * 5000 + b"]"),
        GOOD.replace(b"[1, 2]", b"[" * 20000),
        GOOD.replace(b"[1, 2]", b"[" * 20000 + b"]" * 20000),
        GOOD.replace(b'{"id"', b'{"slots": [3], "id"'),
        GOOD.replace(b'{"name"', b'{"\\u006eame": "Other", "name"'),
        b"[" * 60000,
        b'{"\xc3\x28": 1}',
    ],
)
async def test_a_hostile_body_is_a_400(raw):
    async with Demo().client() as client:
        assert kind(await client.post("/api/v1/things", content=raw, headers=JSON)) == (400, "bad_request")


async def test_a_key_given_twice_is_named():
    async with Demo().client() as client:
        raw = GOOD.replace(b'{"id"', b'{"slots": [3], "id"')
        answer = await client.post("/api/v1/things", content=raw, headers=JSON)
    assert kind(answer) == (400, "bad_request") and "'slots' twice" in problem(answer)["detail"]


@pytest.mark.parametrize(
    "media", ["text/plain", "application/x-www-form-urlencoded", "", "application/json; charset=utf-16", "multipart/form-data"]
)
async def test_a_body_of_another_kind_is_a_415(media):
    async with Demo().client() as client:
        assert kind(await client.post("/api/v1/things", content=GOOD, headers={"content-type": media})) == (415, "unsupported_media_type")


async def test_a_charset_that_is_utf_8_is_taken():
    async with Demo().client() as client:
        answer = await client.post("/api/v1/things", content=GOOD, headers={"content-type": 'application/json; charset="UTF-8"'})
        assert answer.status_code == 201


@pytest.mark.parametrize(
    "path", ["/api/v1/nothing", "/api/nothing", "/api/v1/things/7", "/api/v1/things/%2e%2e", "/api", "/static/runtime/../web.py"]
)
async def test_an_unknown_address_is_a_404(path):
    async with Demo().client() as client:
        assert kind(await client.get(path)) == (404, "not_found")


async def test_a_wrong_method_is_a_405_that_says_which_are_right():
    async with Demo().client() as client:
        answer = await client.delete("/api/v1/things")
        assert kind(answer) == (405, "method_not_allowed")
        assert "POST" in answer.headers["allow"]


@pytest.mark.parametrize("query", ["count=0", "count=x", "on=2027-02-30", "count=" + "9" * 30, "count=" + "9" * 5000])
async def test_a_wrong_query_is_a_400_with_its_place(query):
    async with Demo().client() as client:
        answer = await client.get(f"/api/v1/things/{THING['id']}?{query}")
    document = problem(answer)
    assert kind(answer) == (400, "bad_request")
    assert document["violations"][0]["path"] == "query." + query.partition("=")[0]


@pytest.mark.parametrize("target", ["/api/v1/hello?a=%ff", "/api/v1/hello?a=%00", "/api/v1/%ff", "/api/v1/hel%00lo", "/page?x=%c3%28"])
async def test_an_address_that_is_no_text_is_a_400(target):
    async with Demo().client() as client:
        assert kind(await client.get(target)) == (400, "bad_address")


async def test_a_problem_keeps_its_suggestions_and_further_members():
    async with Demo().client() as client:
        answer = await client.get("/api/v1/things/3f1c6f0a-7d55-4c7e-9a55-0d6f6a1b2c3d")
    document = problem(answer)
    assert kind(answer) == (409, "thing_gone")
    assert document["suggestions"] == ["another"] and document["now_at"] == "elsewhere"


async def test_unavailable_says_when_to_come_back():
    async with Demo().client() as client:
        answer = await client.get("/api/v1/busy")
        assert kind(answer) == (503, "unavailable")
        assert answer.headers["retry-after"] == "30"


async def test_a_bug_shows_an_id_and_nothing_else_and_is_logged(caplog):
    async with Demo().client() as client:
        with caplog.at_level(logging.ERROR):
            answer = await client.get("/api/v1/boom", headers={"accept": "text/html"})
    assert kind(answer) == (500, "internal")
    assert "thing.db" not in answer.text and "RuntimeError" not in answer.text
    logged = [record for record in caplog.records if record.message == "http.unexpected"]
    assert len(logged) == 1 and logged[0].exc_info[0] is RuntimeError and logged[0].fields["route"] == "/api/v1/boom"


async def test_a_browser_gets_a_page_with_everything_escaped():
    async with Demo().client(headers={"accept": "text/html,*/*"}) as client:
        answer = await client.get("/refused")
        assert answer.status_code == 422 and answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "&lt;script&gt;" in answer.text and "<script>" not in answer.text and "Too &lt;b&gt;late" in answer.text
        missing = await client.get("/nothing<script>")
        assert missing.status_code == 404 and "<script>" not in missing.text
        assert "frame-ancestors 'none'" in missing.headers["content-security-policy"]


async def test_the_apps_own_page_is_used_where_it_has_one():
    def render(document, scope):
        return f"<h1>{document['code']} {scope['path']}</h1>"

    async with Demo(render_page=render).client(headers={"accept": "text/html"}) as client:
        assert (await client.get("/refused")).text == "<h1>unprocessable /refused</h1>"


async def test_a_browser_without_a_session_is_sent_to_sign_in_and_a_program_is_not():
    async with Demo().client() as client:
        answer = await client.get("/secret", headers={"accept": "text/html"})
        assert answer.status_code == 303 and answer.headers["location"] == "/sign-in"
        answer = await client.get("/secret")
        assert kind(answer) == (401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_an_apps_own_exceptions_are_translated():
    def translate(error):
        return Unavailable("The store is full.") if isinstance(error, RuntimeError) else None

    async with Demo(translate=translate).client() as client:
        assert kind(await client.get("/api/v1/boom")) == (503, "unavailable")


def test_a_problem_refuses_a_code_or_status_that_is_none():
    with pytest.raises(ValueError, match="snake_case"):
        Problem(400, "Not A Code", "t", "d")
    with pytest.raises(ValueError, match="status"):
        Problem(200, "fine", "t", "d")


SCOPE = {"path": "/api/x", "headers": [], "clubos.request_id": "r"}


def test_a_lone_surrogate_in_a_sentence_cannot_break_the_answer():
    status, _, body = Problems().answer(of_status(400, "x\ud800.", violations=[{"message": "\udfff"}]), SCOPE)
    assert status == 400 and json.loads(body)["detail"] == "x?."


@given(st.text(), st.text())
def test_no_text_can_break_the_page_or_the_document(detail, title):
    problem = Problem(400, "bad_request", title, detail)
    page = plain_page(problem.document())
    assert page.count("<script") == 0 or "&lt;" in page
    assert json.loads(Problems().answer(problem, SCOPE)[2])["code"] == "bad_request"
