"""How each bay is, out of what is believed of its machine (M3): well, silent, broken, at rest on purpose, or unknown.

Not for: deciding what follows (`shared.health`). Invariant: a PC that we ourselves switched off or restarted is no trouble until it should be back;
nobody heard is unknown.
"""

from __future__ import annotations

from shared.health import Sign
from shared.ledger.desk import Desk
from shared.runtime.database import Tx
from site_agent.services.bays.machine_choice import Told
from site_agent.services.bays.machine_work import JOB, KIND, order_of
from site_agent.services.bays.machines import MachineDesk
from site_agent.store import stock as store

#: a restart may take so long
RESTART_S = 900


class BaySigns:
    """Reads the machines' desk; nothing is asked of any machine. `breaking`: words in a trouble with which nobody can play."""

    def __init__(self, desk: Desk, machines: MachineDesk, breaking: tuple[str, ...]):
        self._desk, self._machines, self._breaking = desk, machines, tuple(one.casefold() for one in breaking)

    def sign_of(self, tx: Tx, resource_id: str) -> Sign:
        told = self._machines.told(tx, resource_id)
        if told is None or told.state == "unknown":
            return Sign(kind="unknown")
        now = self._desk.now()
        if told.state == "asleep":  # by us, however long ago
            return Sign(kind="resting")
        if told.online is False:
            return Sign(kind="resting") if self._restarts(tx, resource_id, now) else Sign(kind="silent", why=_first(told))
        broken = next((text for text in told.told if self._breaks(text)), "")
        if not broken:
            return Sign(kind="good")
        return Sign(kind="resting") if self._restarts(tx, resource_id, now) else Sign(kind="broken", why=broken)

    def troubles_of(self, tx: Tx, resource_id: str) -> tuple[str, ...]:
        """What is told of its machine now, but that it is off: every night it may be."""
        told = self._machines.told(tx, resource_id)
        return told.told if told is not None and told.state == "trouble" and told.online is not False else ()

    def _breaks(self, text: str) -> bool:
        said = text.casefold()
        return any(word in said for word in self._breaking)

    def _restarts(self, tx: Tx, resource_id: str, now: int) -> bool:
        done = store.done_to(tx, resource_id, (KIND, JOB), now - RESTART_S)
        return any(order_of(body).command.kind == "restart" and state != "waiting" and now - changed_at < RESTART_S for state, body, changed_at in done)


def _first(told: Told) -> str:
    return told.told[0] if told.told else "Its PC is off."
