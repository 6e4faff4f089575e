# SPDX-License-Identifier: Apache-2.0
"""What was proven is kept by its bytes alone: dates, roots and policy are checked at every use."""

from dataclasses import replace

import pytest

from attestation.settings import AnyValue
from attestation.simulated.tdx_knobs import TDX_KNOBS
from attestation.simulated.window import DAY
from attestation.tdx import p256
from attestation.tdx.collateral import Collateral, TcbStatus
from attestation.tdx.platform import VerifiedPlatforms
from attestation.tdx.policy import TdMeasurement, TdxPolicy, TdxPolicyError, default_policy
from attestation.tdx.quote import TdAttributes
from attestation.tdx.rules import appraise_quote
from attestation.x509 import CertificateError
from tests.unit.attestation.tdx.simulated import (
    GOOD,
    GOOD_TD,
    NOW,
    POLICY,
    REPORT_DATA,
    ROOTS,
    collateral_of,
    quote_of,
)

QUOTE, COLLATERAL = quote_of(GOOD), collateral_of(GOOD)


def failed(
    platforms: VerifiedPlatforms,
    quote: bytes = QUOTE,
    collateral: Collateral = COLLATERAL,
    policy: TdxPolicy = POLICY,
    roots: frozenset[bytes] = ROOTS,
    now: int = NOW,
) -> set[str]:
    checks, _ = appraise_quote(quote, collateral, policy, roots, REPORT_DATA, now, platforms=platforms)
    return {check.name for check in checks if not check.ok}


def test_proof_is_kept_once() -> None:
    platforms = VerifiedPlatforms()
    for _ in range(2):
        assert failed(platforms) == set()
        assert len(platforms) == 1


def test_kept_proof_does_not_keep_time_or_policy() -> None:
    platforms = VerifiedPlatforms()
    assert failed(platforms) == set()
    later = NOW + 40 * DAY
    assert {"tcb info age", "qe identity age", "revocation list age"} <= failed(platforms, now=later)
    assert {"certificate validity"} <= failed(platforms, now=NOW + 30 * 365 * DAY)
    assert failed(platforms, roots=frozenset()) == {"trust anchor"}
    assert failed(platforms, policy=replace(POLICY, ppids=frozenset())) == {"ppid"}


def test_kept_proof_does_not_cover_another_quote() -> None:
    platforms = VerifiedPlatforms()
    assert failed(platforms) == set()
    spoiled = bytearray(QUOTE)
    spoiled[200] ^= 1
    assert "quote signature" in failed(platforms, quote=bytes(spoiled))


@pytest.mark.parametrize("name", ["key-swap", "qe-signature", "wrong-root-of-chain"])
def test_forged_quote_of_a_kept_platform_is_refused(name: str) -> None:
    platforms = VerifiedPlatforms()
    assert failed(platforms) == set()
    assert failed(platforms, quote=quote_of(TDX_KNOBS[name].change(GOOD)))
    assert len(platforms) == 1


def test_other_collateral_is_proven_anew() -> None:
    platforms = VerifiedPlatforms()
    assert failed(platforms) == set()
    revoked = collateral_of(TDX_KNOBS["revoked-pck"].change(GOOD))
    assert failed(platforms, collateral=revoked) == {"revocation"}
    assert len(platforms) == 1


def test_number_of_kept_platforms_is_bounded() -> None:
    platforms = VerifiedPlatforms(capacity=2)
    for ppid in (b"\x01", b"\x02", b"\x03"):
        machine = replace(GOOD, platform=replace(GOOD.platform, ppid=ppid * 16))
        assert failed(platforms, quote=quote_of(machine)) == set()
    assert len(platforms) == 2


def test_refused_signature_is_never_remembered_as_right() -> None:
    root = p256.parse_certificate(GOOD_TD.root)
    spoiled = replace(root.signed, content=root.signed.content + b"\x00")
    for _ in range(2):
        with pytest.raises(CertificateError, match="not by"):
            p256.check_signed_by(spoiled, root)


def test_default_policy_accepts_nothing() -> None:
    checks, _ = appraise_quote(QUOTE, COLLATERAL, default_policy(), ROOTS, REPORT_DATA, NOW)
    assert {check.name for check in checks if not check.ok} == {"measurement", "rtmr3", "fmspc", "ppid"}


def test_policy_cannot_accept_what_is_revoked_or_unknown() -> None:
    for status in (TcbStatus.REVOKED, TcbStatus.NOT_SUPPORTED):
        with pytest.raises(TdxPolicyError, match="cannot be accepted"):
            replace(POLICY, accepted_statuses=frozenset({status}))


@pytest.mark.parametrize("bit", [TdAttributes.DEBUG, TdAttributes.MIGRATABLE, TdAttributes.SEPT_VE_DISABLE])
def test_policy_cannot_allow_governed_attributes(bit: TdAttributes) -> None:
    with pytest.raises(TdxPolicyError, match="not among"):
        replace(POLICY, allowed_attributes=bit)


def test_policy_refuses_values_that_never_match() -> None:
    with pytest.raises(TdxPolicyError, match="FMSPC of 6 bytes, found 5"):
        replace(POLICY, fmspcs=frozenset({bytes(5)}))
    with pytest.raises(TdxPolicyError, match="XFAM of 8 bytes"):
        replace(POLICY, xfam=bytes(4))
    with pytest.raises(TdxPolicyError, match="measurement of 48 bytes"):
        TdMeasurement(bytes(47), AnyValue.ANY, AnyValue.ANY, AnyValue.ANY)
