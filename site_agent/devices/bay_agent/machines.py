"""The `Machines` port on the bays' own program: it calls here, over the LAN, and is answered with what it is to do. No cloud is needed.

Not for: HTTP (`web.bay_agent` hands its calls in), nor who may speak (`guard`). Invariants: nothing is promised of a PC that was not heard of for
`YOUNG_S`; a command is worth minutes (`tasks`); what a PC's own settings do not offer is never sent to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, get_args

import msgspec

from shared.model import Resource
from shared.runtime.clock import Clock
from site_agent.devices.bay_agent import objects
from site_agent.devices.bay_agent.guard import SKEW_MAX_S, Guard
from site_agent.devices.bay_agent.kept import KeptFile
from site_agent.devices.bay_agent.keys import Keys
from site_agent.devices.bay_agent.tasks import Tasks
from site_agent.devices.machine_ways import Around
from site_agent.ports import (
    Activity,
    BayAnswer,
    BayCall,
    Bookmark,
    CommandKind,
    CommandOutcome,
    Machine,
    MachineCommand,
    MachinesRefused,
    MachinesUnavailable,
)

#: a PC that was heard of within this time is there
YOUNG_S = 120
#: until a PC that was started has settled: what moves in it by then is nobody
BOOT_S = 60
KINDS = frozenset(get_args(CommandKind))
#: what ends the PC's own program, and with it the game
_POWER = ("restart", "shutdown")


class BayAgentSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`cool_down_s`: between two restarts (or shut-downs) of one PC. `playing_within_s`: whoever used the PC so recently plays. `disk_low_mb`: with
    less room than that the PC is in trouble. Keys are made by `site-agent bays enrol`; what may be done stands in each PC's own settings."""

    cool_down_s: Annotated[int, msgspec.Meta(ge=0, le=86_400)] = 300
    playing_within_s: Annotated[int, msgspec.Meta(ge=30, le=7200)] = 600
    disk_low_mb: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 1000


SETTINGS = BayAgentSettings


def open_machines(settings: BayAgentSettings, around: Around) -> BayAgents:
    """The way as the settings want it. Its keys lie in the site's folder."""
    return BayAgents(settings, around.clock, Keys(around.folder), KeptFile(around.folder), around.bays, around.called)


class _Pc:
    """One bay's PC while this site agent runs. Times monotonic; `heard_at` unix seconds."""

    def __init__(self) -> None:
        self.tasks = Tasks()
        self.hello: objects.Hello | None = None
        self.hello_at = 0
        self.heard: float | None = None
        self.heard_at = 0
        self.waiter: asyncio.Event | None = None

    def wake(self) -> None:
        if self.waiter is not None:
            self.waiter.set()


class BayAgents:
    """Implements `site_agent.ports.Machines` and `site_agent.ports.BayCalls`. A machine's id is its resource's."""

    near = True

    def __init__(
        self, settings: BayAgentSettings, clock: Clock, keys: Keys, kept: KeptFile, bays: tuple[Resource, ...],
        called: Callable[[Resource], str] = lambda bay: bay.name,
    ) -> None:  # fmt: skip
        self.settings, self._clock, self._keys, self._kept, self._name = settings, clock, keys, kept, called
        self._bays = {bay.id: bay for bay in bays if bay.active}
        self._pcs = {bay: _Pc() for bay in self._bays}
        self._guard = Guard(keys, clock, frozenset(self._bays), self._called)
        self._began = clock.monotonic()
        self._term: Callable[[], int] = lambda: 0
        self._stopping = False

    async def start(self) -> None:
        self._kept.read()

    async def stop(self) -> None:
        self.hang_up()

    # ---- what there is
    def reaches(self, resource_id: str, machine_id: str) -> str:
        return resource_id if resource_id in self._bays and self._keys.there(resource_id) else ""

    def does(self, machine: str) -> frozenset[CommandKind]:
        """By what its PC offered when it was last heard of, also before a restart of this site agent."""
        return frozenset(KINDS & {kind for kind, _ in self._offers(machine)}) if self.reaches(machine, "") else frozenset()  # type: ignore[arg-type]

    def able(self, machine: str) -> frozenset[CommandKind]:
        pc = self._pcs.get(machine)
        return self.does(machine) if pc is not None and pc.hello is not None and self._young(pc) else frozenset()

    def activity(self, machine: str) -> Activity | None:
        pc = self._pcs.get(machine)
        if pc is None or pc.hello is None or not self._young(pc):
            return None
        idle_s = pc.hello.idle_s
        if idle_s is not None and pc.hello.uptime_s is not None and idle_s >= pc.hello.uptime_s - BOOT_S:
            return Activity(pc.hello_at, 0, False)  # that it was started is no hand on it
        playing = None if idle_s is None else idle_s < self.settings.playing_within_s
        return Activity(pc.hello_at, 0 if idle_s is None else pc.hello_at - idle_s, playing)

    async def machines(self) -> list[Machine]:
        return [self._machine(bay, self._pcs[bay]) for bay in self._bays if self._keys.there(bay)]

    def _machine(self, bay: str, pc: _Pc) -> Machine:
        name, quiet = self._called(bay), self._kept.quiet_until(bay) > self._clock.now()
        if pc.heard is None and self._clock.monotonic() - self._began <= YOUNG_S:
            return Machine(bay, name, None, 0, "unknown")
        if not self._young(pc):
            if quiet or self._kept.is_off(bay):  # by whoever looks after it, or because we told it to
                return Machine(bay, name, False, pc.heard_at, "unknown")
            return Machine(bay, name, False, pc.heard_at, "trouble", ("Its PC is off or cut off, or its bay agent does not run.",))
        if pc.hello is None:
            return Machine(bay, name, True, pc.heard_at, "unknown")
        troubles = () if quiet else tuple(self._troubles(pc.hello))
        return Machine(bay, name, True, pc.heard_at, "trouble" if troubles else "good", troubles)

    def _troubles(self, hello: objects.Hello) -> list[str]:
        found = [f"{one.name} does not run on its PC." for one in hello.programs if one.must_run and one.running is False]
        if hello.disk_free_mb is not None and hello.disk_free_mb < self.settings.disk_low_mb:
            found.append(f"The disk of its PC is nearly full: less than {self.settings.disk_low_mb} MB are left.")
        return found

    def _offers(self, machine: str) -> frozenset[tuple[str, str]]:
        pc = self._pcs.get(machine)
        if pc is not None and pc.hello is not None:
            return frozenset((one.kind, one.what) for one in pc.hello.commands)
        return self._kept.offers(machine)

    def _young(self, pc: _Pc) -> bool:
        return pc.heard is not None and self._clock.monotonic() - pc.heard <= YOUNG_S

    def _called(self, bay: str) -> str:
        found = self._bays.get(bay)
        return bay if found is None else self._name(found)

    # ---- commands
    def _pc(self, machine: str) -> _Pc:
        pc = self._pcs.get(machine)
        if pc is None or not self._keys.there(machine):
            raise MachinesRefused(f"{self._called(machine)} has no bay agent that was enrolled here.", code="machine_unknown")
        return pc

    async def bookmark(self, machine_id: str) -> Bookmark:
        self._pc(machine_id)
        return Bookmark("bay", int(self._clock.now()))

    async def command(self, machine_id: str, command: MachineCommand) -> str:
        pc, now = self._pc(machine_id), self._clock.monotonic()
        if not command.mark or len(command.mark) > 64 or " " in command.mark:
            raise MachinesRefused("A command needs a mark without spaces.")
        if not self._young(pc) or pc.hello is None:
            raise MachinesUnavailable(f"{self._called(machine_id)}'s PC has not been heard of for {YOUNG_S // 60} minutes or more.")
        offered, what = self._offers(machine_id), self._what(command)
        if (command.kind, what) not in offered:
            raise MachinesRefused(f"The settings on {self._called(machine_id)}'s PC do not allow that.", code="command_unknown")
        self._cooled(pc, command.kind, what, now)
        told = msgspec.structs.replace(command, what=what, parameters=" ".join(command.parameters.split()))
        pc.tasks.give(told, now)
        pc.wake()
        return command.mark

    def _what(self, command: MachineCommand) -> str:
        """How the PC's settings call it: by our settings' name for it where there is one."""
        return (command.name or command.what) if command.kind in ("script", "service") else command.what

    def _cooled(self, pc: _Pc, kind: str, what: str, now: float) -> None:
        last = pc.tasks.given_last(kind, what) if kind in _POWER else None
        left_s = 0 if last is None else int(last + self.settings.cool_down_s - now)
        if left_s > 0:
            text = f"The PC was told to do that less than {max(1, self.settings.cool_down_s // 60)} minutes ago."
            raise MachinesUnavailable(text, retry_after_s=left_s, busy=True)

    async def outcome(self, machine_id: str, command: MachineCommand, since: Bookmark, ref: str) -> CommandOutcome:
        pc = self._pc(machine_id)
        before = len(pc.tasks.asked())
        found = pc.tasks.outcome(command.mark, self._clock.monotonic())
        if len(pc.tasks.asked()) > before:
            pc.wake()
        return found

    async def maintenance(self, machine_id: str, until_at: int, reason: str) -> None:
        self._pc(machine_id)
        try:
            await asyncio.to_thread(self._kept.quiet, machine_id, until_at)
        except OSError as error:
            raise MachinesUnavailable(f"That could not be written down here: {(error.strerror or 'unknown reason').lower()}.") from None

    async def renew(self) -> None: ...

    def alarms(self) -> list[str]:
        found = self._guard.alarms()
        for bay, pc in self._pcs.items():
            off_s = pc.hello.clock_off_s if pc.hello is not None and self._young(pc) else 0
            if abs(off_s) > SKEW_MAX_S:
                way = "fast" if off_s > 0 else "slow"
                found.append(
                    f"The clock of {self._called(bay)}'s PC is {round(abs(off_s) / 60)} minutes {way}. It works all the same; please set it."
                )
            if self._keys.there(bay) and self._keys.of(bay) is None:
                found.append(
                    f"The key of {self._called(bay)}'s PC is damaged on this machine. Please enrol it again: site-agent bays enrol {bay}."
                )
        return found

    # ---- what the PCs say
    def attach(self, term: Callable[[], int]) -> None:
        self._term = term

    def hang_up(self) -> None:
        self._stopping = True
        for pc in self._pcs.values():
            pc.wake()

    async def called(self, call: BayCall) -> BayAnswer:
        judged = self._guard.judged(call)
        if isinstance(judged, BayAnswer):
            return judged
        pc = self._pcs[call.bay]
        pc.heard, pc.heard_at = self._clock.monotonic(), int(self._clock.now())
        try:
            value = await self._heard(call, pc)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return self._guard.answer(judged, call, 400, {"code": "bad_request", "detail": f"This makes no sense here: {error}."[:300]})
        return self._guard.answer(judged, call, 200, value | {"term": self._term(), "now": self._clock.now()})

    async def _heard(self, call: BayCall, pc: _Pc) -> dict[str, Any]:
        if call.path == "/bay/hello":
            return await self._hello(call.bay, pc, objects.hello_of(call.body))
        if call.path == "/bay/report":
            return await self._report(call.bay, pc, objects.report_of(call.body))
        return await self._poll(pc, objects.poll_of(call.body))

    async def _hello(self, bay: str, pc: _Pc, hello: objects.Hello) -> dict[str, Any]:
        pc.hello, pc.hello_at = hello, int(self._clock.now())
        if self._kept.heard(bay, self._offers(bay), hello.boot_id):
            await asyncio.to_thread(self._kept.write)
        return {}

    async def _poll(self, pc: _Pc, poll: objects.Poll) -> dict[str, Any]:
        pc.wake()  # one that speaks anew has given up what it waited for before
        if poll.wait_s and not self._stopping and not pc.tasks.waiting(self._clock.monotonic()) and not pc.tasks.asked():
            pc.waiter = waiter = asyncio.Event()
            try:
                async with asyncio.timeout(poll.wait_s):  # not wait_for, which before Python 3.12 may swallow a cancel
                    await waiter.wait()
            except TimeoutError:
                pass
            finally:
                if pc.waiter is waiter:
                    pc.waiter = None
                else:
                    return {"commands": [], "asked": []}  # nobody listens here any more
        given = pc.tasks.waiting(self._clock.monotonic())
        pc.tasks.shown(given)
        return {"commands": given, "asked": pc.tasks.asked()}

    async def _report(self, bay: str, pc: _Pc, report: objects.Report) -> dict[str, Any]:
        now = self._clock.monotonic()
        for one in report.outcomes:
            pc.tasks.heard(one, now)
            if one.state == "done" and pc.tasks.kind_of(one.id) == "shutdown":
                self._kept.shut_down(bay, pc.hello.boot_id if pc.hello is not None else "")
                await asyncio.to_thread(self._kept.write)
        for mark in report.never:
            pc.tasks.never(mark, now)
        return {"took": [one.id for one in report.outcomes]}
