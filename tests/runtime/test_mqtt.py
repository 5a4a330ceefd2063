"""The link over a real broker: both ways, only where allowed, back after a crash, and never in the way of the event loop."""

import asyncio
import logging
import socket
import ssl
import time
from contextlib import asynccontextmanager

import pytest
import uvloop

from deploy.broker import BrokerTls, Mosquitto
from deploy.emulators.tls import self_signed
from shared.runtime.mqtt import UNACKNOWLEDGED_MAX, MqttTransport, Patience, TlsSettings, TransportConfigError
from shared.runtime.transport import Will
from tests.brokers import PASSWORDS, USERS, embedded_broker, mosquitto

__all__ = ["embedded_broker", "mosquitto"]

UP, DOWN = "clubos/v1/bedford/up", "clubos/v1/bedford/down"
STATE = "clubos/v1/bedford/state/site"
HASTY = Patience(connect_s=0.6, answer_s=0.6, again_min_s=0.02, again_max_s=0.1, settled_s=5)
LAG_MAX_S = 0.55  # of the event loop, while other programs share the machine; a blocked one shows 0.6 s and more


@pytest.fixture(params=[pytest.param("mosquitto", marks=pytest.mark.needs_mosquitto), "embedded_broker"])
def broker(request):
    """Each of the two brokers in turn."""
    return request.getfixturevalue(request.param)


async def until(condition, within_s=8.0):
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "what the test waits for did not happen in time"
        await asyncio.sleep(0.005)


class Listener:
    """Collects what a transport hears."""

    def __init__(self, transport, *filters):
        self.heard = []
        for topic_filter in filters:
            transport.subscribe(topic_filter, lambda *message: self.heard.append(message))

    def payloads(self, topic):
        return [payload for heard, payload, _ in self.heard if heard == topic]


def link(broker, user, client_id=None, **settings):
    settings = {"patience": HASTY, "username": user, "password": PASSWORDS.get(user, "wrong"), **settings}
    return MqttTransport("127.0.0.1", broker.port, client_id or f"{user}-box1", **settings)


@asynccontextmanager
async def connected(*transports):
    for transport in transports:
        await transport.start()
    try:
        await until(lambda: all(transport.connected for transport in transports))
        yield
    finally:
        for transport in transports:
            await transport.stop()


@asynccontextmanager
async def lag_watched():
    """Measures the longest time the loop did not get round to a task that wants to run every 5 ms."""
    lags = [0.0]

    async def watch():
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.005)
            lags.append(time.perf_counter() - before - 0.005)

    task = asyncio.create_task(watch())
    try:
        yield lags
    finally:
        task.cancel()
    assert max(lags) < LAG_MAX_S, f"the event loop stood still for {max(lags):.3f} s"


async def settle(hub, site, ears, topic=UP):
    """A marker from the site has reached the hub, so everything the site sent before it has too."""
    marker = b"marker %d" % time.monotonic_ns()
    site.publish(topic, marker)
    await until(lambda: marker in ears.payloads(topic))


async def heard_both_ways(hub, site, at_hub, at_site):
    """Each has heard the other: its subscription, which is asked for only once it is connected, holds."""

    def greeted():
        site.publish(UP, b"hello")
        hub.publish(DOWN, b"hello")
        return at_hub.heard and at_site.heard

    await until(greeted)
    await settle(hub, site, at_hub)
    hub.publish(DOWN, b"and no more")
    await until(lambda: b"and no more" in at_site.payloads(DOWN))
    at_hub.heard.clear()
    at_site.heard.clear()


async def both_ways(broker) -> tuple[list, list]:
    """What the hub and the site hear of 300 messages each way."""
    patient = Patience()  # nobody goes away here, and on a machine that stands still for a second nothing is to be lost
    hub, site = link(broker, "hub", patience=patient), link(broker, "bedford", patience=patient)
    at_hub, at_site = Listener(hub, "clubos/v1/+/up"), Listener(site, DOWN)
    async with connected(hub, site):
        await heard_both_ways(hub, site, at_hub, at_site)
        for number in range(300):
            site.publish(UP, b"up %d" % number)
            hub.publish(DOWN, b"down %d" % number)
        await until(lambda: len(at_hub.heard) >= 300 and len(at_site.heard) >= 300)
    return at_hub.heard, at_site.heard


EACH_WAY = tuple([(topic, b"%s %d" % (word, number), False) for number in range(300)] for topic, word in ((UP, b"up"), (DOWN, b"down")))


async def test_messages_go_both_ways_in_order(broker):
    assert await both_ways(broker) == EACH_WAY


@pytest.mark.needs_mosquitto
def test_messages_go_both_ways_on_uvloop(mosquitto):
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(both_ways(mosquitto)) == EACH_WAY


@pytest.mark.needs_mosquitto
async def test_a_large_message_and_a_burst_get_through(mosquitto):
    hub, site = link(mosquitto, "hub"), link(mosquitto, "bedford")
    ears = Listener(hub, "clubos/v1/+/up")
    async with connected(hub, site), lag_watched():
        site.publish(UP, b"x" * 3_000_000)
        for number in range(2_000):
            site.publish(UP, b"%d" % number)
        await until(lambda: len(ears.heard) == 2_001)
    assert len(ears.heard[0][1]) == 3_000_000 and ears.heard[-1][1] == b"1999"
    assert site.dropped_total == 0


async def test_a_site_can_neither_read_nor_write_another_sites_tree(broker):
    hub, bedford, dartmouth = link(broker, "hub"), link(broker, "bedford"), link(broker, "dartmouth")
    at_hub = Listener(hub, "clubos/v1/+/up", "clubos/v1/+/hello/site", "clubos/v1/+/state/site")
    spied_on = ("clubos/v1/bedford/up", "clubos/v1/bedford/down", "clubos/v1/bedford/state/site", "clubos/v1/#", "clubos/v1/+/down")
    spy = Listener(dartmouth, *spied_on)
    at_bedford = Listener(bedford, DOWN)
    own = Listener(dartmouth, "clubos/v1/dartmouth/down")
    async with connected(hub, bedford, dartmouth):
        dartmouth.publish("clubos/v1/bedford/up", b"forged up")
        dartmouth.publish("clubos/v1/bedford/down", b"forged down")
        dartmouth.publish("clubos/v1/dartmouth/down", b"own wrong way")
        bedford.publish("clubos/v1/bedford/hello/hub", b"as if the hub")
        hub.publish("clubos/v1/bedford/up", b"as if the site")
        bedford.publish(STATE, b"secret", retain=True)
        hub.publish("clubos/v1/dartmouth/down", b"for dartmouth")
        hub.publish(DOWN, b"for bedford")
        await settle(hub, dartmouth, at_hub, "clubos/v1/dartmouth/up")
        await settle(hub, bedford, at_hub, UP)
        await until(lambda: own.payloads("clubos/v1/dartmouth/down") and at_bedford.heard)
    assert own.payloads("clubos/v1/dartmouth/down") == [b"for dartmouth"]
    assert [payload for _, payload, _ in at_bedford.heard] == [b"for bedford"]
    assert not [message for message in spy.heard if not message[0].startswith("clubos/v1/dartmouth/")]
    assert not [payload for _, payload, _ in at_hub.heard if payload.startswith((b"forged", b"own", b"as if"))]


async def test_a_new_connection_is_not_told_what_others_subscribed_to(broker):
    hub, bedford, dartmouth = link(broker, "hub"), link(broker, "bedford"), link(broker, "dartmouth")
    at_hub, at_dartmouth = Listener(hub, "clubos/v1/+/state/site", "clubos/v1/+/up"), Listener(dartmouth, "clubos/v1/dartmouth/down")
    async with connected(hub, bedford):
        bedford.publish(STATE, b"here", retain=True)
        await until(lambda: at_hub.payloads(STATE))
        async with connected(dartmouth):
            hub.publish("clubos/v1/dartmouth/down", b"first")
            await until(lambda: at_dartmouth.heard)
    assert [payload for _, payload, _ in at_dartmouth.heard] == [b"first"]


@pytest.mark.parametrize("user", ["bedford", "nobody"])
async def test_a_wrong_password_or_user_is_refused_and_said_once(broker, user, caplog):
    transport = link(broker, user, password="guessed")
    with caplog.at_level(logging.INFO):
        await transport.start()
        await until(lambda: caplog.records)
        await asyncio.sleep(0.2)
        await transport.stop()
    assert not transport.connected
    (record,) = [record for record in caplog.records if record.name == "shared.runtime.mqtt"]
    assert "away" in record.getMessage() and "guessed" not in caplog.text


async def test_presence_is_up_at_connect_and_down_after_a_clean_stop_and_is_retained(broker):
    hub, site = link(broker, "hub"), link(broker, "bedford", will=Will(STATE, b"down"))
    site.on_connect.append(lambda: site.publish(STATE, b"up", retain=True))
    ears = Listener(hub, "clubos/v1/+/state/site")
    async with connected(hub):
        async with connected(site):
            await until(lambda: ears.heard)
            assert ears.payloads(STATE) == [b"up"]
        await until(lambda: len(ears.heard) > 1)
        assert ears.payloads(STATE) == [b"up", b"down"]
        late = link(broker, "hub", "hub-late")
        late_ears = Listener(late, STATE)
        async with connected(late):
            await until(lambda: late_ears.heard)
        assert late_ears.heard == [(STATE, b"down", True)]


@pytest.mark.needs_mosquitto
async def test_the_broker_says_the_will_of_a_client_that_vanished(mosquitto):
    hub, site = link(mosquitto, "hub"), link(mosquitto, "bedford", will=(STATE, b"down", True))
    ears = Listener(hub, "clubos/v1/+/state/site")
    async with connected(hub, site):
        site._connection.client.socket().shutdown(socket.SHUT_RDWR)  # the cable, not the client
        await until(lambda: ears.payloads(STATE))
        await until(lambda: site.connected)
    assert ears.payloads(STATE)[0] == b"down"


async def test_after_a_killed_broker_the_link_comes_back_subscribes_again_and_logs_twice(broker, caplog):
    hub, site = link(broker, "hub", log=logging.getLogger("hub")), link(broker, "bedford")
    went = []
    hub.on_disconnect.append(lambda: went.append(hub.connected))
    ears = Listener(hub, "clubos/v1/+/up")
    caplog.set_level(logging.INFO, "hub")
    async with connected(hub, site):
        broker.kill()
        await until(lambda: not hub.connected and not site.connected)
        for number in range(5):
            site.publish(UP, b"into nothing %d" % number)
        await asyncio.sleep(0.2)
        async with lag_watched():
            await asyncio.to_thread(broker.restart, wipe=True)
            await until(lambda: hub.connected and site.connected)
        await settle(hub, site, ears)
    assert went[0] is False and site.dropped_total >= 5
    assert not [payload for payload in ears.payloads(UP) if payload.startswith(b"into nothing")]
    said = [record.getMessage() for record in caplog.records if record.name == "hub"]
    assert said == [f"The broker at 127.0.0.1:{broker.port} is {what}" for what in ("away: the connection was lost.", "back.")]


async def test_publishing_before_and_without_a_broker_is_dropped(unused_port):
    transport = MqttTransport("127.0.0.1", unused_port, "bedford-box1", patience=HASTY)
    transport.publish(UP, b"too early")
    await transport.start()
    transport.publish(UP, b"still nobody")
    await transport.stop()
    assert transport.dropped_total == 2 and not transport.connected


@pytest.mark.needs_mosquitto
async def test_a_topic_nobody_can_publish_to_is_dropped_and_logged_not_raised(mosquitto, caplog):
    site = link(mosquitto, "bedford")
    async with connected(site):
        site.publish("clubos/v1/+/up", b"x")
        assert site.dropped_total == 1 and "could not be handed" in caplog.text
        site.publish(UP, b"fine")
    assert site.dropped_total == 1


@pytest.mark.needs_mosquitto
async def test_a_failing_handler_or_hook_does_not_cost_the_connection(mosquitto, caplog):
    hub, site = link(mosquitto, "hub"), link(mosquitto, "bedford")

    def fail(*_):
        raise ValueError("broken on purpose")

    hub.on_connect.append(fail)
    hub.subscribe("clubos/v1/+/hello/site", fail)
    ears = Listener(hub, "clubos/v1/+/up")
    async with connected(hub, site):
        site.publish("clubos/v1/bedford/hello/site", b"{}")
        await settle(hub, site, ears)
        assert hub.connected
    assert caplog.text.count("ValueError: broken on purpose") == 2


@pytest.mark.needs_mosquitto
async def test_a_handler_may_answer_and_a_subscription_may_come_late(mosquitto):
    hub, site = link(mosquitto, "hub"), link(mosquitto, "bedford")
    site.subscribe(DOWN, lambda topic, payload, _: site.publish(UP, b"re: " + payload))
    async with connected(hub, site):
        ears = Listener(hub, "clubos/v1/+/up")
        hub.publish(DOWN, b"question")
        await until(lambda: ears.heard)
    assert ears.heard == [(UP, b"re: question", False)]


@pytest.mark.needs_mosquitto
async def test_what_is_published_is_on_the_socket_before_publish_returns(mosquitto):
    site = link(mosquitto, "bedford")
    async with connected(site):
        site.publish(UP, b"now")
        assert not site._connection.client.want_write()


async def serve_silence(answer=b"", **settings):
    """A listener on a free port that accepts and answers `answer` or nothing at all."""
    accepted = []

    async def accept(reader, writer):
        accepted.append(writer)
        if answer:
            await reader.read(100)
            writer.write(answer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, **settings)
    return server, server.sockets[0].getsockname()[1], accepted


async def test_a_broker_that_accepts_and_never_answers_is_left_and_tried_again(caplog):
    server, port, accepted = await serve_silence()
    transport = MqttTransport("127.0.0.1", port, "bedford-box1", patience=HASTY)
    async with lag_watched():
        await transport.start()
        await until(lambda: len(accepted) >= 2)
        await transport.stop()
    assert "does not answer" in caplog.text
    server.close()


async def test_something_that_does_not_speak_mqtt_is_survived(caplog):
    server, port, accepted = await serve_silence(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    transport = MqttTransport("127.0.0.1", port, "bedford-box1", patience=HASTY)
    await transport.start()
    await until(lambda: len(accepted) >= 2)
    await transport.stop()
    assert not transport.connected and caplog.text.count("is away") == 1
    server.close()


async def test_a_broker_that_stops_reading_fills_up_to_the_limit_and_no_further(caplog):
    server, port, _ = await serve_silence(b"\x20\x02\x00\x00")  # CONNACK, then silence
    transport = MqttTransport("127.0.0.1", port, "bedford-box1", patience=Patience(leave_s=0.05))
    await transport.start()
    await until(lambda: transport.connected)
    for _ in range(UNACKNOWLEDGED_MAX + 50):
        transport.publish(UP, b"x" * 200)
    assert transport.dropped_total == 50 and caplog.text.count("are dropped until") == 1
    await transport.stop()
    server.close()


async def test_a_silent_peer_is_noticed_by_the_keepalive():
    server, port, accepted = await serve_silence(b"\x20\x02\x00\x00")
    transport = MqttTransport("127.0.0.1", port, "bedford-box1", keepalive_s=1, patience=HASTY)
    came, went = [], []
    transport.on_connect.append(lambda: came.append(time.monotonic()))
    transport.on_disconnect.append(lambda: went.append(time.monotonic()))
    await transport.start()
    await until(lambda: went and len(accepted) >= 2)
    await transport.stop()
    server.close()
    assert 1 <= went[0] - came[0] < 5, "a keepalive of 1 s"


async def test_a_name_look_up_that_hangs_does_not_stop_the_loop_nor_the_stop(monkeypatch):
    asked = []

    def hang(host, *_args, **_kwargs):
        asked.append(host)
        time.sleep(0.6)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr("shared.runtime.mqtt.socket.getaddrinfo", hang)
    transport = MqttTransport("broker.example.test", 1883, "bedford-box1", patience=HASTY)
    async with lag_watched():
        await transport.start()
        await until(lambda: len(asked) >= 2)
        began_at = time.monotonic()
        await transport.stop()
    assert time.monotonic() - began_at < 0.3


async def test_a_name_that_is_no_name_is_said_and_survived(caplog):
    transport = MqttTransport("x" * 80 + ".example.test", 1883, "bedford-box1", patience=HASTY)
    await transport.start()
    await until(lambda: caplog.text)
    await transport.stop()
    assert "cannot be looked up" in caplog.text and not transport.connected


@pytest.mark.needs_mosquitto
async def test_without_a_name_server_the_last_known_address_is_used(mosquitto, monkeypatch):
    site = MqttTransport("localhost", mosquitto.port, "b1", username="bedford", password=PASSWORDS["bedford"], patience=HASTY)

    def gone(*_args, **_kwargs):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    async with connected(site):
        known = site._connection.client.socket().getpeername()
        monkeypatch.setattr("shared.runtime.mqtt.socket.getaddrinfo", gone)
        mosquitto.kill()
        await until(lambda: not site.connected)
        mosquitto.start()
        await until(lambda: site.connected)
        assert site._connection.client.socket().getpeername() == known


async def test_an_address_that_swallows_packets_does_not_stop_the_loop(caplog):
    """A listener whose queue is full drops SYNs, like a host behind a dead route."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        queued = []
        for _ in range(4):
            waiting = socket.socket()
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
            queued.append(waiting)
        transport = MqttTransport("127.0.0.1", full.getsockname()[1], "bedford-box1", patience=HASTY)
        async with lag_watched():
            await transport.start()
            await until(lambda: "is away" in caplog.text)
            await transport.stop()
        for waiting in queued:
            waiting.close()
    assert "timed out" in caplog.text


@pytest.mark.needs_mosquitto
async def test_stop_leaves_no_task_no_timer_and_no_socket(mosquitto):
    before = asyncio.all_tasks()
    site = link(mosquitto, "bedford", will=Will(STATE, b"down"))
    async with connected(site):
        sock = site._connection.client.socket()
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    assert sock.fileno() == -1 and not site.connected
    assert asyncio.all_tasks() == before
    await site.stop()  # a second time does nothing
    async with connected(site):  # and it can be started again
        assert site.connected


async def test_starting_twice_is_refused(unused_port):
    transport = MqttTransport("127.0.0.1", unused_port, "bedford-box1", patience=HASTY)
    await transport.start()
    with pytest.raises(RuntimeError, match="started already"):
        await transport.start()
    await transport.stop()


@pytest.mark.parametrize(
    ("host", "port", "client_id", "keepalive_s"),
    [("", 1883, "a", 15), ("h", 0, "a", 15), ("h", 65_536, "a", 15), ("h", 1883, "", 15), ("h", 1883, "a", 0)],
)
def test_impossible_settings_are_refused(host, port, client_id, keepalive_s):
    with pytest.raises(ValueError, match="A link needs"):
        MqttTransport(host, port, client_id, keepalive_s=keepalive_s)


def test_the_pause_between_attempts_doubles_up_to_ten_seconds_with_jitter():
    transport = MqttTransport("127.0.0.1", 1883, "bedford-box1")
    for attempt, longest_s in [(1, 0.2), (2, 0.4), (5, 3.2), (8, 10.0), (5_000, 10.0)]:
        pauses = {transport._pause_s(attempt) for _ in range(50)}
        assert all(longest_s / 2 <= pause <= longest_s for pause in pauses) and len(pauses) > 1


@pytest.mark.needs_mosquitto
async def test_over_tls_the_brokers_certificate_is_checked(tmp_path, caplog):
    made = self_signed(tmp_path / "tls", "broker")
    stranger = self_signed(tmp_path / "other", "broker")
    with Mosquitto(tmp_path / "broker", USERS, tls=BrokerTls(made.cert_path, made.key_path)) as broker:
        hub = link(broker, "hub", tls=TlsSettings(ca_file=str(made.cert_path)))
        site = link(broker, "bedford", tls=TlsSettings(ca_file=str(made.cert_path)))
        ears = Listener(hub, "clubos/v1/+/up")
        async with connected(hub, site):
            assert isinstance(site._connection.client.socket(), ssl.SSLSocket)
            for number in range(200):
                site.publish(UP, b"%d" % number * 300)
            await until(lambda: len(ears.heard) == 200)
        fooled = link(broker, "bedford", tls=TlsSettings(ca_file=str(stranger.cert_path)))
        await fooled.start()
        await until(lambda: "certificate verify failed" in caplog.text)
        assert not fooled.connected
        await fooled.stop()


async def test_several_messages_in_one_tls_record_are_all_heard(tmp_path):
    """What TLS has decrypted and not handed out makes no socket readable; the rest would wait for the next message."""
    made = self_signed(tmp_path, "broker")
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(made.cert_path, made.key_path)
    packets = b"".join(b"\x30\x05\x00\x01a" + b"%02d" % number for number in range(20))
    server, port, _ = await serve_silence(b"\x20\x02\x00\x00" + packets, ssl=served)
    transport = MqttTransport("127.0.0.1", port, "bedford-box1", tls=TlsSettings(ca_file=str(made.cert_path)), patience=HASTY)
    ears = Listener(transport, "a")
    async with connected(transport):
        await until(lambda: len(ears.heard) >= 20)
    assert ears.payloads("a") == [b"%02d" % number for number in range(20)]
    server.close()


@pytest.mark.parametrize("settings", [{"ca_file": "no-such-file.pem"}, {"cert_file": "only-half.pem"}])
def test_tls_files_that_cannot_be_used_are_named_at_once(settings):
    with pytest.raises(TransportConfigError, match="no-such-file.pem|both cert_file and key_file"):
        MqttTransport("127.0.0.1", 8883, "bedford-box1", tls=TlsSettings(**settings))


@pytest.fixture
def unused_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
