# SPDX-License-Identifier: Apache-2.0
"""One exchange with throw-away keys, before the process is confined.

Libraries load some of their modules at first use, and afterwards nothing can be opened. It is also a
self-test: what cannot open its own request does not start.
"""

from enclave.api.schema import parse_chat_request
from enclave.attester import Attester
from enclave.keys import KeyRing
from enclave.session import Opened, Problem, RequestReceiver
from wire import bhttp, ohttp

BODY = b'{"model":"m","messages":[{"role":"user","content":"?"}],"stream":true}'
HEAD = bhttp.RequestHead(
    "POST", "https", "localhost", "/v1/chat/completions", (("content-type", "application/json"),)
)


class RehearsalError(Exception):
    """What was sealed did not come out as it went in."""


def rehearse(attester: Attester) -> None:
    """Seal, open, answer and read with every suite that is offered, and make evidence once.

    Raises RehearsalError.
    """
    ring = KeyRing(0)
    epoch = ring.make_epoch(0.0)
    ring.install(epoch, 0.0)
    attester.evidence(epoch, 0)
    for configuration in ohttp.decode_key_list(epoch.key_list):
        for suite in configuration.suites:
            _exchange(ring, ohttp.RequestSealer(configuration, suite))


def _exchange(ring: KeyRing, sealer: ohttp.RequestSealer) -> None:
    receiver = RequestReceiver(ring, ohttp.CHUNKED_REQUEST)
    receiver.receive(
        sealer.seal(bhttp.encode_request(HEAD, BODY), last=False) + sealer.seal(b"", last=True), 0.0
    )
    opened = receiver.end()
    if isinstance(opened.request, Problem) or opened.request.content != BODY:
        raise RehearsalError("the request did not come out as it went in")
    parse_chat_request(opened.request.content)
    _read(sealer.response_opener(), _answer(opened))


def _answer(opened: Opened) -> bytes:
    answer = opened.answer
    return answer.head(bhttp.ResponseHead(200, ())) + answer.content(BODY) + answer.end()


def _read(opener: ohttp.ResponseOpener, sealed: bytes) -> None:
    decoder = bhttp.ResponseDecoder()
    events = [event for chunk in opener.receive(sealed) + opener.end() for event in decoder.receive(chunk)]
    decoder.end()
    if bhttp.Content(BODY) not in events:
        raise RehearsalError("the answer did not come out as it went in")
