# SPDX-License-Identifier: Apache-2.0
"""What a chat request may hold. A parameter that is not here is named in an error, never ignored."""

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from typing_extensions import override

from enclave.api.errors import ApiError
from enclave.engine.protocol import Role, Turn

Text = Annotated[str, Meta(max_length=1 << 20)]
StopText = Annotated[str, Meta(min_length=1, max_length=256)]
TokenCount = Annotated[int, Meta(ge=1, le=1 << 20)]

UNKNOWN = re.compile(r"unknown field `([^`]*)`")
PLACE = re.compile(r" - at `\$\.?([^`]*)`")


class TextPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a message; only text is served."""

    type: Literal["text"]
    text: Text

    @override
    def __repr__(self) -> str:
        """Say what it is, not what is in it."""
        return "TextPart()"


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One message of the conversation so far."""

    role: Role
    content: Text | Annotated[list[TextPart], Meta(min_length=1, max_length=64)]

    def turn(self) -> Turn:
        """The message with its parts joined."""
        if isinstance(self.content, str):
            return Turn(self.role, self.content)
        return Turn(self.role, "".join(part.text for part in self.content))

    @override
    def __repr__(self) -> str:
        """Say what it is, not what is in it."""
        return "Message()"


class StreamOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What else a stream tells."""

    include_usage: bool = False


class ChatRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /v1/chat/completions."""

    model: Annotated[str, Meta(min_length=1, max_length=200)]
    messages: Annotated[list[Message], Meta(min_length=1, max_length=1024)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: TokenCount | None = None
    max_completion_tokens: TokenCount | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    seed: Annotated[int, Meta(ge=0, lt=1 << 32)] | None = None
    stop: StopText | Annotated[list[StopText], Meta(max_length=4)] | None = None
    n: Literal[1] | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings."""
        if self.stop is None:
            return ()
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    @override
    def __repr__(self) -> str:
        """Say what it is, not what is in it."""
        return "ChatRequest()"


_decoder = msgspec.json.Decoder(ChatRequest)


def parse_chat_request(body: bytes) -> ChatRequest:
    """Read a chat request.

    Raises ApiError, which names the parameter that is unknown or wrong.
    """
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _explain(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ApiError(400, "the body is not valid JSON", code="invalid_json") from None


def _explain(message: str) -> ApiError:
    """Turn the library's message into one that names the parameter."""
    place = PLACE.search(message)
    inside = place[1] if place else ""
    unknown = UNKNOWN.search(message)
    if unknown:
        param = ".".join(filter(None, (inside, unknown[1])))
        return ApiError(
            400, f"the parameter {param} is not supported", code="unsupported_parameter", param=param
        )
    said = PLACE.sub("", message)
    return ApiError(400, f"{inside or 'the body'}: {said}", code="invalid_value", param=inside or None)
