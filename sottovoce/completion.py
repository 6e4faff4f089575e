# SPDX-License-Identifier: Apache-2.0
"""`sottovoce completion`: what makes a shell complete the commands, written by shtab from the parsers."""

import argparse
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeGuard

import shtab

from sottovoce import command_line
from sottovoce.exit_code import ExitCode

PATHS = ("FILE", "FOLDER", "POLICY", "WHAT")


def main(arguments: argparse.Namespace) -> int:
    """Print the completion of one program for one shell."""
    parser = models() if arguments.program == "sottovoce-models" else whole()
    for each in parsers(parser):
        complete_files(each)
    sys.stdout.write(shtab.complete(parser, arguments.shell) + "\n")
    return ExitCode.DONE


def models() -> argparse.ArgumentParser:
    """The parser of the command for models."""
    return _parser("models.__main__")


def whole() -> argparse.ArgumentParser:
    """The parser of `sottovoce`, with those of the commands that are programs of their own.

    What verifies never loads these. This process verifies nothing.
    """
    parser = command_line.parser()
    (commands,) = subcommands(parser)
    commands["attest"] = _parser("attestation.collect.__main__")
    commands["simulate"] = _parser("attestation.simulated.arguments")
    return parser


def _parser(module: str) -> argparse.ArgumentParser:
    make: Callable[[], argparse.ArgumentParser] = importlib.import_module(module).parser
    return make()


def subcommands(parser: argparse.ArgumentParser) -> list[dict[str, argparse.ArgumentParser]]:
    """The commands of a parser by name, for each place where one is chosen."""
    actions = parser._actions  # noqa: SLF001 - argparse shows them nowhere else
    return [action.choices for action in actions if _are_commands(action.choices)]


def _are_commands(choices: object) -> TypeGuard[dict[str, argparse.ArgumentParser]]:
    """Other choices than those of commands are lists."""
    return isinstance(choices, dict)


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and all below it."""
    yield parser
    for commands in subcommands(parser):
        for each in commands.values():
            yield from parsers(each)


def complete_files(parser: argparse.ArgumentParser) -> None:
    """Complete files where a file is meant."""
    for action in parser._actions:  # noqa: SLF001 - as above
        if action.type is Path or any(word in str(action.metavar) for word in PATHS):
            setattr(action, "complete", shtab.FILE)  # noqa: B010 - shtab's own name, which argparse lacks
