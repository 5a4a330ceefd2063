"""L6: the agent starts and sells in a network that has no way out: no route, no name server, no broker, no controller, no time server."""

import time

import pytest

from tests.mounts import needs_unshare
from tests.site_agent.real_agent import RealAgent, config_in, wish

#: a broker by a name that nobody can resolve, a controller at an address that nobody can reach
OUTSIDE = """
[mqtt]
host = "broker.clubos.test"
username = "bedford"

[doors]
kind = "unifi"
host = "192.0.2.10"
token_file = "token"
fingerprint = "00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff:00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff"
"""
START_WITHIN_S = 15.0
WATCHED_S = 6.0
RSS_MAX_MB = 160
QUIET_LINES_MAX = 40


@pytest.mark.slow
@needs_unshare
def test_a_box_that_starts_with_no_network_serves_sells_and_stays_calm(tmp_path):
    (tmp_path / "token").write_text("testing-token-7d1f")
    with RealAgent(config_in(tmp_path, tmp_path / "data", OUTSIDE, clock="no"), unplugged=True) as agent:
        assert agent.served_after_s < START_WITHIN_S
        ready = agent.get("/health/ready").json()
        assert (ready["status"], ready["link"]) == ("ready" if ready["clock"] == "trusted" else "degraded", "dark")

        first = wish(1, 2)
        if not agent.get("/api/clock").json()["trusted"]:  # where the test's machine is set by a time server, that is kept in the kernel
            refused = agent.post("/api/bookings", first)
            assert (refused.status_code, refused.json()["code"]) == (409, "clock_untrusted"), "clock-2: nothing is sold by a clock of its own"
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(agent.get("/api/clock").json()["now_at"]))
            assert agent.post("/api/clock/confirm", {"shown_at": now}).json()["trusted"]
        sale = agent.post("/api/bookings", first)
        assert sale.status_code == 201 and sale.json()["booking"]["status"] == "confirmed"
        link = agent.get("/api/link").json()
        assert (link["link"], link["configured"], link["broker"]) == ("dark", True, False) and link["waiting"] > 0
        panels = agent.get(f"/api/panels?date={first['start'][:10]}").json()
        assert panels["doors"]["configured"] and panels["doors"]["trouble"], "the staff page says that the doors are away"
        assert agent.get("/staff").status_code == 200

        calls = []
        agent.until(lambda: calls.append(agent.ready()) or len(calls) * 0.05 >= WATCHED_S, "it goes on answering", within_s=60)
        assert all(calls)
        assert len(agent.lines) < QUIET_LINES_MAX, "what is away is told once, not in a loop"
        assert not [line for line in agent.loud() if "exception" in line or "traceback" in line], agent.loud()
        assert agent.rss_mb() < RSS_MAX_MB
        assert agent.stop() == 0

