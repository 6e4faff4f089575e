# SPDX-License-Identifier: Apache-2.0
"""A reporter on a machine whose kernel is a fake and whose processor a simulated vendor made.

`python -m tests.fakes.reporter VENDOR FOLDER OCTET`, and what the supervisor gives every reporter. VENDOR is
`snp`, `snp-with-table` or `tdx`; in FOLDER are its keys. All but kernel and processor is the reporter of an
enclave on hardware, its confinement included. OCTET is `simulated`, which is the truth; or `hardware`, which
is what a real one would say.
"""

import socket
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from attestation.binding import TeeOctet
from attestation.collect.certificate_table import Content
from attestation.collect.detect import Machine
from attestation.simulated.intel import SimulatedIntel, SimulatedTd, TdxSetting
from attestation.simulated.snp import SimulatedGuest
from attestation.simulated.vendor import SimulatedVendor, code_measurement
from enclave.reporter import Source, hardware, run
from tests.fakes.certificate_table import table
from tests.fakes.kernel import FakeConfigfs, Item
from tests.fakes.trust_domain import SEED


def snp_guest(vendor: Path) -> SimulatedGuest:
    """The guest that runs this checkout, started now."""
    measurement = code_measurement(Path(__file__).resolve().parents[2])
    return SimulatedVendor.open(vendor).power_on(measurement, now=int(time.time()))


def trust_domain() -> SimulatedTd:
    """A trust domain, started now."""
    return SimulatedIntel(SEED).power_on(TdxSetting(at=int(time.time())))


def configfs(folder: Path) -> Path:
    """Where configfs would be mounted."""
    return folder.parent / "configfs"


def kernel(vendor: str, folder: Path) -> FakeConfigfs:
    """The kernel of a machine of this vendor."""
    root = configfs(folder)
    (root / "tsm" / "report").mkdir(parents=True, exist_ok=True)  # what Landlock's rule is about
    if vendor == "tdx":
        domain = trust_domain()
        return FakeConfigfs(
            "tdx_guest", lambda item: {"outblob": domain.evidence_quote(item.inblob)}, root=root
        )
    guest = snp_guest(folder)
    leaf, ask, ark = guest.chain
    certificates = table((Content.VCEK, leaf), (Content.ASK, ask), (Content.ARK, ark))

    def report(item: Item) -> dict[str, bytes]:
        fields = replace(guest.fields, report_data=item.inblob, vmpl=item.level)
        blobs = {"outblob": guest.sign(fields)}
        return blobs | {"auxblob": certificates} if vendor == "snp-with-table" else blobs

    return FakeConfigfs("sev_guest", report, root=root)


def opening(vendor: str, folder: Path, octet: str) -> Callable[[], Source]:
    """What opens the source."""

    def open_source() -> Source:
        machine = Machine(kernel(vendor, folder), configfs_root=configfs(folder))
        source = hardware(machine)
        return source if octet == "hardware" else replace(source, octet=TeeOctet.SIMULATED)

    return open_source


if __name__ == "__main__":
    chosen, place, claimed, descriptor, production, _ = sys.argv[1:]
    connection = socket.socket(fileno=int(descriptor))
    sys.exit(run(connection, opening(chosen, Path(place), claimed), production=production == "1"))
