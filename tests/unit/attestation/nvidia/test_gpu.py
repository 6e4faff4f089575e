# SPDX-License-Identifier: Apache-2.0
"""A GPU's report is judged by chain, signature, firmware and nonce, and each defect fails its own check."""

import base64
import json
import struct
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attestation import binding
from attestation.nvidia.certificates import check_issued, parse_chain
from attestation.nvidia.checks import RULES, verify_gpu_report
from attestation.nvidia.measurements import GpuReportError, parse_report
from attestation.nvidia.p384 import parse_certificate
from attestation.nvidia.payload import PayloadError, decode_payload
from attestation.snp.case import NotCompared
from attestation.verdict import Outcome, VendorRoot, Verdict
from attestation.x509 import CertificateError
from tests.fakes.gpu import (
    AUTHORITY,
    FIRMWARE,
    NAMES,
    NONCE,
    ChainFields,
    ReportFields,
    chain,
    identity,
    opaque,
    spki,
)
from tests.fakes.hardware import NOW

ROOTS = frozenset({sha256(spki(NAMES[0])).digest()})
GOOD = ReportFields().encode()
WAIVED = {"revocation", "gpu measurements"}


def judge(
    report: bytes = GOOD,
    certificates: tuple[bytes, ...] | None = None,
    roots: frozenset[bytes] = ROOTS,
    now: int = NOW,
    nonce: bytes | NotCompared = NONCE,
) -> Verdict:
    return verify_gpu_report(report, chain() if certificates is None else certificates, roots, now, nonce)


def failed(verdict: Verdict) -> set[str]:
    return {check.name for check in verdict.checks if check.outcome is Outcome.FAILED}


def waived(verdict: Verdict) -> set[str]:
    return {check.name for check in verdict.checks if check.waived}


def test_good_report_is_not_refused_and_never_verified() -> None:
    verdict = judge()
    assert failed(verdict) == set()
    assert waived(verdict) == WAIVED
    assert not verdict.refused
    assert not verdict.verified
    assert verdict.vendor_root is VendorRoot.SIMULATED
    assert verdict.simulated
    assert [check.name for check in verdict.checks] == [rule.name for rule in RULES]


def test_nonce_that_nobody_compares_is_waived() -> None:
    assert waived(judge(nonce=NotCompared.NOT_COMPARED)) == WAIVED | {"gpu nonce"}


@pytest.mark.parametrize(
    ("judged", "names"),
    [
        (lambda: judge(roots=frozenset()), {"trust anchor"}),
        (lambda: judge(nonce=bytes(32)), {"gpu nonce"}),
        (lambda: judge(now=NOW + 10_000), {"certificate validity"}),
        (lambda: judge(now=NOW - 10_000), {"certificate validity"}),
        (lambda: judge(replace(ReportFields(), signer=NAMES[2]).encode()), {"gpu report signature"}),
        (lambda: judge(replace(ReportFields(), opaque=opaque(bytes(48))).encode()), {"gpu firmware"}),
        (lambda: judge(certificates=chain()[:1] + chain()[2:]), {"certificate chain"}),
        (lambda: judge(certificates=chain(ChainFields(signer=NAMES[1]))), {"certificate chain"}),
        (lambda: judge(certificates=chain(ChainFields(authority=False))), {"certificate chain"}),
        (lambda: judge(certificates=chain()[:2]), {"certificate chain", "trust anchor"}),
        (lambda: judge(certificates=chain(ChainFields(extension=b""))), {"certificate chain"}),
        (lambda: judge(certificates=chain(ChainFields(leaf_is_authority=True))), {"certificate chain"}),
        (lambda: judge(certificates=chain(ChainFields(leaf_uses=AUTHORITY))), {"certificate chain"}),
        (
            lambda: judge(certificates=chain(ChainFields(extension=identity(version=2)))),
            {"certificate chain"},
        ),
        (
            lambda: judge(certificates=chain(ChainFields(extension=identity(bytes(32))))),
            {"certificate chain"},
        ),
        (lambda: judge(certificates=chain(ChainFields(extension=b"\x30\x00"))), {"certificate chain"}),
        (
            lambda: judge(
                certificates=chain(ChainFields(extension=identity(algorithm="0609608648016503040201")))
            ),
            {"certificate chain"},
        ),
        (lambda: judge(certificates=chain()[:1]), {"certificate chain"}),
        (lambda: judge(certificates=(b"rubbish", *chain()[1:])), {"certificate chain"}),
        (lambda: judge(b"rubbish"), {"gpu report structure"}),
    ],
)
def test_defect_fails_its_own_check(judged: Callable[[], Verdict], names: set[str]) -> None:
    verdict = judged()
    assert failed(verdict) == names
    assert verdict.refused


def test_certificates_are_valid_from_their_first_second_to_their_last() -> None:
    found = [failed(judge(now=now)) for now in (NOW - 1001, NOW - 1000, NOW + 1000, NOW + 1001)]
    assert found == [{"certificate validity"}, set(), set(), {"certificate validity"}]


def test_what_cannot_be_read_is_not_waived_either() -> None:
    """Waiving is for what was there to judge: a chain for revocation, a report for the measurements."""
    assert waived(judge(b"rubbish")) == {"revocation"}
    assert waived(judge(certificates=chain()[:1])) == {"gpu measurements"}


def test_proven_chain_has_a_root_though_nothing_else_passes() -> None:
    verdict = judge(b"rubbish", now=NOW + 10_000)
    assert {check.name for check in verdict.checks if check.ok} == {"certificate chain", "trust anchor"}
    assert verdict.vendor_root is VendorRoot.SIMULATED


def test_chain_has_two_to_five_certificates() -> None:
    leaf, *authorities = (parse_certificate(each) for each in chain())
    root = chain()[-1]
    for count in (2, 5):
        encoded = (chain()[0], *(root for _ in range(count - 1)))
        assert parse_chain(encoded).certificates == (leaf, *(authorities[-1:] * (count - 1)))
    for count in (1, 6):
        with pytest.raises(CertificateError, match=f"expected 2 to 5 certificates, found {count}"):
            parse_chain((chain()[0], *(root for _ in range(count - 1))))


@pytest.mark.parametrize(
    "uses", [(), ("key_agreement", "encipher_only"), ("key_agreement", "decipher_only")], ids=str
)
def test_key_of_firmware_is_for_signatures(uses: tuple[str, ...]) -> None:
    """The bits beside that of signatures, in the first and in the second byte, are none."""
    with pytest.raises(CertificateError, match="expected a key for signatures"):
        parse_chain(chain(ChainFields(leaf_uses=uses)))
    more = ("digital_signature", *uses)
    assert parse_chain(chain(ChainFields(leaf_uses=more))).firmware_id == FIRMWARE


@pytest.mark.parametrize(
    "extension",
    [identity(after_digest=b"\x05\x00"), identity(after_identity=b"\x05\x00")],
    ids=["digest", "identity"],
)
def test_nothing_follows_the_identity_of_firmware(extension: bytes) -> None:
    with pytest.raises(CertificateError, match="Fake GPU firmware"):
        parse_chain(chain(ChainFields(extension=extension)))


def test_issuer_is_the_named_authority() -> None:
    leaf, brom, device, root = (parse_certificate(each) for each in chain())
    check_issued(leaf, brom)
    check_issued(root, root)
    with pytest.raises(CertificateError, match="was issued by Fake GPU BROM, and Fake GPU identity follows"):
        check_issued(leaf, device)
    (_, plain, _, _) = (parse_certificate(each) for each in chain(ChainFields(authority=False)))
    with pytest.raises(CertificateError, match="authority"):
        check_issued(leaf, plain)


def test_chain_that_is_not_proven_has_no_root() -> None:
    assert judge(roots=frozenset()).vendor_root is VendorRoot.UNKNOWN
    assert judge(certificates=chain(ChainFields(signer=NAMES[1]))).vendor_root is VendorRoot.UNKNOWN


def test_zero_bytes_behind_a_report_are_noted() -> None:
    verdict = judge(replace(ReportFields(), tail=bytes(3)).encode())
    assert failed(verdict) == set()
    assert verdict.checks[0].outcome is Outcome.NOTED


@given(st.integers(0, 8 * len(GOOD) - 1))
def test_every_flipped_bit_of_a_report_is_refused(place: int) -> None:
    spoiled = bytearray(GOOD)
    spoiled[place // 8] ^= 1 << place % 8
    assert judge(bytes(spoiled)).refused


@given(st.integers(0, 3), st.integers(0, 1 << 14))
def test_every_flipped_bit_of_a_certificate_is_refused(index: int, place: int) -> None:
    certificates = list(chain())
    spoiled = bytearray(certificates[index])
    place %= 8 * len(spoiled)
    spoiled[place // 8] ^= 1 << place % 8
    certificates[index] = bytes(spoiled)
    assert judge(certificates=tuple(certificates)).refused


@given(st.binary(max_size=600))
def test_parser_raises_its_own_error_alone(data: bytes) -> None:
    with pytest.raises(GpuReportError):
        parse_report(data)
    with pytest.raises(GpuReportError):
        parse_report(GOOD[:37] + data)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (ReportFields(head=bytes.fromhex("12e001ff")), "request for signed measurements"),
        (ReportFields(answer=bytes.fromhex("117f")), "expected measurements"),
        (ReportFields(count=3), "expected 3 measurements, found 2"),
        (ReportFields(count=0, blocks=()), "expected 0 measurements"),
        (ReportFields(blocks=((1, 1, bytes(48)), (1, 1, bytes(48)))), "measurement 1 occurs twice"),
        (ReportFields(blocks=((1, 2, bytes(48)), (2, 1, bytes(48)))), "form of DMTF"),
        (ReportFields(blocks=((1, 1, bytes(32)), (2, 1, bytes(48)))), "form of DMTF"),
        (ReportFields(opaque=opaque() + struct.pack("<HH", 3, 0)), "field 3 of the opaque data occurs twice"),
        (ReportFields(opaque=opaque() + b"\x01"), "expected 4 bytes"),
        (ReportFields(tail=b"\x01"), "nothing but zero bytes"),
        (ReportFields(tail=bytes(65536)), "exceeds 65536"),
    ],
)
def test_other_report_is_refused(fields: ReportFields, words: str) -> None:
    with pytest.raises(GpuReportError, match=words):
        parse_report(fields.encode())


def test_field_that_is_no_text_has_none() -> None:
    report = parse_report(GOOD)
    assert report.text(3) == "550.90.07"
    assert (report.text(20), report.text(99)) == ("", "")
    assert report.opaque[20] == FIRMWARE


def test_nonce_of_a_gpu_follows_from_keys_and_claims() -> None:
    """The known value of the protocol's document (X6)."""
    told = binding.gpu_nonce(binding.configuration_hash(b"keys", b"{}"))
    assert told.hex() == "90e2ded0d0cfd20d2031a5f445607cfd803e06b1ebfa360d88963438236012ec"
    other = binding.gpu_nonce(binding.configuration_hash(b"keys", b"{} "))
    assert failed(judge(replace(ReportFields(), nonce=told).encode(), nonce=other)) == {"gpu nonce"}
    assert failed(judge(replace(ReportFields(), nonce=told).encode(), nonce=told)) == set()


def payload(**changed: object) -> bytes:
    gpu = {"certificate": "", "evidence": base64.b64encode(GOOD).decode()}
    return json.dumps({"nonce": NONCE.hex(), "arch": "HOPPER", "evidence_list": [gpu], **changed}).encode()


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (payload(), "chain in PEM"),
        (payload(nonce="00"), "64 hexadecimal digits"),
        (payload(evidence_list=[], more=1), "unknown members more"),
        (payload(evidence_list=[]), "1 to 16 GPUs, found 0"),
        (payload(evidence_list=[{"certificate": "?", "evidence": ""}]), "expected base64"),
        (b"[]", "expected an object"),
    ],
)
def test_other_payload_is_refused(document: bytes, words: str) -> None:
    with pytest.raises(PayloadError, match=words):
        decode_payload(document)
