"""The way messages travel between a site and the hub: the port, and an in-memory broker that can misbehave on purpose.

For: everything that needs to hand bytes to the other side without knowing how they get there (`Transport`), and for
tests and simulations that want loss, delay, repetition, cuts and a broker that forgets, repeatable under a seed (`MemoryNetwork`).
Not for: bookings, streams, acknowledgements. A transport promises nothing; what must arrive is sent again by the stream above it.
Invariant: every handler and hook runs on the event loop's thread (here: on the thread of whoever drives `call_later`), and
`publish` never waits.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from random import Random
from typing import Literal, NamedTuple, Protocol

Handler = Callable[[str, bytes, bool], None]
Hook = Callable[[], None]
CallLater = Callable[[float, Hook], object]
Way = Literal["both", "to_broker", "from_broker"]

TOPICS_MAX = 4_096  # pairs of filter and topic whose matching is remembered: a network has few, and many messages
HISTORY_MAX = 1_000  # publications the memory broker keeps, to replay stale ones


class Will(NamedTuple):
    """What the broker says for a client that went without a word. `payload` is bytes; retained unless told otherwise."""

    topic: str
    payload: bytes
    retain: bool = True


class Transport(Protocol):
    """The port. `handler(topic, payload, retained)`: `retained` is true for what the broker kept from before the subscription."""

    connected: bool
    on_connect: list[Hook]
    on_disconnect: list[Hook]

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Hand over without a promise; dropped silently when not connected."""

    def subscribe(self, topic: str, handler: Handler) -> None:
        """Have `handler` called for a topic filter, again after every reconnect. Raises ValueError on a malformed filter."""

    async def start(self) -> None:
        """Begin to connect and keep connected. Returns at once: being without a broker is a normal state."""

    async def stop(self) -> None:
        """Say the last will, leave and stay away."""


@lru_cache(TOPICS_MAX)
def check_topic(topic: str) -> None:
    """Raise ValueError unless `topic` is a name one may publish to: 1 to 65,535 bytes, no wildcard, no NUL."""
    if not topic or "\0" in topic or "+" in topic or "#" in topic or len(topic.encode()) > 65_535:
        raise ValueError(f"{topic[:80]!r} is not a topic one can publish to: it must be non-empty and free of '+', '#' and NUL.")


def check_filter(topic_filter: str) -> None:
    """Raise ValueError unless `topic_filter` is well formed: '+' fills a whole level, '#' only the last one."""
    levels = topic_filter.split("/")
    ok = bool(topic_filter) and "\0" not in topic_filter and len(topic_filter.encode()) <= 65_535
    for place, level in enumerate(levels):
        ok = ok and (level == "+" or "+" not in level)
        ok = ok and (level == "#" and place == len(levels) - 1 or "#" not in level)
    if not ok:
        raise ValueError(f"{topic_filter[:80]!r} is not a topic filter: '+' must fill a level and '#' must be the last level.")


@lru_cache(TOPICS_MAX)
def topic_matches(topic_filter: str, topic: str) -> bool:
    """MQTT 3.1.1 matching. 'a/#' also matches 'a'; wildcards in the first level do not match topics that begin with '$'."""
    if topic_filter == topic:
        return True
    wanted, given = topic_filter.split("/"), topic.split("/")
    if given[0].startswith("$") and wanted[0] in ("+", "#"):
        return False
    for place, level in enumerate(wanted):
        if level == "#":
            return True
        if place >= len(given) or level not in ("+", given[place]):
            return False
    return len(wanted) == len(given)


class Subscriptions:
    """The handlers of one transport by topic filter. A message goes to every handler whose filter matches, in the order they came."""

    def __init__(self) -> None:
        self._handlers: list[tuple[str, Handler]] = []
        self._found: dict[str, tuple[Handler, ...]] = {}

    def add(self, topic_filter: str, handler: Handler) -> None:
        check_filter(topic_filter)
        self._handlers.append((topic_filter, handler))
        self._found.clear()

    def filters(self) -> list[str]:
        """Every filter once, in the order first added."""
        return list(dict.fromkeys(topic_filter for topic_filter, _ in self._handlers))

    def handlers_for(self, topic: str) -> tuple[Handler, ...]:
        """Found once per topic and remembered: a link has a handful of topics and many messages."""
        found = self._found.get(topic)
        if found is None:
            found = tuple(handler for topic_filter, handler in self._handlers if topic_matches(topic_filter, topic))
            if len(self._found) < HISTORY_MAX:
                self._found[topic] = found
        return found


@dataclass(frozen=True, slots=True)
class Faults:
    """How badly each hop (client to broker, broker to client) behaves. Shares are 0 to 1 per message and hop.

    `delay_s`: drawn evenly from this range. `loss`: the message vanishes. `duplicate`: it comes twice. `reorder`: it overtakes
    others under way. `replay`: an old publication follows it, as after a broker crash. Without `reorder` a hop keeps its order
    whatever the delays, like the TCP connection it stands for.
    """

    delay_s: tuple[float, float] = (0.0, 0.0)
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    replay: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.delay_s[0] <= self.delay_s[1]:
            raise ValueError(f"delay_s must be a rising range of seconds, not {self.delay_s}.")
        for name in ("loss", "duplicate", "reorder", "replay"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share between 0 and 1, not {getattr(self, name)}.")


class _Hop(deque):
    """Messages under way in one direction. Each scheduled arrival takes the head, so order holds whatever the delays."""


class _Line:
    """The network between one client and the broker: what is under way, and where it is cut."""

    def __init__(self, client: "MemoryTransport") -> None:
        self.client = client
        self.known_to_broker = False
        self.filters: tuple[str, ...] = ()
        self._wants: dict[str, bool] = {}
        self.cut_to_broker = False
        self.cut_from_broker = False
        self.up = _Hop()
        self.down = _Hop()

    def subscribe(self, *filters: str) -> None:
        """Every filter once, in the order first added."""
        self.filters = tuple(dict.fromkeys((*self.filters, *filters)))
        self._wants.clear()

    def unsubscribe(self) -> None:
        self.filters = ()
        self._wants.clear()

    def wants(self, topic: str) -> bool:
        """Found once per topic and remembered."""
        found = self._wants.get(topic)
        if found is None:
            found = self._wants[topic] = any(topic_matches(topic_filter, topic) for topic_filter in self.filters)
        return found

    def forget_under_way(self) -> None:
        """What was under way on a connection dies with it; arrivals already scheduled find their hop empty."""
        self.up.clear()
        self.down.clear()
        self.up, self.down = _Hop(), _Hop()


class MemoryNetwork:
    """An MQTT broker and the network around it, in this process, driven by a handed-in scheduler.

    `rng` decides every fault, `call_later(delay_s, function)` runs every delivery; the same seed, the same scheduler and the same
    calls give the same run. `faults` may be replaced at any moment and holds for messages sent from then on.
    """

    def __init__(self, rng: Random, call_later: CallLater, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self._rng = rng
        self._call_later = call_later
        self._lines: dict[str, _Line] = {}
        self._retained: dict[str, bytes] = {}
        self._history: deque[tuple[str, bytes]] = deque(maxlen=HISTORY_MAX)
        self._topics: set[str] = set()
        self._broker_up = True

    def attach(self, client_id: str, will: Will | tuple[str, bytes, bool] | None = None) -> "MemoryTransport":
        """A transport under this client id. An open one of the same id is thrown out for good, as a broker does."""
        old = self._lines.get(client_id)
        transport = MemoryTransport(self, client_id, Will(*will) if will else None)
        line = _Line(transport)
        if old is not None:
            old.client.wanted = False
            self._drop(old, say_will=True)
            line.cut_to_broker, line.cut_from_broker = old.cut_to_broker, old.cut_from_broker
        self._lines[client_id] = line
        return transport

    # -- what a test or a simulation does to the network

    def cut(self, client_id: str, way: Way = "both", *, noticed: bool = True) -> None:
        """Cut one client off. Both ways and noticed: the client hears of it and the broker says its will. One way, or not
        noticed (a half-open connection): both ends still believe in the connection while messages vanish."""
        line = self._line(client_id)
        line.cut_to_broker = line.cut_to_broker or way in ("both", "to_broker")
        line.cut_from_broker = line.cut_from_broker or way in ("both", "from_broker")
        if way == "both" and noticed:
            self._drop(line, say_will=True)

    def heal(self, client_id: str) -> None:
        """Undo every cut of this client; it reconnects if it had noticed."""
        line = self._line(client_id)
        line.cut_to_broker = line.cut_from_broker = False
        self._connect_soon(line)

    def crash(self, client_id: str) -> None:
        """The client's process dies: the broker says its will, the transport stays off (attach a new one for the restart)."""
        line = self._line(client_id)
        line.client.wanted = False
        self._drop(line, say_will=True)

    def kill_broker(self) -> None:
        """Every connection drops, what was under way is lost, and no will is said."""
        self._broker_up = False
        for line in list(self._lines.values()):
            self._drop(line, say_will=False)

    def start_broker(self, *, wipe: bool = False) -> None:
        """The broker comes back, with its retained messages or, wiped, with none; clients reconnect."""
        self._broker_up = True
        if wipe:
            self._retained.clear()
        for line in list(self._lines.values()):
            self._connect_soon(line)

    def replay(self, client_id: str, count: int = 1) -> int:
        """Send the client up to `count` random old publications again that its subscriptions match. Returns how many."""
        line = self._line(client_id)
        wanted = {topic for topic in self._topics if line.wants(topic)}
        old = [message for message in self._history if message[0] in wanted]
        chosen = self._rng.sample(old, min(count, len(old))) if line.known_to_broker else []
        for topic, payload in chosen:
            self._hop_down(line, topic, payload, retained=False)
        return len(chosen)

    # -- what transports ask for

    def open(self, transport: "MemoryTransport") -> None:
        self._connect_soon(self._line_of(transport))

    def close(self, transport: "MemoryTransport") -> None:
        """A clean leave: the will is said, as any transport does before it goes, and everything sent before it gets through."""
        line = self._line_of(transport)
        while line.up and not line.cut_to_broker:
            line.up.popleft()()
        self._drop(line, say_will=not line.cut_to_broker)

    def send(self, transport: "MemoryTransport", topic: str, payload: bytes, retain: bool) -> None:
        line = self._line_of(transport)
        self._hop(line, line.up, partial(self._at_broker, topic, payload, retain))

    def listen(self, transport: "MemoryTransport", topic_filter: str) -> None:
        line = self._line_of(transport)
        self._hop(line, line.up, partial(self._add_filter, line, topic_filter), faults=Faults(delay_s=self.faults.delay_s))

    # -- the broker

    def _line(self, client_id: str) -> _Line:
        if client_id not in self._lines:
            raise KeyError(f"No client {client_id!r} is attached to this network.")
        return self._lines[client_id]

    def _line_of(self, transport: "MemoryTransport") -> _Line:
        line = self._line(transport.client_id)
        return line if line.client is transport else _Line(transport)  # one that was taken over shouts into nothing

    def _connect_soon(self, line: _Line) -> None:
        self._call_later(self._rng.uniform(*self.faults.delay_s), partial(self._connect, line))

    def _connect(self, line: _Line) -> None:
        client = line.client
        reachable = self._broker_up and not line.cut_to_broker and not line.cut_from_broker
        if not client.wanted or client.connected or not reachable:
            return
        line.known_to_broker = True
        line.unsubscribe()
        for topic_filter in client.subscriptions.filters():
            self._add_filter(line, topic_filter)
        client.came()

    def _drop(self, line: _Line, *, say_will: bool) -> None:
        known, line.known_to_broker = line.known_to_broker, False
        line.unsubscribe()
        line.forget_under_way()
        will = line.client.will
        if known and say_will and will is not None:
            self._at_broker(will.topic, will.payload, will.retain)
        line.client.went()

    def _add_filter(self, line: _Line, topic_filter: str) -> None:
        line.subscribe(topic_filter)
        for topic, payload in self._retained.items():
            if topic_matches(topic_filter, topic):
                self._hop_down(line, topic, payload, retained=True)

    def _at_broker(self, topic: str, payload: bytes, retain: bool) -> None:
        if retain and payload:
            self._retained[topic] = payload
        elif retain:
            self._retained.pop(topic, None)
        self._history.append((topic, payload))
        self._topics.add(topic)
        for client_id, line in list(self._lines.items()):
            if line.known_to_broker and line.wants(topic):
                self._hop_down(line, topic, payload, retained=False)
                if self.faults.replay and self._rng.random() < self.faults.replay:
                    self.replay(client_id)

    def _hop_down(self, line: _Line, topic: str, payload: bytes, *, retained: bool) -> None:
        self._hop(line, line.down, partial(line.client.deliver, topic, payload, retained))

    # -- one hop

    def _hop(self, line: _Line, hop: _Hop, arrive: Hook, faults: Faults | None = None) -> None:
        faults, rng = faults or self.faults, self._rng
        if self._is_cut(line, hop) or (faults.loss and rng.random() < faults.loss):
            return
        copies = 2 if faults.duplicate and rng.random() < faults.duplicate else 1
        for _ in range(copies):
            if faults.reorder and rng.random() < faults.reorder:
                hop.insert(rng.randint(0, len(hop)), arrive)
            else:
                hop.append(arrive)
            self._call_later(rng.uniform(*faults.delay_s), partial(self._arrive, line, hop))

    def _arrive(self, line: _Line, hop: _Hop) -> None:
        if not hop:
            return
        arrive = hop.popleft()
        if not self._is_cut(line, hop):
            arrive()

    @staticmethod
    def _is_cut(line: _Line, hop: _Hop) -> bool:
        return line.cut_to_broker if hop is line.up else line.cut_from_broker


class MemoryTransport:
    """A `Transport` on a `MemoryNetwork`. An exception in a handler is a bug and goes up to whoever drives the scheduler."""

    def __init__(self, network: MemoryNetwork, client_id: str, will: Will | None) -> None:
        self.connected = False
        self.on_connect: list[Hook] = []
        self.on_disconnect: list[Hook] = []
        self.client_id = client_id
        self.will = will
        self.subscriptions = Subscriptions()
        self.wanted = False
        self._network = network

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """As the port says, but a malformed topic raises ValueError here: in a test it is a bug."""
        check_topic(topic)
        if self.connected:
            self._network.send(self, topic, payload, retain)

    def subscribe(self, topic: str, handler: Handler) -> None:
        self.subscriptions.add(topic, handler)
        if self.connected:
            self._network.listen(self, topic)

    async def start(self) -> None:
        self.open()

    async def stop(self) -> None:
        self.close()

    def open(self) -> None:
        """`start` for a world without an event loop."""
        self.wanted = True
        self._network.open(self)

    def close(self) -> None:
        """`stop` for a world without an event loop."""
        self.wanted = False
        self._network.close(self)

    # -- called by the network

    def came(self) -> None:
        self.connected = True
        for hook in list(self.on_connect):
            hook()

    def went(self) -> None:
        if not self.connected:
            return
        self.connected = False
        for hook in list(self.on_disconnect):
            hook()

    def deliver(self, topic: str, payload: bytes, retained: bool) -> None:
        if self.connected:
            for handler in self.subscriptions.handlers_for(topic):
                handler(topic, payload, retained)
