"""The hub with one site that it hears."""

import pytest

from tests.cloud_hub.hub_world import opened


@pytest.fixture
async def w(tmp_path):
    async with opened(tmp_path) as world:
        yield world
