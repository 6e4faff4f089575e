# SPDX-License-Identifier: Apache-2.0
"""Responses, streamed and whole: OpenAI's newer interface, without anything that is kept."""

import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from enclave.api import shapes
from enclave.api.calls import Call
from enclave.api.chat import logprob_document
from enclave.api.errors import ApiError, Params
from enclave.api.parameters import AnyObject, Sampled, invalid
from enclave.api.progress import Piece, Usage
from enclave.api.response_schema import LOGPROBS, NamedTool, ResponseRequest, SchemaFormat, turns_of
from enclave.api.wanted import Offer, Wanted, offer_of, sampling_of
from enclave.engine.protocol import Conversation, Shape, TokenLogprob
from models.manifest import Manifest

Document = dict[str, object]


def wanted_of(request: ResponseRequest, manifest: Manifest, context_tokens: int) -> Wanted:
    """What a request asks of the engine. Raises ApiError, naming the parameter."""
    if request.top_logprobs is not None and not _with_logprobs(request):
        raise invalid("top_logprobs", f'needs "{LOGPROBS}" in include')
    offer = _offer(request, manifest)
    shape = _shape(request)
    if shape and offer.names:
        raise invalid("text.format", "cannot be combined with tools")
    return Wanted(
        prompts=(Conversation(turns_of(request), offer.tools),),
        sampling=sampling_of(Sampled(temperature=request.temperature, top_p=request.top_p)),
        max_tokens=request.max_output_tokens or context_tokens,
        stop=offer.stop,
        top_logprobs=(request.top_logprobs or 0) if _with_logprobs(request) else None,
        shape=shape or offer.shape,
        offered=offer.names,
        form=offer.form,
        params=Params(prompt="input", shape="tools" if offer.shape else "text.format"),
    )


def _with_logprobs(request: ResponseRequest) -> bool:
    return LOGPROBS in (request.include or ())


def _offer(request: ResponseRequest, manifest: Manifest) -> Offer:
    functions = [(tool, f"tools[{index}]") for index, tool in enumerate(request.tools or ())]
    choice = request.tool_choice
    named = choice.name if isinstance(choice, NamedTool) else None
    free = None if isinstance(choice, NamedTool) else choice
    return offer_of(manifest, functions, free, named=named, parallel=request.parallel_tool_calls is not False)


def _shape(request: ResponseRequest) -> Shape | None:
    match request.text.format if request.text else None:
        case AnyObject():
            return shapes.any_object()
        case SchemaFormat(schema=schema):
            return shapes.schema_shape(schema, "text.format.schema")
        case _:
            return None


@dataclass(slots=True)
class _Message:
    """The message of the answer, as far as it is known."""

    identifier: str
    text: str = field(default="", repr=False)
    logprobs: list[Document] = field(default_factory=list[Document], repr=False)

    def part(self) -> Document:
        """Its only part."""
        return {"type": "output_text", "annotations": [], "logprobs": self.logprobs, "text": self.text}

    def item(self, status: str) -> Document:
        """The whole of it."""
        content = [] if status == "in_progress" else [self.part()]
        return {
            "id": self.identifier,
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": content,
        }


class ResponseAnswer:
    """The documents of one response."""

    def __init__(self, request: ResponseRequest) -> None:
        self._request = request
        self._identifier, self._created = _identifier("resp"), int(time.time())
        self._items: list[_Message | Call] = []
        self._open: _Message | None = None
        self._number = 0
        self._cut = False

    def opening(self) -> Iterable[bytes]:
        """The events with which a stream begins."""
        yield self._event("response.created", response=self._document("in_progress", None))
        yield self._event("response.in_progress", response=self._document("in_progress", None))

    def events(self, piece: Piece) -> Iterable[bytes]:
        """The events of one piece."""
        logprobs = piece.logprobs
        for said in piece.said:
            if isinstance(said, Call):
                yield from self._close()
                yield from self._called(said)
            else:
                yield from self._said(said, logprobs)
                logprobs = ()
        if logprobs and self._open:
            self._open.logprobs += map(logprob_document, logprobs)
        self._cut = self._cut or piece.finish_reason == "length"

    def closing(self, usage: Usage) -> Iterable[bytes]:
        """The events with which a stream ends."""
        yield from self._close()
        status = self._status()
        yield self._event(f"response.{status}", response=self._document(status, usage))

    def failure(self, error: ApiError) -> bytes:
        """The event that ends a stream which cannot go on."""
        return self._event("error", code=error.code, message=error.message, param=error.param)

    def whole(self, pieces: list[Piece], usage: Usage) -> bytes:
        """The whole answer as one JSON document."""
        for piece in pieces:
            for _ in self.events(piece):
                pass
        for _ in self._close():
            pass
        return msgspec.json.encode(self._document(self._status(), usage))

    def _status(self) -> str:
        return "incomplete" if self._cut else "completed"

    def _said(self, text: str, logprobs: tuple[TokenLogprob, ...]) -> Iterable[bytes]:
        if self._open is None:
            yield from self._begin_message()
        message = self._open
        assert message is not None, "it was begun above"
        new = [logprob_document(each) for each in logprobs]
        message.text += text
        message.logprobs += new
        yield self._event(
            "response.output_text.delta", **self._place(message.identifier), delta=text, logprobs=new
        )

    def _begin_message(self) -> Iterable[bytes]:
        self._open = message = _Message(_identifier("msg"))
        self._items.append(message)
        index = len(self._items) - 1
        yield self._event("response.output_item.added", output_index=index, item=message.item("in_progress"))
        place = self._place(message.identifier)
        yield self._event("response.content_part.added", **place, part=_Message("").part())

    def _close(self) -> Iterable[bytes]:
        """End the message that is open."""
        message, self._open = self._open, None
        if message is None:
            return
        place = self._place(message.identifier)
        yield self._event("response.output_text.done", **place, text=message.text, logprobs=message.logprobs)
        yield self._event("response.content_part.done", **place, part=message.part())
        index = len(self._items) - 1
        yield self._event("response.output_item.done", output_index=index, item=message.item(self._status()))

    def _called(self, call: Call) -> Iterable[bytes]:
        self._items.append(call)
        index = len(self._items) - 1
        place: Document = {"item_id": _call_item(call), "output_index": index}
        begun = _call_document(call) | {"arguments": "", "status": "in_progress"}
        yield self._event("response.output_item.added", output_index=index, item=begun)
        yield self._event("response.function_call_arguments.delta", **place, delta=call.arguments)
        yield self._event(
            "response.function_call_arguments.done", **place, name=call.name, arguments=call.arguments
        )
        yield self._event("response.output_item.done", output_index=index, item=_call_document(call))

    def _place(self, identifier: str) -> Document:
        return {"item_id": identifier, "output_index": len(self._items) - 1, "content_index": 0}

    def _event(self, kind: str, **fields: object) -> bytes:
        document = {"type": kind, "sequence_number": self._number} | fields
        self._number += 1
        return b"event: " + kind.encode() + b"\ndata: " + msgspec.json.encode(document) + b"\n\n"

    def _document(self, status: str, usage: Usage | None) -> Document:
        request = self._request
        output = [
            _call_document(item) if isinstance(item, Call) else item.item(status) for item in self._items
        ]
        cut = {"reason": "max_output_tokens"} if status == "incomplete" else None
        return {
            "id": self._identifier,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "error": None,
            "incomplete_details": cut,
            "instructions": request.instructions,
            "max_output_tokens": request.max_output_tokens,
            "model": request.model,
            "output": output,
            "parallel_tool_calls": request.parallel_tool_calls is not False,
            "previous_response_id": None,
            "store": False,
            "temperature": 1.0 if request.temperature is None else request.temperature,
            "text": {"format": (request.text and request.text.format) or {"type": "text"}},
            "tool_choice": request.tool_choice or "auto",
            "tools": request.tools or [],
            "top_logprobs": request.top_logprobs or 0,
            "top_p": 1.0 if request.top_p is None else request.top_p,
            "truncation": "disabled",
            "metadata": {},
            "usage": None if usage is None else _usage(usage),
        }


def _identifier(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(16)}"


def _call_item(call: Call) -> str:
    return call.identifier.replace("call_", "fc_", 1)


def _call_document(call: Call) -> Document:
    return {
        "id": _call_item(call),
        "type": "function_call",
        "status": "completed",
        "call_id": call.identifier,
        "name": call.name,
        "arguments": call.arguments,
    }


def _usage(usage: Usage) -> Document:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
