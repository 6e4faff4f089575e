# SPDX-License-Identifier: Apache-2.0
"""GGUF files made here: small ones, and real ones with other metadata."""

import struct
from dataclasses import dataclass, field
from pathlib import Path

from models.gguf import parse_gguf
from models.gguf_types import ValueType

ALIGNMENT = 32
TEMPLATE = "tokenizer.chat_template"


def text(content: str | bytes) -> bytes:
    """A text with its length."""
    encoded = content if isinstance(content, bytes) else content.encode()
    return struct.pack("<Q", len(encoded)) + encoded


def entry(key: str | bytes, kind: int, value: bytes) -> bytes:
    """One line of metadata."""
    return text(key) + struct.pack("<I", kind) + value


def string(key: str, value: str) -> bytes:
    """Metadata that is a text."""
    return entry(key, ValueType.STRING, text(value))


def uint32(key: str, value: int) -> bytes:
    """Metadata that is a 32-bit number."""
    return entry(key, ValueType.UINT32, struct.pack("<I", value))


def array(key: str, kind: int, count: int, content: bytes) -> bytes:
    """Metadata that is a list."""
    return entry(key, ValueType.ARRAY, struct.pack("<IQ", kind, count) + content)


def tensor(name: str | bytes, shape: tuple[int, ...], kind: int, offset: int) -> bytes:
    """One line of the tensor table."""
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


TOKENS = array("tokenizer.ggml.tokens", ValueType.STRING, 3, text("a") + text("b") + text("é"))


@dataclass
class Parts:
    """The parts of a file; each can be spoiled alone."""

    magic: bytes = b"GGUF"
    version: int = 3
    metadata: list[bytes] = field(
        default_factory=lambda: [
            string("general.architecture", "llama"),
            string("general.name", "Tiny"),
            uint32("llama.context_length", 64),
            uint32("tokenizer.ggml.eos_token_id", 2),
            TOKENS,
            array("tokenizer.ggml.scores", ValueType.FLOAT32, 3, bytes(12)),
            entry("tokenizer.ggml.add_bos_token", ValueType.BOOL, b"\1"),
            string(TEMPLATE, "{{ messages }}"),
        ]
    )
    tensors: list[bytes] = field(
        default_factory=lambda: [tensor("a.weight", (32, 2), 2, 0), tensor("b.weight", (3,), 0, 64)]
    )
    # 36 bytes of the first tensor, its padding, 12 bytes of the second.
    data: bytes = b"\1" * 36 + bytes(28) + b"\2" * 12
    tensor_count: int | None = None
    metadata_count: int | None = None

    def file(self) -> bytes:
        """All of it, with the header padded."""
        tensors = len(self.tensors) if self.tensor_count is None else self.tensor_count
        metadata = len(self.metadata) if self.metadata_count is None else self.metadata_count
        head = self.magic + struct.pack("<IQQ", self.version, tensors, metadata)
        head += b"".join(self.metadata) + b"".join(self.tensors)
        return head + bytes(-len(head) % ALIGNMENT) + self.data


def with_template(path: Path, template: str, destination: Path) -> None:
    """Copy a real file with another chat template in the place of its own."""
    content = path.read_bytes()
    start = parse_gguf(content).data_start
    old = parse_gguf(content).metadata[TEMPLATE]
    assert isinstance(old, str)
    line = string(TEMPLATE, old)
    assert content.count(line) == 1
    position = content.index(line)
    # What stands before the data is padded; its end is found by cutting zeros and is padded anew.
    head = content[:position] + string(TEMPLATE, template) + content[position + len(line) : _end(content)]
    destination.write_bytes(head + bytes(-len(head) % ALIGNMENT) + content[start:])


def _end(content: bytes) -> int:
    """Where the tensor table ends, before its padding."""
    last = parse_gguf(content).tensors[-1]
    line = struct.pack("<Q", last.offset)
    name = content.index(text(last.name))
    return content.index(line, name + 8 + len(last.name)) + len(line)
