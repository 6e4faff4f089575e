# SPDX-License-Identifier: Apache-2.0
"""No bit of a genuine quote or of its collateral can be changed unnoticed."""

from collections.abc import Iterator
from dataclasses import fields, replace

import pytest

from attestation.tdx.collateral import Collateral
from attestation.tdx.platform import VerifiedPlatforms
from attestation.tdx.policy import ReportDataExpectation
from attestation.tdx.quote import parse_quote
from attestation.tdx.rules import STRUCTURE, appraise_quote
from tests.unit.attestation.tdx.genuine import LENIENT, ROOTS, Case, case_of, collateral, needs_vectors, read

pytestmark = needs_vectors

SAMPLES = ("tdx-v4-dstack-quote-report", "tdx-v5-gotdx-v5", "tdx-v4-openpcc-gce")
ABOUT_PROOF = {rule.name for rule in STRUCTURE}


def unnoticed(quote: bytes, supplied: Collateral, now: int, platforms: VerifiedPlatforms) -> bool:
    checks, _ = appraise_quote(
        quote, supplied, LENIENT, ROOTS, ReportDataExpectation.NOT_COMPARED, now, platforms=platforms
    )
    return all(check.ok for check in checks if check.name in ABOUT_PROOF)


def flipped(data: bytes, bits: range) -> Iterator[tuple[int, bytes]]:
    """The data with one bit flipped, for each position in `bits`."""
    changed = bytearray(data)
    for position in bits:
        changed[position // 8] ^= 1 << position % 8
        yield position, bytes(changed)
        changed[position // 8] ^= 1 << position % 8


def one_of_each_byte(data: bytes) -> range:
    """One bit of each byte, another one in the next: 9 is 1 modulo 8."""
    return range(0, 8 * len(data), 9)


def genuine(case: Case, platforms: VerifiedPlatforms) -> tuple[bytes, Collateral]:
    quote, supplied = read(case.quote), collateral(case.collateral)
    assert unnoticed(quote, supplied, case.now, platforms)
    return quote, supplied


@pytest.mark.parametrize("name", SAMPLES)
def test_any_flipped_byte_of_a_quote_is_noticed(name: str) -> None:
    case, platforms = case_of(name), VerifiedPlatforms()
    quote, supplied = genuine(case, platforms)
    for start in (0, 4):
        for position, changed in flipped(quote, range(start, 8 * len(quote), 9)):
            assert not unnoticed(changed, supplied, case.now, platforms), f"bit {position}"


def test_any_flipped_bit_of_what_is_signed_is_noticed() -> None:
    case, platforms = case_of(SAMPLES[1]), VerifiedPlatforms()
    quote, supplied = genuine(case, platforms)
    end = len(parse_quote(quote).signed) + 4 + 128
    for position, changed in flipped(quote, range(8 * end)):
        assert not unnoticed(changed, supplied, case.now, platforms), f"bit {position}"


@pytest.mark.parametrize("part", [field.name for field in fields(Collateral)])
def test_any_flipped_byte_of_collateral_is_noticed(part: str) -> None:
    case, platforms = case_of(SAMPLES[1]), VerifiedPlatforms()
    quote, supplied = genuine(case, platforms)
    value: bytes | tuple[bytes, ...] = getattr(supplied, part)
    items = (value,) if isinstance(value, bytes) else value
    for index, item in enumerate(items):
        for position, changed in flipped(item, one_of_each_byte(item)):
            spoiled = with_part(
                supplied,
                part,
                changed if isinstance(value, bytes) else (*value[:index], changed, *value[index + 1 :]),
            )
            assert not unnoticed(quote, spoiled, case.now, platforms), f"bit {position} of {index}"


def with_part(supplied: Collateral, part: str, value: bytes | tuple[bytes, ...]) -> Collateral:
    if isinstance(value, bytes):
        return {
            "tcb_info": replace(supplied, tcb_info=value),
            "qe_identity": replace(supplied, qe_identity=value),
            "pck_crl": replace(supplied, pck_crl=value),
            "root_crl": replace(supplied, root_crl=value),
        }[part]
    return {
        "tcb_info_chain": replace(supplied, tcb_info_chain=value),
        "qe_identity_chain": replace(supplied, qe_identity_chain=value),
        "pck_crl_chain": replace(supplied, pck_crl_chain=value),
    }[part]
