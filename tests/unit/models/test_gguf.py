# SPDX-License-Identifier: Apache-2.0
"""The strict reader of model files: what is well formed, and each rule that can be broken."""

import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.describe import describe, differences, read_gguf
from models.fetch import weights_path
from models.gguf import Array, GgufError, parse_gguf
from models.gguf_types import TENSOR_TYPES, ValueType
from models.manifest import ToolFormat, find_manifest
from tests.fakes.gguf import TOKENS, Parts, array, entry, string, tensor, text, uint32, with_template

MODEL = "smollm2-135m-instruct"
TOOL_TEMPLATE = "{% if tools %}{{ tools }}<tool_call></tool_call>{% endif %}{{ messages }}"


def with_metadata(*more: bytes) -> Parts:
    return Parts(metadata=[*Parts().metadata, *more])


def without(key: str) -> list[bytes]:
    return [line for line in Parts().metadata if not line.startswith(text(key))]


def test_a_small_file_is_read() -> None:
    gguf = parse_gguf(Parts().file())
    assert gguf.version == 3
    assert gguf.metadata["tokenizer.ggml.tokens"] == Array(ValueType.STRING, 3)
    assert gguf.metadata["tokenizer.ggml.add_bos_token"] is True
    assert gguf.text("general.name") == "Tiny"
    assert gguf.text("llama.context_length") is None
    assert gguf.number("llama.context_length") == 64
    assert gguf.number("tokenizer.ggml.add_bos_token") is None
    assert [(line.name, line.shape, line.type) for line in gguf.tensors] == [
        ("a.weight", (32, 2), "Q4_0"),
        ("b.weight", (3,), "F32"),
    ]
    assert [(line.offset, line.size_bytes) for line in gguf.tensors] == [(0, 36), (64, 12)]


def test_the_last_tensor_may_be_padded() -> None:
    assert len(parse_gguf(Parts(data=Parts().data + bytes(20)).file()).tensors) == 2


@pytest.mark.parametrize(
    ("kind", "content", "value"),
    [
        (ValueType.UINT8, b"\xff", 255),
        (ValueType.INT8, b"\xff", -1),
        (ValueType.UINT16, b"\0\1", 256),
        (ValueType.INT64, b"\xff" * 8, -1),
        (ValueType.UINT64, b"\xff" * 8, (1 << 64) - 1),
        (ValueType.FLOAT64, struct.pack("<d", 0.5), 0.5),
        (ValueType.BOOL, b"\0", False),
    ],
)
def test_types_of_metadata(kind: ValueType, content: bytes, value: object) -> None:
    assert parse_gguf(with_metadata(entry("x.y", kind, content)).file()).metadata["x.y"] == value


@pytest.mark.parametrize("number", TENSOR_TYPES)
def test_a_tensor_of_each_type_has_the_size_of_its_blocks(number: int) -> None:
    kind = TENSOR_TYPES[number]
    parts = Parts(tensors=[tensor("a", (kind.block_elements,), number, 0)], data=b"\1" * kind.block_bytes)
    assert parse_gguf(parts.file()).tensors[0].size_bytes == kind.block_bytes


BROKEN: list[tuple[Parts, str]] = [
    (Parts(magic=b"GGML"), "does not begin with GGUF"),
    (Parts(version=1), "version 1"),
    (Parts(version=3 << 24), "version"),
    (Parts(tensors=[], data=b""), "0 tensors"),
    (Parts(tensor_count=1 << 63), "tensors, where"),
    (Parts(metadata_count=1 << 40), "metadata, where"),
    (Parts(metadata_count=0), "0 metadata"),
    (with_metadata(string("general.name", "again")), "general.name occurs twice"),
    (with_metadata(string("", "x")), "not a key"),
    (with_metadata(string("a key", "x")), "not a key"),
    (with_metadata(entry(b"\xff", ValueType.UINT8, b"\0")), "not UTF-8"),
    (with_metadata(entry("x", ValueType.STRING, text(b"\xff"))), "not UTF-8"),
    (with_metadata(entry("x", 13, b"\0")), "unknown type 13"),
    (with_metadata(entry("x", ValueType.BOOL, b"\2")), "truth value of 2"),
    (with_metadata(array("x", ValueType.BOOL, 2, b"\1\2")), "neither 0 nor 1"),
    (with_metadata(array("x", ValueType.ARRAY, 1, bytes(12))), "list of lists"),
    (with_metadata(array("x", ValueType.UINT64, 1 << 62, b"")), "elements of x"),
    (with_metadata(array("x", ValueType.UINT64, 1 << 20, b"")), "header is cut"),
    (with_metadata(array("x", ValueType.STRING, 1 << 20, b"")), "header is cut"),
    (with_metadata(entry("x", ValueType.STRING, struct.pack("<Q", (1 << 64) - 1))), "header is cut"),
    (Parts(metadata=without("general.architecture")), "general.architecture"),
    (
        Parts(metadata=[*without("general.architecture"), string("general.architecture", "../x")]),
        "general.architecture",
    ),
    (with_metadata(entry("split.count", ValueType.UINT16, b"\2\0")), "split over several files"),
    (with_metadata(string("split.count", "2")), "split over several files"),
    (with_metadata(uint32("general.alignment", 0)), "power of two"),
    (with_metadata(uint32("general.alignment", 24)), "power of two"),
    (with_metadata(uint32("general.alignment", 1 << 31)), "power of two"),
    (with_metadata(entry("general.alignment", ValueType.FLOAT32, bytes(4))), "power of two"),
    (
        with_metadata(array("tokenizer.ggml.token_type", ValueType.INT32, 2, bytes(8))),
        "as long as the 3 tokens",
    ),
    (with_metadata(uint32("tokenizer.ggml.token_type", 3)), "as long as the 3 tokens"),
    (with_metadata(uint32("tokenizer.ggml.bos_token_id", 3)), "not one of the 3 tokens"),
    (with_metadata(string("tokenizer.ggml.bos_token_id", "0")), "not one of the 3 tokens"),
    (
        Parts(
            metadata=[line for line in Parts().metadata if line != TOKENS]
            + [uint32("tokenizer.ggml.tokens", 3)]
        ),
        "must be a list of texts",
    ),
    (Parts(tensors=[tensor("", (3,), 0, 0)]), "bytes of a tensor's name"),
    (Parts(tensors=[tensor("a" * 64, (3,), 0, 0)]), "64 bytes of a tensor's name"),
    (Parts(tensors=[tensor("é", (3,), 0, 0)]), "not ASCII"),
    (Parts(tensors=[tensor("a\n", (3,), 0, 0)]), "not printable"),
    (Parts(tensors=[tensor("a", (), 0, 0)]), "0 dimensions"),
    (Parts(tensors=[tensor("a", (1, 1, 1, 1, 1), 0, 0)]), "5 dimensions"),
    (Parts(tensors=[tensor("a", (0,), 0, 0)]), "impossible shape"),
    (Parts(tensors=[tensor("a", (1 << 40, 1 << 40), 0, 0)]), "impossible shape"),
    (Parts(tensors=[tensor("a", ((1 << 64) - 1,), 0, 0)]), "impossible shape"),
    (Parts(tensors=[tensor("a", (3,), 4, 0)]), "type 4"),
    (Parts(tensors=[tensor("a", (32,), 9, 0)]), "type 9"),
    (Parts(tensors=[tensor("a", (33,), 2, 0)]), "whole blocks of 32"),
    (Parts(tensors=[tensor("a", (3,), 0, 32)]), "lies at 32, expected at 0"),
    (Parts(tensors=[tensor("a", (3,), 0, 0), tensor("a", (3,), 0, 32)]), "occurs twice"),
    (Parts(tensors=[tensor("a", (16,), 0, 0), tensor("b", (3,), 0, 32)]), "lies at 32, expected at 64"),
    (Parts(tensors=[tensor("a", (8,), 0, 0), tensor("b", (3,), 0, 64)]), "lies at 64, expected at 32"),
    (Parts(data=Parts().data[:-1]), "the file at"),
    (Parts(data=Parts().data + b"\0"), "the file at"),
    (Parts(data=Parts().data + bytes(19) + b"\1"), "padding at .* is not zero"),
    (Parts(data=b"\1" * 37 + bytes(27) + b"\2" * 12), "padding at .* is not zero"),
]


@pytest.mark.parametrize(("parts", "message"), BROKEN, ids=[message for _, message in BROKEN])
def test_what_is_refused(parts: Parts, message: str) -> None:
    with pytest.raises(GgufError, match=message):
        parse_gguf(parts.file())


def test_padding_of_the_header_must_be_zero() -> None:
    good = Parts().file()
    start = parse_gguf(good).data_start
    assert good[start - 1] == 0, "the example has padding before its data"
    with pytest.raises(GgufError, match="padding"):
        parse_gguf(good[: start - 1] + b"\1" + good[start:])


@pytest.mark.parametrize("end", range(0, len(Parts().file()), 7))
def test_a_file_that_is_cut_anywhere_is_refused(end: int) -> None:
    with pytest.raises(GgufError):
        parse_gguf(Parts().file()[:end])


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_spoiled_bytes_give_an_error_or_a_file_within_its_bounds(data: st.DataObject) -> None:
    spoiled = bytearray(Parts().file())
    for _ in range(data.draw(st.integers(1, 4))):
        spoiled[data.draw(st.integers(0, len(spoiled) - 1))] = data.draw(st.integers(0, 255))
    try:
        gguf = parse_gguf(bytes(spoiled))
    except GgufError:
        return
    last = gguf.tensors[-1]
    assert gguf.data_start + last.offset + last.size_bytes <= len(spoiled)


def test_the_default_models_file_is_what_its_manifest_says() -> None:
    manifest = find_manifest(MODEL)
    gguf = read_gguf(weights_path(manifest))
    assert differences(manifest, gguf) == []
    assert len(gguf.tensors) == 272


def test_a_manifest_is_made_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "Tiny Model (v1).gguf"
    path.write_bytes(Parts().file())
    manifest = describe(path)
    assert (manifest.name, manifest.title, manifest.licence) == ("tiny-model-v1", "Tiny", "unknown")
    assert (manifest.architecture, manifest.context_tokens, manifest.quantisation) == ("llama", 64, "Q4_0")
    assert (manifest.size_bytes, manifest.tools) == (path.stat().st_size, ToolFormat.NONE)
    assert manifest.template is not None
    assert describe(path, name="mine").name == "mine"


def test_a_file_type_that_is_stated_is_believed(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(with_metadata(uint32("general.file_type", 15)).file())
    assert describe(path).quantisation == "Q4_K_M"


def test_a_file_that_says_too_little_gives_no_manifest(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(Parts(metadata=without("llama.context_length")).file())
    with pytest.raises(GgufError, match="how long its context is"):
        describe(path)
    path.write_bytes(b"")
    with pytest.raises(GgufError, match="a file of 0 bytes"):
        describe(path)
    unnamed = tmp_path / "()"
    unnamed.write_bytes(Parts().file())
    with pytest.raises(GgufError, match="choose one with --name"):
        describe(unnamed)


def test_what_a_file_says_otherwise_than_its_manifest_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tools.gguf"
    with_template(weights_path(find_manifest(MODEL)), TOOL_TEMPLATE, path)
    found = differences(find_manifest(MODEL), read_gguf(path))
    assert [sentence.split(" is ")[0] for sentence in found] == ["chat template", "tool format"]
    assert describe(path).tools is ToolFormat.TAGGED


@pytest.mark.parametrize(
    ("written", "form"),
    [
        ('<tool_call>{"name": <function-name>}</tool_call>', ToolFormat.TAGGED),
        ("<tool_call><function=name></function></tool_call>", ToolFormat.NONE),
        ("<tool_call>name<arg_key>a</arg_key></tool_call>", ToolFormat.NONE),
        ('[TOOL_CALLS] [{"name": "f"}]', ToolFormat.MISTRAL),
        ("[TOOL_CALLS]f[ARGS]{}", ToolFormat.NONE),
        ('{{- \'{"name": function name, "parameters": dictionary of them}\' }}', ToolFormat.LLAMA3),
        ('{{- "{\\"name\\": function name, \\"parameters\\": them}" }}', ToolFormat.LLAMA3),
        ("<function_calls>", ToolFormat.NONE),
    ],
)
def test_the_template_says_how_tools_are_called(tmp_path: Path, written: str, form: ToolFormat) -> None:
    path = tmp_path / "a.gguf"

    def found(template: str) -> ToolFormat:
        lines = without("tokenizer.chat_template")
        path.write_bytes(Parts(metadata=[*lines, string("tokenizer.chat_template", template)]).file())
        return describe(path).tools

    assert found("{%- if tools is not none %}" + written + "{% endif %}") is form
    assert found(written) is ToolFormat.NONE, "a template that reads no tools has none"
