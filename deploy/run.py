# SPDX-License-Identifier: Apache-2.0
"""`make run`: an enclave and a host on http://localhost:8080 until Ctrl-C."""

import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from subprocess import Popen
from types import FrameType

from deploy.local import Place, StartError, enclave, host, is_listening, vendor_folder
from sottovoce.trust import simulated_policy_path

PORT = 8080
NEXT = """\
An enclave (SIMULATED SEV-SNP) answers at {url}, behind a host that cannot read it.
Try, in another terminal:

  .venv/bin/sottovoce verify {url} --simulated
  .venv/bin/sottovoce ask {url} --simulated "What is a trust boundary?"
  .venv/bin/sottovoce chat {url} --simulated
  curl {url}/healthz

The enclave's events are in {log}. Ctrl-C ends both.
"""


def main() -> int:
    """Run until Ctrl-C; 0 then, 1 when a part does not start or ends by itself."""
    signal.signal(signal.SIGTERM, _interrupt)
    if is_listening(PORT):
        sys.stderr.write(f"port {PORT} is taken: end the program that listens there, then try again\n")
        return 1
    with tempfile.TemporaryDirectory(prefix="sottovoce-") as name:
        place = Place(Path(name), vendor_folder(), PORT, f"http://localhost:{PORT}")
        try:
            with enclave(place) as enclave_process, host(place) as host_process:
                shutil.copy(place.policy, simulated_policy_path())  # what --simulated reads
                print(NEXT.format(url=place.url, log=place.enclave_log), flush=True)
                return watch(enclave_process, host_process)
        except StartError as error:
            sys.stderr.write(f"{error}\n")
            return 1
        except KeyboardInterrupt:
            print("\nended")
            return 0


def watch(*processes: "Popen[bytes]") -> int:
    """Wait until one of them ends."""
    while all(process.poll() is None for process in processes):
        time.sleep(0.2)
    sys.stderr.write("a part ended by itself\n")
    return 1


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
