"""Help for a bay over the emulated NinjaOne, whole: what staff see when it works, and for each thing that goes wrong there."""

import pytest

from deploy.emulators.ninjaone.estate import Result
from tests.deploy.ninjaone_world import BOX_1, RESTART
from tests.site_agent.machines_world import looked_after


@pytest.fixture
async def w(tmp_path):
    async with looked_after(tmp_path) as world:
        yield world


async def passed(w, *moments: float) -> tuple[str, str]:
    for seconds in moments:
        await w.move(seconds)
    return await w.last()


async def test_a_script_runs_in_the_bay_and_its_end_is_told(w):
    assert (await w.help("script", "restart-sim")).status_code == 202
    await w.rest()
    assert await passed(w, 1, 6) == ("done", f"{RESTART.name} ended")
    (run,) = w.ninja.estate.runs
    assert (run.device_id, run.parameters, run.run_as) == (BOX_1.id, "-Bay 1 -Name box-1", "system")


async def test_a_script_that_fails_says_the_scripts_own_words(w):
    w.ninja.estate.next_result(Result(result="FAILURE", exit_code=5, message="The licence server is away"))
    await w.help("script", "restart-sim")
    await w.rest()
    assert await passed(w, 1, 6) == ("failed", "The licence server is away (exit code 5)")


async def test_a_restart_is_done_when_the_pc_has_said_so_and_the_bay_is_off_meanwhile(w):
    await w.help()
    await w.rest()
    await w.move(2)
    await w.kit.machines.look()
    assert (await w.bay())["state"] == "trouble"
    assert await passed(w, 30, 31, 5) == ("done", "The PC has restarted.")
    await w.move(2)
    assert (await w.bay())["state"] == "good"


async def test_a_service_is_done_when_it_runs_again(w):
    await w.help("service", "trackman")
    await w.rest()
    assert (await passed(w, 6))[0] == "going"
    assert await passed(w, 12) == ("done", "The service runs.")


async def test_an_answer_that_is_lost_after_it_acted_is_found_in_the_journal_and_not_repeated(w):
    w.ninja.faults.next("lost", method="POST", path="/v2/device/31/script")
    await w.help("script", "restart-sim")
    await w.rest()
    assert (await w.last())[0] == "unclear"
    assert await passed(w, 1, 5, 20, 6) == ("done", f"{RESTART.name} ended")
    assert len(w.ninja.estate.runs) == 1


async def test_a_timeout_that_did_not_act_is_nobodys_knowledge_in_the_end(w):
    w.ninja.faults.next("lost", method="POST", path="/v2/device/31/script", acts=False)
    await w.help("script", "restart-sim")
    await w.rest()
    state, text = await passed(w, *[40] * 20)
    assert state == "unknown" and "Nobody knows whether it was done" in text and w.ninja.estate.runs == []


@pytest.mark.parametrize(
    "fault", [{"kind": "inside"}, {"kind": "html", "status": 200}, {"kind": "html"}, {"kind": "status", "status": 500}]
)
async def test_an_answer_that_makes_no_sense_is_looked_up(w, fault):
    w.ninja.faults.next(**fault, acts=True, method="POST", path="/v2/device/31/script")
    await w.help("script", "restart-sim")
    await w.rest()
    assert (await w.last())[0] == "unclear"
    assert (await passed(w, 1, 5, 20, 6))[0] == "done" and len(w.ninja.estate.runs) == 1


async def test_too_many_requests_make_the_command_wait_and_not_fail(w):
    w.ninja.faults.next("status", status=429, retry_after_s=20, path="/v2/device/31")
    await w.help("script", "restart-sim")
    await w.rest()
    state, text = await w.last()
    assert state == "waiting" and "fewer requests" in text
    assert (await passed(w, 21, 1, 1, 6))[0] == "done"


async def test_a_consent_that_was_taken_back_is_told_at_once_with_what_to_do_and_reading_goes_on(w):
    w.ninja.oauth.end_consent()
    await w.help("script", "restart-sim")
    await w.rest()
    state, text = await w.last()
    assert state == "failed" and "ninjaone connect" in text
    await w.move(70)
    panel = await w.panel()
    assert "ninjaone connect" in panel["alarms"][0] and panel["bays"][0]["state"] == "good"
    await w.connect()
    await w.help("script", "restart-sim")
    await w.rest()
    assert (await passed(w, 1, 6))[0] == "done" and (await w.panel())["alarms"] == []


async def test_revoked_apps_leave_the_bays_unknown_and_say_why(w):
    w.ninja.oauth.revoked = True
    w.ninja.oauth.revoke_access()
    for _ in range(4):
        await w.move(70)
    panel = await w.panel()
    assert "client id or its secret" in panel["trouble"] and panel["bays"][0]["state"] == "unknown"
    assert (await w.bay())["seen_at"] > 0


async def test_without_a_consent_the_staff_page_says_so_and_the_pc_can_still_be_restarted(tmp_path):
    async with looked_after(tmp_path, consent=False) as w:
        assert "Nobody has consented" in (await w.panel())["alarms"][0]
        await w.help("script", "restart-sim")
        await w.rest()
        assert (await w.last())[0] == "failed"
        await w.move(1)
        await w.help()
        await w.rest()
        assert (await passed(w, 1, 61, 5))[0] == "done"


async def test_an_alert_shows_at_the_bay_and_goes_when_it_is_reset(w):
    alert = w.ninja.estate.alert(BOX_1.id, "The projector shows no picture", "MAJOR")
    await w.move(70)
    assert ((await w.bay())["state"], (await w.bay())["told"]) == ("trouble", ["The projector shows no picture"])
    w.ninja.estate.reset(alert.uid)
    await w.move(70)
    assert (await w.bay())["state"] == "good"


async def test_a_pc_that_is_off_does_it_when_it_is_back_or_nobody_knows(w):
    w.ninja.estate.power(BOX_1.id, False)
    await w.help("script", "restart-sim")
    await w.rest()
    assert (await passed(w, 120))[0] == "going"
    w.ninja.estate.power(BOX_1.id, True)
    assert (await passed(w, 1, 4, 15))[0] == "done"


async def test_the_vendor_away_for_an_hour_costs_nothing_else(w):
    await w.ninja.go_down()
    for _ in range(6):
        await w.move(600)
    assert (await w.bay())["state"] == "unknown" and (await w.staff.get("/health/ready")).status_code == 200
    await w.ninja.come_back()
    await w.move(1000)
    assert (await w.bay())["state"] == "good"


async def test_no_token_code_or_secret_is_in_what_staff_see_or_the_journal(w):
    await w.help("script", "restart-sim")
    await w.rest()
    await w.move(6)
    kept = w.kit.machines.way("ninjaone").kept()
    shown = str(await w.panel()) + str(w.journal()) + str(w.row())
    assert kept.access not in shown and kept.refresh not in shown and "reader-secret" not in shown
