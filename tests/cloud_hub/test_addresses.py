"""Where customers are written to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_hub.services.addresses import address_of, e164, mail_of
from shared.model import Customer


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("902-555-0123", "+19025550123"),
        ("(902) 555 0123", "+19025550123"),
        ("1 902 555 0123", "+19025550123"),
        ("+44 20 7946 0123", "+442079460123"),
        ("555-0123", ""),
        ("102-555-0123", ""),
        ("+0123456789", ""),
        ("", ""),
    ],
)
def test_a_number_is_written_as_vendors_want_it(written, number):
    assert e164(written) == number


@given(st.text(max_size=40))
def test_whatever_is_given_becomes_a_number_or_nothing(text):
    number = e164(text)
    assert number == "" or (number[0] == "+" and number[1:].isascii() and number[1:].isdigit() and 8 <= len(number) - 1 <= 15)
    assert e164(number) == number


@pytest.mark.parametrize(
    ("written", "address"),
    [
        (" Testa.Birdie@Example.TEST ", "testa.birdie@example.test"),
        ("nobody", ""),
        ("a@b", ""),
        ("a@b.c", ""),
        ("a@example.test\nBcc: x@example.test", ""),
        ("Testa <testa@example.test>", ""),
    ],
)
def test_mail_goes_to_one_plain_address(written, address):
    assert mail_of(written) == address


def test_a_customer_without_a_usable_address_is_not_written_to():
    customer = Customer(id="c-1", name="Testa Birdie", phone="12", email="testa@example.test")
    assert (address_of(customer, "sms"), address_of(customer, "mail"), address_of(customer, "push")) == ("", "testa@example.test", "")
