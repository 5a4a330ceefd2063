"""What every `Doors` adapter must do, found through the registry and tried against the emulator of its vendor.

A new line in `DOORS` needs a `Trial` here, and nothing else.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest

from deploy.emulators.unifi.controller import AGENT_SCOPES
from deploy.emulators.unifi.doors import DoorSpec
from deploy.emulators.unifi_access import UnifiAccessEmulator
from shared.errors import Failure
from shared.runtime.clock import SystemClock
from shared.runtime.config import ConfigError
from site_agent.config import DoorSettings
from site_agent.devices.door_ways import DOORS, Around, open_doors
from site_agent.ports import Actor, DoorCredential, DoorEvent, Doors, DoorsRefused, DoorsUnavailable, GrantRef, PinTaken

DESK = Actor("staff-testa", "Testa Desk")


@dataclass
class Stand:
    """A vendor's emulator with one door that has a sensor, and our side of it. `settings` as a configuration has them."""

    doors: Doors
    door_id: str
    settings: DoorSettings
    around: Around
    type_pin: Callable[[str], Any]
    press_button: Callable[[], Any]
    move_leaf: Callable[[bool], Any]
    cut: Callable[[], Any]
    go_down: Callable[[], Awaitable[None]]
    come_back: Callable[[], Awaitable[None]]
    pulses: Callable[[], int]
    show_code: Callable[[str], Any]
    hold_card: Callable[[str], Any]
    settle: Callable[[], Any]
    """Ends a pulse that runs."""


@contextlib.asynccontextmanager
async def _unifi(folder: Path) -> AsyncIterator[Stand]:
    token = "testing-token-7d1f"
    emulator = UnifiAccessEmulator(doors=[DoorSpec("front")], tokens={token: AGENT_SCOPES}, rng=Random(5), folder=folder, log_delay_s=0.0)
    await emulator.start()
    settings = DoorSettings(kind="unifi", host="127.0.0.1", port=emulator.port, token_file="t", fingerprint=emulator.fingerprint)
    around = Around(lambda file, key: token, lambda name: folder / name, SystemClock())
    doors, front = open_doors(settings, around), emulator.door_id("front")
    try:
        yield Stand(
            doors, front, settings, around, lambda pin: emulator.box.read_pin(front, pin), lambda: emulator.box.press_button(front),
            lambda opened: emulator.box.move_leaf(front, opened=opened), emulator.box.notifications.drop_all, emulator.go_down, emulator.come_back,
            lambda: len(emulator.box.unlocks), lambda text: emulator.box.read_qr(front, text), lambda number: emulator.box.read_card(front, number),
            lambda: setattr(emulator.box.door(front), "unlocked_until", 0.0),
        )  # fmt: skip
    finally:
        await doors.stop()
        await emulator.stop()


TRIALS: dict[str, Callable[[Path], contextlib.AbstractAsyncContextManager[Stand]]] = {"unifi": _unifi}


def test_every_adapter_of_the_registry_is_tried():
    assert set(TRIALS) == set(DOORS)


@pytest.fixture(params=sorted(DOORS))
async def stand(request, tmp_path_factory) -> AsyncIterator[Stand]:
    async with TRIALS[request.param](tmp_path_factory.mktemp("doors")) as found:
        yield found


@contextlib.asynccontextmanager
async def heard(doors: Doors, after_ms: int = 0, known=frozenset()) -> AsyncIterator[list[DoorEvent]]:
    """What is told, as long as the block lasts."""
    told: list[DoorEvent] = []

    async def listen() -> None:
        async for event in doors.events(after_ms, known):
            told.append(event)

    task = asyncio.create_task(listen())
    try:
        yield told
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(condition, within_s: float = 8.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.005)


def credential(stand: Stand, **more) -> DoorCredential:
    now = int(SystemClock().now())
    told = {
        "booking_id": "booking-1", "door_ids": (stand.door_id,), "pin": "570121", "opens_at": now - 60, "closes_at": now + 3600, "label": "Box 1",
        "resource_id": "bedford.box-1",
    }  # fmt: skip
    return DoorCredential(**(told | more))


def said(told: list[DoorEvent]) -> list[tuple[str, str]]:
    return [(event.kind, event.how) for event in told if event.kind in ("unlocked", "denied")]


async def test_a_kind_that_nobody_knows_and_settings_that_cannot_be_right_are_refused_by_name(stand):
    from msgspec.structs import replace

    with pytest.raises(ConfigError, match="no door controller of the kind 'none'. Known here: "):
        open_doors(replace(stand.settings, kind="none"), stand.around)
    with pytest.raises(ConfigError, match="the settings 'doors' are wrong: "):
        open_doors(replace(stand.settings, fingerprint="no fingerprint"), stand.around)


async def test_a_credential_opens_its_door_is_read_back_and_dies_when_it_is_revoked(stand):
    ref = await stand.doors.grant(credential(stand))
    assert await stand.doors.grant(credential(stand)) == ref
    [kept] = await stand.doors.granted()
    assert (kept.ref, kept.booking_id, kept.has_pin, kept.resource_id) == (ref, "booking-1", True, "bedford.box-1")
    stand.type_pin("570121")
    assert stand.pulses() == 1
    with pytest.raises(PinTaken):
        await stand.doors.grant(credential(stand, booking_id="booking-2"))
    await stand.doors.revoke(ref)
    await stand.doors.revoke(ref)
    stand.type_pin("570121")
    assert stand.pulses() == 1 and [one.booking_id for one in await stand.doors.granted()] in ([], ["booking-2"])


async def test_everything_of_ours_is_told_whatever_became_of_it(stand):
    asked = credential(stand)
    ref = await stand.doors.grant(asked)
    other = await stand.doors.grant(credential(stand, booking_id="booking-2", pin="112233"))
    await stand.doors.revoke(other)
    told = {one.ref: one for one in await stand.doors.kept()}
    assert told[ref].booking_id == "booking-1" and told[ref].status != "cancelled" and told[ref].has_pin is not False
    assert other not in told or told[other].status == "cancelled"
    assert [one.ref for one in await stand.doors.kept("booking-1")] == [ref] and await stand.doors.kept("booking-0") == []
    whole = await stand.doors.kept_one(ref)
    assert (whole.opens_at, whole.closes_at, whole.resource_id) == (asked.opens_at, asked.closes_at, "bedford.box-1")
    assert whole.has_pin and whole.any_door is not False
    await stand.doors.revoke(ref, erase=True)
    assert await stand.doors.kept_one(ref) is None


async def test_the_doors_are_locked_down_opened_and_let_go_as_a_whole_and_one_by_one(stand):
    await stand.doors.grant(credential(stand))
    for mode, lock, opens in (("lockdown", "locked", 0), ("evacuation", "unlocked", 1), ("normal", "locked", 1)):
        await stand.doors.emergency(mode)
        await stand.doors.emergency(mode)
        assert await stand.doors.emergency_now() == mode
        stand.settle()
        assert [door.lock for door in await stand.doors.doors()] == [lock]
        before = stand.pulses()
        stand.type_pin("570121")
        assert stand.pulses() - before == opens
    stand.settle()
    for rule, lock in (("unlocked", "unlocked"), ("locked", "locked"), ("unlocked_for", "unlocked"), ("normal", "locked")):
        await stand.doors.hold(stand.door_id, rule, 5 if rule == "unlocked_for" else 0)
        assert (await stand.doors.held(stand.door_id)).rule == ("none" if rule == "normal" else rule)
        assert [door.lock for door in await stand.doors.doors()] == [lock]


async def test_devices_places_and_rights_are_told(stand):
    assert [place.door_id for place in await stand.doors.places()] == [stand.door_id]
    devices = await stand.doors.devices()
    assert devices and all(one.device_id and one.name and one.door_id == stand.door_id for one in devices)
    checks = await stand.doors.check()
    assert checks and not [one for one in checks if one.good is False] and all(one.text.endswith(".") for one in checks)


async def test_a_code_and_a_card_open_what_the_credential_opens(stand):
    ref = await stand.doors.grant(credential(stand))
    code = await stand.doors.code_of(ref)
    if code:
        assert stand.show_code(code).admitted
    reader = next(one for one in await stand.doors.devices() if "nfc" in one.reads)
    session = await stand.doors.card_begin(reader.device_id)
    assert await stand.doors.card_read(session) is None
    stand.hold_card("0451")
    card = await stand.doors.card_read(session)
    await stand.doors.card_end(session)
    await stand.doors.give_card(ref, card.card_id)
    assert stand.hold_card("0451").admitted
    await stand.doors.take_card(ref, card.card_id)
    assert not stand.hold_card("0451").admitted


async def test_an_unlock_is_one_pulse_under_one_request_and_is_told_with_it(stand):
    async with heard(stand.doors) as told:
        await until(stand.doors.hearing)
        first = await stand.doors.unlock(stand.door_id, DESK, "req-1")
        assert await stand.doors.unlock(stand.door_id, DESK, "req-1") == first
        await until(lambda: said(told))
    assert stand.pulses() == 1
    [event] = [one for one in told if one.kind == "unlocked"]
    assert (event.how, event.request_id, event.actor_id, event.door_id) == ("remote", "req-1", DESK.id, stand.door_id)


async def test_what_happens_is_told_once_with_the_credential_it_was_done_by(stand):
    ref = await stand.doors.grant(credential(stand))
    async with heard(stand.doors) as told:
        await until(stand.doors.hearing)
        stand.type_pin("570121")
        stand.type_pin("000000")
        stand.press_button()
        stand.move_leaf(True)
        stand.move_leaf(False)
        await until(lambda: len(said(told)) == 3 and [event.kind for event in told if event.live][-1:] == ["closed"])
    assert said(told) == [("unlocked", "pin"), ("denied", "pin"), ("unlocked", "button")]
    assert next(event for event in told if event.kind == "unlocked").actor_id == ref
    assert [event.kind for event in told if event.kind in ("opened", "closed") and event.live] == ["opened", "closed"]
    assert len({event.key for event in told}) == len(told) and all(event.key for event in told)


@pytest.mark.slow
async def test_what_was_missed_is_told_later_and_nothing_twice(stand):
    async with heard(stand.doors) as told:
        await until(stand.doors.hearing)
        stand.press_button()
        await until(lambda: len(said(told)) == 1)
        stand.cut()
        stand.press_button()
        await until(lambda: len(said(told)) == 2)
        await until(stand.doors.hearing)
        await stand.go_down()
        await until(lambda: not stand.doors.hearing())
        stand.type_pin("000000")
        await stand.come_back()
        await until(lambda: len(said(told)) == 3, within_s=20)
    newest = max(told, key=lambda event: event.said_ms)
    stand.type_pin("000001")
    async with heard(stand.doors, newest.said_ms, frozenset(event.key for event in told)) as again:
        await until(lambda: said(again), within_s=20)
    assert said(again) == [("denied", "pin")] and not {event.key for event in told} & {event.key for event in again}


async def test_a_controller_that_is_away_fails_every_call_with_a_sentence_and_ends_no_listening(stand):
    await stand.go_down()
    async with heard(stand.doors) as told:
        for call in (
            stand.doors.doors(), stand.doors.unlock(stand.door_id, DESK, "req-2"), stand.doors.grant(credential(stand)), stand.doors.log(0, 10),
            stand.doors.emergency("lockdown"), stand.doors.emergency_now(), stand.doors.hold(stand.door_id, "locked"), stand.doors.devices(),
            stand.doors.places(), stand.doors.check(), stand.doors.code_of(GrantRef("v")), stand.doors.give_card(GrantRef("v"), "card"),
        ):  # fmt: skip
            with pytest.raises((DoorsUnavailable, DoorsRefused)) as away:
                await call
            assert isinstance(away.value, Failure) and away.value.detail.endswith(".") and not away.value.permanent
        assert not stand.doors.hearing() and told == []
    await stand.come_back()
    assert [door.door_id for door in await stand.doors.doors()] == [stand.door_id]
