# SPDX-License-Identifier: Apache-2.0
"""The command's memory, against the real enclave."""

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import Pair


def test_the_command_remembers_warns_and_keeps_to_a_pin(pair: Pair, tmp_path: Path) -> None:
    file = tmp_path / "sottovoce" / "trust.json"

    def run(command: str, *rest: str) -> "subprocess.CompletedProcess[str]":
        policy = ("--policy", str(pair.place.policy)) if command in {"ask", "verify"} else ()
        return subprocess.run(
            [sys.executable, "-P", "-m", "sottovoce", command, *rest, *policy],
            capture_output=True,
            check=False,
            text=True,
            timeout=60,
            env=os.environ | {"XDG_DATA_HOME": str(tmp_path)},
        )

    def ask() -> "subprocess.CompletedProcess[str]":
        return run("ask", pair.url, "--max-tokens", "2", "Who are you?")

    assert "new to you" in ask().stderr
    again = run("verify", pair.url)
    assert (again.returncode, "WARNING" in again.stderr, "new to you" in again.stderr) == (0, False, False)
    (measurement,) = [line.split()[0] for line in run("trust", "list", pair.url).stdout.splitlines()[1:]]
    assert run("trust", "pin", pair.url, "ffff" * 4).returncode == 20
    assert run("trust", "pin", pair.url, measurement).returncode == 0
    assert ask().returncode == 0
    assert "pinned" in run("trust", "list").stdout

    good = file.read_text(encoding="utf-8")
    file.write_text(good.replace(measurement, "f" * len(measurement)), encoding="utf-8")
    seen = len(pair.outside.forward)
    refused = ask()
    assert refused.returncode == 10
    assert "is not pinned for this address" in " ".join(refused.stderr.split())
    sent = b"".join(pair.outside.forward[seen:])
    assert sent.count(b"GET ") == 1
    assert b"POST " not in sent  # the public evidence was enough to refuse

    file.write_text(
        good.replace(measurement, "f" * len(measurement)).replace("true", "false"), encoding="utf-8"
    )
    changed = ask()
    assert changed.returncode == 0
    assert "WARNING, changed: changed since last time: measurement" in " ".join(changed.stderr.split())
    assert run("trust", "forget", pair.url).returncode == 0
    assert "new to you" in ask().stderr
    file.write_text("spoiled", encoding="utf-8")
    assert ask().returncode == 20
