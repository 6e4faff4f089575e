# SPDX-License-Identifier: Apache-2.0
"""TDREPORT: what the TDX module gives a guest before a quote is made of it (attestation.md 4.3)."""

import hmac
from dataclasses import dataclass
from hashlib import sha256, sha384
from typing import Final

from attestation.simulated.td_quote import TdFields

TD_REPORT_SIZE: Final = 1024
# The layout of TEE_TCB_INFO that the module filled in, as a genuine module writes it.
_VALID: Final = bytes.fromhex("ff01030000000000")


@dataclass(frozen=True, slots=True)
class TdReport:
    """The report's fields, and the machine's key, which nobody outside the machine can check with."""

    td: TdFields
    cpu_svn: bytes
    mac_key: bytes

    def encode(self) -> bytes:
        """1,024 bytes: REPORTMACSTRUCT over the hashes of TEE_TCB_INFO and TD_INFO, and those two."""
        tcb_info, td_info = self._tcb_info(), self._td_info()
        # REPORTTYPE: type, subtype, version, reserved. Version 1 says that the hash of service TDs is in use.
        kind = bytes((0x81, 0, int(any(self.td.mrservicetd)), 0))
        hashes = sha384(tcb_info).digest() + sha384(td_info).digest()
        maced = kind + bytes(12) + self.cpu_svn + hashes + self.td.report_data + bytes(32)
        mac = hmac.digest(self.mac_key, maced, sha256)
        return maced + mac + tcb_info + bytes(17) + td_info

    def _tcb_info(self) -> bytes:
        td = self.td
        attributes = td.seam_attributes.to_bytes(8, "little")
        known = _VALID + td.tee_tcb_svn + td.mrseam + td.mrsignerseam + attributes + td.tee_tcb_svn2
        return known.ljust(239, b"\x00")

    def _td_info(self) -> bytes:
        td = self.td
        head = td.td_attributes.to_bytes(8, "little") + td.xfam.to_bytes(8, "little")
        registers = td.rtmr0 + td.rtmr1 + td.rtmr2 + td.rtmr3
        owner = td.mrconfigid + td.mrowner + td.mrownerconfig
        return (head + td.mrtd + owner + registers + td.mrservicetd).ljust(512, b"\x00")
