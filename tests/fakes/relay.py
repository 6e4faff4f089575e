# SPDX-License-Identifier: Apache-2.0
"""A real client and a real enclave's protocol in one process, and the host between them in a test's hands.

What the enclave's link and front do with sockets and tasks, `Enclave.post` does in one call.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import httpx

from attestation.evidence import Evidence
from attestation.simulated.snp import SimulatedGuest
from enclave.idempotency import RepeatedError, TakenRequests
from enclave.keys import KeyRing
from enclave.session import Aborted, Opened, OuterAnswer, Problem, Refused, Request, RequestReceiver
from enclave.sessions import Sessions, make_session
from sottovoce.courier import EVIDENCE_PATH
from sottovoce.opening import KEYS
from sottovoce.transport import Connection, Surroundings
from tests.fakes import hardware
from wire import bhttp, merkle
from wire.session import (
    GATEWAY_PREFIX,
    MAX_SESSION_REQUESTS,
    MAX_TTL_SECONDS,
    ROUTE_TAG_SIZE,
    SESSION_PATH,
    SessionResponse,
    decode_request,
)

JSON = "application/json"
PROBLEM = "application/problem+json"
TEXTS = ("It ", "is ", "not.")
PIECES = tuple(
    f'data: {{"choices":[{{"index":0,"delta":{{"content":"{text}"}}}}]}}\n\n'.encode() for text in TEXTS
)
CUT = 0  # the status of an exchange that ends without an answer


@dataclass(frozen=True, slots=True)
class Outer:
    """What the network sees of an answer. `cut`: the connection breaks behind the body."""

    status: int
    content_type: str
    body: bytes
    cut: bool = False
    retry_after: str = ""


class Enclave:
    """Keys, sessions and evidence of one enclave; the application streams three events, or echoes."""

    def __init__(self, machine: SimulatedGuest | None = None, *, first_epoch: int = 1) -> None:
        """Start."""
        self.guest, self.now = machine or guest(), 0.0
        self.ring, self.sessions, self.taken = KeyRing(first_epoch), Sessions(), TakenRequests()
        self.calls: list[Request] = []
        self.session_seconds, self.session_requests = MAX_TTL_SECONDS, MAX_SESSION_REQUESTS
        self.evidence_for: Callable[[merkle.Leaf], Evidence] = self.fresh
        self.rotate()

    def rotate(self) -> None:
        """Put new epoch keys in force, with evidence."""
        now = int(time.time())
        self.epoch = self.ring.make_epoch(self.now)
        self.ring.install(self.epoch, self.now)
        self.claims = replace(hardware.CLAIMS, epoch=self.epoch.number, issued_at=now, expires_at=now + 660)
        self.evidence = hardware.evidence(self.guest, keys=self.epoch.key_list, claims=self.claims)

    def fresh(self, leaf: merkle.Leaf) -> Evidence:
        """Evidence for one session request, alone in its tree."""
        return hardware.fresh_evidence(leaf, machine=self.guest, keys=self.epoch.key_list, claims=self.claims)

    def get(self) -> Outer:
        """The public document."""
        return Outer(200, JSON, self.evidence.encode())

    def post(self, path: str, content_type: str, pieces: list[bytes]) -> Outer:
        """One exchange, whose body comes in these pieces."""
        try:
            name = path.removeprefix(GATEWAY_PREFIX)
            receiver = RequestReceiver(self.ring if name == path else self.sessions.keys(name), content_type)
            try:
                for piece in pieces:
                    receiver.receive(piece, self.now)
                opened = receiver.end()
            finally:
                receiver.abandon()
        except Refused as refusal:
            return refused(refusal.answer)
        except Aborted:
            return Outer(CUT, "", b"", cut=True)
        return Outer(200, opened.answer.media_type, self.answered(opened))

    def answered(self, opened: Opened) -> bytes:
        """The sealed answer."""
        request = opened.request
        if isinstance(request, Problem):
            return whole(opened, request.value, b"{}")
        if request.path == SESSION_PATH:
            return whole(opened, 201, self.session(opened, request.content))
        try:
            self.taken.take(request)
        except RepeatedError:
            return whole(opened, 409, b'{"error":{"message":"taken before"}}')
        self.calls.append(request)
        if b'"stream":true' not in request.content.replace(b" ", b""):
            return whole(opened, 200, request.content)
        head = bhttp.ResponseHead(200, (("content-type", "text/event-stream"),))
        sealed = [opened.answer.head(head), *(opened.answer.content(piece) for piece in PIECES)]
        return b"".join(sealed) + opened.answer.end()

    def session(self, opened: Opened, content: bytes) -> bytes:
        """The session response, with the session in force."""
        wanted = decode_request(content)
        session = make_session(self.claims.receipt_key[:ROUTE_TAG_SIZE], wanted.keys)
        self.sessions.add(session, self.now)
        leaf = merkle.leaf(wanted.nonce, session.key_list, opened.encapsulated)
        document = (self.evidence_for(leaf) if wanted.fresh else self.evidence).encode()
        return SessionResponse(
            session.identifier, session.key_list, self.session_seconds, self.session_requests, document
        ).encode()


def guest() -> SimulatedGuest:
    """A guest that started now, for clients whose clock is the real one."""
    return hardware.vendor().power_on(hardware.MEASUREMENT, now=int(time.time()))


def whole(opened: Opened, status: int, content: bytes) -> bytes:
    """A sealed answer in one piece."""
    return opened.answer.whole(bhttp.ResponseHead(status, (("content-type", JSON),)), content)


def refused(answer: OuterAnswer) -> Outer:
    """An outer answer of the enclave."""
    return Outer(answer.status, PROBLEM, answer.body)


Deliver = Callable[[str, str, bytes], Outer]
Split = Callable[[bytes], list[bytes]]


def at_once(body: bytes) -> list[bytes]:
    """Do not split."""
    return [body]


class Host(httpx.BaseTransport):
    """The host as a client's way into the network. Honest until a test replaces one of its methods."""

    def __init__(self, enclave: Enclave) -> None:
        self.enclave = enclave
        self.posts: list[tuple[str, bytes]] = []
        self.document: Callable[[], Outer] = enclave.get
        self.deliver: Deliver = self.honestly
        self.split: Split = at_once

    def honestly(self, path: str, content_type: str, body: bytes) -> Outer:
        """Pass on."""
        return self.enclave.post(path, content_type, self.split(body))

    def handle_request(self, request: httpx.Request) -> httpx.Response:  # type: ignore[explicit-override]
        """Serve a client."""
        path = request.url.path
        if request.method == "GET":
            return _response(self.document() if path == EVIDENCE_PATH else Outer(404, "", b""), at_once)
        body = request.read()
        self.posts.append((path, body))
        return _response(self.deliver(path, request.headers["content-type"], body), self.split)

    def connect(self, keys: int = KEYS, clock: Callable[[], float] = time.monotonic) -> Connection:
        """A client whose only network is this host."""
        return Connection(
            hardware.ORIGIN, hardware.policy(), keys=keys, surroundings=Surroundings(clock, self)
        )


def _response(outer: Outer, split: Split) -> httpx.Response:
    if outer.status == CUT:
        raise httpx.ReadError("connection reset")
    headers = {"content-type": outer.content_type}
    if outer.retry_after:
        headers["retry-after"] = outer.retry_after
    return httpx.Response(outer.status, headers=headers, stream=_Stream(outer, split))


class _Stream(httpx.SyncByteStream):
    """A body in pieces, and a broken connection behind it where that is so."""

    def __init__(self, outer: Outer, split: Split) -> None:
        self._outer, self._split = outer, split

    def __iter__(self) -> Iterator[bytes]:  # type: ignore[explicit-override]
        """The pieces."""
        yield from self._split(self._outer.body)
        if self._outer.cut:
            raise httpx.RemoteProtocolError("peer closed connection")
