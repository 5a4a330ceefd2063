"""The named rules of the link between a site and the hub, each in a sentence or two, and the guards that hold them.

For `make rules`, for tests that name the rule they hold, and for whoever reads a name in a comment and wants to know what it promises.
Not here: how a rule is kept; that is in `shared.ledger`. Pure data.
Invariant: every rule has tests marked with its name, and every guard belongs to exactly one rule.
"""

from __future__ import annotations

from typing import NamedTuple


class Rule(NamedTuple):
    """`guards` are names of `shared.ledger.desk.GUARDS`."""

    name: str
    words: str
    guards: tuple[str, ...] = ()


RULES: tuple[Rule, ...] = (
    Rule(
        "B5",
        "A slot of a bay has at most one claim, whoever wants it and for whatever reason; the database itself refuses a second.",
        guards=("claim_is_exclusive", "breach_halts"),
    ),
    Rule(
        "terr-1",
        "The site sells what ends before the line of the bay, the hub what begins after it. The line is read in the transaction that takes the"
        " claim, with the stream of the site locked.",
        guards=("sell_own_only",),
    ),
    Rule(
        "terr-2",
        "Only the hub raises a line, by its own clock, while the site is heard, one step at a time and never beyond a constant. It stops before"
        " any claim of the hub that the site has not been told of.",
        guards=("release_needs_fresh_link", "release_stops_at_untold", "one_release_waiting", "release_ahead_max", "lines_only_rise"),
    ),
    Rule(
        "terr-3",
        "The site's line rises when the release is applied in its turn, so the site then knows every sale the hub made below it.",
    ),
    Rule(
        "terr-4", "For a time that lies across the line the hub first raises the line to its end, then the site is asked to sell it whole."
    ),
    Rule(
        "terr-5",
        "No right comes back because time has passed. Staff may sell a named slot over the line, with a warning; if the hub has sold it, the"
        " hub's guest has it and the other is found a place.",
        guards=("override_yields",),
    ),
    Rule(
        "terr-6",
        "Who may not sell asks who may. An id is decided once: the same request gets the same answer, another under that id is refused; and"
        " 'not mine' is no decision, so the other side may then decide.",
        guards=("decided_once", "same_body", "not_mine_is_no_answer", "owner_judges_hours"),
    ),
    Rule(
        "terr-7",
        "While the sides do not hear each other each sells its own and says no to the rest, with what it can offer; neither promises for the"
        " other.",
        guards=("ask_only_when_up",),
    ),
    Rule("terr-8", "The bays are released at different distances, so that in any near hour of a cut both sides have something to sell."),
    Rule(
        "terr-9",
        "A request carries the time until which an answer is wanted and is refused after it. Until it is answered the customer may take it"
        " back without a fee; a cancel has no such limit.",
        guards=("answer_by",),
    ),
    Rule(
        "terr-10",
        "A group is sold whole or not at all: our own bays wait claimed while the other side is asked once for the rest, and its answer"
        " settles all of them.",
        guards=("pending_is_claimed",),
    ),
    Rule(
        "stream-1",
        "A message is written in the transaction of the change it tells of, and numbered there; nothing leaves before the commit.",
    ),
    Rule(
        "stream-2",
        "Messages are applied in order and once, together with the position and the answers they cause. Repeated ones are dropped, missing"
        " ones are sent again.",
        guards=("applied_once", "no_gap"),
    ),
    Rule("stream-3", "What was applied is acknowledged with every batch, and within a second by an empty one; a batch has a largest size."),
    Rule(
        "stream-4",
        "The link is up while the other side has lately answered a question that we asked; anything else may be an echo of the past.",
        guards=("only_nonce_counts",),
    ),
    Rule("stream-5", "Presence is shown and a last will is a quick notice of loss, but a kept 'present' never makes a link up."),
    Rule(
        "stream-6",
        "The broker may lose, repeat, reorder or forget. A message of no consequence that is not understood is kept and passed over; one that"
        " takes or frees slots stops its stream there and raises an alarm. A site speaks of itself only.",
        guards=("must_understand_stops",),
    ),
    Rule(
        "stream-7",
        "Every row carries a hash over all before it, so a side that was set back to an old copy is noticed instead of followed.",
        guards=("chain_continues",),
    ),
    Rule(
        "stream-8",
        "What has happened is always taken in: a sale that finds its slots taken is stored, marked displaced, and told.",
        guards=("facts_never_fail",),
    ),
    Rule("stream-9", "However long a cut lasts, what is to be told waits on disk and no local sale is refused for it."),
    Rule(
        "own-1",
        "Only the owner changes a booking, and forward only. A move is a new booking of the same order in the place of the old.",
        guards=("owner_only",),
    ),
    Rule("own-2", "Who came and went is the site's to say, in a document of its own, whoever sold the slot and however long the cut."),
    Rule(
        "own-3",
        "Slots that the hub gives up stay claimed until the site has answered. A guest who is in the bay keeps it, and what was to replace"
        " the booking is taken back.",
        guards=("free_on_answer", "checked_in_stays"),
    ),
    Rule(
        "own-4",
        "A move over the line asks for the new first and gives up the old when it is granted. Whoever cancels the old meanwhile holds neither;"
        " whoever only drops the change still has one.",
        guards=("withdraw_dead_move",),
    ),
    Rule("own-5", "The waiting list is the hub's; what it offers on a slot of the site it asks the site to hold."),
    Rule(
        "own-6",
        "Each kind of document has one owner and goes over whole, the newer in place of the older. Customers may be merged, and are found"
        " under their old ids.",
        guards=("newer_document",),
    ),
    Rule(
        "pass-1",
        "A pass names what was sold, the key and a sale number that is greater than all its seller has issued or heard of; the higher number"
        " is the later sale.",
        guards=("sale_number_heard",),
    ),
    Rule(
        "pass-2",
        "What the site knows of a booking counts more than its pass. A pass it does not know is good where only the hub could have sold the"
        " slot, and becomes a copy that goes up; of two for one slot the later sale is seated.",
    ),
    Rule(
        "pass-3",
        "Door PINs are leased to the hub ahead; none is given twice, and one without a PIN gets it when the site hears of the sale.",
        guards=("pin_once",),
    ),
    Rule(
        "pass-4",
        "A spare PIN for an outage is on the door ahead, for one booking and one hour of arrival. It is withdrawn when the line passes it and"
        " nobody has it; staff can void them all at once, and a use without a known booking is an alert.",
        guards=("outage_pin_once", "outage_pin_revoked_on_release"),
    ),
    Rule(
        "block-1",
        "The site takes its bays out of service whenever it must: free slots at once, taken ones when the booking there moves or ends.",
        guards=("block_waits",),
    ),
    Rule(
        "block-2",
        "A booking that lacks its slots is marked displaced; its owner puts it elsewhere by the house's rule, or people do, and nothing of the"
        " old place is given up before the new one is taken. Freed slots go to the earliest displaced sale before"
        " anyone can buy them; shortly before the start the site itself finds another bay.",
        guards=("displaced_first",),
    ),
    Rule(
        "loss-1",
        "A side that came back from a backup is fenced: it sells, decides and notifies nothing, but its doors work.",
        guards=("fence_holds", "behind_is_fenced", "older_than_mark"),
    ),
    Rule(
        "loss-2",
        "There is one way to repair: the site ends the old streams and tells all, the hub merges, the site opens again.",
        guards=("repair_takes_max", "both_fenced_go_far", "merge_keeps_cancelled", "owed_stays_owed"),
    ),
    Rule(
        "loss-3",
        "A sale that both sides had is never sold again and survives the loss of either disk; what nobody had is found again.",
    ),
    Rule(
        "loss-4",
        "A restored site sells nothing below the hub's line of that moment until a person says what was sold there.",
        guards=("floor_holds",),
    ),
    Rule(
        "loss-5",
        "Every installation has a number that only grows; an older box that returns is retired.",
        guards=("old_box_retires", "new_hub_is_vouched"),
    ),
    Rule(
        "loss-6",
        "A site follows one hub; another needs the operator's key. Each can be rebuilt from the other.",
        guards=("one_hub",),
    ),
    Rule(
        "loss-7",
        "A sale for a dark site is promised when two machines have it, or the possible loss is shown.",
        guards=("two_machines_hold",),
    ),
    Rule(
        "loss-8",
        "Both sides compare digests daily and after every cut, and the owner sends again what differs. What that does not settle is for people.",
        guards=("digests_resend",),
    ),
    Rule(
        "clock-1",
        "Every answered question measures the difference of the clocks. Beyond a minute nothing is released; passes are judged with as much leeway.",
        guards=("skew_stops_release",),
    ),
    Rule("clock-2", "A box that cannot trust its clock sells nothing and says why.", guards=("trusted_clock",)),
)

BY_NAME: dict[str, Rule] = {rule.name: rule for rule in RULES}


def rule_of(guard: str) -> Rule | None:
    """The rule that a guard belongs to; None for a name that is no guard."""
    return next((rule for rule in RULES if guard in rule.guards), None)
