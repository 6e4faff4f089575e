# SPDX-License-Identifier: Apache-2.0
"""The genuine quotes, collateral and logs beside the checkout, and the index that says what is right."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NotRequired, TypedDict

import pytest

from attestation.settings import AnyValue
from attestation.tdx.certificates import INTEL_ROOT
from attestation.tdx.collateral import Collateral, decode_collateral
from attestation.tdx.policy import ReportDataExpectation, TdxPolicy
from attestation.tdx.rules import TDX_CHECKS, appraise_quote
from attestation.tdx.tcb import TcbResult
from attestation.verdict import Check

VECTORS = Path(__file__).parents[5] / "shared" / "vectors"
ABSENT = "the genuine vectors are not beside this checkout"
ROOTS = frozenset({INTEL_ROOT})
NOT_SUPPORTED = "ERR TCB_NOT_SUPPORTED (no SGX level)"

needs_vectors = pytest.mark.skipif(not VECTORS.is_dir(), reason=ABSENT)

# Accepts any machine, and collateral of any age: what is left are the quote's own properties.
LENIENT = TdxPolicy(
    measurements=frozenset(), fmspcs=AnyValue.ANY, ppids=AnyValue.ANY, minimum_evaluation_data_number=0
)
UNKNOWN_CODE = {"report data", "measurement", "rtmr3"}


class Pck(TypedDict):
    ppid: str
    pceid: str
    fmspc: str
    sgx_type: int
    platform_instance_id: str
    cpusvn: list[int]
    pcesvn: int
    cpusvn_raw: str
    dynamic_platform: bool
    cached_keys: bool
    smt: bool


class Evaluation(TypedDict):
    collateral: str
    as_of_unix: int
    expected_tcb_status: str
    expected_advisories: list[str]


class Expect(TypedDict):
    """What a row can say; which of it depends on its kind."""

    pck: Pck
    pck_serial: str
    pck_validity: list[str]
    pck_issuer: str
    quote_len: int
    tcb_evaluations: list[Evaluation]
    version: int
    body_type: int
    body_size: int
    certification_data_type: int
    spki_sha256: str
    not_before: str
    not_after: str
    serial: str
    public_key_hex: str
    fmspc: str
    tcb_evaluation_data_number: int
    qe_evaluation_data_number: int
    tcb_issue: str
    tcb_next_update: str
    qe_issue: str
    qe_next_update: str
    pck_crl_next_update: str
    root_crl_next_update: str
    all_valid_from: str
    all_valid_to: str
    events: int
    replayed: dict[str, str]
    quote: NotRequired[str]
    match: dict[str, bool]
    collateral: str
    as_of_unix: int
    measured: dict[str, bool]


class Row(TypedDict):
    file: str
    kind: str
    expect: Expect


@dataclass(frozen=True)
class Case:
    """A quote with collateral at one time, and what a right verifier says."""

    quote: str
    collateral: str
    now: int
    status: str
    advisories: tuple[str, ...]


def read(file: str) -> bytes:
    return (VECTORS / file).read_bytes()


@cache
def rows() -> tuple[Row, ...]:
    if not VECTORS.is_dir():
        return ()
    files: list[Row] = json.loads(read("INDEX.json"))["files"]
    return tuple(row for row in files if row["file"].startswith("tdx/"))


def of_kind(*kinds: str) -> list[Row]:
    return [row for row in rows() if row["kind"] in kinds]


def row_id(row: Row) -> str:
    return Path(row["file"]).stem


@cache
def collateral(file: str) -> Collateral:
    return decode_collateral(read(file))


def cases() -> list[Case]:
    return [
        Case(
            row["file"],
            evaluation["collateral"],
            evaluation["as_of_unix"],
            evaluation["expected_tcb_status"],
            tuple(sorted(evaluation["expected_advisories"])),
        )
        for row in of_kind("tdx-quote")
        for evaluation in row["expect"]["tcb_evaluations"]
    ]


def case_id(case: Case) -> str:
    return f"{Path(case.quote).stem}-{case.collateral[-28:-14]}"


def case_of(name: str) -> Case:
    """The latest case of one quote."""
    return [case for case in cases() if Path(case.quote).stem == name][-1]


def appraise(
    quote: bytes, supplied: Collateral | None, now: int, policy: TdxPolicy = LENIENT
) -> tuple[tuple[Check, ...], TcbResult | None]:
    return appraise_quote(quote, supplied, policy, ROOTS, ReportDataExpectation.NOT_COMPARED, now)


def failures(checks: tuple[Check, ...]) -> set[str]:
    assert [check.name for check in checks] == [rule.name for rule in TDX_CHECKS]
    return {check.name for check in checks if not check.ok}
