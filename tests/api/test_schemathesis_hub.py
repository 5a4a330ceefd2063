"""The hub's API under Schemathesis: valid, borderline and broken requests by its own description, over a socket, with a key that may everything."""

import pytest

from tests.api.hostile import EXAMPLES, Served, attack, begun, glance, served, settings, unharmed

#: these need a booking in a state that chance seldom brings about; tests/cloud_hub grants them
SELDOM = {f"POST /api/v1/bookings/{{booking_id}}/{name}" for name in ("extend", "reschedule", "withdraw", "open")}


@pytest.fixture
def apps(tmp_path):
    with served(tmp_path) as apps:
        yield apps


def told(apps: Served) -> str:
    return settings({"api_key": {"bearer": apps.keys["api_key"]}}, begun(apps, "hub"))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_hub_answers_as_described_whatever_it_is_sent(apps):
    run = attack(apps.keys["hub"], apps.folder, told(apps), examples=EXAMPLES)
    assert run.code == 0, run.said
    assert run.cases > 1000
    unharmed(apps, "hub", SELDOM)


def test_the_hub_withstands_a_few_hostile_requests(apps):
    places = {"/api/v1/holds": "POST", "/api/v1/bookings": "POST", "/api/v1/availability": "GET"}
    glance(apps.keys["hub"], places, headers={"Authorization": f"Bearer {apps.keys['api_key']}"})
    assert apps.findings("hub") == []
