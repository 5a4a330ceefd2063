"""Holds: slots kept while a guest fills the form (B6). Only the owner's clock ends one (terr-6); the stream does not tell of it,
which is why a release stops at it (terr-2)."""

from __future__ import annotations

import msgspec

from ..errors import Refused, refuse
from ..messages import HoldDeclined, HoldDropped, HoldGranted, HoldProlonged, HoldRequest
from ..model import Hold
from ..runtime.database import Tx
from . import claims, lines, locked, records, standing, streams
from .desk import Desk

replace = msgspec.structs.replace


def hold(tx: Tx, desk: Desk, h: Hold, *, link_up: bool) -> Hold:
    """Holds the interval here, or asks its owner (own-5, terr-6). The same id again gives the same hold.

    Refuses: `slot_taken`, `slot_being_released`, `id_reused`, `site_unreachable` / `hub_unreachable`.
    """
    stream = standing.require_side(tx, desk, h.site_id)
    known = records.hold(tx, h.id)
    if known is not None:
        if (known.resource_id, known.start, known.end) != (h.resource_id, h.start, h.end):
            raise refuse("id_reused", "This hold's id was used for another time.")
        return known
    verdict = lines.verdict(tx, desk, h.resource_id, h.claimed)
    if verdict == "straddles" and desk.side == "hub":
        if lines.release_for(tx, desk, h.site_id, h.resource_id, h.claimed, link_fresh=link_up):
            verdict = "theirs"
        elif link_up:
            raise refuse("straddles_line", "This time cannot be held just now. Please choose another time.")
    if verdict == "mine":
        return _grant(tx, desk, h)
    if not link_up or stream.stopped:
        raise unreachable(desk)
    asked = replace(h, status="asked", expires_at=0)
    records.put_hold(tx, asked)
    streams.append(tx, desk, h.site_id, HoldRequest(hold=asked, answer_by=desk.now() + desk.limits.answer_by_s))
    return asked


def unreachable(desk: Desk):
    if desk.side == "hub":
        return refuse("site_unreachable", "The facility cannot be reached just now, and only it can sell this time.", retry_after_s=30)
    return refuse("hub_unreachable", "The booking centre cannot be reached just now, and only it can sell this time.", retry_after_s=30)


def _grant(tx: Tx, desk: Desk, h: Hold) -> Hold:
    lines.refuse_below_waiting(tx, desk, h.resource_id, h.claimed)
    claims.take(tx, desk, h.resource_id, h.claimed, "hold", h.id)
    return records.put_hold(tx, replace(h, status="held", expires_at=desk.now() + desk.limits.hold_s))


def decide(tx: Tx, desk: Desk, message: HoldRequest) -> None:
    """Answers a HoldRequest of the other side, once."""
    h = message.hold
    known = records.hold(tx, h.id)
    if known is not None and known.status != "asked":
        _answer(tx, desk, known)
        return
    if lines.verdict(tx, desk, h.resource_id, h.claimed) != "mine":
        streams.append(tx, desk, h.site_id, HoldDeclined(hold_id=h.id, code="not_mine", detail="This time is sold by the other side."))
        return
    if desk.now() > message.answer_by and desk.guard("answer_by"):
        known = records.put_hold(tx, replace(h, status="declined", reason="answer_late"))
        _answer(tx, desk, known)
        return
    known = try_or(
        lambda: _grant(tx, desk, h), lambda refusal: records.put_hold(tx, replace(h, status="declined", reason=refusal.code)), tx
    )
    _answer(tx, desk, known)


def try_or(attempt, otherwise, tx: Tx):
    """Runs `attempt` in a savepoint; a refusal undoes it and becomes `otherwise(refusal)`."""
    try:
        return tx.attempt(attempt)
    except Refused as e:
        return otherwise(e.refusal)


def _answer(tx: Tx, desk: Desk, h: Hold) -> None:
    if h.status in ("held", "used"):
        streams.append(tx, desk, h.site_id, HoldGranted(hold_id=h.id, expires_at=h.expires_at))
    else:
        streams.append(tx, desk, h.site_id, HoldDeclined(hold_id=h.id, code=h.reason or h.status, detail="This time is not free."))


def granted(tx: Tx, message: HoldGranted) -> None:
    h = records.hold(tx, message.hold_id)
    if h is not None and h.status in ("asked", "held"):
        records.put_hold(tx, replace(h, status="held", expires_at=message.expires_at))


def declined(tx: Tx, message: HoldDeclined) -> None:
    h = records.hold(tx, message.hold_id)
    if h is not None and h.status == "asked":
        records.put_hold(tx, replace(h, status="declined", reason=message.code))


def prolong(tx: Tx, desk: Desk, hold_id: str) -> Hold:
    """The one extension (`hold_s` again). Refuses `hold_ended` where it is over or was extended before."""
    h = locked.hold(tx, hold_id)
    if h is None:
        raise refuse("hold_not_found", "This hold is not known.")
    if h.status != "held" or h.expires_at <= desk.now():
        raise refuse("hold_ended", "This hold is over. Please choose your time again.")
    if h.extended:
        raise refuse("hold_ended", "This hold has been extended once already.")
    if not _claimed_here(tx, h):
        streams.append(tx, desk, h.site_id, HoldProlonged(hold_id=h.id))
        return records.put_hold(tx, replace(h, extended=True))
    return records.put_hold(tx, replace(h, extended=True, expires_at=h.expires_at + desk.limits.hold_s))


def prolong_for_peer(tx: Tx, desk: Desk, message: HoldProlonged) -> None:
    h = records.hold(tx, message.hold_id)
    if h is None:
        return
    h = try_or(lambda: prolong(tx, desk, h.id), lambda refusal: h, tx)
    _answer(tx, desk, h)


def _claimed_here(tx: Tx, h: Hold) -> bool:
    return bool(tx.one("SELECT 1 FROM claims WHERE ref = :r AND kind = 'hold'", {"r": h.id}))


def drop(tx: Tx, desk: Desk, hold_id: str) -> None:
    """The guest went away: frees the slots, here or at the owner. Unknown or ended holds change nothing."""
    h = locked.hold(tx, hold_id)
    if h is None or h.status not in ("asked", "held"):
        return
    if not _claimed_here(tx, h):
        streams.append(tx, desk, h.site_id, HoldDropped(hold_id=h.id))
        records.put_hold(tx, replace(h, status="ended"))
        return
    end(tx, desk, hold_id)


def end(tx: Tx, desk: Desk, hold_id: str) -> None:
    claims.free(tx, desk, hold_id)
    h = records.hold(tx, hold_id)
    if h is not None and h.status == "held":
        records.put_hold(tx, replace(h, status="ended"))


def expire(tx: Tx, desk: Desk) -> int:
    """Ends the holds whose time is over on our clock. Returns how many. Holds of the other side are only closed in our list.

    Also on a fenced side: its copy sells nothing, and a sale that it has forgotten finds its slots free when the repair brings it back.
    """
    due = records.holds_expired(tx, desk.now())
    if not due:
        return 0
    locked.sites(tx, (h.site_id for h in due))
    over = records.holds_expired(tx, desk.now())  # again, now that nobody else can change them
    for h in over:
        end(tx, desk, h.id)
    return len(over)


def use(tx: Tx, desk: Desk, hold_id: str, kind: str, booking) -> bool:
    """The hold's slots pass to the booking without being free in between. False where the hold is over or is of another interval."""
    h = records.hold(tx, hold_id)
    if h is None or h.status != "held" or (h.resource_id, h.claimed) != (booking.resource_id, booking.claimed):
        return False
    if not _claimed_here(tx, h) or records.blocks_over(tx, h.resource_id, h.start, h.claimed.end):
        return False
    claims.hand_over(tx, h.id, kind, booking.id)
    records.put_hold(tx, replace(h, status="used"))
    return True
