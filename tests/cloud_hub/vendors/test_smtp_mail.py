"""Mail by SMTP: what a server is handed, and what is known at every point at which it may fail."""

import asyncio
import email
import email.policy
import ssl
from pathlib import Path

import pytest

from cloud_hub.ports import Letter
from cloud_hub.vendors.smtp_mail import SmtpMail
from deploy.emulators import tls as certificates
from shared.outcomes import Later, Misconfigured, Never, Taken, Unknown
from tests.cloud_hub.vendors.conftest import NOW
from tests.cloud_hub.vendors.stub import CLOSE, HANG

LETTER = Letter(key="n-17_A", to="testa@example.test", subject="Réservé — Box 3", text="À bientôt.\n.\nPIN 4711", html="<p>À bientôt</p>")


@pytest.fixture
def mail(now):
    def make(port: int, **more) -> SmtpMail:
        given = {"host": "127.0.0.1", "security": "plain", "sender": "desk@example.test", "timeout_s": 5.0, "now": now} | more
        return SmtpMail(port=port, **given)

    return make


async def test_a_letter_is_handed_over_whole(smtp, mail) -> None:
    stub = await smtp()
    outcome = await mail(stub.port, sender_name="Le Comptoir é", reply_to="answers@example.test").send(LETTER)
    assert outcome == Taken("2.0.0 queued as 4711", final=True)
    assert stub.heard[:4] == ["EHLO example.test", "MAIL FROM:<desk@example.test>", "RCPT TO:<testa@example.test>", "DATA"]
    found = email.message_from_bytes(stub.letters[0].removesuffix(b"\r\n.\r\n").replace(b"\r\n..", b"\r\n."), policy=email.policy.default)
    assert found["Message-ID"] == "<n-17_A@example.test>" and found["Subject"] == "Réservé — Box 3"
    assert (str(found["From"]), found["To"], found["Reply-To"]) == (
        "Le Comptoir é <desk@example.test>",
        "testa@example.test",
        "answers@example.test",
    )
    assert found["Date"].datetime.timestamp() == NOW
    assert found.get_body(("plain",)).get_content().split() == ["À", "bientôt.", ".", "PIN", "4711"]
    assert found.get_body(("html",)).get_content().strip() == "<p>À bientôt</p>"
    assert stub.letters[0].isascii(), "a server without 8BITMIME takes no other"


async def test_no_header_comes_in_by_a_subject(smtp, mail) -> None:
    stub = await smtp()
    await mail(stub.port).send(Letter(key="k", to=LETTER.to, text="x", subject="hello\r\nBcc: all@example.test"))
    assert email.message_from_bytes(stub.letters[0])["Bcc"] is None


@pytest.mark.parametrize(
    "address", ["", "nobody", "a@b\r\nRCPT TO:<c@d>", "a b@example.test", "<a@example.test>", "a@example.test,b@example.test"]
)
async def test_what_is_no_address_is_not_offered_to_a_server(smtp, mail, address: str) -> None:
    stub = await smtp()
    outcome = await mail(stub.port).send(Letter(key="k", to=address, text="x"))
    assert isinstance(outcome, Never) and outcome.dead_address
    assert stub.heard == []


@pytest.mark.parametrize(
    ("says", "kind", "facts"),
    [
        ({"GREETING": CLOSE}, Later, {}),
        ({"GREETING": "421 busy"}, Later, {}),
        ({"GREETING": "554 not here"}, Misconfigured, {}),
        ({"GREETING": "<html>welcome</html>"}, Later, {}),
        ({"EHLO": CLOSE, "HELO": CLOSE}, Later, {}),
        ({"MAIL": "451 later"}, Later, {}),
        ({"MAIL": "550 sender refused"}, Misconfigured, {}),
        ({"MAIL": CLOSE}, Later, {}),
        ({"RCPT": "450 greylisted"}, Later, {}),
        ({"RCPT": "421 shutting down"}, Later, {}),
        ({"RCPT": "550 5.1.1 no such user"}, Never, {"code": "550", "dead_address": True}),
        ({"RCPT": "550 no such user"}, Never, {"dead_address": True}),
        ({"RCPT": "552 5.2.2 mailbox full"}, Never, {"dead_address": False}),
        ({"RCPT": "550 5.7.1 we do not like you"}, Never, {"dead_address": False}),
        ({"RCPT": CLOSE}, Later, {}),
        ({"DATA": "451 not now"}, Later, {}),
        ({"DATA": "554 no"}, Never, {"code": "554", "dead_address": False}),
        ({"END": "451 4.3.0 not now"}, Later, {}),
        ({"END": "554 5.7.1 looks like spam"}, Never, {"code": "554", "dead_address": False}),
        ({"END": CLOSE}, Unknown, {}),
        ({"END": "<html>welcome</html>"}, Unknown, {}),
        ({"QUIT": CLOSE}, Taken, {"final": True}),
    ],
)
async def test_every_answer_has_its_outcome(smtp, mail, says, kind, facts) -> None:
    stub = await smtp(says)
    outcome = await mail(stub.port).send(LETTER)
    assert isinstance(outcome, kind), outcome
    assert {name: getattr(outcome, name) for name in facts} == facts


@pytest.mark.parametrize(("says", "kind"), [({"GREETING": HANG}, Later), ({"RCPT": HANG}, Later), ({"END": HANG}, Unknown)])
async def test_silence_ends_at_the_time_limit(smtp, mail, says, kind) -> None:
    stub = await smtp(says)
    assert isinstance(await asyncio.wait_for(mail(stub.port, timeout_s=0.2).send(LETTER), 5), kind)


async def test_a_refused_connection_sent_nothing(mail, nobody) -> None:
    assert isinstance(await mail(nobody).send(LETTER), Later)


async def test_what_is_worth_nothing_any_more_is_not_sent(mail, nobody) -> None:
    outcome = await mail(nobody).send(Letter(key="k", to=LETTER.to, text="x", expires_at=NOW))
    assert isinstance(outcome, Never) and outcome.code == "expired"


async def test_an_address_beyond_plain_letters_goes_where_the_server_takes_it(smtp, mail) -> None:
    letter = Letter(key="k", to="tésta@example.test", text="x")
    plain, wide = await smtp(), await smtp(offers=("8BITMIME", "SMTPUTF8"))
    refused = await mail(plain.port).send(letter)
    assert isinstance(refused, Never) and not refused.dead_address
    assert isinstance(await mail(wide.port).send(letter), Taken)
    assert "RCPT TO:<tésta@example.test>" in wide.heard


async def test_it_signs_in_and_a_refused_password_is_ours_to_mend(smtp, mail) -> None:
    good = await smtp(offers=("AUTH PLAIN",))
    assert isinstance(await mail(good.port, username="desk", password="its-password").send(LETTER), Taken)
    bad = await smtp({"AUTH": "535 5.7.8 no"}, offers=("AUTH PLAIN",))
    outcome = await mail(bad.port, username="desk", password="its-password").send(LETTER)
    assert isinstance(outcome, Misconfigured) and "its-password" not in outcome.reason
    busy = await smtp({"AUTH": "454 4.7.0 not now"}, offers=("AUTH PLAIN",))
    assert isinstance(await mail(busy.port, username="desk", password="its-password").send(LETTER), Later)
    without = await smtp()
    assert isinstance(await mail(without.port, username="desk", password="its-password").send(LETTER), Misconfigured)


@pytest.fixture
def server_tls(tmp_path: Path) -> tuple[ssl.SSLContext, str]:
    """(what a server shows, the file by which a client believes it) for 127.0.0.1."""
    made = certificates.self_signed(tmp_path, "mail")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.cert_path, made.key_path)
    return context, str(made.cert_path)


async def test_starttls_is_insisted_upon(smtp, mail) -> None:
    stub = await smtp(offers=("AUTH PLAIN",))
    outcome = await mail(stub.port, security="starttls", username="desk", password="its-password").send(LETTER)
    assert isinstance(outcome, Misconfigured)
    assert stub.heard == ["EHLO example.test"] and stub.letters == [], "nothing goes in the clear"


async def test_mail_goes_by_starttls_and_by_tls(smtp, mail, server_tls) -> None:
    context, ca_file = server_tls
    upgraded = await smtp(offers=("STARTTLS",), upgrade=context)
    assert isinstance(await mail(upgraded.port, security="starttls", ca_file=ca_file).send(LETTER), Taken)
    wrapped = await smtp(tls=context)
    assert isinstance(await mail(wrapped.port, security="tls", ca_file=ca_file).send(LETTER), Taken)


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_a_certificate_that_nobody_vouches_for_is_not_believed(smtp, mail, server_tls, security: str) -> None:
    context, _ = server_tls
    stub = await smtp(offers=("STARTTLS",), upgrade=context, tls=context if security == "tls" else None)
    assert isinstance(await mail(stub.port, security=security).send(LETTER), Misconfigured)
    assert stub.letters == []


async def test_many_at_once_use_a_few_connections(smtp, mail) -> None:
    stub = await smtp()
    channel = mail(stub.port, connections_max=3)
    outcomes = await asyncio.gather(*(channel.send(Letter(key=f"k{n}", to=f"testa{n}@example.test", text="x")) for n in range(20)))
    assert all(isinstance(outcome, Taken) for outcome in outcomes) and len(stub.letters) == 20


@pytest.mark.parametrize(
    "more",
    [
        {"host": ""},
        {"sender": "nobody"},
        {"sender": "comptoir@exämple.test"},
        {"username": "desk"},
        {"host": "mail.example.test", "username": "desk", "password": "p"},
        {"security": "tls", "ca_file": "/nowhere"},
    ],
)
async def test_settings_that_cannot_be_right_are_told(mail, more: dict) -> None:
    with pytest.raises(ValueError, match="setting|give|password|ca_file"):
        mail(25, **more)
