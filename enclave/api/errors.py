# SPDX-License-Identifier: Apache-2.0
"""Errors as OpenAI's clients know them. They travel encrypted, so they may name what was wrong."""

import msgspec


class ApiError(Exception):
    """A request that cannot be answered as asked."""

    def __init__(self, status: int, message: str, *, code: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param

    @property
    def retry_after_seconds(self) -> int:
        """When to try again; 0 where trying again does not help."""
        return 1 if self.status in (429, 500) else 0

    @property
    def body(self) -> bytes:
        """The JSON document of the error."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return msgspec.json.encode({"error": error})


def engine_failed() -> ApiError:
    """The model's process ended in the middle; nothing that was asked is to blame."""
    return ApiError(500, "the engine stopped; send the request again", code="engine_stopped")


def busy() -> ApiError:
    """Too many requests wait."""
    return ApiError(429, "too many requests wait for the model; try again shortly", code="queue_full")
