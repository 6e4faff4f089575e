# SPDX-License-Identifier: Apache-2.0
"""`sottovoce trust list|pin|forget`, and what is told when an enclave shows something new."""

import argparse
import json
import sys
from datetime import UTC, datetime

from rich.text import Text

from sottovoce import terminal
from sottovoce.exit_code import ExitCode
from sottovoce.help_text import with_examples
from sottovoce.memory import Notice, Origin, Seen, pin
from sottovoce.memory_file import Memory, encode
from sottovoce.trust import model_name, origin


def add_actions(parser: argparse.ArgumentParser) -> None:
    """Add what can be done with the memory."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    listed = with_examples(
        actions,
        "list",
        "show what is remembered",
        "sottovoce trust list",
        "sottovoce trust list https://llm.example --json",
    )
    listed.set_defaults(command=run_list)
    listed.add_argument("url", metavar="URL", nargs="?", default="", help="of this address alone")
    pinned = with_examples(
        actions,
        "pin",
        "accept no other release from this address",
        "sottovoce trust pin https://llm.example 3f786850e387550f",
    )
    pinned.set_defaults(command=run_pin, json=False)
    pinned.add_argument("url", metavar="URL", help="the address")
    pinned.add_argument("measurement", metavar="MEASUREMENT", help="its beginning, as the list shows it")
    forgotten = with_examples(
        actions,
        "forget",
        "forget an address, with its pins",
        "sottovoce trust forget https://llm.example",
    )
    forgotten.set_defaults(command=run_forget, json=False)
    forgotten.add_argument("url", metavar="URL", help="the address")
    listed.add_argument("--json", action="store_true", help="print one JSON object, for programs")


def show_notice(_address: str, notice: Notice) -> None:
    """One line beside the answer; a warning stands out."""
    style = "bold yellow" if notice.is_warning else "dim"
    terminal.notes.print(Text(terminal.printable(notice.line()), style))


def run_list(arguments: argparse.Namespace) -> int:
    """Show what is remembered."""
    origins = Memory().origins()
    if arguments.url:
        address = origin(arguments.url)
        origins = {address: origins.get(address, Origin())}
    if arguments.json:
        sys.stdout.write(json.dumps(json.loads(encode(origins))) + "\n")
        return ExitCode.DONE
    if not origins:
        terminal.notes.print("Nothing is remembered yet: no enclave was verified from this account.")
    for address, known in origins.items():
        terminal.paper.print(Text(terminal.printable(address), "bold"))
        for seen in known.releases:
            terminal.paper.print(Text(line(seen)), soft_wrap=True)
    return ExitCode.DONE


def line(seen: Seen) -> str:
    """One release for a person."""
    first, last = _day(seen.first), _day(seen.last)
    pinned = "  pinned" if seen.pinned else ""
    model = model_name(bytes.fromhex(seen.what.model))
    return f"  {seen.what.measurement[:16]}  {model}  {first} to {last}{pinned}"


def _day(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d")


def run_pin(arguments: argparse.Namespace) -> int:
    """Pin a release that was shown."""
    Memory().change(origin(arguments.url), lambda known: pin(known, arguments.measurement.lower()))
    return ExitCode.DONE


def run_forget(arguments: argparse.Namespace) -> int:
    """Forget an address."""
    Memory().forget(origin(arguments.url))
    return ExitCode.DONE
