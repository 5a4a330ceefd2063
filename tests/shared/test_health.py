"""When a failing bay leaves sale, and when it comes back (M3)."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from shared.health import TOGETHER_S, Sign, Track, decide, follow, well_for_s
from shared.policy import Health

NOW = 1_795_276_800
RULE = Health()
MIN = 60
SILENT, BROKEN = Sign(kind="silent", why="Its PC is off."), Sign(kind="broken", why="TrackMan does not run on its PC.")
GOOD, RESTING, UNKNOWN = Sign(kind="good"), Sign(kind="resting"), Sign(kind="unknown")
BAYS = ("box-1", "box-2", "box-3", "box-4")


def heard(*signs: tuple[int, Sign]) -> Track:
    """A bay that gave these signs, each so many minutes before now."""
    track = Track()
    for minutes_ago, sign in signs:
        track = follow(track, sign, NOW - minutes_ago * MIN)
    return follow(track, signs[-1][1], NOW)


def step(track: Track, expected: bool = True, rule: Health = RULE, others: Track | None = None) -> str:
    """What is done with box 1, while all others are `others`, by default well."""
    others = others or heard((60, GOOD))
    tracks = {"box-1": track} | dict.fromkeys(BAYS[1:], others)
    return decide(tracks, frozenset(BAYS if expected else ()), rule, NOW)["box-1"]


def test_a_bay_that_has_failed_for_five_minutes_leaves_sale_where_somebody_is_expected():
    assert step(heard((5, SILENT))) == "take"
    assert step(heard((5, BROKEN))) == "take"
    assert step(heard((4, SILENT))) == "none"


def test_with_nobody_expected_it_leaves_sale_later_so_that_nobody_buys_it():
    assert step(heard((29, SILENT)), expected=False) == "none"
    assert step(heard((30, SILENT)), expected=False) == "take"


def test_what_is_unknown_or_at_rest_takes_nothing_out():
    for sign in (UNKNOWN, RESTING, GOOD):
        assert step(heard((600, sign))) == "none"
    assert step(heard((20, SILENT), (4, UNKNOWN), (3, SILENT))) == "none", "the count begins anew after a break"


def test_a_bay_that_is_out_is_not_well_because_somebody_restarts_it():
    out = msgspec.structs.replace(heard((30, SILENT)), taken_at=NOW - 25 * MIN, takes=(NOW - 25 * MIN,))
    restarted = follow(follow(out, RESTING, NOW - 14 * MIN), RESTING, NOW)
    assert step(restarted) == "none"
    assert step(follow(follow(restarted, GOOD, NOW - 10 * MIN), GOOD, NOW)) == "lift"


def test_a_pc_that_is_off_while_the_bay_is_closed_and_nobody_is_due_rests_and_counts_from_then_on():
    night = follow(heard((60, GOOD)), SILENT, NOW - 40 * MIN, in_use=False)
    assert (night.kind, night.fails) == ("resting", False)
    assert step(follow(night, SILENT, NOW, in_use=False)) == "none"
    opened = follow(night, SILENT, NOW - 5 * MIN)
    assert step(follow(opened, SILENT, NOW)) == "take"
    assert opened.failing_at == NOW - 5 * MIN
    assert follow(night, BROKEN, NOW, in_use=False).fails, "who says what is wrong is not at rest"
    out = msgspec.structs.replace(heard((40, SILENT)), taken_at=NOW - 30 * MIN, takes=(NOW - 30 * MIN,))
    assert step(follow(out, SILENT, NOW, in_use=False)) == "keep", "what is out does not come back by its night's rest"


def test_bays_that_fall_silent_together_are_asked_about():
    fell = heard((6, SILENT))
    assert step(fell, others=heard((60, GOOD), (5, SILENT))) == "ask"
    assert step(fell, others=heard((60, SILENT))) == "take", "the others fell silent long before"
    assert step(heard((6, BROKEN)), others=heard((6, BROKEN))) == "take", "whoever says what is wrong is there"
    alone = decide({"box-1": fell}, frozenset(BAYS), RULE, NOW)
    assert alone == {"box-1": "ask"}, "one bay alone cannot be told apart from whoever watches it"


def test_staff_can_have_it_sold_all_the_same_and_the_rule_can_be_off():
    track = heard((60, SILENT))
    assert step(msgspec.structs.replace(track, spared_until=NOW + 1)) == "none"
    assert step(follow(msgspec.structs.replace(track, spared_until=NOW), SILENT, NOW)) == "take"
    assert step(track, rule=Health(by_rule=False)) == "none"


def test_it_comes_back_when_it_has_been_well_for_ten_minutes_and_waits_longer_every_time():
    def taken(times: int, *signs: tuple[int, Sign]) -> Track:
        return msgspec.structs.replace(heard(*signs), taken_at=NOW - 3600, takes=tuple(NOW - 3600 * n for n in range(1, times + 1)))

    assert step(taken(1, (10, GOOD))) == "lift"
    assert step(taken(1, (9, GOOD))) == "none"
    assert step(taken(1, (10, SILENT))) == "keep"
    assert step(taken(1, (10, UNKNOWN))) == "none", "unknown puts nothing back"
    assert step(taken(2, (19, GOOD))) == "none"
    assert step(taken(2, (20, GOOD))) == "lift"
    assert step(taken(4, (600, GOOD))) == "stay", "after four times in a day people put it back"


# ---- for every story
stories = st.lists(
    st.tuples(st.integers(1, 400), st.lists(st.sampled_from([GOOD, SILENT, BROKEN, RESTING, UNKNOWN]), min_size=4, max_size=4), st.booleans(), st.booleans()),
    min_size=1, max_size=60,
)  # fmt: skip


@given(stories)
def test_whatever_happens_only_what_failed_without_a_break_leaves_sale_and_only_what_is_well_comes_back(story):
    """A day of any signs: the tracks are led by the rule alone, as the service does."""
    tracks, now, failing, well = {bay: Track() for bay in BAYS}, NOW, dict.fromkeys(BAYS, 0), dict.fromkeys(BAYS, 0)
    for seconds, signs, expected, in_use in story:
        now += seconds
        for bay, sign in zip(BAYS, signs, strict=True):
            rests = sign.kind == "silent" and not in_use and not tracks[bay].taken_at
            tracks[bay] = follow(tracks[bay], sign, now, in_use=in_use)
            failing[bay] = (failing[bay] or now) if sign.kind in ("silent", "broken") and not rests else 0
            well[bay] = (well[bay] or now) if sign.kind in ("good", "resting") else 0
        steps = decide(tracks, frozenset(BAYS if expected else ()), RULE, now)
        for bay, done in steps.items():
            track = tracks[bay]
            if done == "take":
                assert failing[bay] and now - failing[bay] >= RULE.broken_min * 60 and not track.taken_at
                tracks[bay] = msgspec.structs.replace(track, taken_at=now, takes=(*track.takes, now))
            elif done == "lift":
                assert track.taken_at and well[bay] and now - well[bay] >= well_for_s(track, RULE) >= RULE.healthy_min * 60
                tracks[bay] = msgspec.structs.replace(track, taken_at=0)
            assert len(tracks[bay].takes) <= RULE.takes_max


@given(st.integers(1, 8), st.integers(1, 8), st.data())
def test_more_than_half_falling_silent_at_one_moment_never_leaves_sale(count, silent, data):
    silent = min(silent, count)
    ages = data.draw(st.lists(st.integers(0, TOGETHER_S // 2), min_size=silent, max_size=silent))
    tracks = {f"box-{n}": follow(Track(), SILENT, NOW - 600 - age) for n, age in enumerate(ages)}
    tracks |= {f"box-{n}": follow(Track(), GOOD, NOW - 900) for n in range(silent, count)}
    steps = decide(
        {bay: follow(track, SILENT if track.fails else GOOD, NOW) for bay, track in tracks.items()}, frozenset(tracks), RULE, NOW
    )
    assert {steps[f"box-{n}"] for n in range(silent)} == {"ask" if 2 * silent > count else "take"}
