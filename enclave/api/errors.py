# SPDX-License-Identifier: Apache-2.0
"""Errors as OpenAI's clients know them. They travel encrypted, so they may name what was wrong."""

from dataclasses import dataclass

import msgspec

from enclave.engine.protocol import Rejected, Rejection


@dataclass(frozen=True, slots=True)
class Params:
    """Which parameters of a request hold what the engine may refuse."""

    prompt: str = "messages"
    tokens: str = "logit_bias"
    shape: str = "response_format"


class ApiError(Exception):
    """A request that cannot be answered as asked."""

    def __init__(
        self, status: int, message: str, *, code: str, param: str | None = None, retry_after_seconds: int = 0
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self._retry_after_seconds = retry_after_seconds

    @property
    def retry_after_seconds(self) -> int:
        """When to try again; 0 where trying again does not help."""
        return max(self._retry_after_seconds, 1) if self.status in (429, 500, 503) else 0

    @property
    def document(self) -> dict[str, object]:
        """What is said of the error."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        return {"message": self.message, "type": kind, "param": self.param, "code": self.code}

    @property
    def body(self) -> bytes:
        """The JSON document of the error."""
        return msgspec.json.encode({"error": self.document})


def engine_failed() -> ApiError:
    """The model's process ended in the middle; nothing that was asked is to blame."""
    return ApiError(500, "the engine stopped; send the request again", code="engine_stopped")


def busy(retry_after_seconds: int = 1) -> ApiError:
    """Too many requests wait."""
    return ApiError(
        429,
        "too many requests wait for the model; try again shortly",
        code="queue_full",
        retry_after_seconds=retry_after_seconds,
    )


def rejected(report: Rejected, context_tokens: int, params: Params) -> ApiError:
    """Why the engine did not begin."""
    if report.rejection is Rejection.BUSY:
        return busy(report.retry_after_seconds)
    if report.rejection is Rejection.DEADLINE:
        return ApiError(503, "the request waited too long; send it again", code="deadline_exceeded")
    if report.rejection is Rejection.PROMPT_TOO_LONG:
        count = report.prompt_tokens
        room = f"the prompt has {count} tokens and leaves no room in a context of {context_tokens}"
        return ApiError(400, room, code="context_length_exceeded", param=params.prompt)
    message, param = {
        Rejection.PROMPT_EMPTY: ("the prompt is empty", params.prompt),
        Rejection.TOKEN_UNKNOWN: ("a token is not one of the model's vocabulary", params.tokens),
        Rejection.TEMPLATE_REFUSED: ("the model's chat template does not take these messages", params.prompt),
        Rejection.SCHEMA_REFUSED: (
            "the schema is too large or too deep, or uses what is not supported",
            params.shape,
        ),
    }[report.rejection]
    return ApiError(400, message, code="invalid_value", param=param)
