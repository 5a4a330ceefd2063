"""Passwords, tokens, and what too many wrong tries lead to.

What it is for: argon2id hashing off the event loop; hashes of tokens for storage; lock-out as pure logic.
What it is not: an account store.
Invariant: no password or token is kept or logged; an unknown user costs the same time as a wrong password; at most two hashings
run at once (19 MiB and some 20 ms each), so that a burst of sign-ins cannot stop a small machine.
"""

import asyncio
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Iterable

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

HASHINGS_AT_ONCE = 2
PASSWORD_MIN = 10
PASSWORD_MAX = 256  # characters; longer ones only cost time


class Passwords:
    """Hashes and verifies. One per app; build it where the event loop runs or before."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1, hash_len=32, salt_len=16, type=Type.ID)
        self._gate = asyncio.Semaphore(HASHINGS_AT_ONCE)
        # Of a password nobody has; made on first need, since hashing at start would cost every start 20 ms.
        self._dummy = ""

    async def hash(self, password: str) -> str:
        """The argon2id hash to store. Raises ValueError (a sentence) when too short or too long."""
        if not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
            raise ValueError(f"A password has {PASSWORD_MIN} to {PASSWORD_MAX} characters.")
        return await self._in_thread(self._hasher.hash, password)

    async def verify(self, stored: str | None, password: str) -> bool:
        """Is it this password? `stored` None (no such user) takes as long and is False. A damaged hash is False too."""
        if len(password) > PASSWORD_MAX:
            password, stored = password[:PASSWORD_MAX], None
        if stored is None:
            if not self._dummy:
                self._dummy = await self._in_thread(self._hasher.hash, secrets.token_urlsafe(32))
            await self._in_thread(self._matches, self._dummy, password)
            return False
        return await self._in_thread(self._matches, stored, password)

    def needs_rehash(self, stored: str) -> bool:
        """Was it made with other parameters than today's? Then hash again at the next good sign-in."""
        try:
            return self._hasher.check_needs_rehash(stored)
        except InvalidHashError:
            return True

    def _matches(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password.encode("utf-8", "surrogatepass"))
        except (VerifyMismatchError, VerificationError, InvalidHashError):
            return False

    async def _in_thread(self, work, *values):
        async with self._gate:
            return await asyncio.to_thread(work, *values)


def new_token(octets: int = 32) -> str:
    """An unguessable token, URL-safe: 256 bits in 43 characters, unless told otherwise. At least 16 octets."""
    if octets < 16:
        raise ValueError("A token has at least 16 octets.")
    return secrets.token_urlsafe(octets)


def hash_token(token: str) -> str:
    """SHA-256 as hex, for storing and finding a random token. Not for passwords, which people choose."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


class LockOut:
    """After `tries_max` wrong tries within `window_s` a key is locked until the window since the first of them has passed.

    Pure: `now` is given, in seconds. Keys are accounts and addresses alike; ask for all that a sign-in has. Where judging a try takes
    time, count it before (`failed`) and take it back after (`take_back`) if it was good: tries sent at once would else all be judged.
    """

    def __init__(self, *, tries_max: int = 5, window_s: float = 900, keys_max: int = 10_000) -> None:
        self._tries_max = tries_max
        self._window_s = window_s
        self._keys_max = keys_max
        self._tries: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wait_s(self, keys: Iterable[str], now: float) -> int:
        """Seconds until all of the keys may try again; 0 if they may now."""
        return max((self._left_s(key, now) for key in keys), default=0)

    def failed(self, keys: Iterable[str], now: float) -> None:
        """A wrong try: count it for every key."""
        for key in keys:
            count, since = self._tries.pop(key, (0, now))
            if now - since >= self._window_s:
                count, since = 0, now
            self._tries[key] = (count + 1, since)
            if len(self._tries) > self._keys_max:
                self._tries.popitem(last=False)

    def take_back(self, keys: Iterable[str]) -> None:
        """A try that was counted was not wrong after all."""
        for key in keys:
            count, since = self._tries.get(key, (0, 0.0))
            if count > 1:
                self._tries[key] = (count - 1, since)
            else:
                self._tries.pop(key, None)

    def passed(self, key: str) -> None:
        """A good sign-in: forget this key's wrong tries. Not for addresses: an own account would reset guessing at others."""
        self._tries.pop(key, None)

    def _left_s(self, key: str, now: float) -> int:
        count, since = self._tries.get(key, (0, 0.0))
        left = since + self._window_s - now
        return int(left) + 1 if count >= self._tries_max and left > 0 else 0
