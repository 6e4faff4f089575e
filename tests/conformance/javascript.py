# SPDX-License-Identifier: Apache-2.0
"""Runs a program of this folder with Node, and says plainly where it cannot."""

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
SECONDS = 60


def javascript(program: str, *arguments: str, work: Sequence[Mapping[str, object]] = ()) -> str:
    """What a program prints, given some work as JSON on its standard input.

    Skips the test where Node or the packages are not installed; `make test` installs them where npm is.
    """
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed, so clients in JavaScript are not run")
    if not (FOLDER / "node_modules").is_dir():
        pytest.skip("the JavaScript packages are not installed: make tests/conformance/node_modules")
    done = subprocess.run(
        [node, str(FOLDER / program), *arguments],
        input=json.dumps(work),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        cwd=FOLDER,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
