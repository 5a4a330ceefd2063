"""A sealed secret opens for the box that sealed it, as what it was sealed about, and for nobody else."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.sealing import NotOpened, Sealer, SealKey, seal_to

pytestmark = pytest.mark.rule("pass-4")
SEALER = Sealer(bytes(32))


@given(st.text(min_size=1, max_size=40), st.text(max_size=40))
def test_what_was_sealed_opens_again_and_does_not_show(text, about):
    sealed = SEALER.seal(text, about)
    assert SEALER.open(sealed, about) == text
    assert len(text) < 4 or text not in sealed


@given(st.text(max_size=60))
def test_any_other_text_does_not_open(text):
    with pytest.raises(NotOpened):
        SEALER.open(text, "spare-1")


def test_it_opens_only_about_the_same_thing_and_under_the_same_key():
    sealed = SEALER.seal("482913", "spare-1")
    for sealer, about in ((SEALER, "spare-2"), (Sealer(bytes(31) + b"x"), "spare-1")):
        with pytest.raises(NotOpened):
            sealer.open(sealed, about)


def test_a_wrong_seed_and_an_empty_secret_are_refused():
    with pytest.raises(ValueError, match="32 bytes"):
        Sealer(b"short")
    with pytest.raises(ValueError, match="nothing to seal"):
        SEALER.seal("", "spare-1")


# ---- to somebody
HUB, OTHER = SealKey(bytes(32)), SealKey(bytes(31) + b"x")


def test_what_is_sealed_to_a_box_opens_there_alone_and_as_nothing_else():
    sealed = seal_to(HUB.public, "048213", "spare-1", b"c" * 32)
    assert HUB.open(sealed, "spare-1") == "048213" and "048213" not in sealed
    for key, about in ((OTHER, "spare-1"), (HUB, "spare-2")):
        with pytest.raises(NotOpened):
            key.open(sealed, about)


def test_the_same_secret_looks_different_each_time():
    assert seal_to(HUB.public, "048213", "spare-1", b"c" * 32) != seal_to(HUB.public, "048213", "spare-1", b"d" * 32)


@given(st.integers(0, 73), st.integers(1, 255))
def test_a_changed_letter_does_not_open(place, change):
    blob = bytearray(base64.urlsafe_b64decode(seal_to(HUB.public, "048213", "spare-1", b"c" * 32)))
    blob[place % len(blob)] ^= change
    try:
        assert HUB.open(base64.urlsafe_b64encode(bytes(blob)).decode(), "spare-1") == "048213" and place == 31, (
            "the top bit of a key says nothing"
        )
    except NotOpened:
        pass


@pytest.mark.parametrize("sealed", ["", "????", "AAAA", "A" * 43 + "=", base64.urlsafe_b64encode(bytes(60)).decode()])
def test_what_was_never_sealed_does_not_open(sealed):
    with pytest.raises(NotOpened):
        HUB.open(sealed, "spare-1")


@pytest.mark.parametrize(
    ("public", "text", "seed"), [(HUB.public, "", b"c" * 32), (HUB.public, "1", b"c"), ("AAAA", "1", b"c" * 32), ("?", "1", b"c" * 32)]
)
def test_what_cannot_be_sealed_is_refused(public, text, seed):
    with pytest.raises(ValueError):
        seal_to(public, text, "spare-1", seed)


def test_a_key_to_seal_to_shows_its_public_half_only():
    assert HUB.public in repr(HUB) and len(repr(HUB)) < 60
