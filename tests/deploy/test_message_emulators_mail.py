"""The emulated SendGrid, asked with the official client and heard with its official validator; and the mail server."""

import asyncio
import http.client
import ssl
from email.message import EmailMessage

import aiosmtplib
import httpx
import pytest
from python_http_client.exceptions import HTTPError
from sendgrid import SendGridAPIClient
from sendgrid.helpers.eventwebhook import EventWebhook

from deploy.emulators.messages.sendgrid_api import SIGNATURE_HEADER, TIMESTAMP_HEADER, SendGridSettings, new_event_key, public_event_key
from deploy.emulators.messages.smtp import SmtpSettings
from deploy.emulators.messages.vendors import Settings
from shared.runtime.clock import Chance
from tests.deploy.message_world import GUEST_MAIL, listening, running

QUICK = {"step_s": 0.01, "batch_s": 0.02, "retries_s": (0.02, 0.02)}
LETTER = {
    "personalizations": [{"to": [{"email": GUEST_MAIL, "name": "Testa Birdie"}], "custom_args": {"msg_key": "k-1"}}],
    "from": {"email": "golf@example.test", "name": "Golf"},
    "subject": "Your booking",
    "content": [{"type": "text/plain", "value": "Come at noon."}, {"type": "text/html", "value": "<p>Come at <b>noon</b>.</p>"}],
    "categories": ["booking"],
}


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")


@pytest.fixture
async def ear():
    async with listening() as ear:
        yield ear


@pytest.fixture
async def vendors(ear):
    async with running(Settings(sendgrid=SendGridSettings(**QUICK, events_url=f"{ear.url}/events"))) as vendors:
        yield vendors


async def send(vendors, letter=LETTER, key=""):
    client = SendGridAPIClient(key or vendors.sendgrid.api_key, host=vendors.sendgrid_url)
    client.client.timeout = 5
    return await asyncio.to_thread(client.client.mail.send.post, request_body=letter)


async def refusal(vendors, letter=LETTER, key=""):
    with pytest.raises(HTTPError) as caught:
        await send(vendors, letter, key)
    return caught.value.status_code, caught.value.to_dict["errors"][0]


def told(ear):
    return sorted(event["event"] for event in ear.events())


async def test_a_mail_is_taken_and_its_way_is_told_in_signed_batches(vendors, ear):
    answer = await send(vendors)
    message_id = answer.headers["X-Message-Id"]
    assert (answer.status_code, answer.body, len(message_id)) == (202, b"", 22)
    await vendors.settle()
    assert told(ear) == ["delivered", "processed"]
    for event in ear.events():
        assert event["msg_key"] == "k-1" and event["email"] == GUEST_MAIL and event["category"] == ["booking"]
        assert event["sg_message_id"].partition(".")[0] == message_id
    checker = EventWebhook(vendors.sendgrid.public_key)
    for one in ear.heard:
        signature, stamp = one.headers[SIGNATURE_HEADER.lower()], one.headers[TIMESTAMP_HEADER.lower()]
        assert checker.verify_signature(one.body.decode(), signature, stamp)
        assert one.body.endswith(b"\r\n") and not checker.verify_signature(one.body.decode().strip(), signature, stamp)
    mail = vendors.mail[0]
    assert (mail.to, mail.subject, mail.html, mail.state) == (GUEST_MAIL, "Your booking", "<p>Come at <b>noon</b>.</p>", "delivered")


BAD = [
    ("personalizations", {"personalizations": []}),
    ("personalizations.0.to", {"personalizations": [{"to": []}]}),
    ("personalizations.0.to.0.email", {"personalizations": [{"to": [{"email": "testa"}]}]}),
    ("personalizations.0", {"personalizations": [{"to": [{"email": GUEST_MAIL}], "cc": [{"email": GUEST_MAIL.upper()}]}]}),
    ("personalizations.0.custom_args.n", {"personalizations": [{"to": [{"email": GUEST_MAIL}], "custom_args": {"n": 1}}]}),
    ("from.email", {"from": {"email": ""}}),
    ("subject", {"subject": ""}),
    ("content", {"content": []}),
    ("content.0.value", {"content": [{"type": "text/plain", "value": ""}]}),
    ("content", {"content": [{"type": "text/html", "value": "x"}, {"type": "text/plain", "value": "x"}]}),
    ("categories", {"categories": ["a", "a"]}),
    ("categories", {"categories": [str(n) for n in range(11)]}),
    ("custom_args", {"custom_args": {"long": "x" * 10_000}}),
    ("headers.Subject", {"headers": {"Subject": "x"}}),
    ("template_id", {"template_id": "booking"}),
    ("send_at", {"send_at": 2**40}),
    ("send_at", {"send_at": "soon"}),
    ("reply_to", {"reply_to": {"email": GUEST_MAIL}, "reply_to_list": [{"email": GUEST_MAIL}]}),
    ("attachments.0.filename", {"attachments": [{"content": "eA=="}]}),
    ("surprise", {"surprise": True}),
]


@pytest.mark.parametrize(("field", "more"), BAD, ids=[f"{index}-{field}" for index, (field, _) in enumerate(BAD)])
async def test_a_body_that_falls_short_is_refused_with_its_field_and_sends_nothing(vendors, field, more):
    status, error = await refusal(vendors, LETTER | more)
    assert (status, error["field"]) == (400, field) and error["message"]
    assert not vendors.mail


async def test_keys_senders_kinds_and_paths_are_checked(vendors):
    assert (await refusal(vendors, key="SG.wrong"))[0] == 401
    vendors.faults["sendgrid"].revoked = True
    assert (await refusal(vendors))[0] == 401
    vendors.faults.clear()
    headers = {"Authorization": f"Bearer {vendors.sendgrid.api_key}"}
    async with httpx.AsyncClient(base_url=vendors.sendgrid_url, headers=headers) as client:
        assert (await client.post("/v3/mail/send", content=b"x", headers={"content-type": "text/plain"})).status_code == 415
        assert (await client.post("/v3/mail/send", content=b"{", headers={"content-type": "application/json"})).status_code == 400
        assert (await client.post("/v3/mail/send", content=b"[]", headers={"content-type": "application/json"})).status_code == 400
        assert (await client.get("/v3/mail/send")).status_code == 405
        assert (await client.get("/v3/nothing")).json() == {"errors": [{"message": "Not Found", "field": None, "help": None}]}
        assert (await client.get("/v3/suppression/friends")).status_code == 404
        assert (await client.post("/v3/mail/send", json=LETTER, headers={"Authorization": ""})).status_code == 401
    async with running(Settings(sendgrid=SendGridSettings(senders=("club.example.test",)))) as other:
        assert (await refusal(other))[0] == 403
        await send(other, LETTER | {"from": {"email": "golf@club.example.test"}})


async def test_a_sandbox_answers_and_sends_nothing(vendors, ear):
    answer = await send(vendors, LETTER | {"mail_settings": {"sandbox_mode": {"enable": True}}})
    await vendors.settle()
    assert (answer.status_code, vendors.mail, ear.heard) == (200, [], [])


async def test_a_dead_address_bounces_once_and_is_dropped_from_then_on_until_taken_off_the_list(vendors, ear):
    vendors.sendgrid.dead[GUEST_MAIL] = "bounce"
    await send(vendors)
    await vendors.settle()
    bounce = next(event for event in ear.events() if event["event"] == "bounce")
    assert (bounce["type"], bounce["status"], vendors.mail[0].state) == ("bounce", "5.1.1", "bounced")
    vendors.sendgrid.dead.clear()
    assert (await send(vendors)).status_code == 202
    await vendors.settle()
    assert ear.events()[-1]["event"] == "dropped" and ear.events()[-1]["reason"] == "Bounced Address"
    headers = {"Authorization": f"Bearer {vendors.sendgrid.api_key}"}
    async with httpx.AsyncClient(base_url=vendors.sendgrid_url, headers=headers) as client:
        assert [one["email"] for one in (await client.get("/v3/suppression/bounces")).json()] == [GUEST_MAIL]
        assert (await client.get(f"/v3/suppression/bounces/{GUEST_MAIL}")).json()[0]["email"] == GUEST_MAIL
        assert (await client.delete(f"/v3/suppression/bounces/{GUEST_MAIL}")).status_code == 204
        assert (await client.delete(f"/v3/suppression/bounces/{GUEST_MAIL}")).status_code == 404
    await send(vendors)
    await vendors.settle()
    assert vendors.mail[-1].state == "delivered"


async def test_blocks_and_deferrals_are_told_as_what_they_are(vendors, ear):
    vendors.sendgrid.dead[GUEST_MAIL] = "block"
    await send(vendors)
    await vendors.settle()
    vendors.sendgrid.dead[GUEST_MAIL] = "defer"
    await send(vendors)
    await vendors.settle()
    events = ear.events()
    assert [event.get("type") for event in events if event["event"] == "bounce"] == ["blocked"]
    assert [event["attempt"] for event in events if event["event"] == "deferred"] == ["1"]
    assert [mail.state for mail in vendors.mail] == ["blocked", "delivered"]


async def test_people_complain_unsubscribe_and_late_bounces_lack_their_message_id(vendors, ear):
    await send(vendors)
    await vendors.settle()
    ear.heard.clear()
    mail = vendors.mail[0]
    for what in ("open", "click", "bounce", "spam", "unsubscribe"):
        vendors.sendgrid.happen(mail, what)
    await vendors.settle()
    assert told(ear) == ["bounce", "click", "open", "spamreport", "unsubscribe"]
    assert "sg_message_id" not in next(event for event in ear.events() if event["event"] == "bounce")
    assert all(GUEST_MAIL in vendors.sendgrid.suppressed[name] for name in ("bounces", "spam_reports", "unsubscribes"))
    headers = {"Authorization": f"Bearer {vendors.sendgrid.api_key}"}
    async with httpx.AsyncClient(base_url=f"{vendors.sendgrid_url}/v3/asm/suppressions/global", headers=headers) as client:
        assert (await client.get(f"/{GUEST_MAIL}")).json() == {"recipient_email": GUEST_MAIL}
        assert (await client.delete(f"/{GUEST_MAIL}")).status_code == 204
        assert (await client.get(f"/{GUEST_MAIL}")).json() == {}
        assert (await client.post("", json={"recipient_emails": [GUEST_MAIL]})).status_code == 201
        assert (await client.post("", json={"recipient_emails": "all"})).status_code == 400


async def test_events_are_retried_until_taken_and_repeats_keep_their_id(vendors, ear):
    ear.answers = [(500, "text/plain", b"")]
    await send(vendors)
    await vendors.settle()
    bodies = [one.body for one in ear.heard]
    assert bodies.count(bodies[0]) == 2 and set(told(ear)) == {"delivered", "processed"}
    count = len(ear.heard)
    assert vendors.webhooks.replay("sendgrid", 1) == 1
    await vendors.settle()
    assert ear.heard[-1].body in [one.body for one in ear.heard[:count]]


async def test_forged_events_fail_the_official_validator_and_an_old_one_only_by_its_time(vendors, ear):
    await send(vendors)
    await vendors.settle()
    ear.heard.clear()
    for how in ("wrong_key", "altered", "unsigned", "old"):
        vendors.sendgrid.forge(vendors.mail[0], "spamreport", how)
        await vendors.settle()
    checker = EventWebhook(vendors.sendgrid.public_key)
    verdicts = []
    for one in ear.heard:
        stamp = one.headers.get(TIMESTAMP_HEADER.lower())
        verdicts.append(bool(stamp) and checker.verify_signature(one.body.decode(), one.headers[SIGNATURE_HEADER.lower()], stamp))
    assert verdicts == [False, False, False, True]
    assert int(ear.heard[3].headers[TIMESTAMP_HEADER.lower()]) < vendors.now() - 3000


async def test_the_public_key_is_told_and_known_ahead_from_the_setting(vendors):
    headers = {"Authorization": f"Bearer {vendors.sendgrid.api_key}"}
    async with httpx.AsyncClient(base_url=vendors.sendgrid_url, headers=headers) as client:
        assert (await client.get("/v3/user/webhooks/event/settings/signed/x")).json() == {"public_key": vendors.sendgrid.public_key}
    key = new_event_key(Chance(4).random)
    async with running(Settings(sendgrid=SendGridSettings(event_key=key))) as other:
        assert other.sendgrid.public_key == public_event_key(key) and len(public_event_key(key)) == 124
    with pytest.raises(ValueError):
        public_event_key("none")


async def test_faults_of_mail_send_in_the_vendors_words(vendors):
    vendors.faults.next("sendgrid", "status", status=429)
    assert await refusal(vendors) == (429, {"field": None, "message": "too many requests"})
    vendors.faults.next("sendgrid", "status", status=500, acts=True)
    assert (await refusal(vendors))[0] == 500
    vendors.faults.next("sendgrid", "lost")
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        await send(vendors)
    vendors.faults.next("sendgrid", "empty")
    answer = await send(vendors)
    assert (answer.status_code, answer.headers.get("X-Message-Id")) == (200, None)
    assert len(vendors.mail) == 2


# The mail server


def letter(to=GUEST_MAIL):
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "Golf <golf@example.test>", to, "Ta réservation"
    message["Message-ID"] = "<k-1@example.test>"
    message.set_content("À midi.")
    message.add_alternative("<p>À midi.</p>", subtype="html")
    message.add_attachment(b"BEGIN:VCALENDAR", maintype="text", subtype="calendar", filename="booking.ics")
    return message


async def post(vendors, message=None, **more):
    return await aiosmtplib.send(
        message or letter(), hostname="127.0.0.1", port=vendors.smtp_port, timeout=5, **({"start_tls": False} | more)
    )


async def test_the_mail_server_keeps_what_it_takes(vendors):
    await post(vendors)
    mail = vendors.mail[0]
    assert (mail.to, mail.sender, mail.subject, mail.vendor_id) == (GUEST_MAIL, "golf@example.test", "Ta réservation", "<k-1@example.test>")
    assert (mail.text.strip(), mail.html.strip(), mail.attachments) == ("À midi.", "<p>À midi.</p>", ("booking.ics",))


async def test_the_mail_server_refuses_by_list_and_by_script(vendors):
    vendors.smtp.dead[GUEST_MAIL] = 550
    with pytest.raises(aiosmtplib.SMTPRecipientsRefused):
        await post(vendors)
    vendors.smtp.dead.clear()
    vendors.faults.next("smtp", "status", status=451)
    with pytest.raises(aiosmtplib.SMTPDataError) as caught:
        await post(vendors)
    assert caught.value.code == 451 and not vendors.mail
    vendors.faults.next("smtp", "status", status=451, acts=True)
    with pytest.raises(aiosmtplib.SMTPDataError):
        await post(vendors)
    assert len(vendors.mail) == 1
    vendors.faults.next("smtp", "status", status=421, method="MAIL")
    with pytest.raises(aiosmtplib.SMTPSenderRefused):
        await post(vendors)


async def test_the_mail_server_loses_answers_is_slow_and_goes_away(vendors):
    vendors.faults.next("smtp", "lost")
    with pytest.raises(aiosmtplib.SMTPServerDisconnected):
        await post(vendors)
    vendors.faults.next("smtp", "lost", acts=False)
    with pytest.raises(aiosmtplib.SMTPServerDisconnected):
        await post(vendors)
    assert len(vendors.mail) == 1
    vendors.faults.next("smtp", "slow", seconds=0.1)
    await post(vendors)
    assert len(vendors.mail) == 2
    await vendors.go_down("smtp")
    with pytest.raises(aiosmtplib.SMTPConnectError):
        await post(vendors)
    await vendors.come_back("smtp")
    await post(vendors)
    with pytest.raises(ValueError, match="no html answer"):
        vendors.faults.next("smtp", "html")


async def test_a_sign_in_is_demanded_and_tls_offered_where_set(tmp_path):
    settings = Settings(smtp=SmtpSettings(user="golf", password="a word", starttls=True))
    async with running(settings, folder=tmp_path) as vendors:
        trusted = ssl.create_default_context(cafile=vendors.smtp_certificate)
        await post(vendors, username="golf", password="a word", start_tls=True, tls_context=trusted)
        with pytest.raises(aiosmtplib.SMTPAuthenticationError):
            await post(vendors, username="golf", password="another")
        with pytest.raises(aiosmtplib.SMTPException):
            await post(vendors)
        vendors.faults["smtp"].revoked = True
        with pytest.raises(aiosmtplib.SMTPAuthenticationError):
            await post(vendors, username="golf", password="a word")
        assert len(vendors.mail) == 1


async def test_a_mail_that_is_no_mail_is_kept_as_it_came(vendors):
    client = aiosmtplib.SMTP(hostname="127.0.0.1", port=vendors.smtp_port, start_tls=False, timeout=5)
    async with client:
        await client.sendmail("golf@example.test", [GUEST_MAIL], b"Content-Type: text/plain; charset=klingon\r\n\r\n\xff\xfe nuqneH")
    assert len(vendors.mail) == 1 and vendors.mail[0].subject == ""
