# SPDX-License-Identifier: Apache-2.0
"""A running `sottovoce proxy`."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.local import Place, free_port
from tests.conftest import wait_until

COMMAND = Path(sys.executable).parent / "sottovoce"


@dataclass(frozen=True, slots=True)
class Proxy:
    """A running endpoint."""

    url: str
    log: Path
    process: "subprocess.Popen[bytes]"

    @property
    def api(self) -> str:
        """The base URL."""
        return f"{self.url}/v1"

    @property
    def printed(self) -> str:
        """What it said so far."""
        return self.log.read_text(encoding="utf-8")


@contextmanager
def running_proxy(place: Place, folder: Path, *options: str) -> Generator[Proxy]:
    """Start one in front of a running enclave, away from the checkout; this folder is its home."""
    port, log = free_port(), folder / "proxy.log"
    words = ("--require", str(place.policy), "--listen", f"127.0.0.1:{port}", *options)
    with log.open("wb") as printed:
        process = subprocess.Popen(
            [str(COMMAND), "proxy", place.audience, *words],
            stdout=printed,
            stderr=subprocess.STDOUT,
            cwd="/",
            env={"PATH": os.environ["PATH"], "HOME": str(folder), "COLUMNS": "200"},
        )
    try:
        wait_until(lambda: "/v1 -> " in log.read_text() or process.poll() is not None, "the proxy")
        yield Proxy(f"http://127.0.0.1:{port}", log, process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)
