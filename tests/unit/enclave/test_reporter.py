# SPDX-License-Identifier: Apache-2.0
"""The reporter process and the session process's end of its socketpair."""

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from attestation.binding import TeeOctet
from attestation.collect import errors
from attestation.collect.detect import Machine
from attestation.collect.errors import CollectError, UnavailableError
from enclave.config import HardwareTee, SimulatedTee
from enclave.events import Lack
from enclave.report_protocol import (
    MAX_MESSAGE_BYTES,
    Greeting,
    Message,
    NoReport,
    Signed,
    receive_message,
    send_message,
)
from enclave.report_source import Reporter, ReporterGoneError, ReportError
from enclave.reporter import LACKS, Source, answer, hardware, open_source
from tests.fakes.kernel import REPORT_DATA, Devices, FakeConfigfs, td_quote, tdx_reporter

HARDWARE = Greeting("tdx", TeeOctet.TDX, {"no_files": "granted"})
SIMULATED = Greeting("sev-snp", TeeOctet.SIMULATED, {})
QUOTE = Signed("tdx", b"a quote")

Ends = tuple[socket.socket, Reporter]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """The reporter's socket, and the session process's reporter."""
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        yield ours, Reporter(theirs)


def opened(ends: Ends, greeting: Greeting = HARDWARE) -> Reporter:
    send_message(ends[0], greeting)
    ends[1].open(production=False)
    return ends[1]


def test_the_greeting_says_what_signs(ends: Ends) -> None:
    reporter = opened(ends)
    assert reporter.octet is TeeOctet.TDX
    assert reporter.protections == {"no_files": "granted"}


def test_each_question_has_its_answer(ends: Ends) -> None:
    reporter = opened(ends)
    for message in (QUOTE, Signed("tdx", b"another", (), b"", b"collateral")):
        send_message(ends[0], message)
        assert reporter.signed_report(REPORT_DATA) == message
        assert ends[0].recv(64) == REPORT_DATA


def test_no_report_this_time_is_no_end(ends: Ends) -> None:
    reporter = opened(ends)
    send_message(ends[0], NoReport(Lack.KEY_DISABLED))
    with pytest.raises(ReportError, match="no report: key_disabled"):
        reporter.signed_report(REPORT_DATA)
    send_message(ends[0], QUOTE)
    assert reporter.signed_report(REPORT_DATA) == QUOTE


def test_a_simulated_reporter_is_refused_in_production(ends: Ends) -> None:
    send_message(ends[0], SIMULATED)
    with pytest.raises(ReporterGoneError):
        ends[1].open(production=True)


def test_hardware_is_accepted_in_production(ends: Ends) -> None:
    send_message(ends[0], HARDWARE)
    ends[1].open(production=True)
    assert ends[1].octet is TeeOctet.TDX


@pytest.mark.parametrize("message", [QUOTE, NoReport(Lack.HOST)])
def test_a_reporter_that_does_not_greet_is_none(ends: Ends, message: Message) -> None:
    send_message(ends[0], message)
    with pytest.raises(ReporterGoneError):
        ends[1].open(production=False)


@pytest.mark.parametrize("message", [HARDWARE, Signed("sev-snp", b"a report")])
def test_an_answer_of_another_kind_is_the_end(ends: Ends, message: Message) -> None:
    reporter = opened(ends)
    send_message(ends[0], message)
    with pytest.raises(ReporterGoneError):
        reporter.signed_report(REPORT_DATA)
    with pytest.raises(ReporterGoneError):  # for good
        reporter.signed_report(REPORT_DATA)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\0\0",
        b"\0\0\0\0",
        (MAX_MESSAGE_BYTES + 1).to_bytes(4, "big"),
        b"\0\0\0\1\xc1",
        b"\0\0\0\5short",
        b"\0\0\0\1",
    ],
)
def test_nonsense_is_the_end(ends: Ends, sent: bytes) -> None:
    reporter = opened(ends)
    ends[0].sendall(sent)
    ends[0].shutdown(socket.SHUT_WR)
    with pytest.raises(ReporterGoneError):
        reporter.signed_report(REPORT_DATA)


def test_unknown_fields_are_nonsense(ends: Ends) -> None:
    body = msgspec.msgpack.encode({"type": "none", "reason": "host", "text": "a prompt"})
    ends[0].sendall(len(body).to_bytes(4, "big") + body)
    with pytest.raises(ReporterGoneError):
        ends[1].open(production=False)


def test_before_the_greeting_nothing_is_asked(ends: Ends) -> None:
    with pytest.raises(RuntimeError, match="before open"):
        _ = ends[1].octet


def failing(error: OSError) -> Callable[[bytes], Signed]:
    def sign(_: bytes) -> Signed:
        raise error

    return sign


@pytest.mark.parametrize("kind", list(LACKS))
def test_every_reason_has_a_name(kind: type[OSError], capfd: pytest.CaptureFixture[str]) -> None:
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        ours.sendall(REPORT_DATA)
        answer(theirs, Source("tdx", TeeOctet.TDX, failing(kind("what the kernel said"))))
        assert receive_message(ours) == NoReport(LACKS[kind])
    assert capfd.readouterr().err == f'{{"event": "ReportFailed", "reason": "{LACKS[kind].value}"}}\n'


def test_other_failures_are_answered_too() -> None:
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        ours.sendall(REPORT_DATA)
        answer(theirs, Source("tdx", TeeOctet.TDX, failing(OSError(5, "what the kernel said"))))
        assert receive_message(ours) == NoReport(Lack.OTHER)


def test_a_reporter_serves_until_nobody_asks() -> None:
    ours, theirs = socket.socketpair()
    source = Source("tdx", TeeOctet.TDX, lambda data: Signed("tdx", data[:1]))
    with closing(ours), closing(theirs):
        ours.close()
        with pytest.raises(EOFError):
            answer(theirs, source)


def test_no_reason_was_forgotten() -> None:
    kinds = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, OSError)]
    assert set(kinds) == {CollectError, *LACKS}


def test_tdx_hardware_has_its_own_octet() -> None:
    source = hardware(Machine(FakeConfigfs("tdx_guest", tdx_reporter)))
    assert (source.tee, source.octet) == ("tdx", TeeOctet.TDX)
    assert source.sign(REPORT_DATA) == Signed("tdx", td_quote(REPORT_DATA))


def test_snp_hardware_has_its_own_octet() -> None:
    source = hardware(Machine(FakeConfigfs()))
    assert (source.tee, source.octet) == ("sev-snp", TeeOctet.SEV_SNP)
    assert source.sign(REPORT_DATA).chain == ()


def test_there_is_no_falling_back() -> None:
    with pytest.raises(UnavailableError):
        hardware(Machine(FakeConfigfs(mounted=False), Devices().open_device))


def test_the_simulated_machine_says_so(vendor_folder: Path) -> None:
    source = open_source(SimulatedTee(folder=str(vendor_folder)))
    assert (source.tee, source.octet, source.paths) == ("sev-snp", TeeOctet.SIMULATED, ())
    signed = source.sign(REPORT_DATA)
    assert len(signed.chain) == 3
    assert signed.crl


def test_questions_of_threads_do_not_mix(ends: Ends) -> None:
    reporter = opened(ends)
    source = Source("tdx", TeeOctet.TDX, lambda data: Signed("tdx", data))

    def serve() -> None:
        for _ in range(40):
            answer(ends[0], source)

    wrong: list[bytes] = []

    def ask(number: int) -> None:
        data = bytes([number]) * 64
        wrong.extend(data for _ in range(10) if reporter.signed_report(data).report != data)

    threads = [threading.Thread(target=serve), *(threading.Thread(target=ask, args=(n,)) for n in range(4))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert wrong == []
    assert not any(thread.is_alive() for thread in threads)


def test_the_process_says_why_there_is_no_evidence() -> None:
    """This machine is no confidential one; where it is, the process would greet instead."""
    if Path("/sys/kernel/config/tsm/report").exists() or Path("/dev/sev-guest").exists():
        pytest.skip("this machine offers evidence")
    ours, theirs = socket.socketpair()
    tee = msgspec.json.encode(HardwareTee()).decode()
    command = [sys.executable, "-P", "-m", "enclave.reporter", str(theirs.fileno()), "0", tee]
    with closing(ours), closing(theirs):
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=60, pass_fds=(theirs.fileno(),)
        )
    assert done.returncode == 2
    sentence = done.stderr.splitlines()[-1]
    assert sentence.startswith("the enclave does not start: this machine offers no evidence: configfs-tsm: ")
    assert "Traceback" not in done.stderr
