"""Templates as our pages have them: escaped, whole, the first folder's, and compiled once in a process."""

from unittest import mock

import jinja2
import pytest

from shared.runtime.templates import environment


def test_what_is_printed_is_escaped_and_what_is_missing_is_an_error(tmp_path):
    (tmp_path / "page.html").write_text("<p>{{ word }}</p>")
    page = environment(tmp_path).get_template("page.html")
    assert page.render(word="<b>") == "<p>&lt;b&gt;</p>"
    with pytest.raises(jinja2.UndefinedError):
        page.render()


def test_the_first_folder_that_has_a_template_gives_it_and_each_knows_what_is_given(tmp_path):
    for name, text in (("one", "one {{ place }}"), ("two", "two {{ place }}")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "page.html").write_text(text)
    (tmp_path / "two" / "other.html").write_text("other {{ place }}")
    env = environment(tmp_path / "one", tmp_path / "two", place="here")
    assert (env.get_template("page.html").render(), env.get_template("other.html").render()) == ("one here", "other here")


def test_a_template_is_compiled_once_however_many_apps_there_are_and_anew_when_it_changed(tmp_path):
    page = tmp_path / "page.html"
    page.write_text("the first {{ word }}")
    assert environment(tmp_path).get_template("page.html").render(word=1) == "the first 1"
    with mock.patch.object(jinja2.Environment, "_compile", side_effect=AssertionError("compiled again")):
        assert environment(tmp_path).get_template("page.html").render(word=2) == "the first 2"
    page.write_text("the second {{ word }}")
    assert environment(tmp_path).get_template("page.html").render(word=3) == "the second 3"
