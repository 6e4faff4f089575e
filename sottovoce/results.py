# SPDX-License-Identifier: Apache-2.0
"""A verdict as a signed or unsigned result, and evidence in its wrapper, as files or on standard output."""

import sys
from enum import StrEnum
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from attestation.results.claims import encode
from attestation.results.cmw import Record, encode_record_cbor, encode_record_json
from attestation.results.cwt import encode_cwt
from attestation.results.ear import AttestationResult, ResultError
from attestation.results.jwt import encode_jwt
from attestation.results.keys import SigningKey, algorithm
from attestation.results.serialization import JSON
from attestation.results.values import encode_json
from sottovoce.files import OfflineError, UsageError, read, write


class Form(StrEnum):
    """How a result is written."""

    JSON = "json"
    JWT = "jwt"
    CWT = "cwt"


def signing_key(path: Path) -> SigningKey:
    """The key in a PEM file without a password: P-256 or Ed25519. Raises OfflineError."""
    try:
        key = load_pem_private_key(read(path), password=None)
    except TypeError:
        raise OfflineError(f"{path}: expected a key without a password") from None
    except (ValueError, UnsupportedAlgorithm):
        raise OfflineError(f"{path}: expected a private key in PEM") from None
    if not isinstance(key, (ec.EllipticCurvePrivateKey, Ed25519PrivateKey)):
        raise OfflineError(f"{path}: expected a key on P-256 or Ed25519")
    try:
        algorithm(key)
    except ResultError as error:
        raise OfflineError(f"{path}: {error}") from None
    return key


def check_options(form: Form | None, key: Path | None, out: Path | None, wrapper: Path | None) -> None:
    """Refuse a signed form without a key, a key without one, and a binary form on a terminal: UsageError."""
    signed = form in {Form.JWT, Form.CWT}
    if signed and key is None:
        raise UsageError(
            f"--ear {form} is signed, so it needs --ear-key FILE; --ear json is the form without a signature"
        )
    if key is not None and not signed:
        raise UsageError("--ear-key signs, so it needs --ear jwt or --ear cwt")
    if out is not None and form is None:
        raise UsageError("--out is where a result is written, so it needs --ear")
    if form is Form.CWT and out is None and sys.stdout.isatty():
        raise UsageError("--ear cwt is binary; add --out FILE, or pipe it on")
    if wrapper is not None and wrapper.suffix not in {".json", ".cbor"}:
        raise UsageError(f"--cmw needs a file that ends in .json or .cbor, found {wrapper}")


def encode_result(result: AttestationResult, form: Form, key: SigningKey | None) -> bytes:
    """The result in its form; text ends with its line."""
    match form, key:
        case Form.JSON, _:
            return encode_json(encode(result, JSON)) + b"\n"
        case _, None:
            raise RuntimeError("a signed form without a key")
        case Form.JWT, _:
            return encode_jwt(result, key).encode("ascii") + b"\n"
        case _:
            return encode_cwt(result, key)


def write_record(record: Record, path: Path) -> None:
    """Evidence in its wrapper (RFC 9999), in JSON or CBOR by the ending of the file's name."""
    encoded = encode_record_json(record) if path.suffix == ".json" else encode_record_cbor(record)
    write(path, encoded)


def put(content: bytes, out: Path | None) -> None:
    """Write to a file, or to standard output as it is."""
    if out is None:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    else:
        write(out, content)
