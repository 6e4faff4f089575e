# SPDX-License-Identifier: Apache-2.0
"""What the host passes on, and what it says where it cannot: pure functions (wire.md 6.1, 6.9)."""

import json
from dataclasses import dataclass
from enum import Enum

from wire import frames

MAX_BODY_BYTES = 32 << 20
KEY_LIST_PATH = "/.well-known/ohttp-gateway"
EVIDENCE_PATH = "/.well-known/attested-ohttp"
ROUTES = {
    KEY_LIST_PATH: ("GET", "POST"),
    EVIDENCE_PATH: ("GET",),
    "/ohttp": ("POST",),
    KEY_LIST_PATH + "/s/{session}": ("POST",),
}
PROBLEM_TYPE = "application/problem+json"
# Answers of the enclave may change at any moment, and are one person's.
NOT_STORED = ("cache-control", "no-store")


class Problem(Enum):
    """What the host itself has to say: status, title, and what to do."""

    NO_ENCLAVE = (503, "the enclave does not answer", "it may be starting; try again in a moment")
    BROKEN_LINK = (502, "the enclave ended the exchange", "verify the enclave again, then repeat the request")
    BAD_HEAD = (400, "the content type cannot be passed on", "send a short content type of printable ASCII")
    BAD_DIALECT = (400, "the request is not of its protocol", "see docs/operations.md for what is served")
    TOO_LARGE = (413, "the request is too large", "send at most 32 MiB")
    NOT_FOUND = (404, "there is nothing here", "the paths are listed in docs/spec/link.md")
    NOT_ALLOWED = (405, "this method is not allowed here", "the paths are listed in docs/spec/link.md")
    UNHEALTHY = (
        503,
        "the enclave has no valid evidence",
        "its attestation failed or expired; see the enclave's events",
    )

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.value[0]

    def body(self) -> bytes:
        """The problem document (RFC 9457)."""
        status, title, detail = self.value
        return json.dumps(
            {"type": "about:blank", "title": title, "status": status, "detail": detail}
        ).encode()


@dataclass(frozen=True, slots=True)
class Outgoing:
    """The status and headers of an answer."""

    status: int
    headers: tuple[tuple[str, str], ...]


class DialectError(Exception):
    """A request that lacks what its protocol puts around the encapsulation."""


class Dialect:
    """How an exchange looks to the client beside how it looks on the link: here the same."""

    @property
    def opening(self) -> bytes:
        """What goes to the enclave before the request's body."""
        return b""

    def upload(self, data: bytes) -> bytes:
        """Return what to pass on of these bytes of the request. Raises DialectError."""
        return data

    def answer_opening(self, head: frames.AnswerHead) -> int:  # noqa: ARG002 - for those that need it
        """How many bytes stand before the answer's body on the link."""
        return 0

    def outgoing(self, head: frames.AnswerHead, opening: bytes) -> Outgoing:  # noqa: ARG002 - likewise
        """Return the answer's status and headers, given the bytes before its body."""
        return enclave_answer(head)


def request_head(method: str, path: str, content_type: str) -> bytes:
    """What goes before the body on the link."""
    return frames.encode_request_head(frames.RequestHead(method, path, content_type))


def enclave_answer(head: frames.AnswerHead) -> Outgoing:
    """An answer of the enclave, passed on."""
    headers: tuple[tuple[str, str], ...] = (("content-type", head.content_type), NOT_STORED)
    if head.content_type.startswith("message/ohttp-chunked"):
        headers += (("incremental", "?1"), ("x-accel-buffering", "no"))
    return Outgoing(head.status, _with_retry(head.status, headers))


def host_answer(problem: Problem) -> Outgoing:
    """An answer of the host itself."""
    return Outgoing(problem.status, _with_retry(problem.status, (("content-type", PROBLEM_TYPE), NOT_STORED)))


def _with_retry(status: int, headers: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return (*headers, ("retry-after", "2")) if status == 503 else headers
