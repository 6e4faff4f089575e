# SPDX-License-Identifier: Apache-2.0
"""The public document an enclave serves, and the claims inside it (wire.md 6.3).

Anyone may read and copy it; only `verify` says whether to believe it. Key list and claims are carried as the
exact bytes that the hardware signed for, so that nobody re-serializes what a hash covers.
"""

import json
import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from wire.merkle import HASH_SIZE, MAX_PATH_LENGTH
from wire.strict_json import (
    MAX_INTEGER,
    Json,
    StrictJsonError,
    base64_octets,
    check_names,
    decode_any_object,
    decode_base64,
    decode_object,
    encode_base64,
    integer,
)

MAX_DOCUMENT_BYTES: Final = 64 * 1024  # attestation.md 7.5, X7: genuine documents take about 12 kB
MAX_CHAIN_LENGTH: Final = 5
MAX_TEXT_LENGTH: Final = 255

DOCUMENT_VERSION: Final = 1
CLAIMS_VERSION: Final = 1
SEV_SNP: Final = "sev-snp"
TDX: Final = "tdx"
TEES: Final = frozenset({SEV_SNP, TDX})
CACHED_MODE: Final = 0
FRESH_MODE: Final = 1
MODES: Final = frozenset({CACHED_MODE, FRESH_MODE})

# What comes with a report: AMD's certificates and list, or Intel's collateral. A quote brings its own chain.
_SHARED_KEYS: Final = frozenset({"v", "tee", "mode", "report", "keys", "claims"})
_DOCUMENT_KEYS: Final = MappingProxyType(
    {SEV_SNP: _SHARED_KEYS | {"chain", "crl"}, TDX: _SHARED_KEYS | {"collateral"}}
)
_PLACE_KEYS: Final = frozenset({"path", "index"})
MAX_INDEX: Final = 2**MAX_PATH_LENGTH - 1
_DIGEST: Final = re.compile("[0-9a-f]{64}")
_CLAIM_KEYS: Final = frozenset({"aud", "cfg", "ep", "exp", "iat", "mdl", "min", "rct", "rel", "sub", "v"})


class EvidenceError(Exception):
    """A document or its claims do not have the form of wire.md 6.3."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What an enclave says about itself, under the hardware's signature.

    `configuration`, `model`, `receipt_key` and `release` are SHA-256 digests; times are unix seconds.
    """

    audience: str
    configuration: bytes
    epoch: int
    expires_at: int
    issued_at: int
    model: bytes
    minimum_version: int
    receipt_key: bytes
    release: bytes
    deployment: str

    def encode(self) -> bytes:
        """The one encoding of RFC 8785: the names are in its order, and ASCII leaves no choice of escapes."""
        members = {
            "aud": self.audience,
            "cfg": self.configuration.hex(),
            "ep": self.epoch,
            "exp": self.expires_at,
            "iat": self.issued_at,
            "mdl": self.model.hex(),
            "min": self.minimum_version,
            "rct": self.receipt_key.hex(),
            "rel": self.release.hex(),
            "sub": self.deployment,
            "v": CLAIMS_VERSION,
        }
        return json.dumps(members, ensure_ascii=True, separators=(",", ":")).encode("ascii")


@dataclass(frozen=True, slots=True)
class Evidence:
    """A report with everything needed to judge it offline, and the keys and claims that it is about.

    `chain` and `crl` belong to SEV-SNP, `collateral` to TDX; the others are empty. In fresh mode `path` and
    `index` lead from the leaf of a session request to the root that the report data has.
    """

    tee: str
    mode: int
    report: bytes
    chain: tuple[bytes, ...]
    crl: bytes
    keys: bytes
    claims: bytes
    collateral: bytes = b""
    path: tuple[bytes, ...] = ()
    index: int = 0

    def encode(self) -> bytes:
        """The JSON document."""
        if self.tee == TDX:
            endorsements: Mapping[str, Json] = {"collateral": encode_base64(self.collateral)}
        else:
            endorsements = {"chain": _base64_list(self.chain), "crl": encode_base64(self.crl)}
        fresh: Mapping[str, Json] = {"path": _base64_list(self.path), "index": self.index}
        members: Mapping[str, Json] = {
            "v": DOCUMENT_VERSION,
            "tee": self.tee,
            "mode": self.mode,
            "report": encode_base64(self.report),
            **endorsements,
            "keys": encode_base64(self.keys),
            "claims": encode_base64(self.claims),
            **(fresh if self.mode == FRESH_MODE else {}),
        }
        return json.dumps(members, separators=(",", ":")).encode("ascii")


def decode_evidence(data: bytes) -> Evidence:
    """Read a document of up to 64 KiB; EvidenceError for unknown, missing, double or other forms."""
    with _refusal():
        return _evidence(_document(data))


def decode_session_evidence(data: bytes, public: Evidence) -> Evidence:
    """Read the document in a session response; EvidenceError as above.

    The enclave may not have its endorsements, because the host fetched them. Where the document has none,
    those of the public one are taken: they are signed by the vendor, and verified in either place.
    """
    with _refusal():
        document = _document(data)
        if document.get("tee") == public.tee == TDX and not document.get("collateral"):
            document["collateral"] = encode_base64(public.collateral)
        elif document.get("tee") == public.tee == SEV_SNP:
            document["chain"] = document.get("chain") or _base64_list(public.chain)
            document["crl"] = document.get("crl") or encode_base64(public.crl)
        return _evidence(document)


@contextmanager
def _refusal() -> Generator[None]:
    """What is no strict JSON is no evidence."""
    try:
        yield
    except StrictJsonError as error:
        raise EvidenceError(str(error)) from error


def _document(data: bytes) -> dict[str, Json]:
    if len(data) > MAX_DOCUMENT_BYTES:
        raise EvidenceError(f"document of {len(data)} bytes exceeds {MAX_DOCUMENT_BYTES}")
    return decode_any_object(data)


def _evidence(document: dict[str, Json]) -> Evidence:
    tee, mode = document.get("tee"), document.get("mode")
    if not isinstance(tee, str) or tee not in TEES:
        raise EvidenceError(f"expected the tee sev-snp or tdx, found {tee!r}")
    is_fresh = mode == FRESH_MODE and not isinstance(mode, bool)
    check_names(document, _DOCUMENT_KEYS[tee] | _PLACE_KEYS if is_fresh else _DOCUMENT_KEYS[tee])
    if (version := _integer(document, "v")) != DOCUMENT_VERSION:
        raise EvidenceError(f"expected a document of version {DOCUMENT_VERSION}, found {version}")
    if _integer(document, "mode") not in MODES:
        raise EvidenceError(f"expected mode 0 or 1, found {mode}")
    is_tdx = tee == TDX
    return Evidence(
        tee=tee,
        mode=_integer(document, "mode"),
        report=base64_octets(document, "report"),
        chain=() if is_tdx else _chain(document),
        crl=b"" if is_tdx else base64_octets(document, "crl"),
        keys=base64_octets(document, "keys"),
        claims=base64_octets(document, "claims"),
        collateral=base64_octets(document, "collateral") if is_tdx else b"",
        path=_path(document) if is_fresh else (),
        index=_index(document) if is_fresh else 0,
    )


def decode_claims(data: bytes) -> Claims:
    """Read claims; EvidenceError for bytes that are not exactly their RFC 8785 encoding."""
    with _refusal():
        members = decode_object(data, _CLAIM_KEYS)
        if (version := _integer(members, "v")) != CLAIMS_VERSION:
            raise EvidenceError(f"expected claims of version {CLAIMS_VERSION}, found {version}")
        claims = Claims(
            audience=_text(members, "aud"),
            configuration=_digest(members, "cfg"),
            epoch=_integer(members, "ep"),
            expires_at=_integer(members, "exp"),
            issued_at=_integer(members, "iat"),
            model=_digest(members, "mdl"),
            minimum_version=_integer(members, "min"),
            receipt_key=_digest(members, "rct"),
            release=_digest(members, "rel"),
            deployment=_text(members, "sub"),
        )
    if claims.encode() != data:
        raise EvidenceError("claims are not in the canonical form of RFC 8785")
    return claims


def _text(members: dict[str, Json], name: str) -> str:
    """Printable ASCII, so that it has one encoding and can be shown as it is."""
    value = members[name]
    if not isinstance(value, str) or not (value.isascii() and value.isprintable()):
        raise EvidenceError(f"expected printable ASCII text as {name}")
    if not 0 < len(value) <= MAX_TEXT_LENGTH:
        raise EvidenceError(f"expected 1 to {MAX_TEXT_LENGTH} characters as {name}, found {len(value)}")
    return value


def _integer(members: dict[str, Json], name: str) -> int:
    return integer(members, name, 0, MAX_INTEGER)


def _digest(members: dict[str, Json], name: str) -> bytes:
    value = members[name]
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise EvidenceError(f"expected 64 lower case hexadecimal digits as {name}")
    return bytes.fromhex(value)


def _chain(members: dict[str, Json]) -> tuple[bytes, ...]:
    value = members["chain"]
    if not isinstance(value, list):
        raise EvidenceError("expected a list as chain")
    if not 0 < len(value) <= MAX_CHAIN_LENGTH:
        raise EvidenceError(f"expected 1 to {MAX_CHAIN_LENGTH} certificates, found {len(value)}")
    return tuple(decode_base64(certificate, "chain") for certificate in value)


def _path(members: dict[str, Json]) -> tuple[bytes, ...]:
    value = members["path"]
    if not isinstance(value, list) or len(value) > MAX_PATH_LENGTH:
        raise EvidenceError(f"expected a list of up to {MAX_PATH_LENGTH} hashes as path")
    path = tuple(decode_base64(neighbour, "path") for neighbour in value)
    if any(len(neighbour) != HASH_SIZE for neighbour in path):
        raise EvidenceError(f"expected hashes of {HASH_SIZE} bytes as path")
    return path


def _index(members: dict[str, Json]) -> int:
    if (index := _integer(members, "index")) > MAX_INDEX:
        raise EvidenceError(f"expected an index up to {MAX_INDEX}, found {index}")
    return index


def _base64_list(contents: tuple[bytes, ...]) -> list[Json]:
    return [encode_base64(content) for content in contents]
