# SPDX-License-Identifier: Apache-2.0
"""How the 64 bytes that hardware signs commit to keys and claims (wire.md 6.3)."""

from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256, sha384, sha512
from typing import Final, NewType

from wire import merkle

CONFIGURATION_LABEL: Final = b"A-OHTTP/1 config"
REPORT_DATA_LABEL: Final = b"A-OHTTP/1 report-data"
GPU_LABEL: Final = b"A-OHTTP/1 gpu"

CACHED: Final = 0
"""The mode in which evidence is made once per epoch and binds no client's nonce."""

FRESH: Final = 1
"""The mode in which evidence is made for a burst of session requests, each under its leaf of a tree."""

NO_FRESHNESS: Final = bytes(32)
"""What stands for the Merkle root in cached mode."""

ConfigurationHash = NewType("ConfigurationHash", bytes)
"""T of wire.md 6.3: 48 bytes."""


@dataclass(frozen=True, slots=True)
class Cached:
    """What evidence is wanted for: an epoch's keys, by any client."""

    mode = CACHED


@dataclass(frozen=True, slots=True)
class Fresh:
    """What evidence is wanted for: the one session request that this leaf is of."""

    leaf: merkle.Leaf
    mode = FRESH


Purpose = Cached | Fresh
FOR_ANY_CLIENT: Final = Cached()


def freshness(purpose: Purpose, index: int, path: tuple[bytes, ...]) -> bytes:
    """R: zeros, or the root that index and path lead to from the leaf. Raises merkle.MerkleError."""
    if isinstance(purpose, Cached):
        return NO_FRESHNESS
    return merkle.root_of(purpose.leaf, index, path)


class TeeOctet(IntEnum):
    """The kind of hardware, as report data names it. It follows from the chain's root, not the sender."""

    SEV_SNP = 1
    TDX = 2
    SIMULATED = 255


def configuration_hash(keys: bytes, claims: bytes) -> ConfigurationHash:
    """T: commits to the exact bytes of key list and claims, each with its length."""
    return ConfigurationHash(
        sha384(CONFIGURATION_LABEL + b"\x00" + _with_length(keys) + _with_length(claims)).digest()
    )


def report_data(tee_octet: TeeOctet, mode: int, configuration: ConfigurationHash, root: bytes) -> bytes:
    """REPORT_DATA for T and R. In cached mode R is `NO_FRESHNESS`, in fresh mode the root of the tree."""
    return sha512(REPORT_DATA_LABEL + bytes((0, tee_octet, mode)) + configuration + root).digest()


def gpu_nonce(configuration: ConfigurationHash) -> bytes:
    """The nonce of 32 bytes that a GPU beside this enclave has to answer, and no other has (X6)."""
    return sha256(GPU_LABEL + b"\x00" + configuration).digest()


def _with_length(content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + content
