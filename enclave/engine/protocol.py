# SPDX-License-Identifier: Apache-2.0
"""What session process and engine process say to each other: length-prefixed MessagePack on a socketpair.

Every generation and every embedding has a number of the session process's choosing. What belongs to it ends
with one `Finished` for each choice, with one `Embedded`, or with one `Rejected`.
"""

from collections.abc import Iterator
from enum import StrEnum, auto
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta
from typing_extensions import override

MAX_MESSAGE_BYTES = 8 << 20
LENGTH_BYTES = 4
MAX_CHOICES = 8  # a choice takes a place of its own in the batch
MAX_TOP_LOGPROBS = 20  # as many as OpenAI's interface allows
MAX_TEXTS = 256  # of one embedding


class ProtocolError(Exception):
    """The other process said something that is not of this protocol."""


class Role(StrEnum):
    """Who speaks in a conversation."""

    SYSTEM = auto()
    DEVELOPER = auto()
    USER = auto()
    ASSISTANT = auto()
    TOOL = auto()


class FinishReason(StrEnum):
    """Why a choice ended."""

    STOP = auto()
    LENGTH = auto()
    CANCELLED = auto()
    DEADLINE = auto()


class Rejection(StrEnum):
    """Why a generation did not begin."""

    PROMPT_TOO_LONG = auto()
    PROMPT_EMPTY = auto()
    TOKEN_UNKNOWN = auto()
    TEMPLATE_REFUSED = auto()
    SCHEMA_REFUSED = auto()
    BUSY = auto()
    DEADLINE = auto()


class ToolCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """A call that the model made earlier in the conversation; `arguments` is a JSON text."""

    id: str
    name: str
    arguments: str

    @override
    def __repr__(self) -> str:
        """Say what it is, not what is in it."""
        return "ToolCall()"


class Tool(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """A function that the model may call; `parameters` is a JSON schema as text."""

    name: str
    description: str
    parameters: str

    @override
    def __repr__(self) -> str:
        """Say what it is, not what is in it."""
        return "Tool()"


class Turn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """One message of a conversation."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""

    @override
    def __repr__(self) -> str:
        """Say who spoke, not what."""
        return f"Turn({self.role})"


class Conversation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="conversation"):
    """A prompt that the model's own template makes of messages, and of tools where it knows them."""

    turns: tuple[Turn, ...]
    tools: tuple[Tool, ...] = ()

    @override
    def __repr__(self) -> str:
        """Say what it is, not what is in it."""
        return "Conversation()"


class PlainText(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="text"):
    """A prompt as it is; markers of the template inside it are text."""

    text: str

    @override
    def __repr__(self) -> str:
        """Say what it is, not what is in it."""
        return "PlainText()"


class TokenList(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="tokens"):
    """A prompt as numbers of the model's vocabulary."""

    tokens: tuple[Annotated[int, Meta(ge=0, lt=1 << 31)], ...]

    @override
    def __repr__(self) -> str:
        """Say what it is, not what is in it."""
        return "TokenList()"


Prompt = Conversation | PlainText | TokenList


class Sampling(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """How tokens are chosen; a temperature of 0 takes the likeliest. The defaults change nothing.

    The seed of a choice is `seed` plus its index.
    """

    temperature: Annotated[float, Meta(ge=0, le=2)] = 1.0
    top_p: Annotated[float, Meta(gt=0, le=1)] = 1.0
    seed: Annotated[int, Meta(ge=0, lt=1 << 32)] = 0
    top_k: Annotated[int, Meta(ge=0, le=1 << 20)] = 0
    min_p: Annotated[float, Meta(ge=0, le=1)] = 0.0
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] = 0.0
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] = 0.0
    repeat_penalty: Annotated[float, Meta(gt=0, le=2)] = 1.0
    logit_bias: tuple[
        tuple[Annotated[int, Meta(ge=0, lt=1 << 31)], Annotated[float, Meta(ge=-100, le=100)]], ...
    ] = ()

    @override
    def __repr__(self) -> str:
        """Say what it is, not what is in it."""
        return "Sampling()"


class Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """The answer is `before`, then JSON that fits a JSON schema (a JSON text), then `after`."""

    schema: str
    before: str = ""
    after: str = ""

    @override
    def __repr__(self) -> str:
        """Say what it is, not what is in it."""
        return "Shape()"


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is wanted of the model.

    `identity` is 16 bytes that say who asks: places are shared out between identities, and nothing is shared
    across them. `session` is empty, or 16 bytes inside which a common beginning need not be computed again.
    `max_tokens` counts for each choice. `top_logprobs` of None asks for no probabilities, of 0 for those of
    the chosen tokens alone. `limit_seconds` runs from the moment the engine gets the order.
    """

    identity: Annotated[bytes, Meta(min_length=16, max_length=16)]
    session: Annotated[bytes, Meta(max_length=16)] = b""
    prompt: Prompt
    sampling: Sampling
    max_tokens: Annotated[int, Meta(ge=1)]
    stop: tuple[str, ...] = ()
    choices: Annotated[int, Meta(ge=1, le=MAX_CHOICES)] = 1
    top_logprobs: Annotated[int, Meta(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    shape: Shape | None = None
    limit_seconds: Annotated[float, Meta(gt=0)] = 3600.0

    @override
    def __repr__(self) -> str:
        """Say what it is, not what is in it."""
        return "Order()"


class Generate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="generate"):
    """Begin a generation."""

    generation: int
    order: Order


class Embed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="embed"):
    """Compute one vector for each text."""

    generation: int
    identity: Annotated[bytes, Meta(min_length=16, max_length=16)]
    texts: Annotated[tuple[PlainText | TokenList, ...], Meta(min_length=1, max_length=MAX_TEXTS)]

    @override
    def __repr__(self) -> str:
        """Say which one, not what is in it."""
        return f"Embed({self.generation})"


class Cancel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="cancel"):
    """End a generation early, with all its choices; one that has ended already is no error."""

    generation: int


class Ready(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="ready"):
    """The model is loaded. `protections` says what the kernel granted or refused, by name.

    `context_tokens` is the room for one prompt and its answer. `settings` is the engine's configuration as
    measured at start, by name; it belongs into the claims.
    """

    context_tokens: int
    threads: int
    library: str
    protections: dict[str, str]
    settings: dict[str, str] = {}
    embedding_size: int = 0
    tools: bool = False


class Begun(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="begun"):
    """The prompt is accepted; of `prompt_tokens`, `cached_tokens` were known from earlier in the session."""

    generation: int
    prompt_tokens: int
    cached_tokens: int = 0


class TokenLogprob(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """A chosen token's bytes, its natural logarithm of probability, and those of the likeliest ones."""

    token: bytes
    logprob: float
    top: tuple[tuple[bytes, float], ...] = ()

    @override
    def __repr__(self) -> str:
        """Say what it is, not what is in it."""
        return "TokenLogprob()"


class Text(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="text"):
    """Some more of one choice.

    Where probabilities were asked for there is a report for each token, also where its text is held back
    until more is known.
    """

    generation: int
    text: str
    choice: int = 0
    logprobs: tuple[TokenLogprob, ...] = ()

    @override
    def __repr__(self) -> str:
        """Say which generation, not what is in it."""
        return f"Text({self.generation})"


class Finished(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="finished"):
    """One choice is complete, or was cut for this reason."""

    generation: int
    reason: FinishReason
    completion_tokens: int
    choice: int = 0


class Rejected(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="rejected"):
    """The generation, or embedding, did not begin.

    `retry_after_seconds` is an estimate for BUSY, and 0 otherwise.
    """

    generation: int
    rejection: Rejection
    prompt_tokens: int = 0
    retry_after_seconds: int = 0


class Embedded(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="embedded"):
    """One vector of unit length for each text: 32-bit floats, little-endian."""

    generation: int
    vectors: tuple[bytes, ...]
    prompt_tokens: int

    @override
    def __repr__(self) -> str:
        """Say which one, not what is in it."""
        return f"Embedded({self.generation})"


_Message = TypeVar("_Message")
Command = Generate | Embed | Cancel
Progress = Begun | Text | Finished | Rejected
Report = Ready | Progress | Embedded


def encode(message: Command | Report) -> bytes:
    """One message with its length before it."""
    body = msgspec.msgpack.encode(message)
    assert len(body) <= MAX_MESSAGE_BYTES, "the session process bounds what it asks for"
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


class CommandReader:
    """Takes bytes as they arrive in the engine process, and gives whole commands."""

    def __init__(self) -> None:
        self._bodies, self._decoder = _Bodies(), msgspec.msgpack.Decoder(Command)

    def receive(self, data: bytes) -> Iterator[Command]:
        """Raise ProtocolError for what is not of this protocol."""
        return _decode(self._bodies.receive(data), self._decoder)


class ReportReader:
    """Takes bytes as they arrive in the session process, and gives whole reports."""

    def __init__(self) -> None:
        self._bodies, self._decoder = _Bodies(), msgspec.msgpack.Decoder(Report)

    def receive(self, data: bytes) -> Iterator[Report]:
        """Raise ProtocolError for what is not of this protocol."""
        return _decode(self._bodies.receive(data), self._decoder)


def _decode(bodies: Iterator[bytes], decoder: "msgspec.msgpack.Decoder[_Message]") -> "Iterator[_Message]":
    for body in bodies:
        try:
            yield decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise ProtocolError("not a message of this protocol") from None


class _Bodies:
    """Cuts a stream at its length prefixes."""

    def __init__(self) -> None:
        self._held = bytearray()

    def receive(self, data: bytes) -> Iterator[bytes]:
        self._held += data
        while len(self._held) >= LENGTH_BYTES:
            size = int.from_bytes(self._held[:LENGTH_BYTES], "big")
            if size > MAX_MESSAGE_BYTES:
                raise ProtocolError(f"a message of {size} bytes exceeds {MAX_MESSAGE_BYTES}")
            end = LENGTH_BYTES + size
            if len(self._held) < end:
                return
            body = bytes(self._held[LENGTH_BYTES:end])
            self._held = self._held[end:]  # a copy: shortening in place would leave what was read in memory
            yield body
