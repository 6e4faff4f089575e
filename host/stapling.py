# SPDX-License-Identifier: Apache-2.0
"""Add what was fetched to an evidence document, so that a client needs no vendor (wire.md 6.3).

Only `chain`, `crl` and `collateral` are set. Every other member keeps its value and its place: report, keys
and claims are text here, passed on as it came. The host can spoil a document and gains nothing by it, for
what it adds is signed by vendors and what it could change is signed by the hardware.
"""

import base64
import json
from typing import Final, TypeAlias

from host.endorsements import SnpEndorsements, TdxCollateral

MAX_DOCUMENT_BYTES: Final = 64 * 1024  # attestation.md 7.5, X7: a client refuses more

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


class StapleError(Exception):
    """This is no evidence document, or it would be too large with what was fetched."""


def staple_snp(document: bytes, found: SnpEndorsements) -> bytes:
    """The document with `chain` (leaf, intermediate, root) and `crl`. Raises StapleError."""
    return _with_members(
        document,
        {"chain": [_base64(certificate) for certificate in found.chain], "crl": _base64(found.revocations)},
    )


def staple_tdx(document: bytes, found: TdxCollateral) -> bytes:
    """The document with `collateral`. Raises StapleError."""
    return _with_members(document, {"collateral": _base64(encode_collateral(found))})


def encode_collateral(found: TdxCollateral) -> bytes:
    """JSON in the names and forms that DCAP verifiers exchange: signed values as text, lists and signatures
    in hexadecimal, chains in PEM.
    """
    members = {
        "pck_crl_issuer_chain": found.pck_revocations_chain.decode("ascii"),
        "root_ca_crl": found.root_revocations.hex(),
        "pck_crl": found.pck_revocations.hex(),
        "tcb_info_issuer_chain": found.tcb_info_chain.decode("ascii"),
        "tcb_info": found.tcb_info,
        "tcb_info_signature": found.tcb_info_signature.hex(),
        "qe_identity_issuer_chain": found.qe_identity_chain.decode("ascii"),
        "qe_identity": found.qe_identity,
        "qe_identity_signature": found.qe_identity_signature.hex(),
    }
    return json.dumps(members, separators=(",", ":")).encode("ascii")


def _with_members(document: bytes, members: dict[str, Json]) -> bytes:
    if len(document) > MAX_DOCUMENT_BYTES:
        raise StapleError(f"document of {len(document)} bytes exceeds {MAX_DOCUMENT_BYTES}")
    try:
        decoded: dict[str, Json] = json.loads(document, object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as error:
        raise StapleError(f"expected a JSON object: {error}") from error
    if document.lstrip()[:1] != b"{" or "report" not in decoded:
        raise StapleError("expected a JSON object with a report")
    stapled = json.dumps(decoded | members, separators=(",", ":")).encode("ascii")
    if len(stapled) > MAX_DOCUMENT_BYTES:
        raise StapleError(f"with what was fetched the document takes {len(stapled)} bytes, which is too much")
    return stapled


def _each_once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise StapleError("a name occurs twice in an object")
    return members


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
