# SPDX-License-Identifier: Apache-2.0
"""A strict reader of GGUF headers: what it refuses, llama.cpp never sees.

    magic, version, counts | metadata | tensor table | padding | tensors, each padded to the alignment

llama.cpp's own reader has trusted more than it should: lengths that wrap, vocabularies of unequal lengths,
names of further files. Weights here are chosen by digest, so this is the second lock; it is the first for
whoever makes a manifest of a file that nobody vouched for.

1. Magic and version; counts within limits.
2. Metadata: every key well formed and there once, every type known, every length within the file.
3. What llama.cpp acts on: alignment, no split files, vocabulary lists of one length, special tokens inside.
4. Tensor table: names, shapes, types; offsets that follow one another without gap or overlap.
5. The data section ends where the file ends, and padding is zero.
"""

import re
import struct
from dataclasses import dataclass
from mmap import mmap

from models.gguf_types import (
    ALIGNMENT_KEY,
    DEFAULT_ALIGNMENT,
    MAX_ALIGNMENT,
    SCALARS,
    TENSOR_TYPES,
    ValueType,
)

MAGIC = b"GGUF"
VERSIONS = (2, 3)
# The largest vocabularies have 262,144 tokens and half a million merges, and take 20 MB.
MAX_METADATA_BYTES = 1 << 28
MAX_METADATA, MAX_TENSORS, MAX_ELEMENTS = 1 << 12, 1 << 16, 1 << 23
MAX_NAME_BYTES = 63  # llama.cpp copies names into 64 bytes
MAX_DIMENSIONS = 4
MAX_TENSOR_ELEMENTS = 1 << 48
KEY = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
SHOWN_KEY = 80
VOCABULARY_LISTS = ("tokenizer.ggml.scores", "tokenizer.ggml.token_type")
SPECIAL_TOKEN = re.compile(r"tokenizer\.ggml\.[a-z_]+_token_id")

Buffer = bytes | mmap


class GgufError(Exception):
    """The file is not a GGUF file that may be loaded; the message says which rule it breaks."""


@dataclass(frozen=True, slots=True)
class Array:
    """A list in the metadata; its elements were checked and are not kept."""

    element: ValueType
    count: int


Value = int | float | bool | str | Array


@dataclass(frozen=True, slots=True)
class Tensor:
    """One line of the tensor table; `offset` counts from the start of the data section."""

    name: str
    shape: tuple[int, ...]
    type: str
    offset: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Gguf:
    """What stands before the tensors."""

    version: int
    metadata: dict[str, Value]
    tensors: tuple[Tensor, ...]
    data_start: int

    def text(self, key: str) -> str | None:
        """A text of the metadata; None where it is missing or something else."""
        value = self.metadata.get(key)
        return value if isinstance(value, str) else None

    def number(self, key: str) -> int | None:
        """A whole number of the metadata; None where it is missing or something else."""
        value = self.metadata.get(key)
        return value if type(value) is int else None


def parse_gguf(data: Buffer) -> Gguf:
    """Read a whole file, in the order of the module's docstring.

    Raises GgufError.
    """
    cursor = _Cursor(data)
    if cursor.take(4) != MAGIC:  # 1
        raise GgufError("the file does not begin with GGUF")
    version = cursor.integer("<I")
    if version not in VERSIONS:
        raise GgufError(f"GGUF version {version} is not one of {VERSIONS}")
    tensor_count = cursor.count("tensors", MAX_TENSORS, least=1)
    metadata_count = cursor.count("metadata", MAX_METADATA, least=1)
    metadata = _metadata(cursor, metadata_count)  # 2
    alignment = _check_metadata(metadata)  # 3
    tensors = _tensor_table(cursor, tensor_count, alignment)  # 4
    data_start = _padded(cursor.position, alignment)
    _check_data(data, cursor.position, data_start, tensors, alignment)  # 5
    return Gguf(version, metadata, tensors, data_start)


class _Cursor:
    """Reads little-endian values from the start of a buffer, never past its end or past the limit."""

    def __init__(self, data: Buffer) -> None:
        self._data, self._end = data, min(len(data), MAX_METADATA_BYTES)
        self.position = 0

    def take(self, size: int) -> bytes:
        start, end = self.position, self.position + size
        if end > self._end:
            raise GgufError(f"the header is cut, or longer than {MAX_METADATA_BYTES} bytes")
        self.position = end
        return self._data[start:end]

    def integer(self, form: str) -> int:
        value: int = struct.unpack(form, self.take(struct.calcsize(form)))[0]
        return value

    def count(self, what: str, most: int, *, least: int = 0) -> int:
        count = self.integer("<Q")
        if not least <= count <= most:
            raise GgufError(f"{count} {what}, where {least} to {most} are allowed")
        return count

    def text(self) -> str:
        try:
            return self.take(self.integer("<Q")).decode()
        except UnicodeDecodeError:
            raise GgufError("a text is not UTF-8") from None

    def value_type(self, key: str) -> ValueType:
        number = self.integer("<I")
        try:
            return ValueType(number)
        except ValueError:
            raise GgufError(f"{key} has the unknown type {number}") from None


def _metadata(cursor: _Cursor, count: int) -> dict[str, Value]:
    metadata: dict[str, Value] = {}
    for _ in range(count):
        key = cursor.text()
        if not KEY.fullmatch(key):
            raise GgufError(f"{key[:SHOWN_KEY]!r} is not a key of metadata")
        if key in metadata:
            raise GgufError(f"{key[:SHOWN_KEY]} occurs twice")
        metadata[key] = _value(cursor, key[:SHOWN_KEY])
    return metadata


def _value(cursor: _Cursor, key: str) -> Value:
    kind = cursor.value_type(key)
    if kind is ValueType.STRING:
        return cursor.text()
    if kind is not ValueType.ARRAY:
        return _scalar(cursor, kind, key)
    element = cursor.value_type(key)
    count = cursor.count(f"elements of {key}", MAX_ELEMENTS)
    if element is ValueType.ARRAY:
        raise GgufError(f"{key} is a list of lists")
    if element is ValueType.STRING:
        for _ in range(count):
            cursor.text()
    else:
        content = cursor.take(count * struct.calcsize(SCALARS[element]))
        if element is ValueType.BOOL and content.strip(b"\0\1"):
            raise GgufError(f"{key} holds a truth value that is neither 0 nor 1")
    return Array(element, count)


def _scalar(cursor: _Cursor, kind: ValueType, key: str) -> int | float | bool:
    form = SCALARS[kind]
    value: int | float = struct.unpack(form, cursor.take(struct.calcsize(form)))[0]
    if kind is not ValueType.BOOL:
        return value
    if value not in (0, 1):
        raise GgufError(f"{key} is a truth value of {value}")
    return bool(value)


def _check_metadata(metadata: dict[str, Value]) -> int:
    """What llama.cpp acts upon before it has looked at anything else; the alignment."""
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str) or not re.fullmatch(r"[a-z0-9_-]{1,63}", architecture):
        raise GgufError("general.architecture must be a short text")
    splits = metadata.get("split.count", 1)
    if type(splits) is not int or splits > 1:
        raise GgufError("the model is split over several files")  # llama.cpp would open them by name
    _check_vocabulary(metadata)
    alignment = metadata.get(ALIGNMENT_KEY, DEFAULT_ALIGNMENT)
    if type(alignment) is not int or not 8 <= alignment <= MAX_ALIGNMENT or alignment & (alignment - 1):
        raise GgufError(f"{ALIGNMENT_KEY} must be a power of two from 8 to {MAX_ALIGNMENT}")
    return alignment


def _check_vocabulary(metadata: dict[str, Value]) -> None:
    """Lists beside the tokens have their length, and special tokens are in the list."""
    tokens = metadata.get("tokenizer.ggml.tokens")
    if tokens is None:
        return
    if not isinstance(tokens, Array) or tokens.element is not ValueType.STRING:
        raise GgufError("tokenizer.ggml.tokens must be a list of texts")
    for key in VOCABULARY_LISTS:
        beside = metadata.get(key)
        if beside is not None and (not isinstance(beside, Array) or beside.count != tokens.count):
            raise GgufError(f"{key} must be a list as long as the {tokens.count} tokens")
    for key, value in metadata.items():
        if not SPECIAL_TOKEN.fullmatch(key):
            continue
        # All bits set is how writers say that there is none.
        if type(value) is not int or not (0 <= value < tokens.count or value in (-1, (1 << 32) - 1)):
            raise GgufError(f"{key} is not one of the {tokens.count} tokens")


def _tensor_table(cursor: _Cursor, count: int, alignment: int) -> tuple[Tensor, ...]:
    tensors: dict[str, Tensor] = {}
    expected = 0
    for _ in range(count):
        tensor = _tensor(cursor)
        if tensor.name in tensors:
            raise GgufError(f"tensor {tensor.name} occurs twice")
        if tensor.offset != expected:
            raise GgufError(f"tensor {tensor.name} lies at {tensor.offset}, expected at {expected}")
        expected = _padded(tensor.offset + tensor.size_bytes, alignment)
        tensors[tensor.name] = tensor
    return tuple(tensors.values())


def _tensor(cursor: _Cursor) -> Tensor:
    size = cursor.count("bytes of a tensor's name", MAX_NAME_BYTES, least=1)
    try:
        name = cursor.take(size).decode("ascii")
    except UnicodeDecodeError:
        raise GgufError("the name of a tensor is not ASCII") from None
    if not name.isprintable():
        raise GgufError("the name of a tensor is not printable")
    dimensions = cursor.integer("<I")
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        raise GgufError(f"tensor {name} has {dimensions} dimensions")
    shape = tuple(cursor.integer("<Q") for _ in range(dimensions))
    elements = 1
    for length in shape:
        elements *= length
        if not 1 <= elements <= MAX_TENSOR_ELEMENTS:
            raise GgufError(f"tensor {name} has an impossible shape")
    number = cursor.integer("<I")
    if number not in TENSOR_TYPES:
        raise GgufError(f"tensor {name} has the type {number}, which is not one of weights")
    kind = TENSOR_TYPES[number]
    if shape[0] % kind.block_elements:
        raise GgufError(f"a row of tensor {name} is not made of whole blocks of {kind.block_elements}")
    size_bytes = elements // kind.block_elements * kind.block_bytes
    return Tensor(name, shape, kind.name, cursor.integer("<Q"), size_bytes)


def _check_data(
    data: Buffer, header_end: int, data_start: int, tensors: tuple[Tensor, ...], alignment: int
) -> None:
    """The tensors fill the rest of the file, and what lies between is zero."""
    _check_zero(data, header_end, data_start)
    for tensor in tensors[:-1]:
        end = data_start + tensor.offset + tensor.size_bytes
        _check_zero(data, end, _padded(end, alignment))
    end = data_start + tensors[-1].offset + tensors[-1].size_bytes
    # Some writers do not pad the last tensor.
    if len(data) not in (end, _padded(end, alignment)):
        raise GgufError(f"the tensors end at {end}, the file at {len(data)}")
    _check_zero(data, end, len(data))


def _check_zero(data: Buffer, start: int, end: int) -> None:
    if any(data[start:end]):
        raise GgufError(f"the padding at {start} is not zero")


def _padded(size: int, alignment: int) -> int:
    return (size + alignment - 1) // alignment * alignment
