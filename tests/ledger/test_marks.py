"""The mark against the books (loss-1): what is older is fenced, what is not is left alone, and a medium that is away stops nothing."""

import msgspec
import pytest

from shared.errors import Broken, Refused
from shared.ledger import marks, streams
from shared.ledger.desk import Desk
from shared.ledger.marks import Mark, MarkKeeper
from shared.messages import FacilityStated
from shared.model import Facility
from shared.runtime.clock import Chance, ManualClock
from shared.runtime.database import InlineWriter
from shared.runtime.mark import MarkFile
from tests.two_sides import SITE, books_in_memory

pytestmark = [pytest.mark.rule("loss-1")]


class Box:
    """Books on "one medium", the mark on another."""

    def __init__(self, folder, box_id: str = "box-a", term: int = 1, sites: tuple[str, ...] = (SITE,), side="site", without=frozenset()):
        self.db, self.clock, chance = books_in_memory(), ManualClock(), Chance(1)
        self.desk = Desk(side, clock=self.clock.now, new_id=chance.new_id, chance=chance.random, box_id=box_id, term=term, without=without)
        for site_id in sites:
            self.db.write_now(lambda tx, s=site_id: streams.open_site(tx, s, epoch=f"epoch-{s}"))
        self.file = MarkFile(folder / "mark")

    def keeper(self) -> MarkKeeper:
        return MarkKeeper(self.db, self.desk, self.file)

    def say(self, rows: int = 1, site_id: str = SITE) -> None:
        told = FacilityStated(facility=Facility(id=site_id, name="Bedford", zone="America/Halifax"))
        for _ in range(rows):
            self.db.write_now(lambda tx: streams.append(tx, self.desk, site_id, told))

    def set(self, **columns) -> None:
        for name, value in columns.items():
            self.db.write_now(lambda tx, n=name, v=value: tx.run(f"UPDATE streams SET {n} = :v", {"v": v}))

    def fenced(self, site_id: str = SITE) -> str:
        return self.db.read(lambda tx: streams.read(tx, site_id)).fenced

    def mark(self) -> Mark:
        return msgspec.json.decode(self.file.read(), type=Mark)


@pytest.fixture
def box(tmp_path):
    return Box(tmp_path)


async def test_the_mark_follows_the_books(box):
    keeper = box.keeper()
    assert await keeper.hold() == []
    box.say(3)
    await keeper.tick()
    assert box.mark().sites[SITE].sent_no == 3
    assert (box.mark().side, box.mark().box_id, box.mark().term) == ("site", "box-a", 1)


async def test_nothing_is_written_while_the_books_stand_still(box):
    keeper = box.keeper()
    await keeper.hold()
    await keeper.tick()
    stamp = box.file.path.stat().st_mtime_ns
    await keeper.tick()
    box.db.write_now(lambda tx: tx.run("UPDATE streams SET heard_at = 5"))
    await keeper.tick()
    assert box.file.path.stat().st_mtime_ns == stamp


@pytest.mark.parametrize("column", ["sent_no", "applied_no", "sale_no"])
async def test_books_that_know_less_than_the_mark_are_fenced_with_what_each_says(box, column):
    box.set(sent_no=5, applied_no=5, sale_no=5)
    await box.keeper().keep()
    box.set(**{column: 4})
    assert await box.keeper().hold() == [SITE]
    assert "older copy" in box.fenced() and "5" in box.fenced() and "4" in box.fenced()


async def test_the_same_books_are_not_fenced(box):
    box.set(sent_no=5, applied_no=5, sale_no=5)
    await box.keeper().keep()
    box.set(sent_no=6, applied_no=9)
    assert await box.keeper().hold() == []
    assert box.fenced() == ""


async def test_a_copy_from_before_a_repair_is_older_whatever_its_numbers_say(box):
    box.set(sent_no=900, sale_no=40)
    keeper = box.keeper()
    await keeper.keep()
    box.set(epoch="epoch-2", sent_no=2, sale_no=1_000_040)
    await keeper.tick()
    assert box.mark().sites[SITE].earlier == (f"epoch-{SITE}",)
    assert await box.keeper().hold() == []
    box.set(epoch=f"epoch-{SITE}", sent_no=900, sale_no=2_000_000)
    assert await box.keeper().hold() == [SITE]


async def test_an_epoch_that_the_mark_has_not_seen_is_judged_by_the_sale_number(box):
    box.set(sale_no=40)
    await box.keeper().keep()
    box.set(epoch="epoch-2", sent_no=0, sale_no=1_000_040)
    assert await box.keeper().hold() == [], "a repair in the last second before a crash is no older copy"
    box.set(epoch="epoch-0", sale_no=39)
    assert await box.keeper().hold() == [SITE]


async def test_books_that_have_lost_their_epoch_are_fenced(box):
    await box.keeper().keep()
    box.set(epoch="")
    assert await box.keeper().hold() == [SITE]


async def test_a_hub_fences_only_the_sites_that_are_behind(tmp_path):
    hub = Box(tmp_path, side="hub", sites=("bedford", "elmsdale"))
    hub.say(4, "bedford")
    await hub.keeper().keep()
    hub.db.write_now(lambda tx: tx.run("UPDATE streams SET sent_no = 3 WHERE site_id = 'bedford'"))
    assert await hub.keeper().hold() == ["bedford"]
    assert hub.fenced("bedford") and not hub.fenced("elmsdale")


async def test_a_site_that_the_older_copy_did_not_know_is_fenced_when_it_is_entered_again(tmp_path):
    hub = Box(tmp_path, side="hub", sites=("bedford", "elmsdale"))
    hub.say(4, "elmsdale")
    await hub.keeper().keep()
    hub.db.write_now(lambda tx: tx.run("DELETE FROM streams WHERE site_id = 'elmsdale'"))
    keeper = hub.keeper()
    assert await keeper.hold() == []
    hub.db.write_now(lambda tx: streams.open_site(tx, "elmsdale"))
    assert await keeper.hold() == ["elmsdale"]


async def test_the_mark_of_a_fenced_copy_does_not_fall_until_the_repair_is_over(box):
    box.set(sent_no=9, sale_no=9)
    await box.keeper().keep()
    box.set(sent_no=4, sale_no=4)
    keeper = box.keeper()
    await keeper.hold()
    await keeper.keep()
    assert box.mark().sites[SITE].sent_no == 9
    box.set(fenced="", epoch="epoch-2", sent_no=1, sale_no=1_000_009)
    await keeper.tick()
    assert (box.mark().sites[SITE].epoch, box.mark().sites[SITE].earlier) == ("epoch-2", (f"epoch-{SITE}",))


# ---- whose mark
async def test_the_mark_of_another_box_is_a_plain_error(tmp_path):
    await Box(tmp_path, "box-a").keeper().keep()
    with pytest.raises(Broken, match="written by another box"):
        Box(tmp_path, "box-b").keeper().read()
    with pytest.raises(Broken, match="written by another box"):
        await Box(tmp_path, "box-a", side="hub").keeper().hold()


async def test_the_mark_that_a_predecessor_left_is_written_over(tmp_path):
    old = Box(tmp_path, "box-a", term=1)
    old.set(sent_no=900)
    await old.keeper().keep()
    new = Box(tmp_path, "box-b", term=2)
    assert await new.keeper().hold() == []
    await new.keeper().keep()
    assert new.mark().box_id == "box-b"
    with pytest.raises(Broken):
        old.keeper().read()


# ---- the medium
async def test_a_medium_that_is_away_is_an_alarm_and_the_box_starts(tmp_path):
    box = Box(tmp_path / "unplugged")
    keeper = box.keeper()
    assert await keeper.hold() == []
    await keeper.keep()
    assert "cannot be written" in keeper.state().trouble
    (tmp_path / "unplugged").mkdir()
    box.say()
    await keeper.tick()
    assert "Nobody has looked at this start" in keeper.state().trouble, "the books were not compared, though the medium is back"
    again = box.keeper()
    assert await again.hold() == [] and again.state().trouble == ""


async def test_a_medium_that_comes_back_shows_that_the_books_are_older_before_its_mark_is_written_over(tmp_path):
    box = Box(tmp_path)
    box.say(5)
    await box.keeper().keep()
    box.set(sent_no=3)
    tmp_path.rename(tmp_path.with_name("unplugged"))
    keeper = box.keeper()
    assert await keeper.hold() == [] and not box.fenced()
    await keeper.keep()
    tmp_path.with_name("unplugged").rename(tmp_path)
    await keeper.keep()
    assert "the mark says 5 messages sent" in box.fenced() and box.mark().sites[SITE].sent_no == 5
    assert "Nobody has looked at this start" in keeper.state().trouble


async def test_a_medium_that_comes_back_with_another_boxs_mark_keeps_it(tmp_path):
    other, box = Box(tmp_path, box_id="box-b"), Box(tmp_path)
    await other.keeper().keep()
    tmp_path.rename(tmp_path.with_name("unplugged"))
    keeper = box.keeper()
    await keeper.hold()
    tmp_path.with_name("unplugged").rename(tmp_path)
    await keeper.keep()
    assert "another box" in keeper.state().trouble and box.mark().box_id == "box-b"


async def test_a_damaged_mark_is_an_alarm_and_a_new_one_is_written(box):
    box.file.path.write_bytes(b"what is this?")
    keeper = box.keeper()
    assert await keeper.hold() == []
    assert "damaged" in keeper.state().trouble
    await keeper.keep()
    assert box.mark().box_id == "box-a"


async def test_a_mark_of_another_release_is_an_alarm(box):
    box.file.write(b'{"kind":"of the future"}')
    keeper = box.keeper()
    assert await keeper.hold() == []
    assert "this release does not know" in keeper.state().trouble


async def test_a_mark_that_was_written_before_is_missed(box):
    await box.keeper().keep()
    box.file.path.unlink()
    keeper = box.keeper()
    assert await keeper.hold() == []
    assert "is gone" in keeper.state().trouble


async def test_a_medium_that_goes_away_while_running_is_told_once_and_its_return_too(box, caplog):
    keeper = box.keeper()
    await keeper.hold()
    await keeper.keep()
    folder = box.file.path.parent
    folder.rename(folder.with_name("away"))
    for _ in range(3):
        box.say()
        await keeper.tick()
    assert "cannot be written" in keeper.state().trouble
    assert [r.getMessage() for r in caplog.records].count("mark.failing") == 1
    folder.with_name("away").rename(folder)
    await keeper.tick()
    assert keeper.state().trouble == "" and box.mark().sites[SITE].sent_no == 3


async def test_without_a_mark_in_the_config_nothing_is_done(box):
    keeper = MarkKeeper(box.db, box.desk, None)
    assert await keeper.hold() == []
    await keeper.tick()
    await keeper.keep()
    assert keeper.state() == marks.MarkState(configured=False, trouble="", same_medium=False)
    assert not box.file.path.exists()


async def test_it_is_said_when_the_mark_would_be_lost_with_the_books(tmp_path):
    from shared.ledger import schema

    schema.prepare(tmp_path / "books.db")
    db = InlineWriter(tmp_path / "books.db")
    keeper = MarkKeeper(db, Box(tmp_path).desk, MarkFile(tmp_path / "mark"))
    await keeper.hold()
    assert keeper.state().same_medium
    await db.stop()


async def test_a_fenced_copy_sells_nothing(box):
    from shared.ledger import standing

    box.set(sent_no=5)
    await box.keeper().keep()
    box.set(sent_no=4)
    await box.keeper().hold()
    with pytest.raises(Refused) as no:
        box.db.write_now(lambda tx: standing.require(tx, box.desk, f"{SITE}.box-1", 0))
    assert no.value.refusal.code == "fenced"
