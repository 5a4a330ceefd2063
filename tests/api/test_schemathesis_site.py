"""The site's API under Schemathesis: valid, borderline and broken requests by its own description, over a socket, as staff and as a kiosk."""

import pytest

from tests.api.hostile import EXAMPLES, Served, attack, begun, glance, served, settings, unharmed

#: these need a booking in a state, or a code, that chance seldom brings about; tests/site_agent grants them
SELDOM = {
    *(f"POST /api/bookings/{{booking_id}}/{what}" for what in ("extend", "reschedule", "reseat", "check-in", "attendance", "sell-rest")), "POST /api/check-in",
    "POST /api/conflicts/{booking_id}/place", "POST /api/kiosks/pair", "POST /api/sign-in", "POST /api/sign-out", "POST /api/halts/lift", "POST /api/clock/confirm",
    "POST /api/scan", "POST /api/doors/alerts/answer", "POST /api/doors/emergency/end",
    *(f"POST /api/doors/{{door_id}}/{what}" for what in ("hold", "let-close")),
    *(f"POST /api/doors/cards{what}" for what in ("", "/read", "/back")),
    *(f"POST /api/bays/{what}" for what in ("{resource_id}/sell", "{resource_id}/take-out", "unbooked/{row_id}")), "POST /api/changed/answer",
    *(f"POST /api/machines/{{resource_id}}/{what}" for what in ("help", "message")), "POST /api/bookings/{booking_id}/overtime",
}  # fmt: skip
#: it would end the session that everything else is asked with
NO_SIGN_OUT = ("--exclude-path", "/api/sign-out")


@pytest.fixture
def apps(tmp_path):
    with served(tmp_path) as apps:
        yield apps


def as_staff(apps: Served) -> tuple[str, list[str]]:
    """Settings and options: the session's cookie, the page's token beside it."""
    both = {"staff": {"api_key": apps.keys["session"]}, "kiosk": {"bearer": apps.keys["kiosk_token"]}}
    return settings(both, begun(apps, "site")), ["--header", f"X-CSRF-Token: {apps.keys['csrf_token']}", *NO_SIGN_OUT]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_site_answers_staff_as_described_whatever_it_is_sent(apps):
    config, options = as_staff(apps)
    run = attack(apps.keys["site"], apps.folder, config, *options, examples=EXAMPLES)
    assert run.code == 0, run.said
    assert run.cases > 1000
    unharmed(apps, "site", SELDOM)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_site_answers_a_kiosk_as_described_whatever_it_is_sent(apps):
    config = settings({"kiosk": {"bearer": apps.keys["kiosk_token"]}}, begun(apps, "site"))
    run = attack(apps.keys["site"], apps.folder, config, *NO_SIGN_OUT, "--phases", "coverage,fuzzing", examples=max(4, EXAMPLES // 4))
    assert run.code == 0, run.said
    assert run.cases > 500
    assert apps.findings("site") == []


def test_the_site_withstands_a_few_hostile_requests(apps):
    places = {"/api/holds": "POST", "/api/bookings": "POST", "/api/bookings/{booking_id}": "GET"}
    csrf = {"X-CSRF-Token": apps.keys["csrf_token"]}
    glance(apps.keys["site"], places, headers=csrf, cookies={"session": apps.keys["session"]})
    assert apps.findings("site") == []
