# SPDX-License-Identifier: Apache-2.0
"""Which path is answered by what. Requests arrive decrypted; answers leave through a `Reply`."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from enclave.api import chat, errors
from enclave.api.account import Account, Asked
from enclave.api.errors import ApiError
from enclave.api.schema import ChatRequest, parse_chat_request
from enclave.engine.client import BusyError, Engine, EngineGoneError
from enclave.engine.protocol import Begun, Finished, Rejected, Text
from enclave.session import Problem, Request
from models.manifest import Manifest

JSON = "application/json"
EVENT_STREAM = "text/event-stream"

PROBLEMS = {
    Problem.MALFORMED_MESSAGE: "the encapsulated message is not well formed",
    Problem.CONTENT_TOO_LARGE: "the content is too large",
    Problem.CONTENT_ENCODING: "content must not be compressed",
}


class Reply(Protocol):
    """Where an answer goes: sealed, then to the client. A client that went away cancels the caller."""

    async def whole(
        self, status: int, content_type: str, content: bytes, *, retry_after_seconds: int = 0
    ) -> None:
        """Send a complete answer."""

    def account(self, account: Account) -> None:
        """The generation has ended. What follows is the whole answer, or the end of its stream."""

    async def begin(self, status: int, content_type: str) -> None:
        """Begin a streamed answer."""

    async def write(self, content: bytes) -> None:
        """Send a piece of it."""

    async def end(self) -> None:
        """End it properly."""


@dataclass(frozen=True, slots=True)
class Api:
    """The interface of one model."""

    engine: Engine = field(repr=False)
    manifest: Manifest
    context_tokens: int

    async def answer(self, request: Request | Problem, reply: Reply) -> None:
        """Answer one request; what cannot be answered gets an error document."""
        try:
            await self._route(request, reply)
        except ApiError as error:
            await reply.whole(error.status, JSON, error.body, retry_after_seconds=error.retry_after_seconds)

    async def _route(self, request: Request | Problem, reply: Reply) -> None:
        if isinstance(request, Problem):
            raise ApiError(request.value, PROBLEMS[request], code=request.name.lower())
        match request.method, request.path:
            case "GET", "/v1/models":
                await reply.whole(200, JSON, self._models())
            case "POST", "/v1/chat/completions":
                await self._chat(request, reply)
            case _, "/v1/models" | "/v1/chat/completions":
                raise ApiError(405, f"{request.method} is not allowed here", code="method_not_allowed")
            case _:
                raise ApiError(404, f"there is nothing at {request.path}", code="not_found")

    def _models(self) -> bytes:
        model = {
            "id": self.manifest.name,
            "object": "model",
            "created": 0,
            "owned_by": "sottovoce",
            "context_length": self.context_tokens,
            "sha256": self.manifest.digest.hex(),
        }
        return msgspec.json.encode({"object": "list", "data": [model]})

    async def _chat(self, request: Request, reply: Reply) -> None:
        media_type = request.fields.get("content-type", "").partition(";")[0].strip()
        if media_type != JSON:
            raise ApiError(415, "content-type must be application/json", code="unsupported_media_type")
        wanted = parse_chat_request(request.content)
        if wanted.model != self.manifest.name:
            message = f"there is no model {wanted.model} here; this enclave serves {self.manifest.name}"
            raise ApiError(404, message, code="model_not_found", param="model")
        if wanted.stream_options and not wanted.stream:
            raise ApiError(400, "stream_options needs stream", code="invalid_value", param="stream_options")
        asked = chat.asked(wanted, self.context_tokens)
        try:
            async with chat.start(self.engine, wanted, asked) as reports:
                await self._deliver(wanted, asked, reports, reply)
        except BusyError:
            raise errors.busy() from None
        except EngineGoneError:
            raise errors.engine_failed() from None

    async def _deliver(
        self,
        wanted: ChatRequest,
        asked: Asked,
        reports: AsyncIterator[Begun | Text | Finished | Rejected],
        reply: Reply,
    ) -> None:
        completion = chat.Completion(self.manifest.name, self.context_tokens)
        completion.take(await anext(reports))  # a prompt that does not fit is refused before a stream begins
        if wanted.stream:
            await self._stream(wanted, asked, completion, reports, reply)
            return
        texts = [completion.take(report) async for report in reports]
        reply.account(completion.account(asked))
        await reply.whole(200, JSON, completion.document("".join(texts)))

    async def _stream(
        self,
        wanted: ChatRequest,
        asked: Asked,
        completion: chat.Completion,
        reports: AsyncIterator[Begun | Text | Finished | Rejected],
        reply: Reply,
    ) -> None:
        await reply.begin(200, EVENT_STREAM)
        await reply.write(completion.event({"role": "assistant", "content": ""}))
        try:
            async for report in reports:
                text = completion.take(report)
                if text:
                    await reply.write(completion.event({"content": text}))
        except (
            EngineGoneError
        ):  # the head is sent, so the error goes into the stream, and the stream ends properly
            await reply.write(chat.error_event(errors.engine_failed()))
            await reply.end()
            return
        await reply.write(completion.event({}, last=True))
        if wanted.stream_options and wanted.stream_options.include_usage:
            await reply.write(completion.usage_event())
        reply.account(completion.account(asked))
        await reply.write(chat.DONE)
        await reply.end()
