"""Static files: only what was there at start."""

import pytest

from shared.runtime.static import StaticFiles
from tests.runtime.demo_app import Demo


async def test_a_file_is_served_with_a_tag_and_kept_by_its_hash():
    async with Demo().client() as client:
        plain = await client.get("/static/runtime/openapi.css")
        assert plain.status_code == 200 and plain.headers.get_list("cache-control") == ["no-cache"]
        assert plain.headers["x-content-type-options"] == "nosniff"
        again = await client.get("/static/runtime/openapi.css", headers={"if-none-match": plain.headers["etag"]})
        assert again.status_code == 304 and again.content == b""
        wrong = await client.get("/static/runtime/openapi.css?v=0000")
        assert wrong.status_code == 200 and wrong.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "name", ["runtime/nothing.css", "runtime/../web.py", "runtime/%2e%2e/web.py", "..%2f..%2fetc/passwd", "runtime", ""]
)
async def test_nothing_else_is_served(name):
    async with Demo().client() as client:
        assert (await client.get(f"/static/{name}")).status_code == 404


def test_the_address_changes_with_the_content(tmp_path):
    (tmp_path / "a.css").write_text("a{}")
    (tmp_path / "notes.txt").write_text("not for the web")
    first = StaticFiles({"x": tmp_path}).url("x/a.css")
    (tmp_path / "a.css").write_text("b{}")
    files = StaticFiles({"x": tmp_path})
    assert first.startswith("/static/x/a.css?v=") and files.url("x/a.css") != first
    with pytest.raises(KeyError):
        files.url("x/notes.txt")
