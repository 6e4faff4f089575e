# SPDX-License-Identifier: Apache-2.0
"""The command says in one sentence why it wrote nothing."""

import subprocess
import sys
from pathlib import Path


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    command = [sys.executable, "-P", "-m", "attestation.simulated", "tdx", "--seed", "a", "--out"]
    done = subprocess.run(
        [*command, str(tmp_path / "file" / "out")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("nothing was made: ")
    assert len(done.stderr.splitlines()) == 1
