# SPDX-License-Identifier: Apache-2.0
"""What the host adds makes a document complete: the verifier then needs no vendor and no network."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import dcap_qvl
import pytest

from attestation.evidence import decode_evidence
from attestation.tdx.collateral import decode_collateral
from attestation.verify import verify
from host.endorsement_requests import CertificateAuthority, PatchLevels, Product
from host.endorsement_settings import Settings
from host.endorsements import Endorsements, SnpEndorsements, open_endorsements
from host.stapling import MAX_DOCUMENT_BYTES, Json, StapleError, encode_collateral, staple_snp, staple_tdx
from tests.fakes import hardware
from tests.fakes.vendors import DER_TYPE, VECTORS, Page, Vendors, World, made_up_collateral, running_vendors

LEVELS = PatchLevels(bootloader=9, tee=0, snp=23, microcode=72)
CHIP = bytes([5]) * 64
TARGET = f"/vcek/v1/Genoa/{CHIP.hex()}?blSPL=9&teeSPL=0&snpSPL=23&ucodeSPL=72"
FMSPC = bytes.fromhex("90C06F000000")
COLLATERAL = VECTORS / "tdx" / "collateral" / "90c06f000000-tdx-2026-01-12-edn18-a4f49ca3.json"
QUOTE = VECTORS / "tdx" / "quotes" / "tdx-v4-dstack-quote-report.bin"

Result = TypeVar("Result")


def fetch(vendors: Vendors, question: Callable[[Endorsements], Awaitable[Result]]) -> Result:
    async def run() -> Result:
        settings = Settings(kds_url=vendors.url, pcs_url=vendors.url, intel_certificates_url=vendors.url)
        world = World(0.0)
        async with open_endorsements(settings, world) as host:
            return await question(host)

    return asyncio.run(run())


def members(document: bytes) -> dict[str, Json]:
    decoded: dict[str, Json] = json.loads(document)
    return decoded


def test_a_verifier_needs_only_the_stapled_document() -> None:
    guest = hardware.guest()
    bare = members(hardware.evidence().encode()) | {"chain": [], "crl": ""}
    with running_vendors(lambda: 0.0) as vendors:
        vendors.serve_amd("Genoa", "vcek", guest.chain[1:], guest.crl)
        vendors.pages[TARGET] = Page(guest.chain[0], DER_TYPE)
        found = fetch(vendors, lambda host: host.snp(Product.GENOA, CHIP, LEVELS))
    # The vendor is gone; what follows has the document and nothing else.
    stapled = staple_snp(json.dumps(bare).encode(), found)
    assert verify(decode_evidence(stapled), hardware.policy(), hardware.NOW).claims == hardware.CLAIMS


@pytest.mark.skipif(not VECTORS.is_dir(), reason="no genuine evidence in ../shared/vectors")
def test_genuine_collateral_survives_the_way_and_verifies() -> None:
    collateral: dict[str, str] = json.loads(COLLATERAL.read_text(encoding="ascii"))
    with running_vendors(lambda: 0.0) as vendors:
        vendors.serve_intel(collateral, "90C06F000000")
        found = fetch(vendors, lambda host: host.tdx(FMSPC, CertificateAuthority.PLATFORM))
    # The vendor is gone; what follows has the document and nothing else.
    bare = {"v": 1, "tee": "tdx", "mode": 0, "report": base64.b64encode(QUOTE.read_bytes()).decode("ascii")}
    document = json.dumps(bare | {"keys": "", "claims": "", "collateral": ""}).encode("ascii")
    evidence = decode_evidence(staple_tdx(document, found))
    assert json.loads(evidence.collateral) == collateral
    assert collateral["tcb_info"].encode("utf-8") in decode_collateral(evidence.collateral).tcb_info
    read = dcap_qvl.QuoteCollateralV3.from_json(evidence.collateral.decode("ascii"))
    at = int(datetime(2026, 1, 20, tzinfo=UTC).timestamp())
    root = (VECTORS / "tdx" / "roots" / "intel-sgx-root-ca.der").read_bytes()
    assert dcap_qvl.verify_with_root_ca(evidence.report, read, root, at).status == "UpToDate"


@pytest.mark.skipif(not VECTORS.is_dir(), reason="no genuine evidence in ../shared/vectors")
def test_genuine_certificates_of_amd_survive_the_way() -> None:
    names = ("certs/v3-genoa-vcek-msft.vcek.der", "roots/ask-genoa.der", "roots/ark-genoa.der")
    chain = tuple((VECTORS / "snp" / name).read_bytes() for name in names)
    revocations = (VECTORS / "snp" / "crl" / "crl-genoa-2024-10-23.der").read_bytes()
    with running_vendors(lambda: 0.0) as vendors:
        vendors.serve_amd("Genoa", "vcek", chain[1:], revocations)
        vendors.pages[TARGET] = Page(chain[0], DER_TYPE)
        found = fetch(vendors, lambda host: host.snp(Product.GENOA, CHIP, LEVELS))
    assert found == SnpEndorsements(chain, revocations, stale=False)


def test_nothing_that_is_signed_is_touched() -> None:
    document = hardware.evidence().encode()
    found = SnpEndorsements((b"a", b"b"), b"c", stale=False)
    before, after = members(document), members(staple_snp(document, found))
    assert {name for name in before if before[name] != after[name]} == {"chain", "crl"}
    assert list(before) == list(after)


def test_a_member_that_is_not_known_here_is_kept() -> None:
    found = SnpEndorsements((b"a",), b"c", stale=False)
    after = members(staple_snp(b'{"report":"AA==","later":{"x":[1,null,true,"\\u00e9"]}}', found))
    assert after["later"] == {"x": [1, None, True, "é"]}


def test_collateral_has_the_names_of_dcap_verifiers() -> None:
    with running_vendors(lambda: 0.0) as vendors:
        vendors.serve_intel(made_up_collateral(), "90C06F000000")
        found = fetch(vendors, lambda host: host.tdx(FMSPC, CertificateAuthority.PLATFORM))
    assert json.loads(encode_collateral(found)) == made_up_collateral()


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b'["report"]',
        b'"report"',
        b"null",
        b"{}",
        b'{"keys":""}',
        b'{"report":"","report":""}',
        b"{" * 60_000,
        b'{"report":"' + b"A" * MAX_DOCUMENT_BYTES + b'"}',
        b'{"report":"' + b"A" * (MAX_DOCUMENT_BYTES - 20) + b'"}',
        b"\xff",
    ],
    ids=range(12),
)
def test_what_is_no_evidence_document_is_refused(document: bytes) -> None:
    with pytest.raises(StapleError):
        staple_snp(document, SnpEndorsements((b"a",), b"c", stale=False))


def test_the_host_reads_no_certificate() -> None:
    """A spoiled list is passed on all the same: judging it is the client's work, and it refuses it."""
    guest = hardware.guest()
    found = SnpEndorsements(guest.chain, guest.crl[:-1] + bytes([guest.crl[-1] ^ 1]), stale=False)
    stapled = decode_evidence(staple_snp(hardware.evidence().encode(), found))
    assert stapled == replace(hardware.evidence(), crl=found.revocations)
    assert "revocation" in hardware.judge(stapled)


def test_the_vectors_are_looked_for_beside_the_repository() -> None:
    assert Path(__file__).parents[4] / "shared" / "vectors" == VECTORS
