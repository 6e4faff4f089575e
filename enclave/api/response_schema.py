# SPDX-License-Identifier: Apache-2.0
"""What a request for a response may hold. Nothing is kept here: `store` has to be false."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from enclave.api.parameters import (
    AnyObject,
    AnyText,
    CallId,
    Choice,
    Function,
    FunctionName,
    ModelName,
    NamedFunction,
    Private,
    Text,
    TokenCount,
    TopLogprobs,
    decode,
    unsupported,
)
from enclave.engine.protocol import Role, ToolCall, Turn

LOGPROBS = "message.output_text.logprobs"


class InputText(Private, frozen=True, tag_field="type", tag="input_text"):
    """A part of a message to the model."""

    text: Text


class OutputText(Private, frozen=True, kw_only=True, tag_field="type", tag="output_text"):
    """A part of a message of the model, as it was given."""

    text: Text
    annotations: Annotated[list[None], Meta(max_length=0)] | None = None
    logprobs: list[msgspec.Raw] | None = None


Parts = Annotated[list[InputText | OutputText], Meta(min_length=1, max_length=64)]


class ItemMessage(Private, frozen=True, kw_only=True):
    """A message. Identifier and status of an earlier answer may stand in it."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | Parts
    type: Literal["message"] = "message"
    id: CallId | None = None
    status: Literal["completed", "incomplete"] | None = None

    def turn(self) -> Turn:
        """The message with its parts joined."""
        role = Role.SYSTEM if self.role == "developer" else Role(self.role)
        content = self.content
        return Turn(role, content if isinstance(content, str) else "".join(part.text for part in content))


class ItemCall(Private, frozen=True, kw_only=True):
    """A call that the model made."""

    type: Literal["function_call"]
    call_id: CallId
    name: FunctionName
    arguments: Text
    id: CallId | None = None
    status: Literal["completed", "incomplete"] | None = None

    def turn(self) -> Turn:
        """The call as a message of the model."""
        return Turn(Role.ASSISTANT, "", (ToolCall(self.call_id, self.name, self.arguments),))


class ItemOutput(Private, frozen=True, kw_only=True):
    """What a function gave."""

    type: Literal["function_call_output"]
    call_id: CallId
    output: Text
    id: CallId | None = None
    status: Literal["completed", "incomplete"] | None = None

    def turn(self) -> Turn:
        """The outcome as a message of the tool."""
        return Turn(Role.TOOL, self.output, tool_call_id=self.call_id)


class FunctionTool(Function, frozen=True, tag_field="type", tag="function"):
    """A tool; only functions are served."""


class NamedTool(NamedFunction, frozen=True, tag_field="type", tag="function"):
    """The tool that has to be called."""


class SchemaFormat(Private, frozen=True, tag_field="type", tag="json_schema"):
    """An answer that fits a JSON schema; it is always followed, whatever `strict` says."""

    name: FunctionName
    schema: msgspec.Raw
    description: Text | None = None
    strict: bool | None = None


class TextOptions(Private, frozen=True):
    """The form of the answer."""

    format: AnyText | AnyObject | SchemaFormat | None = None


class ResponseRequest(Private, frozen=True, kw_only=True):
    """The body of POST /v1/responses."""

    model: ModelName
    input: Text | Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=1024)]
    store: Literal[False]
    instructions: Text | None = None
    stream: bool | None = None
    max_output_tokens: TokenCount | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    text: TextOptions | None = None
    tools: Annotated[list[FunctionTool], Meta(min_length=1, max_length=128)] | None = None
    tool_choice: Choice | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    include: Annotated[list[Literal["message.output_text.logprobs"]], Meta(max_length=1)] | None = None
    top_logprobs: TopLogprobs | None = None
    truncation: Literal["disabled"] | None = None


class _Kind(msgspec.Struct, frozen=True):
    """What sort of item it is; a message need not say so."""

    type: str = "message"


Item = ItemMessage | ItemCall | ItemOutput

_decoder = msgspec.json.Decoder(ResponseRequest)
_kind_decoder = msgspec.json.Decoder(_Kind)
_message_decoder = msgspec.json.Decoder(ItemMessage)
_call_decoder = msgspec.json.Decoder(ItemCall)
_output_decoder = msgspec.json.Decoder(ItemOutput)


def parse_response_request(body: bytes) -> ResponseRequest:
    """Read a request. Raises ApiError, which names the parameter that is unknown or wrong."""
    return decode(_decoder, body)


def turns_of(request: ResponseRequest) -> tuple[Turn, ...]:
    """The conversation. Raises ApiError, which names what is unknown or wrong in it."""
    first = () if request.instructions is None else (Turn(Role.SYSTEM, request.instructions),)
    if isinstance(request.input, str):
        return (*first, Turn(Role.USER, request.input))
    items = (_item(bytes(raw), f"input[{index}]") for index, raw in enumerate(request.input))
    return (*first, *_merged(items))


def _item(raw: bytes, param: str) -> Item:
    match decode(_kind_decoder, raw, within=param).type:
        case "message":
            return decode(_message_decoder, raw, within=param)
        case "function_call":
            return decode(_call_decoder, raw, within=param)
        case "function_call_output":
            return decode(_output_decoder, raw, within=param)
        case kind:
            raise unsupported(f"{param}.type", f"items of the type {kind[:32]} are not supported")


def _merged(items: Iterable[Item]) -> Iterator[Turn]:
    """Items as messages; what the model said and called in one go is one message."""
    held: Turn | None = None
    for item in items:
        turn = item.turn()
        if held and turn.tool_calls:
            held = Turn(Role.ASSISTANT, held.content, held.tool_calls + turn.tool_calls)
            continue
        if held:
            yield held
        held = turn if turn.role is Role.ASSISTANT else None
        if held is None:
            yield turn
    if held:
        yield held
