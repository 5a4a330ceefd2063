"""The way by the local network: the call that wakes a PC, its plug and its lights, and what goes wrong with them."""

import asyncio

import msgspec
import pytest

from deploy.emulators.bays.emulator import _app
from shared.runtime.config import ConfigError
from site_agent.devices.lan import shelly, wake
from site_agent.ports import MachineCommand, MachinesRefused, MachinesUnavailable
from tests.site_agent.devices.lan_rig import BOX, LIGHTS, OTHER, PASSWORD, POWER, WAKE, rigged


@pytest.fixture
async def rig(tmp_path):
    async with rigged(tmp_path) as made:
        yield made


@pytest.mark.parametrize("generation", [1, 2])
@pytest.mark.parametrize("password", ["", PASSWORD])
async def test_switches_of_both_generations_are_spoken_to_with_and_without_a_password(tmp_path, generation, password):
    async with rigged(tmp_path, generation, password) as rig:
        assert (await rig.look()).online is True
        since = await rig.machines.bookmark(BOX)
        await rig.machines.command(BOX, LIGHTS)
        assert rig.box.lights.on and (await rig.machines.outcome(BOX, LIGHTS, since, "")).state == "done"
        ref = await rig.machines.command(BOX, POWER)
        assert not rig.box.plug.on and (await rig.machines.outcome(BOX, POWER, since, ref)).state == "running"
        await rig.forward(8)
        assert (await rig.machines.outcome(BOX, POWER, since, ref)).state == "done" and rig.box.plug.on
        assert (await rig.machines.outcome(BOX, POWER, since, "")).state == "waiting", "a plug that never answered may never have been off"


async def test_a_relay_that_does_not_move_is_seen(rig):
    rig.box.bay.stuck = True
    since = await rig.machines.bookmark(BOX)
    await rig.machines.command(BOX, LIGHTS)
    found = await rig.machines.outcome(BOX, LIGHTS, since, "")
    assert (found.state, found.text) == ("failed", "The lights are off.")
    rig.box.plug.on = False
    await rig.forward(61)
    assert (await rig.machines.outcome(BOX, POWER, since, "")).state == "failed"


async def test_a_pc_is_called_up_and_its_plug_switched_on_first(rig):
    rig.box.plug.on, rig.box.bay.pc.state = False, "off"
    since = await rig.machines.bookmark(BOX)
    await rig.machines.command(BOX, WAKE)
    async with asyncio.timeout(2):
        while rig.woken < wake.TIMES:
            await asyncio.sleep(0.005)
    assert rig.box.plug.on and (await rig.machines.outcome(BOX, WAKE, since, "")).state == "running"
    await rig.forward(120)
    assert (await rig.machines.outcome(BOX, WAKE, since, "")).state == "failed"
    found = await rig.look()
    assert (found.online, found.troubles) == (False, ("It is off: it draws no power.",))
    rig.box.bay.pc.state = "on"
    assert (await rig.machines.outcome(BOX, WAKE, since, "")).state == "done"
    assert (await rig.machines.outcome(OTHER, WAKE, since, "")).state == "done"  # its plug does not tell: nobody can say more


async def test_what_it_would_do_is_what_is_there_and_answers(rig):
    assert rig.machines.does(BOX) == {"wake", "lights", "restart"} and rig.machines.does(OTHER) == {"wake"}
    assert rig.machines.able(BOX) == {"wake", "lights"} and rig.machines.able(OTHER) == frozenset()  # nobody has looked yet
    await rig.look()
    assert rig.machines.able(BOX) == {"wake", "lights", "restart"} and rig.machines.able(OTHER) == {"wake"}
    assert (rig.machines.reaches(BOX, "31"), rig.machines.reaches("bedford.box-3", "33")) == (BOX, "")
    with pytest.raises(MachinesRefused, match="Nothing on the local network"):
        await rig.machines.command(OTHER, POWER)
    with pytest.raises(MachinesRefused, match="on or off"):
        await rig.machines.command(BOX, MachineCommand("lights", "mark-9", "dim"))


async def test_a_plug_that_does_not_answer_is_told_and_the_call_goes_out_all_the_same(rig):
    await rig.box.listener.go_down()
    found = await rig.look()
    assert (found.health, found.online) == ("unknown", None)
    where = rig.box.listener.url[7:]
    assert rig.machines.alarms() == [f"The {what} of Box 1 ({where}) does not answer." for what in ("light switch", "plug")]
    assert rig.machines.able(BOX) == {"wake"}
    await rig.machines.command(BOX, WAKE)
    with pytest.raises(MachinesUnavailable) as away:
        await rig.machines.command(BOX, POWER)
    assert not away.value.outcome_unknown


async def test_a_wrong_password_is_told_and_is_in_no_sentence(tmp_path):
    async with rigged(tmp_path, password=PASSWORD) as rig:
        rig.machines = rig.opened("another-password")
        await rig.look()
        assert len(rig.machines.alarms()) == 3 and "does not take our password" in rig.machines.alarms()[0]
        with pytest.raises(MachinesRefused) as refused:
            await rig.machines.command(BOX, LIGHTS)
        assert (refused.value.code, refused.value.ours) == ("key_refused", True)
        assert "another-password" not in refused.value.detail + " ".join(rig.machines.alarms())


@pytest.mark.parametrize(
    ("fault", "kind", "unknown", "acted"),
    [
        ({"kind": "inside"}, MachinesRefused, False, False),
        ({"kind": "lost"}, MachinesUnavailable, True, True),
        ({"kind": "html", "status": 200, "acts": True}, MachinesUnavailable, True, True),
        ({"kind": "empty", "status": 500}, MachinesUnavailable, True, False),
        ({"kind": "status", "status": 500}, MachinesRefused, False, False),
    ],
)
async def test_an_answer_that_is_none_is_a_failure_that_says_whether_it_may_have_acted(rig, fault, kind, unknown, acted):
    if fault["kind"] == "inside":
        rig.machines = rig.opened(plug_channel=7)
        rig.box.switch.answer = lambda request, plain=rig.box.switch.answer: msgspec.structs.replace(plain(request), status=200)
        rig.box.listener.app.app = _app(rig.box.switch.answer)
    else:
        rig.fault(**fault)
    with pytest.raises(kind) as failed:
        await rig.machines.command(BOX, POWER)
    assert getattr(failed.value, "outcome_unknown", False) is unknown and failed.value.detail.endswith(".")
    assert "Box 1" in failed.value.detail and rig.box.plug.on is not acted


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"plug": "192.168.4.21"}, "no address of a switch"),
        ({"plug": "http://192.168.4.21/relay/0"}, "no address of a switch"),
        ({"plug": "http://admin:secret@192.168.4.21"}, "password does not stand in its address"),
        ({"plug": "http://93.184.216.34"}, "not an address of the local network"),
        ({"plug": "http://[bad"}, "no address of a switch"),
        ({"mac": "02:00:5e:00:00"}, "no network card's address"),
        ({"mac": "ff:ff:ff:ff:ff:ff"}, "no single network card"),
        ({"mac": "", "plug": "", "lights": "", "idle_w": 0, "power_cycle": False}, "neither 'mac' nor 'plug' nor 'lights'"),
        ({"plug": ""}, "has no 'plug'"),
        ({"id": "bedford.box-9"}, "no resource of this facility"),
        ({"id": OTHER}, "given twice"),
    ],
)
async def test_settings_that_cannot_be_right_are_refused_at_the_start(rig, more, text):
    with pytest.raises(ConfigError, match=r"site.toml, \[machines.way.lan\]: .*" + text):
        rig.opened(**more)


@pytest.mark.parametrize("text", ["nowhere", "192.168.4.255:0", "192.168.4.255:x", "8.8.8.8", "192.168.4.256"])
def test_an_address_to_call_pcs_up_at_is_one_of_this_network(text):
    with pytest.raises(ValueError, match=r"address|port"):
        wake.target_of(text)
    assert wake.target_of("192.168.4.255") == ("192.168.4.255", 9) and wake.target_of("255.255.255.255:7")[1] == 7
    assert shelly.base_of("http://192.168.4.21/") == "http://192.168.4.21"
