# SPDX-License-Identifier: Apache-2.0
"""What this machine offers, why each path can or cannot give evidence, and which one to use.

The kernel decides, never a setting: paths come from the caller and from nowhere else.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from attestation.collect import configfs, quoting_service, sev_guest, tdx_guest
from attestation.collect.configfs import Configfs, Question
from attestation.collect.device import OpenDevice, open_device
from attestation.collect.errors import CollectError, Meanings, UnavailableError, explain
from attestation.collect.files import Files, SystemFiles
from attestation.collect.own_report import Collected, Kind
from attestation.collect.patience import Patience
from attestation.collect.quoting_service import Connect, QuotingService
from attestation.collect.sev_guest import SevGuest
from attestation.collect.tdx_guest import TdxGuest

DEFAULT_TPM: Final = Path("/dev/tpmrm0")
VSOCK: Final = Path("/dev/vsock")
DMI: Final = Path("/sys/class/dmi/id")
EVENT_LOG: Final = Path("/sys/firmware/acpi/tables/data/CCEL")
# What firmware says on Google's machines, and on Microsoft's (the tag spells "MSFT AZURE VM").
GOOGLE: Final = (DMI / "product_name", "Google Compute Engine")
MICROSOFT: Final = (DMI / "chassis_asset_tag", "7783-7084-3265-9085-8269-3286-77")
MAX_DMI_BYTES: Final = 256

Collect = Callable[[bytes], Collected]
"""Collects evidence for 64 bytes of report data. Raises CollectError."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where to look, and with what. The defaults are this machine."""

    files: Files = field(default_factory=SystemFiles)
    open_device: OpenDevice = field(default=open_device)
    connect: Connect = field(default=quoting_service.connect_vsock)
    patience: Patience = field(default_factory=Patience)
    configfs_root: Path = configfs.DEFAULT_ROOT
    sev_guest: Path = sev_guest.DEFAULT_PATH
    tdx_guest: Path = tdx_guest.DEFAULT_PATH
    tpm: Path = DEFAULT_TPM


@dataclass(frozen=True, slots=True)
class Offer:
    """One path to evidence. `collect` is there where the path can be tried.

    `paths` are what collecting opens, each time anew; with `over_vsock` it asks the host as well.
    """

    name: str
    kind: Kind | None
    explanation: str
    collect: Collect | None = field(default=None, repr=False)
    paths: tuple[Path, ...] = ()
    over_vsock: bool = False


@dataclass(frozen=True, slots=True)
class Survey:
    """Every path, the preferred first."""

    offers: tuple[Offer, ...]

    @property
    def chosen(self) -> Offer | None:
        """The first path that can be tried."""
        return next((offer for offer in self.offers if offer.collect), None)

    def need(self) -> Offer:
        """The chosen path. Raises UnavailableError where there is none, with the reasons."""
        if (chosen := self.chosen) is None:
            reasons = "; ".join(f"{offer.name}: {offer.explanation}" for offer in self.offers)
            raise UnavailableError(f"this machine offers no evidence: {reasons}")
        return chosen

    def collect(self, report_data: bytes) -> Collected:
        """Evidence by the chosen path. Raises CollectError, and UnavailableError where there is no path."""
        collect = self.need().collect
        assert collect is not None, "only what can be tried is chosen"
        return collect(report_data)


def survey(machine: Machine) -> Survey:
    """Look at every path. Nothing is asked of the hardware or the host."""
    return Survey(
        (
            _configfs(machine),
            _sev_guest(machine),
            _tdx_guest(machine),
            _quoting_service(machine),
            _azure(machine),
            _google(machine),
        )
    )


def _configfs(machine: Machine) -> Offer:
    name = "configfs-tsm"
    path = Configfs(machine.files, machine.configfs_root, machine.patience)
    try:
        kind = path.provider()
    except CollectError as error:
        return Offer(name, None, str(error))
    explanation = f"the kernel's own interface, answered by {kind}"
    folder = machine.configfs_root / configfs.REPORTS
    return Offer(name, kind, explanation, lambda data: path.collect(Question(data)), (folder,))


def _sev_guest(machine: Machine) -> Offer:
    name, kind = str(machine.sev_guest), Kind.SEV_SNP
    if missing := _closed(machine, machine.sev_guest, sev_guest.OPEN_ERRORS):
        return Offer(name, kind, missing)
    path = SevGuest(machine.open_device, machine.sev_guest, machine.patience)
    return Offer(name, kind, "the SNP driver's device can be opened", path.collect, (machine.sev_guest,))


def _tdx_guest(machine: Machine) -> Offer:
    name, kind = str(machine.tdx_guest), Kind.TDX
    if missing := _closed(machine, machine.tdx_guest, tdx_guest.ERRORS):
        return Offer(name, kind, missing)
    path = TdxGuest(machine.open_device, QuotingService(machine.connect), machine.tdx_guest, machine.patience)
    explanation = "the TDX driver's device can be opened; quotes need the host's quoting service over vsock"
    return Offer(name, kind, explanation, path.collect, (machine.tdx_guest,), over_vsock=True)


def _quoting_service(machine: Machine) -> Offer:
    """Not a path by itself: the second half of the TDX device's."""
    name = f"the quoting service at vsock {quoting_service.HOST_CID}:{quoting_service.PORT}"
    if not machine.files.exists(VSOCK):
        return Offer(
            name, None, f"no {VSOCK}: the host gives this machine no vsock, or its module is missing"
        )
    return Offer(
        name,
        None,
        f"vsock is there; the service turns reports of {machine.tdx_guest} into quotes, "
        "and whether it answers shows when it is asked",
    )


def _azure(machine: Machine) -> Offer:
    name = f"Azure's virtual TPM at {machine.tpm}"
    azure = "the firmware says Azure" if _says(machine, *MICROSOFT) else "the firmware does not say Azure"
    if not machine.files.exists(machine.tpm):
        return Offer(name, None, f"no TPM; {azure}")
    return Offer(
        name,
        None,
        f"there is a TPM, and {azure}; on a confidential machine there, evidence is in NV index 0x01400001, "
        "which this program does not read yet: attestation.azure checks what other programs read there",
    )


def _google(machine: Machine) -> Offer:
    """Not a path by itself: on Google's cloud evidence comes by those above."""
    name = "Google Compute Engine"
    if not _says(machine, *GOOGLE):
        return Offer(name, None, "the firmware does not say so")
    log = "with" if machine.files.exists(EVENT_LOG) else "without"
    return Offer(
        name,
        None,
        f"the firmware says so, {log} an event log at {EVENT_LOG}; evidence comes by the paths above, and "
        "attestation.azure.gce says what Google's adds to it",
    )


def _says(machine: Machine, path: Path, expected: str) -> bool:
    """Whether the firmware says this. It is the host's word, good for an explanation and nothing else."""
    try:
        return machine.files.read(path, MAX_DMI_BYTES).decode("ascii", "replace").strip() == expected
    except OSError:
        return False


def _closed(machine: Machine, path: Path, meanings: Meanings) -> str:
    """Why a device cannot be opened; empty where it can."""
    try:
        with machine.open_device(path):
            return ""
    except OSError as error:
        return str(explain(error, meanings, f"opening {path}"))
