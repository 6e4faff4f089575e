# SPDX-License-Identifier: Apache-2.0
"""What session process and engine process say to each other: length-prefixed MessagePack on a socketpair."""

from collections.abc import Iterator
from enum import StrEnum, auto
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta
from typing_extensions import override

MAX_MESSAGE_BYTES = 4 << 20
LENGTH_BYTES = 4


class ProtocolError(Exception):
    """The other process said something that is not of this protocol."""


class Role(StrEnum):
    """Who speaks in a conversation."""

    SYSTEM = auto()
    USER = auto()
    ASSISTANT = auto()


class FinishReason(StrEnum):
    """Why a generation ended."""

    STOP = auto()
    LENGTH = auto()
    CANCELLED = auto()


class Rejection(StrEnum):
    """Why a generation did not begin."""

    PROMPT_TOO_LONG = auto()
    TEMPLATE_REFUSED = auto()


class Turn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """One message of a conversation."""

    role: Role
    content: str

    @override
    def __repr__(self) -> str:
        """Say who spoke, not what."""
        return f"Turn({self.role})"


class Sampling(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """How tokens are chosen; a temperature of 0 takes the likeliest."""

    temperature: Annotated[float, Meta(ge=0, le=2)]
    top_p: Annotated[float, Meta(gt=0, le=1)]
    seed: Annotated[int, Meta(ge=0, lt=1 << 32)]


class Generate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="generate"):
    """Begin a generation."""

    generation: int
    turns: tuple[Turn, ...]
    sampling: Sampling
    max_tokens: int
    stop: tuple[str, ...]

    @override
    def __repr__(self) -> str:
        """Say which generation, not what is in it."""
        return f"Generate({self.generation})"


class Cancel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="cancel"):
    """End a generation early; one that has ended already is no error."""

    generation: int


class Ready(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="ready"):
    """The model is loaded. `protections` says what the kernel granted or refused, by name."""

    context_tokens: int
    threads: int
    library: str
    protections: dict[str, str]


class Begun(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="begun"):
    """The prompt is accepted."""

    generation: int
    prompt_tokens: int


class Text(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="text"):
    """Some more of the answer."""

    generation: int
    text: str

    @override
    def __repr__(self) -> str:
        """Say which generation, not what is in it."""
        return f"Text({self.generation})"


class Finished(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="finished"):
    """The answer is complete, or was cut for this reason."""

    generation: int
    reason: FinishReason
    completion_tokens: int


class Rejected(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="rejected"):
    """The generation did not begin."""

    generation: int
    rejection: Rejection
    prompt_tokens: int


_Message = TypeVar("_Message")
Command = Generate | Cancel
Report = Ready | Begun | Text | Finished | Rejected


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
