# SPDX-License-Identifier: Apache-2.0
"""Chat completions, streamed and whole."""

import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from enclave.api import shapes
from enclave.api.calls import Call
from enclave.api.errors import ApiError, Params
from enclave.api.parameters import AnyObject, StreamOptions, invalid
from enclave.api.progress import Piece, Usage, token_text
from enclave.api.schema import ChatRequest, NamedTool, SchemaFormat
from enclave.api.wanted import Offer, Wanted, offer_of, sampling_of
from enclave.engine.protocol import Conversation, Shape, TokenLogprob
from models.manifest import Manifest

DONE = b"data: [DONE]\n\n"


def wanted_of(request: ChatRequest, manifest: Manifest, context_tokens: int) -> Wanted:
    """What a chat request asks of the engine. Raises ApiError, naming the parameter."""
    if request.stream_options and not request.stream:
        raise invalid("stream_options", "needs stream")
    if request.top_logprobs is not None and not request.logprobs:
        raise invalid("top_logprobs", "needs logprobs")
    offer = _offer(request, manifest)
    shape = _shape(request)
    if shape and offer.names:
        raise invalid("response_format", "cannot be combined with tools")
    return Wanted(
        prompts=(Conversation(tuple(message.turn() for message in request.messages), offer.tools),),
        sampling=sampling_of(request),
        max_tokens=request.max_completion_tokens or request.max_tokens or context_tokens,
        stop=request.stops + offer.stop,
        choices=request.n or 1,
        top_logprobs=(request.top_logprobs or 0) if request.logprobs else None,
        shape=shape or offer.shape,
        offered=offer.names,
        form=offer.form,
        params=Params(shape="tools" if offer.shape else "response_format"),
    )


def _offer(request: ChatRequest, manifest: Manifest) -> Offer:
    functions = [
        (tool.function, f"tools[{index}].function") for index, tool in enumerate(request.tools or ())
    ]
    if request.parallel_tool_calls is not None and not functions:
        raise invalid("parallel_tool_calls", "there are no tools")
    choice = request.tool_choice
    named = choice.function.name if isinstance(choice, NamedTool) else None
    free = None if isinstance(choice, NamedTool) else choice
    return offer_of(manifest, functions, free, named=named, parallel=request.parallel_tool_calls is not False)


def _shape(request: ChatRequest) -> Shape | None:
    match request.response_format:
        case AnyObject():
            return shapes.any_object()
        case SchemaFormat(json_schema=wanted):
            return shapes.schema_shape(wanted.schema, "response_format.json_schema.schema")
        case _:
            return None


@dataclass(slots=True)
class Envelope:
    """What every document of one answer has in common."""

    model: str
    with_usage: bool = False
    prefix: str = "chatcmpl"
    kind: str = "chat.completion"
    chunk_kind: str = "chat.completion.chunk"
    identifier: str = ""
    created: int = field(default_factory=lambda: int(time.time()))

    def __post_init__(self) -> None:
        """Choose an identifier."""
        self.identifier = self.identifier or f"{self.prefix}-{secrets.token_hex(12)}"

    def whole(self, choices: list[dict[str, object]], usage: Usage) -> bytes:
        """The whole answer."""
        return msgspec.json.encode(
            self._document(self.kind) | {"choices": choices, "usage": usage.document()}
        )

    def event(self, *choices: dict[str, object]) -> bytes:
        """One event of a stream."""
        return event(self._document(self.chunk_kind) | {"choices": choices})

    def closing(self, usage: Usage) -> Iterable[bytes]:
        """The events with which a stream ends: token counts where they are wanted, and the end's mark."""
        if self.with_usage:
            counts = {"choices": list[object](), "usage": usage.document()}
            yield event(self._document(self.chunk_kind) | counts)
        yield DONE

    def _document(self, kind: str) -> dict[str, object]:
        return {"id": self.identifier, "object": kind, "created": self.created, "model": self.model}


class ChatAnswer:
    """The documents of one chat completion."""

    def __init__(self, envelope: Envelope, wanted: Wanted) -> None:
        self._envelope, self._with_logprobs = envelope, wanted.top_logprobs is not None
        self._calls = [0] * wanted.choices

    def opening(self) -> Iterable[bytes]:
        """The events with which a stream begins, one for each choice."""
        for choice in range(len(self._calls)):
            yield self._event(choice, {"role": "assistant", "content": ""})

    def events(self, piece: Piece) -> Iterable[bytes]:
        """The events of one piece."""
        delta: dict[str, object] = {}
        if piece.text:
            delta["content"] = piece.text
        if piece.calls:
            delta["tool_calls"] = [self._call(piece.choice, call) for call in piece.calls]
        if delta or piece.logprobs:
            yield self._event(piece.choice, delta, logprobs=piece.logprobs)
        if piece.finish_reason:
            yield self._event(piece.choice, {}, finish_reason=piece.finish_reason)

    def whole(self, pieces: list[Piece], usage: Usage) -> bytes:
        """The whole answer as one JSON document."""
        choices = [self._choice(choice, pieces) for choice in range(len(self._calls))]
        return self._envelope.whole(choices, usage)

    def closing(self, usage: Usage) -> Iterable[bytes]:
        """The events with which a stream ends."""
        return self._envelope.closing(usage)

    def failure(self, error: ApiError) -> bytes:
        """The event that ends a stream which cannot go on."""
        return failure(error)

    def _choice(self, choice: int, pieces: list[Piece]) -> dict[str, object]:
        own = [piece for piece in pieces if piece.choice == choice]
        text = "".join(piece.text for piece in own)
        calls = [_called(call) for piece in own for call in piece.calls]
        message: dict[str, object] = {"role": "assistant", "content": text or (None if calls else "")}
        if calls:
            message["tool_calls"] = calls
        logprobs = tuple(logprob for piece in own for logprob in piece.logprobs)
        return {
            "index": choice,
            "message": message,
            "logprobs": self._logprobs(logprobs),
            "finish_reason": next(piece.finish_reason for piece in own if piece.finish_reason),
        }

    def _call(self, choice: int, call: Call) -> dict[str, object]:
        index = self._calls[choice]
        self._calls[choice] += 1
        return {"index": index} | _called(call)

    def _event(
        self,
        choice: int,
        delta: dict[str, object],
        *,
        logprobs: tuple[TokenLogprob, ...] = (),
        finish_reason: str | None = None,
    ) -> bytes:
        shown = self._logprobs(logprobs) if logprobs else None
        return self._envelope.event(
            {"index": choice, "delta": delta, "logprobs": shown, "finish_reason": finish_reason}
        )

    def _logprobs(self, logprobs: tuple[TokenLogprob, ...]) -> dict[str, object] | None:
        return {"content": [logprob_document(each) for each in logprobs]} if self._with_logprobs else None


def with_usage(options: StreamOptions | None) -> bool:
    """Whether a stream tells token counts."""
    return options is not None and options.include_usage is True


def _called(call: Call) -> dict[str, object]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.identifier, "type": "function", "function": function}


def logprob_document(chosen: TokenLogprob) -> dict[str, object]:
    """The probability of a token, and those of the likeliest in its place."""
    top = [_token(token, logprob) for token, logprob in chosen.top]
    return _token(chosen.token, chosen.logprob) | {"top_logprobs": top}


def _token(token: bytes, logprob: float) -> dict[str, object]:
    return {"token": token_text(token), "logprob": logprob, "bytes": list(token)}


def event(document: dict[str, object]) -> bytes:
    """One event of a stream."""
    return b"data: " + msgspec.json.encode(document) + b"\n\n"


def failure(error: ApiError) -> bytes:
    """The event that ends a stream which cannot go on."""
    return event({"error": error.document})
