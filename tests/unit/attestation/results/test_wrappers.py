# SPDX-License-Identifier: Apache-2.0
"""Conceptual message wrappers of RFC 9999: round trips, vectors, and refusal of everything else."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attestation.results import cmw
from attestation.results.cmw import Indicator, Record, WrapperError
from attestation.results.values import Value, encode_cbor, encode_json
from tests.unit.attestation.results.make_vectors import FOLDER, RECORDS


@pytest.mark.parametrize("name", sorted(RECORDS))
def test_every_vector_is_read_as_the_record_it_was_made_of(name: str) -> None:
    vectors: dict[str, dict[str, str]] = json.loads((FOLDER / "cmw.json").read_text(encoding="ascii"))
    vector, record = vectors[name], RECORDS[name]
    assert cmw.decode_record_json(vector["json"].encode("ascii")) == record
    assert cmw.decode_record_cbor(bytes.fromhex(vector["cbor"])) == record
    assert (vector["media_type"], vector["content"]) == (record.media_type, record.content.hex())


def test_records_begin_as_the_decapsulation_algorithm_expects() -> None:
    record = Record("application/vnd.example", b"\x23\x47\xda\x55")
    assert cmw.encode_record_json(record) == b'["application/vnd.example","I0faVQ"]'
    assert cmw.encode_record_json(record)[0] == 0x5B
    assert cmw.encode_record_cbor(record)[0] == 0x82
    assert cmw.encode_record_cbor(RECORDS["tdx-quote"])[0] == 0x83
    assert cmw.encode_collection_json({"a": record})[0] == 0x7B
    assert cmw.encode_collection_cbor({"a": record})[0] == 0xA1


def test_the_example_of_the_document_is_read() -> None:
    # "CBOR Record with explicit CM indicator" of draft-ietf-rats-msg-wrap, now RFC 9999.
    example = bytes.fromhex("83781d") + b"application/signed-corim+cbor" + bytes.fromhex("47d28443a10126a103")
    record = cmw.decode_record_cbor(example)
    assert record.indicator == Indicator.REFERENCE_VALUES | Indicator.ENDORSEMENTS
    assert record.content == bytes.fromhex("d28443a10126a1")
    assert cmw.encode_record_cbor(record) == example


@pytest.mark.parametrize(
    "value",
    [
        None,
        "application/x",
        {},
        [],
        ["application/x"],
        ["application/x", ""],
        ["application", "AA"],
        ["application/x y", "AA"],
        ["application/x\n", "AA"],
        ["#cmw-c2j-tunnel", "AA"],
        [30001, "AA"],
        ["application/x", "A"],
        ["application/x", "AA=="],
        ["application/x", "AB"],
        ["application/x", "A+"],
        ["application/x", 1],
        ["application/x", "AA", None],
        ["application/x", "AA", 0],
        ["application/x", "AA", 16],
        ["application/x", "AA", -1],
        ["application/x", "AA", True],
        ["application/x", "AA", "4"],
        ["application/x", "AA", 4, 4],
    ],
)
def test_other_json_is_refused(value: Value) -> None:
    if value == ["application/x", ""]:
        assert cmw.decode_record_json(encode_json(value)).content == b""
        return
    with pytest.raises(WrapperError):
        cmw.decode_record_json(encode_json(value))


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        {},
        [],
        [30001, b""],
        ["application/x"],
        ["application/x", "AA"],
        ["#cmw-j2c-tunnel", b"AA"],
        ["application/x", b"", 0],
        ["application/x", b"", 16],
        ["application/x", b"", True],
        ["application/x", b"", 4, 4],
    ],
)
def test_other_cbor_is_refused(value: Value) -> None:
    with pytest.raises(WrapperError):
        cmw.decode_record_cbor(encode_cbor(value))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[",
        b'["application/x","AA"] []',
        b'["application/x","AA",4.0]',
        b'["application/x","AA",NaN]',
        b'["application/x","AA",11111111111111111111]',
        b'{"a":["application/x","AA"],"a":["application/x","AA"]}',
        b"\xff",
        b"[" * 100_000,
        b" " * 300_000,
    ],
)
def test_what_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(WrapperError):
        cmw.decode_record_json(data)
    with pytest.raises(WrapperError):
        cmw.decode_collection_json(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x82",
        bytes.fromhex("826d") + b"application/x" + b"\x40\x00",  # a byte behind it
        bytes.fromhex("826d") + b"application/x" + b"\x58\x00",  # a length in a longer form
        bytes.fromhex("9f6d") + b"application/x" + b"\x40\xff",  # indefinite length
        bytes.fromhex("836d") + b"application/x" + b"\x40\xf9\x44\x00",  # 4.0
        bytes.fromhex("d9010282") + b"\x6d" + b"application/x" + b"\x40",  # a tag
        bytes.fromhex("a2616180616180"),  # a label twice
        b"\x81" * 1000,
        b"\xc1\x00",  # a date
    ],
)
def test_what_is_no_deterministic_cbor_is_refused(data: bytes) -> None:
    with pytest.raises(WrapperError):
        cmw.decode_record_cbor(data)
    with pytest.raises(WrapperError):
        cmw.decode_collection_cbor(data)


def test_collections_survive_both_forms() -> None:
    assert cmw.decode_collection_json(cmw.encode_collection_json(RECORDS)) == RECORDS
    assert cmw.decode_collection_cbor(cmw.encode_collection_cbor(RECORDS)) == RECORDS


@pytest.mark.parametrize("labels", [[], ["__cmwc_t"], [""], ["a\n"], [str(number) for number in range(33)]])
def test_collections_of_other_labels_are_refused(labels: list[str]) -> None:
    records = dict.fromkeys(labels, RECORDS["tdx-quote"])
    with pytest.raises(WrapperError):
        cmw.encode_collection_json(records)
    with pytest.raises(WrapperError):
        cmw.encode_collection_cbor(records)
    with pytest.raises(WrapperError):
        cmw.decode_collection_json(encode_json({label: ["application/x", "AA"] for label in labels}))


@pytest.mark.parametrize("value", [[], {1: ["application/x", b""]}, {"a": {"b": ["application/x", b""]}}])
def test_other_collections_are_refused(value: Value) -> None:
    with pytest.raises(WrapperError):
        cmw.decode_collection_cbor(encode_cbor(value))


def test_raw_evidence_is_named_by_its_kind() -> None:
    assert cmw.raw_evidence("sev-snp", b"r").media_type == cmw.SNP_REPORT
    assert cmw.raw_evidence("tdx", b"q").media_type == cmw.TDX_QUOTE
    with pytest.raises(WrapperError, match="tee"):
        cmw.raw_evidence("sgx", b"q")


@pytest.mark.parametrize("bits", [0, 16])
def test_a_record_cannot_be_made_with_another_indicator(bits: int) -> None:
    with pytest.raises(WrapperError):
        Record("application/x", b"", Indicator(bits))


@given(content=st.binary(max_size=200), bits=st.none() | st.integers(1, 15))
def test_records_survive_both_forms(content: bytes, bits: int | None) -> None:
    record = Record(
        'application/eat+cwt; eat_profile="tag:x"', content, None if bits is None else Indicator(bits)
    )
    assert cmw.decode_record_json(cmw.encode_record_json(record)) == record
    assert cmw.decode_record_cbor(cmw.encode_record_cbor(record)) == record
