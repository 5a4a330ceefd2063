"""Notes to Slack: what goes out, what is made of the answers, and that a hook's address stays secret."""

import json
import logging

import httpx
import pytest
import respx

from cloud_hub.ports import Letter
from cloud_hub.vendors.slack import TEXT_MAX, Slack, escaped
from shared.outcomes import Later, Misconfigured, Never, Taken, Unknown
from tests.cloud_hub.vendors.conftest import NOW

HOOK = "https://hooks.slack.com/services/T0/B0/its-secret"


@pytest.fixture
def slack(now, closing) -> Slack:
    return closing(Slack({"desk": HOOK}, now=now))


def note(text: str = "Box 3 is dark.", **more) -> Letter:
    return Letter(**({"key": "n-1", "to": "desk", "text": text} | more))


@pytest.fixture
def wire():
    with respx.mock() as mock:
        yield mock.post(HOOK)


async def test_a_note_is_shown_and_no_receipt_follows(slack, wire) -> None:
    wire.respond(200, text="ok")
    assert await slack.send(note(subject="Outage")) == Taken(final=True)
    assert json.loads(wire.calls[0].request.content) == {"text": "Outage\nBox 3 is dark."}


async def test_what_a_guest_wrote_calls_nobody(slack, wire) -> None:
    wire.respond(200, text="ok")
    await slack.send(note("<!channel> & <https://example.test|prize>"))
    assert json.loads(wire.calls[0].request.content)["text"] == "&lt;!channel&gt; &amp; &lt;https://example.test|prize&gt;"


async def test_a_long_note_is_cut_and_never_inside_an_entity(slack, wire) -> None:
    wire.respond(200, text="ok")
    for length in range(TEXT_MAX - 8, TEXT_MAX):
        await slack.send(note("x" * length + "<" * 20))
        text = json.loads(wire.calls.last.request.content)["text"]
        assert len(text) <= TEXT_MAX and text == escaped(text.replace("&lt;", "<"))


@pytest.mark.parametrize(
    ("status", "body", "headers", "kind", "facts"),
    [
        (400, "invalid_payload", {}, Never, {"code": "invalid_payload", "dead_address": False}),
        (403, "action_prohibited", {}, Misconfigured, {}),
        (404, "no_service", {}, Misconfigured, {}),
        (410, "channel_is_archived", {}, Misconfigured, {}),
        (302, "", {"location": "https://example.test/"}, Misconfigured, {}),
        (429, "", {"retry-after": "30"}, Later, {"after_s": 30.0}),
        (429, "", {}, Later, {"after_s": None}),
        (500, "rollup_error", {}, Unknown, {}),
        (502, "<html>", {}, Unknown, {}),
        (200, "<html>welcome</html>", {}, Unknown, {}),
        (200, "", {}, Unknown, {}),
        (204, "", {}, Unknown, {}),
    ],
)
async def test_every_answer_has_its_outcome_and_nothing_is_tried_twice(slack, wire, status, body, headers, kind, facts) -> None:
    wire.respond(status, text=body, headers=headers)
    outcome = await slack.send(note())
    assert isinstance(outcome, kind), outcome
    assert {name: getattr(outcome, name) for name in facts} == facts
    assert len(wire.calls) == 1


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (httpx.ConnectError, Later), (httpx.ConnectTimeout, Later), (httpx.PoolTimeout, Later),
        (httpx.ReadTimeout, Unknown), (httpx.WriteTimeout, Unknown), (httpx.RemoteProtocolError, Unknown), (httpx.ReadError, Unknown),
    ],
)  # fmt: skip
async def test_a_failure_on_the_way_is_known_by_where_it_fails(slack, wire, error, kind) -> None:
    wire.side_effect = error(f"to {HOOK}")
    outcome = await slack.send(note())
    assert isinstance(outcome, kind) and "its-secret" not in repr(outcome)


async def test_a_name_without_a_hook_is_ours_to_mend(slack) -> None:
    assert isinstance(await slack.send(note(to="nobody")), Misconfigured)


async def test_what_is_worth_nothing_any_more_is_not_sent(slack) -> None:
    outcome = await slack.send(note(expires_at=NOW))
    assert isinstance(outcome, Never) and outcome.code == "expired"


async def test_the_address_is_not_in_the_log(slack, wire, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    wire.respond(200, text="ok")
    await slack.send(note())
    assert "its-secret" not in caplog.text


async def test_an_address_in_the_clear_is_refused_and_not_repeated(now) -> None:
    with pytest.raises(ValueError, match="hooks.desk") as refused:
        Slack({"desk": HOOK.replace("https", "http")}, now=now)
    assert "its-secret" not in str(refused.value)


async def test_the_proxy_of_the_environment_is_not_asked_for_this_machine(http, now, closing, monkeypatch, nobody) -> None:
    from tests.cloud_hub.vendors.stub import Says

    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{nobody}")
    stub = await http(Says(200, "ok"))
    assert await closing(Slack({"desk": f"{stub.url}/services/T/B/x"}, now=now)).send(note()) == Taken(final=True)
