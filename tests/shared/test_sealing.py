"""A sealed secret opens for the box that sealed it, as what it was sealed about, and for nobody else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.sealing import NotOpened, Sealer

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
