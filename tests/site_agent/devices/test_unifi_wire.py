"""The wire alone: what counts as success, and what every other answer is called."""

import httpx
import pytest
import respx

from site_agent.devices.unifi.wire import Wire, WireError

BASE = "https://127.0.0.1:12445/api/v1/developer"


@pytest.fixture
async def wire():
    wire = Wire("127.0.0.1", 12445, "telltale", "ab" * 32)
    yield wire
    await wire.close()


@pytest.mark.parametrize("rest", [{"data": "success"}, {"data": None}, {}])
@respx.mock
async def test_a_success_may_carry_a_word_or_null_or_nothing(wire, rest):
    respx.put(f"{BASE}/visitors/v1/pin_codes").respond(json={"code": "SUCCESS", "msg": "success"} | rest)
    await wire.assign_pin("v1", "012345")
    call = respx.calls.last.request
    assert call.content == b'{"pin_code":"012345"}'
    assert call.headers["authorization"] == "Bearer telltale"


@pytest.mark.parametrize(
    ("status", "body", "kind", "acted"),
    [
        (200, b'{"code":"CODE_SYSTEM_ERROR","msg":"An error occurred on the server."}', "broken", True),
        (200, b'{"code":"CODE_DEVICE_DEVICE_OFFLINE"}', "broken", False),
        (200, b'{"code":"CODE_OPERATION_FORBIDDEN","msg":""}', "refused", False),
        (200, b'{"code":"CODE_UNAUTHORIZED"}', "credential", False),
        (200, b"OK", "away", True),
        (200, b"", "away", True),
        (200, b"[1,2]", "away", True),
        (200, b'{"code":1}', "away", True),
        (204, b"", "away", True),
        (302, b"", "away", False),
        (400, b'{"code":"CODE_PARAMS_INVALID"}', "refused", False),
        (401, b"Unauthorized", "credential", False),
        (402, b'{"code":"CODE_CREDS_PIN_CODE_CREDS_ALREADY_EXIST"}', "refused", False),
        (403, b"<html>", "credential", False),
        (404, b'{"code":"CODE_NOT_EXISTS"}', "unknown_thing", False),
        (404, b"404 page not found", "unsupported", False),
        (429, b'{"code":"SUCCESS"}', "busy", False),
        (500, b'{"code":"SUCCESS"}', "broken", True),
        (503, b"\xff\xfe", "broken", False),
        (504, b"[" * 100_000, "broken", True),
    ],
)
@respx.mock
async def test_every_other_answer_has_a_name(wire, status, body, kind, acted):
    respx.put(f"{BASE}/doors/d1/unlock").respond(status, content=body)
    with pytest.raises(WireError) as error:
        await wire.unlock_door("d1", "a", "A", {})
    assert (error.value.kind, error.value.may_have_acted) == (kind, acted)
    assert "telltale" not in str(error.value)
    assert respx.calls.call_count == 1


@pytest.mark.parametrize(
    ("error", "acted"),
    [
        (httpx.ConnectError("no"), False),
        (httpx.ConnectTimeout("no"), False),
        (httpx.PoolTimeout("no"), False),
        (httpx.ReadTimeout("no"), True),
        (httpx.WriteError("no"), True),
        (httpx.RemoteProtocolError("no"), True),
    ],
)
@respx.mock
async def test_what_was_never_sent_cannot_have_happened_and_the_rest_may_have(wire, error, acted):
    respx.put(f"{BASE}/doors/d1/unlock").mock(side_effect=error)
    with pytest.raises(WireError) as failed:
        await wire.unlock_door("d1", "a", "A", {})
    assert (failed.value.kind, failed.value.may_have_acted, failed.value.passing) == ("away", acted, True)


@pytest.mark.parametrize(("header", "hint"), [("7", 7), ("9999", 60), ("soon", 1), ("", 1), ("99999999999999", 1)])
@respx.mock
async def test_a_wish_to_wait_is_heard_within_bounds(wire, header, hint):
    respx.get(f"{BASE}/doors").respond(429, headers={"Retry-After": header})
    with pytest.raises(WireError) as busy:
        await wire.list_doors()
    assert busy.value.retry_after_s == hint


@pytest.mark.parametrize("data", [None, "success", [{"name": "no id"}], {"id": "d1"}, [{"id": "d1", "is_bind_hub": "maybe"}]])
@respx.mock
async def test_a_success_that_cannot_be_read_is_no_crash(wire, data):
    respx.get(f"{BASE}/doors").respond(json={"code": "SUCCESS", "data": data})
    with pytest.raises(WireError, match="cannot be read"):
        await wire.list_doors()


@respx.mock
async def test_the_documents_string_for_a_boolean_is_borne(wire):
    respx.get(f"{BASE}/doors").respond(json={"code": "SUCCESS", "data": [{"id": "d1", "is_bind_hub": "true", "extras": {"new": 1}}]})
    assert (await wire.list_doors())[0].is_bind_hub is True


@pytest.mark.parametrize(("given", "sent"), [("../visitors", "..%2Fvisitors"), ("a?b=c", "a%3Fb%3Dc"), ("a b", "a%20b")])
@respx.mock
async def test_an_id_from_outside_stays_one_segment_of_the_path(wire, given, sent):
    route = respx.route().respond(json={"code": "SUCCESS", "data": "success"})
    await wire.unlock_door(given, "a", "A", {})
    assert route.calls.last.request.url.raw_path == f"/api/v1/developer/doors/{sent}/unlock".encode()


@pytest.mark.parametrize(
    ("host", "port", "token", "sentence"),
    [
        ("127.0.0.1", 1, "", "token"),
        ("127.0.0.1", 1, "a\nb", "token"),
        ("127.0.0.1", 1, "tök", "token"),
        ("a b", 1, "t", "address"),
        ("box", 99999, "t", "address"),
    ],
)
def test_an_address_or_token_that_cannot_be_right_is_refused_at_once(host, port, token, sentence):
    with pytest.raises(ValueError, match=sentence):
        Wire(host, port, token, "ab" * 32)
