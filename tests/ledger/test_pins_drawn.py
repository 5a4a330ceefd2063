"""PINs are drawn together and looked up together; none that the site has out, or that rests, is drawn (pass-3)."""

import sqlite3
from random import Random

import pytest
from sqlite_utils import Database as Tables

from shared.errors import Refused
from shared.ledger import pins, schema
from shared.ledger.desk import Desk, Limits
from shared.ledger.streams import open_site
from shared.pins import make_block
from shared.runtime.database import Tx

SITE, NOW = "bedford", 1_800_000_000


class Said(Random):
    """A chance that says these numbers, in this order, and then goes on as chance does."""

    def say(self, *numbers: int) -> None:
        self.said = list(numbers)

    def randrange(self, *args, **more) -> int:
        return self.said.pop(0) if getattr(self, "said", None) else super().randrange(*args, **more)


@pytest.fixture
def tx():
    c = sqlite3.connect(":memory:", isolation_level=None)
    for step in schema.STEPS:
        step(Tables(c))
    tx = Tx(c)
    open_site(tx, SITE, epoch="e-1")
    yield tx
    c.close()


def desk(chance: Random, **limits) -> Desk:
    return Desk("site", clock=lambda: NOW, new_id=lambda: "id", chance=chance, limits=Limits(**limits))


def known(tx: Tx) -> set[str]:
    return {row[0] for row in tx.all("SELECT pin FROM pins")}


def test_of_a_block_only_what_the_site_knows_is_drawn_again(tx):
    chance = Said(1)
    pins.put(tx, SITE, "480213", "resting", "", NOW + 60)
    chance.say(480_213, 123_890, 480_213, 7_341)
    assert set(pins.draw(tx, desk(chance), SITE, [NOW, NOW])) == {"123890", "007341"}


def test_a_block_longer_than_one_look_meets_none_that_is_out(tx):
    out = make_block(900, lambda pin: False, Random(7).randrange)
    tx.many("INSERT INTO pins (site_id, pin, state) VALUES (?, ?, 'used')", [(SITE, pin) for pin in out])
    assert pins.lease(tx, desk(Random(7), pin_lease=3 * pins.LOOKED_UP), SITE) == 3 * pins.LOOKED_UP
    assert len(known(tx)) == 900 + 3 * pins.LOOKED_UP, "the same chance draws the same ones first, and all of them are taken"


def test_where_only_taken_ones_come_nothing_is_handed_out(tx):
    chance = Said(1)
    taken = make_block(60, lambda pin: False, Random(3).randrange)
    tx.many("INSERT INTO pins (site_id, pin, state) VALUES (?, ?, 'used')", [(SITE, pin) for pin in taken])
    chance.say(*(int(pin) for pin in taken))
    with pytest.raises(Refused) as no:
        pins.draw(tx, desk(chance), SITE, [NOW])
    assert no.value.refusal.code == "pins_exhausted" and known(tx) == set(taken)
