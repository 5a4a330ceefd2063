"""Liveness and readiness (O4). Ready means that the books can be read and written; a site, a broker or a vendor that is away never
makes it red, because then the hub would stop selling for all of them."""

import sqlite3
from datetime import datetime

import msgspec
from litestar import Request, Response, get

from shared.errors import Failure
from shared.runtime.problems import Unavailable

from ..services.conditions import OF_HEALTH
from ..services.hub import Hub
from ..services.link import LinkState
from .api.wire import answer, moment_or_none


class Health(msgspec.Struct, kw_only=True):
    status: str


class Alarm(msgspec.Struct, kw_only=True):
    """What a person should see to: `code` as refusals bear it where it has to do with one, `text` a sentence."""

    code: str
    text: str


class Ready(msgspec.Struct, kw_only=True, omit_defaults=True):
    """`alarms`: what stops every sale, work that is stuck, and vendors that have been away for long; with any, `status` is `degraded`. `clock` is
    `trusted`, or the sentence why not: then nothing is sold (clock-2). `clocks_differ`: the sites whose clock differs from
    ours, with the difference (clock-1). `mark`: what is wrong with the mark (loss-1).
    `sites`: each site's link, for whoever looks; it does not count. `books`: whether each site's books agree with ours (loss-8).
    `backups`: `none` where none are configured, else `none yet`, `good`, `late` or `failing`.
    `possible_loss`: per site, sales of ours that no other machine holds, the oldest since `possible_loss_since`; `second_machine` is `none`
    where the hub does without, `held`, or `away` (loss-7).
    `halted`: the bays (`all`: the site) whose sales are stopped here until a person has looked; `status` is then `degraded`.
    `recovery`: the sites whose books here are `fenced`, `repairing` or `retired`; `unvouched`: those whose repair waits for a person's word that
    the hub before this one is off (loss-1, loss-5). Either makes the status `degraded`.
    `disk` is `low` when the room for the books is nearly used up (stream-9)."""

    status: str
    alarms: list[Alarm] = []
    sites: dict[str, str]
    books: dict[str, str]
    backups: str
    disk: str = ""
    recovery: dict[str, str] = {}
    unvouched: list[str] = []
    halted: dict[str, list[str]] = {}
    second_machine: str
    possible_loss: dict[str, int]
    possible_loss_since: datetime | None = None
    clock: str = "trusted"
    clocks_differ: dict[str, float] = {}
    mark: str = ""


@get("/health/live", include_in_schema=False)
async def live() -> Response[Health]:
    return answer(Health(status="live"))


@get("/health/ready", include_in_schema=False)
async def ready(request: Request) -> Response[Ready]:
    hub: Hub = request.app.state["hub"]
    if hub.db.failing:
        raise Unavailable("The books cannot be written." if hub.db.damaged is None else "The books are damaged.")
    look = hub.conditions.look()
    try:
        states, second, troubles = look.states, look.second, look.troubles
        degraded = bool(look.judged(OF_HEALTH).open)
    except (sqlite3.Error, Failure):
        raise Unavailable("The books cannot be read.") from None
    links, books = {s.site_id: s.link for s in states}, {s.site_id: _books(s) for s in states}
    disk = "low" if look.disk.low else ""
    backups = look.backups
    differ = {s.site_id: s.skew_s for s in states if s.skew_shown}
    halted = {s.site_id: [one.resource_id or "all" for one in s.halted] for s in states if s.halted}
    recovery, unvouched = {s.site_id: s.recovery for s in states if s.recovery != "sound"}, [s.site_id for s in states if s.unvouched]
    doubt = look.doubt
    alarms = [Alarm(code="clock_untrusted", text=f"Nothing can be sold until the time is confirmed. {doubt}")] if doubt else []
    alarms += [Alarm(code=one.code, text=one.text) for one in troubles]
    return answer(Ready(status="degraded" if degraded else "ready", alarms=alarms, recovery=recovery, unvouched=unvouched, halted=halted,
                        sites=links, books=books, backups=backups.status, disk=disk,
                        clock=doubt or "trusted", clocks_differ=differ, mark=look.mark_said, second_machine=second.state,
                        possible_loss={s: loss.sales for s, loss in second.possible_loss.items()},
                        possible_loss_since=moment_or_none(second.since_at)))  # fmt: skip


def _books(state: LinkState) -> str:
    if state.doubtful:
        return "differ; a person must look"
    if not state.books.compared_at:
        return "not compared yet"
    return "differ; being mended" if state.books.differing or state.books.answered_differing else "agree"


HANDLERS = [live, ready]
