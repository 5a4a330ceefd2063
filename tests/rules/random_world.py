"""Seeded mischief: people at a hub and two sites do whatever comes to mind while the link between them misbehaves.

`run(seed)` plays one world to its end. After every step the invariants of every moment must hold; at the end the link is healed and both
books must say the same. What fails says its seed and what was done, so that it can be played again.
"""

from __future__ import annotations

import asyncio
import random

from shared.errors import Refused
from shared.ledger import attendance, lines
from shared.ledger.desk import Limits
from shared.model import Booking
from shared.passes import copy_of, facts_of
from shared.runtime.transport import Faults
from tests.invariants import assert_always, assert_equal_books, assert_sound, word_of_owner
from tests.simtime import simulate
from tests.two_sides import Party, World

SITES = ("bedford", "truro")
STEPS = 60
#: how badly the network behaves, drawn anew now and then
WEATHER = (
    Faults(),
    Faults(delay_s=(0.01, 0.4)),
    Faults(delay_s=(0.05, 2.5)),
    Faults(delay_s=(0.01, 0.8), duplicate=0.3, reorder=0.3),
    Faults(delay_s=(0.01, 0.8), loss=0.25),
    Faults(delay_s=(0.01, 0.8), loss=0.1, duplicate=0.1, reorder=0.1, replay=0.1),
)


class Mischief:
    """One run: draws what is done next and remembers what people were told."""

    def __init__(self, world: World, rng: random.Random):
        self.w, self.rng = world, rng
        self.log: list[str] = []
        self.dark: set[str] = set()
        self.holds: list[tuple[str, Party, str, int, int, float]] = []
        self.blocks: list[tuple[str, str]] = []
        #: order -> what its customer did, and at which side, in order
        self.wishes: dict[str, list[tuple[str, str]]] = {}
        self.done = 0

    # ---- drawing
    def site_id(self) -> str:
        return self.rng.choice(SITES)

    def party(self, site_id: str) -> Party:
        return self.rng.choice((self.w.hub, self.w.sites[site_id]))

    def bay(self) -> int:
        return self.rng.randint(1, self.w.bays)

    def start(self) -> int:
        now = int(self.w.hub.clock.now()) // 900 - self.w.slot0
        return now + 2 * self.rng.randint(1, 14) + (now % 2)

    def hours(self) -> float:
        return self.rng.choice((1, 1, 1.5, 2))

    def some_booking(self, party: Party, site_id: str) -> Booking | None:
        found = sorted(party.bookings(site_id).values(), key=lambda b: b.id)
        likely = [b for b in found if b.status in ("confirmed", "requested", "pending", "cancelling")]
        pick = likely if likely and self.rng.random() < 0.95 else found
        return self.rng.choice(pick) if pick else None

    # ---- doing
    def step(self) -> None:
        what = self.rng.choices(list(self.CHANCES), list(self.CHANCES.values()))[0]
        site_id = self.site_id()
        note = f"{self.w.loop.time():.2f} {what} {site_id}"
        try:
            said = getattr(self, what)(site_id)
            self.log.append(f"{note} {said}")
            self.done += 1
        except Refused as e:
            self.log.append(f"{note} refused: {e.refusal.code}")

    def wish(self, party: Party, b: Booking, what: str) -> str:
        self.wishes.setdefault(b.order_id, []).append((what, party.side))
        return f"at {party.side}: {b.id} {b.resource_id} {b.start - self.w.slot0}-{b.end - self.w.slot0} {b.status}"

    def book(self, site_id: str) -> str:
        party = self.party(site_id)
        [b] = party.book(self.bay(), self.start(), self.hours(), site_id=site_id)
        return self.wish(party, b, "book")

    def group(self, site_id: str) -> str:
        party = self.party(site_id)
        bays = self.rng.sample(range(1, self.w.bays + 1), 2)
        found = party.book(bays, self.start(), self.hours(), site_id=site_id)
        return "; ".join(self.wish(party, b, "group") for b in found)

    def override(self, site_id: str) -> str:
        site = self.w.sites[site_id]
        [b] = site.book(self.bay(), self.start(), site_id=site_id, override=True)
        return self.wish(site, b, "override")

    def hold(self, site_id: str) -> str:
        party, bay, start, hours = self.party(site_id), self.bay(), self.start(), self.hours()
        h = party.hold(bay, start, hours, site_id=site_id)
        self.holds.append((h.id, party, site_id, bay, start, hours))
        return f"at {party.side}: {h.id} {bay} {start} {h.status}"

    def use_hold(self, site_id: str) -> str:
        if not self.holds:
            return "none"
        hold_id, party, site_id, bay, start, hours = self.holds.pop(self.rng.randrange(len(self.holds)))
        if self.rng.random() < 0.25:
            party.drop_hold(hold_id)
            return f"dropped {hold_id}"
        [b] = party.book(bay, start, hours, site_id=site_id, hold_id=hold_id)
        return self.wish(party, b, "book") + f" from {hold_id}"

    def cancel(self, site_id: str) -> str:
        party = self.party(site_id)
        b = self.some_booking(party, site_id)
        if b is None:
            return "none"
        _, how = party.cancel(b.id)
        # giving up a move that has not been answered leaves the old booking as it was
        return self.wish(party, b, "move" if b.replaces and b.status == "requested" else "cancel") + f" {how}"

    def move(self, site_id: str) -> str:
        party = self.party(site_id)
        b = self.some_booking(party, site_id)
        if b is None:
            return "none"
        to_site = site_id if self.rng.random() < 0.85 else self.site_id()
        new = party.move(b.id, self.bay(), self.start(), self.hours(), site_id=to_site)
        return self.wish(party, new, "move") + f" from {b.id} {b.start - self.w.slot0}"

    def extend(self, site_id: str) -> str:
        party = self.party(site_id)
        b = self.some_booking(party, site_id)
        if b is None:
            return "none"
        new = party.extend(b.id, 30, site_id=site_id)
        return self.wish(party, new, "move") + f" extends {b.id}"

    def check_in(self, site_id: str) -> str:
        site = self.w.sites[site_id]
        b = self.some_booking(site, site_id)
        if b is None:
            return "none"
        site.check_in(b.id)
        return self.wish(site, b, "check_in")

    def attend(self, site_id: str) -> str:
        """Completed, no-show, or a check-in taken back."""
        site, state = self.w.sites[site_id], self.rng.choice(("completed", "no_show", ""))
        b = self.some_booking(site, site_id)
        if b is None:
            return "none"
        site.attend(b.id, state)
        return self.wish(site, b, "attend") + f" {state}"

    def rest(self, site_id: str) -> str:
        """Nobody has come, and staff sell the rest of the time."""
        site = self.w.sites[site_id]
        b = self.some_booking(site, site_id)
        if b is None:
            return "none"
        site.attend(b.id, "no_show")
        new = site.sell_rest(b.id, site_id=site_id)
        return self.wish(site, new, "rest") + f" of {b.id}"

    def show_pass(self, site_id: str) -> str:
        """A guest of the hub's comes with a pass that the site has not heard of."""
        site = self.w.sites[site_id]
        known = site.bookings(site_id)
        mine = site.read(lambda tx: lines.lines_of(tx, site_id))
        strangers = [
            b
            for b in self.w.hub.bookings(site_id).values()
            if b.id not in known and b.status in ("confirmed", "cancelling") and b.seller == "hub" and b.start >= mine[b.resource_id]
        ]
        if not strangers:
            return "none"
        b = self.rng.choice(sorted(strangers, key=lambda b: b.id))
        facts = facts_of(b, "0" * 16, 0)
        copy = site.write(lambda tx, desk: attendance.admit(tx, desk, copy_of(facts)))
        if not copy.displaced:
            site.check_in(b.id)
        return self.wish(site, b, "show_pass")

    def reseat(self, site_id: str) -> str:
        site = self.w.sites[site_id]
        lost = sorted(b.id for b in site.bookings(site_id).values() if b.displaced)
        if not lost:
            return "none"
        site.reseat(self.rng.choice(lost), self.bay(), site_id=site_id)
        return "reseated"

    def by_rule(self, site_id: str) -> str:
        """The jobs of both sides look at who has lost their place."""
        return str([done for party in (self.w.hub, self.w.sites[site_id]) for done in party.place_by_rule(site_id)])

    def place(self, site_id: str) -> str:
        """Staff at either side, or the guest, choose one of the ways out, also for somebody who was placed before."""
        party = self.party(site_id)
        lost = sorted((b for b in party.bookings(site_id).values() if b.displaced or b.placed), key=lambda b: b.id)
        if not lost:
            return "none"
        b = self.rng.choice(lost)
        ways = party.ways_of(b.id, site_id)
        if not ways:
            return f"{b.id} has no way out"
        way = self.rng.choice(ways)
        bay = int(way.resource_id.rpartition("-")[2])
        new = party.place(b.id, bay, way.start - self.w.slot0, way.end - way.start, site_id=site_id)
        return self.wish(party, new, "place") + f" from {b.id}"

    def block(self, site_id: str) -> str:
        party = self.party(site_id)
        k = party.block(self.bay(), self.start(), self.hours(), site_id=site_id)
        self.blocks.append((k.id, site_id))
        return f"at {party.side}: {k.id} {k.resource_id} {k.start - self.w.slot0}-{k.end - self.w.slot0}"

    def unblock(self, site_id: str) -> str:
        if not self.blocks:
            return "none"
        block_id, site_id = self.rng.choice(self.blocks)
        party = self.party(site_id)
        party.unblock(block_id, site_id=site_id)
        return f"at {party.side}: {block_id}"

    def tidy(self, site_id: str) -> str:
        for party in self.w.parties:
            party.tidy()
            for s in party.site_ids:
                party.place_by_rule(s)
        return ""

    def cut(self, site_id: str) -> str:
        self.dark.add(site_id)
        noticed = self.rng.random() < 0.5
        self.w.network.cut(site_id, self.rng.choice(("both", "both", "to_broker", "from_broker")), noticed=noticed)
        return "noticed" if noticed else "half open"

    def heal(self, site_id: str) -> str:
        self.w.heal(site_id)
        self.dark.discard(site_id)
        return ""

    def weather(self, site_id: str) -> str:
        self.w.network.faults = self.rng.choice(WEATHER)
        return str(self.w.network.faults)

    def time_passes(self, site_id: str) -> str:
        seconds = self.rng.choice((60, 300, 900, 900, 1800))
        self.w.forward(seconds)
        return str(seconds)

    CHANCES = {
        "book": 22,
        "group": 6,
        "override": 3,
        "hold": 6,
        "use_hold": 5,
        "cancel": 12,
        "move": 12,
        "extend": 3,
        "check_in": 5,
        "attend": 3,
        "rest": 4,
        "show_pass": 4,
        "reseat": 2,
        "by_rule": 4,
        "place": 3,
        "block": 4,
        "unblock": 3,
        "tidy": 10,
        "cut": 4,
        "heal": 5,
        "weather": 3,
        "time_passes": 4,
    }

    # ---- judging
    def assert_wishes(self) -> None:
        """Nobody who never cancelled has lost the booking, nobody who cancelled still has it, nobody who moved has two."""
        found: dict[str, list[Booking]] = {}
        for site_id in SITES:
            for b in word_of_owner(self.w, site_id).values():
                found.setdefault(b.order_id, []).append(b)
        for order_id, deeds in self.wishes.items():
            chain = found.get(order_id, [])
            live = [b for b in chain if b.status == "confirmed"]
            came = [b for b in chain if self.came(b)]
            kinds = [what for what, _ in deeds]
            if "group" in kinds:
                self._assert_group(order_id, chain, kinds)
                continue
            # somebody who stood at two doors and was let in has two
            assert len(live) <= max(1, len(came)), f"{order_id} holds {len(live)} places: {live}"
            if came:
                continue
            ever = [b for b in chain if b.sale_no]
            if ever and "cancel" not in kinds:
                assert live, f"{order_id} lost its booking without a cancel: {chain}"
            if kinds[-1] == "cancel" and len({side for _, side in deeds}) == 1:
                assert not live, f"{order_id} was cancelled and yet holds {live}"

    def came(self, b: Booking) -> bool:
        a = self.w.sites[b.site_id].attendance(b.id)
        return a is not None and a.state in ("checked_in", "completed")

    def _assert_group(self, order_id: str, chain: list[Booking], kinds: list[str]) -> None:
        """All parts or none, as long as nobody touched one of them but the house, which puts a part elsewhere whole."""
        if set(kinds) == {"group"}:
            placed = {b.replaces for b in chain if b.placed and b.status == "confirmed"}
            stands = {
                b.status for b in chain if not b.replaces and not (b.status == "cancelled" and b.id in self._placed_on(chain, placed))
            }
            assert len(stands | ({"confirmed"} if placed else set())) == 1, f"{order_id} is half sold: {chain}"

    @staticmethod
    def _placed_on(chain: list[Booking], placed: set[str]) -> set[str]:
        """The bookings that the house put elsewhere, also by several steps."""
        out = set(placed)
        for _ in chain:
            out |= {b.replaces for b in chain if b.id in out and b.replaces}
        return out


async def play_out(world: World, m: Mischief) -> None:
    for _ in range(STEPS):
        m.step()
        assert_always(world)
        if m.rng.random() < 0.7:
            await asyncio.sleep(m.rng.choice((0.05, 0.3, 1, 3, 12)))
            assert_always(world)
    world.network.faults = Faults(delay_s=(0.01, 0.1))
    for site_id in SITES:
        await world.healed(site_id)
    world.forward(3600)  # every hold is over
    for _ in range(3):
        m.tidy("")
        for site_id in SITES:
            await world.healed(site_id)
    assert_sound(world)
    assert_equal_books(world)
    m.assert_wishes()


def run(seed: int) -> Mischief:
    """Plays one world. Raises AssertionError with the seed and everything that was done."""
    rng = random.Random(seed)
    notes: list[Mischief] = []

    async def script(loop) -> Mischief:
        world = World(
            loop,
            seed=seed,
            sites=SITES,
            bays=rng.choice((2, 3)),
            release_ahead_s=rng.choice((2, 3, 4)) * 3600,
            limits=Limits(batch_max=rng.choice((1, 3, 256))),
        )
        await world.open()
        for site_id in SITES:
            await world.healed(site_id)
        m = Mischief(world, rng)
        notes.append(m)
        await play_out(world, m)
        await world.close()
        return m

    try:
        return simulate(script)
    except Exception as e:
        done = "\n".join(notes[0].log) if notes else ""
        raise AssertionError(f"seed {seed}: {type(e).__name__}: {e}\n{done}") from e
