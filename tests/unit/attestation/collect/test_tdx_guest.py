# SPDX-License-Identifier: Apache-2.0
"""/dev/tdx_guest and the quoting service: only an answer to this request comes out, and in bounded time."""

import errno
import socket
import struct
from collections.abc import Iterable
from pathlib import Path

import pytest

from attestation.collect.errors import (
    CollectError,
    HostError,
    InvalidRequestError,
    OwnReportError,
    UnavailableError,
)
from attestation.collect.own_report import Kind
from attestation.collect.quoting_service import ERRORS as SERVICE_ERRORS
from attestation.collect.quoting_service import QuotingService, encode_request, parse_response
from attestation.collect.tdx_guest import DEFAULT_PATH, ERRORS, TDX_CMD_GET_REPORT0, TdxGuest
from tests.fakes.azure import tdreport
from tests.fakes.kernel import REPORT_DATA, Clock, Devices, FakeTdxGuest, td_quote
from tests.fakes.quoting_service import Answer, framed, good, message, quoting_service

QUOTE = td_quote(REPORT_DATA)
REPORT = tdreport(REPORT_DATA)


def guest(driver: FakeTdxGuest, service: QuotingService | None = None) -> TdxGuest:
    devices = Devices({DEFAULT_PATH: driver})
    return TdxGuest(devices.open_device, service or QuotingService(), patience=Clock().patience())


def test_request_code_has_the_size_of_its_structure() -> None:
    assert 3 << 30 | (64 + 1024) << 16 | ord("T") << 8 | 1 == TDX_CMD_GET_REPORT0


def test_quote_through_the_service(tmp_path: Path) -> None:
    with quoting_service(tmp_path) as connect:
        collected = guest(FakeTdxGuest(), QuotingService(connect)).collect(REPORT_DATA)
    assert (collected.kind, collected.report) == (Kind.TDX, QUOTE)


def test_quote_in_small_pieces(tmp_path: Path) -> None:
    def pieces(report: bytes) -> Iterable[bytes]:
        (whole,) = good(report)
        return (whole[place : place + 7] for place in range(0, len(whole), 7))

    with quoting_service(tmp_path, pieces) as connect:
        assert QuotingService(connect).quote(REPORT) == QUOTE


def test_busy_module_is_asked_again() -> None:
    assert guest(FakeTdxGuest([errno.EBUSY, errno.EINTR])).tdreport(REPORT_DATA) == REPORT


@pytest.mark.parametrize("number", ERRORS)
def test_every_error_of_the_driver_says_what_it_means(number: int) -> None:
    with pytest.raises(ERRORS[number].error, match=f"asking /dev/tdx_guest: {errno.errorcode[number]}"):
        guest(FakeTdxGuest([number] * 4)).tdreport(REPORT_DATA)


def test_report_data_have_one_size() -> None:
    with pytest.raises(InvalidRequestError, match="found 63"):
        guest(FakeTdxGuest()).tdreport(bytes(63))


@pytest.mark.parametrize(
    ("report", "complaint"),
    [
        (tdreport(bytes(64)), "other data"),
        (bytes(1024), "report type 81"),
        (REPORT[:600] + b"\xff" + REPORT[601:], "SHA-384 of TD_INFO"),
        (REPORT[:300] + b"\xff" + REPORT[301:], "SHA-384 of TEE_TCB_INFO"),
    ],
)
def test_tdreport_that_does_not_answer_is_refused(report: bytes, complaint: str) -> None:
    with pytest.raises(OwnReportError, match=complaint):
        guest(FakeTdxGuest(module=lambda _: report)).tdreport(REPORT_DATA)


def test_quote_of_another_td_is_refused(tmp_path: Path) -> None:
    with quoting_service(tmp_path, lambda _: [framed(message(td_quote(bytes(64))))]) as connect:
        path = guest(FakeTdxGuest(), QuotingService(connect))
        with pytest.raises(OwnReportError, match="other data"):
            path.collect(REPORT_DATA)


HOSTILE: dict[str, tuple[Answer, str]] = {
    "nothing": (lambda _: [], "found an end after 0"),
    "half a length": (lambda _: [b"\0\0"], "found an end after 2"),
    "truncated": (lambda _: [framed(message(QUOTE))[:-1]], "found an end after"),
    "empty": (lambda _: [framed(b"")], "found 0"),
    "no quote": (lambda _: [framed(message(b""))], "found 24"),
    "oversize": (lambda _: [framed(message(bytes(40_000)))], "found 40024"),
    "huge": (lambda _: [b"\xff\xff\xff\xff"], "found 4294967295"),
    "junk": (lambda _: [framed(b"\xaa" * 100)], "found type 2863311530"),
    "little-endian length": (lambda _: [struct.pack("<I", 900)], "expected a message of"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_service_is_refused(case: str, tmp_path: Path) -> None:
    answer, complaint = HOSTILE[case]
    with quoting_service(tmp_path, answer) as connect, pytest.raises(HostError, match=complaint):
        QuotingService(connect).quote(REPORT)


def test_silent_service_does_not_hold_us(tmp_path: Path) -> None:
    with quoting_service(tmp_path, lambda _: [], silent=True) as connect:
        service = QuotingService(connect, timeout_seconds=0.1)
        with pytest.raises(HostError, match="broke off: timed out"):
            service.quote(REPORT)


def test_dripping_service_does_not_hold_us_beyond_the_deadline(tmp_path: Path) -> None:
    """Each byte comes in time, and the whole does not."""

    def drip(report: bytes) -> Iterable[bytes]:
        (whole,) = good(report)
        return (bytes([octet]) for octet in whole)

    with quoting_service(tmp_path, drip, silent=True) as connect:
        service = QuotingService(connect, monotonic=Clock(step=10.0).monotonic)
        with pytest.raises(HostError, match="expected a quote within 30 s"):
            service.quote(REPORT)


def test_absent_service_is_explained() -> None:
    def refuse(_: float) -> socket.socket:
        raise ConnectionRefusedError(errno.ECONNREFUSED, "refused")

    with pytest.raises(UnavailableError, match=r"no quoting service at vsock 2:4050.*use configfs"):
        QuotingService(refuse).quote(REPORT)


def head(major: int = 1, minor: int = 1, kind: int = 1, size: int = 28, error: int = 0) -> bytes:
    return struct.pack("<HHIII", major, minor, kind, size, error)


def test_older_service_is_understood() -> None:
    assert parse_response(message(b"abcd", head=head(minor=0))) == b"abcd"


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"", "expected a message of 16 bytes"),
        (head()[:15], "found 15"),
        (message(b"abcd", head=head(major=2)), "of version 2.1"),
        (message(b"abcd", head=head(minor=2)), "of version 1.2"),
        (message(b"abcd", head=head(kind=0)), "found type 0"),
        (message(b"abcd", head=head(size=27)), "found 27"),
        (message(b"abcd", head=head(size=29)), "found 29"),
        (head(size=20) + bytes(4), "expected a message of 24 bytes"),
        (message(b"abcd", sizes=struct.pack("<II", 16, 4)), "found 16 and 4"),
        (message(b"abcd", sizes=struct.pack("<II", 0, 3)), "found 0 and 3"),
        (message(b"abcd", sizes=struct.pack("<II", 0, 5)), "found 0 and 5"),
        (message(b"abcd", sizes=struct.pack("<II", 4, 0)), "found 4 and 0"),
        (message(b""), "found 0 and 0"),
        (head(size=16, error=0x99), "an unknown error"),
    ],
)
def test_answer_with_one_thing_wrong_is_refused(answer: bytes, complaint: str) -> None:
    with pytest.raises(CollectError, match=complaint):
        parse_response(answer)


@pytest.mark.parametrize("error", SERVICE_ERRORS)
def test_every_error_of_the_service_says_what_it_means(error: int) -> None:
    with pytest.raises(HostError, match=f"failed .{error:#x}.: {SERVICE_ERRORS[error][:20]}"):
        parse_response(head(size=16, error=error))


def test_only_a_tdreport_is_sent() -> None:
    with pytest.raises(InvalidRequestError, match="found 64"):
        encode_request(bytes(64))
