"""Cards of the emulated site: how a reader is made to wait for one, and what it then knows of it.

Not for: whose a card is (visitors). Invariant: a card is known to the controller by a token that is made when it is first read, and only then.
"""

import hashlib
import uuid
from random import Random

import msgspec

from deploy.emulators.unifi.envelope import ApiError

SESSIONS_MAX = 100


class Session(msgspec.Struct):
    """A reader that waits; `token` empty until a card was held to it."""

    device_id: str
    token: str = ""
    card_id: str = ""


class Cards:
    """The sessions, and every card that was ever read, by its number: number -> token."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self.sessions: dict[str, Session] = {}
        self.known: dict[str, str] = {}

    def begin(self, device_id: str) -> str:
        if len(self.sessions) >= SESSIONS_MAX:
            raise ApiError("CODE_OPERATION_FORBIDDEN", "Too many readers wait for a card.")
        self.sessions = {key: one for key, one in self.sessions.items() if one.device_id != device_id}
        session_id = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
        self.sessions[session_id] = Session(device_id)
        return session_id

    def get(self, session_id: str) -> Session:
        if session_id not in self.sessions:
            raise ApiError("CODE_CREDS_NFC_READ_SESSION_NOT_FOUND")
        return self.sessions[session_id]

    def read(self, session_id: str) -> Session:
        """What the reader has read. ApiError before any card was there."""
        session = self.get(session_id)
        if not session.token:
            raise ApiError("CODE_CREDS_NFC_READ_POLL_TOKEN_EMPTY")
        return session

    def end(self, session_id: str) -> None:
        self.get(session_id)
        del self.sessions[session_id]

    def held_to(self, device_id: str, number: str) -> bool:
        """A card is held to a reader: True where the reader was waiting to learn it, and so opens nothing."""
        session = next((one for one in self.sessions.values() if one.device_id == device_id and not one.token), None)
        if session is None:
            return False
        session.token = self.known.setdefault(number, hashlib.sha256(b"card" + number.encode() + self._rng.randbytes(8)).hexdigest())
        session.card_id = number
        return True
