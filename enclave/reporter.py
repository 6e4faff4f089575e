# SPDX-License-Identifier: Apache-2.0
"""The reporter process: has the hardware sign report data for the session process. Started by the supervisor.

It holds no key of a session and sees no request. It is trusted all the same: whoever takes it over can have a
report made over keys of their own. So it opens the one path it uses and nothing else.

1. Refuse tracing and core dumps.
2. Choose the report source, and try it: without a report nothing starts.
3. Let nothing be opened but that path, and allow only these system calls.
4. Answer one question after another.
"""

import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_bytes
from types import MappingProxyType
from typing import Final, assert_never

import msgspec

from attestation.binding import TeeOctet
from attestation.collect import errors
from attestation.collect.detect import Machine, survey
from attestation.collect.own_report import Kind
from attestation.collect.sev_guest import SNP_GET_EXT_REPORT, SNP_GET_REPORT
from attestation.collect.source import HardwareSource
from attestation.collect.tdx_guest import TDX_CMD_GET_REPORT0
from attestation.simulated.vendor import SimulatedVendor, VendorError, code_measurement
from enclave.config import HardwareTee, SimulatedTee, Tee
from enclave.events import Lack, Part, ReportFailed, Unprotected, hide_tracebacks, log
from enclave.protection import ProtectionError, Protector, before_secrets, only_system_calls, without_files
from enclave.report_protocol import (
    REPORT_DATA_BYTES,
    Greeting,
    NoReport,
    Signed,
    TeeName,
    receive_exactly,
    send_message,
)

# No call that executes or makes a process. Files are Landlock's to forbid, and so is TCP. Only what needs the
# host's quoting service may connect at all.
SYSTEM_CALLS = """
    read write close poll mmap mprotect munmap brk rt_sigaction rt_sigprocmask rt_sigreturn sched_yield
    mremap madvise getpid sendto recvfrom shutdown setsockopt getsockopt exit gettid futex clock_gettime
    clock_nanosleep exit_group tgkill getrandom rseq
"""
HARDWARE_SYSTEM_CALLS = f"""
    {SYSTEM_CALLS} openat fstat newfstatat lseek access faccessat mkdir rmdir fcntl flock
"""
QUOTING_SYSTEM_CALLS = f"{HARDWARE_SYSTEM_CALLS} socket connect"
DEVICE_REQUESTS: Final = (SNP_GET_REPORT, SNP_GET_EXT_REPORT, TDX_CMD_GET_REPORT0)
CANNOT_START: Final = 2

OCTETS: Final = MappingProxyType({Kind.SEV_SNP: TeeOctet.SEV_SNP, Kind.TDX: TeeOctet.TDX})
LACKS: Final[Mapping[type[OSError], Lack]] = MappingProxyType(
    {
        errors.UnavailableError: Lack.UNAVAILABLE,
        errors.AccessError: Lack.ACCESS,
        errors.BusyError: Lack.BUSY,
        errors.RaceError: Lack.RACE,
        errors.InvalidRequestError: Lack.INVALID_REQUEST,
        errors.HostError: Lack.HOST,
        errors.KeyDisabledError: Lack.KEY_DISABLED,
        errors.OwnReportError: Lack.OWN_REPORT,
    }
)


@dataclass(frozen=True, slots=True)
class Source:
    """What signs. `sign` raises CollectError. `paths` are what it opens for each report."""

    tee: TeeName
    octet: TeeOctet
    sign: Callable[[bytes], Signed] = field(repr=False)
    paths: tuple[Path, ...] = ()
    system_calls: str = field(default=SYSTEM_CALLS, repr=False)
    device_requests: tuple[int, ...] = ()


def open_source(tee: Tee) -> Source:
    """What the configuration names. Raises OSError and VendorError; there is no falling back."""
    match tee:
        case HardwareTee():
            return hardware(Machine())
        case SimulatedTee():
            return simulated(Path(tee.folder))
        case _:
            assert_never(tee)


def hardware(machine: Machine) -> Source:
    """The first path to evidence that this machine's kernel offers. Raises CollectError."""
    source = HardwareSource.of(survey(machine))
    tee = name_of(source.kind)

    def sign(report_data: bytes) -> Signed:
        made = source.report(report_data)
        return Signed(tee, made.report, made.chain)

    calls = QUOTING_SYSTEM_CALLS if source.offer.over_vsock else HARDWARE_SYSTEM_CALLS
    return Source(tee, OCTETS[source.kind], sign, source.offer.paths, calls, DEVICE_REQUESTS)


def simulated(folder: Path) -> Source:
    """The simulated machine; its launch digest is that of this code. Raises OSError and VendorError."""
    measurement = code_measurement(Path(__file__).resolve().parent.parent)
    guest = SimulatedVendor.open(folder).power_on(measurement, now=int(time.time()))

    def sign(report_data: bytes) -> Signed:
        return Signed("sev-snp", guest.evidence_report(report_data), guest.chain, guest.crl)

    return Source("sev-snp", TeeOctet.SIMULATED, sign)


def name_of(kind: Kind) -> TeeName:
    """The format of the report, as the evidence document names it."""
    return "sev-snp" if kind is Kind.SEV_SNP else "tdx"


def run(connection: socket.socket, opening: Callable[[], Source], *, production: bool) -> int:
    """The life of a reporter, with whatever source. Returns the exit status."""
    protector = Protector(required=production)
    try:
        protector.apply(before_secrets())  # 1
        source = opening()  # 2
        source.sign(token_bytes(REPORT_DATA_BYTES))
        protector.apply(without_files(*source.paths))  # 3
        protector.apply(only_system_calls(source.system_calls, *source.device_requests))
    except (OSError, ProtectionError, VendorError) as error:
        sys.stderr.write(f"the enclave does not start: {error}\n")  # no secret is known here
        return CANNOT_START
    for protection, number in protector.refused.items():
        log(Unprotected(Part.REPORTER, protection, number))
    try:
        send_message(connection, Greeting(source.tee, source.octet, protector.granted()))
        while True:
            answer(connection, source)  # 4
    except (EOFError, ConnectionError):
        return 0


def answer(connection: socket.socket, source: Source) -> None:
    """Answer one question. Raises EOFError when there is none any more, and ConnectionError."""
    report_data = receive_exactly(connection, REPORT_DATA_BYTES)
    try:
        signed: Signed | NoReport = source.sign(report_data)
    except OSError as error:
        signed = NoReport(LACKS.get(type(error), Lack.OTHER))
        log(ReportFailed(signed.reason))
    send_message(connection, signed)


def main(arguments: list[str]) -> int:
    """Start with the descriptor of the socketpair, whether it is production, and the table `[tee]`."""
    descriptor, production, tee = arguments
    chosen = msgspec.json.decode(tee, type=Tee)
    connection = socket.socket(fileno=int(descriptor))
    hide_tracebacks(Part.REPORTER)
    return run(connection, lambda: open_source(chosen), production=bool(int(production)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
