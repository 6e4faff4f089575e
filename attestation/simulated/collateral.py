# SPDX-License-Identifier: Apache-2.0
"""What Intel publishes on platforms and quoting enclaves, as JSON with every status (attestation.md 5)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final, TypeAlias

from attestation.simulated.pck import Platform
from attestation.simulated.td_quote import QeFields
from attestation.simulated.window import CURRENT, Window

Json: TypeAlias = "int | str | list[Json] | Mapping[str, Json]"

EVALUATION_DATA_NUMBER: Final = 21
STALE_EVALUATION_DATA_NUMBER: Final = 15
_ZERO_ATTRIBUTES: Final = "0000000000000000"
_ALL_ATTRIBUTES: Final = "FFFFFFFFFFFFFFFF"


class Status(Enum):
    """What the TCB algorithm says of a platform. The last three are in no level: they are its conclusions."""

    UP_TO_DATE = "UpToDate"
    SW_HARDENING_NEEDED = "SWHardeningNeeded"
    CONFIGURATION_NEEDED = "ConfigurationNeeded"
    CONFIGURATION_AND_SW_HARDENING_NEEDED = "ConfigurationAndSWHardeningNeeded"
    OUT_OF_DATE = "OutOfDate"
    OUT_OF_DATE_CONFIGURATION_NEEDED = "OutOfDateConfigurationNeeded"
    REVOKED = "Revoked"
    NOT_SUPPORTED = "TcbNotSupported"
    TD_RELAUNCH_ADVISED = "TDRelaunchAdvised"
    TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED = "TDRelaunchAdvisedConfigurationNeeded"


@dataclass(frozen=True, slots=True)
class Level:
    """A TCB level: least early microcode and late TDX microcode, and the status of what reaches both."""

    early_microcode: int
    tdx_microcode: int
    status: Status
    advisories: tuple[str, ...] = ()
    date: str = "2026-05-13T00:00:00Z"

    def encode(self) -> Json:
        """The level as in TCB info; the remaining components are those of every simulated platform."""
        sgx = bytes((self.early_microcode,)) + Platform().components[1:]
        tdx = bytes((5, 0, self.tdx_microcode)).ljust(16, b"\x00")
        tcb: Mapping[str, Json] = {
            "sgxtcbcomponents": [{"svn": svn} for svn in sgx],
            "pcesvn": Platform().pce_svn,
            "tdxtcbcomponents": [{"svn": svn} for svn in tdx],
        }
        return _level(tcb, self.status, self.advisories, self.date)


# One level per status, best first, each reached by one step less of early microcode. The two that a relaunch
# can cure ask for less TDX microcode too, so that a trust domain started before an update falls to them.
LEVELS: Final = (
    Level(9, 3, Status.UP_TO_DATE),
    Level(8, 3, Status.SW_HARDENING_NEEDED, ("INTEL-SA-00615",)),
    Level(7, 3, Status.CONFIGURATION_NEEDED, ("INTEL-SA-00657",)),
    Level(6, 3, Status.CONFIGURATION_AND_SW_HARDENING_NEEDED, ("INTEL-SA-00657", "INTEL-SA-00615")),
    Level(5, 2, Status.OUT_OF_DATE, ("INTEL-SA-00837",), "2024-11-13T00:00:00Z"),
    Level(4, 1, Status.OUT_OF_DATE_CONFIGURATION_NEEDED, ("INTEL-SA-00960",), "2023-08-09T00:00:00Z"),
    Level(3, 0, Status.REVOKED, ("INTEL-SA-00001",), "2018-01-04T00:00:00Z"),
)
UNSUPPORTED_MICROCODE: Final = 2


@dataclass(frozen=True, slots=True)
class TcbInfo:
    """Intel's statement on platforms of one FMSPC."""

    window: Window = CURRENT
    identity: str = "TDX"
    version: int = 3
    fmspc: bytes = Platform().fmspc
    pce_id: bytes = Platform().pce_id
    evaluation_data_number: int = EVALUATION_DATA_NUMBER
    module_signer: bytes = bytes(48)
    module_identities: tuple[str, ...] = ("TDX_01", "TDX_03")
    levels: tuple[Level, ...] = LEVELS

    def encode(self, at: int) -> bytes:
        """The exact bytes that are signed."""
        module: Mapping[str, Json] = {
            "mrsigner": self.module_signer.hex().upper(),
            "attributes": _ZERO_ATTRIBUTES,
            "attributesMask": _ALL_ATTRIBUTES,
        }
        issued, next_update = self.window.around(at)
        return _compact(
            {
                "id": self.identity,
                "version": self.version,
                "issueDate": _stamp(issued),
                "nextUpdate": _stamp(next_update),
                "fmspc": self.fmspc.hex(),
                "pceId": self.pce_id.hex(),
                "tcbType": 0,
                "tcbEvaluationDataNumber": self.evaluation_data_number,
                "tdxModule": module,
                "tdxModuleIdentities": [
                    {"id": identity, **module, "tcbLevels": _svn_levels(5, 3)}
                    for identity in self.module_identities
                ],
                "tcbLevels": [level.encode() for level in self.levels],
            }
        )


@dataclass(frozen=True, slots=True)
class QeIdentity:
    """Intel's statement on its quoting enclaves."""

    window: Window = CURRENT
    identity: str = "TD_QE"
    evaluation_data_number: int = EVALUATION_DATA_NUMBER
    mrsigner: bytes = QeFields().mrsigner
    product_id: int = QeFields().product_id

    def encode(self, at: int) -> bytes:
        """The exact bytes that are signed."""
        issued, next_update = self.window.around(at)
        return _compact(
            {
                "id": self.identity,
                "version": 2,
                "issueDate": _stamp(issued),
                "nextUpdate": _stamp(next_update),
                "tcbEvaluationDataNumber": self.evaluation_data_number,
                "miscselect": "00000000",
                "miscselectMask": "FFFFFFFF",
                "attributes": "11000000000000000000000000000000",
                "attributesMask": "FBFFFFFFFFFFFFFF0000000000000000",
                "mrsigner": self.mrsigner.hex().upper(),
                "isvprodid": self.product_id,
                "tcbLevels": _svn_levels(8, 6),
            }
        )


@dataclass(frozen=True, slots=True)
class Collateral:
    """Everything needed to judge a quote offline. `encode` is the JSON form that dcap-qvl reads too."""

    pck_crl_issuer_chain: str
    root_ca_crl: bytes
    pck_crl: bytes
    tcb_info_issuer_chain: str
    tcb_info: bytes
    tcb_info_signature: bytes
    qe_identity_issuer_chain: str
    qe_identity: bytes
    qe_identity_signature: bytes

    def encode(self) -> bytes:
        """JSON: chains as PEM, lists and signatures in hexadecimal, statements as their exact text."""
        members: Mapping[str, Json] = {
            "pck_crl_issuer_chain": self.pck_crl_issuer_chain,
            "root_ca_crl": self.root_ca_crl.hex(),
            "pck_crl": self.pck_crl.hex(),
            "tcb_info_issuer_chain": self.tcb_info_issuer_chain,
            "tcb_info": self.tcb_info.decode("ascii"),
            "tcb_info_signature": self.tcb_info_signature.hex(),
            "qe_identity_issuer_chain": self.qe_identity_issuer_chain,
            "qe_identity": self.qe_identity.decode("ascii"),
            "qe_identity_signature": self.qe_identity_signature.hex(),
        }
        return json.dumps(members, indent=1).encode("ascii") + b"\n"


def _svn_levels(current: int, outdated: int) -> list[Json]:
    """Levels of a module or enclave by its security version; 1 is revoked, and 0 below every level."""
    return [
        _level({"isvsvn": current}, Status.UP_TO_DATE, (), "2026-05-13T00:00:00Z"),
        _level({"isvsvn": outdated}, Status.OUT_OF_DATE, ("INTEL-SA-01036",), "2024-03-13T00:00:00Z"),
        _level({"isvsvn": 1}, Status.REVOKED, ("INTEL-SA-01099",), "2023-08-09T00:00:00Z"),
    ]


def _level(tcb: Mapping[str, Json], status: Status, advisories: tuple[str, ...], date: str) -> Json:
    level: dict[str, Json] = {"tcb": tcb, "tcbDate": date, "tcbStatus": status.value}
    if advisories:
        level["advisoryIDs"] = list(advisories)
    return level


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _compact(members: Mapping[str, Json]) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode("ascii")
