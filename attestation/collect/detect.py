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
    return Survey((_configfs(machine), _sev_guest(machine), _tdx_guest(machine), _azure(machine)))


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


def _azure(machine: Machine) -> Offer:
    name = f"Azure's virtual TPM at {machine.tpm}"
    if not machine.files.exists(machine.tpm):
        return Offer(name, None, "no TPM")
    return Offer(
        name,
        None,
        "there is a TPM; if this is a confidential machine on Azure, its evidence is in NV index 0x01400001, "
        "which this program does not read yet: attestation.azure checks what other programs read there",
    )


def _closed(machine: Machine, path: Path, meanings: Meanings) -> str:
    """Why a device cannot be opened; empty where it can."""
    try:
        with machine.open_device(path):
            return ""
    except OSError as error:
        return str(explain(error, meanings, f"opening {path}"))
