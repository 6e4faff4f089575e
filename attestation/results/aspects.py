# SPDX-License-Identifier: Apache-2.0
"""Which checks of attestation.md 7 speak of which aspect of trust, by their ids."""

from dataclasses import dataclass
from typing import Final

from attestation.results import trust
from attestation.results.trust import Aspect

APPRAISED: Final = (Aspect.CONFIGURATION, Aspect.EXECUTABLES, Aspect.HARDWARE, Aspect.RUNTIME_OPAQUE)

IDENTITY: Final = frozenset({"A14", "B11"})
DEBUG: Final = frozenset({"A3", "B2"})

CRYPTOGRAPHIC: Final = frozenset(
    {f"S{number}" for number in range(1, 13)}
    | {f"T{number}" for number in range(1, 9)}
    | {"A1", "B1"}
    | {f"N{number}" for number in range(1, 7)}
)
"""If one of these fails, the evidence proves nothing about anything."""

# What a failed check says, for those that say something about one aspect.
CONTRADICTIONS: Final = (
    (Aspect.EXECUTABLES, trust.UNRECOGNIZED_EXECUTABLES, frozenset({"A2", "B4", "B5"})),
    (Aspect.CONFIGURATION, trust.CONTRAINDICATED, frozenset({"A3", "A4", "A5", "A6", "A10", "A12", "A13"})),
    (Aspect.CONFIGURATION, trust.CONTRAINDICATED, frozenset({"B2", "B3", "B6", "B7", "B10"})),
    (Aspect.HARDWARE, trust.KNOWN_VULNERABILITIES, frozenset({"A7", "A9", "A11"})),
    (Aspect.HARDWARE, trust.KNOWN_VULNERABILITIES, frozenset({"T9", "T10", "T11", "T13", "T14", "B9"})),
    (Aspect.HARDWARE, trust.NOT_RECOGNIZED, frozenset({"T12", "B8"})),
    (Aspect.RUNTIME_OPAQUE, trust.CONTRAINDICATED, frozenset({"A3", "A4"})),
    (Aspect.INSTANCE_IDENTITY, trust.NOT_RECOGNIZED, IDENTITY),
)


@dataclass(frozen=True, slots=True)
class Foundation:
    """The checks that an affirmation rests on, for one kind of evidence. All must have passed."""

    tee: str
    aspect: Aspect
    value: int
    checks: frozenset[str]


_SNP: Final = frozenset({"S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "S11", "A1", "A7", "A9"})
_TDX: Final = frozenset({"T1", "T2", "T3", "T4", "T5", "T6", "T7", "T8", "T9", "T14", "B1", "B9"})

FOUNDATIONS: Final = (
    Foundation("sev-snp", Aspect.HARDWARE, trust.AFFIRMED, _SNP),
    Foundation("sev-snp", Aspect.EXECUTABLES, trust.BOOTED_AS_APPROVED, _SNP | {"A2"}),
    Foundation("sev-snp", Aspect.RUNTIME_OPAQUE, trust.AFFIRMED, _SNP | {"A3", "A4", "A5"}),
    Foundation("tdx", Aspect.HARDWARE, trust.AFFIRMED, _TDX),
    Foundation("tdx", Aspect.EXECUTABLES, trust.BOOTED_AS_APPROVED, _TDX | {"B4"}),
    Foundation("tdx", Aspect.RUNTIME_OPAQUE, trust.AFFIRMED, _TDX | {"B2"}),
)
