# SPDX-License-Identifier: Apache-2.0
"""The blob that Azure's paravisor leaves in NV index 0x01400001 of the virtual TPM (attestation.md 6).

Header, hardware report, request data and runtime data follow each other; all numbers are little-endian:

offset  size
     0    32  "HCLA", version, size up to the end of the runtime data, request type, status, 12 bytes of zero
    32  1184  the SNP report, or a TDREPORT of 1024 bytes and zeros
  1216    20  size from here to the end, version, report type, hash type, size of the runtime data
  1236     -  runtime data: JSON, then zeros
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from attestation.azure.tdreport import TDREPORT_SIZE
from attestation.snp.report import REPORT_SIZE

MAX_BLOB_BYTES: Final = 16 * 1024  # a genuine blob has 2600 bytes

SIGNATURE: Final = b"HCLA"
VERSIONS: Final = (1, 2)
ATTESTATION_REQUEST: Final = 2
REQUEST_VERSION: Final = 1
HASH_SHA256: Final = 1

_HEADER: Final = struct.Struct("<4sIIII12s")
_REQUEST: Final = struct.Struct("<IIIII")
REPORT_OFFSET: Final = _HEADER.size
REQUEST_OFFSET: Final = REPORT_OFFSET + REPORT_SIZE
RUNTIME_OFFSET: Final = REQUEST_OFFSET + _REQUEST.size


class HclError(Exception):
    """The bytes are no HCL blob of a known form."""


class Hardware(IntEnum):
    """Which kind of report the blob holds."""

    SEV_SNP = 2
    TDX = 4


_REPORT_SIZES: Final = {Hardware.SEV_SNP: REPORT_SIZE, Hardware.TDX: TDREPORT_SIZE}


@dataclass(frozen=True, slots=True)
class HclBlob:
    """The parts of a blob as exact bytes. Nothing here is verified yet."""

    version: int
    hardware: Hardware
    report: bytes
    runtime_data: bytes


def parse_hcl(data: bytes) -> HclBlob:
    """Read exactly one blob.

    1. The header is one of a known version, for an attestation that succeeded.
    2. The request data name a known kind of report, hashed with SHA-256.
    3. All sizes agree, and what no size covers is zero.
    """
    if not RUNTIME_OFFSET < len(data) <= MAX_BLOB_BYTES:
        raise HclError(
            f"expected a blob of {RUNTIME_OFFSET + 1} to {MAX_BLOB_BYTES} bytes, found {len(data)}"
        )
    # 1.
    version, size = _header(data)
    # 2.
    hardware, runtime_size = _request(data)
    # 3.
    end = RUNTIME_OFFSET + runtime_size
    if not RUNTIME_OFFSET < end <= len(data) or size != end:
        raise HclError(f"expected runtime data up to byte {size} of {len(data)}, found an end at {end}")
    report_end = REPORT_OFFSET + _REPORT_SIZES[hardware]
    if any(data[report_end:REQUEST_OFFSET]) or any(data[end:]):
        raise HclError("expected zero bytes after the hardware report and after the runtime data")
    return HclBlob(version, hardware, data[REPORT_OFFSET:report_end], data[RUNTIME_OFFSET:end])


def _header(data: bytes) -> tuple[int, int]:
    signature, version, size, request, status, reserved = _HEADER.unpack_from(data)
    if signature != SIGNATURE or version not in VERSIONS:
        raise HclError(f"expected a blob HCLA of version 1 or 2, found {signature!r} of version {version}")
    if request != ATTESTATION_REQUEST or status or any(reserved):
        raise HclError(f"expected request type 2 with status 0, found type {request} with status {status}")
    return version, size


def _request(data: bytes) -> tuple[Hardware, int]:
    size, version, report_type, hash_type, runtime_size = _REQUEST.unpack_from(data, REQUEST_OFFSET)
    if version != REQUEST_VERSION or hash_type != HASH_SHA256:
        raise HclError(
            f"expected request data of version 1 with hash 1 (SHA-256), found {version} with {hash_type}"
        )
    if report_type not in {known.value for known in Hardware}:
        raise HclError(f"expected a report of type 2 (SNP) or 4 (TDX), found {report_type}")
    if size != _REQUEST.size + runtime_size:
        raise HclError(f"expected request data of {_REQUEST.size + runtime_size} bytes, found {size}")
    return Hardware(report_type), runtime_size
