# SPDX-License-Identifier: Apache-2.0
"""The session process's end of the socketpair to the reporter. Its calls block; threads may share it."""

import socket
import threading

from attestation.binding import TeeOctet
from enclave.events import Lack
from enclave.report_protocol import (
    REPORT_DATA_BYTES,
    Greeting,
    Message,
    NoReport,
    ProtocolError,
    Signed,
    receive_message,
)

# A kernel waits a minute for a host that throttles, and the reporter is patient for half a minute more.
REPORT_SECONDS = 120.0


class ReportError(OSError):
    """The hardware gave no report this time."""

    def __init__(self, reason: Lack) -> None:
        super().__init__(f"no report: {reason.value}")
        self.reason = reason


class ReporterGoneError(OSError):
    """The reporter process has ended, is too slow, or speaks nonsense. A new one is needed."""


class Reporter:
    """Asks the reporter process, one question at a time."""

    def __init__(self, connection: socket.socket) -> None:
        """Join the socketpair; `open` has to follow."""
        self._connection, self._lock = connection, threading.Lock()
        self._greeting: Greeting | None = None
        connection.settimeout(REPORT_SECONDS)

    def open(self, *, production: bool) -> None:
        """Wait until the reporter can report. Raises ReporterGoneError.

        In production one that is simulated is refused here once more, whatever the configuration was.
        """
        greeting = self._receive()
        if not isinstance(greeting, Greeting):
            raise self._gone()
        if production and greeting.octet is TeeOctet.SIMULATED:
            raise self._gone()
        self._greeting = greeting

    @property
    def octet(self) -> TeeOctet:
        """What report data names the hardware."""
        return self._greeted().octet

    @property
    def protections(self) -> dict[str, str]:
        """What the kernel granted or refused the reporter, by name."""
        return self._greeted().protections

    def signed_report(self, report_data: bytes) -> Signed:
        """A signed report over 64 bytes. Raises ReportError, and ReporterGoneError."""
        assert len(report_data) == REPORT_DATA_BYTES
        with self._lock:
            try:
                self._connection.sendall(report_data)
            except OSError:
                raise self._gone() from None
            message = self._receive()
            if isinstance(message, NoReport):
                raise ReportError(message.reason)
            if isinstance(message, Greeting) or message.tee != self._greeted().tee:
                raise self._gone()
            return message

    def _receive(self) -> Message:
        try:
            return receive_message(self._connection)
        except (OSError, EOFError, ProtocolError):
            raise self._gone() from None

    def _greeted(self) -> Greeting:
        if self._greeting is None:
            raise RuntimeError("asked for a report before open")
        return self._greeting

    def _gone(self) -> ReporterGoneError:
        """End the stream: what came late would be taken for the answer to another question."""
        self._connection.close()
        return ReporterGoneError("the reporter process is gone")
