# SPDX-License-Identifier: Apache-2.0
"""The words of AR4SI (draft-ietf-rats-ar4si-10, section 2.3): aspects of trust, their values, and tiers."""

from enum import Enum, IntEnum
from typing import Final


class Aspect(IntEnum):
    """What a verifier makes a statement about. The number is the key in CBOR."""

    INSTANCE_IDENTITY = 0
    CONFIGURATION = 1
    EXECUTABLES = 2
    FILE_SYSTEM = 3
    HARDWARE = 4
    RUNTIME_OPAQUE = 5
    STORAGE_OPAQUE = 6
    SOURCED_DATA = 7


class Tier(IntEnum):
    """What a value amounts to. The number stands for the tier in CBOR."""

    NONE = 0
    AFFIRMING = 2
    WARNING = 32
    CONTRAINDICATED = 96


class DebugStatus(Enum):
    """The claim dbgstat of RFC 9711: text in JSON, an integer in CBOR. Only what can be concluded here."""

    ENABLED = ("enabled", 0)
    DISABLED_SINCE_BOOT = ("disabled-since-boot", 2)


# Values that are the same, or so near that one name serves, for every aspect.
NO_ASSERTION: Final = 0
AFFIRMED: Final = 2
CONTRAINDICATED: Final = 96
NOT_RECOGNIZED: Final = 97
CRYPTOGRAPHY_FAILED: Final = 99
# Values of one aspect each.
BOOTED_AS_APPROVED: Final = 3
"""executables: what was loaded at boot is recognized. Nothing is said of what was loaded afterwards."""
UNRECOGNIZED_EXECUTABLES: Final = 33
KNOWN_VULNERABILITIES: Final = 32

MIN_VALUE, MAX_VALUE = -128, 127


def tier(value: int) -> Tier:
    """The tier of a value from -128 to 127; negative ones are the non-standard reasons for the same tier."""
    if -1 <= value <= 1:
        return Tier.NONE
    magnitude = value if value > 0 else -value - 1
    if magnitude < 32:
        return Tier.AFFIRMING
    return Tier.WARNING if magnitude < 96 else Tier.CONTRAINDICATED
