# SPDX-License-Identifier: Apache-2.0
"""Every command says by examples what it is for, is listed in docs/commands.md, and draws nothing in vain."""

import argparse
import os
import pty
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import attestation.collect.__main__ as collect
import attestation.simulated.arguments as simulate
import enclave.__main__ as enclave
import host.__main__ as host
import models.__main__ as models
from host import bundle
from sottovoce import command_line
from sottovoce.completion import parsers, subcommands
from sottovoce.exit_code import ExitCode

ROOT = Path(__file__).parents[2]
ESCAPE = "\x1b"
PROGRAMS = ("attest", "simulate")  # of `sottovoce`; they have parsers of their own
MODULES = {
    "sottovoce": "sottovoce",
    "sottovoce-models": "models",
    "python -m attestation.collect": "attestation.collect",
    "python -m attestation.simulated": "attestation.simulated",
    "python -P -m enclave": "enclave",
    "python -P -m host": "host",
    "python -P -m host.bundle": "host.bundle",
}

EXAMPLE = re.compile(rf"^  +(?:[^|]+\| )?((?:{'|'.join(sorted(MODULES, reverse=True))})(?: .*)?)$")


@cache
def tops() -> tuple[argparse.ArgumentParser, ...]:
    """The parser of each program."""
    whole = command_line.parser()
    for name in PROGRAMS:
        del subcommands(whole)[0][name]
    others = (collect.parser(), simulate.parser(), enclave.parser(), host.parser(), bundle.parser())
    return whole, models.parser(), *others


@cache
def commands() -> dict[str, argparse.ArgumentParser]:
    """Every command by its whole name."""
    return {each.prog: each for top in tops() for each in parsers(top)}


def examples(parser: argparse.ArgumentParser) -> Iterator[list[str]]:
    """The words of each example below a help text that is for one of our programs, without redirections."""
    for line in (parser.epilog or "").replace("\\\n", " ").splitlines():
        found = EXAMPLE.match(line)
        if found:
            words = shlex.split(found[1])
            yield words[: next((place for place, word in enumerate(words) if word in "<>|"), len(words))]


def program_of(words: list[str]) -> tuple[argparse.ArgumentParser, list[str]]:
    """Which program an example runs, and what it is told."""
    top = max(
        (top for top in tops() if words[: len(top.prog.split())] == top.prog.split()),
        key=lambda top: len(top.prog),
    )
    return top, words[len(top.prog.split()) :]


def test_all_programs_are_walked() -> None:
    assert {top.prog for top in tops()} == set(MODULES)
    assert len(commands()) > 25


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_has_an_example_of_itself_and_all_of_them_parse(name: str) -> None:
    found = list(examples(commands()[name]))
    assert any(words[: len(name.split())] == name.split() for words in found), name
    for words in found:
        top, told = program_of(words)
        if top.prog == "sottovoce" and told[0] in PROGRAMS:
            top = collect.parser() if told[0] == "attest" else simulate.parser()
            told = told[1:]
        assert top.parse_args(told) is not None


def sections() -> dict[str, str]:
    """The sections of docs/commands.md by their headings."""
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^## `?([^`\n]+)`?\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_and_option_is_in_the_document_and_no_other(name: str) -> None:
    found, parser = sections(), commands()[name]
    assert name in found, f"docs/commands.md has no section on {name}"
    shared = [text for title, text in found.items() if f"(#{title.lower().replace(' ', '-')})" in found[name]]
    listed = {
        each
        for text in (found[name], *shared)
        for each in re.findall(r"^\| `(--[a-z-]+)", text, re.MULTILINE)
    }
    groups = [{each for each in action.option_strings if each.startswith("--")} for action in parser._actions]
    taken = [group for group in groups if group and not group & {"--help", "--version"}]
    assert all(group & listed for group in taken), "an option is not in the document"
    assert listed <= set[str]().union(*taken), "the document has an option that the command has not"


def test_the_document_has_no_command_that_does_not_exist() -> None:
    programs = tuple(MODULES)
    assert {title for title in sections() if title.startswith(programs)} == set(commands())


def test_the_table_of_exit_codes_is_that_of_the_code() -> None:
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    table = {
        int(code): meaning for code, meaning in re.findall(r"^\| (\d+) \| ([^|]+) \|$", text, re.MULTILINE)
    }
    assert table == {int(code): code.meaning for code in ExitCode}
    assert {code.value for code in models.ExitCode} <= set(table)
    whole = command_line.parser().format_help()
    for code in ExitCode:
        assert re.search(rf"^ +{code.value}  {re.escape(code.meaning)}$", whole, re.MULTILINE)


def in_terminal(*command: str, **environment: str) -> str:
    """What a program writes to a terminal."""
    leader, follower = pty.openpty()
    given = {name: os.environ[name] for name in ("PATH", "HOME", "XDG_DATA_HOME") if name in os.environ}
    with subprocess.Popen(
        [sys.executable, "-P", "-m", *command],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=given | {"TERM": "xterm-256color", "COLUMNS": "100"} | environment,
    ) as process:
        os.close(follower)
        written = b""
        try:
            while piece := os.read(leader, 65536):
                written += piece
        except OSError:
            pass  # how a terminal says that nobody writes to it any more
        process.wait(60)
    os.close(leader)
    return written.decode()


SHOWN = [
    *[(module, "--help") for module in MODULES.values()],
    ("sottovoce", "verify", "http://127.0.0.1:1"),
    ("sottovoce", "ask", "http://127.0.0.1:1", "?"),
    ("sottovoce", "chat", "http://127.0.0.1:1"),
    ("sottovoce", "proxy", "http://127.0.0.1:1"),
    ("sottovoce", "trust", "list"),
    ("sottovoce", "receipt", "verify", "/nowhere"),
    ("sottovoce", "attest", "--only-look"),
    ("sottovoce", "nonsense"),
    ("models", "list"),
    ("models", "verify", "/nowhere"),
    ("enclave", "--config", "/nowhere"),
    ("host", "--config", "/nowhere"),
    ("host.bundle", "inspect", "/nowhere"),
    ("attestation.simulated", "root", "--tee", "tdx", "--seed", "demo"),
]


@pytest.mark.parametrize("command", SHOWN, ids=" ".join)
def test_nothing_is_coloured_or_moved_where_no_person_reads_or_wants_it(command: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", *command], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout + done.stderr
    assert ESCAPE not in done.stdout + done.stderr
    assert ESCAPE not in in_terminal(*command, NO_COLOR="1")


def test_a_person_at_a_terminal_sees_colours() -> None:
    assert ESCAPE + "[1;31m" in in_terminal("sottovoce", "ask", "http://127.0.0.1:1", "?")
