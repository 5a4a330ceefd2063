"""Wake-on-LAN: the packet that a sleeping PC's network card waits for. Nobody answers it.

Not for: whether the PC woke. Invariant: a packet goes only to an address that was checked when the settings were read.
"""

from __future__ import annotations

import ipaddress
import re
import socket

PORT = 9
#: a packet may get lost, and another does no harm
TIMES = 3
_MAC = re.compile(r"[0-9a-f]{2}(?P<by>[:-]?)[0-9a-f]{2}(?:(?P=by)[0-9a-f]{2}){4}", re.I)


def mac_of(text: str) -> bytes:
    """Six octets of "02:00:5e:00:00:01" (or with "-", or without); ValueError with a sentence for what is no card's address."""
    if not _MAC.fullmatch(text):
        raise ValueError(f"{text!r} is no network card's address: give it as 02:00:5e:00:00:01.")
    mac = bytes.fromhex(re.sub("[:-]", "", text))
    if mac[0] & 1 or not any(mac):
        raise ValueError(f"{text!r} is the address of no single network card.")
    return mac


def target_of(text: str) -> tuple[str, int]:
    """`(address, port)` of "192.168.4.255" or "192.168.4.255:9"; ValueError with a sentence for what is none of this network."""
    host, _, port = text.partition(":")
    try:
        address = ipaddress.IPv4Address(host)
    except ValueError:
        raise ValueError(
            f"{text!r} is no address to call machines up at: give the network's broadcast address, as 192.168.4.255."
        ) from None
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"{text!r} names no port: give 1 to 65535.")
    if address.is_global and host != "255.255.255.255":
        raise ValueError(f"{text!r} is not an address of the local network.")
    return host, int(port or PORT)


def packet(mac: bytes) -> bytes:
    return b"\xff" * 6 + mac * 16


def send(mac: bytes, target: tuple[str, int]) -> None:
    """Sends it; OSError where this machine cannot."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        for _ in range(TIMES):
            sender.sendto(packet(mac), target)
