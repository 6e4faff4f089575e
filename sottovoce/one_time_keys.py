# SPDX-License-Identifier: Apache-2.0
"""A session as the client has it: keys that encrypt one request each (wire.md 6.5, 6.10). It has no clock.

    Session --take--> OneTimeKey --spend--> an exchange --its head--> the next key, back in the session

Taking a key is one step of a `deque`, so that of two threads only one gets it; no lock is held. A key that
was taken is never put back: what an exchange brings is another one.
"""

import itertools
from collections import deque
from enum import Enum
from typing import Final, final

from attestation.verify import VerifiedEnclave
from wire.key_configuration import KeyConfiguration
from wire.session import SessionId, SessionResponse, decode_next_key

REFRESH_SECONDS: Final = 900.0
"""After this time a session is replaced, so that evidence is never much older (wire.md 6.5)."""
STALE_SHARE: Final = 0.75
"""After this share of its time or of its requests it is replaced too, so that nobody waits at its end."""


class Assurance(Enum):
    """How much a client knows about who reads its request (wire.md 6.10), weakest first."""

    KEY_LIST = "L0"
    CACHED = "L1"
    FRESH = "L2"

    @property
    def meaning(self) -> str:
        """What it is, for a person."""
        return _MEANINGS[self]


_MEANINGS: Final = {
    Assurance.KEY_LIST: "a verified key list, without a session",
    Assurance.CACHED: "a session under evidence that is up to eleven minutes old",
    Assurance.FRESH: "a session with evidence of its own",
}


class SessionOverError(Exception):
    """The session's time or number of requests is used up, or the enclave does not know it any more."""


class NoKeyError(Exception):
    """All keys of the session are in use. Each comes back with the head of an answer."""


@final
class OneTimeKey:
    """A key for one request. Only `Session.take` makes one."""

    def __init__(self, session: "Session", configuration: KeyConfiguration) -> None:
        self._unspent = [configuration]
        self._key_id = configuration.key_id
        self.session = session

    @property
    def enclave(self) -> VerifiedEnclave:
        """Who has the other half."""
        return self.session.enclave

    @property
    def path(self) -> str:
        """The outer path of the request."""
        return self.session.identifier.path

    def spend(self) -> KeyConfiguration:
        """The key itself, once. Raises RuntimeError the second time."""
        try:
            return self._unspent.pop()
        except IndexError:
            raise RuntimeError("a one-time key encrypts one request") from None

    def replaced(self, value: str) -> None:
        """Take what the field `a-ohttp-key` of an authentic head brings. Raises SessionMessageError."""
        self.session.add(decode_next_key(value, self._key_id))


@final
class Session:
    """One session of a verified enclave. `opened_at` and `now` are seconds of one clock that only goes on."""

    def __init__(
        self,
        enclave: VerifiedEnclave,
        assurance: Assurance,
        response: SessionResponse,
        keys: tuple[KeyConfiguration, ...],
        opened_at: float,
    ) -> None:
        self.enclave, self.assurance = enclave, assurance
        self.identifier: SessionId = response.session_id
        self._keys = deque(keys)
        self._requests = itertools.count(1)
        self._response, self._opened_at = response, opened_at
        self._ended = self._is_worn = False

    @property
    def keys_left(self) -> int:
        """How many requests can be sent at once."""
        return len(self._keys)

    def take(self, now: float) -> OneTimeKey:
        """A key, which is in the session no more. Raises SessionOverError and NoKeyError."""
        if self.is_over(now):
            raise SessionOverError
        try:
            key = OneTimeKey(self, self._keys.popleft())
        except IndexError:
            raise NoKeyError from None
        number = next(self._requests)
        if number >= self._response.max_requests * STALE_SHARE:
            self._is_worn = True
        if number >= self._response.max_requests:
            self._ended = True  # this request is the last
        return key

    def add(self, configuration: KeyConfiguration) -> None:
        """Put a further key in."""
        self._keys.append(configuration)

    def end(self) -> None:
        """The enclave does not know the session any more; its keys are dropped."""
        self._ended = True
        self._keys.clear()

    def is_over(self, now: float) -> bool:
        """Whether no request can be sent any more."""
        return self._ended or now - self._opened_at >= self._response.ttl_seconds

    def seconds_until_stale(self, now: float) -> float:
        """How long until another session is due in its place; not above 0 where one is."""
        if self._is_worn or self._ended:
            return 0.0
        return min(REFRESH_SECONDS, self._response.ttl_seconds * STALE_SHARE) - (now - self._opened_at)
