# SPDX-License-Identifier: Apache-2.0
"""How the 64 bytes that hardware signs commit to keys and claims (wire.md 6.3)."""

from enum import IntEnum
from hashlib import sha256, sha384, sha512
from typing import Final, NewType

CONFIGURATION_LABEL: Final = b"A-OHTTP/1 config"
REPORT_DATA_LABEL: Final = b"A-OHTTP/1 report-data"
GPU_LABEL: Final = b"A-OHTTP/1 gpu"

CACHED: Final = 0
"""The mode in which evidence is made once per epoch and binds no client's nonce."""

NO_FRESHNESS: Final = bytes(32)
"""What stands for the Merkle root in cached mode."""

ConfigurationHash = NewType("ConfigurationHash", bytes)
"""T of wire.md 6.3: 48 bytes."""


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


def report_data(tee_octet: TeeOctet, mode: int, configuration: ConfigurationHash, freshness: bytes) -> bytes:
    """REPORT_DATA for T and R. In cached mode R is `NO_FRESHNESS`."""
    return sha512(REPORT_DATA_LABEL + bytes((0, tee_octet, mode)) + configuration + freshness).digest()


def gpu_nonce(configuration: ConfigurationHash) -> bytes:
    """The nonce of 32 bytes that a GPU beside this enclave has to answer, and no other has (X6)."""
    return sha256(GPU_LABEL + b"\x00" + configuration).digest()


def _with_length(content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + content
