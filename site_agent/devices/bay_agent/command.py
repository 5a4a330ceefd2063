"""`site-agent bays enrol`, `list` and `remove`: the keys of the bays' PCs.

Not for: settings (`__main__` reads them). Invariant: a key is said once, when it is made, and nowhere else.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Callable, Iterable
from pathlib import Path

from shared.model import Resource
from site_agent.devices.bay_agent.keys import Keys

Say = Callable[[str], None]


def enrol(bays: Iterable[Resource], folder: Path, resource_id: str, certificate: Path | None, say: Say, advise: Say) -> None:
    """Makes the key of a bay's PC and says it. `folder` is the site's, `certificate` what it serves with, if it does. ValueError with a sentence."""
    bays = tuple(bays)
    if resource_id not in {bay.id for bay in bays}:
        known = ", ".join(bay.id for bay in bays)
        raise ValueError(f"This facility has no bay {resource_id!r}. It has {known}.")
    keys = Keys(folder)
    again = keys.there(resource_id)
    try:
        text = keys.make(resource_id)
    except OSError as error:
        raise ValueError(f"The key could not be kept in {keys.folder}: {(error.strerror or 'unknown reason').lower()}.") from None
    say(text)
    advise(f"Put this line into the key file of the bay's PC ({resource_id}); it is shown this once.")
    if certificate is not None and (shown := _fingerprint(certificate)):
        advise(f'And into its settings: fingerprint = "{shown}"')
    if again:
        advise("The key that it had before is worth nothing from now on.")


def _fingerprint(certificate: Path) -> str:
    """By which the PC knows this site agent; empty where the file holds no certificate."""
    try:
        first = certificate.read_text("utf-8").partition("-----END CERTIFICATE-----")
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert("".join(first[:2])[first[0].index("-----BEGIN") :])).hexdigest()
    except (OSError, ValueError):
        return ""


def listed(bays: Iterable[Resource], folder: Path, say: Say) -> None:
    """Which bays' PCs have a key."""
    keys = Keys(folder)
    for bay in bays:
        state = "enrolled" if keys.of(bay.id) else "its key is damaged" if keys.there(bay.id) else "not enrolled"
        say(f"{bay.id}: {state}")


def remove(folder: Path, bays: Iterable[Resource], resource_id: str, say: Say) -> None:
    """Ends the key of a bay's PC. ValueError where there is none."""
    if resource_id not in {bay.id for bay in bays} or not Keys(folder).remove(resource_id):
        raise ValueError(f"{resource_id!r} has no key here.")
    say(f"What {resource_id}'s PC says is not heard any more.")
