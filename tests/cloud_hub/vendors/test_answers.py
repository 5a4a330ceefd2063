"""What all wires read alike: pauses, addresses, a vendor's words."""

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_hub.ports import Letter
from cloud_hub.vendors import answers

NOW = 1_790_000_000.0


@pytest.mark.parametrize(
    ("header", "pause"),
    [
        (None, None), ("", None), ("soon", None), ("-5", None), ("²", None), (".", None), ("7", 7.0), (" 1.5 ", 1.5), ("9" * 400, 86_400.0),
        (formatdate(NOW + 40, usegmt=True), 40.0), (formatdate(NOW - 40, usegmt=True), 0.0), ("Mon, 21 Sep 2026 14:13:30 -0000", 10.0),
        ("Mon, 99 Sep 2026 14:13:20 GMT", None),
    ],
)  # fmt: skip
def test_a_pause_is_seconds_or_a_date_or_nothing(header: str | None, pause: float | None) -> None:
    assert answers.after_s(header, NOW) == pause


@given(st.text(max_size=40))
def test_no_header_breaks_the_reading_of_a_pause(header: str) -> None:
    pause = answers.after_s(header, NOW)
    assert pause is None or 0 <= pause <= answers.AFTER_MAX_S


@given(st.text(max_size=600))
def test_a_vendors_words_are_one_short_line(text: str) -> None:
    line = answers.told(text)
    assert len(line) <= answers.REASON_MAX and "\n" not in line and "\r" not in line


@given(st.text(min_size=1, max_size=400), st.text(max_size=400))
def test_a_subject_is_one_line_and_never_empty(subject: str, text: str) -> None:
    line = answers.subject_of(Letter(key="k", to="x", text=text, subject=subject))
    assert line and line.splitlines() == [line]


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost", True), ("x.localhost", True), ("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("[::1]", True), ("", False),
        ("localhost.example.test", False), ("192.0.2.1", False), ("0.0.0.0", False), ("127.0.0.1.example.test", False),
    ],
)  # fmt: skip
def test_this_machine_is_known_by_its_names(host: str, here: bool) -> None:
    assert answers.is_loopback(host) is here


@pytest.mark.parametrize(
    "url",
    [
        "", "api.example.test", "ftp://api.example.test", "https://", "https://a:b@api.example.test", "https://api.example.test?x=1",
        "https://api.example.test#x", "http://api.example.test", "https://api.example.test:99999", "https://[::1",
    ],
)  # fmt: skip
def test_what_is_no_address_for_keys_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        answers.checked_url(url, "base_url")


def test_an_address_keeps_its_path_and_loses_its_last_slash() -> None:
    assert answers.checked_url("http://127.0.0.1:8100/twilio/", "base_url") == "http://127.0.0.1:8100/twilio"
