"""NinjaOne behind the machines port: every way in which it may answer, and what each error means to staff."""

import pytest

from deploy.emulators.ninjaone.estate import Automation, Result
from deploy.emulators.ninjaone.variants import Variants
from shared.runtime.clock import ManualClock
from shared.runtime.config import ConfigError
from site_agent.devices.ninjaone import wire, words
from site_agent.devices.ninjaone.machines import DAY_S
from site_agent.devices.ninjaone.objects import Activity, Device, Health
from site_agent.ports import Bookmark, MachineCommand, MachinesRefused, MachinesUnavailable
from tests.deploy.ninjaone_world import BOX_1, BOX_2, BUILT_IN, NOON, READER, RESTART, DeviceSpec
from tests.site_agent.devices.ninjaone_rig import BOX, REBOOT, SCRIPT, SERVICE, rigged

STYLES = ["gateway", "application", "coded", "plain"]


# ---- variants
@pytest.mark.parametrize("answer", ["nothing", "id", "activity", "series", "uid", "number", "text"])
@pytest.mark.parametrize("bare", [False, True])
async def test_a_run_is_followed_whatever_a_tenant_answers_to_its_start(tmp_path, answer, bare):
    async with rigged(tmp_path, variants=Variants(run_answer=answer, activities_bare=bare)) as rig:
        since, ref = await rig.given(SCRIPT)
        assert bool(ref) == (answer in ("series", "uid", "text"))
        for seconds, state in ((1, "running"), (4, "done")):
            rig.ninja.forward(seconds)
            found = await rig.machines.outcome(BOX, SCRIPT, since, ref)
            assert found.state == state and found.ref == rig.estate.runs[0].series


@pytest.mark.parametrize("place", ["data", "result_code", "nested"])
async def test_the_exit_code_is_found_wherever_it_stands(tmp_path, place):
    async with rigged(tmp_path, variants=Variants(exit_code=place)) as rig:
        rig.estate.next_result(Result(result="FAILURE", exit_code=17))
        since, ref = await rig.given(SCRIPT)
        rig.ninja.forward(1)
        rig.ninja.forward(4)
        assert (await rig.machines.outcome(BOX, SCRIPT, since, ref)).text.endswith("(exit code 17)")


@pytest.mark.parametrize(
    ("how", "state"),
    [
        (Result(result="SUCCESS"), "done"),
        (Result(result="FAILURE"), "failed"),
        (Result(result="UNCOMPLETED"), "failed"),
        (Result(result="UNSUPPORTED"), "failed"),
        (Result(code="CANCELLED", result="FAILURE"), "failed"),
        (Result(code="TIMED_OUT", result="UNCOMPLETED"), "failed"),
        (Result(never=True), "running"),
    ],
)
async def test_the_result_decides_and_silence_is_no_failure(tmp_path, how, state):
    async with rigged(tmp_path) as rig:
        rig.estate.next_result(how)
        since, ref = await rig.given(SCRIPT)
        rig.ninja.forward(1)
        rig.ninja.forward(300)
        assert (await rig.machines.outcome(BOX, SCRIPT, since, ref)).state == state


async def test_activities_that_come_late_are_waited_for(tmp_path):
    async with rigged(tmp_path, lag_s=30.0) as rig:
        since, ref = await rig.given(SCRIPT)
        states = []
        for seconds in (1, 5, 26, 5):
            rig.ninja.forward(seconds)
            states.append((await rig.machines.outcome(BOX, SCRIPT, since, ref)).state)
        assert states == ["waiting", "waiting", "running", "done"]


async def test_a_built_in_action_is_run_by_its_uid(tmp_path):
    async with rigged(tmp_path) as rig:
        command = MachineCommand("script", "mark-9", BUILT_IN.uid)
        since, ref = await rig.given(command)
        rig.ninja.forward(1)
        rig.ninja.forward(4)
        assert (await rig.machines.outcome(BOX, command, since, ref)).state == "done"


async def test_of_several_runs_of_unknown_name_none_is_taken_for_ours():
    lines = [Activity(id=n, activity_type="SCRIPTING", status_code="COMPLETED", series_uid=f"s-{n}", activity_time=NOON) for n in (1, 2)]
    assert words.script_outcome(lines, Bookmark("0", NOON), set(), "").state == "waiting"
    assert words.script_outcome(lines, Bookmark("0", NOON), set(), "s-2").state == "done"


@pytest.mark.parametrize("status", [401, 403])
async def test_without_a_consent_scripts_are_refused_with_what_to_do_and_the_rest_works(tmp_path, status):
    async with rigged(tmp_path, consent=False, variants=Variants(user_context_status=status)) as rig:
        with pytest.raises(MachinesRefused, match="ninjaone connect") as refused:
            await rig.machines.command(BOX, SCRIPT)
        assert (refused.value.code, refused.value.ours) == ("consent_missing", True)
        await rig.machines.command(BOX, REBOOT)
        assert [run.by for run in rig.estate.runs] == [READER.client_id]
        assert "ninjaone connect" in rig.machines.alarms()[0]


@pytest.mark.parametrize("status", [401, 403])
async def test_a_token_without_a_person_is_told_apart_from_a_dead_one(tmp_path, status):
    """Should NinjaOne take an app's token for a person's and refuse it later, nothing is renewed for it."""
    async with rigged(tmp_path, variants=Variants(user_context_status=status)) as rig:
        rig.faults.next("status", status=status, style="gateway", path="/v2/device/31/script")
        token = await rig.ninja.machine_token()
        with pytest.raises(wire.WireError) as refused:
            await rig.machines._wire.call("POST", f"/device/{BOX}/reboot/NORMAL", token, body={"nothing": 1})
        assert refused.value.kind == "refused"
        rig.faults.clear()
        with pytest.raises(wire.WireError) as refused:
            await rig.machines._wire.call("POST", f"/device/{BOX}/script/run", token, body=words.script_body(SCRIPT))
        assert refused.value.kind == "no_person"


async def test_where_there_is_no_consent_an_automation_at_the_console_may_act_on_a_custom_field(tmp_path):
    async with rigged(tmp_path, consent=False, automation=Automation()) as rig:
        rig.machines = rig.opened(command_field="clubosCommand", result_field="clubosResult")
        since, ref = await rig.given(SCRIPT)
        assert (await rig.machines.outcome(BOX, SCRIPT, since, ref)).state == "waiting"
        rig.ninja.forward(1)
        rig.ninja.forward(4)
        found = await rig.machines.outcome(BOX, SCRIPT, since, ref)
        assert (found.state, found.text) == ("done", f"{RESTART.name} ended")
        assert rig.estate.runs[0].by == "an automation"
        await rig.connect()  # from now on by the documented call
        assert (await rig.machines.bookmark(BOX)).position != "field"


@pytest.mark.parametrize(
    ("written", "state"),
    [("mark-1 0 fine", "done"), ("mark-1 4 broken", "failed"), ({"text": "mark-1 0 ok", "html": "<p>"}, "done"), ("mark-1 begun", "running"),
     ("mark-0 0 fine", "waiting"), (None, "waiting"), (7, "waiting")],
)  # fmt: skip
def test_what_the_automation_wrote_is_read(written, state):
    assert words.field_outcome(written, "mark-1").state == state


# ---- errors
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(("status", "kind"), [(400, "refused"), (404, "unknown_thing"), (500, "broken"), (429, "busy")])
async def test_an_error_is_understood_in_each_of_its_four_styles(tmp_path, style, status, kind):
    async with rigged(tmp_path) as rig:
        token = await rig.ninja.machine_token()
        rig.faults.next("status", status=status, style=style, path="/v2")
        with pytest.raises(wire.WireError) as error:
            await rig.machines._wire.call("GET", "/devices", token)
        assert error.value.kind == kind and str(error.value).endswith(".")
        if kind != "busy":
            assert "could not be carried out" in str(error.value)


@pytest.mark.parametrize("style", ["gateway", "application", "coded"])
async def test_an_error_inside_a_200_is_no_success_and_a_command_may_have_been_taken(tmp_path, style):
    async with rigged(tmp_path) as rig:
        await rig.machines.machines()
        rig.faults.next("inside", style=style, path="/v2/devices")
        with pytest.raises(MachinesUnavailable):
            await rig.machines.machines()
        rig.faults.next("inside", style=style, method="POST", path="/v2/device")
        with pytest.raises(MachinesUnavailable) as unsure:
            await rig.machines.command(BOX, SCRIPT)
        assert unsure.value.outcome_unknown


@pytest.mark.parametrize("status", [200, 502, 503])
async def test_a_page_in_place_of_the_api_is_a_failure(tmp_path, status):
    async with rigged(tmp_path) as rig:
        rig.faults.next("html", status=status, path="/v2")
        with pytest.raises(MachinesUnavailable) as page:
            await rig.machines.machines()
        assert "html" not in page.value.detail.lower()
        rig.faults.next("html", status=status, method="POST", path="/v2/device")
        with pytest.raises(MachinesUnavailable) as page:
            await rig.machines.command(BOX, SCRIPT)
        assert page.value.outcome_unknown


async def test_an_empty_answer_where_there_should_be_one_is_a_failure(tmp_path):
    async with rigged(tmp_path) as rig:
        rig.faults.next("empty", path="/v2/devices")
        with pytest.raises(MachinesUnavailable):
            await rig.machines.machines()


@pytest.mark.parametrize(("header", "seconds"), [(7, 7), (None, 5), (600, 600)])
async def test_a_429_is_heeded_with_and_without_its_time(tmp_path, header, seconds):
    async with rigged(tmp_path) as rig:
        rig.faults.next("status", status=429, path="/v2/devices", retry_after_s=header)
        with pytest.raises(MachinesUnavailable) as busy:
            await rig.machines.machines()
        assert (busy.value.busy, busy.value.retry_after_s) == (True, seconds)
        before = len(rig.ninja.emulator.requests)
        with pytest.raises(MachinesUnavailable):
            await rig.machines.machines()
        assert len(rig.ninja.emulator.requests) == before


async def test_a_slow_answer_is_given_up_and_what_it_did_is_unknown(tmp_path):
    async with rigged(tmp_path) as rig:
        rig.machines = rig.opened(read_timeout_s=0.2)
        rig.faults.next("slow", method="POST", path="/v2/device", seconds=0.5)
        with pytest.raises(MachinesUnavailable) as slow:
            await rig.machines.command(BOX, SCRIPT)
        assert slow.value.outcome_unknown


@pytest.mark.parametrize("status", [401, 403])
async def test_a_missing_right_is_ours_to_mend_and_nothing_is_renewed_for_it(tmp_path, status):
    async with rigged(tmp_path, variants=Variants(missing_scope_status=status)) as rig:
        rig.ninja.emulator.oauth.apps |= {READER.client_id: READER}
        rig.faults.next("status", status=403, style="plain", path="/v2/devices")
        with pytest.raises(MachinesRefused) as refused:
            await rig.machines.machines()
        assert (refused.value.code, refused.value.ours) == ("right_missing", True)


async def test_wrong_secrets_and_revoked_apps_are_refused_without_telling_the_secret(tmp_path):
    async with rigged(tmp_path) as rig:
        rig.machines = rig.opened(secret_file="not-the-secret")
        with pytest.raises(MachinesRefused) as refused:
            await rig.machines.machines()
        assert refused.value.code == "key_refused" and "not-the-secret" not in str(refused.value)
        rig.machines = rig.opened()
        rig.ninja.emulator.oauth.revoked = True
        with pytest.raises(MachinesRefused) as refused:
            await rig.machines.machines()
        assert refused.value.code == "key_refused" and READER.secret not in str(refused.value)


async def test_a_dead_access_token_is_replaced_once_and_the_call_made_again(tmp_path):
    async with rigged(tmp_path) as rig:
        await rig.machines.machines()
        rig.ninja.emulator.oauth.revoke_access()
        assert len(await rig.machines.machines()) == 2
        await rig.machines.command(BOX, SCRIPT)
        assert rig.scripts_run() == 1


# ---- lists
async def test_many_devices_come_page_by_page_and_a_page_that_does_not_go_on_ends_it(tmp_path, monkeypatch):
    monkeypatch.setattr("site_agent.devices.ninjaone.machines.PAGE_SIZE", 3)
    boxes = tuple(DeviceSpec(number, f"Box {number}") for number in range(1, 9))
    async with rigged(tmp_path, devices=boxes) as rig:
        found = await rig.machines.machines()
        assert [one.name for one in found] == [f"Box {number}" for number in range(1, 9)]
        assert {one.health for one in found} == {"good"}


async def test_only_devices_of_our_organisation_are_read(tmp_path):
    async with rigged(tmp_path) as rig:
        assert [one.machine_id for one in await rig.machines.machines()] == [str(BOX_1.id), str(BOX_2.id)]
        assert len(await rig.opened(organization_id=0).machines()) == 3


@pytest.mark.parametrize(
    ("device", "health", "state", "text"),
    [
        (Device(1, offline=False), Health(1, "HEALTHY"), "good", ""),
        (Device(1, offline=False), Health(1, "UNKNOWN"), "unknown", ""),
        (Device(1, offline=False), None, "unknown", ""),
        (Device(1), Health(1, "HEALTHY"), "good", ""),
        (Device(1, offline=True), Health(1, "HEALTHY"), "trouble", "off"),
        (Device(1, offline=False), Health(1, "UNHEALTHY", active_threats_count=2), "trouble", "unhealthy: 2 threats"),
        (Device(1, offline=False), Health(1, "NEEDS_ATTENTION", pending_reboot_reason="updates"), "trouble", "a restart is due"),
    ],
)
def test_what_no_answer_speaks_of_is_unknown(device, health, state, text):
    found = words.machine(device, health, ())
    assert found.health == state and text in "".join(found.troubles)


# ---- bad input
@pytest.mark.parametrize(
    "command",
    [
        MachineCommand("script", "", "146"),
        MachineCommand("script", "m 1", "146"),
        MachineCommand("script", "m", "format c:"),
        MachineCommand("script", "m", ""),
        MachineCommand("script", "m", "146", "-Bay 1; shutdown"),
        MachineCommand("script", "m", "146", "line\nline"),
        MachineCommand("service", "m", ""),
    ],
)
async def test_a_command_that_could_mean_something_else_is_refused_before_it_is_sent(tmp_path, command):
    async with rigged(tmp_path) as rig:
        with pytest.raises(MachinesRefused):
            await rig.machines.command(BOX, command)
        assert rig.estate.runs == []


@pytest.mark.parametrize("machine_id", ["", "../alerts", "31/reboot", "٣١", "1" * 16])
async def test_an_id_that_is_no_number_never_becomes_a_path(tmp_path, machine_id):
    async with rigged(tmp_path) as rig:
        with pytest.raises(MachinesRefused) as refused:
            await rig.machines.command(machine_id, REBOOT)
        assert refused.value.code == "machine_unknown"


async def test_a_services_name_stays_one_segment_of_the_path(tmp_path):
    async with rigged(tmp_path) as rig:
        with pytest.raises(MachinesRefused):
            await rig.machines.command(BOX, MachineCommand("service", "m", "../../reboot/FORCED"))
        assert rig.estate.runs == []
        await rig.machines.command(BOX, SERVICE)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ca.ninjarmm.com",
        "http://ca.ninjarmm.com",
        "https://ca.ninjarmm.com/v2",
        "ftp://ca.ninjarmm.com",
        "https://user@ca.ninjarmm.com",
        "https://[",
    ],
)
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(ValueError, match="NinjaOne"):
        wire.Wire(url, ManualClock())


async def test_settings_that_cannot_work_are_refused_with_a_sentence(tmp_path):
    from shared.runtime.config import ConfigError

    async with rigged(tmp_path) as rig:
        for more in (
            {"client_id": "", "consent_client_id": ""},
            {"command_field": "x"},
            {"secret_file": ""},
            {"organization_id": -1},
            {"url": "x"},
        ):
            with pytest.raises(ConfigError, match=r"machines\.way\.ninjaone"):
                rig.opened(**more)


# ---- the alarm
@pytest.mark.parametrize(("days", "told"), [(20, ""), (22, "lapses in about 7"), (60, "lapses in about 0")])
async def test_a_consent_that_could_not_be_renewed_is_told_of_in_time(tmp_path, days, told):
    async with rigged(tmp_path) as rig:
        rig.clock.forward(days * DAY_S)
        assert told in "".join(rig.machines.alarms()) and bool(told) == bool(rig.machines.alarms())


async def test_a_consent_is_renewed_each_week_though_nobody_needs_it(tmp_path):
    async with rigged(tmp_path) as rig:
        for _ in range(10):
            rig.clock.forward(6 * DAY_S)
            await rig.machines.renew()
        assert rig.renewals() == 5 and rig.machines.alarms() == []


# ---- what is a script there
async def test_where_the_journal_does_not_tell_a_script_says_itself_in_a_field_how_it_ended(tmp_path):
    async with rigged(tmp_path) as rig:
        rig.machines = rig.opened(outcome_field="clubosOutcome")
        rig.estate.next_result(Result(never=True))
        since, ref = await rig.given(SCRIPT)
        assert rig.estate.runs[0].parameters == "-Bay 1 -Mark mark-1"
        rig.ninja.forward(1)
        rig.ninja.forward(300)
        fields = rig.estate.devices[BOX_1.id].fields
        for written, state in (
            ("", "running"),
            ("mark-0 0 an earlier run", "running"),
            ("mark-1 0 All is well", "done"),
            ("mark-1 4 No licence", "failed"),
        ):
            fields["clubosOutcome"] = written
            found = await rig.machines.outcome(BOX, SCRIPT, since, ref)
            assert found.state == state, written
        assert found.text == "No licence (exit code 4)"


async def test_a_message_or_a_preparation_is_the_script_that_the_settings_name(tmp_path):
    async with rigged(tmp_path) as rig:
        assert rig.machines.does(BOX) == {"restart", "service", "script"} and rig.machines.does("bay-1") == frozenset()
        with pytest.raises(MachinesRefused, match="name a script for it in the settings"):
            await rig.machines.command(BOX, MachineCommand("message", "mark-7", parameters="Hello"))
        rig.machines = rig.opened(message_script=str(RESTART.id), prepare_script=BUILT_IN.uid)
        assert rig.machines.does(BOX) >= {"message", "prepare"}
        since, ref = await rig.given(MachineCommand("message", "mark-7", parameters='Ten "minutes" left & more; bye'))
        assert rig.estate.runs[0].parameters == "\"Ten 'minutes' left more bye\""
        rig.ninja.forward(1)
        rig.ninja.forward(4)
        told = MachineCommand("message", "mark-7", parameters='Ten "minutes" left & more; bye')
        assert (await rig.machines.outcome(BOX, told, since, ref)).state == "done"
        await rig.machines.command(BOX, MachineCommand("prepare", "mark-8"))
        assert len(rig.estate.runs) == 2
        with pytest.raises(ConfigError, match="'cleanup_script' is no script of NinjaOne"):
            rig.opened(cleanup_script="tidy.ps1")
