# SPDX-License-Identifier: Apache-2.0
"""Each part of Azure's evidence is read strictly, and each thing spoiled fails the check that is about it."""

import struct
from dataclasses import replace
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from attestation.azure.checks import UNCHECKED, AzureEvidence, Expected, HardwareChecks, appraise_azure
from attestation.azure.hcl import Hardware, HclError, parse_hcl
from attestation.azure.runtime import RuntimeDataError, decode_runtime_data
from attestation.azure.tdreport import TdReportError, parse_tdreport
from attestation.azure.tpm import (
    Scheme,
    Signature,
    TpmError,
    parse_quote,
    parse_signature,
    register_digest,
    selected,
)
from attestation.snp.case import NotCompared
from attestation.verdict import Check, Decision
from tests.fakes import azure
from tests.fakes.azure import (
    NONCE,
    PASSED,
    REGISTERS,
    QuoteFields,
    failures,
    key_member,
    not_made,
    runtime_data,
)
from tests.fakes.kernel import td_quote
from wire.strict_json import Json

BLOB = azure.hcl_blob(runtime_data())
SNP = azure.evidence()


def snp_expected() -> Expected:
    return azure.expected(parse_hcl(SNP.hcl_blob).report)


def tdx() -> AzureEvidence:
    """A TDX machine, with a quote over the values of its TDREPORT."""
    bare = azure.evidence(Hardware.TDX)
    report = parse_tdreport(parse_hcl(bare.hcl_blob).report)
    return replace(bare, td_quote=td_quote(report.body.report_data))


def test_good_evidence_passes() -> None:
    assert failures(appraise_azure(SNP, snp_expected())) == set()
    assert failures(appraise_azure(tdx(), azure.expected(tdx().td_quote))) == set()


def test_salted_signature_passes() -> None:
    salted = replace(SNP, signature=azure.sign(SNP.quote, Scheme.RSAPSS))
    assert failures(appraise_azure(salted, snp_expected())) == set()


def test_signature_of_the_other_scheme_fails() -> None:
    swapped = replace(SNP, signature=Signature(Scheme.RSAPSS, SNP.signature.value))
    assert failures(appraise_azure(swapped, snp_expected())) == {"tpm quote signature"}


FAILED = PASSED._replace(name="trust anchor", ok=False)
UNMADE = PASSED._replace(name="revocation", ok=False, evaluated=False)
WAIVED = UNMADE._replace(waived=True)


@pytest.mark.parametrize("checks", [(FAILED,), (PASSED, UNMADE), (WAIVED, FAILED)])
def test_failed_checks_of_the_hardware_fail_here(checks: tuple[Check, ...]) -> None:
    good = snp_expected()
    bad = replace(good, hardware=HardwareChecks(good.hardware.evidence, checks))
    (check,) = (check for check in appraise_azure(SNP, bad) if not check.ok)
    assert (check.name, check.found) == ("hardware signature", f"failed checks: {checks[-1].name}")


def waived(checks: tuple[Check, ...]) -> set[str]:
    assert all(not check.ok and not check.evaluated for check in checks if check.waived)
    return {check.name for check in checks if check.waived}


@pytest.mark.parametrize("checks", [(WAIVED,), (PASSED, WAIVED)])
def test_what_was_waived_of_the_hardware_is_waived_here(checks: tuple[Check, ...]) -> None:
    good = snp_expected()
    found = appraise_azure(SNP, replace(good, hardware=HardwareChecks(good.hardware.evidence, checks)))
    assert failures(found) == waived(found) == {"hardware signature"}


def test_what_nobody_compares_is_waived() -> None:
    nothing = replace(snp_expected(), nonce=NotCompared.NOT_COMPARED, user_data=NotCompared.NOT_COMPARED)
    found = appraise_azure(SNP, nothing)
    assert failures(found) == waived(found) == {"tpm quote nonce", "user data"}


def test_each_failure_says_what_it_is_about() -> None:
    """Other registers are another guest; everything else that fails is nothing to trust."""
    for evidence, wanted in ((SNP, snp_expected()), (tdx(), azure.expected(tdx().td_quote))):
        decisions = {check.name: check.decision for check in appraise_azure(evidence, wanted)}
        assert decisions.pop("guest measurements") is Decision.WRONG_MEASUREMENT
        assert set(decisions.values()) == {Decision.UNTRUSTED}


def test_checks_of_another_report_do_not_count() -> None:
    other = parse_hcl(azure.hcl_blob(runtime_data(**{"user-data": "00" * 64}))).report
    assert failures(appraise_azure(SNP, azure.expected(other))) == {"hardware signature"}
    assert failures(appraise_azure(tdx(), azure.expected(b""))) == {"hardware signature"}


def test_nothing_that_is_unknown_passes() -> None:
    checks = appraise_azure(SNP, Expected(b"", bytes([0xAB]) * 64, {}, UNCHECKED))
    assert failures(checks) == not_made(checks)
    assert failures(checks) == {"hardware signature", "tpm quote nonce", "guest measurements"}


def test_register_that_the_quote_does_not_cover_is_not_believed() -> None:
    quote = QuoteFields(banks=((0x000B, b"\x01\0\0"),), digest=sha256(REGISTERS[0]).digest()).encode()
    partial = replace(SNP, quote=quote, signature=azure.sign(quote))
    assert failures(appraise_azure(partial, snp_expected())) == {"guest measurements"}


def test_unreadable_blob_leaves_nothing_to_believe() -> None:
    checks = appraise_azure(replace(SNP, hcl_blob=b""), snp_expected())
    assert failures(checks) - not_made(checks) == {"hcl blob"}
    assert {"hardware report", "runtime data"} <= not_made(checks)


def test_unreadable_quote_is_one_failure_and_the_rest_not_evaluated() -> None:
    checks = appraise_azure(replace(SNP, quote=b""), snp_expected())
    assert failures(checks) - not_made(checks) == {"tpm quote"}


def test_unreadable_hardware_report_fails() -> None:
    spoiled = SNP.hcl_blob[:32] + bytes(4) + SNP.hcl_blob[36:]
    checks = appraise_azure(replace(SNP, hcl_blob=spoiled), snp_expected())
    assert failures(checks) - not_made(checks) == {"hardware report", "hardware signature"}


def test_other_runtime_data_are_not_bound() -> None:
    changed = SNP.hcl_blob.replace(b"7DF7B373", b"7DF7B374")
    assert failures(appraise_azure(replace(SNP, hcl_blob=changed), snp_expected())) == {
        "runtime data binding"
    }


def test_td_quote_of_another_td_does_not_agree() -> None:
    other = td_quote(bytes(64))
    checks = appraise_azure(replace(tdx(), td_quote=other), azure.expected(other))
    (check,) = (check for check in checks if not check.ok)
    assert (check.name, check.found) == ("td quote agreement", "other values of report_data")
    broken = appraise_azure(replace(tdx(), td_quote=b"none"), azure.expected(b"none"))
    assert failures(broken) == {"td quote agreement"}


def test_tdreport_put_together_fails() -> None:
    evidence = tdx()
    changed = bytearray(evidence.hcl_blob)
    changed[32 + 528] ^= 1
    checks = appraise_azure(replace(evidence, hcl_blob=bytes(changed)), azure.expected(evidence.td_quote))
    assert failures(checks) == {"tdreport hashes", "td quote agreement"}


def changed(offset: int, content: bytes) -> bytes:
    return BLOB[:offset] + content + BLOB[offset + len(content) :]


SIZE = len(runtime_data())


@pytest.mark.parametrize(
    ("blob", "complaint"),
    [
        (BLOB[:1236], "expected a blob of"),
        (BLOB + bytes(16 * 1024), "expected a blob of"),
        (changed(0, b"HCLB"), "expected a blob HCLA"),
        (changed(4, b"\3"), "of version 3"),
        (changed(12, b"\1"), "found type 1"),
        (changed(16, b"\1"), "with status 1"),
        (changed(31, b"\1"), "request type 2"),
        (changed(8, b"\0\0"), "runtime data up to byte 0"),
        (changed(1220, b"\2"), "found 2 with 1"),
        (changed(1228, b"\2"), "found 1 with 2"),
        (changed(1224, b"\3"), "found 3"),
        (changed(1216, b"\0"), "expected request data of"),
        (
            changed(1216, struct.pack("<I", 20)).replace(struct.pack("<I", SIZE), bytes(4), 1),
            "found an end at",
        ),
        (changed(2599, b"\1"), "zero bytes"),
    ],
)
def test_blob_with_one_thing_wrong_is_refused(blob: bytes, complaint: str) -> None:
    with pytest.raises(HclError, match=complaint):
        parse_hcl(blob)


def test_space_after_a_tdreport_is_zero() -> None:
    blob = azure.hcl_blob(runtime_data(), Hardware.TDX)
    with pytest.raises(HclError, match="expected zero bytes after the hardware report"):
        parse_hcl(blob[:1100] + b"\1" + blob[1101:])


NOTHING: list[Json] = []
NESTED: dict[str, Json] = {"a": NOTHING}


def only(**changed: Json) -> bytes:
    """Runtime data whose one key has something changed."""
    return runtime_data(keys=[{**key_member(), **changed}])


SMALL = rsa.generate_private_key(65537, 1024)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "expected JSON"),
        (b"\xff", "expected JSON"),
        (b"[" * 100_000, "expected JSON"),
        (b"[]", "expected an object"),
        (b'{"keys":1,"keys":1}', "twice"),
        (runtime_data(more=1), "unexpected names more"),
        (b'{"keys":[]}', "missing or unexpected names"),
        (runtime_data(**{"user-data": "00"}), "64 bytes of hexadecimal"),
        (runtime_data(**{"user-data": 1}), "64 bytes of hexadecimal"),
        (runtime_data(**{"vm-configuration": NOTHING}), "an object as vm-configuration"),
        (runtime_data(**{"vm-configuration": NESTED}), "as a of vm-configuration"),
        (runtime_data(keys={}), "found 0"),
        (runtime_data(keys=[]), "found 0"),
        (runtime_data(keys=[1]), "an object as a key"),
        (runtime_data(keys=[key_member(), key_member()]), "found 2"),
        (only(kty="EC"), "an RSA key for signing"),
        (only(key_ops=["encrypt"]), "an RSA key for signing"),
        (only(alg="none"), "an RSA key for signing"),
        (only(e="AQAB="), "base64url without padding as e"),
        (only(n=7), "base64url without padding as n"),
        (only(n="A"), "base64url as n"),
        (only(e="Aw"), "with 3"),
        (runtime_data(keys=[key_member(SMALL)]), "found 1024 bits"),
        (only(n="_" * 1000), "found 6000 bits"),
    ],
)
def test_runtime_data_with_one_thing_wrong_are_refused(data: bytes, complaint: str) -> None:
    with pytest.raises(RuntimeDataError, match=complaint):
        decode_runtime_data(data)


def test_even_number_is_no_rsa_key() -> None:
    member = key_member()
    assert isinstance(member["n"], str)
    even = only(n=member["n"][:-2] + "AA")
    with pytest.raises(RuntimeDataError, match="to be odd"):
        decode_runtime_data(even)


@pytest.mark.parametrize("position", [4, 15, 192, 223, 495, 511])
def test_reserved_bytes_of_a_tdreport_are_zero(position: int) -> None:
    report = bytearray(azure.tdreport(bytes(64)))
    report[position] = 1
    with pytest.raises(TdReportError, match="expected zero bytes at"):
        parse_tdreport(bytes(report))


def test_tdreport_has_one_size() -> None:
    with pytest.raises(TdReportError, match="expected a TDREPORT of 1024 bytes, found 1023"):
        parse_tdreport(bytes(1023))


CLOCK = QuoteFields().clock


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        (QuoteFields(magic=0xFF544348), "expected a quote"),
        (QuoteFields(kind=0x8017), "found ff544347 8017"),
        (QuoteFields(signer=bytes(67)), "a signer's name of at most 66"),
        (QuoteFields(nonce=bytes(67)), "qualifying data of at most 66"),
        (QuoteFields(clock=CLOCK[:16] + b"\2" + CLOCK[17:]), "found 2 for the clock|flag of 0 or 1"),
        (QuoteFields(banks=()), "expected 1 to 16 banks"),
        (QuoteFields(banks=((0x000B, bytes(5)),)), "at most 4 bytes"),
        (QuoteFields(banks=((0x000B, bytes(3)),) * 17), "found 17"),
        (QuoteFields(digest=bytes(33)), "of at most 32"),
        (QuoteFields(digest=bytes(31)), "a digest of 32 bytes, found 31"),
        (QuoteFields(tail=b"\0"), "expected nothing more, found 1"),
        (QuoteFields(tail=bytes(1024)), "exceeds 1024"),
    ],
)
def test_quote_with_one_thing_wrong_is_refused(fields: QuoteFields, complaint: str) -> None:
    with pytest.raises(TpmError, match=complaint):
        parse_quote(fields.encode())


def test_quote_is_refused_wherever_it_is_cut() -> None:
    encoded = QuoteFields().encode()
    for size in range(len(encoded)):
        with pytest.raises(TpmError):
            parse_quote(encoded[:size])


@given(st.binary(max_size=200))
def test_any_bytes_are_a_quote_or_refused(data: bytes) -> None:
    with pytest.raises(TpmError):
        parse_quote(struct.pack(">IH", 0xFF544347, 0x8018)[: len(data) % 7] + data)


def test_fields_are_read_where_they_are() -> None:
    quote = parse_quote(QuoteFields().encode())
    assert (quote.qualifying_data, quote.clock, quote.reset_count, quote.restart_count) == (NONCE, 7, 3, 1)
    assert (quote.clock_safe, quote.firmware_version, quote.qualified_signer) == (True, 9, bytes(34))
    assert selected(quote) == tuple(range(24))


@pytest.mark.parametrize(
    "banks", [((0x0004, b"\1\0\0"),), ((0x000B, b"\0"),), ((0x000B, b"\1"), (0x000C, b"\1"))]
)
def test_other_banks_are_refused(banks: tuple[tuple[int, bytes], ...]) -> None:
    with pytest.raises(TpmError, match="bank of SHA-256"):
        selected(parse_quote(QuoteFields(banks=banks).encode()))


def test_empty_bank_beside_is_nothing() -> None:
    quote = parse_quote(QuoteFields(banks=((0x0004, b"\0\0\0"), (0x000B, b"\2\0\0"))).encode())
    assert register_digest(quote, REGISTERS) == sha256(REGISTERS[1]).digest()
    with pytest.raises(TpmError, match="32 bytes for register 1, found 0"):
        register_digest(quote, {})


@pytest.mark.parametrize("scheme", Scheme)
def test_signature_in_the_tpms_own_form(scheme: Scheme) -> None:
    encoded = struct.pack(">HHH", scheme, 0x000B, 3) + b"sig"
    assert parse_signature(encoded) == Signature(scheme, b"sig")


@pytest.mark.parametrize(
    "encoded",
    [
        struct.pack(">HHH", 0x0018, 0x000B, 0),
        struct.pack(">HHH", 0x0014, 0x0004, 0),
        struct.pack(">HHH", 0x0014, 0x000B, 513) + bytes(513),
        struct.pack(">HHH", 0x0014, 0x000B, 3) + b"si",
        struct.pack(">HHH", 0x0014, 0x000B, 3) + b"sigs",
        b"",
    ],
)
def test_signature_of_another_form_is_refused(encoded: bytes) -> None:
    with pytest.raises(TpmError):
        parse_signature(encoded)
