"""stream-1 to stream-9: what the link promises whatever the broker does."""

import asyncio

import msgspec
import pytest

from shared import messages
from shared.errors import Refused
from shared.ledger import fencing, records, streams
from shared.ledger.desk import Limits
from shared.messages import Batch, BlockStated, Message, Position, Row, Topics, encode
from shared.model import Block
from shared.runtime.transport import Faults
from site_agent.services import documents
from tests.rules.story import deafen, story, until
from tests.two_sides import SITE, World

rule = pytest.mark.rule
TOPICS = Topics(SITE)


class WeatherTold(Message, frozen=True, tag=True):
    """A type of a later release, of no consequence."""

    rain: bool


class PinGivenLater(Message, frozen=True, tag="PinGiven"):
    """A known type as a later release writes it."""

    booking_id: str
    pin: str
    colour: str


def listen(w: World, topic: str) -> list[bytes]:
    """What passes on a topic from now on, as any client of the broker could read it."""
    heard: list[bytes] = []
    ear = w.network.attach(f"ear-{topic.replace('/', '-')}")
    ear.subscribe(topic, lambda t, payload, retained: None if retained else heard.append(payload))
    ear.open()
    return heard


def slip_in(w: World, party, message: bytes, *, must: bool, crit: tuple[str, ...] = ()) -> Batch:
    """A batch as a peer of another release would publish it: right number, right chain."""
    stream = party.stream()
    row = Row(stream.sent_no + 1, msgspec.Raw(message), must, crit)
    return Batch(
        site_id=SITE, box_id=party.desk.box_id, term=1, epoch=stream.epoch, prev=stream.sent_chain, rows=(row,),
        applied=Position(stream.applied_no, stream.applied_chain),
    )


def stranger(w: World):
    client = w.network.attach("stranger")
    client.open()
    return client


@rule("stream-1")
@story()
async def test_what_is_refused_leaves_no_message_and_nothing_leaves_before_the_commit(w: World):
    w.site.book(1, 6)
    before = w.site.stream().sent_no
    with pytest.raises(Refused, match="slot_taken"):
        w.site.book([1, 2], 6)
    assert w.site.stream().sent_no == before
    heard = listen(w, TOPICS.up)
    await asyncio.sleep(0)

    def sell_and_fail(tx, desk):
        desk.new_id()
        records.journal(tx, desk.now(), SITE, "staff", "tried", "b-1")
        tx.tell("outbox", SITE)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        w.site.write(sell_and_fail)
    await asyncio.sleep(1)
    assert not [b for b in heard if msgspec.json.decode(b, type=Batch).rows]


@rule("stream-1")
@story()
async def test_numbers_have_no_gaps_whatever_was_rolled_back_between_them(w: World):
    deafen(w, "hub")
    w.site.book(1, 6)
    for _ in range(3):
        with pytest.raises(Refused):
            w.site.book(1, 6)
    w.site.book(1, 20)
    numbers = [n for (n,) in w.site.read(lambda tx: tx.all("SELECT no FROM outbox ORDER BY no"))]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    await w.healed()


@rule("stream-2")
@pytest.mark.parametrize(
    "faults",
    [
        Faults(delay_s=(0.01, 0.3), duplicate=0.5),
        Faults(delay_s=(0.01, 0.3), loss=0.4),
        Faults(delay_s=(0.01, 0.3), reorder=0.7),
        Faults(delay_s=(0.01, 0.3), replay=0.5),
        Faults(delay_s=(0.01, 0.5), loss=0.2, duplicate=0.2, reorder=0.3, replay=0.2),
    ],
    ids=["duplicate", "loss", "reorder", "replay", "all"],
)
@pytest.mark.parametrize("batch_max", [1, 256])
def test_duplicates_losses_reorderings_and_replays_end_in_equal_books(faults, batch_max):
    @story(limits=Limits(batch_max=batch_max))
    async def told(w: World):
        w.network.faults = faults
        for n in range(8):
            w.site.book(1, 2 + 4 * n)
            [b] = w.hub.book(2, 8 + 4 * n)
            if n % 3 == 0:
                w.hub.cancel(b.id)
            await asyncio.sleep(0.4)
        w.network.faults = Faults()
        await w.quiet()
        assert len(w.hub.bookings()) == len(w.site.bookings()) == 16

    told()


@rule("stream-3")
@story()
async def test_with_nothing_to_send_an_empty_batch_acknowledges_within_a_second(w: World):
    heard = listen(w, TOPICS.down)
    await asyncio.sleep(0.1)
    w.site.book(1, 6)
    await asyncio.sleep(1)
    batches = [msgspec.json.decode(b, type=Batch) for b in heard]
    assert [(b.rows, b.applied.no) for b in batches] == [((), w.site.stream().sent_no)]
    assert w.site.stream().acked_no == w.site.stream().sent_no


@rule("stream-3")
@story(limits=Limits(batch_max=3))
async def test_no_publish_carries_more_than_its_limit_of_rows(w: World):
    heard = listen(w, TOPICS.up)
    await w.dark()
    for n in range(10):
        w.site.book(1, 2 + 4 * n)
    await w.healed()
    sizes = [len(msgspec.json.decode(b, type=Batch).rows) for b in heard]
    assert max(sizes) == 3 and sum(sizes) >= 10


@rule("stream-4")
@story()
async def test_the_link_is_up_while_the_last_reply_to_my_own_nonce_is_young(w: World):
    assert w.hub.up() and w.site.up()
    w.network.cut(SITE, "to_broker", noticed=False)
    await asyncio.sleep(w.limits.link_silence_s - 6)
    assert w.hub.up() and w.site.up()
    await asyncio.sleep(7)
    assert not w.hub.up() and not w.site.up()


@rule("stream-4")
@story(equal=False)
async def test_a_replayed_hello_does_not_make_the_link_up(w: World):
    await w.dark()
    for _ in range(100):
        w.network.replay("hub")
        await asyncio.sleep(0.01)
        assert not w.hub.up()


@rule("stream-4")
@story()
async def test_a_hello_that_rows_have_overtaken_is_held_against_nobody(w: World):
    w.network.faults = Faults(delay_s=(0.01, 0.5), reorder=0.9)
    for n in range(12):
        w.site.pumps[SITE].hello()
        w.hub.pumps[SITE].hello()
        w.site.book(1, 2 + 4 * n)
        w.hub.book(2, 8 + 4 * n)
        await asyncio.sleep(0.2)
    w.network.faults = Faults()
    await w.quiet()
    assert not w.hub.stream().stopped and not w.site.stream().stopped


@rule("stream-5")
@story(equal=False)
async def test_the_last_will_is_a_quicker_notice_and_a_retained_state_makes_nothing_up(w: World):
    w.cut()
    await asyncio.sleep(0.1)
    assert not w.hub.up()
    late = stranger(w)
    late.publish(TOPICS.state_site, b'{"up":true,"box_id":"x"}', retain=True)
    await asyncio.sleep(0.1)
    w.network.cut("hub")
    w.network.heal("hub")
    await asyncio.sleep(2)
    assert w.hub.transport.connected and not w.hub.up()


@rule("stream-6")
@story()
async def test_a_broker_that_comes_back_empty_costs_nothing(w: World):
    await w.dark()
    w.network.kill_broker()
    [near], [far] = w.site.book(1, 6), w.hub.book(2, 12)
    w.network.start_broker(wipe=True)
    await w.healed()
    assert w.hub.booking(near.id) and w.site.booking(far.id)


@rule("stream-6")
@story()
async def test_an_unknown_informative_message_is_kept_and_counted_and_the_stream_goes_on(w: World):
    applied = w.hub.stream().applied_no

    def say_what_nobody_needs_to_understand(tx, desk):
        streams.append(tx, desk, SITE, WeatherTold(rain=True))
        tx.run("UPDATE outbox SET must = 0 WHERE type = 'WeatherTold'")

    w.site.write(say_what_nobody_needs_to_understand)
    [b] = w.site.book(1, 6)
    await w.quiet()
    stream = w.hub.stream()
    assert (stream.applied_no, stream.unknown_count, stream.stopped) == (applied + 2, 1, "")
    assert w.hub.read(lambda tx: tx.all("SELECT body FROM inbox")) == [(encode(WeatherTold(rain=True)).decode(),)]
    assert w.hub.booking(b.id) is not None


@rule("stream-6")
@story(equal=False)
async def test_a_row_that_must_be_understood_stops_that_stream_and_alarms_while_both_sides_sell_on(w: World):
    alarms: list[tuple[str, str]] = []
    w.hub.db.listen(lambda events: alarms.extend(e for e in events if e[0] == "alarm"))
    w.site.say(WeatherTold(rain=True))
    [later] = w.site.book(1, 6)
    await asyncio.sleep(1)
    assert "WeatherTold" in w.hub.stream().stopped and alarms == [("alarm", SITE)]
    assert w.hub.booking(later.id) is None
    assert [why for (why,) in w.hub.read(lambda tx: tx.all("SELECT why FROM inbox"))]
    [near], [far] = w.site.book(1, 20), w.hub.book(2, 12)
    assert (near.status, far.status) == ("confirmed", "confirmed")
    await asyncio.sleep(5)
    assert w.site.booking(far.id) is not None, "the other direction goes on"


@rule("stream-6")
@story()
async def test_a_process_that_begins_anew_and_understands_goes_on_at_the_row_that_stopped_its_stream(w: World):
    known = messages.TYPES.pop("Sold")
    try:
        [b] = w.hub.book(2, 12)
        await until(lambda: w.site.stream().stopped)
    finally:
        messages.TYPES["Sold"] = known
    await asyncio.sleep(5)
    assert w.site.stream().stopped and w.site.booking(b.id) is None, "nothing goes on by itself"
    w.site.write(lambda tx, desk: documents.open_books(tx, desk, SITE, hub_id="hub", epoch="of a new box"))
    await w.quiet()
    assert w.site.booking(b.id).status == "confirmed" and not w.site.stream().stopped


@rule("stream-7")
@story()
async def test_a_process_that_begins_anew_leaves_what_waits_for_a_repair_to_it(w: World):
    w.cut()
    w.site.write(lambda tx, desk: fencing.fence(tx, desk, SITE, "This copy was put back from a backup."))
    assert not w.site.write(lambda tx, desk: streams.start_again(tx, SITE)) and w.site.stream().fenced


@rule("stream-6")
@story()
async def test_an_unknown_field_of_a_known_type_is_ignored(w: World):
    [b] = w.site.book(1, 6)
    w.site.say(PinGivenLater(booking_id=b.id, pin="123456", colour="red"))
    await w.quiet()
    assert (w.hub.stream().stopped, w.hub.stream().unknown_count) == ("", 0)


@rule("stream-6")
@story(equal=False)
async def test_a_known_type_with_a_critical_field_that_is_not_understood_stops_the_stream(w: World):
    held = msgspec.json.encode({"type": "CancelDone", "booking_id": "b-1", "keep_half": True})
    w.site.pumps[SITE]._on_batch(TOPICS.down, msgspec.json.encode(slip_in(w, w.hub, held, must=True, crit=("keep_half",))), False)
    await asyncio.sleep(0.05)
    assert "keep_half" in w.site.stream().stopped


@rule("stream-6")
@story(sites=(SITE, "truro"), equal=False)
async def test_a_stream_that_speaks_of_another_facility_is_refused(w: World):
    foreign = Block(id="k-foreign-1", site_id="truro", resource_id="truro.box-1", start=w.slot0 + 4, end=w.slot0 + 8)
    w.sites[SITE].say(BlockStated(block=foreign))
    await asyncio.sleep(1)
    assert "another facility" in w.hub.stream(SITE).stopped
    assert w.hub.stream("truro").stopped == "" and w.hub.claims("truro") == {}


@rule("stream-6")
@story(sites=(SITE, "truro"), equal=False)
async def test_a_row_that_fails_among_others_leaves_what_came_before_it_and_nothing_of_itself_or_what_follows(w: World):
    applied = w.hub.stream(SITE).applied_no

    def say_three(tx, desk):
        for n, site_id in enumerate((SITE, "truro", SITE)):
            block = Block(id=f"k-{n}", site_id=site_id, resource_id=f"{site_id}.box-1", start=w.slot0 + 4 * n, end=w.slot0 + 4 * n + 4)
            streams.append(tx, desk, SITE, BlockStated(block=block))

    w.sites[SITE].write(say_three)
    await until(lambda: w.hub.stream(SITE).stopped)
    assert w.hub.stream(SITE).applied_no == applied + 1 and "another facility" in w.hub.stream(SITE).stopped
    assert {ref for _, ref in w.hub.claims(SITE).values()} == {"k-0"} and w.hub.claims("truro") == {}


@rule("stream-6")
@story(sites=(SITE, "truro"))
async def test_a_batch_of_one_site_in_the_tree_of_another_is_dropped(w: World):
    intruder = stranger(w)
    await asyncio.sleep(0.05)
    block = Block(id="k-foreign-1", site_id="truro", resource_id="truro.box-1", start=w.slot0 + 4, end=w.slot0 + 8)
    stream = w.sites["truro"].stream("truro")
    row = Row(stream.sent_no + 1, msgspec.Raw(encode(BlockStated(block=block))))
    batch = Batch(
        site_id="truro", box_id="b", term=1, epoch=stream.epoch, prev=stream.sent_chain, rows=(row,),
        applied=Position(stream.applied_no, stream.applied_chain),
    )
    intruder.publish(TOPICS.up, msgspec.json.encode(batch))
    intruder.publish(TOPICS.up, b"not even JSON")
    intruder.publish(TOPICS.hello_site, b"[]")
    await asyncio.sleep(0.1)
    assert w.hub.pumps[SITE].bad_payloads == 3
    assert w.hub.claims("truro") == {}


@rule("stream-2")
@story()
async def test_what_was_taken_already_costs_the_books_nothing_when_it_comes_again(w: World):
    heard = listen(w, TOPICS.up)
    for start in (4, 8, 12):
        w.site.book(1, start)
        await w.quiet()
    before, known = w.hub.db.commits, w.hub.stream()
    assert len(heard) >= 3
    for payload in heard:
        w.hub.pumps[SITE]._on_batch(TOPICS.up, payload, False)
    await asyncio.sleep(0.05)
    assert (w.hub.db.commits, w.hub.stream()) == (before, known)


@rule("stream-7")
@story(equal=False)
async def test_a_number_that_comes_again_with_another_message_stops_the_stream_however_often_the_true_one_came(w: World):
    heard = listen(w, TOPICS.up)
    w.site.book(1, 4)
    await w.quiet()
    told = [batch for payload in heard if (batch := msgspec.json.decode(payload, type=Batch)).rows][-1]
    other = (*told.rows[:-1], msgspec.structs.replace(told.rows[-1], body=msgspec.Raw(encode(WeatherTold(rain=True)))))
    for batch in (told, told, msgspec.structs.replace(told, rows=other)):
        w.hub.pumps[SITE]._on_batch(TOPICS.up, msgspec.json.encode(batch), False)
    await asyncio.sleep(0.05)
    assert "chain differs at the peer's row" in w.hub.stream().stopped


@rule("stream-7")
@story()
async def test_a_site_that_was_rolled_back_is_noticed_and_the_hub_goes_on_selling_until_both_are_repaired(w: World):
    copy = w.site.copy_of_books()
    [told] = w.site.book(1, 6)
    await w.quiet()
    w.cut()
    w.site.roll_back(copy)
    [since] = w.site.book(1, 20)
    w.heal()
    await until(lambda: w.hub.stream().stopped or w.site.stream().stopped)
    assert w.hub.book(2, 12)[0].status == "confirmed"
    await until(lambda: w.hub.up() and w.site.up())
    await w.quiet()
    assert {told.id, since.id} <= w.site.bookings().keys() & w.hub.bookings().keys()


@rule("stream-7")
@story(equal=False)
async def test_a_batch_that_does_not_continue_the_chain_stops_the_stream(w: World):
    batch = slip_in(w, w.site, encode(WeatherTold(rain=True)), must=False)
    w.hub.pumps[SITE]._on_batch(TOPICS.up, msgspec.json.encode(msgspec.structs.replace(batch, prev="0" * 32)), False)
    await asyncio.sleep(0.05)
    assert "chain differs" in w.hub.stream().stopped


@rule("stream-8")
@story()
async def test_a_fact_without_its_slots_is_stored_displaced_and_told(w: World):
    await w.dark()
    w.site.book(2, 12, override=True)
    [sold] = w.hub.book(2, 14)
    [after] = w.hub.book(3, 12)
    await w.healed()
    found = w.hub.bookings()
    assert sum(b.displaced for b in found.values()) == 1 and not found[sold.id].displaced
    assert w.site.booking(after.id) is not None


@rule("stream-9")
@story(limits=Limits(batch_max=64))
async def test_a_long_cut_refuses_no_local_sale_and_the_backlog_is_told_afterwards(w: World):
    await w.dark()
    sold = [w.site.book(1, start)[0].id for start in range(4, 188, 4)]
    waiting = w.site.stream().sent_no - w.site.stream().acked_no
    assert waiting == len(sold) == 46
    await w.healed()
    assert set(w.hub.bookings()) == set(sold)
