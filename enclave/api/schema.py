# SPDX-License-Identifier: Apache-2.0
"""What a chat request may hold. A parameter that is not here is named in an error, never ignored."""

from typing import Annotated

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
    Sampled,
    StreamOptions,
    Text,
    TokenCount,
    TopLogprobs,
    decode,
)
from enclave.engine.protocol import Role, ToolCall, Turn


class TextPart(Private, frozen=True, tag_field="type", tag="text"):
    """A part of a message; only text is served."""

    text: Text


Content = Text | Annotated[list[TextPart], Meta(min_length=1, max_length=64)]


class SystemMessage(Private, frozen=True, tag_field="role", tag="system"):
    """What the one who built the application tells the model."""

    content: Content

    def turn(self) -> Turn:
        """The message with its parts joined."""
        return Turn(Role.SYSTEM, joined(self.content))


class DeveloperMessage(Private, frozen=True, tag_field="role", tag="developer"):
    """The newer name of a system message; templates know the older one."""

    content: Content

    def turn(self) -> Turn:
        """The message with its parts joined."""
        return Turn(Role.SYSTEM, joined(self.content))


class UserMessage(Private, frozen=True, tag_field="role", tag="user"):
    """What the user says."""

    content: Content

    def turn(self) -> Turn:
        """The message with its parts joined."""
        return Turn(Role.USER, joined(self.content))


class CalledFunction(Private, frozen=True):
    """A call that the model made; arguments are JSON as text."""

    name: FunctionName
    arguments: Text


class Called(Private, frozen=True, tag_field="type", tag="function"):
    """A call in an earlier answer."""

    id: CallId
    function: CalledFunction


class AssistantMessage(Private, frozen=True, tag_field="role", tag="assistant"):
    """What the model said earlier."""

    content: Content | None = None
    refusal: None = None
    tool_calls: Annotated[list[Called], Meta(min_length=1, max_length=64)] | None = None

    def __post_init__(self) -> None:
        """Refuse a message that says nothing."""
        if self.content is None and self.tool_calls is None:
            raise ValueError("a message of the assistant needs content or tool_calls")

    def turn(self) -> Turn:
        """The message with its parts joined."""
        calls = tuple(
            ToolCall(call.id, call.function.name, call.function.arguments) for call in self.tool_calls or ()
        )
        return Turn(Role.ASSISTANT, "" if self.content is None else joined(self.content), calls)


class ToolMessage(Private, frozen=True, tag_field="role", tag="tool"):
    """What a function gave."""

    content: Content
    tool_call_id: CallId

    def turn(self) -> Turn:
        """The message with its parts joined."""
        return Turn(Role.TOOL, joined(self.content), tool_call_id=self.tool_call_id)


Message = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage


class Tool(Private, frozen=True, tag_field="type", tag="function"):
    """A tool; only functions are served."""

    function: Function


class NamedTool(Private, frozen=True, tag_field="type", tag="function"):
    """The tool that has to be called."""

    function: NamedFunction


class Schema(Private, frozen=True):
    """A JSON schema with a name; it is always followed, whatever `strict` says."""

    name: FunctionName
    schema: msgspec.Raw
    description: Text | None = None
    strict: bool | None = None


class SchemaFormat(Private, frozen=True, tag_field="type", tag="json_schema"):
    """An answer that fits a JSON schema."""

    json_schema: Schema


class ChatRequest(Sampled, frozen=True, kw_only=True):
    """The body of POST /v1/chat/completions."""

    model: ModelName
    messages: Annotated[list[Message], Meta(min_length=1, max_length=1024)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: TokenCount | None = None
    max_completion_tokens: TokenCount | None = None
    logprobs: bool | None = None
    top_logprobs: TopLogprobs | None = None
    response_format: AnyText | AnyObject | SchemaFormat | None = None
    tools: Annotated[list[Tool], Meta(min_length=1, max_length=128)] | None = None
    tool_choice: Choice | NamedTool | None = None
    parallel_tool_calls: bool | None = None


def joined(content: str | list[TextPart]) -> str:
    """The text of a message."""
    return content if isinstance(content, str) else "".join(part.text for part in content)


_decoder = msgspec.json.Decoder(ChatRequest)


def parse_chat_request(body: bytes) -> ChatRequest:
    """Read a chat request.

    Raises ApiError, which names the parameter that is unknown or wrong.
    """
    return decode(_decoder, body)
