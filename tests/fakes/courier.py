# SPDX-License-Identifier: Apache-2.0
"""The two trusted ends of an exchange in one process; the bytes between them pass through the test."""

from dataclasses import dataclass

from attestation.verify import VerifiedEnclave, verify
from enclave.keys import Epoch, KeyRing
from enclave.session import Opened, Request, RequestReceiver
from sottovoce.session import Content, Event, Exchange, Head
from tests.fakes import hardware
from wire import bhttp, ohttp, varint

PROMPT = b'{"messages":[{"role":"user","content":"is it malignant?"}]}'
PIECES = (b"data: It \n\n", b"data: is \n\n", b"data: not.\n\n")
NOW = 0.0


@dataclass(frozen=True, slots=True)
class Ends:
    """An enclave's keys and a client that verified them."""

    ring: KeyRing
    epoch: Epoch
    verified: VerifiedEnclave

    def exchange(self) -> Exchange:
        """A new request of the client."""
        return Exchange(
            self.verified, "POST", "/v1/chat/completions", content=PROMPT, content_type="application/json"
        )

    def receive(self, body: bytes) -> Opened:
        """What the enclave makes of a body. Raises Refused or Aborted."""
        receiver = RequestReceiver(self.ring, ohttp.CHUNKED_REQUEST)
        receiver.receive(body, NOW)
        return receiver.end()

    def answer(self, exchange: Exchange) -> bytes:
        """The honest answer to a request."""
        sealer = self.receive(exchange.body).answer
        head = bhttp.ResponseHead(200, (("content-type", "text/event-stream"),))
        return sealer.head(head) + b"".join(sealer.content(piece) for piece in PIECES) + sealer.end()


def ends(first_epoch: int = 1, *, now: float = NOW) -> Ends:
    """A fresh enclave, verified."""
    ring = KeyRing(first_epoch)
    epoch = ring.make_epoch(now)
    ring.install(epoch, now)
    evidence = hardware.evidence(keys=epoch.key_list)
    return Ends(ring, epoch, verify(evidence, hardware.policy(), hardware.NOW))


def read(exchange: Exchange, body: bytes) -> tuple[int, bytes]:
    """What the client makes of an answer's body. Raises AnswerError."""
    events: list[Event] = [*exchange.receive(body), *exchange.end()]
    statuses = [event.status for event in events if isinstance(event, Head)]
    return statuses[0], b"".join(event.data for event in events if isinstance(event, Content))


def content_of(opened: Opened) -> bytes:
    """The content of an opened request."""
    assert isinstance(opened.request, Request)
    return opened.request.content


def chunk_borders(body: bytes, start: int) -> list[int]:
    """Where the sealed chunks of a body begin, and where the last one ends."""
    borders, position = [start], start
    while True:
        size, content = varint.decode(body, position)
        if size == 0:
            return [*borders, len(body)]
        position = content + size
        borders.append(position)
