# SPDX-License-Identifier: Apache-2.0
"""How soon all starts again, and who outlives whom."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from enclave.supervisor import LONGEST_PAUSE_SECONDS, pause_seconds
from tests.conftest import wait_until


def test_each_pause_is_longer_until_the_longest() -> None:
    assert [pause_seconds(ends) for ends in range(10)] == [0, 0, 0, 0.5, 1, 2, 4, 8, 16, 30]
    assert pause_seconds(10_000) == LONGEST_PAUSE_SECONDS


# A supervisor that starts `sleep` the way it starts its parts, and is killed before or after that.
PARENT = """
import os, signal, sys
from enclave import supervisor
supervisor.PYTHON = ("/bin/sh", "-c", 'echo $$ > "$0"; exec /bin/sleep 60')
if sys.argv[2] == "before":
    real = supervisor.die_with
    def late(parent):
        os.kill(parent, signal.SIGKILL)
        while os.getppid() == parent:
            pass
        real(parent)
    supervisor.die_with = late
supervisor.start(sys.argv[1], (), ())
sys.stdin.read()
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_part_does_not_outlive_a_supervisor_that_is_killed(tmp_path: Path, when: str) -> None:
    started = tmp_path / "process"
    parent = subprocess.Popen(
        [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, '.'){PARENT}", str(started), when],
        stdin=subprocess.PIPE,
    )
    with parent:
        if when == "after":
            wait_until(lambda: started.exists() and started.read_text().endswith("\n"), "the part runs")
            part = int(started.read_text())
            wait_until(lambda: Path(f"/proc/{part}/comm").read_text() == "sleep\n", "it sleeps")
            parent.kill()
            wait_until(lambda: not is_running(part), "the part has ended")
        assert parent.wait(20) == -signal.SIGKILL
    if when == "before":
        assert not started.exists()


def is_running(process: int) -> bool:
    """Whether a process has not ended; nobody waits for an orphan here."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
