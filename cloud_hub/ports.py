"""What the hub's services ask of the outside, in the hub's own words; `vendors` answer it.

Not here: who is behind a port. Invariant: an adapter answers or raises a `Failure`; it decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol, runtime_checkable

import msgspec

from shared.outcomes import Outcome, Taken, Unknown


class WitnessRow(msgspec.Struct, frozen=True):
    """One row of a site's stream: its epoch and number there, when it was written (unix seconds), the message as JSON."""

    site_id: str
    epoch: str
    no: int
    at: int
    body: str


class Witness(Protocol):
    """The second machine that holds what no site has heard of yet (protocol loss-7)."""

    async def keep(self, rows: list[WitnessRow], settled: dict[str, tuple[str, int]]) -> None:
        """Comes back when the rows are on the witness's disk. `settled`: site -> (epoch, row) up to which it may let go. Raises Unavailable, Broken."""

    async def kept(self) -> list[WitnessRow]:
        """Everything it still has, in the order in which it was given. Raises Unavailable, Broken."""

    async def close(self) -> None:
        """Nothing is asked of it any more."""


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """One message to one address.

    `key` is ours, opaque, `[A-Za-z0-9_-]{1,64}`, and comes back on the vendor's reports. `to` is an E.164 number, an e-mail address, a push
    subscription as JSON text, or the name of a Slack hook. `html` is for mail and may be empty; `subject` is a mail's, or a push's title;
    `url` is what a tap on a push opens. `expires_at` (unix seconds, 0: never): after it the message is worth nothing. `topic`: a push
    replaces an undelivered one of the same topic.
    """

    key: str
    to: str
    text: str
    subject: str = ""
    html: str = ""
    url: str = ""
    expires_at: int = 0
    topic: str = ""

    def __repr__(self) -> str:
        return f"Letter({self.key})"


class Channel(Protocol):
    """A way to reach people. `name` is "sms", "mail", "push" or "slack"; `vendor` is whose breaker it is; `finds`: whether `find` can tell."""

    name: str
    vendor: str
    finds: bool

    async def send(self, letter: Letter) -> Outcome:
        """Tries once, within the channel's own time limit. Raises nothing for whatever the vendor does."""

    async def find(self, letter: Letter, since_at: int) -> Taken | None | Unknown:
        """What became of a send, begun at `since_at` (unix seconds), whose answer was lost. None: it was surely not sent."""

    async def close(self) -> None:
        """Nothing is sent any more."""


@runtime_checkable
class Subscribed(Protocol):
    """What a channel offers besides whose addresses are made by browsers, when their owners ask to be told (push)."""

    @property
    def public_key(self) -> str:
        """What a page subscribes with: base64url."""

    def objection(self, subscription: str) -> str:
        """Why nothing can be sent to this subscription (JSON text), as a sentence; "" where it can."""


ReceiptState = Literal["accepted", "sent", "delivered", "failed", "bounced", "dropped", "complained", "unsubscribed", "opened"]


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What a vendor reports of one letter. They come late, twice and in any order.

    `id` is the same whenever the vendor repeats the report. `key` is the letter's (empty where the vendor lost it), `ref` the vendor's id.
    `to` is the address, empty where the vendor does not say. `at`: unix seconds, the vendor's where it gives a time, else when it came in.
    """

    id: str
    key: str
    ref: str
    state: ReceiptState
    code: str
    reason: str
    to: str
    at: int
    dead_address: bool = False
    opted_out: bool = False


class Inbound(msgspec.Struct, frozen=True, kw_only=True):
    """A message from a person to one of our numbers (E.164, both). `word` is what it asks for, if it is one of the words that carriers know."""

    id: str
    sender: str
    receiver: str
    text: str
    word: Literal["stop", "start", "help", ""] = ""


class HookAnswer(msgspec.Struct, frozen=True):
    """What a vendor's call is answered with once its content is in the books."""

    status: int
    media: str
    body: bytes


class MachineCall(msgspec.Struct, frozen=True):
    """Somebody who looks after machines calls about one. `key` is the same when the call is repeated (empty: it has none)."""

    key: str
    machine_id: str


class MachineCaller(Protocol):
    """What comes in about the bays' machines by webhook."""

    vendor: str

    def read(self, headers: Mapping[str, str], body: bytes) -> list[MachineCall]:
        """One call's content; `headers` have names in small letters. Raises Refused: `hook_forged` for what is not the vendor's own, `bad_request`
        for what makes no sense."""


class Hooks(Protocol):
    """What comes in from a vendor by webhook. `answer` says "I have it"."""

    vendor: str
    answer: HookAnswer

    def read(self, target: str, headers: Mapping[str, str], body: bytes) -> list[Receipt | Inbound]:
        """One call's content. `target` is path and query exactly as called, `headers` have names in small letters, `body` is raw.

        Raises Refused: `hook_forged` for what is not the vendor's own, `hook_stale` for what is too old, `bad_request` for what makes no sense.
        """
