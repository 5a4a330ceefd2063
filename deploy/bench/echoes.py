"""The other end of a round trip: a process that sends back what it hears, over TCP or through a broker.

    python -m deploy.bench.echoes tcp
    python -m deploy.bench.echoes mqtt PORT USER PASSWORD_FILE

It prints `PORT n` or `READY`, and stays until it is ended. On the same event loop as the product, so that a floor has the same ground.
"""

import asyncio
import sys
from pathlib import Path

import uvloop

from shared.messages import Topics
from shared.runtime.mqtt import MqttTransport


class Echo(asyncio.Protocol):
    """Sends back every byte."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)


async def tcp() -> None:
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
    print(f"PORT {server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.Event().wait()


async def mqtt(port: int, user: str, password: str) -> None:
    """Answers on the site's side of a topic tree: what comes down goes up."""
    topics = Topics(user)
    transport = MqttTransport("127.0.0.1", port, f"{user}-echo", username=user, password=password)
    transport.subscribe(topics.down, lambda topic, payload, retained: transport.publish(topics.up, payload))
    transport.on_connect.append(lambda: print("READY", flush=True))
    await transport.start()
    await asyncio.Event().wait()


def main(argv: list[str]) -> None:
    kind, *rest = argv
    if kind == "tcp":
        work = tcp()
    else:
        port, user, password_file = rest
        work = mqtt(int(port), user, Path(password_file).read_text())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)


if __name__ == "__main__":
    main(sys.argv[1:])
