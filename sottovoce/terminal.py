# SPDX-License-Identifier: Apache-2.0
"""What a person sees: the table of checks, the banner, the answer. Colours only on a terminal."""

import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from attestation.results.platform import encode_platform
from attestation.results.serialization import JSON
from attestation.results.values import Value
from attestation.verdict import Check, Outcome, Verdict
from sottovoce.one_time_keys import Assurance
from sottovoce.trust import model_name

SIMULATED = "SIMULATED: no hardware protects this enclave; its operator can read along"
WIDE_COLUMNS = 130
TIMES = frozenset({"tcb_date", "issued_at", "expires_at"})
# What is said beside an answer goes to standard error, so that an answer can be piped on.
# With NO_COLOR there are neither colours nor bold or dim letters.
COLOURS: Final = None if os.environ.get("NO_COLOR") else "auto"
notes = Console(stderr=True, highlight=False, color_system=COLOURS)
paper = Console(highlight=False, color_system=COLOURS)


def show_verdict(verdict: Verdict, url: str) -> None:
    """Print every check, then the verdict in one line."""
    banner(verdict, paper)
    paper.print(Text(f"Is {url} what it says it is?", "bold"))
    if verdict.details is not None:
        paper.print(_machine(encode_platform(verdict.details, JSON)))
    paper.print(_wide(verdict.checks) if paper.width >= WIDE_COLUMNS else _narrow(verdict.checks))
    paper.print(_summary(verdict, sent="://" in url))


def _machine(facts: Mapping[int | str, Value]) -> Table:
    """What the evidence says of the machine, and what the manufacturer says of that; nothing is markup."""
    table = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        table.add_row(Text(str(name).replace("_", " "), "dim"), Text(_short(_fact(str(name), value))))
    return table


def _fact(name: str, value: Value) -> str:
    match value:
        case dict():
            return ", ".join(
                f"{str(key).replace('_', ' ')} {_fact(str(key), each)}" for key, each in value.items()
            )
        case list():
            return ", ".join(map(str, value)) or "none"
        case int() if name in TIMES:
            return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d")
        case _:
            return str(value) or "none"


def write_line(text: str) -> None:
    """Print a line for a program."""
    sys.stdout.write(text + "\n")


def _wide(checks: tuple[Check, ...]) -> Table:
    """One row for each check; nothing in it is taken as markup."""
    table = Table(expand=False)
    for name in ("", "check", "expected", "found", "why it matters"):
        table.add_column(name, overflow="fold")
    for check in checks:
        cells = (check.name, _short(check.expected), _short(check.found))
        table.add_row(_mark(check), *map(Text, cells), Text(check.why, "dim"))
    return table


def _narrow(checks: tuple[Check, ...]) -> Table:
    """The same for a small screen: what was found, and below it what was expected and why."""
    table = Table.grid(padding=(0, 1))
    for check in checks:
        table.add_row(_mark(check), Text.assemble((check.name, "bold"), f": {_short(check.found)}"))
        table.add_row("", Text(f"expected {_short(check.expected)}. {check.why}", "dim"))
    return table


def _mark(check: Check) -> Text:
    match check.outcome:
        case Outcome.PASSED:
            return Text("pass", "green")
        case Outcome.NOTED:
            return Text("note", "yellow")
        case Outcome.WAIVED:
            return Text("----", "yellow")
        case Outcome.FAILED | Outcome.NOT_EVALUATED:
            return Text("FAIL", "bold red")


def _short(text: str) -> str:
    """The text with long digests cut in the middle; --json has them whole."""
    words = [f"{word[:12]}...{word[-4:]}" if len(word) > 48 else word for word in text.split(" ")]
    return printable(" ".join(words))


def _summary(verdict: Verdict, *, sent: bool) -> Text:
    failed = sum(not (check.ok or check.waived) for check in verdict.checks)
    waived = sum(check.waived for check in verdict.checks)
    if not verdict.verified and not verdict.refused:
        return Text(
            f"NOT VERIFIED: nothing is wrong, but {waived} of {len(verdict.checks)} checks could not be made "
            "with what was given.",
            "bold yellow",
        )
    if not verdict.verified:
        kept = " Nothing was sent." if sent else ""
        return Text(f"REFUSED: {failed} of {len(verdict.checks)} checks failed.{kept}", "bold red")
    simulated = " of a SIMULATED enclave" if verdict.simulated else ""
    model = f" It serves {model_name(verdict.claims.model)}." if verdict.claims else ""
    return Text(f"VERIFIED: all {len(verdict.checks)} checks{simulated} passed.{model}", "bold green")


def banner(verdict: Verdict, console: Console = notes) -> None:
    """Say SIMULATED where it is."""
    if verdict.simulated:
        console.print(Text(f" {SIMULATED} ", "black on yellow"))


def show_assurance(assurance: Assurance) -> None:
    """One line below the checks: how sure a client is of who reads along (wire.md 6.10)."""
    paper.print(Text(f"Assurance {assurance.value}: {assurance.meaning}.", "green"))


def show_verified(verdict: Verdict, assurance: Assurance) -> None:
    """One line above an answer: what was verified."""
    banner(verdict)
    assert verdict.claims is not None, "a verified enclave has claims"
    model = model_name(verdict.claims.model)
    checked = f"verified {len(verdict.checks)} checks: {verdict.tee}, {model}"
    line = f"{checked}, hybrid post-quantum, {assurance.value}"
    notes.print(Text(line, "green"))


def show_piece(text: str) -> None:
    """Print a piece of an answer as it comes; on a terminal without control characters."""
    sys.stdout.write(printable(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def mark_incomplete() -> None:
    """Say where a cut answer ends that this is not its end."""
    show_piece("\n[THE ANSWER ABOVE IS INCOMPLETE]\n")


def printable(text: str) -> str:
    """The text without what could move a cursor or change a terminal."""
    return "".join(character for character in text if character.isprintable() or character in "\n\t")


def complain(sentence: str) -> None:
    """Say what went wrong and what to do."""
    notes.print(Text(printable(sentence), "bold red"))
