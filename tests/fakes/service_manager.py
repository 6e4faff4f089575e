# SPDX-License-Identifier: Apache-2.0
"""What runs programs on a server: one that ends is started again, until it is told to stop."""

import os
import subprocess
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

PAUSE_SECONDS = 0.1
STOP_SECONDS = 20.0


class Service:
    """One program. `codes` are the exit codes of those that ended without being told to."""

    def __init__(self, command: list[str], folder: Path, log: Path) -> None:
        self._command, self._folder, self._log = command, folder, log
        self._changed = threading.Condition()
        self._stopped = False
        self.codes: list[int] = []
        self._process = self._start()
        self._thread = threading.Thread(target=self._keep, name="service")
        self._thread.start()

    @property
    def process_id(self) -> int:
        """The process that runs now, or ran last."""
        with self._changed:
            return self._process.pid

    def kill(self) -> None:
        """End it at once; it is started again."""
        with self._changed:
            self._process.kill()

    def stop(self) -> None:
        """End it for good, and politely."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
            self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        self._process.kill()
        self._thread.join()

    def _start(self) -> "subprocess.Popen[bytes]":
        environment = os.environ | {"TMPDIR": str(self._folder), "PYTHONDONTWRITEBYTECODE": "1"}
        with self._log.open("ab") as output:
            return subprocess.Popen(
                self._command, stdout=output, stderr=output, cwd=self._folder, env=environment
            )

    def _keep(self) -> None:
        while True:
            code = self._process.wait()
            with self._changed:
                if self._stopped or self._changed.wait_for(lambda: self._stopped, PAUSE_SECONDS):
                    return
                self.codes.append(code)
                self._process = self._start()


@contextmanager
def service(command: list[str], folder: Path, log: Path) -> Generator[Service]:
    """A program that runs until the block ends."""
    kept = Service(command, folder, log)
    try:
        yield kept
    finally:
        kept.stop()
