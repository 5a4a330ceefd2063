"""The link over MQTT 3.1.1: paho driven by asyncio, without a thread of its own. The only file that imports paho.

For: `MqttTransport`, the `Transport` that site agent and hub use in earnest.
Not for: promises. QoS 1 and a clean session, a fresh paho client for every connection: the stream above resends what matters, so
nothing old may be resent from here or from the broker's memory.
Invariant: everything but looking up the broker's name, connecting and the TLS handshake happens on the event loop's thread,
and that thread never waits for the network; `publish` writes to the socket before it returns whenever the socket takes it.

Both ends need TCP_NODELAY: a request and its reply cost 44 ms more for each side that leaves it off.
"""

import asyncio
import logging
import socket
import ssl
import threading
from dataclasses import dataclass
from random import Random

from paho.mqtt import client as paho
from paho.mqtt.reasoncodes import ReasonCode

from shared.runtime.transport import Handler, Hook, Subscriptions, Will, check_topic

QOS = 1
UNACKNOWLEDGED_MAX = 10_000  # messages handed over and not yet acknowledged by the broker; beyond it they are dropped


class TransportConfigError(ValueError):
    """The settings of the link cannot work (a certificate file is missing or unreadable). The sentence is for the operator."""


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """TLS towards the broker. Without `ca_file` the machine's own authorities count; certificate and key go together.

    `server_name`: the name the broker's certificate must carry, when it is not the host one connects to.
    """

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    server_name: str | None = None

    def context(self) -> ssl.SSLContext:
        """Raises TransportConfigError, naming the files, when they cannot be used."""
        if (self.cert_file is None) != (self.key_file is None):
            raise TransportConfigError("The link's TLS settings need both cert_file and key_file, or neither.")
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.cert_file is not None:
                context.load_cert_chain(self.cert_file, self.key_file)
        except (OSError, ssl.SSLError) as error:
            files = ", ".join(name for name in (self.ca_file, self.cert_file, self.key_file) if name)
            raise TransportConfigError(f"The link's TLS files ({files}) cannot be used: {error}.") from error
        return context


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the link waits, in seconds, and how far apart its attempts are."""

    connect_s: float = 3.0  # for one address of the broker
    answer_s: float = 3.0  # for the broker's answer to CONNECT
    again_min_s: float = 0.2
    again_max_s: float = 10.0
    settled_s: float = 5.0  # a connection that lasted this long starts the back-off anew
    leave_s: float = 0.5  # for acknowledgements when stopping


class _Client(paho.Client):
    """paho on a socket that is already connected, so that it never looks up, connects or shakes hands by itself."""

    def __init__(self, client_id: str, sock: socket.socket) -> None:
        super().__init__(paho.CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=True, protocol=paho.MQTTv311)
        self.max_inflight_messages = 0
        self.max_queued_messages = UNACKNOWLEDGED_MAX
        self._ready_socket = sock

    def _create_socket(self) -> socket.socket:
        return self._ready_socket


class _Connection:
    """One connection from CONNECT to its end. `answered` resolves at CONNACK with None or the refusal, `ended` with the reason."""

    def __init__(self, client: _Client, sock: socket.socket, loop: asyncio.AbstractEventLoop, keepalive_s: int) -> None:
        self.client = client
        self.answered: asyncio.Future[str | None] = loop.create_future()
        self.ended: asyncio.Future[str] = loop.create_future()
        self._loop = loop
        self._sock = sock
        self._fd = sock.fileno()
        self._tls = isinstance(sock, ssl.SSLSocket)
        self._reading = False
        self._watching = False
        self._tick_s = keepalive_s / 5
        self._ticker: asyncio.TimerHandle | None = None
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_socket_close = lambda *_: self._release()
        # That a hook is set is enough: it keeps paho from writing by itself; when to write is decided in `flush`.
        client.on_socket_register_write = lambda *_: None

    def open(self, host: str, port: int, keepalive_s: int) -> None:
        self.client.connect_async(host, port, keepalive_s)
        self.client.reconnect()
        if self.client.socket() is not self._sock:
            raise RuntimeError("This version of paho opens its own socket; the link needs one that takes a connected socket.")
        self._loop.add_reader(self._fd, self._readable)
        self._ticker = self._loop.call_later(self._tick_s, self._tick)
        self.flush()

    def flush(self) -> None:
        """Write now what the socket takes, and watch the descriptor only for what it did not take. Inside a callback of paho
        this waits for the end of that read: paho's locks allow no more, and all that the read caused goes out together."""
        if self._reading:
            return
        if self.client.want_write():
            self.client.loop_write()
        waiting = self.client.want_write() and self._fd >= 0
        if waiting and not self._watching:
            self._loop.add_writer(self._fd, self.flush)
        elif self._watching and not waiting and self._fd >= 0:
            self._loop.remove_writer(self._fd)
        self._watching = waiting

    def close(self) -> None:
        """Drop the connection without a word; safe to call again, and after paho closed the socket by itself."""
        self._release()
        self._sock.close()
        self._end("it was closed on this side")

    def _readable(self) -> None:
        self._reading = True
        try:
            self.client.loop_read()
            # What TLS has decrypted already makes no socket readable.
            while self._tls and self.client.socket() is self._sock and self._sock.pending():
                self.client.loop_read()
        finally:
            self._reading = False
        self.flush()

    def _tick(self) -> None:
        self._ticker = self._loop.call_later(self._tick_s, self._tick)
        self.client.loop_misc()
        self.flush()

    def _on_connect(self, _client: object, _userdata: object, _flags: object, reason: ReasonCode, _properties: object) -> None:
        if not self.answered.done():
            self.answered.set_result(f"it refuses us: {str(reason).lower()}" if reason.is_failure else None)

    def _on_disconnect(self, _client: object, _userdata: object, _flags: object, reason: ReasonCode, _properties: object) -> None:
        said = str(reason).lower()
        self._end("the connection was lost" if said == "unspecified error" else said)

    def _end(self, reason: str) -> None:
        if not self.ended.done():
            self.ended.set_result(reason)

    def _release(self) -> None:
        """Take the descriptor out of the loop before anybody closes it: its number may be given away at once."""
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)
            self._fd = -1


class MqttTransport:
    """A `Transport` through an MQTT broker.

    `will`: (topic, payload, retain), said by the broker when we vanish and by `stop` before we leave, so that retained presence
    is right either way. `keepalive_s` is at least 1. `log` gets one line when the broker goes away, with the reason, and one
    when it is back.
    `dropped_total` counts what was handed over and not sent: not connected, or too much unacknowledged.
    Call everything on the event loop's thread. Raises TransportConfigError for settings that cannot work, ValueError for bad values.
    """

    def __init__(
        self,
        host: str,
        port: int,
        client_id: str,
        *,
        username: str | None = None,
        password: str | None = None,
        tls: TlsSettings | None = None,
        will: Will | tuple[str, bytes, bool] | None = None,
        keepalive_s: int = 15,
        log: logging.Logger | None = None,
        patience: Patience | None = None,
        rng: Random | None = None,
    ) -> None:
        if not host or not 0 < port < 65_536 or not client_id or keepalive_s < 1:
            raise ValueError("A link needs a host, a port from 1 to 65535, a client id and a keepalive of at least one second.")
        self.connected = False
        self.on_connect: list[Hook] = []
        self.on_disconnect: list[Hook] = []
        self.dropped_total = 0
        self._host, self._port, self._client_id = host, port, client_id
        self._username, self._password = username, password
        self._tls_server_name = (tls and tls.server_name) or host
        self._tls = tls.context() if tls else None
        self._will = Will(*will) if will else None
        if self._will is not None:
            check_topic(self._will.topic)
        self._keepalive_s = keepalive_s
        self._log = log or logging.getLogger(__name__)
        self._patience = patience or Patience()
        self._rng = rng or Random()
        self._subscriptions = Subscriptions()
        self._connection: _Connection | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._addresses: list[tuple] = []
        self._came_at: float | None = None
        self._away_told = False
        self._full_told = False

    # -- the port

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Hand over without a promise, never raising: what cannot be sent now is counted and dropped."""
        connection = self._connection
        if connection is None or not self.connected:
            self.dropped_total += 1
            return
        try:
            handed = connection.client.publish(topic, payload, QOS, retain)
            connection.flush()
        except Exception:  # the stream resends; a caller that just committed must not fail here
            self.dropped_total += 1
            self._log.exception("A message of %d bytes to %s could not be handed to the broker.", len(payload), topic)
            return
        if handed.rc != paho.MQTT_ERR_SUCCESS:
            self.dropped_total += 1
            if handed.rc == paho.MQTT_ERR_QUEUE_SIZE:
                self._tell_full()

    def subscribe(self, topic: str, handler: Handler) -> None:
        """As the port says. Filters of one transport should not overlap: the broker may send one copy for each."""
        self._subscriptions.add(topic, handler)
        if self.connected and self._connection is not None:
            self._connection.client.subscribe(topic, QOS)
            self._connection.flush()

    async def start(self) -> None:
        if self._keeper is not None:
            raise RuntimeError("This link has been started already.")
        self._keeper = asyncio.create_task(self._keep_connected(), name=f"mqtt {self._client_id}")

    async def stop(self) -> None:
        """Say the will, give the broker `leave_s` to acknowledge, disconnect. Does nothing when not started."""
        keeper, self._keeper = self._keeper, None
        if keeper is None:
            return
        if self.connected and self._connection is not None:
            await self._take_leave(self._connection)
        keeper.cancel()
        await asyncio.wait({keeper})

    # -- keeping connected

    async def _keep_connected(self) -> None:
        loop = asyncio.get_running_loop()
        attempts = 0
        while True:
            self._came_at = None
            try:
                why = await self._one_connection(loop)
            except OSError as error:
                why = f"{error.strerror or error}".lower()
            except Exception as error:  # nothing that happens to one connection may end the link for good
                if not self._away_told:
                    self._log.exception("The link to the broker failed in an unexpected way.")
                why = str(error)
            if not self._away_told:
                self._away_told = True
                self._log.warning("The broker at %s:%s is away: %s.", self._host, self._port, why, extra={"event": "broker_away"})
            settled = self._came_at is not None and loop.time() - self._came_at >= self._patience.settled_s
            attempts = 1 if settled else attempts + 1
            await asyncio.sleep(self._pause_s(attempts))

    def _pause_s(self, attempts: int) -> float:
        """0.2 s, doubling to 10 s, of which a random half is taken off so that many sites do not come back in step."""
        longest_s = min(self._patience.again_max_s, self._patience.again_min_s * 2 ** min(attempts - 1, 30))
        return longest_s * (1 - self._rng.random() / 2)

    async def _one_connection(self, loop: asyncio.AbstractEventLoop) -> str:
        """From dialling to the end of the connection; returns why it ended, raises OSError when it could not be made."""
        sock = await self._dial(loop)
        connection = _Connection(self._new_client(sock), sock, loop, self._keepalive_s)
        try:
            connection.open(self._host, self._port, self._keepalive_s)
            both = {connection.answered, connection.ended}
            await asyncio.wait(both, timeout=self._patience.answer_s, return_when=asyncio.FIRST_COMPLETED)
            if not connection.answered.done():
                return connection.ended.result() if connection.ended.done() else "it does not answer"
            if (refusal := connection.answered.result()) is not None:
                return refusal
            self._came(connection)
            return await connection.ended
        finally:
            self._connection = None
            connection.close()
            if self.connected:
                self.connected = False
                self._call(self.on_disconnect)

    def _new_client(self, sock: socket.socket) -> _Client:
        client = _Client(self._client_id, sock)
        client.on_message = self._on_message
        client.on_subscribe = self._on_subscribe
        if self._username is not None:
            client.username_pw_set(self._username, self._password)
        if self._will is not None:
            client.will_set(self._will.topic, self._will.payload, QOS, self._will.retain)
        return client

    def _came(self, connection: _Connection) -> None:
        self._connection = connection
        self._came_at = asyncio.get_running_loop().time()
        self.connected = True
        self._full_told = False
        if self._away_told:
            self._away_told = False
            self._log.info("The broker at %s:%s is back.", self._host, self._port, extra={"event": "broker_back"})
        if filters := self._subscriptions.filters():
            connection.client.subscribe([(topic_filter, QOS) for topic_filter in filters])
            connection.flush()
        self._call(self.on_connect)

    async def _take_leave(self, connection: _Connection) -> None:
        if self._will is not None:
            said = connection.client.publish(self._will.topic, self._will.payload, QOS, self._will.retain)
            heard = asyncio.get_running_loop().create_future()

            def acknowledged(_client: object, _userdata: object, mid: int, *_: object) -> None:
                if mid == said.mid and not heard.done():
                    heard.set_result(None)

            connection.client.on_publish = acknowledged
            connection.flush()
            await asyncio.wait({heard, connection.ended}, timeout=self._patience.leave_s, return_when=asyncio.FIRST_COMPLETED)
        connection.client.disconnect()
        connection.flush()

    # -- dialling

    async def _dial(self, loop: asyncio.AbstractEventLoop) -> socket.socket:
        """A connected socket, made on a thread of its own: a name look-up cannot be interrupted and may hang for half a minute,
        and a thread of the loop's pool would hold up the end of the process that long."""
        dialled: asyncio.Future[socket.socket] = loop.create_future()

        def settle(sock: socket.socket | None, error: Exception | None) -> None:
            if dialled.done():  # given up meanwhile
                if sock is not None:
                    sock.close()
            elif sock is not None:
                dialled.set_result(sock)
            else:
                dialled.set_exception(error or OSError("no connection"))

        def dial() -> None:
            sock, error = None, None
            try:
                sock = self._connected_socket()
            except Exception as raised:
                error = raised
            try:
                loop.call_soon_threadsafe(settle, sock, error)
            except RuntimeError:  # the loop has ended
                if sock is not None:
                    sock.close()

        threading.Thread(target=dial, name="mqtt-dial", daemon=True).start()
        return await dialled

    def _connected_socket(self) -> socket.socket:
        """Runs on the dialling thread. Tries every address of the broker in turn; raises the last OSError."""
        failure: OSError = OSError(f"{self._host} has no address")
        for family, kind, protocol, _, address in self._look_up():
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(self._patience.connect_s)
                sock.connect(address)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return self._tls.wrap_socket(sock, server_hostname=self._tls_server_name) if self._tls else sock
            except OSError as error:
                sock.close()
                failure = error
            except BaseException:
                sock.close()
                raise
        raise failure

    def _look_up(self) -> list[tuple]:
        """The broker's addresses; while there is no name server, those it had last."""
        try:
            self._addresses = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that no name server could be asked for
            if not self._addresses:
                raise OSError(f"{self._host} cannot be looked up: {error}") from error
        return self._addresses

    # -- what comes in

    def _on_message(self, _client: object, _userdata: object, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
            for handler in self._subscriptions.handlers_for(topic):
                handler(topic, message.payload, message.retain)
        except Exception:  # one bad message or handler must not cost the connection; the stream above decides what follows
            self._log.exception("A message of %d bytes from the broker could not be handled.", len(message.payload))

    def _on_subscribe(self, _client: object, _userdata: object, _mid: int, reasons: list[ReasonCode], _properties: object) -> None:
        if any(reason.is_failure for reason in reasons):
            self._log.error("The broker refused a subscription of %s; its access list may be wrong.", self._client_id)

    def _call(self, hooks: list[Hook]) -> None:
        for hook in list(hooks):
            try:
                hook()
            except Exception:
                self._log.exception("A hook of the link failed.")

    def _tell_full(self) -> None:
        if not self._full_told:
            self._full_told = True
            self._log.warning("The broker has %d messages to acknowledge; further ones are dropped until it does.", UNACKNOWLEDGED_MAX)
