# SPDX-License-Identifier: Apache-2.0
"""The source of reports for the enclave: one path, kept, with certificates that are the report's own."""

import struct
from dataclasses import replace

import pytest

from attestation.collect.certificate_table import Content
from attestation.collect.detect import Machine, survey
from attestation.collect.errors import HostError, UnavailableError
from attestation.collect.own_report import Kind
from attestation.collect.sev_guest import DEFAULT_PATH as SEV_GUEST
from attestation.collect.source import HardwareSource
from attestation.collect.tdx_guest import DEFAULT_PATH as TDX_GUEST
from tests.fakes.certificate_table import table
from tests.fakes.hardware import guest
from tests.fakes.kernel import (
    REPORT_DATA,
    ROOT,
    Clock,
    Devices,
    FakeConfigfs,
    FakeSevGuest,
    FakeTdxGuest,
    td_quote,
    tdx_reporter,
)

NO_CONFIGFS = FakeConfigfs(mounted=False)
LEAF, ASK, ARK = guest().chain
GOOD = table((Content.VCEK, LEAF), (Content.ASK, ASK), (Content.ARK, ARK))


def report(report_data: bytes, level: int = 0) -> bytes:
    """A report of the simulated chip, which LEAF certifies."""
    return guest().sign(replace(guest().fields, report_data=report_data, vmpl=level))


def on_device(certificates: bytes) -> HardwareSource:
    """A source on a kernel with /dev/sev-guest alone."""
    driver = FakeSevGuest(certificates, response=lambda data, level: _response(report(data, level)))
    devices = Devices({SEV_GUEST: driver})
    return HardwareSource.of(survey(Machine(NO_CONFIGFS, devices.open_device, patience=Clock().patience())))


def _response(signed: bytes) -> bytes:
    return struct.pack("<II24x", 0, len(signed)) + signed


def test_a_report_comes_with_the_hosts_certificates() -> None:
    made = on_device(GOOD).report(REPORT_DATA)
    assert (made.kind, made.report, made.chain) == (Kind.SEV_SNP, report(REPORT_DATA), (LEAF, ASK, ARK))


@pytest.mark.parametrize(
    "certificates",
    [
        b"",
        b"\1" * 24,
        table((Content.VCEK, LEAF)),
        table((Content.VCEK, LEAF[:-1]), (Content.ASK, ASK), (Content.ARK, ARK)),
        table((Content.VCEK, ASK), (Content.ASK, ASK), (Content.ARK, ARK)),
        table((Content.VCEK, guest("another").chain[0]), (Content.ASK, ASK), (Content.ARK, ARK)),
    ],
    ids=["none", "no table", "leaf alone", "cut leaf", "no leaf", "leaf of another chip"],
)
def test_certificates_of_another_report_are_left_out(certificates: bytes) -> None:
    made = on_device(certificates).report(REPORT_DATA)
    assert (made.report, made.chain) == (report(REPORT_DATA), ())


def test_a_quote_brings_its_own_certificates() -> None:
    source = HardwareSource.of(survey(Machine(FakeConfigfs("tdx_guest", tdx_reporter))))
    made = source.report(REPORT_DATA)
    assert (made.kind, made.report, made.chain) == (Kind.TDX, td_quote(REPORT_DATA), ())


def test_a_machine_does_not_change_its_processor() -> None:
    kernel = FakeConfigfs()
    source = HardwareSource.of(survey(Machine(kernel)))
    kernel.provider, kernel.reporter = "tdx_guest", tdx_reporter
    with pytest.raises(HostError, match="expected evidence of sev-snp, found tdx"):
        source.report(REPORT_DATA)


def test_without_hardware_there_is_no_source() -> None:
    with pytest.raises(
        UnavailableError, match=r"offers no evidence: configfs-tsm: .*6\.7.*; Azure.*; Google"
    ):
        HardwareSource.of(survey(Machine(NO_CONFIGFS, Devices().open_device)))


def test_what_a_path_opens_is_known_before() -> None:
    devices = Devices({SEV_GUEST: FakeSevGuest(), TDX_GUEST: FakeTdxGuest()})
    offers = survey(Machine(FakeConfigfs(), devices.open_device)).offers
    assert [(offer.paths, offer.over_vsock) for offer in offers] == [
        ((ROOT / "tsm" / "report",), False),
        ((SEV_GUEST,), False),
        ((TDX_GUEST,), True),
        *[((), False)] * 3,
    ]
