# SPDX-License-Identifier: Apache-2.0
"""/dev/sev-guest: structures as the driver reads them, and its errors told apart."""

import errno
import struct
from collections.abc import Callable

import pytest
from typing_extensions import override

from attestation.collect.errors import (
    BusyError,
    CollectError,
    HostError,
    InvalidRequestError,
    KeyDisabledError,
    OwnReportError,
    UnavailableError,
)
from attestation.collect.sev_guest import (
    DEFAULT_PATH,
    EXTENDED_REQUEST,
    OPEN_ERRORS,
    REPORT_REQUEST,
    REQUEST,
    REQUEST_ERRORS,
    SNP_GET_EXT_REPORT,
    SNP_GET_REPORT,
    SevGuest,
)
from tests.fakes.azure import snp_report
from tests.fakes.kernel import REPORT_DATA, Clock, Devices, FakeSevGuest


def guest(driver: FakeSevGuest, errors: list[int] | None = None) -> SevGuest:
    return SevGuest(Devices({DEFAULT_PATH: driver}, errors or []).open_device, patience=Clock().patience())


def test_structures_have_the_sizes_in_the_request_codes() -> None:
    """_IOWR('S', n, 32 bytes), and the sizes a C compiler gives the structures."""
    assert (REQUEST.size, REPORT_REQUEST.size, EXTENDED_REQUEST.size) == (32, 96, 112)
    for number, code in ((0, SNP_GET_REPORT), (2, SNP_GET_EXT_REPORT)):
        assert code == 3 << 30 | REQUEST.size << 16 | ord("S") << 8 | number


def test_report_with_the_hosts_certificates() -> None:
    collected = guest(FakeSevGuest(table=b"table")).collect(REPORT_DATA, 1)
    assert (collected.report, collected.level) == (snp_report(REPORT_DATA, 1), 1)
    assert collected.certificates.rstrip(b"\0") == b"table"


def test_report_alone() -> None:
    collected = guest(FakeSevGuest(table=bytes(90_000))).collect(REPORT_DATA, with_certificates=False)
    assert (collected.report, collected.certificates) == (snp_report(REPORT_DATA), b"")


def test_host_names_the_space_it_needs() -> None:
    driver = FakeSevGuest(table=bytes([1]) * 17_000, most_space=32 * 1024)
    collected = guest(driver).collect(REPORT_DATA)
    assert collected.certificates.rstrip(b"\0") == driver.table
    assert len(collected.certificates) == 20_480
    assert driver.requests == 2
    assert not driver.disabled


def test_driver_that_takes_no_more_space_says_so() -> None:
    with pytest.raises(InvalidRequestError, match="EINVAL, a message version or certificate size"):
        guest(FakeSevGuest(table=bytes(17_000))).collect(REPORT_DATA)


def test_host_asks_for_too_much_space() -> None:
    with pytest.raises(HostError, match="expected certificates of up to 32768 bytes, found 36864"):
        guest(FakeSevGuest(table=bytes(33_000))).collect(REPORT_DATA)


def test_host_keeps_changing_its_mind_about_the_space() -> None:
    class Growing(FakeSevGuest):
        @override
        def control(self, request: int, argument: bytearray) -> None:
            self.table += bytes(5000)
            super().control(request, argument)

    with pytest.raises(HostError, match="keeps changing its mind"):
        guest(Growing(table=bytes(14_000), most_space=32 * 1024)).collect(REPORT_DATA)


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EIO])
def test_busy_host_is_asked_again_within_bounds(number: int) -> None:
    driver = FakeSevGuest(outcomes=[(number, 0, 2)] * 2)
    assert guest(driver).collect(REPORT_DATA).report == snp_report(REPORT_DATA)
    assert driver.requests == 3
    with pytest.raises(BusyError, match="the host throttles"):
        guest(FakeSevGuest(outcomes=[(number, 0, 2)] * 9)).collect(REPORT_DATA)


@pytest.mark.parametrize("number", [errno.EIO, errno.EBADMSG, errno.ETIMEDOUT, errno.ENOSR])
def test_disabled_key_is_an_error_of_its_own(number: int) -> None:
    driver = FakeSevGuest(outcomes=[(number, 0x17, 0x80000000)])
    with pytest.raises(KeyDisabledError, match=r"firmware 0x17, host 0x80000000.*restart the machine"):
        guest(driver).collect(REPORT_DATA)
    with pytest.raises(KeyDisabledError, match="ENOTTY, no key"):
        guest(driver).collect(REPORT_DATA)
    assert driver.requests == 1


@pytest.mark.parametrize("number", REQUEST_ERRORS)
def test_every_error_of_the_driver_says_what_it_means(number: int) -> None:
    with pytest.raises(REQUEST_ERRORS[number].error) as raised:
        guest(FakeSevGuest(outcomes=[(number, 0xFF, 0)] * 4)).collect(REPORT_DATA)
    assert errno.errorcode[number] in str(raised.value)


@pytest.mark.parametrize("number", OPEN_ERRORS)
def test_every_error_of_opening_says_what_it_means(number: int) -> None:
    with pytest.raises(OPEN_ERRORS[number].error, match=f"opening /dev/sev-guest: {errno.errorcode[number]}"):
        guest(FakeSevGuest(), [number] * 4).collect(REPORT_DATA)


def test_another_users_turn_passes() -> None:
    collected = guest(FakeSevGuest(), [errno.EAGAIN, errno.EAGAIN]).collect(REPORT_DATA)
    assert collected.report == snp_report(REPORT_DATA)


def test_absent_device() -> None:
    with pytest.raises(UnavailableError, match="the module sev-guest is missing"):
        SevGuest(Devices().open_device).collect(REPORT_DATA)


def answers(status: int, size: int, report: bytes = b"") -> Callable[[bytes, int], bytes]:
    return lambda data, level: struct.pack("<II24x", status, size) + (report or snp_report(data, level))


@pytest.mark.parametrize(
    ("response", "error", "complaint"),
    [
        (answers(0x16, 0), InvalidRequestError, "is the level this kernel's"),
        (answers(0x27, 0), InvalidRequestError, "0x27"),
        (answers(0x1, 1184), HostError, "found status 0x1"),
        (answers(0, 1183), HostError, "found status 0x0 and 1183 bytes"),
        (answers(0, 4000), HostError, "4000 bytes"),
        (answers(0, 1184, snp_report(bytes(64))), OwnReportError, "other data"),
        (answers(0, 1184, snp_report(REPORT_DATA, 2)), OwnReportError, "found level 2"),
        (answers(0, 1184, bytes(1184)), OwnReportError, "report is none"),
    ],
)
def test_answer_that_is_none(
    response: Callable[[bytes, int], bytes], error: type[CollectError], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        guest(FakeSevGuest(response=response)).collect(REPORT_DATA)


def test_error_code_with_success_is_refused() -> None:
    with pytest.raises(HostError, match="expected no error with success, found firmware 0x7"):
        guest(FakeSevGuest(outcomes=[(0, 7, 0)])).collect(REPORT_DATA)


@pytest.mark.parametrize(("data", "level"), [(bytes(63), 0), (REPORT_DATA, 4), (REPORT_DATA, -1)])
def test_wrong_request_is_not_sent(data: bytes, level: int) -> None:
    driver = FakeSevGuest()
    with pytest.raises(InvalidRequestError):
        guest(driver).collect(data, level)
    assert driver.requests == 0
