# SPDX-License-Identifier: Apache-2.0
"""The same verdicts as dcap-qvl, an independent verifier, wherever the two have the same rules."""

from pathlib import Path

import dcap_qvl
import pytest

from attestation.tdx.tcb import TcbStatus
from tests.unit.attestation.tdx.genuine import (
    Case,
    appraise,
    case_id,
    cases,
    collateral,
    needs_vectors,
    of_kind,
    read,
)

pytestmark = needs_vectors

ROOT = "tdx/roots/intel-sgx-root-ca.der"


@pytest.mark.parametrize("case", cases(), ids=case_id)
def test_same_status_and_advisories(case: Case) -> None:
    """The oracle refuses debug and SEPT_VE off before it looks at the TCB, and a bound service TD."""
    _, result = appraise(read(case.quote), collateral(case.collateral), case.now)
    assert result is not None
    oracle = dcap_qvl.QuoteCollateralV3.from_json(read(case.collateral).decode())
    try:
        verified = dcap_qvl.verify_with_root_ca(read(case.quote), oracle, read(ROOT), case.now)
    except ValueError as error:
        refusal = str(error)
    else:
        assert result.status.value == verified.status
        assert list(result.advisory_ids) == sorted(verified.advisory_ids)
        return
    if "No matching TCB level" in refusal:
        assert result.status is TcbStatus.NOT_SUPPORTED
    else:
        assert any(words in refusal for words in ("Debug mode", "SEPT_VE_DISABLE"))


def test_same_outcome_for_every_pair_of_quote_and_collateral() -> None:
    """Also where they do not belong together: both refuse."""
    supplied = [row["file"] for row in of_kind("dcap-collateral") if "-tdx-" in row["file"]]
    times = {case.collateral: case.now for case in cases()}
    for quote in {case.quote for case in cases()}:
        for file in supplied:
            agree(quote, file, times[file])


def agree(quote: str, file: str, now: int) -> None:
    checks, result = appraise(read(quote), collateral(file), now)
    about_us = {
        "report data",
        "measurement",
        "rtmr3",
        "tcb status",
        "mrconfigid",
        "service td",
        "tdx module level",
    }
    ours = all(check.ok for check in checks if check.name not in about_us)
    oracle = dcap_qvl.QuoteCollateralV3.from_json(read(file).decode())
    try:
        status = dcap_qvl.verify_with_root_ca(read(quote), oracle, read(ROOT), now).status
    except ValueError:
        assert not ours, f"{Path(quote).name} with {Path(file).name}"
        return
    assert result is not None
    assert ours, f"{Path(quote).name} with {Path(file).name}"
    assert result.status.value == status
