"""The emulated Twilio, asked with the official client and heard with its official validator."""

import asyncio
import base64

import aiohttp
import httpx
import pytest
from twilio.base.exceptions import TwilioRestException
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.request_validator import RequestValidator
from twilio.rest import Client

from deploy.emulators.messages.twilio_api import NUMBER, SERVICE, TwilioSettings
from deploy.emulators.messages.twilio_words import moment, retries_of, segments, word_of
from deploy.emulators.messages.vendors import Settings
from shared.runtime.clock import ManualClock
from tests.deploy.message_world import GUEST, listening, running

KEY, SECRET = "SK" + "5" * 32, "an emulated secret"
QUICK = {"step_s": 0.01, "api_keys": {KEY: SECRET}}


@pytest.fixture
async def ear():
    async with listening() as ear:
        yield ear


@pytest.fixture
async def vendors(ear):
    async with running(Settings(twilio=TwilioSettings(**QUICK, inbound_url=f"{ear.url}/inbound"))) as vendors:
        yield vendors


@pytest.fixture
async def client(vendors):
    async with asking(vendors) as client:
        yield client


class asking:
    """The official client, pointed at the emulator; `user` and `password` are the account's own if not given."""

    def __init__(self, vendors, user="", password=""):
        self.vendors, self.user, self.password = vendors, user, password

    async def __aenter__(self):
        self.http = AsyncTwilioHttpClient()
        account = self.vendors.twilio.account_sid
        client = Client(self.user or account, self.password or self.vendors.twilio.auth_token, account, http_client=self.http)
        client.api.base_url = self.vendors.twilio_url
        return client

    async def __aexit__(self, *_):
        await self.http.close()


async def send(client, **more):
    return await client.messages.create_async(**({"to": GUEST, "from_": NUMBER, "body": "Hello Testa"} | more))


async def refusal(client, **more):
    with pytest.raises(TwilioRestException) as caught:
        await send(client, **more)
    return caught.value.status, caught.value.code


def raw(vendors) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=f"{vendors.twilio_url}/2010-04-01/Accounts/{vendors.twilio.account_sid}",
        auth=(vendors.twilio.account_sid, vendors.twilio.auth_token),
        trust_env=False,
    )


# A message and what becomes of it


async def test_a_message_of_a_service_is_accepted_and_then_told_of_step_by_step(vendors, client, ear):
    callback = f"{ear.url}/status?m=key-1"
    message = await client.messages.create_async(to=GUEST, messaging_service_sid=SERVICE, body="Hello Testa", status_callback=callback)
    assert (message.status, message.from_, message.num_segments) == ("accepted", None, "0")
    assert message.sid.startswith("SM") and len(message.sid) == 34 and message.date_sent is None
    await vendors.settle()
    assert sorted(ear.states()) == ["delivered", "queued", "sent"]
    validator = RequestValidator(vendors.twilio.auth_token)
    for one in ear.heard:
        assert validator.validate(callback, one.form, one.headers["x-twilio-signature"])
        assert one.query == "m=key-1" and one.form["MessageSid"] == message.sid and one.form["MessagingServiceSid"] == SERVICE
        assert one.headers["i-twilio-idempotency-token"]
    fetched = await client.messages(message.sid).fetch_async()
    assert (fetched.status, fetched.from_, fetched.body) == ("delivered", NUMBER, "Hello Testa")
    assert [(one.to, one.text, one.status) for one in vendors.sms] == [(GUEST, "Hello Testa", "delivered")]


async def test_a_message_from_a_number_starts_queued_and_an_api_key_serves_as_well(vendors):
    async with asking(vendors, KEY, SECRET) as client:
        message = await send(client)
    assert (message.status, message.from_, message.account_sid) == ("queued", NUMBER, vendors.twilio.account_sid)


async def test_what_is_wrong_with_a_message_is_told_with_the_documented_code_and_nothing_is_made(vendors, client):
    told = {
        21211: {"to": "902-555-0123"},
        21212: {"from_": "Golf"},
        21606: {"from_": "+19025550177"},
        21617: {"body": "x" * 1601},
        21602: {"body": " "},
        21609: {"status_callback": "hub/status"},
        21624: {"validity_period": 36_001},
        21701: {"messaging_service_sid": "MG" + "9" * 32},
        35118: {"schedule_type": "fixed", "send_at": "2030-01-01T00:00:00Z"},
        35111: {"schedule_type": "fixed"},
    }
    for code, more in told.items():
        assert await refusal(client, **more) == (400, code), code
    async with raw(vendors) as http:
        for form, code in (({"From": NUMBER, "Body": "x"}, 21604), ({"To": GUEST, "Body": "x"}, 21603)):
            answer = await http.post("/Messages.json", data=form)
            assert (answer.status_code, answer.json()["code"]) == (400, code)
            assert answer.json()["more_info"].endswith(f"/{code}")
    assert not vendors.sms


async def test_bad_credentials_other_accounts_and_unknown_paths_are_refused(vendors, client):
    async with asking(vendors, password="wrong") as stranger:
        assert await refusal(stranger) == (401, 20003)
    async with raw(vendors) as http:
        assert (await http.get(f"{vendors.twilio_url}/2010-04-01/Accounts/AC{'0' * 32}/Messages.json")).json()["code"] == 20404
        assert (await http.get("/Messages/SM1.json")).json()["code"] == 20404
        assert (await http.get("/Calls.json")).json()["code"] == 20404
        assert (await http.delete("/Messages.json")).json()["code"] == 20004
        for authorization in ("Bearer x", "Basic ???", f"Basic {base64.b64encode(b'AC:').decode()}"):
            assert (await http.post("/Messages.json", headers={"Authorization": authorization}, auth=None)).status_code == 401
    vendors.faults["twilio"].revoked = True
    assert await refusal(client) == (401, 20003)
    assert not vendors.sms


async def test_dead_numbers_fail_at_once_or_in_a_receipt(vendors, client, ear):
    vendors.twilio.dead = {GUEST: 21614, "+19025550124": 30005}
    assert await refusal(client) == (400, 21614)
    await send(client, to="+19025550124", status_callback=f"{ear.url}/status")
    await vendors.settle()
    last = next(one.form for one in ear.heard if one.form["MessageStatus"] == "undelivered")
    assert last["ErrorCode"] == "30005" and len(last["RawDlrDoneDate"]) == 10


async def test_a_message_that_waits_past_its_validity_is_never_sent():
    clock = ManualClock()
    async with running(Settings(twilio=TwilioSettings(step_s=0.05)), clock) as vendors, asking(vendors) as client:
        await send(client, validity_period=60)
        clock.forward(61)
        await vendors.settle()
        assert [(one.status, one.error_code) for one in vendors.sms] == [("failed", 30036)]


async def test_lists_are_filtered_and_paged_as_the_client_expects(vendors, client):
    for turn in range(5):
        await send(client, to=f"+1902555012{turn}", body=f"Message {turn}")
    await vendors.settle()
    assert [one.body for one in await client.messages.list_async(page_size=2)] == [f"Message {turn}" for turn in (4, 3, 2, 1, 0)]
    assert [one.body for one in await client.messages.list_async(to="+19025550122")] == ["Message 2"]
    sent = (await client.messages.list_async(to="+19025550122"))[0].date_sent
    assert len(await client.messages.list_async(date_sent_after=sent, from_=NUMBER)) == 5
    assert not await client.messages.list_async(date_sent_before=sent.replace(year=2020))
    assert not await client.messages.list_async(from_="+19025550177")


async def test_what_is_not_sent_yet_matches_no_list_by_date_unless_told_so(ear):
    async with running(Settings(twilio=TwilioSettings(step_s=30))) as vendors, asking(vendors) as client:
        await send(client)
        long_ago = moment("2020-01-01")
        assert long_ago is not None and long_ago[1] - long_ago[0] == 86_399
        async with raw(vendors) as http:
            assert not (await http.get("/Messages.json", params={"DateSent>": "2020-01-01"})).json()["messages"]
            assert len((await http.get("/Messages.json")).json()["messages"]) == 1
            assert (await http.get("/Messages.json", params={"DateSent": "yesterday"})).status_code == 404


async def test_a_scheduled_message_can_be_cancelled_and_a_sent_one_only_redacted():
    clock = ManualClock(1_800_000_000)
    async with running(Settings(twilio=TwilioSettings(step_s=0.01)), clock) as vendors, asking(vendors) as client:
        wanted = {"from_": None, "messaging_service_sid": SERVICE, "schedule_type": "fixed"}
        assert await refusal(client, **wanted, send_at="2027-01-15T08:01:00Z") == (400, 35114)
        message = await send(client, **wanted, send_at="2027-01-15T09:00:00Z")
        assert message.status == "scheduled"
        assert (await message.update_async(status="canceled")).status == "canceled"
        sent = await send(client)
        await vendors.settle()
        with pytest.raises(TwilioRestException) as caught:
            await sent.update_async(status="canceled")
        assert caught.value.code == 30409
        assert (await sent.update_async(body="")).body == ""


# Customers write


async def test_stop_is_obeyed_told_and_answered_until_start(vendors, client, ear):
    vendors.twilio.receive(GUEST, " stop ")
    await vendors.settle()
    told = ear.heard[-1]
    assert (told.path, told.form["OptOutType"], told.form["Body"]) == ("/inbound", "STOP", " stop ")
    assert told.form["FromCity"] == "" and told.form["MessagingServiceSid"] == SERVICE
    assert RequestValidator(vendors.twilio.auth_token).validate(f"{ear.url}/inbound", told.form, told.headers["x-twilio-signature"])
    assert await refusal(client) == (400, 21610)
    assert await refusal(client, from_=None, messaging_service_sid=SERVICE) == (400, 21610)
    await send(client, to="+19025550124")
    vendors.twilio.receive(GUEST, "Start")
    await send(client)
    shown = [(one.mine, one.text.split()[0]) for one in vendors.inbox.shown(GUEST)]
    assert sorted(shown) == [(False, "Hello"), (False, "You"), (False, "You"), (True, "Start"), (True, "stop")]


async def test_a_number_outside_every_service_is_its_own_pool(ear):
    settings = TwilioSettings(numbers=(NUMBER, "+19025550101"), services={SERVICE: (NUMBER,)}, inbound_url=f"{ear.url}/inbound")
    async with running(Settings(twilio=settings)) as vendors, asking(vendors) as client:
        vendors.twilio.receive(GUEST, "STOP", "+19025550101")
        await vendors.settle()
        assert "OptOutType" not in ear.heard[-1].form
        assert await refusal(client, from_="+19025550101") == (400, 21610)
        await send(client)


@pytest.mark.parametrize(
    ("answer", "replies", "alerts"),
    [
        ((200, "text/xml", b'<?xml version="1.0"?><Response/>'), [], []),
        ((200, "text/xml", b"<Response><Message>See you soon</Message></Response>"), ["See you soon"], []),
        ((200, "text/plain; charset=utf-8", b"ok"), ["ok"], []),
        ((200, "application/json", b"{}"), [], [12300]),
        ((200, "text/xml", b"<Response>"), [], [12100]),
        ((500, "text/html", b"oops"), [], [11200]),
    ],
)
async def test_the_answer_to_an_inbound_message_does_what_the_real_one_would(vendors, ear, answer, replies, alerts):
    ear.answers = [answer]
    vendors.twilio.receive(GUEST, "Where do I park?")
    await vendors.settle()
    assert [one.text for one in vendors.twilio.messages if one.direction == "outbound-reply"] == replies
    assert [one.code for one in vendors.twilio.alerts] == alerts


def test_only_a_word_alone_opts_out():
    assert [word_of(text) for text in ("stop", "Unsubscribe", "yes", "info", "stop it", "")] == ["STOP", "STOP", "START", "HELP", "", ""]


def test_segments_are_counted_as_the_network_does():
    counted = [segments(text) for text in ("a" * 160, "a" * 161, "€" * 80, "€" * 81, "ê" * 70, "ê" * 71, "😀" * 35, "")]
    assert counted == [1, 2, 1, 2, 1, 2, 1, 1]


# Faults


async def test_faults_hit_before_or_after_acting(vendors, client):
    faults = vendors.faults
    faults.next("twilio", "status", status=429, retry_after_s=3)
    assert await refusal(client) == (429, 20429)
    faults.next("twilio", "status", status=500)
    assert await refusal(client) == (500, 20500)
    assert not vendors.sms
    faults.next("twilio", "status", status=503, acts=True)
    assert (await refusal(client))[0] == 503
    assert len(vendors.sms) == 1
    faults.next("twilio", "html")
    assert await refusal(client) == (502, 502)
    faults.next("twilio", "empty", acts=True)
    assert (await send(client)).sid is None
    assert len(vendors.sms) == 2
    async with raw(vendors) as http:
        faults.next("twilio", "status", status=429, retry_after_s=3)
        assert (await http.get("/Messages.json")).headers["retry-after"] == "3"
        faults.next("twilio", "html", status=200)
        answer = await http.get("/Messages.json")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")


async def test_a_lost_answer_is_closed_and_the_message_exists(vendors, client):
    vendors.faults.next("twilio", "lost", method="POST")
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await send(client)
    assert len(vendors.sms) == 1
    vendors.faults.next("twilio", "lost", acts=False)
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await send(client)
    assert len(vendors.sms) == 1
    assert len(await client.messages.list_async(to=GUEST)) == 1


async def test_a_slow_request_acts_late_and_a_vendor_that_is_down_refuses(vendors, client):
    vendors.faults.next("twilio", "slow", seconds=0.2)
    asking_ = asyncio.create_task(send(client))
    async with asyncio.timeout(5):
        while not vendors.front("twilio").in_flight:
            await asyncio.sleep(0.005)
    assert not vendors.sms
    await asking_
    assert len(vendors.sms) == 1
    await vendors.go_down("twilio")
    with pytest.raises(aiohttp.ClientError):
        await send(client)
    await vendors.come_back("twilio")
    await send(client)


async def test_more_requests_at_once_than_the_account_may_are_429_and_the_others_are_taken():
    async with running(Settings(twilio=TwilioSettings(in_flight_max=5, latency_s=0.1))) as vendors, asking(vendors) as client:
        told = await asyncio.gather(*(send(client) for _ in range(12)), return_exceptions=True)
        refused = [one for one in told if isinstance(one, TwilioRestException)]
        assert {(one.status, one.code) for one in refused} == {(429, 20429)}
        assert len(vendors.sms) == 12 - len(refused) == 5


async def test_webhooks_are_held_released_in_another_order_repeated_and_dropped(vendors, client, ear):
    script = vendors.webhooks.scripts["twilio"]
    script.hold = True
    await send(client, from_=None, messaging_service_sid=SERVICE, status_callback=f"{ear.url}/status")
    await vendors.settle()
    assert not ear.heard and vendors.webhooks.held("twilio") == 3
    assert vendors.webhooks.release("twilio", "reversed") == 3
    await vendors.settle()
    assert sorted(ear.states()) == ["delivered", "queued", "sent"]
    assert vendors.webhooks.replay("twilio", 1) == 1
    await vendors.settle()
    assert len(ear.heard) == 4
    script.hold, script.repeat = False, 1
    await send(client, status_callback=f"{ear.url}/twice")
    await vendors.settle()
    assert [one.path for one in ear.heard].count("/twice") == 4
    script.drop = True
    await send(client, status_callback=f"{ear.url}/never")
    await vendors.settle()
    assert "/never" not in [one.path for one in ear.heard]


async def test_a_receipt_is_not_retried_when_answered_badly_and_once_when_nobody_listens(vendors, client, ear):
    ear.answers = [(500, "text/plain", b"")] * 2
    await send(client, status_callback=f"{ear.url}/status")
    await vendors.settle()
    assert len(ear.heard) == 2
    await ear.listener.go_down()
    vendors.webhooks.attempts.clear()
    await send(client, status_callback=f"{ear.url}/status")
    await vendors.settle()
    assert len(vendors.webhooks.attempts) == 4 and {one.status for one in vendors.webhooks.attempts} == {0}


async def test_the_fragment_of_a_callback_sets_its_retries_and_is_not_signed(vendors, client, ear):
    ear.answers = [(500, "text/plain", b"")] * 2
    await send(client, status_callback=f"{ear.url}/status#rc=1&rp=5xx")
    await vendors.settle()
    assert len(ear.heard) == 4
    first = ear.heard[0]
    assert RequestValidator(vendors.twilio.auth_token).validate(f"{ear.url}/status", first.form, first.headers["x-twilio-signature"])
    assert retries_of("http://x/#ct=2000&rt=99999&rc=9&rp=all") == ("http://x/", (0.1, 0.2, 0.4, 0.8, 1.6), frozenset({"all"}), 2.0, 15.0)


async def test_forged_webhooks_fail_the_official_validator(vendors, client, ear):
    message = await send(client, status_callback=f"{ear.url}/status")
    await vendors.settle()
    ear.heard.clear()
    vendors.twilio.forge("wrong_key", sid=message.sid, state="failed")
    vendors.twilio.forge("altered", sid=message.sid)
    vendors.twilio.forge("unsigned", sender=GUEST, text="STOP")
    await vendors.settle()
    assert len(ear.heard) == 3
    validator = RequestValidator(vendors.twilio.auth_token)
    for one in ear.heard:
        url = f"{ear.url}{one.path}"
        assert not validator.validate(url, one.form, one.headers.get("x-twilio-signature", ""))
    with pytest.raises(ValueError, match="sid of a message"):
        vendors.twilio.forge("unsigned", sid="SM1")


async def test_webhooks_go_to_this_machine_only(vendors, client):
    await send(client, status_callback="https://hub.example.test/status")
    await vendors.settle()
    assert {(one.status, one.trouble) for one in vendors.webhooks.attempts} == {(0, "The emulator posts to this machine only.")}
