"""What the link says of doors and machines beside sales: wishes for a door, readers' codes, calls about machines, alarms of a site (stream-2, -6)."""

import pytest

from shared.errors import Refused
from shared.ledger import door_codes, door_wishes, machine_news, old_rows, site_alarms
from shared.ledger.door_wishes import KEPT_S, TRIES_MAX, TRIES_WINDOW_S
from shared.messages import AlarmStated, DoorAnswered, OpenDoor
from shared.model import SiteAlarm
from shared.sealing import Sealer, SealKey
from tests.rules.story import story, until
from tests.two_sides import SITE, World

rule = pytest.mark.rule


def quiet(w: World) -> bool:
    return all(party.stream().acked_no == party.stream().sent_no for party in (w.hub, w.site))


def wish(w: World, party, wish_id: str):
    return party.read(lambda tx: door_wishes.one(tx, wish_id))


@rule("stream-2")
@story()
async def test_a_wish_is_heard_once_answered_once_and_the_first_word_stands(w: World):
    (b,) = w.hub.book(3, 20)
    heard: list[str] = []
    w.site.db.listen(lambda events: heard.extend(key for topic, key in events if topic == "door_wish"))
    ask = lambda wish_id, of=b.id: w.hub.write(lambda tx, desk: door_wishes.ask(tx, desk, wish_id, SITE, of))  # noqa: E731
    first = ask("o-1")
    assert ask("o-1") == first
    await until(lambda: wish(w, w.site, "o-1"))
    w.site.write(lambda tx, desk: door_wishes.hear(tx, desk, OpenDoor(id="o-1", booking_id=b.id, asked_at=first.asked_at), SITE))
    assert heard == ["o-1"], "what a repair sends again is no second press"
    assert [w.site.write(lambda tx, desk, o=o: door_wishes.answer(tx, desk, "o-1", o, detail=o)) for o in ("opened", "failed")] == [
        True,
        False,
    ]
    await until(lambda: wish(w, w.hub, "o-1").outcome)
    late = DoorAnswered(id="o-1", booking_id=b.id, outcome="failed")
    w.hub.write(lambda tx, desk: door_wishes.answered(tx, desk, late, SITE))
    assert (wish(w, w.hub, "o-1").outcome, wish(w, w.hub, "o-1").detail) == ("opened", "opened")
    with pytest.raises(Refused, match="id_reused"):
        ask("o-1", "b-other")
    for n in range(2, TRIES_MAX + 1):
        ask(f"o-{n}")
    with pytest.raises(Refused, match="too_many_tries"):
        ask("o-more")
    w.forward(TRIES_WINDOW_S + 1)
    assert ask("o-more").outcome == ""
    await until(lambda: quiet(w))
    w.forward(KEPT_S + 1)
    for party in (w.hub, w.site):
        party.write(lambda tx, desk: old_rows.forget(tx, desk))
        assert wish(w, party, "o-1") is None


@rule("stream-6")
@story()
async def test_what_an_older_peer_would_not_understand_is_not_sent_to_it(w: World):
    (b,) = w.hub.book(3, 20)
    await until(lambda: quiet(w) and w.site.booking(b.id))
    for party in (w.hub, w.site):
        party.write(lambda tx, desk: tx.run("UPDATE streams SET peer_schema = 3"))
    sent = [party.stream().sent_no for party in (w.hub, w.site)]
    with pytest.raises(Refused, match="site_unreachable"):
        w.hub.write(lambda tx, desk: door_wishes.ask(tx, desk, "o-1", SITE, b.id))
    assert not w.hub.write(lambda tx, desk: machine_news.tell(tx, desk, SITE, "31"))
    assert not w.site.write(lambda tx, desk: door_codes.tell(tx, desk, b, "v-1", "CODE"))
    assert w.site.write(lambda tx, desk: site_alarms.state(tx, desk, SITE, [_alarm()])) == 0
    assert sent == [party.stream().sent_no for party in (w.hub, w.site)]


def _alarm(**more) -> SiteAlarm:
    return SiteAlarm(id="emergency-1", site_id=SITE, kind="emergency_lockdown", text="Locked down.", since_at=1, **more)


@story()
async def test_codes_calls_and_alarms_arrive_and_what_has_ended_does_not_come_back(w: World):
    w.hub.desk.sealer, w.hub.desk.opener = Sealer(bytes(32)), SealKey(bytes(32))
    w.site.desk.seal_to = w.hub.desk.opener.public
    (b,) = w.hub.book(3, 20)
    await until(lambda: w.site.booking(b.id))
    called: list[str] = []
    w.site.db.listen(lambda events: called.extend(key for topic, key in events if topic == "machine_told"))
    w.hub.write(lambda tx, desk: machine_news.tell(tx, desk, SITE, "31"))
    assert w.site.read(lambda tx: door_codes.lacking(tx, w.site.desk, SITE, {b.id: "v-1"})) == [b.id]
    w.site.write(lambda tx, desk: door_codes.tell(tx, desk, b, "v-1", "CODE"))
    assert w.site.read(lambda tx: door_codes.lacking(tx, w.site.desk, SITE, {b.id: "v-1"})) == []
    (row,) = w.site.read(lambda tx: tx.all("SELECT body FROM outbox WHERE type = 'DoorCode'"))
    assert "CODE" not in row[0], "no broker reads it"
    assert w.site.read(lambda tx: door_codes.lacking(tx, w.site.desk, SITE, {b.id: "v-2"})) == [b.id]
    w.site.write(lambda tx, desk: site_alarms.state(tx, desk, SITE, [_alarm()]))
    at_hub = lambda: w.hub.read(lambda tx: site_alarms.current(tx, SITE))  # noqa: E731
    code = lambda: w.hub.read(lambda tx: door_codes.of(tx, w.hub.desk, w.hub.booking(b.id)))  # noqa: E731
    await until(lambda: at_hub() and code() and called)
    assert (code(), called, at_hub()) == ("CODE", ["31"], [_alarm()])
    w.site.write(lambda tx, desk: door_codes.tell(tx, desk, b, "", ""))
    w.site.write(lambda tx, desk: site_alarms.state(tx, desk, SITE, []))
    await until(lambda: not at_hub() and not code())
    w.hub.write(lambda tx, desk: site_alarms.apply(tx, desk, AlarmStated(alarm=_alarm())))
    assert at_hub() == []
    w.forward(40 * 86_400)
    w.hub.write(lambda tx, desk: old_rows.forget(tx, desk))
    assert w.hub.read(lambda tx: tx.all("SELECT id FROM site_alarms")) == []
