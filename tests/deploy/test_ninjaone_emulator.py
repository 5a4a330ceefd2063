"""The emulated NinjaOne: what its API answers, what it refuses, and how what was asked goes on."""

import asyncio

import httpx
import pytest

from deploy.emulators.ninjaone.estate import Automation
from deploy.emulators.ninjaone.oauth import challenge_of
from deploy.emulators.ninjaone.variants import Variants
from tests.deploy.ninjaone_world import BACK, BOX_1, BOX_2, BUILT_IN, CONSENTING, ELSEWHERE, NOON, READER, RESTART, emulated

SCRIPT = {"type": "SCRIPT", "id": RESTART.id, "parameters": "-Bay 1", "runAs": "system"}


@pytest.fixture
async def ninja():
    async with emulated() as found:
        yield found


# ---- tokens
async def test_client_credentials_give_a_token_for_an_hour_and_no_more_scopes_than_the_app_has(ninja):
    answer = await ninja.token(grant_type="client_credentials", client_id=READER.client_id, client_secret=READER.secret)
    assert (answer.json()["expires_in"], answer.json()["scope"]) == (3600, "monitoring management")
    assert "refresh_token" not in answer.json()
    more = await ninja.token(grant_type="client_credentials", client_id=READER.client_id, client_secret=READER.secret, scope="control")
    assert (more.status_code, more.json()["error"]) == (400, "invalid_scope")
    ninja.clock.forward(3600)
    late = await ninja.ask("GET", "/v2/devices", answer.json()["access_token"])
    assert (late.status_code, late.json()["error"]) == (401, "invalid_token")


@pytest.mark.parametrize(("secret", "client"), [("wrong", READER.client_id), (READER.secret, "nobody"), ("", READER.client_id)])
async def test_a_wrong_secret_or_an_app_of_another_instance_is_refused(ninja, secret, client):
    answer = await ninja.token(grant_type="client_credentials", client_id=client, client_secret=secret)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


@pytest.mark.parametrize(("variant", "status"), [("refused", 400), ("ignored", 200)])
async def test_client_credentials_that_ask_to_stay_connected_are_refused_or_not_heard(variant, status):
    async with emulated(variants=Variants(machine_offline_access=variant)) as ninja:
        form = {"client_id": READER.client_id, "client_secret": READER.secret, "scope": "monitoring offline_access"}
        answer = await ninja.token(grant_type="client_credentials", **form)
        assert answer.status_code == status and "refresh_token" not in answer.json()


async def test_a_persons_consent_needs_the_verifier_of_its_challenge_and_its_code_works_once(ninja):
    verifier = "v" * 50
    code = (await ninja.allowed("monitoring offline_access", challenge_of(verifier)))["code"]
    form = {"grant_type": "authorization_code", "client_id": CONSENTING.client_id, "code": code, "redirect_uri": BACK}
    wrong = await ninja.token(**form, code_verifier="w" * 50)
    assert (wrong.status_code, wrong.json()["error"]) == (400, "invalid_grant")
    assert (await ninja.token(**form, code_verifier=verifier)).status_code == 400  # a code that was shown once is used up


async def test_a_person_may_say_no(ninja):
    assert await ninja.allowed("monitoring", challenge_of("v" * 50), answer="deny") == {"error": "access_denied", "state": "s-1"}


@pytest.mark.parametrize(
    "query",
    [
        {"client_id": "nobody"},
        {"client_id": READER.client_id},
        {"redirect_uri": "https://elsewhere.example.test/back"},
        {"redirect_uri": "http://["},
        {"code_challenge_method": "plain"},
        {"scope": "control"},
        {"response_type": "token"},
    ],
)
async def test_an_authorize_address_that_is_not_right_shows_why_and_leads_nowhere(ninja, query):
    good = {
        "response_type": "code", "client_id": CONSENTING.client_id, "redirect_uri": BACK, "scope": "monitoring", "code_challenge": "x",
        "code_challenge_method": "S256",
    }  # fmt: skip
    answer = await ninja.http.get("/ws/oauth/authorize", params=good | query)
    assert answer.status_code == 400 and "location" not in answer.headers


async def renewed(ninja, refresh: str) -> httpx.Response:
    return await ninja.token(grant_type="refresh_token", client_id=CONSENTING.client_id, refresh_token=refresh)


@pytest.mark.parametrize(("variant", "again", "then"), [("grace", 200, 200), ("strict", 400, 200), ("family", 400, 400)])
async def test_a_refresh_token_is_exchanged_for_another_and_the_old_one_is_what_the_variant_says(variant, again, then):
    async with emulated(variants=Variants(old_refresh=variant)) as ninja:
        first = (await ninja.consent())["refresh_token"]
        second = (await renewed(ninja, first)).json()["refresh_token"]
        assert second != first
        assert (await renewed(ninja, first)).status_code == again
        assert (await renewed(ninja, second)).status_code == then
        assert (await renewed(ninja, first)).status_code == 400


async def test_a_consent_that_nobody_used_for_a_month_or_that_was_taken_back_is_over(ninja):
    refresh = (await ninja.consent())["refresh_token"]
    ninja.clock.forward(31 * 86_400)
    assert (await renewed(ninja, refresh)).json()["error"] == "invalid_grant"
    told = await ninja.consent()
    await ninja.desk("/tokens", {"consent": True})
    assert (await renewed(ninja, told["refresh_token"])).status_code == 400
    assert (await ninja.ask("GET", "/v2/devices", told["access_token"])).status_code == 401


async def test_without_asking_to_stay_connected_there_is_no_refresh_token(ninja):
    assert "refresh_token" not in await ninja.consent("monitoring management")


# ---- lists
async def test_lists_are_bare_arrays_in_pages_and_both_prefixes_are_the_same_api(ninja):
    token = await ninja.machine_token()
    first = (await ninja.ask("GET", "/v2/devices?pageSize=2", token)).json()
    assert [one["id"] for one in first] == [BOX_1.id, BOX_2.id]
    rest = (await ninja.ask("GET", f"/api/v2/devices?pageSize=2&after={BOX_2.id}", token)).json()
    assert [one["id"] for one in rest] == [ELSEWHERE.id]
    assert (rest[0]["offline"], type(rest[0]["lastContact"])) == (False, float)
    assert [one["name"] for one in (await ninja.ask("GET", "/v2/organizations", token)).json()] == ["Bedford", "Office"]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("org = 1", [31, 32]),
        ("org=2", [77]),
        ("id in (31, 77)", [31, 77]),
        ("offline", [32]),
        ("online AND org = 1", [31]),
        ("class = LINUX_SERVER", []),
    ],
)
async def test_the_device_filter_chooses(ninja, text, ids):
    ninja.emulator.estate.power(BOX_2.id, False)
    answer = await ninja.ask("GET", "/v2/devices", await ninja.machine_token(), params={"df": text})
    assert [one["id"] for one in answer.json()] == ids


async def test_health_comes_with_a_cursor_and_an_alert_makes_it_worse(ninja):
    token = await ninja.machine_token()
    await ninja.desk("/device", {"device_id": BOX_1.id, "alert": "No picture", "severity": "CRITICAL"})
    first = (await ninja.ask("GET", "/v2/queries/device-health?pageSize=2", token)).json()
    assert [(row["deviceId"], row["healthStatus"], row["alertCount"]) for row in first["results"]] == [
        (31, "UNHEALTHY", 1),
        (32, "HEALTHY", 0),
    ]
    rest = (await ninja.ask("GET", f"/v2/queries/device-health?pageSize=2&cursor={first['cursor']['name']}", token)).json()
    assert [row["deviceId"] for row in rest["results"]] == [77] and "cursor" not in rest
    alert = (await ninja.ask("GET", f"/v2/device/{BOX_1.id}/alerts", token)).json()[0]
    assert (alert["message"], alert["createTime"]) == ("No picture", NOON)
    assert (await ninja.ask("POST", f"/v2/alert/{alert['uid']}/reset", token, {})).status_code == 204
    assert (await ninja.ask("GET", "/v2/alerts", token)).json() == []


# ---- scripts
async def test_a_script_needs_a_person_behind_the_token(ninja):
    machine = await ninja.machine_token()
    answer = await ninja.ask("POST", f"/v2/device/{BOX_1.id}/script/run", machine, SCRIPT)
    assert (answer.status_code, answer.json()["error"], answer.json()["error_code"]) == (403, "user_context_required", 5)
    person = (await ninja.consent())["access_token"]
    assert (await ninja.ask("POST", f"/v2/device/{BOX_1.id}/script/run", person, SCRIPT)).status_code == 204
    assert ninja.emulator.estate.commands == [(BOX_1.id, "script", RESTART.name)]


@pytest.mark.parametrize(
    "body",
    [
        SCRIPT | {"scriptId": 146},
        SCRIPT | {"parameters": {"Bay": 1}},
        SCRIPT | {"parameters": "-Bay 1 ; format"},
        SCRIPT | {"runAs": "SYSTEM"},
        SCRIPT | {"id": "146"},
        SCRIPT | {"id": 9},
        SCRIPT | {"type": "SHELL"},
        {"type": "ACTION", "id": 146},
        [],
    ],
)
async def test_a_scripts_start_that_is_not_as_documented_is_refused(ninja, body):
    person = (await ninja.consent())["access_token"]
    answer = await ninja.ask("POST", f"/v2/device/{BOX_1.id}/script/run", person, body)
    assert answer.status_code in (400, 404) and ninja.emulator.estate.commands == []


async def test_a_runs_activities_share_a_series_and_its_job_is_listed_only_while_it_runs(ninja):
    person = (await ninja.consent())["access_token"]
    before = (await ninja.ask("GET", f"/v2/device/{BOX_1.id}/activities", person)).json()["lastNodeActivityId"]
    await ninja.ask("POST", f"/v2/device/{BOX_1.id}/script/run", person, SCRIPT)
    ninja.forward(1)
    assert [job["jobStatus"] for job in (await ninja.ask("GET", "/v2/jobs", person)).json()] == ["IN_PROCESS"]
    ninja.forward(4)
    assert (await ninja.ask("GET", f"/v2/device/{BOX_1.id}/jobs", person)).json() == []
    told = (await ninja.ask("GET", f"/v2/device/{BOX_1.id}/activities?newerThan={before}&activityType=SCRIPTING", person)).json()[
        "activities"
    ]
    assert [one["statusCode"] for one in told] == ["COMPLETED", "STARTED", "START_REQUESTED"]
    assert len({one["seriesUid"] for one in told}) == 1
    assert (told[0]["activityResult"], told[0]["data"], told[0]["activityTime"]) == ("SUCCESS", {"exitCode": 0}, NOON + 5)


async def test_a_built_in_action_is_named_by_its_uid(ninja):
    person = (await ninja.consent())["access_token"]
    answer = await ninja.ask(
        "POST", f"/v2/device/{BOX_1.id}/script/run", person, {"type": "ACTION", "uid": BUILT_IN.uid, "runAs": "system"}
    )
    assert answer.status_code == 204 and ninja.emulator.estate.commands == [(BOX_1.id, "script", BUILT_IN.name)]


@pytest.mark.parametrize("variant", ["id", "activity", "series", "uid", "number", "text"])
async def test_some_tenants_answer_a_start_with_an_id_of_some_kind(variant):
    async with emulated(variants=Variants(run_answer=variant)) as ninja:
        person = (await ninja.consent())["access_token"]
        answer = await ninja.ask("POST", f"/v2/device/{BOX_1.id}/script/run", person, SCRIPT)
        assert answer.status_code == 200 and answer.json()


async def test_what_an_offline_device_is_asked_waits_until_it_is_back(ninja):
    person = (await ninja.consent())["access_token"]
    ninja.emulator.estate.power(BOX_1.id, False)
    await ninja.ask("POST", f"/v2/device/{BOX_1.id}/script/run", person, SCRIPT)
    ninja.forward(3600)
    assert [line.status_code for line in ninja.emulator.estate.journal.visible()] == ["START_REQUESTED"]
    ninja.emulator.estate.power(BOX_1.id, True)
    ninja.forward(1)
    ninja.forward(4)
    assert ninja.emulator.estate.journal.visible()[0].status_code == "COMPLETED"


async def test_activities_are_seen_late_where_the_feed_lags_and_a_time_is_no_id(ninja):
    token = await ninja.machine_token()
    await ninja.desk("/faults", {"lag_s": 30})
    await ninja.desk("/device", {"device_id": BOX_1.id, "alert": "No picture"})
    assert (await ninja.ask("GET", "/v2/activities", token)).json() == {"lastActivityId": 0, "activities": []}
    ninja.forward(30)
    assert len((await ninja.ask("GET", "/v2/activities", token)).json()["activities"]) == 1
    assert (await ninja.ask("GET", "/v2/activities?newerThan=2026-11-21T12:00:00Z", token)).status_code == 400
    ninja.emulator.variants.activities_bare = True
    assert isinstance((await ninja.ask("GET", "/v2/activities", token)).json(), list)


# ---- other commands
async def test_a_restart_makes_the_device_go_and_come_back_and_says_so(ninja):
    token = await ninja.machine_token()
    assert (await ninja.ask("POST", f"/v2/device/{BOX_1.id}/reboot/FORCED", token, {"reason": "Stuck"})).status_code == 204
    ninja.forward(1)
    assert (await ninja.ask("GET", f"/v2/device/{BOX_1.id}", token)).json()["offline"] is True
    ninja.forward(60)
    assert (await ninja.ask("GET", f"/v2/device/{BOX_1.id}", token)).json()["offline"] is False
    assert ninja.emulator.estate.journal.visible()[0].status_code == "SYSTEM_REBOOTED"
    assert (await ninja.ask("POST", f"/v2/device/{BOX_1.id}/reboot/SOON", token, {})).status_code == 404


async def test_a_service_stops_and_runs_again(ninja):
    token = await ninja.machine_token()
    path = f"/v2/device/{BOX_1.id}/windows-service/TrackManPerformance/control"
    assert (await ninja.ask("POST", path, token, {"action": "RESTART"})).status_code == 204
    states = []
    for seconds in (1, 2):
        ninja.forward(seconds)
        answer = await ninja.ask("GET", f"/v2/device/{BOX_1.id}/windows-services?name=TrackManPerformance", token)
        states += [row["state"] for row in answer.json()]
    assert states == ["STOPPED", "RUNNING"]
    assert (await ninja.ask("POST", path, token, {"action": "EXPLODE"})).status_code == 400
    assert (await ninja.ask("POST", path.replace("TrackManPerformance", "Nothing"), token, {"action": "STOP"})).status_code == 404


@pytest.mark.parametrize(
    ("start", "status"),
    [("2026-11-21T18:00:00+00:00", 204), ((NOON + 7200) * 1000, 204), (NOON + 7200, 400), ("tomorrow", 400), ("2026-11-21T18:00:00", 400)],
)
async def test_maintenance_takes_iso_times_or_milliseconds_and_tells_seconds(ninja, start, status):
    token = await ninja.machine_token()
    body = {"disabledFeatures": ["ALERTS"], "start": start, "reasonMessage": "New screen"}
    assert (await ninja.ask("PUT", f"/v2/device/{BOX_1.id}/maintenance", token, body)).status_code == status
    found = (await ninja.ask("GET", f"/v2/device/{BOX_1.id}", token)).json().get("maintenance")
    assert (found is None) == (status == 400)
    if found:
        assert (found["status"], found["start"]) == ("PENDING", NOON + 7200)
        assert (await ninja.ask("DELETE", f"/v2/device/{BOX_1.id}/maintenance", token)).status_code == 204
        assert "maintenance" not in (await ninja.ask("GET", f"/v2/device/{BOX_1.id}", token)).json()


async def test_custom_fields_are_kept_and_an_automation_at_the_console_acts_on_one():
    async with emulated(automation=Automation()) as ninja:
        token = await ninja.machine_token()
        path = f"/v2/device/{BOX_1.id}/custom-fields"
        assert (await ninja.ask("PATCH", path, token, {"clubosCommand": f"m-1 {RESTART.name} -Bay 1"})).status_code == 204
        ninja.forward(1)
        ninja.forward(4)
        assert (await ninja.ask("GET", path, token)).json()["clubosResult"] == f"m-1 0 {RESTART.name} ended"
        every = (await ninja.ask("GET", "/v2/queries/custom-fields", token)).json()["results"]
        assert [sorted(row["fields"]) for row in every] == [["clubosCommand", "clubosResult"], [], []]


# ---- errors
@pytest.mark.parametrize(
    ("style", "path", "text"),
    [
        ("gateway", ("error_description",), "Device 999 does not exist."),
        ("application", ("errorMessage",), "Device 999 does not exist."),
        ("coded", ("errorMessage", "params", "text"), "Device 999 does not exist."),
    ],
)
async def test_errors_are_worded_in_the_chosen_style(style, path, text):
    async with emulated(variants=Variants(error_style=style)) as ninja:
        found = (await ninja.ask("GET", "/v2/device/999", await ninja.machine_token())).json()
        for key in path:
            found = found[key]
        assert found == text


async def test_plain_errors_are_text(ninja):
    token = await ninja.machine_token()
    await ninja.desk("/variants", {"change": {"error_style": "plain"}})
    answer = await ninja.ask("GET", "/v2/device/999", token)
    assert (answer.headers["content-type"], answer.text) == ("text/plain", "Device 999 does not exist.")


@pytest.mark.parametrize("status", [401, 403])
async def test_a_token_without_the_scope_is_refused(status):
    async with emulated(variants=Variants(missing_scope_status=status)) as ninja:
        token = await ninja.machine_token("monitoring")
        assert (await ninja.ask("GET", "/v2/devices", token)).status_code == 200
        answer = await ninja.ask("POST", f"/v2/device/{BOX_1.id}/reboot/NORMAL", token, {})
        assert (answer.status_code, answer.json()["error"]) == (status, "insufficient_privileges")


async def test_no_token_unknown_paths_and_wrong_verbs_are_told_apart(ninja):
    token = await ninja.machine_token()
    assert (await ninja.ask("GET", "/v2/devices")).json()["error"] == "not_authenticated"
    assert (await ninja.ask("GET", "/v2/devices/1/scripts/2/run", token)).status_code == 404
    assert (await ninja.ask("PUT", "/v2/devices", token)).status_code == 405
    assert (await ninja.ask("GET", "/v2/device/one", token)).status_code == 404


# ---- faults
async def test_scripted_faults_are_suffered_once_each(ninja):
    token = await ninja.machine_token()
    faults = [
        {"kind": "status", "status": 429, "retry_after_s": 7}, {"kind": "status", "status": 429}, {"kind": "inside", "style": "coded"},
        {"kind": "html"}, {"kind": "empty"}, {"kind": "status", "status": 500, "style": "plain"},
    ]  # fmt: skip
    assert (await ninja.desk("/faults", {"next": faults})).status_code == 200
    seen = [await ninja.ask("GET", "/api/v2/devices", token) for _ in faults]
    assert [(one.status_code, one.headers.get("retry-after")) for one in seen[:2]] == [(429, "7"), (429, None)]
    assert (seen[2].status_code, seen[2].json()["resultCode"]) == (200, "FAILURE")
    assert seen[3].status_code == 502 and seen[3].text.startswith("<html>")
    assert (seen[4].status_code, seen[4].content) == (200, b"")
    assert (seen[5].status_code, seen[5].headers["content-type"]) == (500, "text/plain")
    assert len((await ninja.ask("GET", "/v2/devices", token)).json()) == 3


async def test_a_lost_answer_was_carried_out(ninja):
    person = (await ninja.consent())["access_token"]
    ninja.emulator.faults.next("lost", path="/v2/device")
    with pytest.raises(httpx.RemoteProtocolError):
        await ninja.ask("POST", f"/v2/device/{BOX_1.id}/script/run", person, SCRIPT)
    assert ninja.emulator.estate.commands == [(BOX_1.id, "script", RESTART.name)]


@pytest.mark.parametrize(
    "body",
    [
        {"next": [{"kind": "status", "count": 0}]}, {"next": [{"kind": "inside", "status": 500}]}, {"next": [{"kind": "slow", "acts": False}]},
        {"refuse_s": -1}, {"lag_s": 1e9}, {"nothing": 1}, {"next": [{"kind": "explode"}]},
    ],
)  # fmt: skip
async def test_the_desk_says_what_is_wrong_with_a_script_of_faults(ninja, body):
    answer = await ninja.desk("/faults", body)
    assert answer.status_code == 400 and ninja.emulator.faults.waiting() == []


async def test_the_desk_takes_json_only_and_knows_its_paths(ninja):
    assert (await ninja.http.post("/_emulator/forget", data={})).status_code == 415
    assert (await ninja.desk("/nothing", {})).status_code == 404
    assert (await ninja.http.get("/_emulator/page.html")).status_code == 404
    assert (await ninja.http.put("/_emulator/forget")).status_code == 405


async def test_connections_are_refused_for_a_while(ninja):
    async def listens() -> bool:
        try:
            async with httpx.AsyncClient() as client:
                return (await client.get(f"{ninja.emulator.url}/_emulator/state")).status_code == 200
        except httpx.ConnectError:
            return False

    await ninja.desk("/faults", {"refuse_s": 0.2})
    async with asyncio.timeout(5):
        for wanted in (False, True):
            while await listens() is not wanted:
                await asyncio.sleep(0.01)
    assert await listens()


# ---- webhook and page
class Receiver:
    """Who is told by the webhook."""

    def __init__(self):
        self.heard: list[tuple[dict, dict]] = []

    async def __call__(self, scope, receive, send):
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.heard.append((headers, httpx.Response(200, content=body).json()))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


async def test_the_webhook_tells_what_was_asked_for_with_its_own_headers_and_loses_what_it_loses(ninja):
    from deploy.emulators.messages.wire import Listener

    token, receiver = await ninja.machine_token(), Receiver()
    listener = Listener(receiver, "127.0.0.1")
    await listener.come_back()
    try:
        hook = {
            "url": f"{listener.url}/ninja", "activities": {"CONDITION": ["TRIGGERED"]}, "expand": ["device"],
            "headers": [{"name": "Authorization", "value": "Bearer ours"}], "organizationIds": [1],
        }  # fmt: skip
        assert (await ninja.ask("PUT", "/v2/webhook", token, hook)).status_code == 204
        await ninja.desk("/faults", {"drop_hooks": 1})
        for device_id, text in ((BOX_1.id, "lost"), (BOX_1.id, "told"), (ELSEWHERE.id, "not ours")):
            await ninja.desk("/device", {"device_id": device_id, "alert": text})
        await ninja.desk("/device", {"device_id": BOX_1.id, "mend": True})
        ninja.forward(0)
        async with asyncio.timeout(5):
            while not receiver.heard:
                await asyncio.sleep(0.005)
        ((headers, body),) = receiver.heard
        assert (body["message"], body["activityTime"], body["device"]["displayName"]) == ("told", NOON, "Box 1")
        assert headers["authorization"] == "Bearer ours" and not any("signature" in name for name in headers)
        assert (await ninja.ask("DELETE", "/v2/webhook", token)).status_code == 204
    finally:
        await listener.go_down()


@pytest.mark.parametrize("url", ["https://elsewhere.example.test/x", "ftp://127.0.0.1/", "http://[", ""])
async def test_the_webhook_is_never_posted_off_this_machine(ninja, url):
    assert (await ninja.ask("PUT", "/v2/webhook", await ninja.machine_token(), {"url": url})).status_code == 400


async def test_the_page_shows_devices_and_what_troubles_them_and_escapes_what_it_is_told(ninja):
    await ninja.desk("/device", {"device_id": BOX_1.id, "alert": "<script>alert(1)</script>"})
    await ninja.desk("/device", {"device_id": BOX_2.id, "power": False})
    page = (await ninja.http.get("/_emulator/")).text
    assert "offline since 21 Nov 12:00:00" in page and "needs attention" in page
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page
    state = (await ninja.http.get("/_emulator/state")).json()
    assert [one["offline"] for one in state["devices"]] == [False, True, False]
    assert READER.secret not in str(state)
    await ninja.desk("/forget", {})
    assert (await ninja.http.get("/_emulator/state")).json()["alerts"] == []


def test_the_command_says_what_is_wrong_with_its_file(tmp_path, capsys):
    from deploy.emulators.ninjaone_rmm import main

    (tmp_path / "ninja.toml").write_text('[[apps]]\nclient_id = "a"\nkind = "machine"\n')
    assert main(["--config", str(tmp_path / "ninja.toml")]) == 2
    assert "needs [[devices]]" in capsys.readouterr().out
