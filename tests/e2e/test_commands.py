# SPDX-License-Identifier: Apache-2.0
"""The command line as its users have it: real commands against a real enclave."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local import free_port
from tests.conftest import Pair

COMMAND = Path(sys.executable).parent / "sottovoce"


def run(*arguments: str, stdin: str = "", home: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the installed command, away from the checkout."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home or os.environ["XDG_DATA_HOME"]),
        "COLUMNS": "100",
    }
    command = [str(COMMAND), *arguments]
    return subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        env=environment,
        cwd="/",
    )


def with_policy(pair: Pair) -> tuple[str, ...]:
    """The options that accept this enclave."""
    return ("--policy", str(pair.place.policy))


def test_verify_prints_every_check_and_says_simulated(pair: Pair) -> None:
    done = run("verify", pair.url, *with_policy(pair))
    assert done.returncode == 0
    assert "SIMULATED" in done.stdout
    assert "VERIFIED" in done.stdout
    for name in (
        "report signature",
        "certificate chain",
        "trust anchor",
        "measurement",
        "report data binding",
    ):
        assert f"{name}:" in done.stdout
    assert done.stdout.count("expected ") > 20
    assert "\x1b" not in done.stdout


def test_verify_prints_one_json_object(pair: Pair) -> None:
    done = run("verify", pair.url, "--json", *with_policy(pair))
    verdict = json.loads(done.stdout)
    assert done.returncode == 0
    assert (verdict["verified"], verdict["simulated"], verdict["tee"]) == (True, True, "sev-snp")
    assert len(verdict["measurement"]) == 96
    assert len(verdict["model"]) == 64
    assert len(verdict["checks"]) > 20
    assert all(
        {"name", "ok", "detail"} <= check.keys() and check["ok"] is True for check in verdict["checks"]
    )


def test_simulated_needs_the_policy_of_this_user(pair: Pair, tmp_path: Path) -> None:
    assert run("verify", pair.url, "--simulated", home=tmp_path).returncode == 20
    own = tmp_path / ".local" / "share" / "sottovoce" / "simulated" / "policy.toml"
    own.parent.mkdir(parents=True)
    own.write_bytes(pair.place.policy.read_bytes())
    assert run("verify", pair.url, "--simulated", home=tmp_path).returncode == 0


def test_the_default_policy_refuses_simulated_hardware(pair: Pair) -> None:
    done = run("verify", pair.url, "--json")
    verdict = json.loads(done.stdout)
    assert (done.returncode, verdict["verified"]) == (10, False)
    assert "trust anchor" in [check["name"] for check in verdict["checks"] if not check["ok"]]
    assert run("ask", pair.url, "?").returncode == 10
    assert "REFUSED" in run("verify", pair.url).stdout


def test_ask_prints_the_answer_alone_on_standard_output(pair: Pair) -> None:
    done = run(
        "ask", pair.url, *with_policy(pair), "--temperature", "0", "--max-tokens", "16", "What is gravity?"
    )
    assert done.returncode == 0
    assert done.stdout.startswith("Gravity is")
    assert "SIMULATED" in done.stderr
    assert "SIMULATED" not in done.stdout


def test_ask_reads_standard_input_and_speaks_json(pair: Pair) -> None:
    done = run(
        "ask", pair.url, *with_policy(pair), "--temperature", "0", "--json", "-", stdin="What is gravity?"
    )
    answer = json.loads(done.stdout)
    assert answer["answer"].startswith("Gravity is")
    assert (answer["verified"], answer["simulated"]) == (True, True)


def test_chat_answers_line_after_line(pair: Pair) -> None:
    lines = "My name is Ada.\n\nWhat is gravity?\n"
    done = run("chat", pair.url, *with_policy(pair), "--temperature", "0", "--max-tokens", "12", stdin=lines)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) >= 2


@pytest.mark.parametrize("command", [("verify",), ("ask", "?"), ("chat",)])
def test_a_host_that_is_not_there_could_not_be_checked(pair: Pair, command: tuple[str, ...]) -> None:
    url = f"http://localhost:{free_port()}"
    done = run(command[0], url, *command[1:], *with_policy(pair))
    assert done.returncode == 20
    assert "could not check" in done.stderr


def test_an_error_of_the_enclave_has_its_own_exit_code(pair: Pair) -> None:
    done = run("ask", pair.url, *with_policy(pair), "--model", "gpt-4", "?")
    assert done.returncode == 40
    assert "gpt-4" in done.stderr
