"""Whether a box believes its clock (clock-2): each doubt, each confirmation, and what a restart remembers."""

import pytest

from shared.errors import Refused, Unavailable
from shared.ledger import clock_trust, facts, holds, records, streams
from shared.ledger.clock_trust import DOORS, HUB, PERSON, RTC, TIME_SERVER, ClockTrust
from shared.ledger.desk import Desk
from shared.model import Hold
from shared.runtime.clock import Chance, ManualClock
from tests.two_sides import NOON, SITE, books_in_memory

pytestmark = [pytest.mark.rule("clock-2")]
HOUR = 3600


class Source:
    """A machine whose every answer is set by the test; its uptime is the clock's own."""

    def __init__(self, clock: ManualClock, *, rtc: bool = False, boot: str = "boot-1"):
        self.clock, self.has_rtc, self.disciplined, self.boot = clock, rtc, False, boot

    def rtc(self) -> bool:
        return self.has_rtc

    def synchronised(self) -> bool:
        return self.disciplined

    def boot_id(self) -> str:
        return self.boot

    def uptime_s(self) -> float:
        return self.clock.monotonic()


class Box:
    """Books, a desk and a clock; `start` may be called again, as after a crash."""

    def __init__(self, now: float = NOON, **machine):
        self.clock = ManualClock(float(now))
        self.source = Source(self.clock, **machine)
        self.db = books_in_memory()
        chance = Chance(1)
        self.desk = Desk("site", clock=self.clock.now, new_id=chance.new_id, chance=chance.random)
        self.db.write_now(lambda tx: streams.open_site(tx, SITE, epoch="e1"))

    async def start(self) -> ClockTrust:
        self.trust = ClockTrust(self.db, self.desk, self.clock, self.source)
        await self.trust.start()
        return self.trust

    def set_clock(self, seconds: float) -> None:
        """Somebody sets the wall clock; the uptime does not notice."""
        self.clock._now += seconds

    async def run(self, seconds: int, step: int = 10) -> None:
        for _ in range(0, seconds, step):
            self.clock.forward(step)
            await self.trust.tick()

    def journal(self) -> list[tuple]:
        return records_of(self.db)


def records_of(db) -> list[tuple]:
    return db.read(lambda tx: records.journal_of(tx, SITE))


@pytest.fixture
def box():
    return Box()


# ---- confirmed since boot
async def test_a_clock_that_nothing_has_confirmed_is_not_believed_and_the_desk_sells_nothing(box):
    trust = await box.start()
    assert "nothing has confirmed" in trust.doubt()
    assert trust.state().trusted is False and trust.state().confirmed_by == ""
    wanted = Hold(id="hold-0001", site_id=SITE, resource_id=f"{SITE}.box-1", start=NOON // 900, end=NOON // 900 + 4)
    with pytest.raises(Refused) as no:
        box.db.write_now(lambda tx: holds.hold(tx, box.desk, wanted, link_up=False))
    assert no.value.refusal.code == "clock_untrusted" and "confirmed" in no.value.refusal.detail


async def test_a_real_time_clock_confirms_at_the_start():
    trust = await Box(rtc=True).start()
    assert (trust.doubt(), trust.state().confirmed_by) == ("", RTC)


async def test_a_real_time_clock_whose_battery_is_dead_confirms_nothing():
    trust = await Box(now=946684800, rtc=True).start()
    assert "nothing has confirmed" in trust.doubt()


async def test_a_time_server_confirms_as_soon_as_the_kernel_follows_it(box):
    trust = await box.start()
    box.source.disciplined = True
    assert await trust.tick() is True
    assert (trust.doubt(), trust.state().confirmed_by) == ("", TIME_SERVER)


@pytest.mark.parametrize("by", [HUB, DOORS])
@pytest.mark.parametrize(("skew_s", "confirmed"), [(0, True), (60, True), (-60, True), (60.5, False), (-3600, False)])
async def test_hub_and_door_controller_confirm_a_clock_that_differs_by_a_minute_at_most(box, by, skew_s, confirmed):
    trust = await box.start()
    assert trust.confirm(by, skew_s) is confirmed
    assert (trust.doubt() == "") is confirmed
    assert trust.state().confirmed_by == (by if confirmed else "")


async def test_a_person_confirms_and_the_journal_says_who_and_against_which_doubt(box):
    trust = await box.start()
    state = await trust.vouch("staff-ada", NOON + 90, SITE)
    assert (state.trusted, state.confirmed_by) == (True, PERSON)
    at, who, what, _, why = box.journal()[0]
    assert (at, who, what) == (NOON, "staff-ada", "clock confirmed") and "nothing has confirmed" in why


async def test_a_persons_word_that_could_not_be_written_down_is_none(box, monkeypatch):
    trust = await box.start()

    async def full(_):
        raise Unavailable("The disk is full.")

    monkeypatch.setattr(box.db, "write", full)
    with pytest.raises(Unavailable):
        await trust.vouch("staff-ada", NOON, SITE)
    assert trust.doubt()


async def test_a_person_cannot_confirm_a_time_that_was_shown_long_ago(box):
    trust = await box.start()
    with pytest.raises(Refused) as no:
        await trust.vouch("staff-ada", NOON - 121, SITE)
    assert no.value.refusal.code == "clock_moved"
    assert trust.doubt() and box.journal() == []


# ---- behind the newest record
async def test_a_clock_behind_the_newest_record_is_not_believed_though_a_real_time_clock_says_so():
    box = Box(rtc=True)
    box.db.write_now(lambda tx: records.journal(tx, NOON + 2 * HOUR, SITE, "staff-ada", "unlock", ""))
    trust = await box.start()
    assert "its own records go to 21 Nov 2026, 18:00 UTC" in trust.doubt()
    assert trust.state().newest_at == NOON + 2 * HOUR


@pytest.mark.parametrize("behind_s", [60, 61])
async def test_a_minute_behind_is_forgiven_and_no_more(behind_s):
    box = Box(rtc=True)
    box.db.write_now(lambda tx: records.journal(tx, NOON + behind_s, SITE, "staff-ada", "unlock", ""))
    assert bool((await box.start()).doubt()) is (behind_s > 60)


@pytest.mark.parametrize("table", ["heard_at", "outbox"])
async def test_the_newest_record_is_also_looked_for_where_the_link_writes(table):
    box = Box(rtc=True)

    def write(tx):
        if table == "heard_at":
            tx.run("UPDATE streams SET heard_at = :n", {"n": NOON + HOUR})
        else:
            tx.run(
                "INSERT INTO outbox (site_id, epoch, no, type, must, body, chain, at) VALUES (:s, 'e1', 1, 'x', 0, '{}', '', :n)",
                {"s": SITE, "n": NOON + HOUR},
            )

    box.db.write_now(write)
    trust = await box.start()
    assert trust.doubt()
    await trust.vouch("staff-ada", NOON, SITE)
    assert (await box.start()).doubt() == "", "what the wrong clock had written is not held against the right one for ever"


async def test_nobody_but_a_person_overrules_the_records():
    box = Box(rtc=True)
    box.db.write_now(lambda tx: records.journal(tx, NOON + HOUR, SITE, "staff-ada", "unlock", ""))
    trust = await box.start()
    box.source.disciplined = True
    trust.confirm(HUB, 0.0)
    await trust.tick()
    assert trust.doubt()
    await trust.vouch("staff-ada", NOON, SITE)
    assert trust.doubt() == ""


async def test_a_clock_set_back_while_running_is_seen_at_once_and_believed_again_when_it_is_set_right():
    box = Box(rtc=True)
    trust = await box.start()
    await box.run(120)
    box.set_clock(-HOUR)
    assert "its own records go to" in trust.doubt()
    assert await trust.tick() is True
    box.set_clock(HOUR)
    assert trust.doubt() == "" and await trust.tick() is True


async def test_a_doubted_start_does_not_make_the_next_one_trusted():
    box = Box(rtc=True)
    await box.start()
    await box.run(120)
    box.set_clock(-2 * HOUR)
    for _ in range(2):
        trust = await box.start()
        box.db.write_now(lambda tx: records.journal(tx, box.desk.now(), SITE, "agent", "started", ""))
        assert trust.doubt(), "the start wrote the wrong time into the journal, and was believed for it"


# ---- jumps ahead
@pytest.mark.parametrize(("jump_s", "doubted"), [(HOUR, False), (HOUR + 60, True), (400 * 86400, True)])
async def test_an_hour_ahead_at_once_is_forgiven_and_no_more(jump_s, doubted):
    box = Box(rtc=True)
    trust = await box.start()
    await box.run(20)
    box.set_clock(jump_s)
    await trust.tick()
    assert bool(trust.doubt()) is doubted
    if doubted:
        assert "went ahead by" in trust.doubt()


async def test_what_a_clock_far_ahead_believes_is_never_remembered():
    box = Box(rtc=True)
    trust = await box.start()
    await box.run(120)
    box.set_clock(50 * 86400)
    await box.run(300)
    box.set_clock(-50 * 86400)
    await trust.tick()
    assert trust.doubt() == "" and trust.state().newest_at < NOON + HOUR


@pytest.mark.parametrize("who", ["hub", "time server", "person"])
async def test_a_jump_ahead_is_believed_when_somebody_confirms_it(who):
    box = Box(rtc=True)
    trust = await box.start()
    box.set_clock(5 * HOUR)
    await trust.tick()
    assert "went ahead by 5 hours" in trust.doubt()
    if who == "hub":
        trust.confirm(HUB, 0.4)
    elif who == "time server":
        box.source.disciplined = True
        await trust.tick()
    else:
        await trust.vouch("staff-ada", int(box.clock.now()), SITE)
    assert trust.doubt() == ""


async def test_a_pause_of_the_whole_machine_is_no_jump():
    box = Box(rtc=True)
    trust = await box.start()
    box.clock.forward(3 * 86400)
    assert trust.doubt() == "" and await trust.tick() is False


# ---- restarts
async def test_a_restart_in_the_same_boot_remembers_who_confirmed(box):
    await (await box.start()).vouch("staff-ada", NOON, SITE)
    box.clock.forward(300)
    trust = await box.start()
    assert (trust.doubt(), trust.state().confirmed_by) == ("", PERSON)


async def test_another_boot_has_to_be_confirmed_anew(box):
    await (await box.start()).vouch("staff-ada", NOON, SITE)
    box.source.boot = "boot-2"
    assert "nothing has confirmed" in (await box.start()).doubt()


async def test_a_jump_while_the_agent_was_down_is_seen_by_the_uptime(box):
    await (await box.start()).vouch("staff-ada", NOON, SITE)
    box.set_clock(7 * HOUR)
    assert "went ahead by 7 hours" in (await box.start()).doubt()


async def test_a_person_may_confirm_while_the_box_is_not_running(box):
    box.db.write_now(lambda tx: records.journal(tx, NOON + HOUR, SITE, "staff-ada", "unlock", ""))
    box.db.write_now(lambda tx: clock_trust.vouch_in(tx, NOON, SITE, "operator", box.source))
    trust = await box.start()
    assert (trust.doubt(), trust.state().confirmed_by) == ("", PERSON)


async def test_the_newest_moment_is_written_down_about_once_a_minute():
    box = Box(rtc=True)
    await box.start()
    before = box.db.commits
    await box.run(600)
    assert 9 <= box.db.commits - before <= 11
    assert '"newest_at":' in box.db.read(lambda tx: facts.get(tx, "clock"))
