"""What every `Channel` must do, found through the registry and tried against the emulators of the vendors: each outcome, and every report.

A new line in `CHANNELS` needs a `Trial` here, and nothing else.
"""

import asyncio
import base64
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from cloud_hub.ports import Channel, Inbound, Letter, Receipt
from cloud_hub.vendors.channels import CHANNELS, HOOKS_PATH, Around, open_channel, open_hooks
from deploy.emulators.message_vendors import MessageVendors
from deploy.emulators.messages.sendgrid_api import SendGridSettings
from deploy.emulators.messages.twilio_api import NUMBER, SERVICE, TwilioSettings
from deploy.emulators.messages.vendors import Settings
from shared.errors import Refused
from shared.outcomes import Later, Misconfigured, Never, Taken, Unknown
from tests.cloud_hub.vendors.stub import HttpStub, Says

VAPID = base64.urlsafe_b64encode(bytes(31) + b"\7").rstrip(b"=").decode()
TEXT = "Box 3 at 18:00 & PIN 4711"


@dataclass
class Trial:
    """How one vendor's emulator is used. A secret's file is, here, the secret itself.

    `table`: the settings that lead to it; `there`: an address that it reaches; `dead`: makes one that it never does (None: there is none);
    `arrived`: the texts it showed. `page`: whether it can answer with a page; a mail server loses its answer instead. `busy`: the fault of too much at
    once, and `paused` the seconds that it names.
    """

    table: Callable[[MessageVendors], dict]
    there: Callable[[MessageVendors], str]
    dead: Callable[[MessageVendors], str] | None
    arrived: Callable[[MessageVendors], list[str]]
    page: bool = True
    paused: float | None = 3.0
    busy: dict = field(default_factory=lambda: {"status": 429, "retry_after_s": 3})


def dead_number(v: MessageVendors) -> str:
    v.twilio.dead["+19025550155"] = 21614
    return "+19025550155"


def dead_mailbox(v: MessageVendors) -> str:
    v.smtp.dead["gone@example.test"] = 550
    return "gone@example.test"


def browser(v: MessageVendors) -> str:
    return json.dumps(v.subscribe())


def dead_browser(v: MessageVendors) -> str:
    there = v.subscribe(name="gone")
    v.push_service.subscriptions["gone"].state = "gone"
    return json.dumps(there)


TRIALS: dict[str, Trial] = {
    "twilio": Trial(
        table=lambda v: {
            "account_sid": v.twilio.account_sid, "auth_token_file": v.twilio.auth_token, "sender": SERVICE, "base_url": v.twilio_url
        },
        there=lambda v: "+19025550101",
        dead=dead_number,
        arrived=lambda v: [one.text for one in v.sms],
    ),
    "sendgrid": Trial(
        table=lambda v: {
            "api_key_file": v.sendgrid.api_key, "sender": "desk@example.test", "base_url": v.sendgrid_url,
            "webhook_public_key": v.sendgrid.public_key,
        },
        there=lambda v: "testa@example.test",
        dead=lambda v: "no address",
        arrived=lambda v: [one.text for one in v.mail],
    ),
    "smtp": Trial(
        table=lambda v: {"host": "127.0.0.1", "port": v.smtp_port, "security": "plain", "sender": "desk@example.test"},
        there=lambda v: "testa@example.test",
        dead=dead_mailbox,
        arrived=lambda v: [one.text.strip() for one in v.mail],
        page=False,
        paused=None,
        busy={"status": 451},
    ),
    "web_push": Trial(
        table=lambda v: {"vapid_key_file": VAPID, "contact": "mailto:ops@example.test", "loopback": True},
        there=browser,
        dead=dead_browser,
        arrived=lambda v: [one.payload["body"] for one in v.pushes],
    ),
    "slack": Trial(
        table=lambda v: {"hooks": {"staff": v.hook_url("staff")}},
        there=lambda v: "staff",
        dead=None,
        arrived=lambda v: [one.text.partition("\n")[2].replace("&amp;", "&") for one in v.slack],
    ),
}  # fmt: skip


class Rig:
    """One vendor's emulator, the channel to it and a clock that can be put on."""

    def __init__(self, vendor: str, vendors: MessageVendors, public_url: str):
        self.vendor, self.trial, self.vendors, self.ahead_s = vendor, TRIALS[vendor], vendors, 0.0
        self.around = Around(secret=lambda file, key: file, path=Path, now=lambda: time.time() + self.ahead_s, public_url=public_url)
        table = self.trial.table(vendors)
        self.channel: Channel = open_channel(vendor, table, self.around)
        self.impatient: Channel = open_channel(vendor, table | {"timeout_s": 0.3}, self.around)
        self.hooks = open_hooks(vendor, table, self.around)

    def letter(self, key: str = "n-17_A", text: str = TEXT, **more: object) -> Letter:
        return Letter(**({"key": key, "to": self.trial.there(self.vendors), "text": text, "subject": "Box 3"} | more))

    def suffers(self, kind: str, **more: object) -> None:
        self.vendors.faults.next(self.vendor, kind, **more)

    async def close(self) -> None:
        await self.channel.close()
        await self.impatient.close()

    @property
    def arrived(self) -> list[str]:
        return self.trial.arrived(self.vendors)


@pytest.fixture
async def hub() -> HttpStub:
    """What vendors call; it takes everything and keeps it."""
    stub = HttpStub(Says(200, b"<Response/>", {"Content-Type": "text/xml"}))
    await stub.start()
    yield stub
    await stub.stop()


@pytest.fixture
async def vendors(hub: HttpStub) -> MessageVendors:
    settings = Settings(
        twilio=TwilioSettings(step_s=0.005, inbound_url=f"{hub.url}{HOOKS_PATH}twilio"),
        sendgrid=SendGridSettings(step_s=0.005, batch_s=0.01, events_url=f"{hub.url}{HOOKS_PATH}sendgrid"),
    )
    made = MessageVendors(settings, rng=Random(7))
    await made.start()
    yield made
    await made.stop()


@pytest.fixture(params=CHANNELS)
async def rig(request: pytest.FixtureRequest, vendors: MessageVendors, hub: HttpStub) -> Rig:
    made = Rig(request.param, vendors, hub.url)
    yield made
    await made.close()


def reports(rig: Rig, hub: HttpStub) -> list[Receipt | Inbound]:
    """Everything that the vendor told the hub so far, as the hooks read it."""
    calls = [asked for asked in hub.asked if asked.path == f"{HOOKS_PATH}{rig.vendor}"]
    return [report for asked in calls for report in rig.hooks.read(asked.target, asked.headers, asked.body)]


def test_every_channel_of_the_registry_is_tried() -> None:
    assert set(TRIALS) == set(CHANNELS)


async def test_a_letter_is_taken_and_arrives_once_as_it_was_written(rig: Rig) -> None:
    outcome = await rig.channel.send(rig.letter())
    assert isinstance(outcome, Taken), outcome
    assert outcome.final == (rig.hooks is None)
    assert rig.arrived == [TEXT]


async def test_letters_at_once_all_arrive(rig: Rig) -> None:
    outcomes = await asyncio.gather(*(rig.channel.send(rig.letter(f"k{n}", f"number {n}")) for n in range(8)))
    assert all(isinstance(outcome, Taken) for outcome in outcomes), outcomes
    assert sorted(rig.arrived) == [f"number {n}" for n in range(8)]


async def test_a_letter_whose_moment_has_passed_is_never_sent(rig: Rig) -> None:
    outcome = await rig.channel.send(rig.letter(expires_at=int(time.time()) - 1))
    assert isinstance(outcome, Never) and not outcome.dead_address
    assert rig.arrived == []


async def test_an_answer_that_is_lost_is_unknown_and_found_where_it_can_be(rig: Rig) -> None:
    began = int(time.time())
    rig.suffers("lost")
    assert isinstance(await rig.channel.send(rig.letter()), Unknown)
    assert rig.arrived == [TEXT]
    found = await rig.channel.find(rig.letter(), began)
    assert isinstance(found, Taken if rig.channel.finds else Unknown)


async def test_an_answer_that_comes_too_late_is_unknown(rig: Rig) -> None:
    rig.suffers("slow", seconds=30.0)
    assert isinstance(await rig.impatient.send(rig.letter()), Unknown)


async def test_a_request_that_was_lost_before_it_did_anything_is_known_in_time_to_be_so(rig: Rig) -> None:
    began = int(time.time())
    rig.suffers("lost", acts=False)
    assert isinstance(await rig.channel.send(rig.letter()), Unknown)
    assert isinstance(await rig.channel.find(rig.letter(), began), Unknown), "at once nobody can know"
    rig.ahead_s = 3600
    found = await rig.channel.find(rig.letter(), began)
    assert found is None if rig.channel.finds else isinstance(found, Unknown)


async def test_too_much_at_once_is_for_later_when_the_vendor_said(rig: Rig) -> None:
    rig.suffers("status", **rig.trial.busy)
    outcome = await rig.channel.send(rig.letter())
    assert isinstance(outcome, Later) and outcome.after_s == rig.trial.paused, outcome
    assert rig.arrived == []


async def test_too_much_at_once_without_a_time_is_for_later(rig: Rig) -> None:
    rig.suffers("status", status=rig.trial.busy["status"])
    outcome = await rig.channel.send(rig.letter())
    assert isinstance(outcome, Later) and outcome.after_s is None
    assert rig.arrived == []


async def test_a_failure_after_it_was_done_is_unknown_and_not_tried_again(rig: Rig) -> None:
    if rig.trial.page:
        rig.suffers("status", status=500, acts=True)
    else:
        rig.suffers("lost")
    assert isinstance(await rig.channel.send(rig.letter()), Unknown)
    assert rig.arrived == [TEXT]


async def test_a_refused_connection_is_for_later(rig: Rig) -> None:
    letter = rig.letter()
    await rig.vendors.go_down(rig.vendor)
    assert isinstance(await rig.channel.send(letter), Later)
    await rig.vendors.come_back(rig.vendor)
    assert isinstance(await rig.channel.send(letter), Taken)
    assert rig.arrived == [TEXT]


async def test_a_key_that_was_revoked_is_ours_to_mend(rig: Rig) -> None:
    rig.vendors.faults[rig.vendor].revoked = True
    assert isinstance(await rig.channel.send(rig.letter()), Misconfigured)
    assert rig.arrived == []


@pytest.mark.parametrize("status", [200, 502])
async def test_a_page_instead_of_an_answer_is_unknown(rig: Rig, status: int) -> None:
    if rig.trial.page:
        rig.suffers("html", status=status)
    else:
        rig.suffers("lost", acts=False)
    assert isinstance(await rig.channel.send(rig.letter()), Unknown)


async def test_a_dead_address_is_never_reached(rig: Rig) -> None:
    if rig.trial.dead is None:
        # A hook that was taken away is a setting of ours, not somebody's address.
        rig.vendors.slack_hooks.hooks["staff"].state = "removed"
        assert isinstance(await rig.channel.send(rig.letter()), Misconfigured)
        return
    outcome = await rig.channel.send(rig.letter(to=rig.trial.dead(rig.vendors)))
    assert isinstance(outcome, Never) and outcome.dead_address and not outcome.opted_out, outcome


async def test_what_became_of_a_letter_is_reported_with_its_key(rig: Rig, hub: HttpStub) -> None:
    outcome = await rig.channel.send(rig.letter())
    await rig.vendors.settle()
    if rig.hooks is None:
        assert outcome.final
        return
    told = reports(rig, hub)
    assert {report.key for report in told} == {"n-17_A"} and {report.ref for report in told} == {outcome.ref}
    assert told[-1].state == "delivered" and len({report.id for report in told}) == len(told)


async def test_a_letter_whose_answer_was_lost_is_reported_all_the_same(rig: Rig, hub: HttpStub) -> None:
    rig.suffers("lost")
    assert isinstance(await rig.channel.send(rig.letter("lost-1")), Unknown)
    await rig.vendors.settle()
    assert rig.hooks is None or {report.key for report in reports(rig, hub)} == {"lost-1"}


@pytest.fixture
async def sms(vendors: MessageVendors, hub: HttpStub) -> Rig:
    made = Rig("twilio", vendors, hub.url)
    yield made
    await made.close()


@pytest.fixture
async def sendgrid(vendors: MessageVendors, hub: HttpStub) -> Rig:
    made = Rig("sendgrid", vendors, hub.url)
    yield made
    await made.close()


async def test_a_stop_is_read_and_the_next_sms_is_refused_as_opted_out(sms: Rig, hub: HttpStub) -> None:
    sms.vendors.twilio.receive("+19025550101", "Stop")
    await sms.vendors.settle()
    (inbound,) = reports(sms, hub)
    assert (inbound.sender, inbound.receiver, inbound.text, inbound.word) == ("+19025550101", NUMBER, "Stop", "stop")
    outcome = await sms.channel.send(sms.letter())
    assert isinstance(outcome, Never) and outcome.opted_out and not outcome.dead_address


async def test_a_number_that_turns_out_dead_is_reported_so(sms: Rig, hub: HttpStub) -> None:
    sms.vendors.twilio.dead["+19025550101"] = 30006
    await sms.channel.send(sms.letter())
    await sms.vendors.settle()
    last = reports(sms, hub)[-1]
    assert (last.state, last.code, last.dead_address) == ("failed", "30006", True)


@pytest.mark.parametrize("how", ["wrong_key", "unsigned", "altered"])
async def test_a_forged_receipt_is_refused(sms: Rig, hub: HttpStub, how: str) -> None:
    await sms.channel.send(sms.letter())
    await sms.vendors.settle()
    hub.asked.clear()
    sms.vendors.twilio.forge(how, sid=sms.vendors.sms[0].sid, state="failed")
    await sms.vendors.settle()
    with pytest.raises(Refused, match="hook_forged"):
        reports(sms, hub)


@pytest.mark.parametrize(
    ("how", "code"), [("wrong_key", "hook_forged"), ("unsigned", "hook_forged"), ("altered", "hook_forged"), ("old", "hook_stale")]
)
async def test_a_forged_or_replayed_event_is_refused(sendgrid: Rig, hub: HttpStub, how: str, code: str) -> None:
    await sendgrid.channel.send(sendgrid.letter())
    await sendgrid.vendors.settle()
    hub.asked.clear()
    sendgrid.vendors.sendgrid.forge(sendgrid.vendors.mail[0], "delivered", how)
    await sendgrid.vendors.settle()
    with pytest.raises(Refused, match=code):
        reports(sendgrid, hub)


@pytest.mark.parametrize(("name", "dead", "out"), [("bounces", True, False), ("unsubscribes", False, True), ("spam_reports", False, True)])
async def test_a_suppressed_address_is_taken_and_then_reported_dropped(
    sendgrid: Rig, hub: HttpStub, name: str, dead: bool, out: bool
) -> None:
    sendgrid.vendors.sendgrid.suppress(name, "testa@example.test")
    assert isinstance(await sendgrid.channel.send(sendgrid.letter()), Taken)
    await sendgrid.vendors.settle()
    last = reports(sendgrid, hub)[-1]
    assert (last.state, last.key, last.dead_address, last.opted_out) == ("dropped", "n-17_A", dead, out)


async def test_a_mail_that_bounces_says_that_the_address_is_dead(sendgrid: Rig, hub: HttpStub) -> None:
    sendgrid.vendors.sendgrid.dead["testa@example.test"] = "bounce"
    await sendgrid.channel.send(sendgrid.letter())
    await sendgrid.vendors.settle()
    last = reports(sendgrid, hub)[-1]
    assert (last.state, last.dead_address) == ("bounced", True)
