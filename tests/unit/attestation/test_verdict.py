# SPDX-License-Identifier: Apache-2.0
"""Nothing short of every check passing counts as verified."""

import pytest

from attestation.policy import Measurement
from attestation.verdict import Check, VendorRoot, Verdict

PASSED = Check("one", ok=True, expected="this", found="this", why="because")
FAILED = Check("two", ok=False, expected="this", found="that", why="because")
SKIPPED = Check("three", ok=False, expected="this", found="not evaluated: no", why="because", evaluated=False)
INCONSISTENT = Check("four", ok=True, expected="this", found="", why="because", evaluated=False)


def verdict(*checks: Check) -> Verdict:
    return Verdict(checks, "sev-snp", VendorRoot.AMD, False, Measurement(b""), None)


def test_only_all_checks_together_verify() -> None:
    assert verdict(PASSED).verified
    for checks in ((), (FAILED,), (PASSED, FAILED), (PASSED, SKIPPED), (PASSED, INCONSISTENT)):
        assert not verdict(*checks).verified


def test_verdict_has_no_truth_value() -> None:
    with pytest.raises(TypeError, match="verified"):
        bool(verdict(PASSED))


def test_failures_that_were_seen_come_first() -> None:
    assert verdict(SKIPPED, PASSED, FAILED).failures == (FAILED, SKIPPED)


def test_details_say_what_a_reader_needs() -> None:
    assert PASSED.detail == "this"
    assert FAILED.detail == "expected this, found that"
