# SPDX-License-Identifier: Apache-2.0
"""Which path is answered by what. Requests arrive decrypted; answers leave through a `Reply`."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Protocol

from enclave.api import chat, completions, embeddings, errors, models, responses
from enclave.api.account import Account
from enclave.api.caller import Caller, caller_of
from enclave.api.chat import ChatAnswer, Envelope
from enclave.api.completions import CompletionAnswer, parse_completion_request
from enclave.api.errors import ApiError, Params
from enclave.api.progress import Piece, Reading, Usage
from enclave.api.response_schema import parse_response_request
from enclave.api.responses import ResponseAnswer
from enclave.api.schema import parse_chat_request
from enclave.api.wanted import Wanted
from enclave.engine.client import Engine, EngineGoneError
from enclave.engine.protocol import Progress, Rejected
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


class Answer(Protocol):
    """The documents of one answer, in the form of its path."""

    def opening(self) -> Iterable[bytes]:
        """The events with which a stream begins."""
        ...

    def events(self, piece: Piece) -> Iterable[bytes]:
        """The events of one piece."""
        ...

    def closing(self, usage: Usage) -> Iterable[bytes]:
        """The events with which a stream ends."""
        ...

    def failure(self, error: ApiError) -> bytes:
        """The event that ends a stream which cannot go on."""
        ...

    def whole(self, pieces: list[Piece], usage: Usage) -> bytes:
        """The whole answer as one JSON document."""
        ...


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
        posts: dict[str, Callable[[Request, Reply], Awaitable[None]]] = {
            "/v1/chat/completions": self._chat,
            "/v1/completions": self._complete,
            "/v1/embeddings": self._embed,
            "/v1/responses": self._respond,
        }
        is_models = request.path == models.PATH or request.path.startswith(f"{models.PATH}/")
        match request.method:
            case "POST" if request.path in posts:
                _check_media_type(request)
                await posts[request.path](request, reply)
            case "GET" if is_models:
                document = models.models_document(self.manifest, self.context_tokens, request.path)
                await reply.whole(200, JSON, document)
            case _ if is_models or request.path in posts:
                raise ApiError(405, f"{request.method} is not allowed here", code="method_not_allowed")
            case _:
                raise ApiError(404, f"there is nothing at {request.path}", code="not_found")

    async def _chat(self, request: Request, reply: Reply) -> None:
        asked = parse_chat_request(request.content)
        models.check_model(self.manifest, asked.model)
        wanted = chat.wanted_of(asked, self.manifest, self.context_tokens)
        answer = ChatAnswer(Envelope(asked.model, chat.with_usage(asked.stream_options)), wanted)
        await self._generate(caller_of(request), wanted, answer, reply, stream=asked.stream is True)

    async def _complete(self, request: Request, reply: Reply) -> None:
        asked = parse_completion_request(request.content)
        models.check_model(self.manifest, asked.model)
        wanted = completions.wanted_of(asked)
        answer = CompletionAnswer(completions.envelope_of(asked), wanted)
        await self._generate(caller_of(request), wanted, answer, reply, stream=asked.stream is True)

    async def _respond(self, request: Request, reply: Reply) -> None:
        asked = parse_response_request(request.content)
        models.check_model(self.manifest, asked.model)
        wanted = responses.wanted_of(asked, self.manifest, self.context_tokens)
        await self._generate(
            caller_of(request), wanted, ResponseAnswer(asked), reply, stream=asked.stream is True
        )

    async def _embed(self, request: Request, reply: Reply) -> None:
        asked = embeddings.parse_embedding_request(request.content)
        models.check_model(self.manifest, asked.model)
        texts = embeddings.texts_of(asked)
        try:
            embedded = await self.engine.embed(caller_of(request).identity, texts)
        except EngineGoneError:
            raise errors.engine_failed() from None
        if isinstance(embedded, Rejected):
            raise errors.rejected(embedded, self.context_tokens, Params("input", "input"))
        await reply.whole(200, JSON, embeddings.document(asked, embedded, self.manifest.name))

    async def _generate(
        self, caller: Caller, wanted: Wanted, answer: Answer, reply: Reply, *, stream: bool
    ) -> None:
        """Have one answer generated, and deliver it.

        All prompts are worked on at once, and read one after the other.
        """
        reading = Reading(wanted, self.context_tokens)
        try:
            async with AsyncExitStack() as stack:
                generations = [
                    await stack.enter_async_context(self.engine.generation(order))
                    for order in wanted.orders(caller)
                ]
                for number, reports in enumerate(generations):
                    # What is not taken is refused before a stream begins.
                    reading.take(await anext(reports), number)
                pieces = _pieces(reading, generations)
                if stream:
                    await _stream(reading, pieces, answer, reply)
                else:
                    whole = [piece async for piece in pieces]
                    reply.account(reading.account())
                    await reply.whole(200, JSON, answer.whole(whole, reading.usage))
        except EngineGoneError:
            raise errors.engine_failed() from None


async def _pieces(reading: Reading, generations: list[AsyncIterator[Progress]]) -> AsyncIterator[Piece]:
    for number, reports in enumerate(generations):
        async for report in reports:
            piece = reading.take(report, number)
            if piece:
                yield piece


async def _stream(reading: Reading, pieces: AsyncIterator[Piece], answer: Answer, reply: Reply) -> None:
    await reply.begin(200, EVENT_STREAM)
    await _write(reply, answer.opening())
    try:
        async for piece in pieces:
            await _write(reply, answer.events(piece))
    except EngineGoneError:
        # The head is sent, so the error goes into the stream, and the stream ends properly.
        await reply.write(answer.failure(errors.engine_failed()))
    else:
        reply.account(reading.account())
        await _write(reply, answer.closing(reading.usage))
    await reply.end()


async def _write(reply: Reply, events: Iterable[bytes]) -> None:
    """Send what came at once as one piece."""
    content = b"".join(events)
    if content:
        await reply.write(content)


def _check_media_type(request: Request) -> None:
    if request.fields.get("content-type", "").partition(";")[0].strip() != JSON:
        raise ApiError(415, "content-type must be application/json", code="unsupported_media_type")
