# SPDX-License-Identifier: Apache-2.0
"""How a client gets to a session, as one type for each state, without I/O (wire.md 6.10).

    Start --document read--> Presented --verified--> Ready --session request--> Opening --all ok--> Session

Each state can only be made by the one before it, so what is sent before anything was verified is nothing, and
what is sent before a session was verified is a session request, which holds nothing of a user. Whoever drives
the states keeps `Failed` where one of them raised VerificationError: there is no way on from it.
"""

import os
from dataclasses import dataclass, field
from typing import Final

from attestation.evidence import Evidence, decode_evidence, decode_session_evidence
from attestation.policy import Policy
from attestation.verify import Caches, VerifiedEnclave, verify, verify_fresh
from sottovoce.one_time_keys import Assurance, Session
from sottovoce.session import Content, Event, Exchange, Head
from wire import merkle
from wire.session import (
    MAX_RESPONSE_BYTES,
    SESSION_PATH,
    SessionMessageError,
    SessionRequest,
    SessionResponse,
    decode_response,
    decode_session_keys,
)

KEYS: Final = 4
CREATED: Final = 201


class SessionRefusedError(Exception):
    """The enclave gives no session now. This is authentic; `status` is 503 where it may later."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the enclave gives no session ({status})")
        self.status = status


class WrongSessionError(Exception):
    """What came back is no session, or not one of the enclave that was asked. Nothing was sent in it."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The end: an enclave was refused, and nothing is sent to anyone behind this address any more."""

    error: Exception


@dataclass(frozen=True, slots=True)
class Start:
    """INIT: what is accepted, and what is wanted. A session of less than this assurance is not opened."""

    policy: Policy
    assurance: Assurance = Assurance.FRESH
    keys: int = KEYS
    caches: Caches = field(default_factory=Caches, repr=False)

    def __post_init__(self) -> None:
        """Refuse what no session has."""
        if self.assurance is Assurance.KEY_LIST:
            raise RuntimeError("a session has more assurance than a key list")

    def present(self, document: bytes) -> "Presented":
        """Read the public document. Raises EvidenceError."""
        return Presented(self, decode_evidence(document))


@dataclass(frozen=True, slots=True)
class Presented:
    """EVIDENCE: a document that nobody verified yet."""

    start: Start
    evidence: Evidence

    def verify(self, now: int) -> "Ready":
        """Verify it, at `now` in unix seconds. Raises VerificationError."""
        return Ready(self.start, verify(self.evidence, self.start.policy, now, self.start.caches))


@dataclass(frozen=True, slots=True)
class Ready:
    """READY: a verified epoch key."""

    start: Start
    enclave: VerifiedEnclave

    def is_current(self, now: float) -> bool:
        """Whether its evidence has not expired, at `now` in unix seconds."""
        return now < self.enclave.claims.expires_at

    def open(self, opened_at: float) -> "Opening":
        """Ask for a session, at a time of the clock that sessions live by. Raises NoSuitableKeyError."""
        return Opening(self, opened_at)


class Opening:
    """OPENING: a session request under way. Single use."""

    def __init__(self, ready: Ready, opened_at: float) -> None:
        self._ready, self._opened_at = ready, opened_at
        start = ready.start
        self._nonce = os.urandom(merkle.NONCE_SIZE)
        request = SessionRequest(self._nonce, start.assurance is Assurance.FRESH, start.keys)
        self.exchange = Exchange(
            ready.enclave, "POST", SESSION_PATH, content=request.encode(), content_type="application/json"
        )
        self._status = 0
        self._content = bytearray()

    def receive(self, data: bytes) -> None:
        """Take bytes of the outer body. Raises AnswerError and WrongSessionError."""
        self._take(self.exchange.receive(data))

    def end(self, now: int) -> Session:
        """The session, when the outer body has ended; `now` in unix seconds.

        1. The answer is complete and authentic (AnswerError).
        2. It is a session (SessionRefusedError, WrongSessionError).
        3. Its evidence is the hardware's word over this nonce, these keys and this request
           (EvidenceError, VerificationError), and of the same enclave (WrongSessionError).
        """
        self._take(self.exchange.end())
        if self._status != CREATED:
            raise SessionRefusedError(self._status)
        try:
            response = decode_response(bytes(self._content))
            keys = decode_session_keys(response.keys, self._ready.start.keys)
        except SessionMessageError as error:
            raise WrongSessionError(str(error)) from error
        enclave = self._verified(response, now)
        if response.session_id.route_tag != enclave.claims.receipt_key[: len(response.session_id.route_tag)]:
            raise WrongSessionError("the session's name does not lead to the enclave that was verified")
        return Session(enclave, self._ready.start.assurance, response, keys, self._opened_at)

    def _take(self, events: list[Event]) -> None:
        for event in events:
            match event:
                case Head(status=status):
                    self._status = status
                case Content(data=data):
                    self._content += data
        if len(self._content) > MAX_RESPONSE_BYTES:
            raise WrongSessionError(f"session response exceeds {MAX_RESPONSE_BYTES} bytes")

    def _verified(self, response: SessionResponse, now: int) -> VerifiedEnclave:
        """The enclave behind the session. Without fresh evidence it is the one whose epoch key was used."""
        start, known = self._ready.start, self._ready.enclave
        if start.assurance is not Assurance.FRESH:
            return known
        evidence = decode_session_evidence(response.evidence, known.evidence)
        leaf = merkle.leaf(self._nonce, response.keys, self.exchange.encapsulated)
        enclave = verify_fresh(evidence, start.policy, now, leaf, start.caches)
        # The key for receipts is made at boot: another one is another run, which cannot know this epoch key.
        if enclave.claims.receipt_key != known.claims.receipt_key:
            raise WrongSessionError("the session is of another enclave than the one that was asked")
        return enclave
