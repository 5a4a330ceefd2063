"""The other half of the days of `test_days`."""

import pytest

from tests.simulation.test_days import SHARES, broken_promises


@pytest.mark.slow
@pytest.mark.parametrize("first", SHARES[1::2])
def test_every_promise_is_kept_whatever_fails(first):
    assert broken_promises(first) == []
