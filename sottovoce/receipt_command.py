# SPDX-License-Identifier: Apache-2.0
"""`sottovoce receipt verify`, and how receipts are kept on disk. It works without a network."""

import argparse
import itertools
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from rich.text import Text

from attestation.policy import with_any_machine
from attestation.verdict import Check, Outcome
from sottovoce import terminal
from sottovoce.exit_code import ExitCode
from sottovoce.help_text import with_examples
from sottovoce.offline import OfflineError, unix_time
from sottovoce.receipted import Kept
from sottovoce.receipts import ReceiptVerdict, Subject, judge, receipt_json
from sottovoce.trust import choose_policy, model_name
from wire.receipt import MAX_RECEIPT_BYTES, Receipt

RECEIPT, EVIDENCE, REQUEST, ANSWER = "receipt.cbor", "evidence.json", "request.json", "answer.txt"
MAX_FILE_BYTES = 64 << 20


def add_actions(receipt: argparse.ArgumentParser, checking: argparse.ArgumentParser) -> None:
    """Add what can be done with a receipt."""
    actions = receipt.add_subparsers(metavar="ACTION", required=True)
    verify = with_examples(
        actions,
        "verify",
        "check a receipt, without a network",
        "sottovoce receipt verify kept/receipt.cbor --simulated",
        "sottovoce receipt verify kept/receipt.cbor --answer kept/answer.txt --policy hospital.toml",
        "sottovoce receipt verify kept/receipt.cbor --at 2026-11-01T12:00:00Z --policy hospital.toml --json",
        parents=[checking],
    )
    verify.set_defaults(command=run_verify, ear=False)
    verify.add_argument("url", type=Path, metavar="FILE", help=f"the receipt, for instance kept/{RECEIPT}")
    verify.add_argument("--answer", type=Path, metavar="FILE", help="the answer, or its text, to compare")
    verify.add_argument("--request", type=Path, metavar="FILE", help="the content of the request, to compare")
    verify.add_argument(
        "--evidence", type=Path, metavar="FILE", help=f"otherwise {EVIDENCE} beside the receipt"
    )
    verify.add_argument("--origin", metavar="URL", help="where the enclave answered; else as in the policy")
    verify.add_argument("--at", metavar="TIME", help="judge as at this time; otherwise the receipt's own")


def run_verify(arguments: argparse.Namespace) -> int:
    """Check a receipt and print every check."""
    policy = choose_policy(arguments.origin, file=arguments.policy, simulated=arguments.simulated)
    evidence: Path = arguments.evidence or arguments.url.with_name(EVIDENCE)
    verdict = judge(
        _read(arguments.url, MAX_RECEIPT_BYTES + 1),
        _read(evidence, MAX_FILE_BYTES),
        with_any_machine(policy) if arguments.any_machine else policy,
        Subject(_given(arguments.request), _given(arguments.answer)),
        at=None if arguments.at is None else unix_time(arguments.at),
    )
    if arguments.json:
        sys.stdout.write(receipt_json(verdict) + "\n")
    else:
        show(verdict)
    return ExitCode.REFUSED if verdict.proven is None else ExitCode.DONE


def show(verdict: ReceiptVerdict) -> None:
    """Print the checks, then what the receipt proves."""
    terminal.banner(verdict.evidence, terminal.paper)
    for check in verdict.checks:
        terminal.paper.print(_line(check), soft_wrap=True)
    if verdict.proven is None:
        terminal.paper.print(Text("REFUSED: this receipt proves nothing.", "bold red"))
    else:
        for sentence in sentences(verdict.proven):
            terminal.paper.print(Text(sentence, "green"))


def sentences(receipt: Receipt) -> list[str]:
    """What a receipt says, for a person."""
    time = datetime.fromtimestamp(receipt.time, UTC).strftime("%Y-%m-%d %H:%M UTC") if receipt.time else ""
    settings = ", ".join(f"{name} {value}" for name, value in sorted(receipt.sampling.items()))
    said = [
        f"PROVEN: {model_name(receipt.model)} ({receipt.model.hex()[:16]}...) gave this answer.",
        f"Settings: {settings}. Tokens: {receipt.prompt_tokens} in, {receipt.completion_tokens} out "
        f"({receipt.finish}).",
        f"The same request and seed again, the same tokens: {receipt.repeatable}.",
        f"When, by the client's own word: {time or 'not stated'}.",
    ]
    return [terminal.printable(sentence) for sentence in said]


def keep(kept: Kept, answer: str, folder: Path) -> None:
    """Write all that a later check needs, readable for this user alone. Raises OfflineError."""
    files = {
        RECEIPT: kept.receipt,
        EVIDENCE: kept.evidence,
        REQUEST: kept.request,
        ANSWER: answer.encode(),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, content in files.items():
            with open(folder / name, "wb", opener=_private) as file:
                file.write(content)
    except OSError as error:
        raise OfflineError(f"{folder}: {error.strerror}") from None


def keep_next(kept: Kept, answer: str, folder: Path) -> Path:
    """The same in a folder of its own below this one, numbered. Raises OfflineError."""
    numbers = itertools.count(1)
    own = next(path for number in numbers if not (path := folder / f"{number:03}").exists())
    keep(kept, answer, own)
    return own


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _line(check: Check) -> Text:
    colour = {Outcome.PASSED: "green", Outcome.WAIVED: "yellow"}.get(check.outcome, "bold red")
    detail = terminal.printable(check.detail if not check.waived else f"not checked: {check.found}")
    return Text.assemble((f"{check.outcome.value:6}", colour), " ", (check.name, "bold"), f": {detail}")


def _given(path: Path | None) -> bytes | None:
    return None if path is None else _read(path, MAX_FILE_BYTES)


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise OfflineError(f"{path}: {error.strerror}") from None
    if len(content) > limit:
        raise OfflineError(f"{path} has more than {limit} bytes")
    return content
