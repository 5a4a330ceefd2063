"""The operator's own texts as letters read them: kept in memory, and read anew when another replica, or this one, has changed one.

    overrides = texts.for_site(tx, site_id)
    words = wording.render(event, channel, language, facts, overrides, site_id=site_id, order_kind=order.kind)
    texts.failed(tx, words.faults, now)

Not here: editing them (`words_desk`), words (`wording`). Invariant: what a transaction is given is what it would read itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from shared.runtime.database import Tx

from ..store import texts as kept
from .wording import Fault, Override


class Texts:
    """One for each process."""

    def __init__(self) -> None:
        # one value, replaced as a whole: the writer's thread and the event loop both read it
        self._known: tuple[str, Mapping[str, tuple[Override, ...]]] = ("", {})

    def for_site(self, tx: Tx, site_id: str) -> tuple[Override, ...]:
        """The texts in use that a message of this facility can have, its own and the general ones. One short query where nothing changed."""
        token = kept.token(tx)  # before the texts: one that is changed in between is read again at the next letter
        known, by_site = self._known
        if token != known:
            by_site = _by_site(kept.active(tx))
            self._known = (token, by_site)
        return by_site.get(site_id, ()) + by_site.get("", ())

    def failed(self, tx: Tx, faults: Iterable[Fault], now: int) -> None:
        """Writes down, in the letter's transaction, which texts could not be used for it, for people to see."""
        for fault in faults:
            o = fault.override
            kept.failed(tx, kept.Which(o.event, o.channel, o.language, o.site_id, o.order_kind), fault.why, now)


def override_of(version: kept.Version) -> Override:
    """The version as `Wording` takes it."""
    return Override(**version.which._asdict(), text=version.text, subject=version.subject, html=version.html)


def _by_site(versions: Iterable[kept.Version]) -> dict[str, tuple[Override, ...]]:
    found: dict[str, tuple[Override, ...]] = {}
    for version in versions:
        site_id = version.which.site_id
        found[site_id] = (*found.get(site_id, ()), override_of(version))
    return found
