# SPDX-License-Identifier: Apache-2.0
"""What a host or an attacker can do to evidence, and the check that stops it (docs/threat-model.md)."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from attestation.binding import TeeOctet
from attestation.evidence import Evidence, EvidenceError, decode_evidence
from attestation.policy import AnyMachine, Product, SimulatedRoots, Tcb, TcbFloors, default_policy
from attestation.simulated.snp import ReportFields
from attestation.snp.certificates import parse_chain
from attestation.snp.report import SIGNED_SIZE, GuestPolicy, PlatformInfo
from attestation.verdict import VendorRoot
from attestation.verify import (
    Expired,
    Untrusted,
    VerificationError,
    WrongAudience,
    WrongMeasurement,
    WrongModel,
    WrongPlatform,
    appraise,
    verify,
)
from tests.fakes.hardware import CLAIMS, KEYS, NOW, ORIGIN, evidence, failed, guest, judge, policy, vendor
from wire import ohttp

DAY = 24 * 60 * 60


def refusal(judged: Evidence, now: int = NOW) -> type[VerificationError]:
    """What `verify` raises, after checking that it returns nothing."""
    with pytest.raises(VerificationError) as caught:
        verify(judged, policy(), now)
    assert not caught.value.verdict.verified
    return type(caught.value)


def flipped(data: bytes, bit: int) -> bytes:
    """The bytes with one bit changed."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_good_evidence_is_accepted() -> None:
    """The control: without it, every test below could pass for another reason."""
    enclave = verify(evidence(), policy(), NOW)
    assert enclave.verdict.verified
    assert enclave.key_configurations == ohttp.decode_key_list(KEYS)
    assert enclave.claims == CLAIMS


@pytest.mark.parametrize("bit", range(3, SIGNED_SIZE * 8, 211))
def test_host_changes_one_signed_bit_of_a_report(bit: int) -> None:
    judged = evidence()
    tampered = replace(judged, report=flipped(judged.report, bit))
    assert {"report structure", "report signature"} & set(judge(tampered))
    assert refusal(tampered) is Untrusted


@pytest.mark.parametrize("bit", [*range(SIGNED_SIZE * 8, 0x4A0 * 8, 97), 0x4A0 * 8 - 1])
def test_host_changes_a_bit_of_signature_or_unsigned_tail(bit: int) -> None:
    judged = evidence()
    tampered = replace(judged, report=flipped(judged.report, bit))
    assert {"report structure", "report signature"} & set(judge(tampered))
    assert refusal(tampered) is Untrusted


def test_host_sends_a_signature_of_zeros() -> None:
    judged = evidence()
    unsigned = replace(judged, report=judged.report[:SIGNED_SIZE].ljust(0x4A0, b"\x00"))
    assert judge(unsigned) == ["report signature"]
    assert refusal(unsigned) is Untrusted


def test_host_appends_bytes_to_a_report() -> None:
    judged = evidence()
    assert judge(replace(judged, report=judged.report + b"\x00")) == ["report structure"]


def test_host_cuts_a_report_short() -> None:
    judged = evidence()
    assert judge(replace(judged, report=judged.report[:-1])) == ["report structure"]


@pytest.mark.parametrize("position", [0, 1, 2])
def test_host_appends_bytes_to_a_certificate(position: int) -> None:
    judged = evidence()
    chain = list(judged.chain)
    chain[position] += b"\x00"
    assert judge(replace(judged, chain=tuple(chain))) == ["certificate chain"]


@pytest.mark.parametrize("position", [0, 1, 2])
def test_host_changes_one_bit_of_a_certificate(position: int) -> None:
    judged = evidence()
    for bit in range(5, len(judged.chain[position]) * 8, 1009):
        chain = list(judged.chain)
        chain[position] = flipped(chain[position], bit)
        assert "certificate chain" in judge(replace(judged, chain=tuple(chain)))


def test_host_changes_one_bit_of_the_revocation_list() -> None:
    judged = evidence()
    for bit in range(5, len(judged.crl) * 8, 503):
        assert judge(replace(judged, crl=flipped(judged.crl, bit))) == ["revocation"]


@pytest.mark.parametrize("ending", [b"\x00", b"\n", b"}", b"{}"])
def test_host_appends_bytes_to_the_document(ending: bytes) -> None:
    document = evidence().encode()
    with pytest.raises(EvidenceError):
        decode_evidence(document + ending)


def test_attacker_brings_a_perfect_chain_under_a_root_of_their_own() -> None:
    forged = evidence(guest("attacker"))
    verdict = appraise(forged, replace(policy(), machines=AnyMachine.ANY_MACHINE), NOW)
    assert failed(verdict) == ["trust anchor"]
    assert verdict.vendor_root is VendorRoot.UNKNOWN
    assert refusal(forged) is Untrusted


def test_attacker_puts_the_trusted_root_above_their_own_chain() -> None:
    forged = evidence(guest("attacker"))
    spliced = replace(forged, chain=(*forged.chain[:2], guest().chain[2]))
    verdict = appraise(spliced, policy(), NOW)
    assert "certificate chain" in failed(verdict)
    assert "trust anchor" not in failed(verdict)
    assert verdict.vendor_root is VendorRoot.UNKNOWN
    assert refusal(spliced) is Untrusted


def test_attacker_changes_the_root_certificate_around_the_trusted_key() -> None:
    judged = evidence()
    root = judged.chain[2].replace(b"Simulation", b"simulation")
    assert judge(replace(judged, chain=(*judged.chain[:2], root)))[0] == "certificate chain"


def test_host_replays_stale_evidence() -> None:
    judged = evidence()
    for now in (CLAIMS.expires_at, CLAIMS.expires_at + 20 * DAY):
        assert judge(judged, now=now) == ["evidence age"]
        assert refusal(judged, now) is Expired
    assert judge(judged, now=CLAIMS.expires_at - 1) == []


def test_host_shows_evidence_from_the_future() -> None:
    judged = evidence()
    assert judge(judged, now=NOW - 60) == []
    assert judge(judged, now=NOW - 61) == ["evidence age"]
    assert refusal(judged, NOW - 61) is Expired


@pytest.mark.parametrize("seconds", [0, 1261, 10 * DAY])
def test_enclave_gives_its_evidence_no_life_or_too_long_a_life(seconds: int) -> None:
    judged = evidence(claims=replace(CLAIMS, expires_at=NOW + seconds))
    assert judge(judged) == ["evidence age"]


def test_host_swaps_in_its_own_key_list() -> None:
    own = KEYS[:5] + bytes([11]) + KEYS[6:]
    assert ohttp.decode_key_list(own) != ohttp.decode_key_list(KEYS)
    swapped = replace(evidence(), keys=own)
    assert judge(swapped) == ["report data binding"]
    assert refusal(swapped) is Untrusted


def test_host_strips_an_entry_from_the_key_list() -> None:
    two = KEYS + KEYS[:2] + b"\x81" + KEYS[3:]
    assert judge(evidence(keys=two)) == []
    stripped = replace(evidence(keys=two), keys=KEYS)
    assert judge(stripped) == ["report data binding"]


def test_host_serves_a_key_list_that_cannot_be_read() -> None:
    assert judge(replace(evidence(), keys=KEYS + b"\x00")) == ["report data binding", "key list"]
    assert judge(evidence(keys=KEYS[2:])) == ["key list"]


def test_host_swaps_the_claims() -> None:
    later = replace(CLAIMS, expires_at=CLAIMS.expires_at + 60)
    swapped = replace(evidence(), claims=later.encode())
    assert judge(swapped) == ["report data binding"]
    assert refusal(swapped) is Untrusted


def test_host_serializes_the_claims_anew() -> None:
    spaced = CLAIMS.encode().replace(b",", b", ")
    assert judge(replace(evidence(), claims=spaced)) == ["report data binding", "claims"]


def test_host_moves_a_byte_between_keys_and_claims() -> None:
    judged = evidence()
    moved = replace(judged, keys=judged.keys + b"{", claims=judged.claims[1:])
    assert judge(moved) == ["report data binding", "key list", "claims"]


def test_other_code_than_accepted_is_refused() -> None:
    judged = evidence(spoil=lambda fields: replace(fields, measurement=bytes(48)))
    assert judge(judged) == ["measurement"]
    assert refusal(judged) is WrongMeasurement


def test_no_code_is_accepted_where_the_policy_names_none() -> None:
    assert judge(evidence(), replace(policy(), measurements=frozenset())) == ["measurement"]


PLATFORM: dict[str, Callable[[ReportFields], ReportFields]] = {
    "debug": lambda fields: replace(fields, policy=fields.policy | GuestPolicy.DEBUG),
    "migration agent": lambda fields: replace(fields, policy=fields.policy | GuestPolicy.MIGRATION_AGENT),
    "vmpl": lambda fields: replace(fields, vmpl=3),
    "chip key mask": lambda fields: replace(fields, key_info=0b10),
    "tcb floor (committed)": lambda fields: replace(fields, committed_tcb=bytes.fromhex("0a00000000001654")),
    "tcb floor (launch)": lambda fields: replace(fields, launch_tcb=bytes.fromhex("0800000000001954")),
    "tcb floor (current)": lambda fields: replace(fields, current_tcb=bytes.fromhex("0a0000000000191a")),
    "alias check": lambda fields: replace(
        fields, platform_info=fields.platform_info & ~PlatformInfo.ALIAS_CHECK_COMPLETE
    ),
}


@pytest.mark.parametrize("check", PLATFORM)
def test_host_starts_the_right_code_on_a_wrong_platform(check: str) -> None:
    judged = evidence(spoil=PLATFORM[check])
    assert judge(judged) == [check]
    assert refusal(judged) is WrongPlatform


def test_debug_guest_is_accepted_only_by_the_setting_that_says_unsafe() -> None:
    judged = evidence(spoil=PLATFORM["debug"])
    assert judge(judged, replace(policy(), unsafe_allow_debug=True)) == []


def test_host_runs_firmware_below_the_floor() -> None:
    floors = TcbFloors(genoa=Tcb(fmc=0, bootloader=10, tee=0, snp=26, microcode=84))
    names = [f"tcb floor ({name})" for name in ("reported", "committed", "launch", "current")]
    assert judge(evidence(), replace(policy(), tcb_floors=floors)) == names


def test_host_reports_newer_firmware_than_its_key_is_certified_for() -> None:
    judged = evidence(spoil=lambda fields: replace(fields, reported_tcb=bytes.fromhex("0a00000000001a54")))
    assert judge(judged) == ["certificate TCB"]
    assert refusal(judged) is Untrusted


def test_host_sets_a_reserved_byte_of_a_patch_level() -> None:
    judged = evidence(spoil=lambda fields: replace(fields, current_tcb=bytes.fromhex("0a00010000001954")))
    assert judge(judged) == ["tcb floor (current)"]


def test_host_claims_the_chip_id_of_another_machine() -> None:
    judged = evidence(spoil=lambda fields: replace(fields, chip_id=bytes([5]) * 64))
    assert judge(judged) == ["chip identity", "machine"]
    assert refusal(judged) is Untrusted


def test_host_masks_the_chip_id() -> None:
    judged = evidence(spoil=lambda fields: replace(fields, chip_id=bytes(64)))
    assert judge(judged, replace(policy(), machines=AnyMachine.ANY_MACHINE)) == ["chip identity"]


def test_attacker_runs_the_same_code_on_a_machine_of_their_own() -> None:
    both = SimulatedRoots(frozenset({vendor().root_fingerprint, vendor("attacker").root_fingerprint}))
    elsewhere = evidence(guest("attacker"))
    assert judge(elsewhere, replace(policy(), simulated_roots=both)) == ["machine"]
    with pytest.raises(WrongPlatform):
        verify(elsewhere, replace(policy(), simulated_roots=both), NOW)


def test_host_claims_another_generation_of_processor() -> None:
    milan = evidence(spoil=lambda fields: replace(fields, cpuid_model=0x01))
    unknown = evidence(spoil=lambda fields: replace(fields, cpuid_family=0x20))
    assert judge(milan) == judge(unknown) == ["product agreement"]


def test_generation_with_extracted_keys_must_be_named() -> None:
    assert judge(evidence(), replace(policy(), products=frozenset({Product.TURIN}))) == ["product"]


@pytest.mark.parametrize("key_info", [1 << 2, 7 << 2])
def test_host_claims_another_signing_key(key_info: int) -> None:
    judged = evidence(spoil=lambda fields: replace(fields, key_info=key_info))
    assert judge(judged) == ["signing key"]
    assert refusal(judged) is Untrusted


@pytest.mark.parametrize("position", [1, 2])
def test_vendor_revokes_an_authority(position: int) -> None:
    serial = parse_chain(guest().chain).certificates[position].serial
    judged = replace(evidence(), crl=vendor().revocation_list(now=NOW, revoked=(serial,)))
    assert judge(judged) == ["revocation"]
    assert refusal(judged) is Untrusted


def test_list_of_the_root_says_nothing_about_serial_zero_of_another_issuer() -> None:
    """Every VCEK has serial 0: taken alone it would revoke them all, or be waved through."""
    leaf = parse_chain(guest().chain).leaf.certificate
    judged = replace(evidence(), crl=vendor().revocation_list(now=NOW, revoked=(9,)))
    assert leaf.serial == 0
    assert judge(judged) == []


def test_host_staples_an_expired_revocation_list() -> None:
    judged = replace(evidence(), crl=vendor().revocation_list(now=NOW - 31 * DAY))
    assert judge(judged) == ["revocation list age"]
    assert refusal(judged) is Expired


def test_host_staples_a_revocation_list_from_the_future() -> None:
    judged = replace(evidence(), crl=vendor().revocation_list(now=NOW + DAY + 61))
    assert judge(judged) == ["revocation list age"]


def test_host_staples_the_revocation_list_of_another_root() -> None:
    judged = replace(evidence(), crl=guest("attacker").crl)
    assert judge(judged) == ["revocation"]


@pytest.mark.parametrize("crl", [b"", b"\x30\x00", b"trailing"])
def test_host_leaves_out_or_breaks_the_revocation_list(crl: bytes) -> None:
    judged = replace(evidence(), crl=guest().crl + crl if crl == b"trailing" else crl)
    assert judge(judged) == ["revocation"]
    assert refusal(judged) is Untrusted


def test_certificates_are_not_valid_for_ever() -> None:
    early, late = NOW - 2 * DAY, NOW + 8 * 365 * DAY
    assert "certificate validity" in judge(evidence(), now=early)
    assert "certificate validity" in judge(evidence(), now=late)


def test_attacker_shows_simulated_evidence_as_real_hardware() -> None:
    judged = evidence(octet=TeeOctet.SEV_SNP)
    assert judge(judged) == ["report data binding"]
    assert refusal(judged) is Untrusted


def test_default_policy_refuses_the_simulated_root() -> None:
    verdict = appraise(evidence(), default_policy(), NOW)
    assert failed(verdict) == ["trust anchor", "measurement", "machine", "audience", "model"]
    assert verdict.vendor_root is VendorRoot.UNKNOWN
    assert not verdict.simulated


def test_accepted_simulated_evidence_says_so() -> None:
    verdict = appraise(evidence(), policy(), NOW)
    assert verdict.simulated
    assert verdict.vendor_root == "simulated"


def test_attacker_diverts_to_another_deployment_of_the_same_code() -> None:
    elsewhere = evidence(claims=replace(CLAIMS, audience="https://other.example"))
    assert judge(elsewhere) == ["audience"]
    assert refusal(elsewhere) is WrongAudience
    assert judge(evidence(), replace(policy(), audiences=frozenset({f"{ORIGIN}:8443"}))) == ["audience"]


def test_host_serves_another_model() -> None:
    judged = evidence(claims=replace(CLAIMS, model=bytes(32)))
    assert judge(judged) == ["model"]
    assert refusal(judged) is WrongModel


def test_enclave_demands_a_newer_protocol() -> None:
    assert judge(evidence(claims=replace(CLAIMS, minimum_version=2))) == ["protocol version"]


def test_host_claims_a_kind_of_evidence_that_is_not_checked() -> None:
    for other in (replace(evidence(), mode=1), replace(evidence(), tee="sgx")):
        assert judge(other) == ["evidence form"]
        assert refusal(other) is Untrusted


def test_host_calls_one_kind_of_evidence_another() -> None:
    mislabelled = replace(evidence(), tee="tdx")
    assert {"quote structure", "collateral"} <= set(judge(mislabelled))
    assert refusal(mislabelled) is Untrusted


@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_host_sends_too_few_or_too_many_certificates(count: int) -> None:
    chain = (*guest().chain, guest().chain[2])[:count]
    assert judge(replace(evidence(), chain=chain)) == ["certificate chain"]


def test_nothing_at_all_is_refused_without_an_exception() -> None:
    verdict = appraise(Evidence("", 0, b"", (), b"", b"", b""), default_policy(), NOW)
    assert not verdict.verified
    assert not any(check.ok for check in verdict.checks)
    assert verdict.measurement == b""
    assert verdict.claims is None
