"""The embedded broker's process: amqtt with the same password and access files as Mosquitto.

For: `python -m deploy.broker_embedded --port ... --folder ...`, started by `deploy.broker.EmbeddedBroker`.
Not for: import by anything else (amqtt comes with the extra 'demo' only).
Invariant: nobody is told of a topic that the access file does not give them. amqtt by itself sends every new connection the
retained messages of everybody else's subscriptions; here they go only to whoever subscribed and may read them.
"""

import argparse
import asyncio
import logging
import signal
from dataclasses import dataclass
from pathlib import Path

from amqtt.broker import Broker
from amqtt.contexts import Action
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import Session

from deploy.broker import password_fits
from shared.runtime.transport import topic_matches


def read_passwords(path: Path) -> dict[str, str]:
    """User name to the rest of their line."""
    pairs = (line.partition(":") for line in path.read_text().splitlines() if ":" in line)
    return {name: stored for name, _, stored in pairs}


def read_access(path: Path) -> dict[tuple[str, str], list[str]]:
    """(user name, 'read' or 'write') to topic filters, from a Mosquitto access list with user and topic lines."""
    access: dict[tuple[str, str], list[str]] = {}
    user = ""
    for line in path.read_text().splitlines():
        word, _, rest = line.partition(" ")
        if word == "user":
            user = rest
        elif word == "topic":
            direction, _, topic_filter = rest.partition(" ")
            access.setdefault((user, direction), []).append(topic_filter)
    return access


class PasswordPlugin(BaseAuthPlugin):
    """Lets in who is in the password file."""

    def __init__(self, context) -> None:
        super().__init__(context)
        self._passwords = read_passwords(Path(self.config.file))

    async def authenticate(self, *, session: Session) -> bool:
        stored = self._passwords.get(session.username or "")
        return stored is not None and password_fits(stored, session.password or "")

    @dataclass
    class Config:
        file: str


class AccessPlugin(BaseTopicPlugin):
    """Says who may publish, subscribe to and receive what. A filter may be subscribed to when an allowed one covers it."""

    def __init__(self, context) -> None:
        super().__init__(context)
        self._access = read_access(Path(self.config.file))

    async def topic_filtering(self, *, session: Session | None = None, topic: str | None = None, action: Action | None = None) -> bool:
        if session is None or topic is None:
            return False
        direction = "write" if action == Action.PUBLISH else "read"
        return any(topic_matches(allowed, topic) for allowed in self._access.get((session.username or "", direction), ()))

    @dataclass
    class Config:
        file: str


class GuardedBroker(Broker):
    """amqtt's broker, with retained messages only for who subscribed to them."""

    async def _publish_retained_messages_for_subscription(self, subscription: tuple[str, int], session: Session) -> None:
        subscribed = any(who is session for who, _ in self.subscriptions.get(subscription[0], ()))
        if subscribed and await self._topic_filtering(session, subscription[0], Action.SUBSCRIBE):
            await super()._publish_retained_messages_for_subscription(subscription, session)


def config(host: str, port: int, folder: Path, cert_file: str | None, key_file: str | None) -> dict:
    listener = {"type": "tcp", "bind": f"{host}:{port}"}
    if cert_file is not None:
        listener |= {"ssl": True, "certfile": cert_file, "keyfile": key_file}
    return {
        "listeners": {"default": listener},
        "plugins": {
            "deploy.broker_embedded.PasswordPlugin": {"file": str(folder / "passwords")},
            "deploy.broker_embedded.AccessPlugin": {"file": str(folder / "access")},
        },
    }


async def serve(settings: dict) -> None:
    """Run until SIGTERM or SIGINT."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    broker = GuardedBroker(settings)
    await broker.start()
    await ended.wait()
    await broker.shutdown()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="An MQTT broker for trying ClubOS Booking on a machine without Mosquitto.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True, help="holds the files 'passwords' and 'access'")
    parser.add_argument("--cert-file")
    parser.add_argument("--key-file")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(serve(config(given.host, given.port, given.folder, given.cert_file, given.key_file)))


if __name__ == "__main__":
    main()
