"""What happens at the doors, heard live and read from the log: nothing lost, nothing twice, whatever the controller and its stream do."""

import asyncio
import contextlib
import hashlib
import hmac
import logging
from collections.abc import AsyncIterator

import pytest

from deploy.emulators.unifi.controller import AGENT_SCOPES
from deploy.emulators.unifi.doors import Emergency
from deploy.emulators.unifi.envelope import Style
from deploy.emulators.unifi.logs import row
from deploy.emulators.unifi.notifications import StreamFaults
from deploy.emulators.unifi.visitors import ResourceRef, VisitorBody
from site_agent.devices.unifi.hooks import AGE_MAX_S, signed
from site_agent.ports import Actor, DoorsUnavailable
from tests.site_agent.devices.unifi_words import NOON, TOKEN

QUICK = {"back_off_s": 0.02, "page_pause_s": 0.0}
DESK = Actor("staff-testa", "Testa Desk")


class Ears:
    """Somebody who listens, and what came; `until` waits for something of it."""

    def __init__(self, doors, after_ms: int = 0, known=frozenset()):
        self.doors, self.heard = doors, []
        self._task = asyncio.create_task(self._listen(after_ms, known))

    async def _listen(self, after_ms, known) -> None:
        async for event in self.doors.events(after_ms, known):
            self.heard.append(event)

    @property
    def told(self) -> list[tuple[str, str]]:
        """Who was let in or not, without the leaves."""
        return [(event.kind, event.how) for event in self.heard if event.kind not in ("opened", "closed")]

    @property
    def leaves(self) -> list[tuple[str, bool]]:
        return [(event.kind, event.live) for event in self.heard if event.kind in ("opened", "closed")]

    async def until(self, condition, within_s: float = 8.0) -> None:
        async with asyncio.timeout(within_s):
            while not condition():
                assert not self._task.done(), self._task.exception()
                await asyncio.sleep(0.005)

    async def close(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


@pytest.fixture
async def listen() -> AsyncIterator:
    open_ones: list[Ears] = []

    async def begin(doors, after_ms: int = 0, known=frozenset()) -> Ears:
        ears = Ears(doors, after_ms, known)
        open_ones.append(ears)
        return ears

    yield begin
    for ears in open_ones:
        await ears.close()


async def live(ears: Ears) -> None:
    await ears.until(ears.doors.hearing)


def guest(emulator, booking_id: str = "booking-1", pin: str = "570121") -> str:
    """A visitor of ours with a PIN for the front door; the visitor's id."""
    body = VisitorBody(
        "ClubOS", booking_id, NOON - 60, NOON + 7200, "Others", resources=[ResourceRef(emulator.door_id("front"), "door")]
    )  # fmt: skip
    visitor = emulator.box.visitors.create(body, NOON, emulator.box.known_resources())
    emulator.box.visitors.assign_pin(visitor.id, pin)
    return visitor.id


@pytest.mark.parametrize("log_event", ["access.logs.add", "access.logs.insights.add", "both", "none"])
@pytest.mark.parametrize("ids", [False, True])
async def test_every_way_of_telling_a_row_gives_the_same_event_once(controller, connect, listen, log_event, ids):
    emulator = await controller(style=Style(log_event=log_event, log_ids=ids), log_delay_s=0.0)
    visitor = guest(emulator)
    ears = await listen(connect(emulator, look_every_s=0.3, **QUICK))
    await live(ears)
    emulator.box.read_pin(emulator.door_id("front"), "570121")
    emulator.box.read_pin(emulator.door_id("front"), "111111")
    await ears.until(lambda: len(ears.told) == 2)
    assert ears.told == [("unlocked", "pin"), ("denied", "pin")]
    let_in = ears.heard[-2]
    assert (let_in.actor_id, let_in.booking_id, let_in.door_name, let_in.at, let_in.said_ms) == (
        visitor,
        "booking-1",
        "front",
        NOON,
        NOON * 1000,
    )
    again = await connect(emulator).log(NOON - 10, NOON + 10)
    assert {event.key for event in again} == {event.key for event in ears.heard if event.said_ms}
    await asyncio.sleep(0.35)  # a look at the log meanwhile
    assert len(ears.told) == 2


async def test_a_mode_of_the_whole_controller_is_told_as_it_changes_whoever_changes_it(controller, connect, listen):
    emulator = await controller(log_delay_s=0.0)
    ears = await listen(connect(emulator, **QUICK))
    await live(ears)
    for lockdown, evacuation in ((True, False), (True, True), (False, False)):
        emulator.box.set_emergency(Emergency(lockdown=lockdown, evacuation=evacuation))
    await ears.until(lambda: len(ears.told) == 3)
    assert ears.told == [("emergency", "lockdown"), ("emergency", "evacuation"), ("emergency", "normal")]
    assert len({event.key for event in ears.heard}) == len(ears.heard)


async def test_an_unlock_of_ours_a_button_a_card_and_the_leaf_are_told_apart(controller, connect, listen):
    emulator = await controller(log_delay_s=0.0)
    front = emulator.door_id("front")
    doors = connect(emulator, **QUICK)
    ears = await listen(doors)
    await live(ears)
    assert ears.leaves == [("closed", False)]
    await doors.unlock(front, DESK, "req-1")
    emulator.box.press_button(front)
    emulator.box.deny(front)
    emulator.box.move_leaf(front, opened=True)
    emulator.box.move_leaf(front, opened=True)
    emulator.box.move_leaf(front, opened=False)
    await ears.until(lambda: len(ears.heard) == 6)
    assert ears.told == [("unlocked", "remote"), ("unlocked", "button"), ("denied", "nfc")]
    assert ears.leaves[1:] == [("opened", True), ("closed", True)]
    ours, leaf = ears.heard[1], ears.heard[4]
    assert (ours.actor_id, ours.request_id, ours.actor_name) == ("staff-testa", "req-1", "Testa Desk")
    assert (leaf.lock, leaf.said_ms, leaf.at) == ("unlocked", 0, NOON)
    assert len({event.key for event in ears.heard}) == 6


@pytest.mark.parametrize("state_event", ["access.data.device.location_update_v2", "access.data.v2.location.update"])
@pytest.mark.parametrize("alarm_rows", [False, True])
async def test_a_forced_leaf_is_told_with_its_lock_and_by_a_row_where_the_controller_writes_one(
    controller, connect, listen, state_event, alarm_rows
):
    emulator = await controller(style=Style(state_event=state_event, alarm_rows=alarm_rows), log_delay_s=0.0)
    ears = await listen(connect(emulator, **QUICK))
    await live(ears)
    emulator.box.force(emulator.door_id("front"))
    await ears.until(lambda: len(ears.heard) == 2 + alarm_rows)
    assert [event.lock for event in ears.heard if event.kind == "opened"] == ["locked"]
    assert ears.told == ([("forced", "")] if alarm_rows else [])


async def test_a_door_without_sensor_or_hub_has_no_leaf_that_moves(controller, connect, listen):
    emulator = await controller(log_delay_s=0.0)
    ears = await listen(connect(emulator, **QUICK))
    await live(ears)
    emulator.box.move_leaf(emulator.door_id("side"), opened=True)
    emulator.box.deny(emulator.door_id("front"))
    await ears.until(lambda: ears.told)
    assert ears.leaves == [("closed", False)]


async def test_what_happened_while_the_stream_was_cut_is_read_from_the_log_once_and_the_leaf_is_found_moved(
    controller, connect, listen, clock
):
    emulator = await controller(log_delay_s=0.0)
    front = emulator.door_id("front")
    ears = await listen(connect(emulator, **QUICK))
    await live(ears)
    emulator.box.deny(front)
    await ears.until(lambda: len(ears.told) == 1)
    await emulator.go_down()
    clock.forward(5)
    emulator.box.press_button(front)
    emulator.box.door(front).leaf_open = True
    await emulator.come_back()
    await ears.until(lambda: len(ears.told) == 2 and len(ears.leaves) == 2)
    await live(ears)
    emulator.box.deny(front)
    await ears.until(lambda: len(ears.told) == 3)
    assert ears.told == [("denied", "nfc"), ("unlocked", "button"), ("denied", "nfc")]
    assert ears.leaves == [("closed", False), ("opened", False)]


async def test_a_stream_that_is_dropped_again_and_again_loses_and_repeats_nothing(controller, connect, listen, clock):
    emulator = await controller(log_delay_s=0.0)
    ears = await listen(connect(emulator, **QUICK))
    for turn in range(5):
        await live(ears)
        emulator.box.notifications.drop_all()
        clock.forward(1)
        emulator.box.deny(emulator.door_id("front"))
        await ears.until(lambda turn=turn: len(ears.told) == turn + 1)
    assert [event.at for event in ears.heard if event.kind == "denied"] == [NOON + turn for turn in range(1, 6)]


async def test_frames_that_come_twice_late_or_in_the_wrong_order_are_told_once_each(controller, connect, listen, clock):
    emulator = await controller(log_delay_s=0.0)
    ears = await listen(connect(emulator, **QUICK))
    await live(ears)
    for faults in (StreamFaults(duplicate=50), StreamFaults(swap=True), StreamFaults(late=1, late_s=30)):
        emulator.box.notifications.faults = faults
        clock.forward(1)
        emulator.box.deny(emulator.door_id("front"))
        clock.forward(1)
        emulator.box.deny(emulator.door_id("front"))
    clock.forward(30)
    emulator.box.advance()
    await ears.until(lambda: len(ears.told) == 6)
    assert sorted(event.at for event in ears.heard if event.kind == "denied") == [NOON + second for second in range(1, 7)]


async def test_a_stream_gone_deaf_is_found_out_by_the_log_and_made_anew(controller, connect, listen, clock, caplog):
    emulator = await controller(log_delay_s=0.0)
    front = emulator.door_id("front")
    ears = await listen(connect(emulator, look_every_s=0.2, **QUICK))
    await live(ears)
    emulator.box.deny(front)
    await ears.until(lambda: len(ears.told) == 1)
    emulator.box.notifications.faults.silent_until = NOON + 3600
    clock.forward(1)
    emulator.box.deny(front)
    clock.forward(20)
    with caplog.at_level(logging.INFO, "site_agent.devices.unifi"):
        await ears.until(lambda: "did not tell of 1 events" in caplog.text)
    assert [event.at for event in ears.heard if event.kind == "denied"] == [NOON, NOON + 1]
    emulator.box.notifications.faults.silent_until = 0
    await live(ears)
    emulator.box.deny(front)
    await ears.until(lambda: len(ears.told) == 3)


async def test_a_line_on_which_nothing_at_all_is_heard_ends_and_another_is_made(controller, connect, listen, clock):
    """As when somebody pulls a cable: a relay that stops carrying anything, without closing."""
    emulator = await controller(log_delay_s=0.0)
    stuck = asyncio.Event()
    made = 0

    async def carry(reader, writer) -> None:
        while data := await reader.read(65536):
            if stuck.is_set():
                await asyncio.Event().wait()
            writer.write(data)
            await writer.drain()

    async def relay(reader, writer) -> None:
        nonlocal made
        made += 1
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", emulator.port)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(carry(reader, far_writer), carry(far_reader, writer))

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    doors = connect(emulator, port=port, silent_after_s=0.4, read_timeout_s=0.3, **QUICK)
    ears = await listen(doors)
    await live(ears)
    stuck.set()
    await ears.until(lambda: not doors.hearing())
    stuck.clear()
    emulator.box.deny(emulator.door_id("front"))
    await ears.until(lambda: ears.told and doors.hearing())
    assert ears.told == [("denied", "nfc")]
    await ears.close()
    server.close()


async def test_a_controller_that_reboots_in_mid_unlock_tells_of_the_pulse_when_it_is_back(controller, connect, listen, clock):
    emulator = await controller(log_delay_s=0.0)
    doors = connect(emulator, read_timeout_s=0.3, **QUICK)
    ears = await listen(doors)
    await live(ears)
    emulator.faults.next("lost", seconds=1.0, method="PUT")
    emulator.box.notifications.faults.lose = 50
    with pytest.raises(DoorsUnavailable) as lost:
        await doors.unlock(emulator.door_id("front"), DESK, "req-9")
    assert lost.value.outcome_unknown
    await emulator.go_down()
    emulator.box.notifications.faults.lose = 0
    await emulator.come_back()
    await ears.until(lambda: ears.told)
    assert [(event.kind, event.request_id) for event in ears.heard if event.said_ms] == [("unlocked", "req-9")]


async def test_another_certificate_is_not_listened_to_and_is_told(controller, connect, listen):
    emulator = await controller(log_delay_s=0.0)
    doors = connect(emulator, **QUICK)
    ears = await listen(doors)
    await live(ears)
    await emulator.renew_certificate()
    emulator.box.deny(emulator.door_id("front"))
    await ears.until(lambda: "another certificate" in doors.trouble)
    assert not doors.hearing() and ears.told == [] and len(emulator.box.notifications) == 0


@pytest.mark.parametrize("scopes", [AGENT_SCOPES - {"view:device"}])
async def test_without_the_right_to_the_stream_the_log_is_asked(controller, connect, listen, scopes, monkeypatch):
    monkeypatch.setattr("site_agent.devices.unifi.feed.WITHOUT_STREAM_S", 0.05)
    emulator = await controller(tokens={TOKEN: scopes}, log_delay_s=0.0)
    doors = connect(emulator, **QUICK)
    ears = await listen(doors)
    emulator.box.deny(emulator.door_id("front"))
    await ears.until(lambda: len(ears.told) == 1)
    emulator.box.press_button(emulator.door_id("front"))
    await ears.until(lambda: len(ears.told) == 2)
    assert not doors.hearing()


async def test_a_controller_that_answers_nothing_is_asked_less_and_less_often(controller, connect, listen):
    emulator = await controller()
    await emulator.go_down()
    tries = []
    doors = connect(emulator, back_off_s=0.02)
    real = doors._feed._stream._connect

    async def counted():
        tries.append(asyncio.get_running_loop().time())
        return await real()

    doors._feed._stream._connect = counted
    ears = await listen(doors)
    await ears.until(lambda: len(tries) == 5)
    waits = [later - earlier for earlier, later in zip(tries, tries[1:], strict=False)]
    assert all(wait >= 0.02 * 2**number for number, wait in enumerate(waits)), "a busy machine only makes them longer"


@pytest.mark.parametrize("skew_s", [-7200, 7200])
async def test_a_controller_whose_clock_is_off_loses_nothing_since_it_is_asked_by_its_own_time(controller, connect, listen, clock, skew_s):
    emulator = await controller(log_delay_s=0.0)
    emulator.box.now = lambda: clock.now() + skew_s
    front = emulator.door_id("front")
    emulator.box.deny(front)
    first = await listen(connect(emulator, **QUICK), after_ms=(NOON + skew_s - 10) * 1000)
    await live(first)
    await first.until(lambda: len(first.told) == 1)
    await first.close()
    clock.forward(60)
    emulator.box.press_button(front)
    last = first.heard[-1]
    again = await listen(connect(emulator, **QUICK), after_ms=last.said_ms, known=frozenset({last.key}))
    await live(again)
    await again.until(lambda: again.told)
    assert again.told == [("unlocked", "button")]
    assert again.heard[-1].at == NOON + skew_s + 60


async def test_a_clock_of_the_controllers_that_was_ahead_for_a_while_makes_it_deaf_to_nothing_after(controller, connect, listen, clock):
    emulator = await controller(style=Style(log_event="none"), log_delay_s=0.0)
    front, ahead_s = emulator.door_id("front"), 86_400
    emulator.box.now = lambda: clock.now() + ahead_s
    doors = connect(emulator, look_every_s=0.05, **QUICK)
    ears = await listen(doors)
    await live(ears)
    emulator.box.deny(front)
    await ears.until(lambda: len(ears.told) == 1)
    ahead_s = 0
    doors._dated(clock.now())  # as its next answer tells
    emulator.box.press_button(front)
    await ears.until(lambda: len(ears.told) == 2, within_s=2)
    assert ears.told[-1] == ("unlocked", "button")


async def test_ten_thousand_rows_are_read_in_order_with_little_in_memory_and_few_pages(controller, connect, listen, clock):
    emulator = await controller(log_delay_s=0.0)
    template = emulator.box.door(emulator.door_id("front")).targets()
    for number in range(10_000):
        at = NOON - 86_400 * 3 + number * 20
        entry = row(
            at, event_type="access.door.unlock", message="", result="BLOCKED", provider="NFC", actor_id="", actor_name="N/A",
            actor_type="user", targets=template,
        )  # fmt: skip
        emulator.box.log.add(at, "door_openings", entry)
    doors = connect(emulator, **QUICK)
    most = 0
    real = doors._feed._new_of

    def watched(hits):
        nonlocal most
        most = max(most, len(hits))
        return real(hits)

    doors._feed._new_of = watched
    ears = await listen(doors, after_ms=(NOON - 86_400 * 4) * 1000)
    await ears.until(lambda: len(ears.told) == 10_000, within_s=40)
    said = [event.said_ms for event in ears.heard if event.said_ms]
    assert said == sorted(said) and len(set(said)) == 10_000
    assert most <= 3000
    assert len(emulator.requests("POST", "/system/logs")) < 200


@pytest.mark.parametrize(
    "frame",
    ["", "Hello", '"Hello"', "[]", "null", "{}", '{"event": 5}', '{"event": "access.logs.add"}', '{"event": "access.logs.add", "data": {"_source": 7}}',
     '{"event": "access.logs.insights.add", "data": {"metadata": {"door": 3, "actor": [1]}}}', '{"event": "access.data.v2.location.update", "data": {"id": [1]}}',
     '{"event": "access.data.device.update", "data": {"location_states": [{"location_id": "x", "dps": "ajar"}]}}', "[" * 50_000],
)  # fmt: skip
async def test_a_frame_that_makes_no_sense_is_passed_over(controller, connect, listen, frame):
    emulator = await controller(log_delay_s=0.0)
    ears = await listen(connect(emulator, **QUICK))
    await live(ears)
    emulator.box.notifications._send(frame)
    emulator.box.deny(emulator.door_id("front"))
    await ears.until(lambda: ears.told)
    assert ears.told == [("denied", "nfc")]


async def test_the_token_stands_in_no_line_of_any_log(controller, connect, listen, caplog):
    caplog.set_level(logging.DEBUG)
    emulator = await controller()
    ears = await listen(connect(emulator, **QUICK))
    await live(ears)
    await emulator.go_down()
    await ears.until(lambda: not ears.doors.hearing())
    assert TOKEN not in caplog.text


# ---- the controller's own calls
SECRET = "0123456789abcdef"


def signature(body: bytes, at: int = NOON, secret: str = SECRET, form: str = "t={at},v1={digest}") -> str:
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return form.format(at=at, digest=digest)


@pytest.mark.parametrize(
    ("given", "good"),
    [
        (signature(b"{}"), True), (signature(b"{}", form="t={at}, v1={digest}"), True), (signature(b"{}", form="v1={digest},t={at},v0=x"), True),
        (signature(b"{}", NOON - AGE_MAX_S), True), (signature(b"{}", NOON - AGE_MAX_S - 1), False), (signature(b"{}", NOON + AGE_MAX_S + 1), False),
        (signature(b"[]"), False), (signature(b"{}", secret="another"), False), ("", False), ("t=1", False), ("v1=00,t=x", False),
        (signature(b"{}", form="t=9999999999999,v1={digest}"), False), (signature(b"{}", form="t={at},v1=\u00e9"), False),
    ],
)  # fmt: skip
def test_a_call_is_the_controllers_own_only_if_it_is_signed_and_young(given, good):
    assert signed(SECRET, given, b"{}", NOON) is good
    assert not signed("", given, b"{}", NOON)


async def test_a_signed_call_has_the_log_asked_at_once_where_nothing_is_heard_live(controller, connect, listen, monkeypatch):
    monkeypatch.setattr("site_agent.devices.unifi.feed.WITHOUT_STREAM_S", 60.0)
    emulator = await controller(tokens={TOKEN: AGENT_SCOPES - {"view:device"}}, log_delay_s=0.0)
    doors = connect(emulator, webhook_secret=SECRET, back_off_s=60.0, page_pause_s=0.0)
    ears = await listen(doors)
    await ears.until(lambda: emulator.requests("POST", "/system/logs"))
    emulator.box.deny(emulator.door_id("front"))
    assert not doors.called("t=1,v1=00", b"{}")
    assert doors.called(signature(b"{}"), b"{}")
    await ears.until(lambda: ears.told)
