# SPDX-License-Identifier: Apache-2.0
"""Genuine AMD evidence takes the same path as simulated evidence, with AMD's own roots.

The vectors are not part of the project: without the folder `../shared/vectors`, these tests are skipped.
"""

import json
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import pytest

from attestation.evidence import Evidence
from attestation.policy import AnyMachine, Policy, Product, SimulatedRoots, default_policy
from attestation.verdict import VendorRoot, Verdict
from attestation.verify import appraise
from attestation.x509 import parse_certificate

VECTORS = Path(__file__).parents[4] / "shared" / "vectors"

pytestmark = pytest.mark.skipif(not VECTORS.is_dir(), reason="no genuine evidence in ../shared/vectors")

CRLS = {"Milan": "snp/crl/crl-milan-2025-05-06.der", "Genoa": "snp/crl/crl-genoa-2024-10-23.der"}
WHILE_BOTH_LISTS_ARE_CURRENT = 1_757_000_000  # 2025-09-04

STRUCTURE = (
    "report structure",
    "report signature",
    "signing key",
    "certificate chain",
    "trust anchor",
    "certificate validity",
    "certificate TCB",
    "chip identity",
    "product agreement",
)
OLD_FIRMWARE = frozenset(f"tcb floor ({name})" for name in ("reported", "committed", "launch", "current"))
# Why a genuine report is refused by the default appraisal, apart from what it was not made for.
APPRAISAL = {
    "v2-milan-vcek-azure-coco-hcl-v0": OLD_FIRMWARE | {"alias check"},
    "v2-milan-vcek-coco": OLD_FIRMWARE | {"alias check"},
    "v2-milan-vcek-gosevguest-debug": OLD_FIRMWARE | {"alias check", "debug"},
    "v3-milan-vcek-dstack-live": {"tcb floor (reported)"},
}
# Keys, claims and measurement of these reports are other people's.
FOREIGN = {"report data binding", "measurement", "key list", "claims", "revocation", "revocation list age"}

FORGED = {
    "good": set[str](),
    "forged-measurement": set[str](),
    "debug-policy": {"debug"},
    "migrate-ma": {"migration agent"},
    "vmpl3": {"vmpl"},
    "masked-chip-id": {"chip identity"},
    "tcb-lower-than-cert": {"certificate TCB"},
    "mask-chip-key": {"chip key mask"},
    "reserved-mbz": {"report structure"},
    "version-6": {"report structure"},
    "signing-key-vlek-claimed": {"signing key"},
}


@dataclass(frozen=True)
class Vector:
    name: str
    product: str
    file: str
    chain: tuple[str, ...]
    as_of: int
    signing_key: str

    def evidence(self) -> Evidence:
        crl = read(CRLS[self.product]) if self.product in CRLS else b""
        return Evidence("sev-snp", 0, read(self.file), tuple(map(read, self.chain)), crl, b"", b"")


def read(file: str) -> bytes:
    return (VECTORS / file).read_bytes()


def vectors() -> list[Vector]:
    """The genuine reports whose whole chain is among the vectors."""
    if not VECTORS.is_dir():
        return []
    index = json.loads(read("INDEX.json"))
    return [
        Vector(
            name=Path(row["file"]).stem,
            product=row["product"],
            file=row["file"],
            chain=tuple(row["expect"]["chain"]),
            as_of=int(datetime.fromisoformat(row["expect"]["as_of"]).timestamp()),
            signing_key=row["expect"]["signing_key"],
        )
        for row in index["files"]
        if row["kind"] == "snp-report" and "chain" in row["expect"]
    ]


def by_chip() -> list[Vector]:
    return [vector for vector in vectors() if vector.signing_key == "VCEK"]


def any_product() -> Policy:
    return replace(default_policy(), machines=AnyMachine.ANY_MACHINE, products=frozenset(Product))


def failures(verdict: Verdict) -> set[str]:
    return {check.name for check in verdict.checks if not check.ok}


@pytest.mark.parametrize("vector", by_chip(), ids=lambda vector: vector.name)
def test_genuine_report_is_genuine(vector: Vector) -> None:
    verdict = appraise(vector.evidence(), any_product(), vector.as_of)
    assert (
        dict.fromkeys(STRUCTURE, True).items() <= {check.name: check.ok for check in verdict.checks}.items()
    )
    assert verdict.vendor_root is VendorRoot.AMD
    made = {check.name for check in verdict.failures if check.evaluated}
    assert made - FOREIGN == APPRAISAL.get(vector.name, frozenset())


@pytest.mark.parametrize("vector", by_chip(), ids=lambda vector: vector.name)
def test_genuine_revocation_list_clears_genuine_chains(vector: Vector) -> None:
    verdict = appraise(vector.evidence(), any_product(), WHILE_BOTH_LISTS_ARE_CURRENT)
    assert ({"revocation", "revocation list age"} <= failures(verdict)) == (vector.product not in CRLS)


def test_all_versions_and_products_are_covered() -> None:
    assert len(by_chip()) == 19
    assert {vector.name[:2] for vector in by_chip()} == {"v2", "v3", "v5"}
    assert {vector.product for vector in by_chip()} == {"Milan", "Genoa", "Turin"}


def test_milan_is_refused_unless_named() -> None:
    policy = replace(any_product(), products=default_policy().products)
    for vector in by_chip():
        verdict = appraise(vector.evidence(), policy, vector.as_of)
        assert ("product" in failures(verdict)) == (vector.product == "Milan")


def test_report_signed_by_a_cloud_provider_is_refused_for_now() -> None:
    (vector,) = (vector for vector in vectors() if vector.signing_key == "VLEK")
    verdict = appraise(vector.evidence(), any_product(), vector.as_of)
    assert {"signing key", "certificate chain"} <= failures(verdict)


@pytest.mark.parametrize("file", ["neg-test-vcek-invalid-legacy.der", "neg-test-vcek-invalid-new.der"])
def test_certificate_of_another_chip_is_refused(file: str) -> None:
    (vector,) = (vector for vector in vectors() if vector.name == "v2-milan-vcek-coco")
    evidence = vector.evidence()
    swapped = replace(evidence, chain=(read(f"snp/certs/{file}"), *evidence.chain[1:]))
    verdict = appraise(swapped, any_product(), vector.as_of)
    assert {"report signature", "certificate chain", "chip identity"} <= failures(verdict)


def forged(product: str, case: str) -> Evidence:
    chain = tuple(read(f"snp/forged/{product}-sim-{name}.der") for name in ("vcek", "ask", "ark"))
    return Evidence("sev-snp", 0, read(f"snp/forged/{product}-{case}.bin"), chain, b"", b"", b"")


@pytest.mark.parametrize("product", ["genoa", "turin"])
@pytest.mark.parametrize("case", FORGED)
def test_forged_report_fails_the_check_that_is_about_it(product: str, case: str) -> None:
    evidence = forged(product, case)
    root = parse_certificate(evidence.chain[2]).fingerprint
    policy = replace(any_product(), simulated_roots=SimulatedRoots(frozenset({root})))
    now = parse_certificate(evidence.chain[0]).not_before
    verdict = appraise(evidence, policy, now)
    assert verdict.simulated
    unbound = {check.name for check in verdict.failures if "the report cannot be read" not in check.found}
    floors = OLD_FIRMWARE if (product, case) == ("turin", "tcb-lower-than-cert") else frozenset[str]()
    assert unbound - FOREIGN - floors - SESSION == FORGED[case]
    assert "trust anchor" in failures(appraise(evidence, any_product(), now))


SESSION = {"protocol version", "evidence age", "audience", "model"}
