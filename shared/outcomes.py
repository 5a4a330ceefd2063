"""What can come of asking a vendor, or a machine, to do something once. Values only; who asked decides what follows.

Invariant: `Later` and `Misconfigured` are said only where it is known that nothing was done.
"""

from __future__ import annotations

import msgspec


class Taken(msgspec.Struct, frozen=True):
    """The vendor has it. `ref` is the vendor's id, neither always there nor unique; `final`: no receipt will ever follow."""

    ref: str = ""
    final: bool = False


class Later(msgspec.Struct, frozen=True):
    """It is KNOWN that nothing was done (connection refused, 429): try again, after `after_s` seconds where the vendor named them."""

    reason: str
    after_s: float | None = None


class Unknown(msgspec.Struct, frozen=True):
    """It may have been done: the answer was lost, failed after the request had gone out, or made no sense."""

    reason: str


class Never(msgspec.Struct, frozen=True):
    """This will never be done as it was asked. `code` is the vendor's, or a word of ours where it was not even asked.

    Of a letter, `dead_address`: no other will reach that address, either. `opted_out`: the person does not want any.
    """

    code: str
    reason: str
    dead_address: bool = False
    opted_out: bool = False


class Misconfigured(msgspec.Struct, frozen=True):
    """Our key, sender or hook is refused: nothing was done, and the next one would fare alike. A person must look."""

    reason: str


Outcome = Taken | Later | Unknown | Never | Misconfigured
