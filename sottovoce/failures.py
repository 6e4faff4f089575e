# SPDX-License-Identifier: Apache-2.0
"""What can go wrong, one line for each: what happened, what to do, and whether trying again is safe.

It is safe where nothing of the user's was sent. Otherwise the enclave may have done what was asked.
"""

from dataclasses import dataclass
from typing import Final

import sottovoce.chat as openai_api
from attestation.evidence import EvidenceError
from attestation.verify import VerificationError
from sottovoce.courier import RefusedByHostError, UnreachableError
from sottovoce.httpx_adapter import WrongOriginError
from sottovoce.memory import PinnedError, ReleaseWarning
from sottovoce.memory_file import MemoryFileError
from sottovoce.opening import SessionRefusedError, WrongSessionError
from sottovoce.session import AnswerError, NoSuitableKeyError, RequestTooLargeError
from sottovoce.trust import NoPolicyError
from wire.bhttp import MessageError


@dataclass(frozen=True, slots=True)
class Failure:
    """One kind of failure. `code` is for programs; `status` is what a local endpoint answers with."""

    code: str
    status: int
    happened: str
    advice: str
    retry_is_safe: bool = False


_REFUSED: Final = "the enclave was refused, and nothing was sent"
_VERIFY: Final = "run `sottovoce verify` with the same policy: it shows every check"

_TABLE: Final[tuple[tuple[type[Exception], Failure], ...]] = (
    (VerificationError, Failure("enclave_refused", 502, _REFUSED, _VERIFY)),
    (EvidenceError, Failure("evidence_unreadable", 502, _REFUSED, _VERIFY)),
    (NoSuitableKeyError, Failure("no_suitable_key", 502, _REFUSED, "ask the operator for a current release")),
    (WrongSessionError, Failure("wrong_session", 502, _REFUSED, _VERIFY)),
    (
        PinnedError,
        Failure(
            "release_not_pinned", 502, _REFUSED, "see `sottovoce trust list`, or have the release explained"
        ),
    ),
    (
        ReleaseWarning,
        Failure("release_changed", 502, _REFUSED, "have the operator explain it, then connect anew"),
    ),
    (
        MemoryFileError,
        Failure(
            "memory_unreadable",
            500,
            "nothing of yours was sent",
            "see to the file; a program can be given another memory",
        ),
    ),
    (NoPolicyError, Failure("no_policy", 500, "nothing was sent", "name a policy file that can be read")),
    (
        UnreachableError,
        Failure("host_unreachable", 503, "nothing was sent", "check the address and try again", True),
    ),
    (
        SessionRefusedError,
        Failure("no_session", 503, "nothing of yours was sent", "the enclave is busy: try again later", True),
    ),
    (
        RefusedByHostError,
        Failure(
            "refused_by_host",
            502,
            "the host did not bring an answer",
            "try again if doing it twice is harmless",
        ),
    ),
    (
        AnswerError,
        Failure(
            "answer_not_genuine",
            502,
            "the answer is incomplete or not genuine, and must not be used",
            "try again if doing it twice is harmless",
        ),
    ),
    (
        RequestTooLargeError,
        Failure("request_too_large", 413, "nothing was sent", "shorten the request"),
    ),
    (MessageError, Failure("malformed_head", 400, "nothing was sent", "correct path and header")),
    (WrongOriginError, Failure("wrong_origin", 400, "nothing was sent", "use the enclave's own address")),
    (
        openai_api.ApiError,
        Failure("enclave_error", 502, "the enclave answered with an error", "read what it says"),
    ),
)

ERRORS: Final[tuple[type[Exception], ...]] = tuple(kind for kind, _ in _TABLE)
"""All that a connection raises; `except sottovoce.ERRORS` catches any of it."""


def failure_of(error: Exception) -> Failure:
    """Which failure this is. Raises LookupError for an exception that is none of this project's."""
    for kind, failure in _TABLE:
        if isinstance(error, kind):
            return failure
    raise LookupError(type(error).__name__)


def explain(error: Exception) -> str:
    """What happened and what to do, in one sentence for a person."""
    failure = failure_of(error)
    return f"{failure.happened}: {error}; {failure.advice}"
