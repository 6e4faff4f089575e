# SPDX-License-Identifier: Apache-2.0
"""What a verifier of TDX quotes accepts (attestation.md 7.4 and 8).

What is not named is refused, an empty set accepts nothing, and "any" is an explicit value. The defaults are
the strict ones; what genuine clouds need beyond them is one setting each.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from attestation.settings import AnyValue
from attestation.tdx.certificates import PlatformFlag
from attestation.tdx.collateral import TcbStatus
from attestation.tdx.quote import TdAttributes

DIGEST_SIZE: Final = 48
FMSPC_SIZE: Final = 6
PPID_SIZE: Final = 16
ZERO_DIGEST: Final = bytes(DIGEST_SIZE)

# As of 2026-10: the number of the collateral that Intel served in July 2026 (attestation.md 5). An older one
# was superseded by a TCB recovery, and a host could ask for it to hide that its machine missed it.
DEFAULT_MINIMUM_EVALUATION_DATA_NUMBER: Final = 21
# Intel's collateral is valid for 30 days.
DEFAULT_MAX_COLLATERAL_AGE_SECONDS: Final = 31 * 24 * 3600
DEFAULT_CLOCK_SKEW_SECONDS: Final = 60

NEVER_ACCEPTED: Final = frozenset({TcbStatus.REVOKED, TcbStatus.NOT_SUPPORTED})
# What a TD may use without its host gaining anything by it.
DEFAULT_ATTRIBUTES: Final = TdAttributes.LASS | TdAttributes.PKS | TdAttributes.KL
# Attributes that only a setting of their own allows, or none.
GOVERNED_ATTRIBUTES: Final = TdAttributes.DEBUG | TdAttributes.SEPT_VE_DISABLE | TdAttributes.MIGRATABLE


class TdxPolicyError(Exception):
    """A policy's values contradict what it may say."""


class ReportDataExpectation(Enum):
    """What to say about report data where there is no value to compare with."""

    NOT_COMPARED = "not compared"
    """Somebody else's quote: the check is reported as failed, because nothing shows what the quote is for."""


@dataclass(frozen=True, slots=True)
class TdMeasurement:
    """The code of a TD. MRTD covers the firmware alone: kernel and command line are in RTMR1 and 2."""

    mrtd: bytes
    rtmr0: bytes | AnyValue
    rtmr1: bytes | AnyValue
    rtmr2: bytes | AnyValue
    rtmr3: bytes | AnyValue = ZERO_DIGEST

    def __post_init__(self) -> None:
        """Refuse what is no SHA-384 digest."""
        for value in (self.mrtd, self.rtmr0, self.rtmr1, self.rtmr2, self.rtmr3):
            if isinstance(value, bytes):
                _check_size(value, DIGEST_SIZE, "measurement")


@dataclass(frozen=True, slots=True)
class TdxPolicy:
    """What a verifier accepts. The three required fields say what it expects to find, and where."""

    measurements: frozenset[TdMeasurement]
    fmspcs: frozenset[bytes] | AnyValue
    ppids: frozenset[bytes] | AnyValue
    accepted_statuses: frozenset[TcbStatus] = frozenset({TcbStatus.UP_TO_DATE})
    tolerated_advisories: frozenset[str] = frozenset()
    out_of_date_grace_days: int = 0
    minimum_evaluation_data_number: int = DEFAULT_MINIMUM_EVALUATION_DATA_NUMBER
    max_collateral_age_seconds: int = DEFAULT_MAX_COLLATERAL_AGE_SECONDS
    clock_skew_seconds: int = DEFAULT_CLOCK_SKEW_SECONDS
    allowed_attributes: TdAttributes = DEFAULT_ATTRIBUTES
    allow_sept_ve_off: bool = False
    allowed_service_tds: frozenset[bytes] = frozenset()
    mrconfigids: frozenset[bytes] | AnyValue = frozenset({ZERO_DIGEST})
    mrowners: frozenset[bytes] | AnyValue = frozenset({ZERO_DIGEST})
    mrownerconfigs: frozenset[bytes] | AnyValue = frozenset({ZERO_DIGEST})
    xfam: bytes | AnyValue = AnyValue.ANY
    mrseams: frozenset[bytes] | AnyValue = AnyValue.ANY
    platform_flags: frozenset[PlatformFlag] = frozenset(PlatformFlag)
    unsafe_allow_debug: bool = False

    def __post_init__(self) -> None:
        """Refuse values that could never match, and allowances that do not exist."""
        if self.accepted_statuses & NEVER_ACCEPTED:
            raise TdxPolicyError("a revoked or unsupported TCB cannot be accepted")
        if self.allowed_attributes & GOVERNED_ATTRIBUTES:
            raise TdxPolicyError("debug, migration and SEPT_VE_DISABLE are not among the allowed attributes")
        for values, size, name in (
            (self.fmspcs, FMSPC_SIZE, "FMSPC"),
            (self.ppids, PPID_SIZE, "PPID"),
            (self.allowed_service_tds, DIGEST_SIZE, "service TD"),
            (self.mrconfigids, DIGEST_SIZE, "MRCONFIGID"),
            (self.mrowners, DIGEST_SIZE, "MROWNER"),
            (self.mrownerconfigs, DIGEST_SIZE, "MROWNERCONFIG"),
            (self.mrseams, DIGEST_SIZE, "MRSEAM"),
        ):
            _check_sizes(values, size, name)
        if isinstance(self.xfam, bytes):
            _check_size(self.xfam, 8, "XFAM")


def default_policy() -> TdxPolicy:
    """Refuses everything until told what to expect."""
    return TdxPolicy(measurements=frozenset(), fmspcs=frozenset(), ppids=frozenset())


def _check_sizes(values: frozenset[bytes] | AnyValue, size: int, name: str) -> None:
    for value in values if isinstance(values, frozenset) else ():
        _check_size(value, size, name)


def _check_size(value: bytes, size: int, name: str) -> None:
    if len(value) != size:
        raise TdxPolicyError(f"expected a {name} of {size} bytes, found {len(value)}")
