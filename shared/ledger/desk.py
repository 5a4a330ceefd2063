"""Who keeps these books: the side, its clock, its ids, the named limits, and the guards that stand.

A guard is one line of safety with a name, so that a test can take it away and must then see the harm (`guards.GUARDS` lists them with the
rule each holds). Nothing in the product ever takes one away: `without` has no setting.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec

from ..errors import Refusal
from ..model import Side
from ..sealing import Sealer, SealKey

#: guard -> (protocol rule, what goes wrong without it)
GUARDS: dict[str, tuple[str, str]] = {
    "claim_is_exclusive": ("B5", "a taken slot is taken again"),
    "sell_own_only": ("terr-1", "a side sells what the line gives to the other"),
    "release_needs_fresh_link": ("terr-2", "the line moves while nobody is heard"),
    "release_stops_at_untold": ("terr-2", "a release passes over a hold or a pending part the site never heard of"),
    "one_release_waiting": ("terr-2", "a second release starts while the first is unapplied"),
    "release_ahead_max": ("terr-2", "a line moves further than the constant"),
    "lines_only_rise": ("terr-2", "a late release takes ground back"),
    "override_yields": ("terr-5", "an override keeps the slots of a hub sale"),
    "decided_once": ("terr-6", "the same id is decided a second time"),
    "same_body": ("terr-6", "another body rides on a decided id"),
    "not_mine_is_no_answer": ("terr-6", "a side decides what it is not entitled to"),
    "ask_only_when_up": ("terr-7", "a side asks into a cut and keeps the customer waiting"),
    "owner_judges_hours": ("terr-6", "a request is sold outside the opening hours the owner keeps"),
    "answer_by": ("terr-9", "a request stuck in a cut becomes a surprise sale"),
    "pending_is_claimed": ("terr-10", "a group's own part is sold while the other side decides"),
    "applied_once": ("stream-2", "a repeated row is applied again"),
    "no_gap": ("stream-2", "a row is applied before the one it follows"),
    "only_nonce_counts": ("stream-4", "an old hello makes a dead link look alive"),
    "must_understand_stops": ("stream-6", "a row that must be understood is passed over"),
    "chain_continues": ("stream-7", "a rolled-back copy is followed"),
    "facts_never_fail": ("stream-8", "a fact is refused for want of a slot and the stream stands still"),
    "owner_only": ("own-1", "a booking is changed by a side that does not own it"),
    "free_on_answer": ("own-3", "slots are freed before the site has answered"),
    "checked_in_stays": ("own-3", "a cancel wins over a checked-in guest"),
    "withdraw_dead_move": ("own-4", "a move is confirmed after its customer cancelled"),
    "newer_document": ("own-6", "an old document replaces a newer one"),
    "sale_number_heard": ("pass-1", "a sale number is issued that was already applied"),
    "pin_once": ("pass-3", "one PIN opens for two bookings"),
    "block_waits": ("block-1", "a freed slot under a block goes back on sale"),
    "displaced_first": ("block-2", "a freed slot is bought before the displaced guest has it"),
    "fence_holds": ("loss-1", "a restored copy sells what it sold before and forgot"),
    "behind_is_fenced": ("loss-1", "a side that its peer shows to be behind goes on selling"),
    "repair_takes_max": ("loss-2", "the hub's line falls below the site's in a repair"),
    "both_fenced_go_far": ("loss-2", "neither line can be trusted, and the hub sells what the site may hold"),
    "merge_keeps_cancelled": ("loss-2", "a cancelled booking comes back to life"),
    "owed_stays_owed": ("loss-2", "the hub resells what a restored site still seats"),
    "floor_holds": ("loss-4", "a restored or new box sells over what its predecessor sold"),
    "old_box_retires": ("loss-5", "a replaced box that wakes is followed again"),
    "new_hub_is_vouched": ("loss-5", "a hub sells under a new term while the old one may still run"),
    "one_hub": ("loss-6", "a site follows a hub it is not married to"),
    "outage_pin_once": ("pass-4", "one spare PIN is given to two bookings"),
    "outage_pin_revoked_on_release": ("pass-4", "a PIN that is nobody's goes on opening the door"),
    "digests_resend": ("loss-8", "what one side lost stays lost"),
    "older_than_mark": ("loss-1", "an older copy of the books sells what it sold before and forgot"),
    "skew_stops_release": ("clock-1", "a hub whose clock is wrong gives away what it should sell"),
    "trusted_clock": ("clock-2", "a box with a wrong clock sells"),
    "two_machines_hold": ("loss-7", "a customer is told of a sale that dies with this machine"),
    "breach_halts": ("B5", "a bay whose books are wrong goes on selling"),
}


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The named limits of the protocol, with its defaults. Seconds unless the name says otherwise."""

    link_silence_s: float = 10
    release_ahead_max_s: int = 72 * 3600
    ask_wait_s: float = 3
    answer_by_s: int = 60
    hello_every_s: float = 5
    hold_s: int = 600
    batch_max: int = 256
    batches_in_flight: int = 8
    ack_delay_s: float = 0.2
    displace_local_min: int = 30
    skew_stop_s: float = 60
    skew_show_s: float = 5
    clock_behind_s: float = 60
    clock_ahead_s: float = 3600
    pin_lease: int = 200
    pin_floor: int = 100
    pin_rest_s: int = 30 * 86400
    outage_ahead_s: int = 72 * 3600
    outage_pins_max: int = 1500
    pin_digits: int = 6


class Desk:
    """Handed to every function of the ledger."""

    __slots__ = (
        "believed", "box_id", "chance", "clock", "clock_doubt", "grant", "judge_hours", "limits", "new_id", "opener", "seal_to", "sealer", "second_machine", "side",
        "skewed", "term", "without",
    )

    def __init__(
        self,
        side: Side,
        *,
        clock: Callable[[], float],
        new_id: Callable[[], str],
        chance: random.Random,
        box_id: str = "box-1",
        term: int = 1,
        limits: Limits | None = None,
        without: frozenset[str] = frozenset(),
    ):
        unknown = without - GUARDS.keys()
        assert not unknown, f"no such guard: {unknown}"
        self.side, self.clock, self.new_id, self.chance = side, clock, new_id, chance
        self.box_id, self.term = box_id, term
        #: the word that shows that the hub granted this box its term (loss-5), until the hub has enrolled it
        self.grant = ""
        self.limits = limits or Limits()
        self.without = without
        #: what the owner judges besides slots and blocks (terr-6): `(tx, booking) -> Refusal | None`; `frontdesk.Houses` sets it
        self.judge_hours: Callable[..., Refusal | None] = lambda tx, booking: None
        #: whether a sale counts as made only when a second machine holds it (loss-7); the hub sets it from its config
        self.second_machine = False
        #: why this machine's clock is not to be trusted (clock-2), as a sentence; empty where it is
        self.clock_doubt: Callable[[], str] = lambda: ""
        #: the time for the windows of passes: of a clock in doubt what it would show by now, had nobody moved it (unix seconds)
        self.believed: Callable[[], float] = clock
        #: this box's key for secrets at rest (pass-4); None: it keeps none
        self.sealer: Sealer | None = None
        #: at the hub: what is sealed to it on its way opens with this; at the site: the key of the hub that secrets are sealed to, empty as long
        #: as none was heard that the hub's signing key vouches for
        self.opener: SealKey | None = None
        self.seal_to = ""
        #: the sites whose clock differs from ours by more than `skew_stop_s`: for them no line is raised (clock-1). The pump keeps it
        self.skewed: set[str] = set()

    def now(self) -> int:
        return int(self.clock())

    def now_slot(self) -> int:
        return int(self.clock()) // 900

    def guard(self, name: str) -> bool:
        """True: the guard stands. False only in a test that has taken it away."""
        return name not in self.without
