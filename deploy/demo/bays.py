"""The demo's emulated bays: their settings, and the key of each PC, made as the installer's command makes it.

For: `deploy.demo.main`. Invariant: every PC has a new key at each run, and its own copy of it.
"""

from __future__ import annotations

import os

from deploy.demo.addresses import Plan, mac, machine_id, private, quoted
from site_agent.devices.bay_agent.keys import Keys

BOOT_S = 8


def write(plan: Plan) -> None:
    """Enrols every bay's PC, and writes the emulator's settings."""
    tables = []
    for site in plan.sites:
        data = site.folder / "data"
        os.makedirs(data, mode=0o700, exist_ok=True)
        keys = Keys(data)
        for number, resource_id in enumerate(site.resource_ids, 1):
            private(plan.bays.folder / f"{resource_id}.key", keys.make(resource_id))
            tables.append(
                f"[[bays]]\nid = {quoted(resource_id)}\nname = {quoted(f'{site.name} {plan.described.word} {number}')}\n"
                f"site_url = {quoted(site.url)}\nkey_file = {quoted(f'{resource_id}.key')}\nmac = {quoted(mac(site, number))}\n"
                f"port = {site.switch_ports[number - 1]}\ngeneration = {1 + number % 2}\ndevice_id = {machine_id(site, number)}\n"
            )
    head = (
        f"port = {plan.bays.port}\nwake_port = {plan.bays.wake_port}\nboot_s = {BOOT_S}\nninjaone_url = {quoted(plan.machines.url)}\n"
        f"timezone = {quoted(plan.described.zone)}\nscripts = {quoted(['restart-simulator', 'clear-screen'])}\nservices = {quoted(['trackman'])}\n"
    )
    private(plan.bays.folder / "bays.toml", head + "\n" + "\n".join(tables))
