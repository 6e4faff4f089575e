# SPDX-License-Identifier: Apache-2.0
"""Sessions and their one-time keys: forward secrecy for each request (wire.md 6.5, 6.10). No clock here.

    Live --POST--> Claimed --first chunk opens--> Erased, and a new Live key for the answer to bring
      ^               | fails                        ^
      +---------------+        lifetime, eviction ---+

Dropping the last reference to a private key erases it. While a request is decapsulated its key is in no
table, so two copies of a request cannot both open; and garbage cannot use a key up.
"""

import os
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from enclave.keys import UnknownKeyError
from wire import hpke, ohttp
from wire.session import (
    MAX_SESSION_REQUESTS,
    MAX_TTL_SECONDS,
    RANDOM_SIZE,
    SUITE,
    SessionId,
    SessionMessageError,
    decode_session_id,
)

MAX_SESSIONS = 1024
MAX_LIVE_KEYS = 16384  # about 10 kB each


@dataclass(frozen=True, slots=True)
class Live:
    """A one-time key that waits for its request."""

    private_key: hpke.PrivateKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A one-time key that a request holds, and the table does not."""

    private_key: hpke.PrivateKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class Erased:
    """What is left of a one-time key: nothing."""


@dataclass(slots=True)
class Session:
    """One client's keys. The number of them never grows."""

    identifier: SessionId
    count: int
    live: dict[int, Live] = field(repr=False)
    key_list: bytes = field(repr=False)
    born: float = 0.0
    opened: int = 0
    claimed: int = 0
    ended: bool = False

    def is_over(self, now: float) -> bool:
        """Whether no further request may open."""
        return self.ended or self.opened >= MAX_SESSION_REQUESTS or now - self.born >= MAX_TTL_SECONDS

    def end(self) -> None:
        """Erase the keys; one that a request holds goes with that request."""
        self.ended = True
        self.live.clear()


def make_session(
    route_tag: bytes, count: int, *, random_bytes: Callable[[int], bytes] = os.urandom
) -> Session:
    """A session with this many keys, which no request reaches before `Sessions.add`: evidence comes first."""
    identifier = SessionId(route_tag + random_bytes(RANDOM_SIZE))
    live = {key_id: Live(hpke.generate(hpke.Kem.X_WING)) for key_id in range(1, count + 1)}
    configurations = tuple(_configuration(key_id, key.private_key) for key_id, key in live.items())
    return Session(identifier, count, live, ohttp.encode_key_list(configurations))


class Sessions:
    """All sessions, the longest idle one first. Bounded: it is evicted when another one needs the room."""

    def __init__(self, *, max_sessions: int = MAX_SESSIONS, max_live_keys: int = MAX_LIVE_KEYS) -> None:
        self._max_sessions, self._max_live_keys = max_sessions, max_live_keys
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()
        self._keys = 0

    @property
    def size(self) -> int:
        """How many sessions there are."""
        return len(self._sessions)

    @property
    def most_live_keys(self) -> int:
        """How many keys they have when no request is under way."""
        return self._keys

    def add(self, session: Session, now: float) -> None:
        """Put a session in force. Others may be evicted; their clients are told and open another one."""
        while self._sessions and (
            len(self._sessions) >= self._max_sessions or self._keys + session.count > self._max_live_keys
        ):
            self._remove(next(iter(self._sessions.values())))
        session.born = now
        self._sessions[session.identifier.raw] = session
        self._keys += session.count

    def expire(self, now: float) -> None:
        """Erase the keys of sessions whose time is over."""
        for session in [session for session in self._sessions.values() if session.is_over(now)]:
            self._remove(session)

    def keys(self, name: str) -> "SessionKeys":
        """The keys behind the last part of an outer path; where it names no session there are none."""
        try:
            return SessionKeys(self, decode_session_id(name).raw)
        except SessionMessageError:
            return SessionKeys(self, b"")

    def living(self, raw: bytes, now: float) -> Session:
        """The session with this name. Raises UnknownKeyError."""
        session = self._sessions.get(raw)
        if session is None:
            raise UnknownKeyError
        if session.is_over(now):
            self._remove(session)
            raise UnknownKeyError
        return session

    def used(self, session: Session) -> None:
        """An authentic request has come: the session is not idle. After the last one it is over."""
        if session.identifier.raw not in self._sessions:
            return
        self._sessions.move_to_end(session.identifier.raw)
        if session.opened >= MAX_SESSION_REQUESTS:
            self._remove(session)

    def _remove(self, session: Session) -> None:
        del self._sessions[session.identifier.raw]
        self._keys -= session.count
        session.end()


class SessionKeys:
    """The keys of one session, as one outer path leads to them."""

    def __init__(self, sessions: Sessions, raw: bytes) -> None:
        self._sessions, self._raw = sessions, raw

    def find(self, key_id: int, now: float) -> "OneTimeKey":
        """The key with this identifier, while it waits for its request. Raises UnknownKeyError."""
        session = self._sessions.living(self._raw, now)
        if key_id not in session.live:
            raise UnknownKeyError
        return OneTimeKey(self._sessions, session, key_id)


class OneTimeKey:
    """A one-time key in one request. Single use."""

    kem = hpke.Kem.X_WING

    def __init__(self, sessions: Sessions, session: Session, key_id: int) -> None:
        self._sessions, self._session, self._key_id = sessions, session, key_id
        self._state: Claimed | Erased | None = None

    @property
    def session(self) -> bytes:
        """The 16 bytes that name the session."""
        return self._session.identifier.raw

    def claim(self, encapsulated: bytes) -> hpke.PrivateKey:  # noqa: ARG002 - erasing is what stops a replay
        """Take the key out of the table. Raises UnknownKeyError where another request was first."""
        session = self._session
        if session.opened + session.claimed >= MAX_SESSION_REQUESTS:
            raise UnknownKeyError
        key = session.live.pop(self._key_id, None)
        if key is None:
            raise UnknownKeyError
        session.claimed += 1
        self._state = Claimed(key.private_key)
        return key.private_key

    def opened(self) -> None:
        """Erase the key."""
        assert isinstance(self._state, Claimed)
        self._state = Erased()
        self._session.claimed -= 1
        self._session.opened += 1
        self._sessions.used(self._session)

    def abandon(self) -> None:
        """Put the key back, unless it has opened its request or the session is over."""
        if isinstance(self._state, Claimed):
            self._session.claimed -= 1
            if not self._session.ended:
                self._session.live[self._key_id] = Live(self._state.private_key)
            self._state = None

    def next_key(self, now: float) -> ohttp.KeyConfiguration | None:
        """A new key in the place of the one that was used; None where the session is over."""
        session = self._session
        if not isinstance(self._state, Erased) or session.is_over(now):
            return None
        private_key = hpke.generate(hpke.Kem.X_WING)
        session.live[self._key_id] = Live(private_key)
        return _configuration(self._key_id, private_key)


def _configuration(key_id: int, private_key: hpke.PrivateKey) -> ohttp.KeyConfiguration:
    return ohttp.KeyConfiguration(key_id, private_key.kem, private_key.public_key, (SUITE,))
