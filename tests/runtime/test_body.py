"""Forms and JSON bodies: strict, and sentences when they do not fit."""

from typing import Annotated

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.runtime.body import FORM_FIELDS_MAX, decode_form, decode_json, parse_form
from shared.runtime.problems import Problem
from tests.runtime.demo_app import Demo, NoteForm, Thing

KEY = {"authorization": "Bearer k"}


@pytest.mark.parametrize(
    ("form", "field", "words"),
    [
        ("text=", "text", "length"),
        ("", "", "text"),
        ("text=a&count=x", "count", "int"),
        ("text=a&count=97", "count", "<= 96"),
        ("text=a&text=b", "text", "twice"),
        ("text=a&admin=1", "admin", "Unknown"),
    ],
)
def test_a_form_that_does_not_fit_names_its_field(form, field, words):
    with pytest.raises(Problem) as refused:
        decode_form(parse_form(form.encode()), NoteForm)
    assert refused.value.status == 400 and refused.value.violations[0].path == field
    assert words in refused.value.violations[0].message or words in refused.value.detail


def test_empty_optional_fields_fall_to_their_default():
    assert decode_form(parse_form(b"text=a&count=&csrf_token=z"), NoteForm) == NoteForm("a", 1, [])


def test_plus_and_percent_are_read_as_browsers_write_them():
    assert parse_form(b"a+b=c%2Bd%20%C3%A9&x").pairs == [("a b", "c+d é"), ("x", "")]


@pytest.mark.parametrize("raw", [b"a=%ff", b"a=%00", b"\xff=1", b"&".join([b"a=1"] * (FORM_FIELDS_MAX + 1))])
def test_a_hostile_form_is_a_400(raw):
    with pytest.raises(Problem) as refused:
        parse_form(raw)
    assert refused.value.status == 400


@given(st.binary(max_size=200))
def test_any_bytes_are_a_form_or_a_400(raw):
    try:
        form = parse_form(raw)
    except Problem as problem:
        assert problem.status == 400
    else:
        assert all("\x00" not in name + value for name, value in form.pairs)


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: msgspec.json.encode({"text": text})))
def test_any_bytes_are_a_body_or_a_400(raw):
    try:
        assert "\x00" not in decode_json(raw, msgspec.json.Decoder(NoteForm)).text
    except Problem as problem:
        assert problem.status == 400


def test_a_whole_number_may_be_written_with_a_point_and_no_other_coercion_happens():
    decoder = msgspec.json.Decoder(Thing)
    raw = b'{"id":"3f1c6f0a-7d55-4c7e-9a55-0d6f6a1b2c3d","slots":[%s],"guest":{"name":"Testa"},"on":"2027-05-14"}'
    assert decode_json(raw % b"26.0, 2e1, 3", decoder) == decode_json(raw % b"26, 20, 3", decoder)
    for wrong in (b"26.5", b"26.0, 97", b'26.0, "1"', b"1e300", b"26.0, true", b"26.0, " + b"9" * 5000):
        with pytest.raises(Problem):
            decode_json(raw % wrong, decoder)
    with pytest.raises(Problem, match="twice"):
        decode_json(raw.replace(b'{"id"', b'{"slots":[1],"id"') % b"26.0", decoder)


def test_large_numbers_pass_up_to_what_a_database_holds():
    decoder = msgspec.json.Decoder(dict[str, int])
    assert decode_json(b'{"a": -999999999999999999}', decoder) == {"a": -(10**18) + 1}
    with pytest.raises(Problem, match="too large"):
        decode_json(b'{"a": 99999999999999999999}', decoder)


async def test_a_form_of_another_kind_is_a_415():
    async with Demo().client(headers=KEY) as client:
        answer = await client.post("/notes", json={"text": "a"})
        assert answer.status_code == 415
        answer = await client.post("/notes", files={"text": b"a"})
        assert answer.status_code == 415 and "x-www-form-urlencoded" in answer.json()["detail"]


async def test_octets_are_read_as_they_are_and_anything_else_is_named():
    async with Demo().client() as client:
        taken = await client.post("/api/v1/picture", content=b"\x00\xff", headers={"content-type": "application/octet-stream"})
        assert (taken.status_code, taken.json()) == (201, {"octets": 2})
        for kind in ("application/json", "image/png", ""):
            refused = await client.post("/api/v1/picture", content=b"{}", headers={"content-type": kind})
            assert refused.status_code == 415 and refused.json()["detail"] == "Send the body as application/octet-stream."


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b'{"code": "no code"}', "The body does not fit at $.code: It is not written as it should be."),
        (
            b'{"phone": "abc"}',
            "The phone number is not written as it should be. Please write it with its area code, for example 902-555-0123.",
        ),
        (b'{"email": "abc"}', "The e-mail address is not written as it should be. Please write it like name@example.com."),
    ],
)
def test_a_value_that_is_written_wrong_is_told_by_its_name_and_without_the_pattern(body, detail):
    pattern = msgspec.Meta(pattern=r"^[0-9]{6,20}$")

    class Call(msgspec.Struct):
        code: Annotated[str, pattern] = ""
        phone: Annotated[str, pattern] = ""
        email: Annotated[str, pattern] = ""

    with pytest.raises(Problem) as caught:
        decode_json(body, msgspec.json.Decoder(Call))
    assert caught.value.detail == detail and caught.value.violations[0].path == f"$.{body.decode().split(chr(34))[1]}"
