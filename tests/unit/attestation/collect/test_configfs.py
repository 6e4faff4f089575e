# SPDX-License-Identifier: Apache-2.0
"""configfs: the report answers the request, or there is an error that says what to do."""

import errno
from dataclasses import replace
from typing import Final
from uuid import UUID

import pytest

from attestation.collect.configfs import (
    ATTRIBUTE_ERRORS,
    FOLDER_ERRORS,
    Configfs,
    Question,
    Service,
)
from attestation.collect.errors import (
    BusyError,
    CollectError,
    HostError,
    InvalidRequestError,
    OwnReportError,
    RaceError,
    UnavailableError,
)
from attestation.collect.own_report import Kind
from tests.fakes.azure import snp_report
from tests.fakes.kernel import (
    MANIFEST,
    REPORT_DATA,
    ROOT,
    Clock,
    FakeConfigfs,
    Item,
    failure,
    td_quote,
    tdx_reporter,
)

QUESTION: Final = Question(REPORT_DATA)
SVSM: Final = replace(QUESTION, service=Service())


def path(kernel: FakeConfigfs, clock: Clock | None = None) -> Configfs:
    return Configfs(kernel, ROOT, (clock or Clock()).patience())


def failing(operation: str, name: str, *numbers: int) -> FakeConfigfs:
    """A kernel whose next accesses of this kind fail with these numbers."""
    left = list(numbers)

    def spoil(done: str, to: str, _: Item | None) -> None:
        if left and (done, to) == (operation, name):
            raise failure(left.pop(0))

    return FakeConfigfs(spoil=spoil)


def test_snp_report_with_the_hosts_certificates() -> None:
    kernel = FakeConfigfs()
    collected = path(kernel).collect(QUESTION)
    assert (collected.kind, collected.level) == (Kind.SEV_SNP, 0)
    assert collected.report == snp_report(REPORT_DATA)
    assert collected.certificates == b"the host's table"
    assert (kernel.made, kernel.items) == (1, {})


def test_td_quote_without_what_this_provider_lacks() -> None:
    collected = path(FakeConfigfs("tdx_guest", tdx_reporter)).collect(QUESTION)
    assert (collected.kind, collected.certificates) == (Kind.TDX, b"")
    assert collected.report == td_quote(REPORT_DATA)


@pytest.mark.parametrize("question", [replace(QUESTION, level=1), SVSM])
def test_td_has_no_levels_and_no_services(question: Question) -> None:
    with pytest.raises(InvalidRequestError, match="neither privilege levels nor services"):
        path(FakeConfigfs("tdx_guest", tdx_reporter)).collect(question)


def test_level_is_the_kernels_own_unless_another_is_asked_for() -> None:
    kernel = FakeConfigfs(floor=2)
    assert path(kernel).collect(QUESTION).level == 2
    assert path(kernel).collect(replace(QUESTION, level=3)).level == 3


@pytest.mark.parametrize("level", [1, 4])
def test_level_outside_the_kernels_bounds_is_not_even_written(level: int) -> None:
    with pytest.raises(InvalidRequestError, match=f"expected a privilege level of 2 to 3, found {level}"):
        path(FakeConfigfs(floor=2)).collect(replace(QUESTION, level=level))


def test_svsm_vouches_for_its_services_too() -> None:
    question = replace(QUESTION, service=Service(UUID(int=7), 1))
    collected = path(FakeConfigfs(below_svsm=True, floor=1)).collect(question)
    assert (collected.manifest, collected.level) == (MANIFEST, 0)


def test_svsm_that_is_not_there() -> None:
    with pytest.raises(UnavailableError, match="service_provider: ENOENT"):
        path(FakeConfigfs()).collect(SVSM)


def test_report_data_have_one_size() -> None:
    with pytest.raises(InvalidRequestError, match="expected 64 bytes of report data, found 32"):
        path(FakeConfigfs()).collect(Question(bytes(32)))


@pytest.mark.parametrize("when", ["outblob", "auxblob", "generation"])
def test_another_writer_is_detected_and_the_request_repeated(when: str) -> None:
    raced: list[str] = []

    def spoil(operation: str, name: str, item: Item | None) -> None:
        writing = item is not None and item.inblob and (operation, name) == ("read", when)
        if item is not None and writing and not raced:
            raced.append(name)
            item.inblob = bytes(64)
            item.written += 1

    kernel = FakeConfigfs(spoil=spoil)
    collected = path(kernel).collect(QUESTION)
    assert collected.report == snp_report(REPORT_DATA)
    assert (kernel.made, raced) == (2, [when])


def test_writer_who_never_stops_ends_patience() -> None:
    def spoil(operation: str, name: str, item: Item | None) -> None:
        if item is not None and (operation, name) == ("read", "outblob"):
            item.written += 1

    kernel, clock = FakeConfigfs(spoil=spoil), Clock()
    with pytest.raises(RaceError, match="expected 2 writes to the request, found 3"):
        path(kernel, clock).collect(QUESTION)
    assert (kernel.made, kernel.items, clock.now) == (4, {}, 1.5)


def test_write_that_the_kernel_dropped_is_detected() -> None:
    """The counter is about to wrap, so closing inblob fails, which configfs does not report."""

    def spoil(operation: str, name: str, item: Item | None) -> None:
        if item is not None and (operation, name) == ("write", "inblob"):
            item.inblob, item.answered = bytes([1]) * 64, item.written + 1

    with pytest.raises(RaceError, match="expected 2 writes to the request, found 1"):
        path(FakeConfigfs(spoil=spoil)).collect(QUESTION)


def test_counter_about_to_wrap_is_busy() -> None:
    def spoil(operation: str, name: str, item: Item | None) -> None:
        if item is not None and (operation, name) == ("write", "privlevel"):
            item.answered = item.written + 1

    with pytest.raises(BusyError, match="writing privlevel: EBUSY"):
        path(FakeConfigfs(spoil=spoil)).collect(QUESTION)


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.ENOMEM])
def test_what_passes_is_tried_again(number: int) -> None:
    kernel = failing("read", "outblob", number, number, number)
    assert path(kernel).collect(QUESTION).report == snp_report(REPORT_DATA)
    assert kernel.made == 4


def test_patience_ends_by_time_too() -> None:
    kernel, clock = failing("read", "outblob", *[errno.EBUSY] * 9), Clock(step=60.0)
    with pytest.raises(BusyError):
        path(kernel, clock).collect(QUESTION)
    assert kernel.made == 2


@pytest.mark.parametrize("number", ATTRIBUTE_ERRORS)
def test_every_error_of_an_attribute_says_what_it_means(number: int) -> None:
    kernel = failing("read", "outblob", *[number] * 4)
    with pytest.raises(ATTRIBUTE_ERRORS[number].error) as raised:
        path(kernel).collect(QUESTION)
    assert str(raised.value) == f"reading outblob: {errno.errorcode[number]}, {ATTRIBUTE_ERRORS[number].text}"
    assert kernel.items == {}


@pytest.mark.parametrize("number", FOLDER_ERRORS)
def test_every_error_of_the_folder_says_what_it_means(number: int) -> None:
    with pytest.raises(FOLDER_ERRORS[number].error, match=errno.errorcode[number]):
        path(failing("mkdir", "", *[number] * 4)).collect(QUESTION)


def test_unknown_error_is_named() -> None:
    with pytest.raises(HostError, match="unexpected error EXDEV"):
        path(failing("read", "outblob", errno.EXDEV)).collect(QUESTION)
    with pytest.raises(HostError, match="unexpected error number 9999"):
        path(failing("write", "inblob", 9999)).collect(QUESTION)


def test_absence_is_explained() -> None:
    with pytest.raises(UnavailableError, match=r"the kernel must be 6.7 or later"):
        path(FakeConfigfs(mounted=False)).provider()
    with pytest.raises(UnavailableError, match="load the module"):
        path(FakeConfigfs(provider=None)).provider()
    with pytest.raises(
        UnavailableError, match="expected the provider sev_guest or tdx_guest, found 'arm_cca"
    ):
        path(FakeConfigfs(provider="arm_cca_guest")).provider()


def test_module_unloaded_between_is_explained() -> None:
    kernel = FakeConfigfs()

    def spoil(operation: str, name: str, item: Item | None) -> None:
        if item is not None and (operation, name) == ("read", "outblob"):
            kernel.provider = None

    kernel.spoil = spoil
    with pytest.raises(UnavailableError, match="the provider is gone"):
        path(kernel).collect(QUESTION)
    assert kernel.items == {}


def test_folder_is_removed_and_a_failure_of_that_does_not_hide_another() -> None:
    kernel = failing("rmdir", "", errno.EBUSY)
    with pytest.raises(CollectError, match="remove it by hand"):
        path(kernel).collect(QUESTION)

    def spoil(operation: str, name: str, _: Item | None) -> None:
        if operation == "rmdir" or name == "outblob":
            raise failure(errno.EIO)

    with pytest.raises(HostError, match="reading outblob"):
        path(FakeConfigfs(spoil=spoil)).collect(QUESTION)


def test_own_folder_for_every_request() -> None:
    names: list[str] = []
    configfs = path(FakeConfigfs())
    for _ in range(3):
        names.append(configfs.random_name())
    assert len(set(names)) == 3


@pytest.mark.parametrize(
    ("blobs", "error", "complaint"),
    [
        ({"outblob": snp_report(bytes(64))}, OwnReportError, "found one with other data"),
        ({"outblob": snp_report(REPORT_DATA, level=1)}, OwnReportError, "level 0, found level 1"),
        ({"outblob": b""}, OwnReportError, "the hardware's report is none"),
        ({"outblob": bytes(20_000)}, OwnReportError, "the hardware's report is none"),
        ({"outblob": td_quote(REPORT_DATA)}, OwnReportError, "the hardware's report is none"),
        ({"outblob": bytes(40_000)}, HostError, "EFBIG"),
        ({"outblob": snp_report(REPORT_DATA), "auxblob": bytes(40_000)}, HostError, "EFBIG"),
    ],
)
def test_host_returns_something_else(
    blobs: dict[str, bytes], error: type[CollectError], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        path(FakeConfigfs(reporter=lambda _: blobs)).collect(QUESTION)


def test_quote_of_another_request_is_refused() -> None:
    kernel = FakeConfigfs("tdx_guest", lambda _: {"outblob": td_quote(bytes(64))})
    with pytest.raises(OwnReportError, match="found one with other data"):
        path(kernel).collect(QUESTION)


def test_kernel_whose_numbers_are_none_is_refused() -> None:
    kernel = FakeConfigfs(shown={"generation": b"many\n"})
    with pytest.raises(HostError, match="generation: expected a number, found 'many'"):
        path(kernel).collect(QUESTION)
    kernel.shown["generation"] = bytes(100)
    with pytest.raises(HostError, match="generation: expected at most 64 bytes"):
        path(kernel).collect(QUESTION)
