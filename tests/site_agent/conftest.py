"""The worlds of the site agent's tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.site_agent.site_world import SiteWorld, opened


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SiteWorld]:
    """A site on its own: no broker, no hub."""
    async with opened(tmp_path) as w:
        yield w


@pytest.fixture
async def linked(tmp_path: Path) -> AsyncIterator[SiteWorld]:
    """A site that hears its hub."""
    async with opened(tmp_path, linked=True) as w:
        yield w
