"""Every rule of the protocol again, with the hub's books on PostgreSQL."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.needs_postgres
@pytest.mark.timeout(1500)
def test_every_rule_holds_with_the_hub_on_postgresql():
    if os.environ.get("CLUBOS_TEST_BOOKS") == "postgres":
        return  # this is that run
    run = [sys.executable, "-m", "pytest", "tests/rules", "-q", "-x", "-m", "not slow", "-n", "2", "--dist", "loadfile"]
    done = subprocess.run(run, cwd=ROOT, env=os.environ | {"CLUBOS_TEST_BOOKS": "postgres"}, capture_output=True, text=True, timeout=1400)
    assert done.returncode == 0, done.stdout[-6000:]
