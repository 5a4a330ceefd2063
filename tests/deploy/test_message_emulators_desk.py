"""The emulated message vendors' own desk, their page without a browser, their command, and that they fit the time of a burst."""

import asyncio
import json
import signal
import sys

import httpx
import pytest
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.rest import Client

from deploy.emulators.common.faults import QUEUE_MAX
from deploy.emulators.message_vendors import MessageVendors
from deploy.emulators.messages import __main__ as command
from deploy.emulators.messages.faults import Fault
from deploy.emulators.messages.post import NotConnected, Poster
from deploy.emulators.messages.sendgrid_api import SendGridSettings
from deploy.emulators.messages.twilio_api import NUMBER, TwilioSettings, Wanted
from deploy.emulators.messages.vendors import Ports, Settings
from deploy.emulators.messages.webhooks import valid_url
from shared.runtime.clock import ManualClock
from tests.deploy.message_world import GUEST, GUEST_MAIL, listening, running

MAIL = {
    "personalizations": [{"to": [{"email": GUEST_MAIL}]}],
    "from": {"email": "golf@example.test"},
    "subject": "<i>Booked</i>",
    "content": [{"type": "text/plain", "value": "Noon"}, {"type": "text/html", "value": "<script>alert(1)</script><p>Noon</p>"}],
}
# A quarter to two on the night when Halifax puts its clocks back: the first of the two.
FALL_BACK = 1_793_508_300


@pytest.fixture
async def ear():
    async with listening() as ear:
        yield ear


@pytest.fixture
async def vendors(ear):
    settings = Settings(
        twilio=TwilioSettings(step_s=0.01, inbound_url=f"{ear.url}/inbound"),
        sendgrid=SendGridSettings(step_s=0.01, batch_s=0.01, events_url=f"{ear.url}/events"),
    )
    async with running(settings, ManualClock(FALL_BACK)) as vendors:
        yield vendors


@pytest.fixture
async def desk(vendors):
    async with httpx.AsyncClient(base_url=f"{vendors.desk_url}/_emulator", trust_env=False) as client:
        yield client


async def tell(desk, path, body, status=200):
    answer = await desk.post(path, json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


async def state(desk):
    return (await desk.get("/state")).json()


def send(vendors, text="Hello Testa", to=GUEST, callback=""):
    return vendors.twilio.create(Wanted(to=to, sender=NUMBER, service="", text=text, callback=callback))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/sms", {"sender": GUEST}),
        ("/sms", {"sender": "testa", "text": "STOP"}),
        ("/sms", {"sender": GUEST, "text": ""}),
        ("/sms", {"sender": GUEST, "text": "x", "receiver": "+19025550177"}),
        ("/opt-out", {"number": "902"}),
        ("/dead", {"vendor": "twilio", "address": GUEST, "how": "21610"}),
        ("/dead", {"vendor": "sendgrid", "address": GUEST_MAIL, "how": "explode"}),
        ("/dead", {"vendor": "smtp", "address": GUEST_MAIL, "how": "250"}),
        ("/mail", {"message": "m99", "event": "bounce"}),
        ("/push", {"subscription": "nobody", "online": True}),
        ("/slack", {"hook": "nobody", "state": "open"}),
        ("/slack", {"hook": "staff", "state": "broken"}),
        ("/subscriptions", {"server_key": "x"}),
        ("/faults", {"next": [{"vendor": "twilio", "fault": {"kind": "slow", "seconds": 1e9}}]}),
        ("/faults", {"next": [{"vendor": "pigeon", "fault": {"kind": "slow"}}]}),
        ("/faults", {"refuse": {"vendor": "twilio", "seconds": 0}}),
        ("/webhooks", {"vendor": "twilio", "repeat": 99}),
        ("/webhooks", {"vendor": "twilio", "replay": -1}),
        ("/webhooks", {"vendor": "slack", "hold": True}),
        ("/webhooks", {"vendor": "twilio", "hold": True, "forge": {"how": "old", "sender": GUEST, "text": "STOP"}}),
        ("/webhooks", {"vendor": "sendgrid", "forge": {"how": "old", "message": "m99"}}),
        ("/forget", {"everything": True}),
    ],
)
async def test_the_desk_refuses_what_makes_no_sense_with_a_sentence(vendors, desk, path, body):
    before = await state(desk)
    told = await tell(desk, path, body, status=400)
    assert told["code"] == "CODE_PARAMS_INVALID" and told["msg"].endswith(".")
    assert await state(desk) == before


async def test_the_desk_refuses_unknown_paths_other_forms_and_methods(desk):
    assert (await tell(desk, "/nothing", {}, status=404))["code"] == "CODE_RESOURCE_NOT_FOUND"
    answer = await desk.post("/sms", content=b'{"sender":"+19025550123","text":"x"}', headers={"content-type": "text/plain"})
    assert answer.status_code == 415
    assert (await desk.delete("/state")).status_code == 405
    assert (await desk.get("/secret")).status_code == 404
    assert (await desk.get("/messages?limit=0")).status_code == 400
    assert (await desk.get("/?channel=pigeon")).status_code == 400


async def test_a_customer_answers_stop_and_the_state_shows_it(vendors, desk, ear):
    send(vendors)
    told = await tell(desk, "/sms", {"sender": GUEST, "text": "STOP"})
    await vendors.settle()
    assert told["data"]["sid"].startswith("SM") and ear.heard[-1].form["OptOutType"] == "STOP"
    now = await state(desk)
    assert [one["number"] for one in now["opted_out"]] == [GUEST]
    conversation = (await desk.get("/messages", params={"to": GUEST})).json()
    assert [(one["mine"], one["text"][:4]) for one in conversation] == [(False, "You "), (True, "STOP"), (False, "Hell")]
    assert now["recipients"][0]["to"] == GUEST and now["recipients"][0]["count"] == 3
    await tell(desk, "/opt-out", {"number": GUEST, "on": False})
    assert not (await state(desk))["opted_out"]


async def test_addresses_die_and_come_back_by_the_desk(vendors, desk):
    for vendor, address, how in (("twilio", GUEST, "30003"), ("sendgrid", GUEST_MAIL, "bounce"), ("smtp", GUEST_MAIL, "550")):
        await tell(desk, "/dead", {"vendor": vendor, "address": address, "how": how})
    assert (await state(desk))["dead"] == {"twilio": {GUEST: 30003}, "sendgrid": {GUEST_MAIL: "bounce"}, "smtp": {GUEST_MAIL: 550}}
    for vendor, address in (("twilio", GUEST), ("sendgrid", GUEST_MAIL), ("smtp", GUEST_MAIL)):
        await tell(desk, "/dead", {"vendor": vendor, "address": address})
    assert (await state(desk))["dead"] == {"twilio": {}, "sendgrid": {}, "smtp": {}}


async def test_mails_bounce_subscriptions_end_and_hooks_close_by_the_desk(vendors, desk, ear):
    vendors.sendgrid.accept(MAIL)
    await vendors.settle()
    await tell(desk, "/mail", {"message": vendors.mail[0].id, "event": "bounce"})
    await vendors.settle()
    assert "bounce" in [event["event"] for event in ear.events()]
    subscription = (await tell(desk, "/subscriptions", {"name": "phone"}))["data"]
    assert subscription["endpoint"] == f"{vendors.push_origin}/push/phone"
    await tell(desk, "/push", {"subscription": "phone", "state": "gone", "online": False})
    await tell(desk, "/slack", {"hook": "staff", "state": "archived"})
    now = await state(desk)
    assert now["subscriptions"] == [{"id": "phone", "state": "gone", "online": False, "waiting": 0}]
    assert now["hooks"] == [{"name": "staff", "state": "archived"}]


async def test_faults_keys_and_refusals_by_the_desk(vendors, desk):
    await tell(
        desk,
        "/faults",
        {"next": [{"vendor": "twilio", "fault": {"kind": "status", "status": 429, "retry_after_s": 2}}], "revoked": {"sendgrid": True}},
    )
    now = await state(desk)
    assert now["faults"][0]["vendor"] == "twilio" and now["revoked"]["sendgrid"] is True
    await tell(desk, "/faults", {"clear": True, "refuse": {"vendor": "slack", "seconds": 0.2}})
    assert not (await state(desk))["faults"]
    seen = []
    async with asyncio.timeout(5), httpx.AsyncClient(trust_env=False) as client:
        while 0 not in seen or not seen[-1]:
            try:
                seen.append((await client.post(vendors.hook_url("staff"), json={"text": "x"})).status_code)
            except httpx.TransportError:
                seen.append(0)
            await asyncio.sleep(0.01)


async def test_webhooks_are_scripted_and_forged_by_the_desk(vendors, desk, ear):
    await tell(desk, "/webhooks", {"vendor": "twilio", "hold": True})
    sms = send(vendors, callback=f"{ear.url}/status")
    await vendors.settle()
    assert (await state(desk))["webhooks"]["scripts"]["twilio"]["held"] == 2 and not ear.heard
    told = await tell(desk, "/webhooks", {"vendor": "twilio", "hold": False, "release": "shuffled"})
    assert told["data"]["released"] == 2
    await vendors.settle()
    assert (await tell(desk, "/webhooks", {"vendor": "twilio", "replay": 1}))["data"]["replayed"] == 1
    await tell(desk, "/webhooks", {"vendor": "twilio", "forge": {"how": "unsigned", "message": sms.id, "state": "failed"}})
    await vendors.settle()
    assert len(ear.heard) == 4 and "x-twilio-signature" not in ear.heard[-1].headers
    await tell(desk, "/webhooks", {"vendor": "sendgrid", "shuffle": True, "delay_s": 0.01})
    vendors.sendgrid.accept(MAIL)
    await vendors.settle()
    assert ear.heard[-1].path == "/events"


async def test_forgetting_leaves_keys_hooks_and_subscriptions(vendors, desk):
    send(vendors)
    vendors.sendgrid.accept(MAIL)
    vendors.subscribe(name="phone")
    key = vendors.sendgrid.api_key
    await tell(desk, "/forget", {})
    now = await state(desk)
    assert (now["counts"], now["recipients"]) == ({"sms": 0, "mail": 0, "push": 0, "slack": 0}, [])
    assert vendors.sendgrid.api_key == key and now["subscriptions"][0]["id"] == "phone"


async def test_the_page_shows_everything_in_local_time_escaped_and_without_secrets(vendors, desk):
    send(vendors, "Your PIN is <4711>")
    vendors.sendgrid.accept(MAIL)
    await vendors.settle()
    page = (await desk.get("/")).text
    for part in (
        "Your PIN is &lt;4711&gt;",
        "&lt;i&gt;Booked&lt;/i&gt;",
        "Sun 01 Nov 01:45:00 ADT",
        GUEST,
        GUEST_MAIL,
        "Bounce it",
        "Reply STOP",
    ):
        assert part in page, part
    assert "<script>alert" not in page and "<i>" not in page
    everything = page + json.dumps(await state(desk)) + (await desk.get("/board")).text
    for secret in (vendors.twilio.auth_token, vendors.sendgrid.api_key, vendors.slack_hooks.hooks["staff"].path):
        assert secret not in everything
    only = (await desk.get("/", params={"to": GUEST})).text
    assert "Write as +19025550123" in only and 'class="message sms"' in only and 'class="message mail"' not in only
    for name, kind in (("icon.svg", "image/svg+xml"), ("page.js", "text/javascript"), ("page.css", "text/css")):
        assert (await desk.get(f"/{name}")).headers["content-type"].startswith(kind)


async def test_a_mail_is_shown_only_where_nothing_in_it_can_act(vendors, desk):
    vendors.sendgrid.accept(MAIL)
    mail = await desk.get(f"/letters/{vendors.mail[0].id}")
    assert "<script>" in mail.text
    policy = mail.headers["content-security-policy"]
    assert policy.startswith("sandbox; default-src 'none'") and "script-src" not in policy
    assert (await desk.get("/letters/m99")).status_code == 404
    assert "<iframe sandbox loading" in (await desk.get("/")).text


async def test_times_of_the_second_hour_are_told_apart(vendors):
    vendors.now.__self__.forward(3600)
    send(vendors)
    async with httpx.AsyncClient(trust_env=False) as client:
        assert "Sun 01 Nov 01:45:00 AST" in (await client.get(f"{vendors.desk_url}/_emulator/")).text


# The process around it


async def test_a_port_that_is_taken_is_told_and_nothing_stays_open(vendors):
    other = MessageVendors(Settings(ports=Ports(slack=vendors.listeners["slack"].port)))
    with pytest.raises(OSError):
        await other.start()
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", other.listeners["twilio"].port)


async def test_a_message_that_nobody_hears_of_keeps_nobody_waiting(ear):
    async with running(Settings(twilio=TwilioSettings(step_s=30))) as vendors:
        send(vendors)
        with pytest.raises(TimeoutError):
            await vendors.settle(0.05)


async def test_the_poster_tells_refused_from_lost():
    poster = Poster()
    async with listening() as ear:
        url = f"{ear.url}/x?y=1"
        assert (await poster.post(url, {}, b"a", connect_s=1, read_s=1)).status == 204
        assert (await poster.post(url, {}, b"b", connect_s=1, read_s=1)).status == 204
        assert [(one.path, one.query, one.body) for one in ear.heard] == [("/x", "y=1", b"a"), ("/x", "y=1", b"b")]
    poster.close()
    with pytest.raises(NotConnected):
        await poster.post(url, {}, b"c", connect_s=1, read_s=1)
    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(ConnectionError, match="not valid HTTP"):
        await poster.post(f"http://127.0.0.1:{port}/", {}, b"", connect_s=1, read_s=1)
    poster.close()
    server.close()


async def babble(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"nonsense\r\n\r\n")


async def test_a_burst_of_messages_and_their_receipts_is_heard_whole():
    async with listening() as ear, running(Settings(twilio=TwilioSettings(step_s=0.01, in_flight_max=50))) as vendors:
        http = AsyncTwilioHttpClient()
        client = Client(vendors.twilio.account_sid, vendors.twilio.auth_token, http_client=http)
        client.api.base_url = vendors.twilio_url
        room = asyncio.Semaphore(40)

        async def one(number):
            async with room:
                await client.messages.create_async(
                    to=f"+1902555{number:04d}", from_=NUMBER, body="x", status_callback=f"{ear.url}/s?m={number}"
                )

        await asyncio.gather(*(one(number) for number in range(300)))
        await vendors.settle()
        await http.close()
        assert len(vendors.sms) == 300 and vendors.front("twilio").in_flight_most <= 50
        assert len({(heard.query, heard.form["MessageStatus"]) for heard in ear.heard}) == len(ear.heard) == 600


async def test_the_command_serves_says_where_and_stops_on_a_signal(tmp_path):
    config = tmp_path / "messages.toml"
    config.write_text('timezone = "America/Vancouver"\n[twilio]\nauth_token = "an emulated token"\n[slack.hooks]\nops = "T1/B1/x"\n')
    zero = [word for name in Ports.__struct_fields__ for word in (f"--{name.replace('_', '-')}-port", "0")]
    arguments = [sys.executable, "-m", "deploy.emulators.messages", "--config", str(config), *zero]
    process = await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE)
    try:
        lines = [(await asyncio.wait_for(process.stdout.readline(), 20)).decode() for _ in range(8)]
        url = lines[0].split()[-1]
        async with httpx.AsyncClient(trust_env=False) as client:
            told = (await client.get(f"{url}state")).json()
        assert told["timezone"] == "America/Vancouver" and told["hooks"] == [{"name": "ops", "state": "open"}]
        assert "an emulated token" not in "".join(lines)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
    finally:
        if process.returncode is None:
            process.kill()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('timezone = "Mars/Olympus"', "no time zone"),
        ("[twilio]\nnumber = 1", "number"),
        ("[ports]\ndesk = -1", "cannot start"),
        ("nonsense", "cannot start"),
    ],
)
def test_the_command_says_why_it_cannot_start(tmp_path, capsys, text, sentence):
    config = tmp_path / "messages.toml"
    config.write_text(text)
    assert command.main(["--config", str(config)]) == 2
    assert sentence in capsys.readouterr().out


def test_faults_that_make_no_sense_are_refused():
    wrong = [
        {"kind": "status", "status": 200},
        {"kind": "slow", "acts": False},
        {"kind": "html", "count": 0},
        {"kind": "status", "retry_after_s": -1},
    ]
    assert all(Fault(**fault).problem_at("twilio") for fault in wrong)
    faults = MessageVendors().faults
    for _ in range(QUEUE_MAX):
        faults.next("twilio", "empty")
    with pytest.raises(ValueError, match="wait already"):
        faults.next("twilio", "empty")


def test_only_addresses_of_the_web_are_taken_for_webhooks():
    assert [valid_url(url) for url in ("https://a.test/x", "ftp://a.test", "/x", "http://[", "http://a:99999999")] == [
        True, False, False, False, False,
    ]  # fmt: skip
