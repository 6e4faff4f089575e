# SPDX-License-Identifier: Apache-2.0
"""What a host or an attacker can do to evidence, and the check that stops it (docs/threat-model.md, wire.md 5)."""

from dataclasses import replace

import pytest

from attestation.binding import TeeOctet
from attestation.evidence import Evidence, EvidenceError, decode_evidence
from attestation.policy import SimulatedRoots, TcbFloors, default_policy
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


@pytest.mark.parametrize("ending", [b"\x00", b"\n", b"}", b"{}"])
def test_host_appends_bytes_to_the_document(ending: bytes) -> None:
    document = evidence().encode()
    assert decode_evidence(document) == evidence() or len(document) == len(evidence().encode())
    with pytest.raises(EvidenceError):
        decode_evidence(document + ending)


def test_attacker_brings_a_perfect_chain_under_a_root_of_their_own() -> None:
    forged = evidence(guest("attacker"))
    verdict = appraise(forged, policy(), NOW)
    assert failed(verdict) == ["trust anchor", "chip identity"][:1] + ["machine"]
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


PLATFORM = {
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
