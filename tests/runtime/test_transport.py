"""The in-memory network carries, forgets, repeats and cuts exactly as told, and the same seed gives the same run."""

import heapq
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.runtime.transport import Faults, MemoryNetwork, Will, check_filter, check_topic, topic_matches

UP, DOWN = "clubos/v1/bedford/up", "clubos/v1/bedford/down"
STATE = "clubos/v1/bedford/state/site"


class Agenda:
    """A virtual clock: what is due is run in order of time, then of asking."""

    def __init__(self):
        self.now_s = 0.0
        self._due = []
        self._asked = 0

    def call_later(self, delay_s, function):
        self._asked += 1
        heapq.heappush(self._due, (self.now_s + delay_s, self._asked, function))

    def run(self):
        while self._due:
            self.now_s, _, function = heapq.heappop(self._due)
            function()


class World:
    """A hub and a site on one network; `heard` is what the hub's and the site's handlers were given."""

    def __init__(self, seed=1, faults=None):
        self.agenda = Agenda()
        self.network = MemoryNetwork(Random(seed), self.agenda.call_later, faults)
        self.heard = []
        self.events = []
        self.hub = self.join("hub", "clubos/v1/+/up", "clubos/v1/+/state/site")
        self.site = self.join("site-bedford", DOWN, will=Will(STATE, b"gone"))
        self.agenda.run()

    def join(self, client_id, *filters, will=None):
        transport = self.network.attach(client_id, will)
        for topic_filter in filters:
            transport.subscribe(topic_filter, lambda *message: self.heard.append((client_id, *message)))
        transport.on_connect.append(lambda: self.events.append((client_id, "came")))
        transport.on_disconnect.append(lambda: self.events.append((client_id, "went")))
        transport.open()
        return transport

    def send(self, count, start=0):
        for number in range(start, start + count):
            self.site.publish(UP, b"%d" % number)

    def payloads(self):
        return [payload for _, _, payload, _ in self.heard]


def test_messages_arrive_in_order_both_ways():
    world = World(faults=Faults(delay_s=(0.0, 1.0)))
    world.send(50)
    world.hub.publish(DOWN, b"answer")
    world.agenda.run()
    assert [payload for who, _, payload, _ in world.heard if who == "hub"] == [b"%d" % n for n in range(50)]
    assert ("site-bedford", DOWN, b"answer", False) in world.heard


def test_what_is_published_while_not_connected_is_dropped_silently():
    world = World()
    world.network.cut("site-bedford")
    world.send(3)
    world.network.heal("site-bedford")
    world.agenda.run()
    assert world.payloads() == [b"gone"]
    assert world.site.connected


def test_a_late_subscriber_gets_the_retained_message_marked_as_such_and_an_empty_one_clears_it():
    world = World()
    world.site.publish(STATE, b"here", retain=True)
    world.agenda.run()
    world.heard.clear()
    world.join("screen", "clubos/v1/bedford/#")
    world.agenda.run()
    assert world.heard == [("screen", STATE, b"here", True)]
    world.site.publish(STATE, b"", retain=True)
    world.agenda.run()
    world.heard.clear()
    world.join("second-screen", "clubos/v1/bedford/#")
    world.agenda.run()
    assert world.heard == []


def test_a_cut_client_is_announced_by_its_will_and_healing_brings_it_back():
    world = World()
    world.network.cut("site-bedford")
    world.agenda.run()
    assert world.heard == [("hub", STATE, b"gone", False)]
    assert not world.site.connected
    world.network.heal("site-bedford")
    world.agenda.run()
    assert world.events[-2:] == [("site-bedford", "went"), ("site-bedford", "came")]
    world.hub.publish(DOWN, b"welcome back")
    world.agenda.run()
    assert world.heard[-1] == ("site-bedford", DOWN, b"welcome back", False)


@pytest.mark.parametrize(("way", "hub_hears", "site_hears"), [("to_broker", False, True), ("from_broker", True, False)])
def test_a_one_way_cut_swallows_one_direction_and_nobody_notices(way, hub_hears, site_hears):
    world = World()
    world.network.cut("site-bedford", way)
    world.send(1)
    world.hub.publish(DOWN, b"x")
    world.agenda.run()
    assert {who for who, *_ in world.heard} == ({"hub"} if hub_hears else set()) | ({"site-bedford"} if site_hears else set())
    assert world.site.connected and ("site-bedford", "went") not in world.events
    world.network.heal("site-bedford")
    world.heard.clear()
    world.send(1)
    world.hub.publish(DOWN, b"x")
    world.agenda.run()
    assert len(world.heard) == 2


def test_a_half_open_connection_loses_everything_but_says_no_will():
    world = World()
    world.network.cut("site-bedford", noticed=False)
    world.send(2)
    world.agenda.run()
    assert world.heard == [] and world.site.connected


def test_what_is_under_way_dies_with_the_connection():
    world = World(faults=Faults(delay_s=(1.0, 1.0)))
    world.send(3)
    world.network.cut("site-bedford")
    world.network.heal("site-bedford")
    world.agenda.run()
    assert b"0" not in world.payloads() and b"gone" in world.payloads()


def test_a_clean_stop_delivers_what_was_sent_and_says_the_will():
    world = World(faults=Faults(delay_s=(1.0, 1.0)))
    world.send(1)
    world.site.close()
    world.agenda.run()
    assert world.payloads() == [b"0", b"gone"]
    world.network.heal("site-bedford")
    world.agenda.run()
    assert not world.site.connected


def test_a_crashed_client_stays_away_until_it_is_attached_again():
    world = World()
    world.network.crash("site-bedford")
    world.network.heal("site-bedford")
    world.agenda.run()
    assert not world.site.connected
    again = world.join("site-bedford", DOWN)
    world.agenda.run()
    assert again.connected
    world.site.publish(UP, b"ghost")
    world.agenda.run()
    assert b"ghost" not in world.payloads()


def test_a_second_client_of_the_same_id_throws_the_first_out():
    world = World()
    second = world.join("site-bedford", DOWN)
    world.agenda.run()
    assert second.connected and not world.site.connected
    world.hub.publish(DOWN, b"only once")
    world.agenda.run()
    assert world.payloads().count(b"only once") == 1


@pytest.mark.parametrize(("wipe", "kept"), [(False, [b"here"]), (True, [])])
def test_a_killed_broker_says_no_will_and_comes_back_with_or_without_its_memory(wipe, kept):
    world = World()
    world.site.publish(STATE, b"here", retain=True)
    world.agenda.run()
    world.heard.clear()
    world.network.kill_broker()
    world.agenda.run()
    assert world.heard == [] and not world.hub.connected and not world.site.connected
    world.network.start_broker(wipe=wipe)
    world.agenda.run()
    assert world.hub.connected and world.site.connected
    assert world.payloads() == kept


def test_loss_drops_about_its_share_on_each_hop():
    world = World(faults=Faults(loss=0.5))
    world.send(1000)
    world.agenda.run()
    assert 180 < len(world.heard) < 320  # 0.5 on each of two hops


def test_duplicates_come_twice_and_reorder_overtakes():
    twice = World(faults=Faults(duplicate=1.0))
    twice.send(1)
    twice.agenda.run()
    assert twice.payloads() == [b"0"] * 4  # twice on each of two hops
    mixed = World(faults=Faults(delay_s=(0.0, 1.0), reorder=0.5))
    mixed.send(100)
    mixed.agenda.run()
    numbers = [int(payload) for payload in mixed.payloads()]
    assert sorted(numbers) == list(range(100)) and numbers != sorted(numbers)


def test_stale_messages_can_be_replayed_to_who_subscribed_to_them():
    world = World()
    world.send(5)
    world.agenda.run()
    world.heard.clear()
    assert world.network.replay("hub", 2) == 2
    assert world.network.replay("site-bedford", 2) == 0
    world.agenda.run()
    assert len(world.heard) == 2 and set(world.payloads()) <= {b"%d" % n for n in range(5)}
    world.network.faults = Faults(replay=1.0)
    world.send(1, start=9)
    world.agenda.run()
    assert len(world.heard) == 4


def bad_day(seed):
    faults = Faults(delay_s=(0.0, 2.0), loss=0.2, duplicate=0.2, reorder=0.3, replay=0.1)
    world = World(seed, faults)
    for number in range(200):
        world.send(1, start=number)
        if number % 40 == 20:
            world.network.cut("site-bedford")
        if number % 40 == 30:
            world.network.heal("site-bedford")
        if number == 100:
            world.network.kill_broker()
            world.network.start_broker(wipe=True)
        world.agenda.run()
    return world.heard, world.events


def test_the_same_seed_gives_the_same_run_and_another_seed_another():
    assert bad_day(7) == bad_day(7)
    assert bad_day(7) != bad_day(8)


def test_an_exception_in_a_handler_reaches_whoever_drives_the_world():
    world = World()

    def broken(*_message):
        raise ZeroDivisionError

    world.hub.subscribe("clubos/v1/+/hello/site", broken)
    world.agenda.run()
    world.site.publish("clubos/v1/bedford/hello/site", b"{}")
    with pytest.raises(ZeroDivisionError):
        world.agenda.run()


@pytest.mark.parametrize("topic", ["", "a/+/b", "a/#", "a\0b", "é" * 40_000])
def test_a_topic_that_cannot_be_published_to_is_refused(topic):
    with pytest.raises(ValueError, match="not a topic"):
        check_topic(topic)


@pytest.mark.parametrize("topic_filter", ["", "a/b+", "a/#/b", "#a", "a#", "+a/b", "a\0"])
def test_a_malformed_filter_is_refused(topic_filter):
    with pytest.raises(ValueError, match="not a topic filter"):
        check_filter(topic_filter)


@pytest.mark.parametrize("settings", [{"loss": 1.5}, {"delay_s": (2.0, 1.0)}, {"reorder": -0.1}])
def test_impossible_faults_are_refused(settings):
    with pytest.raises(ValueError):
        Faults(**settings)


def test_cutting_somebody_who_is_not_there_is_an_error():
    with pytest.raises(KeyError, match="nobody"):
        World().network.cut("nobody")


@pytest.mark.parametrize(
    ("topic_filter", "topic", "matches"),
    [
        ("a/b", "a/b", True),
        ("a/+", "a/b", True),
        ("a/+", "a/b/c", False),
        ("a/+", "a", False),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("#", "a/b", True),
        ("+/b", "a/b", True),
        ("#", "$SYS/uptime", False),
        ("+/uptime", "$SYS/uptime", False),
        ("$SYS/#", "$SYS/uptime", True),
        ("a/b", "a/bc", False),
        ("+/+", "/a", True),
    ],
)
def test_filters_match_as_mqtt_says(topic_filter, topic, matches):
    check_filter(topic_filter)
    assert topic_matches(topic_filter, topic) is matches


LEVELS = st.lists(st.sampled_from(["a", "b", "", "up"]), min_size=1, max_size=5).filter(lambda levels: levels != [""])


@given(LEVELS, st.data())
def test_a_filter_made_from_a_topic_by_wildcards_matches_it(levels, data):
    widened = [data.draw(st.sampled_from([level, "+"])) for level in levels]
    if data.draw(st.booleans()):
        widened[data.draw(st.integers(0, len(widened) - 1)) :] = ["#"]
    assert topic_matches("/".join(widened), "/".join(levels))
    assert not topic_matches("/".join([*levels, "more"]), "/".join(levels))
