# SPDX-License-Identifier: Apache-2.0
"""A genuine quote takes the same path as a simulated one, with Intel's own root.

The vectors are not part of the project: without the folder `../shared/vectors`, this test is skipped.
"""

from pathlib import Path

import pytest

from attestation.policy import default_policy, with_any_machine
from attestation.snp.case import NotCompared
from attestation.tdx_case import NoCollateral
from attestation.verdict import VendorRoot
from attestation.verify import verify_tdx_quote

QUOTES = Path(__file__).parents[4] / "shared" / "vectors" / "tdx" / "quotes"

pytestmark = pytest.mark.skipif(not QUOTES.is_dir(), reason="no genuine evidence in ../shared/vectors")


def test_genuine_quote_leads_to_intel() -> None:
    quote = (QUOTES / "tdx-v5-gotdx-v5.bin").read_bytes()
    at = 1_760_000_000
    verdict = verify_tdx_quote(
        quote,
        NoCollateral.NO_COLLATERAL,
        with_any_machine(default_policy()),
        at,
        NotCompared.NOT_COMPARED,
    )
    assert verdict.vendor_root is VendorRoot.INTEL
    assert not verdict.simulated
    assert verdict.refused
