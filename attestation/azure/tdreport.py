# SPDX-License-Identifier: Apache-2.0
"""TDREPORT_STRUCT, the report that a TDX module makes for its own machine (attestation.md 4.3).

Its MAC can be checked on that machine alone. From afar, only a quote over the same values proves them;
`check_hashes` says whether the parts of a report belong together.
"""

from dataclasses import astuple, dataclass, field, fields, replace
from hashlib import sha384
from types import MappingProxyType
from typing import Final

from attestation.tdx.quote import TdBody

TDREPORT_SIZE: Final = 1024

# REPORTTYPE: type 0x81 (TDX), subtype 0, version 0, or 1 where service TDs count, and a reserved byte.
TYPES: Final = (bytes.fromhex("81000000"), bytes.fromhex("81000100"))

# Offset and size of what is reserved and must be zero.
RESERVED: Final = ((4, 12), (192, 32), (495, 17))

# Where each inner hash is, and where the part it covers begins and ends.
HASHES: Final = MappingProxyType({"TEE_TCB_INFO": (32, 256, 495), "TD_INFO": (80, 512, 1024)})

# Offset and size of each field that a quote repeats (attestation.md 4.1).
LAYOUT: Final = MappingProxyType(
    {
        "tee_tcb_svn": (264, 16),
        "mrseam": (280, 48),
        "mrsignerseam": (328, 48),
        "seam_attributes": (376, 8),
        "td_attributes": (512, 8),
        "xfam": (520, 8),
        "mrtd": (528, 48),
        "mrconfigid": (576, 48),
        "mrowner": (624, 48),
        "mrownerconfig": (672, 48),
        "rtmr0": (720, 48),
        "rtmr1": (768, 48),
        "rtmr2": (816, 48),
        "rtmr3": (864, 48),
        "report_data": (128, 64),
    }
)


class TdReportError(Exception):
    """The bytes are no TDREPORT of a known type, or its parts do not belong together."""


@dataclass(frozen=True, slots=True)
class TdReport:
    """What a TDREPORT says, in the words of a quote. Nothing here is verified yet."""

    body: TdBody
    encoded: bytes = field(repr=False)


def parse_tdreport(data: bytes) -> TdReport:
    """Read exactly one TDREPORT."""
    if len(data) != TDREPORT_SIZE:
        raise TdReportError(f"expected a TDREPORT of {TDREPORT_SIZE} bytes, found {len(data)}")
    if data[:4] not in TYPES:
        raise TdReportError(f"expected report type 81 of version 0 or 1, found {data[:4].hex()}")
    for offset, size in RESERVED:
        if any(data[offset : offset + size]):
            raise TdReportError(
                f"expected zero bytes at {offset}, found {data[offset : offset + size].hex()}"
            )
    part = {name: data[offset : offset + size] for name, (offset, size) in LAYOUT.items()}
    body = TdBody(
        tee_tcb_svn=part["tee_tcb_svn"],
        mrseam=part["mrseam"],
        mrsignerseam=part["mrsignerseam"],
        seam_attributes=part["seam_attributes"],
        td_attributes=part["td_attributes"],
        xfam=part["xfam"],
        mrtd=part["mrtd"],
        mrconfigid=part["mrconfigid"],
        mrowner=part["mrowner"],
        mrownerconfig=part["mrownerconfig"],
        rtmr0=part["rtmr0"],
        rtmr1=part["rtmr1"],
        rtmr2=part["rtmr2"],
        rtmr3=part["rtmr3"],
        report_data=part["report_data"],
    )
    return TdReport(body, data)


def check_hashes(report: TdReport) -> None:
    """Raise TdReportError unless both inner SHA-384 hashes are those of the parts they stand for."""
    for name, (place, begin, end) in HASHES.items():
        if report.encoded[place : place + 48] != sha384(report.encoded[begin:end]).digest():
            raise TdReportError(f"expected the SHA-384 of {name}, found another hash")


def differences(report: TdReport, quoted: TdBody) -> tuple[str, ...]:
    """The names of the fields that differ. What only newer quotes have is not in a TDREPORT of this form."""
    own, other = astuple(report.body), astuple(replace(quoted, td15=None, extended=None))
    names = (known.name for known in fields(TdBody))
    return tuple(name for name, left, right in zip(names, own, other, strict=True) if left != right)
