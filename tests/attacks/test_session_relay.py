# SPDX-License-Identifier: Apache-2.0
"""Client and enclave against each other through a relay that does what it likes (wire.md 6.10, 7).

Both are the real state machines. The relay splits, joins, delays, drops, duplicates, reorders, injects, swaps
and forges, over several exchanges of two clients at once. Whatever it does, an application gets the bytes
that the enclave sent, or a typed error; it never gets other bytes or an end that is none, and the enclave
never does a request twice.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import Enum, auto
from random import Random

import pytest

from attestation.evidence import EvidenceError
from attestation.verify import Caches, VerificationError
from sottovoce.courier import RefusedByHostError, UnknownKeyError
from sottovoce.one_time_keys import Session
from sottovoce.opening import SessionRefusedError, Start, WrongSessionError
from sottovoce.session import (
    UNKNOWN_KEY,
    AnswerError,
    Exchange,
    Head,
    TruncatedResponse,
    new_idempotency_key,
)
from tests.fakes import hardware
from tests.fakes.relay import CUT, JSON, PIECES, PROBLEM, Enclave, Outer, guest
from wire import ohttp, varint
from wire.session import IDEMPOTENCY_FIELD

SCHEDULES = 2000
EXCHANGES = 2
SEEDS = 4
KEYS = 8
PATH = "/v1/chat/completions"
MACHINE = guest()
NOTHING = Outer(CUT, "", b"", cut=True)
UNKNOWN = Outer(UNKNOWN_KEY, PROBLEM, b"{}")
TYPED = (
    AnswerError,
    RefusedByHostError,
    SessionRefusedError,
    WrongSessionError,
    EvidenceError,
    VerificationError,
)


class Act(Enum):
    """What a relay does with one exchange."""

    HONEST = auto()
    DROP_REQUEST = auto()
    DROP_ANSWER = auto()
    DUPLICATE_REQUEST = auto()
    FLIP_REQUEST = auto()
    CUT_REQUEST = auto()
    APPEND_TO_REQUEST = auto()
    TO_OTHER_SESSION = auto()
    OLD_REQUEST_FIRST = auto()
    FLIP_ANSWER = auto()
    CUT_ANSWER = auto()
    CUT_AT_CHUNK = auto()
    APPEND_TO_ANSWER = auto()
    REORDER_CHUNKS = auto()
    DUPLICATE_CHUNK = auto()
    DROP_CHUNK = auto()
    SWAP_ANSWERS = auto()
    OLD_ANSWER = auto()
    FORGED_STATUS = auto()
    FORGED_PLAINTEXT = auto()
    UNKNOWN_KEY = auto()
    UNKNOWN_KEY_AND_DROPPED = auto()


@dataclass(slots=True)
class Flight:
    """One exchange on its way."""

    exchange: Exchange
    expected: bytes
    content: bytes
    name: tuple[str, str]


ACTS = tuple(Act)
REARRANGING = {Act.CUT_AT_CHUNK, Act.REORDER_CHUNKS, Act.DUPLICATE_CHUNK, Act.DROP_CHUNK}


class Relay:
    """The adversary. It remembers everything that passed."""

    def __init__(self, enclave: Enclave, random: Random) -> None:
        self._enclave, self._random = enclave, random
        self._requests: list[tuple[str, bytes]] = []
        self._answers: list[Outer] = []
        self._ways: dict[Act, Callable[[Outer], Outer]] = {
            Act.DROP_ANSWER: lambda _: NOTHING,
            Act.FLIP_ANSWER: lambda answer: replace(answer, body=self._flipped(answer.body)),
            Act.CUT_ANSWER: self._cut,
            Act.APPEND_TO_ANSWER: self._appended,
            Act.OLD_ANSWER: self._old,
            Act.FORGED_STATUS: self._with_other_status,
            Act.FORGED_PLAINTEXT: self._plaintext,
            Act.UNKNOWN_KEY: lambda _: UNKNOWN,
        }

    def deliver(self, flights: list[Flight], acts: list[Act], paths: list[str]) -> list[Outer]:
        """The answers to several exchanges that are under way at once, in the clients' order."""
        order = list(range(len(flights)))
        self._random.shuffle(order)
        answers = [NOTHING] * len(flights)
        for at in order:
            answers[at] = self._one(flights[at].exchange, acts[at], paths)
        swapped = [at for at, act in enumerate(acts) if act is Act.SWAP_ANSWERS]
        for at in swapped:
            answers[at] = answers[(at + 1) % len(answers)] if len(answers) > 1 else answers[at]
        return answers

    def _one(self, exchange: Exchange, act: Act, paths: list[str]) -> Outer:
        if act in (Act.DROP_REQUEST, Act.UNKNOWN_KEY_AND_DROPPED):
            return NOTHING if act is Act.DROP_REQUEST else UNKNOWN
        if act is Act.OLD_REQUEST_FIRST and self._requests:
            self._post(*self._random.choice(self._requests))
        path = self._random.choice(paths) if act is Act.TO_OTHER_SESSION else exchange.gateway_path
        body = self._spoiled_request(exchange.body, act)
        self._requests.append((path, body))
        answer = self._post(path, body)
        if act is Act.DUPLICATE_REQUEST:
            answer = self._random.choice([answer, self._post(path, body)])
        answer = self.spoiled(answer, act)
        self._answers.append(answer)
        return answer

    def _spoiled_request(self, body: bytes, act: Act) -> bytes:
        match act:
            case Act.FLIP_REQUEST:
                return self._flipped(body)
            case Act.CUT_REQUEST:
                return body[: self._random.randrange(len(body))]
            case Act.APPEND_TO_REQUEST:
                return body + self._random.randbytes(self._random.randint(1, 40))
            case _:
                return body

    def _post(self, path: str, body: bytes) -> Outer:
        return self._enclave.post(path, ohttp.CHUNKED_REQUEST, self.pieces(body))

    def spoiled(self, answer: Outer, act: Act) -> Outer:
        """The answer as this act leaves it; some do nothing to an answer."""
        if act in REARRANGING:
            return (
                replace(answer, body=self._rearranged(answer.body, act)) if answer.status == 200 else answer
            )
        way = self._ways.get(act)
        return answer if way is None or not answer.body else way(answer)

    def _cut(self, answer: Outer) -> Outer:
        end = self._random.randrange(len(answer.body))
        return replace(answer, body=answer.body[:end], cut=self._random.random() < 0.5)

    def _appended(self, answer: Outer) -> Outer:
        return replace(answer, body=answer.body + self._random.randbytes(self._random.randint(1, 40)))

    def _old(self, answer: Outer) -> Outer:
        return self._random.choice(self._answers) if self._answers else answer

    def _with_other_status(self, answer: Outer) -> Outer:
        return replace(answer, status=self._random.choice([201, 204, 302, 400, 415, 500, 503]))

    def _plaintext(self, _: Outer) -> Outer:
        return Outer(200, self._random.choice([ohttp.CHUNKED_RESPONSE, "text/event-stream"]), PIECES[0])

    def _rearranged(self, body: bytes, act: Act) -> bytes:
        nonce, chunks = body[:32], list(chunks_of(body[32:]))
        at, other = self._random.randrange(len(chunks)), self._random.randrange(len(chunks))
        match act:
            case Act.CUT_AT_CHUNK:
                chunks = chunks[:at]
            case Act.REORDER_CHUNKS:
                chunks[at], chunks[other] = chunks[other], chunks[at]
            case Act.DUPLICATE_CHUNK:
                chunks.insert(other, chunks[at])
            case _:
                del chunks[at]
        return nonce + b"".join(chunks)

    def _flipped(self, data: bytes) -> bytes:
        at = self._random.randrange(len(data))
        return data[:at] + bytes([data[at] ^ 1 << self._random.randrange(8)]) + data[at + 1 :]

    def pieces(self, data: bytes) -> list[bytes]:
        """The bytes, split at any places."""
        borders = sorted(self._random.randrange(len(data) + 1) for _ in range(self._random.randint(0, 6)))
        return [data[start:end] for start, end in zip([0, *borders], [*borders, len(data)], strict=True)]


def chunks_of(data: bytes) -> Iterator[bytes]:
    """The sealed chunks of a body, each with its length."""
    position = 0
    while position < len(data):
        size, content = varint.decode(data, position)
        end = content + size if size else len(data)
        yield data[position:end]
        position = end


class Client:
    """An application that asks, and knows what it has to be answered."""

    def __init__(self, enclave: Enclave, caches: Caches) -> None:
        self._enclave, self._start = enclave, Start(hardware.policy(), keys=KEYS, caches=caches)
        self._asked = 0
        self.session = self.open(lambda outer: outer)

    def open(self, spoil: Callable[[Outer], Outer]) -> Session:
        """A new session, whose response is spoiled. Raises one of TYPED."""
        now = int(time.time())
        opening = self._start.present(self._enclave.get().body).verify(now).open(0.0)
        exchange = opening.exchange
        answer = spoil(self._enclave.post(exchange.gateway_path, exchange.media_type, [exchange.body]))
        check_outside(exchange, answer)
        opening.receive(answer.body)
        if answer.cut:
            raise TruncatedResponse
        return opening.end(now)

    def send(self) -> Flight:
        """A request under way."""
        if not self.session.keys_left:
            self.session = self.open(lambda outer: outer)
        self._asked += 1
        streamed = self._asked % 2 == 0
        content = json.dumps({"n": self._asked, "stream": streamed}).encode()
        name = new_idempotency_key()
        return Flight(self.sealed(content, name), b"".join(PIECES) if streamed else content, content, name)

    def receive(self, flight: Flight, answer: Outer, pieces: list[bytes]) -> str:
        """What becomes of a request, by name; its answer is the right one wherever there is one."""
        try:
            assert read(flight, flight.exchange, answer, pieces) == (200, flight.expected)
        except UnknownKeyError:
            return self._anew(flight)
        except (AnswerError, RefusedByHostError) as error:
            return type(error).__name__
        return "answered"

    def _anew(self, flight: Flight) -> str:
        """The same request once more, in a new session and under the same name."""
        self.session = self.open(lambda outer: outer)
        again = self.sealed(flight.content, flight.name)
        answer = self._enclave.post(again.gateway_path, again.media_type, [again.body])
        status, content = read(flight, again, answer, [answer.body])
        assert status == 409 or (status, content) == (200, flight.expected)
        return f"sealed anew: {status}"

    def sealed(self, content: bytes, name: tuple[str, str]) -> Exchange:
        """The request under a key of the session."""
        key = self.session.take(0.0)
        return Exchange(key, "POST", PATH, content=content, content_type=JSON, fields=(name,))


def check_outside(exchange: Exchange, answer: Outer) -> None:
    """What a client makes of status and content type. Raises RefusedByHostError and AnswerError."""
    if answer.status == CUT:
        raise TruncatedResponse
    if answer.status == UNKNOWN_KEY:
        raise UnknownKeyError
    if answer.status != 200:
        raise RefusedByHostError
    exchange.check_media_type(answer.content_type)


def read(flight: Flight, exchange: Exchange, answer: Outer, pieces: list[bytes]) -> tuple[int, bytes]:
    """Status and content of an answer that is complete; checks that nothing wrong was given out before."""
    check_outside(exchange, answer)
    statuses, content = list[int](), b""
    for data in (*pieces, None):
        if data is None and answer.cut:
            raise TruncatedResponse
        for event in exchange.end() if data is None else exchange.receive(data):
            if isinstance(event, Head):
                statuses.append(event.status)
            else:
                content += event.data
        if statuses == [200]:
            assert flight.expected.startswith(content)
    (status,) = statuses
    return status, content


@pytest.mark.parametrize("seed", range(SEEDS))
def test_any_schedule_of_an_adversarial_relay(seed: int) -> None:
    random, enclave, outcomes = Random(seed), Enclave(MACHINE), Counter[str]()
    caches = Caches()
    clients = (Client(enclave, caches), Client(enclave, caches))
    relay = Relay(enclave, random)
    sent = set[str]()
    for _ in range(SCHEDULES // SEEDS):
        senders = [random.choice(clients) for _ in range(EXCHANGES)]
        flights = [client.send() for client in senders]
        acts = [random.choice(ACTS) for _ in flights]
        sent |= {flight.name[1] for flight in flights}
        answers = relay.deliver(flights, acts, [client.session.identifier.path for client in clients])
        for client, flight, act, answer in zip(senders, flights, acts, answers, strict=True):
            outcome = client.receive(flight, answer, relay.pieces(answer.body))
            assert outcome == "answered" or act is not Act.HONEST
            outcomes[outcome] += 1
    names = Counter(call.fields[IDEMPOTENCY_FIELD] for call in enclave.calls)
    assert set(names) <= sent
    assert set(names.values()) == {1}
    assert {"answered", "TamperedResponse", "TruncatedResponse", "RefusedByHostError"} <= set(outcomes)
    assert {"sealed anew: 200", "sealed anew: 409"} <= set(outcomes)


def test_any_spoiling_of_a_session_response_gives_no_session() -> None:
    """Where the relay left the response alone, there is one."""
    random, enclave, outcomes = Random(7), Enclave(MACHINE), Counter[str]()
    client, relay = Client(enclave, Caches()), Relay(enclave, random)
    for _ in range(200):
        act = random.choice([act for act in ACTS if act is not Act.HONEST])
        spoiled: list[bool] = []

        def spoil(outer: Outer, act: Act = act, spoiled: list[bool] = spoiled) -> Outer:
            changed = relay.spoiled(outer, act)
            spoiled.append(changed != outer)
            return changed

        try:
            session = client.open(spoil)
        except TYPED as error:
            outcomes[type(error).__name__] += 1
        else:
            assert not spoiled[0]
            assert session.keys_left == KEYS
    assert {"TamperedResponse", "TruncatedResponse", "RefusedByHostError"} <= set(outcomes)
