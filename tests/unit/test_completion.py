# SPDX-License-Identifier: Apache-2.0
"""Completion as shells do it: each loads the printed script by itself, and says what it offers."""

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
LOADED = """
import sys
from sottovoce import start
sys.argv = ["sottovoce", *{words!r}]
try:
    start.main()
except SystemExit:
    pass
print("shtab" in sys.modules, file=sys.stderr)
"""


def needs(shell: str) -> pytest.MarkDecorator:
    """Skip where there is no such shell."""
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"{shell} is not installed")


@cache
def script(shell: str, program: str = "sottovoce") -> str:
    """What `sottovoce completion` prints."""
    command = [sys.executable, "-P", "-m", "sottovoce", "completion", shell, program]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def output(*command: str, folder: Path | None = None) -> list[str]:
    """What a shell prints, line by line."""
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, cwd=folder)
    return done.stdout.splitlines()


def in_bash(folder: Path, *words: str) -> set[str]:
    """What bash offers for the last of these words, by the function that is registered for the first."""
    file = folder / "completion.bash"
    file.write_text(script("bash", words[0]), encoding="utf-8")
    program = """
        source "$1"; shift
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
        registered=$(complete -p "$1"); function=${registered#*-F }
        "${function%% *}" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    return {line.strip() for line in output("bash", "-c", program, "bash", str(file), *words, folder=folder)}


@needs("bash")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("sottovoce", "ver"), {"verify"}),
        (("sottovoce", "co"), {"completion"}),
        (("sottovoce", "ask", "--rec"), {"--receipt"}),
        (("sottovoce", "trust", "p"), {"pin"}),
        (("sottovoce", "receipt", "verify", "--ans"), {"--answer"}),
        (("sottovoce", "proxy", "--let"), {"--let-the-network-read-along"}),
        (("sottovoce", "verify", "--assurance", ""), {"L1", "L2"}),
        (("sottovoce", "completion", "z"), {"zsh"}),
        (("sottovoce", "attest", "--only"), {"--only-look"}),
        (("sottovoce", "simulate", "td"), {"tdx"}),
        (("sottovoce", "simulate", "snp", "--spoil", "debu"), {"debug"}),
        (("sottovoce-models", "req"), {"requantise"}),
        (("sottovoce-models", "requantise", "--type", "Q8"), {"Q8_0"}),
    ],
)
def test_bash_offers(tmp_path: Path, words: tuple[str, ...], offered: set[str]) -> None:
    assert in_bash(tmp_path, *words) == offered


@needs("bash")
def test_bash_offers_files_where_a_file_is_meant(tmp_path: Path) -> None:
    (tmp_path / "hospital.toml").touch()
    assert in_bash(tmp_path, "sottovoce", "verify", "--policy", "hosp") == {"hospital.toml"}
    assert in_bash(tmp_path, "sottovoce", "receipt", "verify", "hosp") == {"hospital.toml"}


@needs("fish")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("sottovoce ver", {"verify"}),
        ("sottovoce ask --rec", {"--receipt"}),
        ("sottovoce trust p", {"pin"}),
        ("sottovoce simulate td", {"tdx"}),
    ],
)
def test_fish_offers(tmp_path: Path, line: str, offered: set[str]) -> None:
    file = tmp_path / "sottovoce.fish"
    file.write_text(script("fish"), encoding="utf-8")
    program = f'source {file}; complete --do-complete="{line}"'
    found = output("fish", "--no-config", "-c", program, folder=tmp_path)
    assert {each.partition("\t")[0] for each in found} == offered


@needs("zsh")
def test_zsh_registers_the_completion_and_knows_every_command(tmp_path: Path) -> None:
    (tmp_path / "_sottovoce").write_text(script("zsh"), encoding="utf-8")
    program = f"""
        fpath=({tmp_path} $fpath); autoload -U compinit; compinit -u -d {tmp_path}/dump
        print -r -- $_comps[sottovoce]
        compadd() {{ :; }}; _arguments() {{ :; }}; _describe() {{ print -rl -- "${{(P)2[@]}}" }}
        autoload +X _sottovoce && eval "$(<{tmp_path}/_sottovoce)" && _shtab_sottovoce_commands
    """
    first, *described = output("zsh", "-f", "-c", program, folder=tmp_path)
    assert first == "_sottovoce"
    offered = {each.partition(":")[0] for each in described}
    assert {"verify", "ask", "chat", "trust", "receipt", "proxy", "attest", "simulate"} <= offered


@pytest.mark.parametrize("shell", ["bash", "fish", "zsh"])
@pytest.mark.parametrize("program", ["sottovoce", "sottovoce-models"])
def test_a_script_is_one_that_its_shell_can_read(tmp_path: Path, shell: str, program: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    file = tmp_path / "script"
    file.write_text(script(shell, program), encoding="utf-8")
    subprocess.run([shell, "-n", file], check=True, timeout=60)


@pytest.mark.parametrize(("words", "loaded"), [(["--help"], "False"), (["completion", "bash"], "True")])
def test_the_library_is_loaded_for_completion_alone(words: list[str], loaded: str) -> None:
    command = [sys.executable, "-P", "-c", LOADED.format(words=words)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr.strip() == loaded


def test_the_version_is_said_at_once() -> None:
    """Little is loaded: this is what makes it quick on any machine."""
    command = [sys.executable, "-P", "-X", "importtime", "-c", LOADED.format(words=["--version"])]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    names = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "sottovoce" in names
    assert names.isdisjoint({"argparse", "attestation", "cryptography", "httpx", "rich", "shtab", "wire"})
