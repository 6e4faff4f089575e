# SPDX-License-Identifier: Apache-2.0
"""Verify an enclave and talk to it, over HTTP, in sessions with forward secrecy for each request."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

import httpx

from attestation.evidence import Evidence, EvidenceError, decode_evidence
from attestation.policy import Policy
from attestation.verify import VerificationError, VerifiedEnclave
from sottovoce.chat import ApiError, Turn, chat_request, model_names, texts
from sottovoce.courier import (
    EVIDENCE_PATH,
    Courier,
    RefusedByHostError,
    UnknownKeyError,
    UnreachableError,
    check_passed_on,
)
from sottovoce.delivered import Delivered
from sottovoce.keeper import SessionKeeper
from sottovoce.memory import Notice, PinnedError, ReleaseWarning
from sottovoce.one_time_keys import Assurance, Session
from sottovoce.opening import KEYS, Failed, Ready, Start, WrongSessionError
from sottovoce.recollection import ProcessMemory, Recollection, Remembers, warn
from sottovoce.session import (
    GATEWAY_PATH,
    UNKNOWN_KEY,
    Event,
    Exchange,
    Head,
    NoSuitableKeyError,
    TamperedResponse,
    TruncatedResponse,
    check_size,
    new_idempotency_key,
)
from sottovoce.trust import catalogue_name, origin
from wire.bhttp import Fields
from wire.session import IDEMPOTENCY_FIELD
from wire.shaping import DEFAULT, SHAPING_FIELD, Shaping

REFUSALS = (
    VerificationError,
    EvidenceError,
    NoSuitableKeyError,
    WrongSessionError,
    PinnedError,
    ReleaseWarning,  # where a program has made it an exception
)
AUTHORIZATION: Final = "authorization"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a connection takes from outside. Nothing that the policy decides depends on it.

    Sessions live by the clock, in seconds; evidence is always judged by the time of day. The network is what
    brings requests to the host; None is httpx's own. `memory` is what was shown before, and `tell` is called
    with the address and what is new there, before anything of the user's is sent.
    """

    clock: Callable[[], float] = time.monotonic
    network: httpx.BaseTransport | None = None
    memory: Remembers = field(default_factory=ProcessMemory)
    tell: Callable[[str, Notice], None] = warn


class Connection:
    """A verified enclave behind one URL. Any number of threads may use it at once.

    Where the enclave does not know a key any more, evidence is read and verified again, once, and the request
    sealed anew under the same idempotency key. Where an enclave is refused, nothing is sent to anyone behind
    this URL any more, unless `reopen` or `verify` is called. Each verified enclave is held against the memory
    first.
    """

    def __init__(  # noqa: PLR0913 - each has a default, and is given by name
        self,
        url: str,
        policy: Policy,
        *,
        assurance: Assurance = Assurance.FRESH,
        keys: int = KEYS,
        shaping: Shaping = DEFAULT,
        api_key: str | None = None,
        surroundings: Surroundings | None = None,
    ) -> None:
        """Prepare, and send nothing. Raises UnreachableError for an impossible address.

        `keys` is how many requests may be under way before their answers begin, 1 to 16. By `api_key` the
        enclave knows the user again: it is in each request, inside the encryption, in the place of any other.
        """
        surroundings = surroundings or Surroundings()
        self._recollection = Recollection(origin(url), surroundings.memory, surroundings.tell)
        self._api_key = api_key
        self._courier = Courier(url, surroundings.network)
        self._start = Start(policy, assurance, keys)
        self._shaping = shaping
        self._keeper = SessionKeeper(self._open_session, surroundings.clock)
        self._clock = surroundings.clock
        self._ready: Ready | None = None
        self._failed: Failed | None = None
        self.origin = httpx.URL(url)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections to the host, and open none any more, in the background neither."""
        self._courier.close()
        self._keeper.close()

    @property
    def policy(self) -> Policy:
        """What it accepts."""
        return self._start.policy

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What was new about this enclave, against what was shown before; oldest first."""
        return self._recollection.notices

    def evidence(self) -> Evidence:
        """The evidence that the host hands out, unverified. Raises UnreachableError and EvidenceError."""
        return decode_evidence(self._courier.document())

    def verify(self) -> VerifiedEnclave:
        """Verify the public document now.

        Raises UnreachableError, EvidenceError, VerificationError, PinnedError and MemoryFileError.
        """
        self._failed = None
        with self._keeping_refusals():
            return self._verified().enclave

    def open(self) -> Session:
        """The session in force, opened and verified now where there is none.

        Raises UnreachableError, RefusedByHostError, SessionRefusedError, AnswerError, MemoryFileError, and
        all of REFUSALS.
        """
        self._check_not_failed()
        return self._keeper.current()

    def reopen(self) -> Session:
        """Verify everything anew, and the session that this opens. Raises what `open` raises.

        It is the only way on from a refusal, so it is called where a person asks for it.
        """
        self._failed = self._ready = None
        self._keeper.leave()
        return self.open()

    def models(self) -> list[str]:
        """The names of the models that the enclave serves."""
        return model_names(list(self.stream("GET", "/v1/models", b"")))

    def model(self) -> str:
        """The name of the model that was attested: the catalogue's, or what the enclave itself calls its own.

        Raises what `open` raises, and ApiError.
        """
        return catalogue_name(self.open().enclave.claims.model) or self.models()[0]

    def chat(self, model: str, turns: list[Turn], **parameters: float) -> Generator[str]:
        """The answer as it is generated.

        Raises ApiError for an error of the enclave, AnswerError where the answer cannot be believed: what was
        given out before is in its field `partial`, and is no answer.
        """
        return self.texts(chat_request(model, turns, **parameters))

    def texts(self, request: bytes) -> Generator[str]:
        """The same for a request that `chat_request` made."""
        return texts(self.stream("POST", "/v1/chat/completions", request))

    def stream(
        self,
        method: str,
        path: str,
        content: bytes,
        *,
        content_type: str = "application/json",
        fields: Fields = (),
    ) -> Generator[Event]:
        """One exchange: its head, then its content piece by piece; it ends normally only when complete."""
        check_size(content)
        self._check_not_failed()
        named = self._with_names(fields)
        for attempt in range(2):
            with self._keeper.key() as key:
                exchange = Exchange(
                    key, method, path, content=content, content_type=content_type, fields=named
                )
                with self._courier.deliver(exchange) as response:
                    if response.status_code == UNKNOWN_KEY:
                        self._ready = None
                        self._keeper.lost(key.session)
                        if attempt == 0:
                            continue
                    yield from self._receive(exchange, response)
                    return

    def _check_not_failed(self) -> None:
        if self._failed is not None:
            raise self._failed.error.with_traceback(None)  # or each time would make it longer

    def _with_names(self, fields: Fields) -> Fields:
        """The application's fields, with what the protocol asks for unless they have it, and the API key."""
        if self._api_key is not None:
            others = tuple(field for field in fields if field[0] != AUTHORIZATION)
            fields = (*others, (AUTHORIZATION, f"Bearer {self._api_key}"))
        given = {name for name, _ in fields}
        added = (new_idempotency_key(), (SHAPING_FIELD, self._shaping.value))
        return (*fields, *(field for field in added if field[0] not in given))

    def _receive(self, exchange: Exchange, response: Delivered) -> Iterator[Event]:
        check_passed_on(exchange, response)
        for data in response.iter_raw():
            for event in exchange.receive(data):
                if isinstance(event, Head):
                    self._keeper.key_came_back()
                yield event
        yield from exchange.end()

    def _open_session(self) -> Session:
        """From whatever state to a session. Runs in one thread at a time."""
        self._check_not_failed()
        with self._keeping_refusals():
            return self._opened()

    @contextmanager
    def _keeping_refusals(self) -> Generator[None]:
        try:
            yield
        except REFUSALS as error:
            self._failed = Failed(error)
            raise

    def _opened(self) -> Session:
        ready = self._ready
        if ready is not None and ready.is_current(time.time()):
            with suppress(UnknownKeyError):
                return self._ask(ready)
        return self._ask(self._verified())

    def _ask(self, ready: Ready) -> Session:
        opening = ready.open(self._clock())
        with self._courier.deliver(opening.exchange) as response:
            check_passed_on(opening.exchange, response)
            for data in response.iter_raw():
                opening.receive(data)
        session = opening.end(int(time.time()))
        self._recollection.look(session.enclave)
        return session

    def _verified(self) -> Ready:
        ready = self._start.present(self._courier.document()).verify(int(time.time()))
        self._recollection.look(ready.enclave)
        self._ready = ready
        return ready


__all__ = [
    "EVIDENCE_PATH",
    "GATEWAY_PATH",
    "IDEMPOTENCY_FIELD",
    "ApiError",
    "Connection",
    "RefusedByHostError",
    "TamperedResponse",
    "TruncatedResponse",
    "Turn",
    "UnreachableError",
]
