"""What every `Machines` adapter must do, found through the registry and tried against the emulator of its vendor.

A new line in `MACHINES` needs a `Trial` here, and nothing else.
"""

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from shared.errors import Failure
from shared.runtime.config import ConfigError
from site_agent.devices.machine_ways import MACHINES, Around, open_machines
from site_agent.ports import MachineCommand, Machines, MachinesRefused, MachinesUnavailable
from tests.deploy.ninjaone_world import BOX_1, BOX_2
from tests.site_agent.devices.ninjaone_rig import BOX, REBOOT, SCRIPT, SERVICE, Rig, rigged


@dataclass
class Trial:
    """How one vendor's emulator is used. `there`: a machine, `nowhere` an id of none, `script` and `service` commands that it takes.

    `pull`, `trouble`: a machine loses its power, is told to be ill; `suffers`: scripts a fault of the next command ("lost": done and not
    answered; "down": nobody listens; "busy": too much at once; "wrong": an error). `taken`: how many commands it took. `fails`: the next one ends badly.
    """

    world: Callable[[Path], Any]
    there: str
    nowhere: str
    script: MachineCommand
    restart: MachineCommand
    service: MachineCommand
    pull: Callable[[Any], None]
    trouble: Callable[[Any, str], None]
    suffers: Callable[[Any, str], None]
    taken: Callable[[Any], int]
    fails: Callable[[Any, str], None]


def _ninja_suffers(rig: Rig, what: str) -> None:
    faults: dict[str, dict[str, Any]] = {
        "lost": {"kind": "lost", "method": "POST", "path": "/v2/device"},
        "busy": {"kind": "status", "status": 429, "retry_after_s": 9},
        "wrong": {"kind": "status", "status": 500, "path": "/v2"},
    }
    rig.faults.next(**faults[what])


def _ninja_fails(rig: Rig, text: str) -> None:
    from deploy.emulators.ninjaone.estate import Result

    rig.estate.next_result(Result(result="FAILURE", exit_code=3, message=text))


TRIALS: dict[str, Trial] = {
    "ninjaone": Trial(
        world=rigged,
        there=BOX,
        nowhere="999",
        script=SCRIPT,
        restart=REBOOT,
        service=SERVICE,
        pull=lambda rig: rig.estate.power(BOX_1.id, False),
        trouble=lambda rig, text: rig.estate.alert(BOX_1.id, text, "MAJOR"),
        suffers=_ninja_suffers,
        taken=lambda rig: len(rig.estate.runs),
        fails=_ninja_fails,
    )
}


class Bench:
    """One vendor's trial and world."""

    def __init__(self, trial: Trial, world: Any):
        self.trial, self.world = trial, world
        self.machines: Machines = world.machines

    async def state(self, machine_id: str):
        return {one.machine_id: one for one in await self.machines.machines()}[machine_id]

    async def outcome_of(self, command: MachineCommand, *moments: float) -> list[str]:
        since = await self.machines.bookmark(self.trial.there)
        ref, states = await self.machines.command(self.trial.there, command), []
        for seconds in moments:
            self.world.ninja.forward(seconds)
            found = await self.machines.outcome(self.trial.there, command, since, ref)
            ref = found.ref or ref
            states.append(found.state)
        return states


@pytest.fixture(params=sorted(MACHINES))
async def bench(request, tmp_path) -> AsyncIterator[Bench]:
    trial = TRIALS[request.param]
    async with contextlib.AsyncExitStack() as stack:
        bench = Bench(trial, await stack.enter_async_context(trial.world(tmp_path)))
        await bench.machines.start()
        yield bench


def test_every_way_of_the_registry_has_a_trial():
    assert set(TRIALS) == set(MACHINES)


async def test_a_healthy_machine_is_good_and_says_when_it_was_heard_of(bench):
    found = await bench.state(bench.trial.there)
    assert (found.health, found.online, found.troubles) == ("good", True, ())
    assert 0 <= bench.world.clock.now() - found.heard_at < 60


async def test_trouble_is_told_in_the_vendors_sentence(bench):
    bench.trial.trouble(bench.world, "The projector shows no picture")
    found = await bench.state(bench.trial.there)
    assert (found.health, found.troubles) == ("trouble", ("The projector shows no picture",))


async def test_a_machine_without_power_is_in_trouble(bench):
    bench.trial.pull(bench.world)
    found = await bench.state(bench.trial.there)
    assert (found.health, found.online) == ("trouble", False) and "off" in found.troubles[0]


@pytest.mark.parametrize("kind", ["script", "restart", "service"])
async def test_a_command_is_taken_once_and_its_outcome_is_told(bench, kind):
    states = await bench.outcome_of(getattr(bench.trial, kind), 0, 1, 90, 0)
    assert states[0] == "waiting" and states[-1] == "done"
    assert bench.trial.taken(bench.world) == 1


async def test_a_script_that_fails_says_why(bench):
    bench.trial.fails(bench.world, "The licence is gone")
    since = await bench.machines.bookmark(bench.trial.there)
    ref = await bench.machines.command(bench.trial.there, bench.trial.script)
    for seconds in (1, 90):
        bench.world.ninja.forward(seconds)
    found = await bench.machines.outcome(bench.trial.there, bench.trial.script, since, ref)
    assert found.state == "failed" and "The licence is gone" in found.text and "3" in found.text


async def test_an_outcome_is_found_without_the_vendors_name_for_the_run(bench):
    since = await bench.machines.bookmark(bench.trial.there)
    await bench.machines.command(bench.trial.there, bench.trial.script)
    for seconds in (1, 90):
        bench.world.ninja.forward(seconds)
    assert (await bench.machines.outcome(bench.trial.there, bench.trial.script, since, "")).state == "done"


async def test_an_earlier_run_of_the_same_script_is_not_taken_for_this_one(bench):
    await bench.outcome_of(bench.trial.script, 1, 90)
    bench.trial.pull(bench.world)
    assert await bench.outcome_of(bench.trial.script, 1, 90) == ["waiting", "waiting"]


async def test_a_machine_that_is_not_there_is_refused_for_good(bench):
    for call in (bench.machines.bookmark(bench.trial.nowhere), bench.machines.command(bench.trial.nowhere, bench.trial.restart)):
        with pytest.raises(MachinesRefused) as refused:
            await call
        assert (refused.value.code, refused.value.permanent, refused.value.ours) == ("machine_unknown", True, False)


async def test_an_answer_that_was_lost_leaves_the_outcome_unknown_and_is_not_repeated(bench):
    bench.trial.suffers(bench.world, "lost")
    with pytest.raises(MachinesUnavailable) as lost:
        await bench.machines.command(bench.trial.there, bench.trial.script)
    assert lost.value.outcome_unknown and bench.trial.taken(bench.world) == 1


async def test_a_vendor_that_nobody_reaches_has_done_nothing(bench):
    await bench.world.ninja.emulator.go_down()
    with pytest.raises(MachinesUnavailable):
        await bench.machines.machines()  # meets the end of a connection that was kept open, of which nobody knows how far it got
    with pytest.raises(MachinesUnavailable) as away:
        await bench.machines.command(bench.trial.there, bench.trial.script)
    assert not away.value.outcome_unknown and not away.value.permanent


async def test_a_vendor_that_asks_for_patience_is_left_alone_until_then(bench):
    await bench.machines.machines()
    bench.trial.suffers(bench.world, "busy")
    for _ in range(2):  # the second is not even sent
        with pytest.raises(MachinesUnavailable) as busy:
            await bench.machines.command(bench.trial.there, bench.trial.script)
        assert (busy.value.busy, busy.value.outcome_unknown, busy.value.retry_after_s) == (True, False, 9)
    bench.world.clock.forward(9)
    await bench.machines.command(bench.trial.there, bench.trial.script)


async def test_an_error_of_the_vendor_while_looking_is_a_failure_with_a_sentence(bench):
    await bench.machines.machines()
    bench.trial.suffers(bench.world, "wrong")
    with pytest.raises(Failure) as wrong:
        await bench.machines.machines()
    assert isinstance(wrong.value, MachinesUnavailable) and wrong.value.detail.endswith(".")
    assert (await bench.state(bench.trial.there)).health == "good"


async def test_no_alarm_is_raised_while_all_is_well(bench):
    await bench.machines.renew()
    assert bench.machines.alarms() == []


async def test_maintenance_begins_and_ends(bench):
    await bench.machines.maintenance(bench.trial.there, int(bench.world.clock.now()) + 3600, "New screen")
    assert bench.world.estate.devices[BOX_1.id].maintenance.end == bench.world.clock.now() + 3600
    await bench.machines.maintenance(bench.trial.there, 0, "")
    assert bench.world.estate.devices[BOX_1.id].maintenance is None


async def test_another_machine_is_another_machine(bench):
    bench.trial.trouble(bench.world, "No picture")
    assert (await bench.state(str(BOX_2.id))).health == "good"


@pytest.mark.parametrize(("kind", "table", "text"), [("teletype", {}, "there is no way"), ("ninjaone", {"nothing": 1}, "nothing")])
def test_settings_that_are_not_known_are_refused_by_name(tmp_path, kind, table, text):
    with pytest.raises(ConfigError, match=text):
        open_machines(kind, table, Around(lambda file, key: file, tmp_path, None))
