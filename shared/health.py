"""When a failing bay leaves sale, and when it comes back (M3). Pure: what was heard of the bays in, what to do out.

Not here: hearing machines, making blocks, moving guests. Invariants: only what was heard without a break counts, so unknown takes nothing out
and puts nothing back; a PC that is silent while its bay is closed was switched off for the night; bays that fall silent together are asked
about, since the power, the network or whoever watches is likelier to have failed than all of them; what staff say stands for as long as they
said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from shared.model import Frozen
from shared.policy import Health

DAY_S = 86_400
#: bays that fell silent within so long of each other fell silent together
TOGETHER_S = 180

#: silent: whoever looks after its PC says that it is off, and nobody hears it; broken: it says itself that nobody can play there; resting: it
#: was switched off on purpose; unknown: nobody has been heard
SignKind = Literal["good", "silent", "broken", "resting", "unknown"]
#: take: out of sale; lift: back; ask: staff decide; stay: out, and by itself never back; keep: out for longer; none: nothing to do
Step = Literal["take", "lift", "ask", "stay", "keep", "none"]


class Sign(Frozen):
    """What is known of a bay now; `why` is a sentence where it fails."""

    kind: SignKind
    why: str = ""


class Track(Frozen):
    """What has been heard of one bay. Times in unix seconds, 0: not so.

    `failing_at`: since when it has failed without a break, as `kind` and `why` say; `good_at`: since when it has been well. `taken_at`: when it
    was taken out of sale by this rule, `takes` every such time of the last day. `spared_until`: staff have it sold until then whatever it does.
    """

    kind: SignKind = "unknown"
    why: str = ""
    failing_at: int = 0
    good_at: int = 0
    taken_at: int = 0
    takes: tuple[int, ...] = ()
    spared_until: int = 0

    @property
    def fails(self) -> bool:
        return self.failing_at > 0

    @property
    def is_heard(self) -> bool:
        return self.failing_at > 0 or self.good_at > 0


def follow(track: Track, sign: Sign, now_at: int, *, in_use: bool = True) -> Track:
    """The track with what is heard now. A break in hearing begins both counts anew. A bay that rests is well, but one that was taken out has not
    shown by its restart that it is. `in_use`: the bay is open, or somebody is there or due; otherwise a PC that is silent was switched off for the
    night, and rests."""
    if sign.kind == "silent" and not in_use and not track.taken_at:
        sign = Sign(kind="resting")
    fails, well = sign.kind in ("silent", "broken"), sign.kind == "good" or (sign.kind == "resting" and not track.taken_at)
    return msgspec.structs.replace(
        track,
        kind=sign.kind,
        why=sign.why if fails else "",
        failing_at=(track.failing_at or now_at) if fails else 0,
        good_at=(track.good_at or now_at) if well else 0,
        takes=tuple(at for at in track.takes if now_at - at < DAY_S),
        spared_until=track.spared_until if now_at < track.spared_until else 0,
    )


def decide(tracks: Mapping[str, Track], expected: frozenset[str], rule: Health, now_at: int) -> dict[str, Step]:
    """What to do with each bay. `expected`: bays in which somebody is, or is due within `soon_min`."""
    return {bay: _step(bay, track, tracks, bay in expected, rule, now_at) for bay, track in tracks.items()}


def _step(bay: str, track: Track, tracks: Mapping[str, Track], expected: bool, rule: Health, now_at: int) -> Step:
    if track.taken_at:
        return _back(track, rule, now_at)
    if not rule.by_rule or not track.fails or track.spared_until > now_at:
        return "none"
    failed_s = now_at - track.failing_at
    if failed_s < rule.broken_min * 60 or (not expected and failed_s < rule.alone_min * 60):
        return "none"
    return "ask" if fell_together(bay, tracks) else "take"


def _back(track: Track, rule: Health, now_at: int) -> Step:
    if track.fails:
        return "keep"
    if not track.good_at or now_at - track.good_at < well_for_s(track, rule):
        return "none"
    return "stay" if len(track.takes) >= rule.takes_max else "lift"


def well_for_s(track: Track, rule: Health) -> int:
    """How long it must be well before it comes back: twice as long with every further time within a day."""
    return rule.healthy_min * 60 * 2 ** max(0, len(track.takes) - 1)


def fell_together(bay: str, tracks: Mapping[str, Track]) -> bool:
    """Whether more than half of the bays that are heard of fell silent at one moment, this one among them. One that says itself what is wrong
    with it does not count: whoever says so is there."""
    mine = tracks[bay]
    if mine.kind != "silent":
        return False
    fell = [one for one in tracks.values() if one.kind == "silent" and one.fails and abs(one.failing_at - mine.failing_at) <= TOGETHER_S]
    return 2 * len(fell) > sum(one.is_heard for one in tracks.values())
