"""The API's description: true, complete about refusals, and browsable with nothing from elsewhere."""

import html
import re
from datetime import date
from html.parser import HTMLParser

import pytest
from litestar import Litestar, get

from shared.runtime.openapi import ApiDescription, raises
from shared.runtime.openapi_page import curl_of, example_of, render_page, type_of
from tests.runtime.demo_app import Demo


async def described() -> dict:
    async with Demo().client() as client:
        answer = await client.get("/api/openapi.json")
        assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
        return answer.json()


async def test_every_operation_says_how_it_refuses():
    document = await described()
    assert document["openapi"].startswith("3.1")
    assert "/api/v1/boom" not in document["paths"] and "/api/openapi.json" not in document["paths"]
    for item in document["paths"].values():
        for operation in item.values():
            for status, response in operation["responses"].items():
                if not status.startswith("2"):
                    assert response["content"]["application/problem+json"]["schema"] == {"$ref": "#/components/schemas/Problem"}
            assert {"400", "429", "503", "default"} <= set(operation["responses"])
    read = document["paths"]["/api/v1/things/{thing_id}"]["get"]
    assert "`thing_gone`: The thing is no longer there." in read["responses"]["409"]["description"] and read["x-problem-codes"] == [
        "thing_gone"
    ]
    assert "404" in read["responses"]
    assert {"401", "403", "413", "415"} <= set(document["paths"]["/api/v1/things"]["post"]["responses"])
    assert document["components"]["schemas"]["Problem"]["required"] == ["type", "title", "status", "code", "detail"]


async def test_shapes_are_exact_down_to_the_items_of_a_list():
    shapes = (await described())["components"]["schemas"]
    assert shapes["Thing"]["properties"]["slots"]["items"] == {"type": "integer", "minimum": 1, "maximum": 96, "description": "How many."}
    assert shapes["Thing"]["additionalProperties"] is False and shapes["Thing"]["properties"]["guest"] == {
        "$ref": "#/components/schemas/Guest"
    }


async def test_free_text_is_said_to_hold_no_nul_and_other_strings_are_left_alone():
    document = await described()
    guest = document["components"]["schemas"]["Guest"]["properties"]
    assert guest["name"] == {"type": "string", "minLength": 1, "maxLength": 80, "pattern": "^[^\\u0000]*$"}
    assert "pattern" not in document["components"]["schemas"]["Thing"]["properties"]["id"]
    assert document["components"]["schemas"]["Problem"]["properties"]["code"]["pattern"] == "^[a-z][a-z0-9_]+$"


async def test_a_code_that_the_catalogue_does_not_know_is_a_mistake_of_ours():
    @get("/api/x", opt=raises("never_heard_of"), sync_to_thread=False)
    def odd() -> None: ...

    app = Litestar([odd], openapi_config=ApiDescription("A", "1", "", css_url="/c").config)
    with pytest.raises(LookupError, match="never_heard_of"):
        ApiDescription("A", "1", "", css_url="/c").finished(app, app.openapi_schema.to_schema())


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


async def test_the_page_needs_no_script_and_nothing_from_elsewhere():
    async with Demo().client() as client:
        answer = await client.get("/api/docs")
        seen = Links()
        seen.feed(answer.text)
        assert answer.headers["content-type"].startswith("text/html") and "<b>things</b>" not in answer.text
        names = {tag for tag, _ in seen.tags}
        assert not names & {"script", "style", "img", "iframe"} and not any("style" in attrs for _, attrs in seen.tags)
        addresses = [attrs[key] for _, attrs in seen.tags for key in ("href", "src", "action") if key in attrs]
        assert addresses and all(address.startswith(("/", "#", "data:,")) and not address.startswith("//") for address in addresses)
        ids = {attrs["id"] for _, attrs in seen.tags if "id" in attrs}
        assert {address[1:] for address in addresses if address.startswith("#")} <= ids
        sheet = next(attrs["href"] for tag, attrs in seen.tags if tag == "link" and attrs["rel"] == "stylesheet")
        style = await client.get(sheet)
    assert (
        style.status_code == 200 and style.headers["content-type"].startswith("text/css") and "immutable" in style.headers["cache-control"]
    )
    assert not re.search(r"url\(|@import|https?:", style.text)


async def test_the_page_tells_operations_shapes_codes_and_examples():
    async with Demo().client() as client:
        text = (await client.get("/api/docs")).text
    for part in (
        "/api/v1/things/{thing_id}",
        "thing_gone",
        'href="#shape-Thing"',
        "It may be <code>gone</code>.",
        "$BASE/api/v1/things",
        "needs a key",
    ):
        assert part in text
    assert "Authorization: Bearer $KEY" in text.replace("&quot;", '"')


def test_examples_and_types_follow_the_schema():
    document = {"components": {"schemas": {"Loop": {"type": "object", "properties": {"next": {"$ref": "#/components/schemas/Loop"}}}}}}
    assert example_of(document, {"$ref": "#/components/schemas/Loop"})["next"] is not None
    assert example_of({}, {"type": ["null", "integer"], "minimum": 3}) == 3
    assert example_of({}, {"anyOf": [{"type": "null"}, {"enum": ["a", "b"]}]}) == "a"
    assert example_of({}, {"type": "array", "items": {"type": "string", "format": "date"}}) == ["2027-05-14"]
    assert type_of({"type": "array", "items": {"$ref": "#/x/A<"}}) == 'list of <a href="#shape-A&lt;">A&lt;</a>'
    assert "≥ 1" in type_of({"type": "integer", "minimum": 1})


def test_nothing_in_a_document_can_break_out_of_the_page():
    bad = '"><script>x</script>'
    operation = {"summary": bad, "description": bad, "tags": [bad], "parameters": [{"name": bad, "in": "query", "schema": {"enum": [bad]}}]}
    operation |= {"responses": {"200": {"description": bad}}}
    page = render_page({"info": {"title": bad}, "paths": {f"/{bad}": {"get": operation}}}, css_url=bad, json_url=bad)
    assert "<script" not in page


def test_the_curl_example_is_safe_to_paste():
    operation = {"requestBody": {"content": {"application/json": {"schema": {"example": "it's `here`"}}}}}
    assert curl_of({}, "post", "/a", operation).endswith("-d '\"it'\"'\"'s `here`\"'")


def test_an_example_sends_what_its_operation_takes_and_leaves_empty_fields_out():
    document = {
        "components": {
            "securitySchemes": {"staff": {"type": "apiKey", "in": "cookie", "name": "session"}, "kiosk": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Ask": {"type": "object", "properties": {"end": {"type": "string", "format": "date-time"}, "code": {"default": ""}}}},
        },
        "paths": {"/a": {"post": {"security": [{"staff": []}, {"kiosk": []}], "requestBody": {
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Ask"}}}}}}},
    }  # fmt: skip
    page = html.unescape(render_page(document, css_url="/c", json_url="/j", example_day=date(2028, 2, 29)))
    assert '-b "session=$SESSION"' in page and '-H "X-CSRF-Token: $CSRF"' in page and '-H "Authorization: Bearer $KIOSK"' in page
    assert "needs a staff session or a kiosk token" in page and "$KEY" not in page
    assert """-d '{"end": "2028-02-29T19:00:00Z"}'""" in page


async def test_a_body_of_octets_is_described_and_its_example_sends_a_file():
    document = await described()
    operation = document["paths"]["/api/v1/picture"]["post"]
    assert operation["requestBody"] == {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}, "required": True}
    assert {"413", "415"} <= set(operation["responses"])
    assert curl_of(document, "post", "/api/v1/picture", operation).endswith("-H 'Content-Type: application/octet-stream' \\\n  --data-binary @FILE")
