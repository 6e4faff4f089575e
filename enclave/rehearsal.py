# SPDX-License-Identifier: Apache-2.0
"""One exchange with throw-away keys, before the process is confined.

Libraries load some of their modules at first use, and afterwards nothing can be opened. It is also a
self-test: what cannot open its own request does not start.
"""

from enclave.api.account import Account
from enclave.api.schema import parse_chat_request
from enclave.attester import Attester
from enclave.engine.protocol import Sampling
from enclave.keys import KeyRing, KeySource
from enclave.receipts import Receipts
from enclave.reply import wants_stream
from enclave.session import Opened, Problem, RequestReceiver
from enclave.sessions import Sessions, make_session
from wire import bhttp, merkle, ohttp
from wire.receipt import Wish
from wire.session import ROUTE_TAG_SIZE, SessionRequest, SessionResponse, decode_request
from wire.shaping import BucketShaper, FrameShaper

BODY = b'{"model":"m","messages":[{"role":"user","content":"?"}],"stream":true}'
EVENT = b"data: {}\n\n"
HEAD = bhttp.RequestHead(
    "POST", "https", "localhost", "/v1/chat/completions", (("content-type", "application/json"),)
)
NONCE = bytes(merkle.NONCE_SIZE)


class RehearsalError(Exception):
    """What was sealed did not come out as it went in."""


def rehearse(attester: Attester, receipts: Receipts) -> None:
    """Seal, open, answer and read with every suite that is offered, in a session too, with evidence for both.

    Raises RehearsalError.
    """
    ring, sessions = KeyRing(0), Sessions()
    epoch = ring.make_epoch(0.0)
    ring.install(epoch, 0.0)
    attested = attester.attest(epoch, 0)
    for configuration in ohttp.decode_key_list(epoch.key_list):
        for suite in configuration.suites:
            _exchange(ring, ohttp.RequestSealer(configuration, suite))
    wanted = decode_request(SessionRequest(NONCE, fresh=True, keys=1).encode())
    session = make_session(bytes(ROUTE_TAG_SIZE), wanted.keys)
    (document,) = attester.attest_leaves(attested, (merkle.leaf(wanted.nonce, session.key_list, b""),))
    SessionResponse(session.identifier, session.key_list, 1, 1, document).encode()
    sessions.add(session, 0.0)
    (one_time,) = ohttp.decode_key_list(session.key_list)
    receipts.issuer(Wish(0, NONCE), BODY).issue(NONCE, Account(Sampling(), 1, 1, 1, "stop", NONCE))
    _exchange(sessions.keys(session.identifier.text), ohttp.RequestSealer(one_time, one_time.suites[0]))


def _exchange(keys: KeySource, sealer: ohttp.RequestSealer) -> None:
    receiver = RequestReceiver(keys, ohttp.CHUNKED_REQUEST)
    receiver.receive(
        sealer.seal(bhttp.encode_request(HEAD, BODY), last=False) + sealer.seal(b"", last=True), 0.0
    )
    opened = receiver.end()
    if isinstance(opened.request, Problem) or opened.request.content != BODY:
        raise RehearsalError("the request did not come out as it went in")
    if not (parse_chat_request(opened.request.content).stream and wants_stream(opened.request)):
        raise RehearsalError("the request is not what it was")
    _read(sealer.response_opener(), _answer(opened))


def _answer(opened: Opened) -> bytes:
    answer, frames, buckets = opened.answer, FrameShaper(), BucketShaper()
    frames.push(EVENT)
    pieces = [answer.head(bhttp.ResponseHead(200, ())), answer.content(BODY), answer.part(frames.tick())]
    pieces += [answer.part(piece) for piece in buckets.push(EVENT)]
    return b"".join(pieces) + answer.end()


def _read(opener: ohttp.ResponseOpener, sealed: bytes) -> None:
    decoder = bhttp.ResponseDecoder()
    events = [event for chunk in opener.receive(sealed) + opener.end() for event in decoder.receive(chunk)]
    decoder.end()
    if bhttp.Content(BODY) not in events:
        raise RehearsalError("the answer did not come out as it went in")
