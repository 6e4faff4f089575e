# SPDX-License-Identifier: Apache-2.0
"""Make the vectors of attestation results: `python -P -m tests.unit.attestation.results.make_vectors`.

P-256 signs after RFC 6979 and Ed25519 always the same, so the vectors are the same each time.
"""

import json
from pathlib import Path
from typing import Final

from attestation.results import claims, cmw, cwt, jwt
from attestation.results.ear import AttestationResult
from attestation.results.serialization import JSON
from attestation.results.values import encode_json
from attestation.verdict import VendorRoot
from tests.unit.attestation.results.support import ED25519, P256, result, verdict

FOLDER: Final = Path(__file__).parents[3] / "vectors" / "results"
RECORDS: Final = {
    "evidence-document": cmw.evidence_document(b'{"v":1}'),
    "sev-snp-report": cmw.raw_evidence("sev-snp", bytes(range(16))),
    "tdx-quote": cmw.raw_evidence("tdx", bytes(range(16, 32))),
    "without-indicator": cmw.Record(cmw.EAR_JWT, b"a.b.c"),
}


def results() -> dict[str, AttestationResult]:
    """A result of each kind, by name."""
    nonce = bytes(range(32))
    return {
        "verified": result(),
        "verified-with-nonce-and-evidence": result(nonce=nonce, raw_evidence=RECORDS["sev-snp-report"]),
        "simulated": result(verdict(VendorRoot.SIMULATED)),
        "debug": result(verdict(failed=("debug",))),
        "wrong-measurement": result(verdict(failed=("measurement",))),
        "forged": result(verdict(VendorRoot.UNKNOWN, failed=("report signature",))),
        "not-evaluated": result(verdict(skipped=("revocation",))),
    }


def ear_vector(each: AttestationResult) -> dict[str, object]:
    """A result in every form."""
    return {
        "claims": json.loads(encode_json(claims.encode(each, JSON))),
        "jwt_es256": jwt.encode_jwt(each, P256),
        "jwt_eddsa": jwt.encode_jwt(each, ED25519),
        "jwt_unsecured": jwt.encode_unsecured_jwt(each),
        "claims_cbor": cwt.encode_claims(each).hex(),
        "cwt_es256": cwt.encode_cwt(each, P256).hex(),
        "cwt_eddsa": cwt.encode_cwt(each, ED25519).hex(),
    }


def cmw_vector(each: cmw.Record) -> dict[str, object]:
    """A record in both forms."""
    return {
        "media_type": each.media_type,
        "content": each.content.hex(),
        "indicator": None if each.indicator is None else int(each.indicator),
        "json": cmw.encode_record_json(each).decode("ascii"),
        "cbor": cmw.encode_record_cbor(each).hex(),
    }


def files() -> dict[str, str]:
    """Each file's name and text."""
    contents = {
        "ear.json": {name: ear_vector(each) for name, each in results().items()},
        "cmw.json": {name: cmw_vector(each) for name, each in RECORDS.items()},
    }
    return {name: json.dumps(content, indent=1) + "\n" for name, content in contents.items()}


def main() -> None:
    """Write the files."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (FOLDER / name).write_text(text, encoding="ascii")


if __name__ == "__main__":
    main()
