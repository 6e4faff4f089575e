# SPDX-License-Identifier: Apache-2.0
"""The kernel decides which path is used, and every path says why it can or cannot be."""

import errno
import json
from pathlib import Path

import pytest
from typing_extensions import override

from attestation.collect.__main__ import main
from attestation.collect.certificate_table import Content
from attestation.collect.detect import DEFAULT_TPM, Machine, Survey, survey
from attestation.collect.device import Device
from attestation.collect.errors import UnavailableError
from attestation.collect.files import Files, SystemFiles
from attestation.collect.own_report import Kind
from attestation.collect.sev_guest import DEFAULT_PATH as SEV_GUEST
from attestation.collect.tdx_guest import DEFAULT_PATH as TDX_GUEST
from tests.fakes.azure import snp_report
from tests.fakes.certificate_table import GOOD, table
from tests.fakes.kernel import (
    REPORT_DATA,
    Clock,
    Devices,
    FakeConfigfs,
    FakeSevGuest,
    FakeTdxGuest,
    td_quote,
    tdx_reporter,
)
from tests.fakes.quoting_service import quoting_service

NO_CONFIGFS = FakeConfigfs(mounted=False)


class With(FakeConfigfs):
    """A kernel with more files."""

    def __init__(self, **more: bytes) -> None:
        super().__init__(provider=None)
        self.more = {Path(path): content for path, content in more.items()}

    @override
    def exists(self, path: Path) -> bool:
        """Whether there is such a file."""
        return path in self.more or super().exists(path)

    @override
    def read(self, path: Path, limit_bytes: int) -> bytes:
        """The file, or the attribute."""
        return self.more[path] if path in self.more else super().read(path, limit_bytes)


def machine(
    files: Files, present: dict[Path, Device] | None = None, errors: list[int] | None = None
) -> Machine:
    devices = Devices(present or {}, errors or [])
    return Machine(files, devices.open_device, patience=Clock().patience())


def explanations(found: Survey) -> list[str]:
    return [offer.explanation for offer in found.offers]


def test_configfs_is_preferred() -> None:
    found = survey(machine(FakeConfigfs(), {SEV_GUEST: FakeSevGuest()}))
    assert found.chosen is found.offers[0]
    assert found.collect(REPORT_DATA).certificates == b"the host's table"
    assert explanations(found)[0] == "the kernel's own interface, answered by sev-snp"


def test_snp_device_of_an_older_kernel() -> None:
    found = survey(machine(NO_CONFIGFS, {SEV_GUEST: FakeSevGuest()}))
    assert found.collect(REPORT_DATA).report == snp_report(REPORT_DATA)
    assert found.chosen
    assert (found.chosen.name, found.chosen.kind) == ("/dev/sev-guest", Kind.SEV_SNP)


def test_tdx_device_with_a_quoting_service(tmp_path: Path) -> None:
    devices = Devices({TDX_GUEST: FakeTdxGuest()})
    with quoting_service(tmp_path) as connect:
        found = survey(Machine(NO_CONFIGFS, devices.open_device, connect))
        assert found.collect(REPORT_DATA).report == td_quote(REPORT_DATA)


def test_machine_without_anything_says_why() -> None:
    found = survey(machine(NO_CONFIGFS))
    assert found.chosen is None
    assert [text.partition(":")[0] for text in explanations(found)] == [
        "making a request's folder",
        "opening /dev/sev-guest",
        "opening /dev/tdx_guest",
        "no /dev/vsock",
        "no TPM; the firmware does not say Azure",
        "the firmware does not say so",
    ]
    with pytest.raises(
        UnavailableError, match=r"offers no evidence: configfs-tsm: .*6\.7.*; Azure.*; Google"
    ):
        found.collect(REPORT_DATA)


def test_device_of_somebody_else_is_explained() -> None:
    found = survey(machine(NO_CONFIGFS, errors=[errno.EACCES, errno.EPERM]))
    assert "run as root, or give this user the device" in explanations(found)[1]
    assert "the container does not pass the device on" in explanations(found)[2]


def test_azure_is_recognized_and_not_promised() -> None:
    tag = {"/sys/class/dmi/id/chassis_asset_tag": b"7783-7084-3265-9085-8269-3286-77\n"}
    found = survey(machine(With(**{str(DEFAULT_TPM): b""}, **tag)))
    assert found.chosen is None
    assert "there is a TPM, and the firmware says Azure;" in explanations(found)[4]
    assert "does not read yet" in explanations(found)[4]
    assert explanations(survey(machine(With(**tag))))[4] == "no TPM; the firmware says Azure"


@pytest.mark.parametrize("log", [True, False])
def test_google_is_recognized(log: bool) -> None:
    product = {"/sys/class/dmi/id/product_name": b"Google Compute Engine\n"}
    more = {"/sys/firmware/acpi/tables/data/CCEL": b"events"} if log else {}
    found = explanations(survey(machine(With(**product, **more))))[5]
    assert found.startswith(f"the firmware says so, {'with' if log else 'without'} an event log at /sys")


def test_a_quoting_service_needs_vsock() -> None:
    assert (
        "vsock is there; the service turns" in explanations(survey(machine(With(**{"/dev/vsock": b""}))))[3]
    )


def run(arguments: list[str], here: Machine) -> int:
    return main(arguments, lambda _: survey(here))


@pytest.mark.parametrize(
    ("certificates", "text"),
    [
        (GOOD, "with the host's VCEK, ASK, ARK\n"),
        (b"", "and no certificates of the host\n"),
        (b"\1" * 24, "with unreadable certificates of the host: expected"),
        (table((Content.VLEK, b"leaf")).replace(b"\x5a\xa2", b"\x5a\xa3"), "with the host's a8074bc2-a35a"),
    ],
)
def test_program_prints_what_it_found(
    certificates: bytes, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    here = machine(NO_CONFIGFS, {SEV_GUEST: FakeSevGuest(table=certificates)})
    assert run([], here) == 0
    printed = capsys.readouterr().out
    assert "used  /dev/sev-guest: the SNP driver's device can be opened\n" in printed
    assert "\nevidence: a report of 1184 bytes that answers the request (SHA-256 " in printed
    assert text in printed


def test_program_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--json"], machine(FakeConfigfs("tdx_guest", tdx_reporter))) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["evidence"] is True
    assert printed["paths"][0] == {
        "path": "configfs-tsm",
        "tee": "tdx",
        "usable": True,
        "used": True,
        "explanation": "the kernel's own interface, answered by tdx",
    }
    assert [offer["used"] for offer in printed["paths"]] == [True, *[False] * 5]


def test_program_asks_nothing_if_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    driver = FakeSevGuest()
    assert run(["--only-look"], machine(NO_CONFIGFS, {SEV_GUEST: driver})) == 0
    assert driver.requests == 0
    assert "not asked" in capsys.readouterr().out
    assert run(["--only-look"], machine(NO_CONFIGFS)) == 1


def test_program_says_why_there_is_no_evidence(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([], machine(NO_CONFIGFS, {SEV_GUEST: FakeSevGuest(disabled=True)})) == 1
    assert "no evidence: asking for a report (firmware 0xff, host 0x0): ENOTTY" in capsys.readouterr().out
    assert run([], machine(NO_CONFIGFS)) == 1
    assert "no evidence: no path can be tried" in capsys.readouterr().out


def test_program_looks_where_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The real file system, with nothing there."""
    places = [f"--{name}={tmp_path / name}" for name in ("configfs", "sev-guest", "tdx-guest", "tpm")]
    assert main([*places, "--json"]) == 1
    printed = json.loads(capsys.readouterr().out)
    assert printed["paths"][1]["path"] == str(tmp_path / "sev-guest")
    assert printed["explanation"].startswith("no path can be tried")


def test_environment_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Machine()
    for name in ("CONFIGFS", "CONFIGFS_ROOT", "SEV_GUEST", "TDX_GUEST", "SIMULATED", "TSM_REPORT"):
        monkeypatch.setenv(name, "/tmp/elsewhere")
    after = Machine()
    assert (before.configfs_root, before.sev_guest, before.tdx_guest) == (
        after.configfs_root,
        after.sev_guest,
        after.tdx_guest,
    )
    assert isinstance(after.files, SystemFiles)
