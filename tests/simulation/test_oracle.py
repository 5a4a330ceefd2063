"""What the oracle holds a day to where an answer is lost, two places are given at once, or people state what they cannot know."""

from itertools import count

import pytest

from tests.simulation.oracle import Oracle, Sale
from tests.simulation.run import Result, play
from tests.simulation.schedule import Action, Schedule

SITE, BAY = "truro", "truro.box-1"
WHOLE, REST = (4, 8), (4, 6)


def day(*actions: tuple[float, str, dict]) -> Result:
    drawn = [Action(at, no, kind, what) for no, (at, kind, what) in enumerate(actions)]
    return play(Schedule(seed=1, settings={"sites": [SITE], "bays": 4, "limits": {}}, actions=drawn), keep_log=True)


def sale(sale_id: str, at: tuple[int, int] = WHOLE, bay: str = BAY, *, of: str = "old", **more) -> Sale:
    return Sale(sale_id, of, SITE, bay, *at, "7", "site", **more)


@pytest.fixture
def oracle() -> Oracle:
    o = Oracle()
    o.wants(sale("old"))
    o.told_confirmed("old", BAY, *WHOLE)
    return o


def lost(o: Oracle, **statuses: str) -> list[str]:
    return o.judge_lost({booking_id: (status, True) for booking_id, status in statuses.items()})


# ---- the rest of a no-show's time (B15)
@pytest.mark.parametrize(("books", "good"), [
    ({"old": "confirmed"}, True), ({"old": "cancelled", "left": "confirmed"}, True),
    ({"old": "cancelled", "left": "cancelled"}, False), ({"old": "cancelled"}, False),
])  # fmt: skip
def test_of_a_no_show_whose_rest_was_to_be_sold_the_whole_stands_or_what_is_left(oracle, books, good):
    oracle.asks_rest("old")
    if "left" in books:
        oracle.told_rest(oracle.sales["old"], sale("left", REST, replaces="old"))
    assert (lost(oracle, **books) == []) is good and oracle.breaches == []


@pytest.mark.parametrize(("asked", "left"), [
    (False, sale("left", REST)), (True, sale("left", WHOLE)), (True, sale("left", (5, 6))),
    (True, sale("left", REST, "truro.box-2")), (True, sale("left", REST, of="other")),
])  # fmt: skip
def test_a_rest_for_which_nobody_asked_and_one_that_is_not_what_is_left_are_noticed(oracle, asked, left):
    if asked:
        oracle.asks_rest("old")
    oracle.told_rest(oracle.sales["old"], left)
    assert len(oracle.breaches) == 1


@pytest.mark.parametrize(("at", "twice"), [((6, 8), False), ((5, 8), True)])
def test_the_rest_may_be_sold_again_and_what_is_left_may_not(oracle, at, twice):
    oracle.asks_rest("old")
    oracle.told_rest(oracle.sales["old"], sale("left", REST, replaces="old"))
    oracle.wants(sale("next", at, of="next"))
    oracle.told_confirmed("next", BAY, *at)
    assert bool(oracle.breaches) is twice


@pytest.mark.parametrize(("commits", "answered", "sold"), [(1, False, 0), (2, False, 1), (3, True, 1)])
def test_a_site_that_dies_before_in_or_after_the_sale_of_a_rest_keeps_every_promise(commits, answered, sold):
    done = day(
        (3, "book", {"site": SITE, "how": "staff", "start": 8, "slots": 4, "who": 1, "bays": [1]}), (4, "pass", {"s": 8 * 900 + 900}),
        (5, "crash", {"machine": SITE, "commits": commits, "lose_last": False, "down_s": 0.15}), (5, "attend", {"of": 0, "state": "no_show"}),
    )  # fmt: skip
    assert done.failure == "" and done.counts.get("changes", 0) == sold
    assert any("the rest sold" in line for line in done.log) is answered


# ---- another place for a guest (B12)
PLACES = [
    ({"old": "cancelled", "one": "confirmed"}, True), ({"old": "confirmed", "one": "cancelled"}, False), ({"old": "cancelled", "one": "cancelled"}, False),
]  # fmt: skip


@pytest.mark.parametrize(("books", "good"), PLACES)
def test_who_was_told_another_place_has_that_one(oracle, books, good):
    oracle.told_placed(oracle.sales["old"], sale("one", bay="truro.box-2", replaces="old"))
    assert (lost(oracle, **books) == []) is good


@pytest.mark.parametrize("group", [False, True])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("how", ["seated", "came", "placed twice"])
def test_who_was_given_two_places_has_one_of_them_and_never_none(oracle, how, first, group):
    old = oracle.sales["old"]
    old.group = group
    places = count(2)

    def placed(sale_id: str) -> None:
        oracle.told_placed(old, sale(sale_id, bay=f"truro.box-{next(places)}", replaces="old"))

    def otherwise() -> None:
        if how == "placed twice":
            placed("two")
        elif how == "seated":
            oracle.told_seat("old", "truro.box-4")
        else:
            oracle.told_came("old")

    for told in (lambda: placed("one"), otherwise) if first else (otherwise, lambda: placed("one")):
        told()
    other = "two" if how == "placed twice" else "old"
    none = {"old": "cancelled", "one": "cancelled", "two": "cancelled"}
    assert [lost(oracle, **none | {one: "confirmed"}) for one in ("one", other)] == [[], []]
    assert lost(oracle, **none) != []


# ---- the floor (loss-4)
def test_staff_enter_nothing_below_the_floor_while_a_box_that_was_replaced_may_be_selling():
    done = day(
        (3, "lose_disk", {"site": SITE, "returns": True}), (20, "cut", {"site": SITE, "way": "both", "noticed": True}),
        (21, "old_box_wakes", {"site": SITE}), (21.5, "override", {"site": SITE, "bay": 1, "start": 2, "slots": 4, "who": 7}), (24, "heal", {"site": SITE}),
    )  # fmt: skip
    assert done.failure == "" and any("staff enter nothing" in line for line in done.log)
