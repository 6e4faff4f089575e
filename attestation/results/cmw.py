# SPDX-License-Identifier: Apache-2.0
"""Conceptual message wrappers (RFC 9999): evidence, reports and results together with their media type.

Records in JSON and CBOR, and collections of records. Tag and tunnel forms, numeric content formats and
nested collections are not used here, and are refused. A wrapper protects nothing.
"""

import re
from dataclasses import dataclass
from enum import IntFlag
from typing import Final

from attestation.results.values import (
    Value,
    ValueFormError,
    base64url,
    decode_base64url,
    decode_cbor,
    decode_json,
    encode_cbor,
    encode_json,
)

# No media types are registered for these yet; the names lie in the vendor tree (RFC 6838 section 3.2).
EVIDENCE_DOCUMENT: Final = "application/vnd.sottovoce.evidence+json"
SNP_REPORT: Final = "application/vnd.sottovoce.sev-snp-report"
TDX_QUOTE: Final = "application/vnd.sottovoce.tdx-quote"
EAR_JWT: Final = "application/eat+jwt"
EAR_CWT: Final = "application/eat+cwt"

CMW_JSON: Final = "application/cmw+json"
CMW_CBOR: Final = "application/cmw+cbor"

COLLECTION_TYPE: Final = "__cmwc_t"
MAX_RECORDS: Final = 32
_NAME: Final = r"[0-9A-Za-z!#$&^_.+-]{1,127}"
_MEDIA_TYPE: Final = re.compile(rf'{_NAME}/{_NAME}(; ?{_NAME}=({_NAME}|"[ !#-\[\]-~]{{0,127}}"))*')


class WrapperError(Exception):
    """Bytes or values are no wrapper of the forms described above."""


class Indicator(IntFlag):
    """Which kinds of message a record holds."""

    REFERENCE_VALUES = 1
    ENDORSEMENTS = 2
    EVIDENCE = 4
    RESULTS = 8


_EVERY: Final = 15


@dataclass(frozen=True, slots=True)
class Record:
    """A message with its media type, and what kind it is where the type leaves that open (None: not said)."""

    media_type: str
    content: bytes
    indicator: Indicator | None = None

    def __post_init__(self) -> None:
        """Refuse what is no media type. Raises WrapperError."""
        if not _MEDIA_TYPE.fullmatch(self.media_type):
            raise WrapperError(f"{self.media_type[:80]!r} is no media type")
        if self.indicator is not None and not 0 < self.indicator <= _EVERY:
            raise WrapperError(f"expected an indicator from 1 to {_EVERY}")


def evidence_document(document: bytes) -> Record:
    """A whole evidence document (docs/spec/a-ohttp-1.md 5), certificates and revocation lists included."""
    return Record(EVIDENCE_DOCUMENT, document, Indicator.EVIDENCE | Indicator.ENDORSEMENTS)


def raw_evidence(tee: str, report: bytes) -> Record:
    """A report of SEV-SNP or a quote of TDX alone. Raises WrapperError for other kinds."""
    types = {"sev-snp": SNP_REPORT, "tdx": TDX_QUOTE}
    if tee not in types:
        raise WrapperError(f"expected the tee sev-snp or tdx, found {tee!r}")
    return Record(types[tee], report, Indicator.EVIDENCE)


def encode_record_json(record: Record) -> bytes:
    """A record for transports of text."""
    return encode_json(record_to_json(record))


def encode_record_cbor(record: Record) -> bytes:
    """A record for transports of octets."""
    return encode_cbor(record_to_cbor(record))


def decode_record_json(data: bytes) -> Record:
    """Read a record. Raises WrapperError."""
    return record_from_json(_json(data))


def decode_record_cbor(data: bytes) -> Record:
    """Read a record. Raises WrapperError."""
    return record_from_cbor(_cbor(data))


def encode_collection_json(records: dict[str, Record]) -> bytes:
    """Several records by their labels. Raises WrapperError."""
    _check_labels(list(records))
    return encode_json({label: record_to_json(record) for label, record in records.items()})


def encode_collection_cbor(records: dict[str, Record]) -> bytes:
    """Several records by their labels. Raises WrapperError."""
    _check_labels(list(records))
    return encode_cbor({label: record_to_cbor(record) for label, record in records.items()})


def decode_collection_json(data: bytes) -> dict[str, Record]:
    """Read a collection of records. Raises WrapperError."""
    return {label: record_from_json(item) for label, item in _collection(_json(data)).items()}


def decode_collection_cbor(data: bytes) -> dict[str, Record]:
    """Read a collection of records. Raises WrapperError."""
    return {label: record_from_cbor(item) for label, item in _collection(_cbor(data)).items()}


def record_to_json(record: Record) -> list[Value]:
    """The record as a JSON array, for other documents to contain."""
    return [record.media_type, base64url(record.content), *_indicator(record)]


def record_to_cbor(record: Record) -> list[Value]:
    """The record as a CBOR array, for other documents to contain."""
    return [record.media_type, record.content, *_indicator(record)]


def record_from_json(value: Value) -> Record:
    """The record in a JSON array. Raises WrapperError."""
    match value:
        case [str(media_type), str(content), *rest]:
            try:
                return Record(media_type, decode_base64url(content), _read_indicator(rest))
            except ValueFormError as error:
                raise WrapperError(str(error)) from error
        case _:
            raise WrapperError("expected a media type and base64url")


def record_from_cbor(value: Value) -> Record:
    """The record in a CBOR array. Raises WrapperError."""
    match value:
        case [str(media_type), bytes(content), *rest]:
            return Record(media_type, content, _read_indicator(rest))
        case _:
            raise WrapperError("expected a media type and octets")


def _indicator(record: Record) -> list[Value]:
    return [] if record.indicator is None else [int(record.indicator)]


def _read_indicator(rest: list[Value]) -> Indicator | None:
    match rest:
        case []:
            return None
        case [int(bits)] if type(bits) is int and 0 < bits <= _EVERY:
            return Indicator(bits)
        case _:
            raise WrapperError(f"expected at most an indicator from 1 to {_EVERY} behind the content")


def _collection(value: Value) -> dict[str, Value]:
    if not isinstance(value, dict):
        raise WrapperError("expected a collection of records")
    labelled = {label: item for label, item in value.items() if isinstance(label, str)}
    if len(labelled) != len(value):
        raise WrapperError("expected text as labels")
    _check_labels(list(labelled))
    return labelled


def _check_labels(labels: list[str]) -> None:
    if not 0 < len(labels) <= MAX_RECORDS:
        raise WrapperError(f"expected 1 to {MAX_RECORDS} records, found {len(labels)}")
    if COLLECTION_TYPE in labels or not all(label and label.isprintable() for label in labels):
        raise WrapperError("expected printable labels, and no type of collection")


def _json(data: bytes) -> Value:
    try:
        return decode_json(data)
    except ValueFormError as error:
        raise WrapperError(str(error)) from error


def _cbor(data: bytes) -> Value:
    try:
        return decode_cbor(data)
    except ValueFormError as error:
        raise WrapperError(str(error)) from error
