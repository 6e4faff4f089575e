# SPDX-License-Identifier: Apache-2.0
"""Chat completions, streamed and whole."""

import secrets
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

import msgspec

from enclave.api import errors
from enclave.api.account import Account, Asked
from enclave.api.errors import ApiError
from enclave.api.schema import ChatRequest
from enclave.engine.client import Engine
from enclave.engine.protocol import Begun, Finished, Rejected, Rejection, Report, Sampling, Text
from wire.receipt import ContentDigest

DONE = b"data: [DONE]\n\n"


@dataclass(slots=True)
class Completion:
    """One answer as it comes into being."""

    model: str
    context_tokens: int
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish_reason: str = ""
    identifier: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))
    _said: ContentDigest = field(default_factory=lambda: ContentDigest(stream=False), repr=False)

    def take(self, report: Report) -> str:
        """Note a report; the text it brought.

        Raises ApiError where the engine does not take the request.
        """
        match report:
            case Text(text=text):
                self._said.update(text.encode())
                return text
            case Begun(prompt_tokens=count):
                self.prompt_tokens = count
            case Finished(reason=reason, completion_tokens=count):
                self.finish_reason, self.completion_tokens = reason.value, count
            case Rejected(rejection=rejection, prompt_tokens=count):
                raise self._rejected(rejection, count)
            case _:
                raise errors.engine_failed()
        return ""

    def account(self, asked: Asked) -> Account:
        """What the generation was, when it has ended."""
        counts = self.prompt_tokens, self.completion_tokens
        return Account(asked, *counts, self.finish_reason, self._said.digest())

    def usage(self) -> dict[str, int]:
        """Token counts."""
        total = self.prompt_tokens + self.completion_tokens
        counts = {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.completion_tokens}
        return counts | {"total_tokens": total}

    def document(self, text: str) -> bytes:
        """The whole answer as one JSON document."""
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.finish_reason}
        return msgspec.json.encode(
            self._envelope("chat.completion") | {"choices": [choice], "usage": self.usage()}
        )

    def event(self, delta: dict[str, str], *, last: bool = False) -> bytes:
        """One event of a stream."""
        reason = self.finish_reason if last else None
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return _event(self._envelope("chat.completion.chunk") | {"choices": [choice]})

    def usage_event(self) -> bytes:
        """The event that tells token counts."""
        return _event(
            self._envelope("chat.completion.chunk") | {"choices": list[object](), "usage": self.usage()}
        )

    def _envelope(self, kind: str) -> dict[str, object]:
        return {"id": self.identifier, "object": kind, "created": self.created, "model": self.model}

    def _rejected(self, rejection: Rejection, count: int) -> ApiError:
        if rejection is Rejection.PROMPT_TOO_LONG:
            message = (
                f"the prompt has {count} tokens and leaves no room in a context of {self.context_tokens}"
            )
            return ApiError(400, message, code="context_length_exceeded", param="messages")
        return ApiError(
            400,
            "the model's chat template does not take these messages",
            code="invalid_value",
            param="messages",
        )


Generation = AbstractAsyncContextManager[AsyncIterator[Begun | Text | Finished | Rejected]]


def asked(request: ChatRequest, context_tokens: int) -> Asked:
    """The settings of a request, with what it leaves open filled in."""
    sampling = Sampling(
        temperature=1.0 if request.temperature is None else request.temperature,
        top_p=1.0 if request.top_p is None else request.top_p,
        seed=secrets.randbits(32) if request.seed is None else request.seed,
    )
    return Asked(sampling, request.max_completion_tokens or request.max_tokens or context_tokens)


def start(engine: Engine, request: ChatRequest, how: Asked) -> Generation:
    """Ask the engine for one generation."""
    turns = tuple(message.turn() for message in request.messages)
    return engine.generation(turns, how.sampling, max_tokens=how.max_tokens, stop=request.stops)


def _event(document: dict[str, object]) -> bytes:
    return b"data: " + msgspec.json.encode(document) + b"\n\n"


def error_event(error: ApiError) -> bytes:
    """The event that ends a stream which cannot go on."""
    return b"data: " + error.body + b"\n\n"
