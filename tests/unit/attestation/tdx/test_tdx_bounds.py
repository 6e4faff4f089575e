# SPDX-License-Identifier: Apache-2.0
"""The last value that passes and the first that does not, for what has a bound in the checks of a quote."""

from dataclasses import replace

import pytest

from attestation.simulated.intel import TdxSetting
from attestation.simulated.window import Window
from attestation.tdx.certificates import parse_chain
from attestation.tdx.collateral import parse_qe_identity, parse_tcb_info
from attestation.tdx.p256 import parse_certificate, parse_revocation_list
from attestation.tdx.policy import TdxPolicy
from attestation.tdx.quote import TdAttributes, parse_quote
from attestation.tdx.rules import appraise_quote
from attestation.verdict import Check, Outcome
from tests.unit.attestation.tdx.simulated import (
    GOOD,
    NOW,
    POLICY,
    REPORT_DATA,
    ROOTS,
    collateral_of,
    failures,
    judge,
    quote_of,
    with_td,
)

QUOTE, COLLATERAL = quote_of(GOOD), collateral_of(GOOD)
# Nothing but the bound in question ends where it is looked at.
PATIENT = replace(POLICY, max_collateral_age_seconds=1 << 40)
SKEW = POLICY.clock_skew_seconds
FRESH = Window(start_days=0)


def passes(name: str, now: int, policy: TdxPolicy = PATIENT) -> bool:
    checks, _ = appraise_quote(QUOTE, COLLATERAL, policy, ROOTS, REPORT_DATA, now)
    return next(check.ok for check in checks if check.name == name)


def windows() -> list[tuple[str, int, int]]:
    """Each check about time, with its first and last good second."""
    own = [parse_certificate(certificate) for certificate in parse_quote(QUOTE).certificates]
    given = [
        parse_certificate(certificate)
        for chain in (COLLATERAL.tcb_info_chain, COLLATERAL.qe_identity_chain, COLLATERAL.pck_crl_chain)
        for certificate in chain
    ]
    lists = [parse_revocation_list(item) for item in (COLLATERAL.pck_crl, COLLATERAL.root_crl)]
    info, identity = parse_tcb_info(COLLATERAL.tcb_info), parse_qe_identity(COLLATERAL.qe_identity)
    return [
        *(
            (name, max(item.not_before for item in chain), min(item.not_after for item in chain))
            for name, chain in (("certificate validity", own), ("collateral certificate validity", given))
        ),
        (
            "revocation list age",
            max(item.this_update for item in lists) - SKEW,
            min(item.next_update for item in lists),
        ),
        ("tcb info age", info.issued_at - SKEW, info.next_update),
        ("qe identity age", identity.issued_at - SKEW, identity.next_update),
    ]


@pytest.mark.parametrize(("name", "first", "last"), windows())
def test_first_and_last_second(name: str, first: int, last: int) -> None:
    found = [passes(name, now) for now in (first - 1, first, NOW, last, last + 1)]
    assert found == [False, True, True, True, False]


@pytest.mark.parametrize(
    "setting",
    [replace(GOOD, root_crl_window=FRESH), replace(GOOD, pck_crl_window=FRESH)],
    ids=["root", "pck"],
)
def test_revocation_is_known_from_the_list_that_began_later(setting: TdxSetting) -> None:
    """One list is of this very second, the other a day older."""
    statements = collateral_of(setting)
    for now, good in ((NOW, True), (NOW - SKEW, True), (NOW - SKEW - 1, False)):
        checks, _ = appraise_quote(QUOTE, statements, PATIENT, ROOTS, REPORT_DATA, now)
        assert next(check.ok for check in checks if check.name == "revocation list age") is good


def test_collateral_has_an_age() -> None:
    issued = min(
        parse_tcb_info(COLLATERAL.tcb_info).issued_at, parse_qe_identity(COLLATERAL.qe_identity).issued_at
    )
    limited = replace(POLICY, max_collateral_age_seconds=NOW - issued)
    assert passes("collateral age", NOW, limited)
    assert not passes("collateral age", NOW + 1, limited)


def test_evaluation_data_number_has_a_floor() -> None:
    number = parse_tcb_info(COLLATERAL.tcb_info).evaluation_data_number
    for least, good in ((number - 1, True), (number, True), (number + 1, False)):
        policy = replace(POLICY, minimum_evaluation_data_number=least)
        assert passes("evaluation data number", NOW, policy) is good


@pytest.mark.parametrize(
    ("xfam", "good"),
    [
        (0x0, False),
        (0x1, False),
        (0x2, False),
        (0x3, True),
        (0xEDBE7, True),
        (0xEDBE4, False),
        (0xEDBEF, False),
        (0x1EDBE7, False),
    ],
)
def test_processor_states(xfam: int, *, good: bool) -> None:
    assert ("xfam" not in failures(with_td(xfam=xfam))) is good


def test_age_is_that_of_the_older_statement() -> None:
    info = parse_tcb_info(COLLATERAL.tcb_info)
    start = COLLATERAL.qe_identity.index(b'"issueDate":"') + len(b'"issueDate":"')
    older = COLLATERAL.qe_identity[:start] + b"2020" + COLLATERAL.qe_identity[start + 4 :]
    limited = replace(POLICY, max_collateral_age_seconds=NOW - info.issued_at)
    for statements, good in ((COLLATERAL, True), (replace(COLLATERAL, qe_identity=older), False)):
        checks, _ = appraise_quote(QUOTE, statements, limited, ROOTS, REPORT_DATA, NOW)
        assert next(check.ok for check in checks if check.name == "collateral age") is good


def check_of(setting: TdxSetting, policy: TdxPolicy, name: str) -> Check:
    return next(check for check in judge(setting, policy)[0] if check.name == name)


def test_what_is_allowed_against_advice_is_noted() -> None:
    debug = with_td(td_attributes=int(TdAttributes.DEBUG | TdAttributes.SEPT_VE_DISABLE))
    allowing = replace(POLICY, unsafe_allow_debug=True, allow_sept_ve_off=True)
    assert check_of(debug, allowing, "debug").outcome is Outcome.NOTED
    assert check_of(GOOD, allowing, "debug").outcome is Outcome.PASSED
    interruptible = with_td(td_attributes=0)
    assert check_of(interruptible, allowing, "sept ve disable").outcome is Outcome.NOTED
    assert check_of(GOOD, allowing, "sept ve disable").outcome is Outcome.PASSED


def test_measurement_shows_the_registers_that_were_compared() -> None:
    body = parse_quote(QUOTE).body
    registers = (f"RTMR{index} {body.rtmrs[index].hex()}" for index in range(3))
    assert check_of(GOOD, POLICY, "measurement").found == ", ".join((f"MRTD {body.mrtd.hex()}", *registers))


def test_last_register_is_judged_by_the_measurements_that_match() -> None:
    (known,) = POLICY.measurements
    other = replace(known, rtmr3=bytes([1]) * 48)
    nothing = replace(POLICY, measurements=frozenset({replace(known, mrtd=bytes(48))}))
    assert check_of(GOOD, nothing, "rtmr3").outcome is Outcome.NOT_EVALUATED
    assert check_of(GOOD, replace(POLICY, measurements=frozenset({known, other})), "rtmr3").ok
    assert not check_of(GOOD, replace(POLICY, measurements=frozenset({other})), "rtmr3").ok


def test_defaults_are_those_that_the_documents_explain() -> None:
    assert POLICY.minimum_evaluation_data_number == 21
    assert POLICY.max_collateral_age_seconds == 31 * 86400
    assert POLICY.clock_skew_seconds == 60
    assert POLICY.out_of_date_grace_days == 0
    assert POLICY.allowed_attributes == TdAttributes.LASS | TdAttributes.PKS | TdAttributes.KL


def test_numbers_of_a_platform_use_all_their_bytes() -> None:
    largest = replace(GOOD, platform=replace(GOOD.platform, components=b"\xff" * 16, pce_svn=0xFFFF))
    pck = parse_chain(parse_quote(quote_of(largest)).certificates).pck
    assert (pck.components, pck.pcesvn) == ((0xFF,) * 16, 0xFFFF)
