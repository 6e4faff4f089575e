# SPDX-License-Identifier: Apache-2.0
"""Asks for an answer with a receipt, and finds the evidence that belongs to it."""

import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import sha256

from attestation.evidence import Evidence
from attestation.policy import Policy
from sottovoce.chat import texts
from sottovoce.receipt_form import ReceiptError, decode_receipt, from_text, new_wish
from sottovoce.receipts import Subject, judge
from sottovoce.session import Content, Event, Head
from sottovoce.transport import Connection
from wire.receipt import RECEIPT_FIELD, ContentDigest

CHAT_PATH = "/v1/chat/completions"
EVENT_STREAM = "text/event-stream"


@dataclass(frozen=True, slots=True)
class Kept:
    """A receipt that holds, and the evidence document to keep beside it."""

    receipt: bytes
    evidence: bytes
    request: bytes = field(repr=False)


class Receipted:
    """One request whose answer brings a receipt. Single use."""

    def __init__(
        self,
        connection: Connection,
        content: bytes,
        *,
        path: str = CHAT_PATH,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare, and send nothing of the request; `clock` gives unix seconds."""
        self._connection, self._content, self._path, self._clock = connection, content, path, clock
        self._evidence: list[Evidence] = []
        self._digest = ContentDigest(stream=True)
        self._answer = bytearray()
        self._receipt = ""

    def events(self) -> Generator[Event]:
        """The exchange, as `Connection.stream` gives it; the receipt is there once it ended normally.

        The evidence of this minute is read first: keys may change while a long answer comes.
        """
        self._connection.open()
        self._evidence.append(self._connection.evidence())
        fields = ((RECEIPT_FIELD, new_wish(self._clock())),)
        with closing(self._connection.stream("POST", self._path, self._content, fields=fields)) as stream:
            for event in stream:
                match event:
                    case Head(fields=heads):
                        self._receipt = heads.get(RECEIPT_FIELD, "")
                        self._digest = ContentDigest(stream=heads.get("content-type") == EVENT_STREAM)
                    case Content(data=data):
                        self._digest.update(data)
                        self._answer += data
                yield event

    def texts(self) -> Generator[str]:
        """The answer's text as it comes. Raises ApiError, and AnswerError with what came before."""
        return texts(self.events())

    def kept(self, policy: Policy) -> Kept:
        """The receipt, checked as a reader years later will. Raises ReceiptError."""
        value = self._receipt or self._digest.receipt
        if not value:
            raise ReceiptError("the enclave gave no receipt with this answer")
        data = from_text(value)
        document = self._matching(decode_receipt(data).receipt.keys).encode()
        verdict = judge(data, document, policy, Subject(self._content, bytes(self._answer)))
        if verdict.proven is None:
            failed = next(check for check in verdict.checks if not check.ok)
            raise ReceiptError(f"the receipt does not hold: {failed.name}: {failed.detail}")
        return Kept(data, document, self._content)

    def _matching(self, keys: bytes) -> Evidence:
        """The evidence of the epoch that the receipt names: of before the request, or of now."""
        if sha256(self._evidence[0].keys).digest() != keys:
            self._evidence.append(self._connection.evidence())
        return self._evidence[-1]
