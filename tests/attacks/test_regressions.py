# SPDX-License-Identifier: Apache-2.0
"""Bugs of other verifiers that accepted, refused or crashed wrongly, and what should have happened.

Names and sources are those of attestation.md 7.1, 7.2 and 7.5.
"""

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from attestation.evidence import MAX_DOCUMENT_BYTES, Evidence, EvidenceError, decode_evidence
from attestation.policy import (
    AnyMachine,
    Policy,
    PolicyError,
    Product,
    SimulatedRoots,
    SnpPolicy,
    Tcb,
    TcbFloors,
    default_policy,
)
from attestation.settings import Requirement
from attestation.simulated.snp import TCB, ReportFields
from attestation.snp.case import NoCrl, NotCompared
from attestation.snp.certificates import HARDWARE_ID, PATCH_LEVELS, parse_chain, parse_leaf
from attestation.snp.product import TcbError, decode_tcb, product_of_cpu
from attestation.snp.report import LAYOUT, REPORT_SIZE, SIGNED_SIZE, GuestPolicy, PlatformInfo, SigningKey
from attestation.snp.structure import P384_ORDER
from attestation.verdict import Outcome, Verdict
from attestation.verify import (
    Caches,
    Expired,
    Untrusted,
    VerificationError,
    appraise,
    verify,
    verify_snp_report,
)
from attestation.x509 import CertificateError, parse_certificate, parse_revocation_list
from tests.fakes.hardware import (
    CLAIMS,
    KEYS,
    MEASUREMENT,
    NOW,
    ORIGIN,
    evidence,
    failed,
    guest,
    judge,
    policy,
    vendor,
)

DAY = 24 * 60 * 60
GENOA_SNP_OFFSET = 6
MICROCODE_OFFSET = 7


def patched(report: bytes, name: str, value: bytes) -> bytes:
    """A report with a field changed after it was signed."""
    offset, size = LAYOUT[name]
    assert len(value) == size
    return report[:offset] + value + report[offset + size :]


def tcb(**changes: int) -> bytes:
    """The simulated machine's TCB with components changed."""
    offsets = {"bootloader": 0, "tee": 1, "snp": GENOA_SNP_OFFSET, "microcode": MICROCODE_OFFSET}
    encoded = bytearray(TCB)
    for name, level in changes.items():
        encoded[offsets[name]] = level
    return bytes(encoded)


def with_tcb(name: str, encoded: bytes) -> Evidence:
    """Evidence whose report states this as one of its four TCBs."""

    def change(fields: ReportFields) -> ReportFields:
        match name:
            case "reported":
                return replace(fields, reported_tcb=encoded)
            case "committed":
                return replace(fields, committed_tcb=encoded)
            case "launch":
                return replace(fields, launch_tcb=encoded)
            case _:
                return replace(fields, current_tcb=encoded)

    return evidence(spoil=change)


def raw(report: bytes, accepted: Policy | None = None, now: int = NOW) -> Verdict:
    """The verdict on a report alone, with its own report data expected."""
    machine = guest()
    return verify_snp_report(report, machine.chain, machine.crl, accepted or policy(), now, report[0x50:0x90])


# 7.1: structure and cryptography


@pytest.mark.parametrize("extra", [b"\x00", b"\x00" * 64, b"\x41" * 64, b"\n"])
def test_secretvm_cvm_tinfoil_accept_trailing_bytes(extra: bytes) -> None:
    judged = evidence()
    assert judge(replace(judged, report=judged.report + extra)) == ["report structure"]


@pytest.mark.parametrize("version", [2, 3, 4, 5])
def test_dk_crashes_on_version_2(version: int) -> None:
    def of_version(fields: ReportFields) -> ReportFields:
        if version == 2:
            return replace(fields, version=2, cpuid_family=0, cpuid_model=0, cpuid_stepping=0)
        return replace(fields, version=version)

    assert judge(evidence(spoil=of_version)) == []


@pytest.mark.parametrize("version", [0, 1, 6, 0xFFFFFFFF])
def test_unknown_version_is_no_best_effort(version: int) -> None:
    assert judge(evidence(spoil=lambda fields: replace(fields, version=version))) == ["report structure"]


@pytest.mark.parametrize("size", [0, 1, 3, 0x2A0, REPORT_SIZE - 1])
def test_sev_attest_tool_panics_on_tampered_input(size: int) -> None:
    """Whatever comes in, a verdict comes out."""
    report = evidence().report[:size]
    assert raw(report).refused
    assert raw(b"\xff" * REPORT_SIZE).refused


def test_tinfoil_js_refuses_every_version_5_for_reserved_bytes() -> None:
    mitigated = evidence(
        spoil=lambda fields: replace(fields, version=5, launch_mitigations=0x3F, current_mitigations=0x3F)
    )
    assert judge(mitigated) == []


@pytest.mark.parametrize("offset", [0x04C, 0x18B, 0x19F, 0x1EB, 0x1EF, 0x1F8, 0x207, 0x208, 0x29F])
def test_cvm_omne_ignore_reserved_bytes(offset: int) -> None:
    """Properly signed, so that nothing but the reserved byte is wrong."""
    machine = guest()
    report = bytearray(machine.fields.encode())
    report[offset] = 1
    assert "report structure" in failed(raw(bytes(report).ljust(REPORT_SIZE, b"\x00")))


@pytest.mark.parametrize("bit", [26, 40, 63])
def test_unknown_guest_policy_bit_is_refused(bit: int) -> None:
    judged = evidence(spoil=lambda fields: replace(fields, policy=fields.policy | 1 << bit))
    assert judge(judged) == ["report structure"]


def test_guest_policy_without_the_bit_that_is_always_one() -> None:
    judged = evidence(spoil=lambda fields: replace(fields, policy=GuestPolicy.SMT))
    assert judge(judged) == ["report structure"]


def test_trustee_229_result_of_the_signature_is_ignored() -> None:
    tampered = patched(evidence().report, "measurement", bytes(48))
    assert "report signature" in judge(replace(evidence(), report=tampered))
    with pytest.raises(Untrusted):
        verify(replace(evidence(), report=tampered), policy(), NOW)


def test_veraison_418_signature_check_lost_in_a_refactoring() -> None:
    """Every verdict has the check, whatever else is wrong."""
    for judged in (evidence(), replace(evidence(), report=b""), replace(evidence(), chain=())):
        names = [check.name for check in appraise(judged, policy(), NOW).checks]
        assert names.count("report signature") == 1


@pytest.mark.parametrize("name", ["signature_r", "signature_s"])
@pytest.mark.parametrize("scalar", [0, P384_ORDER, P384_ORDER + 1, 2**384 - 1])
def test_signature_numbers_out_of_range(name: str, scalar: int) -> None:
    report = patched(evidence().report, name, scalar.to_bytes(48, "little"))
    assert judge(replace(evidence(), report=report)) == ["report signature"]


@pytest.mark.parametrize("offset", [0x2D0, 0x2E7, 0x318, 0x330, 0x400, REPORT_SIZE - 1])
def test_microsoft_tav_141_unsigned_bytes_are_accepted(offset: int) -> None:
    report = bytearray(evidence().report)
    report[offset] ^= 1
    assert judge(replace(evidence(), report=bytes(report))) == ["report structure"]


def test_second_signature_of_the_same_report_gives_the_same_verdict() -> None:
    """ECDSA: (r, n - s) verifies too, so nothing may identify a report by its signature (S4)."""
    report = evidence().report
    s = int.from_bytes(report[0x2E8 : 0x2E8 + 48], "little")
    other = patched(report, "signature_s", (P384_ORDER - s).to_bytes(48, "little"))
    assert other != report
    assert other[:SIGNED_SIZE] == report[:SIGNED_SIZE]
    assert raw(other) == raw(report)


def test_omne_cvm_dk_accept_a_vcek_that_claims_to_be_a_vlek() -> None:
    assert judge(evidence(spoil=lambda fields: replace(fields, key_info=1 << 2))) == ["signing key"]


@pytest.mark.parametrize("key", [2, 3, 4, 5, 6])
def test_signing_key_of_no_known_kind(key: int) -> None:
    assert judge(evidence(spoil=lambda fields: replace(fields, key_info=key << 2))) == ["report structure"]


def test_omne_secretvm_tinfoil_refuse_genuine_vlek_reports() -> None:
    machine = vendor().start(vendor().setting(MEASUREMENT, at=NOW, signing_key=SigningKey.VLEK))
    provider = parse_chain(machine.chain).leaf.provider
    demand = SnpPolicy(providers=frozenset({provider}), accept_masked_chip_id=True)
    accepted = replace(policy(), machines=AnyMachine.ANY_MACHINE, snp=demand)
    assert judge(evidence(machine), accepted) == []


def test_cvm_dk_accept_a_whole_chain_under_an_attackers_root() -> None:
    forged = evidence(guest("attacker"))
    assert judge(forged, replace(policy(), machines=AnyMachine.ANY_MACHINE)) == ["trust anchor"]


def test_microsoft_tav_152_root_from_the_network_is_not_pinned() -> None:
    """The chain's own root decides nothing: only a fingerprint in the policy or in the code does."""
    verdict = appraise(evidence(), replace(policy(), simulated_roots=SimulatedRoots(frozenset())), NOW)
    assert "trust anchor" in failed(verdict)
    assert verdict.vendor_root == "unknown"


def test_snpguest_leaves_the_root_to_the_caller() -> None:
    assert "trust anchor" in failed(appraise(evidence(), default_policy(), NOW))


def test_omne_cvm_dk_accept_a_vcek_in_2040() -> None:
    in_2040 = 2_208_988_800
    assert "certificate validity" in judge(evidence(), now=in_2040)


def test_attestation_rs_83_dates_are_not_checked() -> None:
    for now in (0, NOW - 2 * DAY, NOW + 8 * 365 * DAY):
        assert "certificate validity" in failed(raw(evidence().report, now=now))


def test_go_sev_guest_revocations_are_off_by_default() -> None:
    """There is no setting for it: a list is needed, or its absence is said and the verdict not verified."""
    judged = evidence()
    assert judge(replace(judged, crl=b"")) == ["revocation"]
    without = verify_snp_report(
        judged.report, judged.chain, NoCrl.NO_CRL, policy(), NOW, judged.report[0x50:0x90]
    )
    assert not without.verified
    assert {check.name for check in without.checks if check.outcome is Outcome.WAIVED} == {
        "revocation",
        "revocation list age",
    }


def test_secretvm_looks_only_for_the_serial_of_the_vcek() -> None:
    revoked = replace(evidence(), crl=vendor().revocation_list(now=NOW, revoked=(0x20002,)))
    assert judge(revoked) == ["revocation"]


def test_serial_zero_of_the_root_is_no_vcek() -> None:
    """All VCEKs have serial 0: an entry of the root with that number is about something else."""
    leaf = parse_chain(guest().chain).leaf.certificate
    revocations = parse_revocation_list(guest().crl)
    assert not replace(revocations, serials=frozenset({0})).names(leaf)


def test_aleph_vm_1195_list_without_an_end() -> None:
    crl = guest().crl
    start = crl.index(b"\x17\x0d", crl.index(b"\x17\x0d") + 1)
    with pytest.raises(CertificateError):
        parse_revocation_list(crl[:start] + crl[start + 15 :])


def test_tob_wapi_8_tcb_from_the_certificate() -> None:
    """The report's word for its patch level counts for nothing against the certificate's."""
    newer = evidence(spoil=lambda fields: replace(fields, reported_tcb=tcb(snp=0x30, microcode=0x60)))
    assert judge(newer) == ["certificate TCB"]
    for component in ("bootloader", "tee", "snp", "microcode"):
        judged = with_tcb("reported", tcb(**{component: 0x61}))
        assert judge(judged) == ["certificate TCB"]


@pytest.mark.parametrize("missing", [*PATCH_LEVELS[Product.GENOA], HARDWARE_ID])
def test_snpguest_skips_a_missing_extension(missing: str) -> None:
    leaf = parse_certificate(guest().chain[0])
    kept: Mapping[str, object] = {name: value for name, value in leaf.extensions.items() if name != missing}
    assert len(kept) == len(leaf.extensions) - 1
    fewer = {name: value for name, value in leaf.extensions.items() if name != missing}
    with pytest.raises(CertificateError, match="missing or unexpected extensions"):
        parse_leaf(replace(leaf, extensions=fewer))


def test_go_sev_guest_73_vcek_is_for_the_reported_tcb() -> None:
    """Not for the current one, which genuine machines have ahead of it."""
    ahead = evidence(spoil=lambda fields: replace(fields, current_tcb=tcb(microcode=0x60)))
    assert judge(ahead) == []


def test_snphost_125_turin_is_decoded_in_its_own_layout() -> None:
    encoded = bytes.fromhex("0102030400000051")
    assert decode_tcb(encoded, Product.TURIN) == Tcb(fmc=1, bootloader=2, tee=3, snp=4, microcode=0x51)
    for other in (Product.MILAN, Product.GENOA):
        with pytest.raises(TcbError):
            decode_tcb(encoded, other)


def test_trustee_chip_id_check_is_not_dead_code() -> None:
    """There it compared with the name VCEK, where the certificate says SEV-VCEK."""
    other = evidence(spoil=lambda fields: replace(fields, chip_id=bytes([1]) * 64))
    accepted = replace(policy(), machines=AnyMachine.ANY_MACHINE)
    assert judge(other, accepted) == ["chip identity"]


def test_cvm_never_compares_the_chip_id() -> None:
    almost = evidence().report[0x1A0:0x1DF] + b"\x00"
    other = evidence(spoil=lambda fields: replace(fields, chip_id=almost))
    assert "chip identity" in judge(other)


def test_go_sev_guest_165_turin_is_supported() -> None:
    machine = vendor().start(vendor().setting(MEASUREMENT, at=NOW, product=Product.TURIN, version=5))
    root = parse_certificate(machine.chain[2]).fingerprint
    accepted = replace(
        policy(), machines=frozenset({machine.chip_id}), simulated_roots=SimulatedRoots(frozenset({root}))
    )
    assert judge(evidence(machine), accepted) == []


@pytest.mark.parametrize(
    ("family", "model", "product"),
    [
        (0x19, 0x01, Product.MILAN),
        (0x19, 0x11, Product.GENOA),
        (0x19, 0xA0, Product.GENOA),
        (0x19, 0xAF, Product.GENOA),
        (0x1A, 0x02, Product.TURIN),
        (0x1A, 0x11, Product.TURIN),
        (0x19, 0xB0, None),
        (0x1A, 0x12, None),
        (0x17, 0x01, None),
    ],
)
def test_trustee_0xaf_and_tinfoil_0xa0_belong_to_genoa(
    family: int, model: int, product: Product | None
) -> None:
    assert product_of_cpu(family, model) is product


@pytest.mark.parametrize("position", [0, 1, 2])
def test_certificates_have_one_encoding(position: int) -> None:
    """A length in more bytes than it needs is where two parsers part (S12)."""
    chain = list(guest().chain)
    encoded = chain[position]
    assert encoded[:2] == b"\x30\x82"
    chain[position] = b"\x30\x83\x00" + encoded[2:]
    assert judge(replace(evidence(), chain=tuple(chain))) == ["certificate chain"]


# 7.2: appraisal


def test_secretvm_tinfoil_have_no_nonce() -> None:
    """Report data cannot be left out, only named as not compared; then nothing is verified."""
    judged = evidence()
    verdict = verify_snp_report(
        judged.report, judged.chain, judged.crl, policy(), NOW, NotCompared.NOT_COMPARED
    )
    assert not verdict.verified


def test_cvm_only_warns_of_a_wrong_nonce() -> None:
    judged = evidence()
    verdict = verify_snp_report(judged.report, judged.chain, judged.crl, policy(), NOW, bytes(64))
    assert failed(verdict) == ["report data binding"]
    assert verdict.refused


def test_cmcp_139_mismatch_is_not_fatal() -> None:
    swapped = replace(evidence(), claims=replace(CLAIMS, epoch=4).encode())
    with pytest.raises(Untrusted, match="report data binding"):
        verify(swapped, policy(), NOW)


def test_tob_wapi_7_evidence_has_a_bounded_life() -> None:
    """A stolen key with its old evidence is no backdoor for ever."""
    for seconds in (CLAIMS.expires_at - NOW, DAY, 365 * DAY):
        with pytest.raises(Expired):
            verify(evidence(), policy(), NOW + seconds)
    immortal = evidence(claims=replace(CLAIMS, expires_at=NOW + 365 * DAY))
    assert judge(immortal) == ["evidence age"]


def test_cve_2026_33697_relay_with_keys_of_the_attacker() -> None:
    relayed = replace(evidence(), keys=KEYS[:5] + bytes([11]) + KEYS[6:])
    assert judge(relayed) == ["report data binding"]


def test_cve_2026_33697_diversion_to_another_deployment() -> None:
    assert judge(evidence(claims=replace(CLAIMS, audience="https://other.example"))) == ["audience"]
    assert judge(evidence(), replace(policy(), audiences=frozenset())) == ["audience"]
    assert ORIGIN in policy().audiences


def test_empty_list_of_expected_values_accepts_nothing() -> None:
    nothing = replace(policy(), measurements=frozenset(), machines=frozenset(), models=frozenset())
    assert judge(evidence(), nothing) == ["measurement", "machine", "model"]


def test_cvm_accepts_a_debug_guest_with_a_warning() -> None:
    judged = evidence(spoil=lambda fields: replace(fields, policy=fields.policy | GuestPolicy.DEBUG))
    assert judge(judged) == ["debug"]
    with pytest.raises(VerificationError, match="debug"):
        verify(judged, policy(), NOW)


def test_attestation_rs_67_debug_and_vmpl_are_not_left_to_the_caller() -> None:
    judged = evidence(spoil=lambda fields: replace(fields, policy=fields.policy | GuestPolicy.DEBUG, vmpl=2))
    assert judge(judged) == ["debug", "vmpl"]


def test_omne_cvm_dk_accept_a_migration_agent() -> None:
    judged = evidence(
        spoil=lambda fields: replace(fields, policy=fields.policy | GuestPolicy.MIGRATION_AGENT)
    )
    assert judge(judged) == ["migration agent"]


@pytest.mark.parametrize("vmpl", [1, 2, 3, 0xFFFFFFFF])
def test_cvm_dk_accept_vmpl_3(vmpl: int) -> None:
    assert judge(evidence(spoil=lambda fields: replace(fields, vmpl=vmpl))) == ["vmpl"]


def test_omne_cvm_dk_accept_a_masked_chip_key() -> None:
    assert judge(evidence(spoil=lambda fields: replace(fields, key_info=0b10))) == ["chip key mask"]


@pytest.mark.parametrize("name", ["committed", "launch", "current"])
def test_go_sev_guest_51_tcb_compared_as_integer(name: str) -> None:
    """A high microcode, which is the most significant byte, makes up for no old SNP firmware."""
    encoded = tcb(snp=0x16, microcode=0xFF)
    assert int.from_bytes(encoded, "little") > int.from_bytes(TCB, "little")
    judged = with_tcb(name, encoded)
    assert f"tcb floor ({name})" in judge(judged)


def test_go_sev_guest_59_lower_component_behind_a_higher_one() -> None:
    floor = Tcb(fmc=0, bootloader=10, tee=0, snp=25, microcode=84)
    for component in ("bootloader", "snp", "microcode"):
        assert not replace(floor, **{component: 0}).covers(floor)
    assert not Tcb(fmc=9, bootloader=9, tee=9, snp=24, microcode=0xFF).covers(floor)
    assert replace(floor, snp=26).covers(floor)


def test_trustee_235_1390_floors_hold_for_every_tcb() -> None:
    names = [check.name for check in appraise(evidence(), policy(), NOW).checks]
    for name in ("reported", "committed", "launch", "current"):
        assert f"tcb floor ({name})" in names


def test_cve_2024_56161_entrysign_is_below_the_built_in_floors() -> None:
    """AMD-SB-3019: an SNP level of at least 0x17 on Genoa."""
    judged = evidence(spoil=lambda fields: replace(fields, committed_tcb=tcb(snp=0x16)))
    assert judge(judged) == ["tcb floor (committed)"]
    assert judge(evidence(spoil=lambda fields: replace(fields, committed_tcb=tcb(snp=0x17)))) == []


@pytest.mark.parametrize("component", ["bootloader", "snp", "microcode"])
def test_cachewarp_rmpocalypse_stackwarp_are_closed_by_floors_of_each_component(component: str) -> None:
    """CVE-2023-20592, CVE-2025-0033, CVE-2025-29943: the levels that close them are for a policy to name."""
    running = Tcb(fmc=0, bootloader=10, tee=0, snp=25, microcode=84)
    floor = {"bootloader": 11, "snp": 26, "microcode": 85}[component]
    demand = replace(policy(), tcb_floors=TcbFloors(genoa=replace(running, **{component: floor})))
    assert len(judge(evidence(), demand)) == 4


def test_dstack_calls_four_equal_tcbs_up_to_date() -> None:
    old = tcb(snp=0x10)
    setting = replace(vendor().setting(MEASUREMENT, at=NOW), certified_tcb=old)
    machine = vendor().start(setting)
    equal = evidence(
        machine,
        spoil=lambda fields: replace(
            fields, reported_tcb=old, committed_tcb=old, launch_tcb=old, current_tcb=old
        ),
    )
    assert judge(equal) == [f"tcb floor ({name})" for name in ("reported", "committed", "launch", "current")]


def test_secretvm_demands_an_order_of_the_four_tcbs() -> None:
    """Genuine machines order them in every way: floors only (A8)."""
    for name in ("committed", "launch", "current"):
        for level in (0x50, 0x60):
            encoded = tcb(microcode=level)
            judged = with_tcb(name, encoded)
            assert judge(judged) == []


def test_cve_2024_21944_badram_needs_the_alias_check() -> None:
    judged = evidence(spoil=lambda fields: replace(fields, platform_info=PlatformInfo.SMT | PlatformInfo.ECC))
    assert judge(judged) == ["alias check"]


@pytest.mark.parametrize("bit", [6, 7, 8, 31])
def test_tinfoil_go_102_114_new_platform_bit_is_refused(bit: int) -> None:
    judged = evidence(spoil=lambda fields: replace(fields, platform_info=fields.platform_info | 1 << bit))
    assert judge(judged) == []


def test_heracles_mitigation_can_be_required() -> None:
    wishes = {GuestPolicy.PAGE_SWAP_DISABLED: Requirement.REQUIRED}
    demand = replace(policy(), snp=SnpPolicy(guest_policy=wishes, abi=(1, 58)))
    assert judge(evidence(), demand) == ["guest policy", "guest policy abi"]
    ready = evidence(
        spoil=lambda fields: replace(fields, policy=fields.policy | GuestPolicy.PAGE_SWAP_DISABLED | 0x013A)
    )
    assert judge(ready, demand) == []


def test_microsoft_tav_148_mitigations_of_launch_and_now() -> None:
    demand = replace(policy(), snp=SnpPolicy(mitigations=0b11))
    late = evidence(
        spoil=lambda fields: replace(fields, version=5, launch_mitigations=0b01, current_mitigations=0b11)
    )
    assert judge(late, demand) == ["mitigations"]
    assert judge(evidence(), demand) == ["mitigations"]


def test_tob_wapi_13_unmeasured_configuration_is_bound_by_host_data() -> None:
    demand = replace(policy(), snp=SnpPolicy(host_data=frozenset({bytes([1]) * 32})))
    assert judge(evidence(), demand) == ["host data"]


def test_arxiv_2605_12990_milan_has_to_be_named() -> None:
    machine = vendor().start(vendor().setting(MEASUREMENT, at=NOW, product=Product.MILAN))
    root = parse_certificate(machine.chain[2]).fingerprint
    accepted = replace(
        policy(), machines=frozenset({machine.chip_id}), simulated_roots=SimulatedRoots(frozenset({root}))
    )
    assert judge(evidence(machine), accepted) == ["product"]
    named = replace(accepted, products=frozenset({Product.MILAN}))
    (check,) = (each for each in appraise(evidence(machine), named, NOW).checks if each.name == "product")
    assert check.outcome is Outcome.NOTED
    assert "arXiv 2605.12990" in check.found


def test_tee_fail_wiretap_battering_ram_need_a_named_machine() -> None:
    """Keys taken with an interposer are genuine: only the place they are in tells."""
    assert judge(evidence(), replace(policy(), machines=frozenset({bytes([1]) * 64}))) == ["machine"]


# 7.5: both vendors


def test_trustee_229_cvm_verdict_is_no_truthy_value() -> None:
    with pytest.raises(TypeError):
        bool(appraise(evidence(), policy(), NOW))


@pytest.mark.parametrize("chain", [(), guest().chain[:1], guest().chain[1:]])
def test_cvm_passes_where_the_vcek_is_missing(chain: tuple[bytes, ...]) -> None:
    verdict = appraise(replace(evidence(), chain=chain), policy(), NOW)
    assert verdict.refused
    signature = next(check for check in verdict.checks if check.name == "report signature")
    assert signature.outcome is Outcome.NOT_EVALUATED
    assert not signature.ok


def test_verdict_without_checks_is_refused() -> None:
    empty = replace(appraise(evidence(), policy(), NOW), checks=())
    assert empty.refused
    assert not empty.verified


def test_dstack_563_neunode_25_simulator_is_reached_by_no_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("SOTTOVOCE_SIMULATED", "SIMULATED", "TEE_SIMULATOR", "DSTACK_SIMULATOR_ENDPOINT"):
        monkeypatch.setenv(name, "1")
    assert "trust anchor" in judge(evidence(), default_policy())
    with pytest.raises(PolicyError):
        SimulatedRoots(
            frozenset({bytes.fromhex("429a69c9422aa258ee4d8db5fcda9c6470ef15f8cd5a9cebd6cbc7d90b863831")})
        )


@pytest.mark.parametrize("tee", ["", "snp", "SEV-SNP", "simulated", "amd"])
def test_cmcp_171_platform_is_no_free_text(tee: str) -> None:
    document = {**json.loads(evidence().encode()), "tee": tee}
    with pytest.raises(EvidenceError, match="expected the tee"):
        decode_evidence(json.dumps(document).encode())


def test_simulated_evidence_says_so() -> None:
    verdict = appraise(evidence(), policy(), NOW)
    assert (verdict.simulated, verdict.vendor_root.value) == (True, "simulated")


def test_dstack_566_567_evidence_is_bounded() -> None:
    with pytest.raises(EvidenceError, match="exceeds"):
        decode_evidence(b"{" + b" " * MAX_DOCUMENT_BYTES + b"}")
    with pytest.raises(EvidenceError):
        decode_evidence(b'{"v":' + b"[" * 20_000 + b"]" * 20_000 + b"}")
    long_chain = {**json.loads(evidence().encode()), "chain": ["AA=="] * 6}
    with pytest.raises(EvidenceError, match="1 to 5 certificates"):
        decode_evidence(json.dumps(long_chain).encode())


def test_attestation_rs_26_bytes_that_are_signed_are_the_bytes_that_are_read() -> None:
    spaced = CLAIMS.encode().replace(b",", b", ")
    assert json.loads(spaced) == json.loads(CLAIMS.encode())
    assert {"claims", "report data binding"} <= set(judge(replace(evidence(), claims=spaced)))


def test_cached_collateral_expires() -> None:
    caches = Caches()
    verify(evidence(), policy(), NOW, caches)
    lasting = evidence(claims=replace(CLAIMS, issued_at=NOW + 31 * DAY, expires_at=NOW + 31 * DAY + 600))
    with pytest.raises(Expired, match="revocation list age"):
        verify(lasting, policy(), NOW + 31 * DAY, caches)
