"""What every `Machines` adapter must do, found through the registry and tried against the emulator of its vendor.

A new line in `MACHINES` needs a `Trial` here, and nothing else.
"""

import contextlib
import inspect
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shared.errors import Failure
from shared.runtime.config import ConfigError
from site_agent.devices.machine_ways import MACHINES, Around, open_machines
from site_agent.ports import MachineCommand, Machines, MachinesRefused, MachinesUnavailable
from tests.deploy.ninjaone_world import BOX_1, BOX_2
from tests.site_agent.devices import bay_rig, lan_rig
from tests.site_agent.devices.ninjaone_rig import BOX, REBOOT, SCRIPT, SERVICE, Rig, rigged


@dataclass
class Trial:
    """How one vendor's emulator is used. `there`: a machine, `nowhere` an id of none, `script` and `service` commands that it takes.

    `forward`: seconds pass there; `pull`, `trouble`: a machine loses its power, is ill (the answer is what it then says). `other`: another machine.
    `suffers`: scripts a fault of the next command ("lost": done and not answered; "busy": too much at once; "wrong": an error), `down`: nobody
    listens; None for a way that asks nobody over a wire. `taken`: how many commands it took. `fails`: the next script ends badly; None for a way
    that runs none, whose three commands are others. `quiet_until`: until when it is in maintenance; None where nothing raises alerts.
    """

    world: Callable[[Path], Any]
    there: str
    nowhere: str
    script: MachineCommand
    restart: MachineCommand
    service: MachineCommand
    other: str
    forward: Callable[[Any, float], Any]
    pull: Callable[[Any], Any]
    trouble: Callable[[Any, str], Any]
    taken: Callable[[Any], int]
    fails: Callable[[Any, str], None] | None = None
    quiet_until: Callable[[Any], float] | None = None
    suffers: Callable[[Any, str], None] | None = None
    down: Callable[[Any], Any] | None = None


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


def _ninja_trouble(rig: Rig, text: str) -> str:
    rig.estate.alert(BOX_1.id, text, "MAJOR")
    return text


def _ninja_quiet(rig: Rig) -> float:
    window = rig.estate.devices[BOX_1.id].maintenance
    return window.end if window is not None else 0


def _bay_pull(rig: bay_rig.Rig) -> None:
    rig.pcs[bay_rig.BOX].on = False


async def _bay_trouble(rig: bay_rig.Rig, text: str) -> str:
    rig.pcs[bay_rig.BOX].programs = {text: False}
    await rig.forward(20)
    return f"{text} does not run on its PC."


def _plug_trouble(rig: lan_rig.Rig, text: str) -> str:
    rig.box.bay.errors = [text]
    return f"The plug of Box 1 says: {text}."


TRIALS: dict[str, Trial] = {
    "ninjaone": Trial(
        world=rigged,
        there=BOX,
        nowhere="999",
        script=SCRIPT,
        restart=REBOOT,
        service=SERVICE,
        other=str(BOX_2.id),
        forward=lambda rig, seconds: rig.ninja.forward(seconds),
        pull=lambda rig: rig.estate.power(BOX_1.id, False),
        trouble=_ninja_trouble,
        taken=lambda rig: len(rig.estate.runs),
        fails=_ninja_fails,
        quiet_until=_ninja_quiet,
        suffers=_ninja_suffers,
        down=lambda rig: rig.ninja.emulator.go_down(),
    ),
    "bay_agent": Trial(
        world=bay_rig.rigged,
        there=bay_rig.BOX,
        nowhere=bay_rig.NOBODYS,
        script=bay_rig.SCRIPT,
        restart=bay_rig.REBOOT,
        service=bay_rig.SERVICE,
        other=bay_rig.OTHER,
        forward=lambda rig, seconds: rig.forward(seconds) if seconds else None,
        pull=_bay_pull,
        trouble=_bay_trouble,
        taken=lambda rig: len(rig.pcs[bay_rig.BOX].ran),
        fails=lambda rig, text: rig.pcs[bay_rig.BOX].ends.append((3, text)),
        quiet_until=lambda rig: rig.machines._kept.quiet_until(bay_rig.BOX),
    ),
    "lan": Trial(
        world=lan_rig.rigged,
        there=lan_rig.BOX,
        nowhere=lan_rig.NOBODYS,
        script=lan_rig.LIGHTS,
        restart=lan_rig.POWER,
        service=lan_rig.WAKE,
        other=lan_rig.OTHER,
        forward=lambda rig, seconds: rig.forward(seconds),
        pull=lambda rig: setattr(rig.box.plug, "on", False),
        trouble=_plug_trouble,
        taken=lambda rig: len(rig.box.sets),
    ),
}


class Bench:
    """One vendor's trial and world."""

    def __init__(self, trial: Trial, world: Any):
        self.trial, self.world = trial, world
        self.machines: Machines = world.machines

    async def do(self, deed: Callable[..., Any] | None, *words: Any) -> Any:
        """Something is done in the vendor's world."""
        assert deed is not None
        found = deed(self.world, *words)
        return await found if inspect.isawaitable(found) else found

    async def forward(self, *moments: float) -> None:
        for seconds in moments:
            await self.do(self.trial.forward, seconds)

    async def state(self, machine_id: str):
        return {one.machine_id: one for one in await self.machines.machines()}[machine_id]

    async def outcome_of(self, command: MachineCommand, *moments: float) -> list[str]:
        since = await self.machines.bookmark(self.trial.there)
        ref, states = await self.machines.command(self.trial.there, command), []
        for seconds in moments:
            await self.forward(seconds)
            found = await self.machines.outcome(self.trial.there, command, since, ref)
            ref = found.ref or ref
            states.append(found.state)
        return states


@contextlib.asynccontextmanager
async def benched(name: str, folder: Path) -> AsyncIterator[Bench]:
    async with TRIALS[name].world(folder) as world:
        bench = Bench(TRIALS[name], world)
        await bench.machines.start()
        yield bench


@pytest.fixture(params=sorted(MACHINES))
async def bench(request, tmp_path) -> AsyncIterator[Bench]:
    async with benched(request.param, tmp_path) as bench:
        yield bench


@pytest.fixture(params=sorted(name for name, trial in TRIALS.items() if trial.fails is not None))
async def scripted(request, tmp_path) -> AsyncIterator[Bench]:
    """A way that runs scripts."""
    async with benched(request.param, tmp_path) as bench:
        yield bench


@pytest.fixture(params=sorted(name for name, trial in TRIALS.items() if trial.suffers is not None))
async def wired(request, tmp_path) -> AsyncIterator[Bench]:
    """A way that asks somebody over a wire, which can break."""
    async with benched(request.param, tmp_path) as bench:
        yield bench


def test_every_way_of_the_registry_has_a_trial():
    assert set(TRIALS) == set(MACHINES)


async def test_a_healthy_machine_is_good_and_says_when_it_was_heard_of(bench):
    found = await bench.state(bench.trial.there)
    assert (found.health, found.online, found.troubles) == ("good", True, ())
    assert 0 <= bench.world.clock.now() - found.heard_at < 60


async def test_trouble_is_told_in_the_vendors_sentence(bench):
    said = await bench.do(bench.trial.trouble, "The projector shows no picture")
    found = await bench.state(bench.trial.there)
    assert (found.health, found.troubles) == ("trouble", (said,)) and "The projector shows no picture" in said


async def test_a_machine_without_power_is_in_trouble(bench):
    await bench.do(bench.trial.pull)
    await bench.forward(121)
    found = await bench.state(bench.trial.there)
    assert (found.health, found.online) == ("trouble", False) and "off" in found.troubles[0]


@pytest.mark.parametrize("kind", ["script", "restart", "service"])
async def test_a_command_is_taken_once_and_its_outcome_is_told(bench, kind):
    command = getattr(bench.trial, kind)
    assert command.kind in bench.machines.does(bench.trial.there)
    states = await bench.outcome_of(command, 0, 1, 90, 0)
    assert states[0] == "waiting" or bench.trial.fails is None
    assert states[-1] == "done" and bench.trial.taken(bench.world) == 1


async def test_a_script_that_fails_says_why(scripted):
    bench = scripted
    await bench.do(bench.trial.fails, "The licence is gone")
    since = await bench.machines.bookmark(bench.trial.there)
    ref = await bench.machines.command(bench.trial.there, bench.trial.script)
    await bench.forward(1, 90)
    found = await bench.machines.outcome(bench.trial.there, bench.trial.script, since, ref)
    assert found.state == "failed" and "The licence is gone" in found.text and "3" in found.text


async def test_an_outcome_is_found_without_the_vendors_name_for_the_run(bench):
    since = await bench.machines.bookmark(bench.trial.there)
    await bench.machines.command(bench.trial.there, bench.trial.script)
    await bench.forward(1, 90)
    assert (await bench.machines.outcome(bench.trial.there, bench.trial.script, since, "")).state == "done"


async def test_an_earlier_run_of_the_same_script_is_not_taken_for_this_one(scripted):
    bench = scripted
    await bench.outcome_of(bench.trial.script, 1, 90)
    await bench.do(bench.trial.pull)
    assert await bench.outcome_of(msgspec.structs.replace(bench.trial.script, mark="mark-9"), 1, 90) == ["waiting", "waiting"]


async def test_a_machine_that_is_not_there_is_refused_for_good(bench):
    for call in (bench.machines.bookmark(bench.trial.nowhere), bench.machines.command(bench.trial.nowhere, bench.trial.restart)):
        with pytest.raises(MachinesRefused) as refused:
            await call
        assert (refused.value.code, refused.value.permanent, refused.value.ours) == ("machine_unknown", True, False)


async def test_an_answer_that_was_lost_leaves_the_outcome_unknown_and_is_not_repeated(wired):
    await wired.do(wired.trial.suffers, "lost")
    with pytest.raises(MachinesUnavailable) as lost:
        await wired.machines.command(wired.trial.there, wired.trial.script)
    assert lost.value.outcome_unknown and wired.trial.taken(wired.world) == 1


async def test_a_vendor_that_nobody_reaches_has_done_nothing(wired):
    await wired.do(wired.trial.down)
    with pytest.raises(MachinesUnavailable):
        await wired.machines.machines()  # meets the end of a connection that was kept open, of which nobody knows how far it got
    with pytest.raises(MachinesUnavailable) as away:
        await wired.machines.command(wired.trial.there, wired.trial.script)
    assert not away.value.outcome_unknown and not away.value.permanent


async def test_a_vendor_that_asks_for_patience_is_left_alone_until_then(wired):
    await wired.machines.machines()
    await wired.do(wired.trial.suffers, "busy")
    for _ in range(2):  # the second is not even sent
        with pytest.raises(MachinesUnavailable) as busy:
            await wired.machines.command(wired.trial.there, wired.trial.script)
        assert (busy.value.busy, busy.value.outcome_unknown, busy.value.retry_after_s) == (True, False, 9)
    wired.world.clock.forward(9)
    await wired.machines.command(wired.trial.there, wired.trial.script)


async def test_an_error_of_the_vendor_while_looking_is_a_failure_with_a_sentence(wired):
    await wired.machines.machines()
    await wired.do(wired.trial.suffers, "wrong")
    with pytest.raises(Failure) as wrong:
        await wired.machines.machines()
    assert isinstance(wrong.value, MachinesUnavailable) and wrong.value.detail.endswith(".")
    assert (await wired.state(wired.trial.there)).health == "good"


async def test_no_alarm_is_raised_while_all_is_well(bench):
    await bench.machines.renew()
    assert bench.machines.alarms() == []


async def test_maintenance_begins_and_ends(bench):
    await bench.machines.maintenance(bench.trial.there, int(bench.world.clock.now()) + 3600, "New screen")
    told = bench.trial.quiet_until
    assert told is None or told(bench.world) == bench.world.clock.now() + 3600
    await bench.machines.maintenance(bench.trial.there, 0, "")
    assert told is None or told(bench.world) == 0


async def test_what_it_would_do_now_is_what_it_is_there_for_while_it_answers_and_the_machine_is_on(bench):
    there = bench.trial.there
    assert bench.machines.able(bench.trial.nowhere) == frozenset()
    await bench.forward(1)
    await bench.machines.machines()
    assert bench.trial.restart.kind in bench.machines.able(there) and bench.machines.able(there) <= bench.machines.does(there)
    if bench.trial.fails is not None:
        await bench.do(bench.trial.pull)
        await bench.forward(121)
        await bench.machines.machines()
        assert bench.machines.able(there) == frozenset() and bench.machines.does(there)


async def test_another_machine_is_another_machine(bench):
    await bench.do(bench.trial.trouble, "No picture")
    assert (await bench.state(bench.trial.other)).health == "good"


@pytest.mark.parametrize(("kind", "table", "text"), [("teletype", {}, "there is no way"), ("ninjaone", {"nothing": 1}, "nothing")])
def test_settings_that_are_not_known_are_refused_by_name(tmp_path, kind, table, text):
    with pytest.raises(ConfigError, match=text):
        open_machines(kind, table, Around(lambda file, key: file, tmp_path, None))
