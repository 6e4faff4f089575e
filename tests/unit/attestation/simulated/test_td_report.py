# SPDX-License-Identifier: Apache-2.0
"""TDREPORT has its parts and hashes where the TDX module puts them (attestation.md 4.3)."""

from dataclasses import replace
from hashlib import sha384

import pytest

from attestation.azure.tdreport import TdReportError, check_hashes, parse_tdreport
from attestation.simulated.td_quote import QuoteFields, TdFields
from attestation.simulated.td_report import TD_REPORT_SIZE
from tests.fakes.hardware import MEASUREMENT, td_setting, trust_domain

DATA = bytes([8]) * 64


def test_hashes_cover_their_parts() -> None:
    report = trust_domain().td_report(DATA)
    assert len(report) == TD_REPORT_SIZE
    assert report[:16] == b"\x81" + bytes(15)
    assert report[32:80] == sha384(report[256:495]).digest()
    assert report[80:128] == sha384(report[512:1024]).digest()
    assert report[128:192] == DATA
    assert not any(report[192:224])
    assert any(report[224:256])
    assert not any(report[495:512])


def test_fields_are_where_they_belong() -> None:
    fields = TdFields(
        mrconfigid=bytes([1]) * 48, mrowner=bytes([2]) * 48, mrownerconfig=bytes([3]) * 48, xfam=0xE7
    )
    domain = trust_domain(replace(td_setting(), quote=QuoteFields(fields)))
    report, td = domain.td_report(DATA), domain.fields.td
    assert report[16:32] == td_setting().platform.components
    assert report[256:264] == bytes.fromhex("ff01030000000000")
    assert report[264:280] == report[384:400] == td.tee_tcb_svn
    assert (report[280:328], report[328:376]) == (td.mrseam, bytes(48))
    assert report[512:528] == bytes.fromhex("00000010000000000e70000000000000".replace("0e7", "e70"))
    assert report[528:576] == MEASUREMENT
    assert report[576:720] == bytes([1]) * 48 + bytes([2]) * 48 + bytes([3]) * 48
    assert report[720:912] == td.rtmr0 + td.rtmr1 + td.rtmr2 + td.rtmr3
    assert not any(report[912:])


def test_service_domain_changes_the_version() -> None:
    fields = TdFields(mrservicetd=bytes([9]) * 48)
    report = trust_domain(replace(td_setting(), quote=QuoteFields(fields))).td_report(DATA)
    assert report[:4] == bytes.fromhex("81000100")
    assert report[912:960] == bytes([9]) * 48


@pytest.mark.parametrize("service", [bytes(48), bytes([9]) * 48])
def test_verifier_reads_what_the_machine_writes(service: bytes) -> None:
    """Byte 2 is the version and byte 3 is reserved, here as in the TDREPORT of a genuine machine."""
    fields = TdFields(mrservicetd=service)
    written = trust_domain(replace(td_setting(), quote=QuoteFields(fields))).td_report(DATA)
    report = parse_tdreport(written)
    check_hashes(report)
    assert report.body.report_data == DATA
    with pytest.raises(TdReportError, match="expected report type 81"):
        parse_tdreport(written[:3] + b"\x01" + written[4:])


def test_machine_signs_what_is_before_its_mac() -> None:
    first, second = (trust_domain().td_report(bytes([data]) * 64) for data in (1, 2))
    assert first[224:256] != second[224:256]
    assert first == trust_domain().td_report(bytes([1]) * 64)
