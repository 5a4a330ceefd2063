"""Passes: what is written is read, nothing else is, and the door opens for exactly whom pass-2 says."""

from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import passes
from shared.errors import STATUS, Refusal, Suggestion
from shared.keys import KeyRing, SigningKey
from shared.model import FIRST_SLOT, LAST_SLOT, Attendance
from shared.passes import GUARDS, Admit, PassFacts, copy_of, facts_of, may_enter, read, window, write

SITE, HUB, STRANGER = (SigningKey.from_seed(letter * 32) for letter in (b"s", b"h", b"x"))
RING = KeyRing([SITE.public("site", "bedford"), HUB.public("hub")])
START = 1_990_000
FACTS = PassFacts(
    site_id="bedford",
    resource_id="bedford.box-1",
    start=START,
    end=START + 4,
    booking_id="testa-birdie-0001",
    key_id=HUB.id,
    sale_no=7,
    issued_at=START * 900 - 86_400,
)
BOOKING = copy_of(FACTS)
DURING = START * 900 + 60
CHECKED_IN = Attendance(booking_id=FACTS.booking_id, site_id="bedford", state="checked_in", at=DURING)


def replace(value, **changes):
    return msgspec.structs.replace(value, **changes)


def code_of(answer) -> str:
    return answer.code if isinstance(answer, Refusal) else "admitted"


def enter(facts=FACTS, copy=BOOKING, attendance=None, site_line=START + 100, now_at=DURING, **more):
    return may_enter(facts, copy, attendance, site_line, now_at, **more)


lower = "abcdefghijklmnopqrstuvwxyz0123456789"
mixed = lower + lower.upper()
names = st.text(lower + "-", max_size=31)


@st.composite
def any_facts(draw) -> PassFacts:
    site = draw(st.sampled_from(lower)) + draw(st.text(lower + "-", min_size=1, max_size=31))
    start = draw(st.integers(FIRST_SLOT, LAST_SLOT - 1))
    return PassFacts(
        site_id=site,
        resource_id=f"{site}.{draw(st.sampled_from(lower))}{draw(names)}",
        start=start,
        end=draw(st.integers(start + 1, min(start + 0xFFFF, LAST_SLOT))),
        booking_id=draw(st.sampled_from(mixed)) + draw(st.text(mixed + "_-", min_size=7, max_size=63)),
        key_id=HUB.id,
        sale_no=draw(st.integers(0, passes.SALE_NO_MAX)),
        issued_at=draw(st.integers(0, LAST_SLOT * 900)),
    )


# --- the token ---------------------------------------------------------------------------------------------------------------------


@given(any_facts())
def test_what_is_written_is_read_and_fits_a_qr_code(facts):
    token = write(facts, HUB)
    assert read(token, RING, facts.site_id) == facts
    assert len(token) < 300
    assert set(token) <= set("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"), "the QR code's alphanumeric set"


def test_the_longest_lawful_ids_still_fit():
    facts = replace(FACTS, site_id="b" * 32, resource_id="b" * 32 + "." + "x" * 32, booking_id="y" * 64, sale_no=passes.SALE_NO_MAX)
    assert len(write(facts, HUB)) == 299


@given(any_facts(), st.data())
def test_any_flipped_bit_is_refused(facts, data):
    token = write(facts, HUB)
    at, bit = data.draw(st.integers(0, len(token) - 1)), data.draw(st.integers(0, 7))
    changed = token[:at] + chr(ord(token[at]) ^ (1 << bit)) + token[at + 1 :]
    assert code_of(read(changed, RING, facts.site_id)) in ("pass_invalid", "pass_other_site")


def test_every_single_bit_of_one_token_is_needed():
    token = write(FACTS, HUB)
    for at in range(len(token)):
        for bit in range(8):
            changed = token[:at] + chr(ord(token[at]) ^ (1 << bit)) + token[at + 1 :]
            assert isinstance(read(changed, RING, "bedford"), Refusal), (at, bit)


@given(st.text(max_size=400) | st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", max_size=296).map(lambda text: "CB1." + text))
def test_any_text_gets_an_answer_and_is_refused(text):
    answer = read(text, RING, "bedford")
    assert answer.code == "pass_invalid" and answer.detail.endswith(".")


@pytest.mark.parametrize(
    ("token", "says"),
    [
        ("", "not one of our passes"),
        ("hello", "not one of our passes"),
        (None, "not one of our passes"),
        ("CB2.AAAA", "not one of our passes"),
        ("CB1.", "incomplete or damaged"),
        ("CB1.AAAA", "incomplete or damaged"),
        ("CB1.1890", "incomplete or damaged"),
        ("CB1." + "é" * 8, "incomplete or damaged"),
        ("CB1." + "A" * 296, "too long"),
        ("CB1." + "A" * 100_000, "too long"),
        (write(FACTS, HUB)[:-1], "incomplete or damaged"),
        (write(FACTS, HUB).lower(), "not one of our passes"),
        ("CB1." + write(FACTS, HUB)[4:].lower(), "incomplete or damaged"),
        (write(FACTS, HUB) + "A", "damaged"),
    ],
)
def test_what_is_no_pass_is_refused_with_its_reason(token, says):
    answer = read(token, RING, "bedford")
    assert answer.code == "pass_invalid" and says in answer.detail


def test_a_pass_with_changed_facts_is_refused():
    forged = passes._pack(replace(FACTS, end=FACTS.end + 8)) + HUB.sign(passes.DOMAIN, passes._pack(FACTS))
    answer = read("CB1." + passes._spell(forged), RING, "bedford")
    assert answer.code == "pass_invalid" and "changed or damaged" in answer.detail


def test_a_signature_made_for_a_quote_is_no_pass():
    body = passes._pack(FACTS)
    answer = read("CB1." + passes._spell(body + HUB.sign(b"clubos.quote.v1\0", body)), RING, "bedford")
    assert code_of(answer) == "pass_invalid"


def test_a_pass_signed_by_a_stranger_is_refused():
    answer = read(write(replace(FACTS, key_id=STRANGER.id), STRANGER), RING, "bedford")
    assert answer.code == "pass_invalid" and "does not know" in answer.detail


def test_a_pass_of_another_site_is_refused_as_such_whether_or_not_its_key_is_known():
    there = replace(FACTS, site_id="dartmouth", resource_id="dartmouth.box-1")
    assert read(write(there, HUB), RING, "bedford").code == "pass_other_site"
    assert read(write(replace(there, key_id=STRANGER.id), STRANGER), RING, "bedford").code == "pass_other_site"


def test_one_sites_key_signs_no_pass_of_another_site():
    ring = RING.add(STRANGER.public("site", "dartmouth"))
    answer = read(write(replace(FACTS, key_id=STRANGER.id), STRANGER), ring, "bedford")
    assert answer.code == "pass_invalid" and "may not issue" in answer.detail


def test_the_pass_of_an_ended_key_is_good_until_the_last_one_and_of_a_compromised_key_never():
    token = write(FACTS, HUB)
    assert read(token, RING.withdraw(HUB.id, FACTS.end * 900), "bedford") == FACTS
    assert "no longer accepted" in read(token, RING.withdraw(HUB.id, FACTS.end * 900 - 1), "bedford").detail
    assert "no longer accepted" in read(token, RING.withdraw_now(HUB.id), "bedford").detail


@pytest.mark.parametrize(
    "change",
    [
        {"site_id": "B"},
        {"resource_id": "dartmouth.box-1"},
        {"resource_id": "bedford"},
        {"booking_id": "short"},
        {"booking_id": "with\na-newline"},
        {"booking_id": "testa-birdie-0001\n"},
        {"end": START},
        {"start": 0},
        {"end": LAST_SLOT + 1},
        {"sale_no": -1},
        {"sale_no": 2**40},
        {"issued_at": -1},
        {"key_id": "xyz"},
        {"key_id": SITE.id},
    ],
)
def test_unlawful_facts_are_not_signed(change):
    with pytest.raises(ValueError):
        write(replace(FACTS, **change), HUB)


def test_every_code_of_a_pass_has_its_status():
    codes = {"pass_invalid", "pass_other_site", "already_cancelled", "declined", "pass_not_seated", "displaced"}
    assert codes | {"pass_early", "pass_expired", "already_checked_in"} <= set(STATUS)


# --- the window (D2, clock-1) ------------------------------------------------------------------------------------------------------


def test_the_window_is_from_15_minutes_before_to_15_minutes_after():
    assert window(START, START + 4) == (START * 900 - 900, (START + 4) * 900 + 900)
    assert window(START, START + 4, before_min=30, after_min=0) == (START * 900 - 1800, (START + 4) * 900)


def test_the_qr_image_is_shown_until_30_minutes_after_the_end():
    assert passes.shown_until(START) == START * 900 + 1800


@pytest.mark.parametrize(
    ("second", "code"),
    [(-901, "pass_early"), (-900, "admitted"), (0, "admitted"), (4499, "admitted"), (4500, "pass_expired")],
)
def test_the_window_is_kept_to_the_second(second, code):
    assert code_of(enter(now_at=START * 900 + second)) == code


def test_the_window_is_widened_by_five_minutes_at_most_whatever_was_measured():
    for skew_s in (301, 86400, -86400):
        assert code_of(enter(now_at=START * 900 - 1200, skew_s=skew_s)) == "admitted"
        assert code_of(enter(now_at=START * 900 - 1201, skew_s=skew_s)) == "pass_early"
        assert code_of(enter(now_at=START * 900 + 4799, skew_s=skew_s)) == "admitted"
        assert code_of(enter(now_at=START * 900 + 4800, skew_s=skew_s)) == "pass_expired"


def test_a_measured_skew_of_either_sign_widens_the_window_at_both_ends():
    for skew_s in (60, -60):
        assert code_of(enter(now_at=START * 900 - 960, skew_s=skew_s)) == "admitted"
        assert code_of(enter(now_at=START * 900 - 961, skew_s=skew_s)) == "pass_early"
        assert code_of(enter(now_at=START * 900 + 4559, skew_s=skew_s)) == "admitted"
        assert code_of(enter(now_at=START * 900 + 4560, skew_s=skew_s)) == "pass_expired"


def test_who_comes_too_early_is_told_how_long_to_wait():
    assert enter(now_at=START * 900 - 1500).retry_after_s == 600


statuses = st.sampled_from(["requested", "pending", "confirmed", "declined", "cancelling", "cancelled", "expired"])
copies = st.none() | st.builds(
    lambda status, displaced, sale_no: replace(BOOKING, status=status, displaced=displaced, sale_no=sale_no),
    statuses,
    st.booleans(),
    st.integers(5, 9),
)
attendances = st.none() | st.builds(
    lambda state, seat: replace(CHECKED_IN, state=state, seat=seat),
    st.sampled_from(["", "checked_in", "completed", "no_show"]),
    st.sampled_from(["", "bedford.box-1", "bedford.box-2"]),
)


@given(
    any_copy=copies,
    attendance=attendances,
    site_line=st.sampled_from([START - 4, START, START + 1, START + 4]),
    second=st.integers(-2000, 6000),
    skew_s=st.integers(-300, 300),
    seated=st.none() | st.integers(5, 9),
)
def test_no_door_opens_outside_the_window_and_the_skew_nor_against_the_books(any_copy, attendance, site_line, second, skew_s, seated):
    answer = may_enter(FACTS, any_copy, attendance, site_line, START * 900 + second, skew_s, seated)
    if isinstance(answer, Refusal):
        assert answer.code in STATUS and answer.detail.endswith(".")
        return
    opens_at, closes_at = window(FACTS.start, FACTS.end)
    assert opens_at - abs(skew_s) <= START * 900 + second < closes_at + abs(skew_s)
    assert answer.as_copy == (any_copy is None)
    if any_copy is None:
        assert FACTS.start >= site_line
    else:
        assert any_copy.status in ("confirmed", "cancelling")
        assert not any_copy.displaced or answer.resource_id == "bedford.box-2"
    if seated is not None and seated > FACTS.sale_no:
        assert answer.resource_id == "bedford.box-2", "only who plays elsewhere passes a higher sale number"


# --- pass-2 ------------------------------------------------------------------------------------------------------------------------


def test_a_known_confirmed_booking_is_admitted_whatever_the_line():
    for line in (START - 50, START, START + 50):
        assert enter(site_line=line) == Admit(resource_id="bedford.box-1")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("cancelled", "already_cancelled"),
        ("cancelling", "already_cancelled"),
        ("declined", "declined"),
        ("requested", "pass_not_seated"),
        ("pending", "pass_not_seated"),
        ("expired", "pass_expired"),
    ],
)
def test_a_known_bookings_status_beats_its_pass(status, code):
    for line in (START - 50, START + 50):
        assert code_of(enter(copy=replace(BOOKING, status=status), site_line=line)) == code


def test_a_booking_that_the_customer_withdrew_is_not_let_in():
    assert code_of(enter(copy=replace(BOOKING, withdrawn=True))) == "already_cancelled"


def test_a_cancel_that_crossed_the_check_in_does_not_lock_the_guest_out():
    assert enter(copy=replace(BOOKING, status="cancelling"), attendance=CHECKED_IN).again
    assert code_of(enter(copy=replace(BOOKING, status="cancelled"), attendance=CHECKED_IN)) == "already_cancelled"


def test_an_unknown_pass_at_or_above_the_line_is_good_and_becomes_a_copy():
    answer = enter(copy=None, site_line=START)
    assert answer == Admit(resource_id="bedford.box-1", as_copy=True)
    copy = copy_of(FACTS)
    assert facts_of(copy, FACTS.key_id, FACTS.issued_at) == FACTS
    assert (copy.status, copy.seller, copy.version, copy.sale_no) == ("confirmed", "hub", 0, 7)
    assert enter(copy=copy, site_line=START + 50) == Admit(resource_id="bedford.box-1"), "from then on it is known"


def test_below_the_floor_of_a_restored_site_an_unknown_pass_is_believed_where_nobody_is_known_to_be_seated():
    assert enter(copy=None, floor=START + 4).as_copy
    assert enter(copy=None, floor=START).code == "pass_not_seated"
    assert enter(copy=None, floor=START + 4, seated_sale_no=FACTS.sale_no - 1).code == "pass_not_seated"


def test_an_unknown_pass_below_the_line_is_refused():
    assert code_of(enter(copy=None, site_line=START + 1)) == "pass_not_seated"


def test_of_two_passes_for_one_slot_the_higher_sale_number_is_seated_whoever_comes_first():
    newer = replace(FACTS, booking_id="testa-eagle-0002", sale_no=9)
    # the newer sits: the older is refused, known or not
    assert code_of(enter(seated_sale_no=9)) == "pass_not_seated"
    assert code_of(enter(copy=None, site_line=START, seated_sale_no=9)) == "pass_not_seated"
    # the older sits: the newer takes the place
    answer = enter(newer, copy=None, site_line=START, seated_sale_no=7)
    assert answer == Admit(resource_id="bedford.box-1", as_copy=True, unseats=True)


def test_of_two_passes_with_one_number_who_sits_stays():
    assert code_of(enter(seated_sale_no=7)) == "pass_not_seated"
    assert enter(attendance=CHECKED_IN, seated_sale_no=7).again, "unless the number is its own"


def test_no_order_of_two_passes_seats_both():
    one, two = replace(FACTS, sale_no=3), replace(FACTS, booking_id="testa-eagle-0002", sale_no=8)
    for order in ((one, two), (two, one), (one, two, one), (two, one, two)):
        seated: dict[str, int] = {}
        for facts in order:
            others = [number for booking_id, number in seated.items() if booking_id != facts.booking_id]
            mine = replace(CHECKED_IN, booking_id=facts.booking_id) if facts.booking_id in seated else None
            answer = enter(facts, copy=copy_of(facts), attendance=mine, seated_sale_no=max(others, default=None))
            if isinstance(answer, Admit):
                seated = {facts.booking_id: facts.sale_no}
        assert seated == {two.booking_id: 8}


def test_the_same_pass_opens_the_door_again_and_does_not_check_in_twice():
    assert enter(attendance=CHECKED_IN) == Admit(resource_id="bedford.box-1", again=True)
    assert enter(attendance=replace(CHECKED_IN, state="completed"), now_at=FACTS.end * 900 + 300).again, "for the jacket left behind"
    assert code_of(enter(attendance=CHECKED_IN, now_at=FACTS.end * 900 + 900)) == "pass_expired"


def test_another_pass_for_a_booking_that_is_checked_in_is_refused():
    assert code_of(enter(replace(FACTS, sale_no=8), attendance=CHECKED_IN)) == "already_checked_in"


def test_a_late_guest_is_let_in_unless_the_rest_was_sold():
    no_show = replace(CHECKED_IN, state="no_show")
    assert enter(attendance=no_show, now_at=DURING + 1500) == Admit(resource_id="bedford.box-1")
    assert code_of(enter(attendance=no_show, now_at=DURING + 1500, seated_sale_no=12)) == "pass_not_seated"


def test_a_displaced_booking_is_told_where_to_go():
    way = Suggestion("bedford.box-2", FACTS.start * 900, FACTS.end * 900, 3500, "CAD")
    displaced = replace(BOOKING, displaced=True)
    answer = enter(copy=displaced, ways=(way,))
    assert answer.code == "displaced" and answer.suggestions == (way,) and "shown" in answer.detail
    assert "support" in enter(copy=displaced).detail


def test_a_reseated_booking_is_admitted_to_its_new_place_and_contests_the_old_one_no_more():
    displaced, reseated = replace(BOOKING, displaced=True), replace(CHECKED_IN, state="", seat="bedford.box-2")
    assert enter(copy=displaced, attendance=reseated, seated_sale_no=12) == Admit(resource_id="bedford.box-2")


def test_a_pass_that_does_not_match_the_booking_it_names_is_refused():
    for change in ({"resource_id": "bedford.box-2"}, {"start": START + 1}, {"end": START + 8}):
        assert code_of(enter(replace(FACTS, **change))) == "pass_invalid"


# --- pass-1: sale numbers ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2**30))), st.integers(0, 2**30))
def test_a_sale_number_is_greater_than_every_one_issued_or_heard(events, counter):
    known = [counter]
    for issue, number in events:
        counter = passes.next_sale_no(counter) if issue else passes.heard(counter, number)
        assert not issue or counter > max(known)
        known.append(counter if issue else number)
    assert counter == max(known)


def test_a_repair_raises_both_counters_above_everything_merged():
    assert passes.after_repair(41, 7) == 1_000_041
    assert passes.after_repair() == 1_000_000


# --- each guard has a twin: without it the wrong pass gets through ------------------------------------------------------------------


@dataclass
class Read:
    """A token that `read` refuses because of one guard."""

    token: str
    ring: KeyRing = RING

    def code(self, *without: str) -> str:
        return code_of(read(self.token, self.ring, "bedford", without=frozenset(without)))


@dataclass
class Door:
    """An arrival that `may_enter` refuses because of one guard."""

    arrival: dict

    def code(self, *without: str) -> str:
        answer = enter(**self.arrival, without=frozenset(without))
        return "checked in twice" if isinstance(answer, Admit) and self.arrival.get("attendance") and not answer.again else code_of(answer)


def changed_signature() -> str:
    body = passes._pack(FACTS)
    return "CB1." + passes._spell(body + STRANGER.sign(passes.DOMAIN, body))


TWINS = {
    "spelling": Read("CB1." + write(FACTS, HUB)[4:].lower()),
    "key": Read(write(FACTS, HUB), RING.withdraw_now(HUB.id)),
    "signature": Read(changed_signature()),
    "site": Read(write(replace(FACTS, site_id="dartmouth", resource_id="dartmouth.box-1"), HUB)),
    "match": Door({"facts": replace(FACTS, end=START + 8)}),
    "status": Door({"copy": replace(BOOKING, status="cancelled")}),
    "line": Door({"copy": None, "site_line": START + 1}),
    "displaced": Door({"copy": replace(BOOKING, displaced=True)}),
    "window": Door({"now_at": START * 900 - 901}),
    "sale_number": Door({"seated_sale_no": 9}),
    "attendance": Door({"facts": replace(FACTS, sale_no=8), "attendance": CHECKED_IN}),
}


def test_every_guard_has_a_twin():
    assert set(TWINS) == set(GUARDS)


@pytest.mark.parametrize("name", sorted(GUARDS))
def test_the_guard_refuses_and_without_it_the_wrong_pass_gets_through(name):
    assert TWINS[name].code() in STATUS
    others = set(GUARDS) - {name}
    assert TWINS[name].code(*others) in STATUS, "this guard alone is enough"
    assert TWINS[name].code(name) in ("admitted", "checked in twice"), "and nothing else would have caught it"
