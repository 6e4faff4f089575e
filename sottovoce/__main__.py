# SPDX-License-Identifier: Apache-2.0
"""The command line: which command runs, and an exit code for each failure."""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable

from attestation.evidence import EvidenceError
from attestation.verify import VerificationError
from sottovoce import terminal
from sottovoce.command_line import parser
from sottovoce.exit_code import ExitCode
from sottovoce.files import OfflineError, UsageError
from sottovoce.memory import PinnedError, UnknownReleaseError
from sottovoce.memory_file import MemoryFileError
from sottovoce.opening import SessionRefusedError, WrongSessionError
from sottovoce.receipt_form import ReceiptError
from sottovoce.receipts import NoTimeError
from sottovoce.results import Form
from sottovoce.session import AnswerError, NoSuitableKeyError, RequestTooLargeError
from sottovoce.transport import ApiError, RefusedByHostError, UnreachableError
from sottovoce.trust import NoPolicyError, judgement_json

# What can go wrong, the exit code for it, and how the sentence for a person begins.
FAILURES: tuple[tuple[type[Exception], ExitCode, str], ...] = (
    (EvidenceError, ExitCode.REFUSED, "refused, and nothing was sent:"),
    (RequestTooLargeError, ExitCode.API_ERROR, "nothing was sent:"),
    (NoSuitableKeyError, ExitCode.REFUSED, "refused, and nothing was sent:"),
    (PinnedError, ExitCode.REFUSED, "refused, and nothing of yours was sent:"),
    (MemoryFileError, ExitCode.NOT_CHECKED, "could not check:"),
    (UnknownReleaseError, ExitCode.NOT_CHECKED, "could not pin:"),
    (ReceiptError, ExitCode.REFUSED, "refused:"),
    (NoTimeError, ExitCode.NOT_CHECKED, "could not check:"),
    (UsageError, ExitCode.WRONG_USAGE, "wrong usage:"),
    (OfflineError, ExitCode.NOT_CHECKED, "could not check:"),
    (UnreachableError, ExitCode.NOT_CHECKED, "could not check:"),
    (NoPolicyError, ExitCode.NOT_CHECKED, "could not check:"),
    (RefusedByHostError, ExitCode.NOT_CHECKED, "try again, or verify the enclave:"),
    (WrongSessionError, ExitCode.REFUSED, "refused, and nothing of yours was sent:"),
    (SessionRefusedError, ExitCode.API_ERROR, "the enclave says:"),
    (AnswerError, ExitCode.BROKEN_ANSWER, "the answer is incomplete or not genuine, do not use it:"),
    (ApiError, ExitCode.API_ERROR, "the enclave says:"),
)


# Commands that are programs of their own: what verifies imports neither what collects nor what simulates.
PROGRAMS = {"attest": "attestation.collect", "simulate": "attestation.simulated"}


def run_program(module: str, rest: list[str]) -> int:
    """Run one of them with what follows on the command line."""
    command = [sys.executable, "-P", "-m", module, *rest]
    return subprocess.run(command, check=False).returncode  # noqa: S603 - our own interpreter and module


def main() -> int:
    """Run one command and return its exit code."""
    if len(sys.argv) > 1 and sys.argv[1] in PROGRAMS:
        return run_program(PROGRAMS[sys.argv[1]], sys.argv[2:])
    arguments = parser().parse_args()
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        return command(arguments)
    except VerificationError as error:
        return refuse(arguments, error)
    except tuple(kind for kind, _, _ in FAILURES) as error:
        return fail(arguments, error)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


def refuse(arguments: argparse.Namespace, error: VerificationError) -> int:
    """Show why an enclave was refused."""
    if arguments.json:
        sys.stdout.write(judgement_json(error.verdict) + "\n")
    else:
        terminal.show_verdict(error.verdict, arguments.url)
    return ExitCode.REFUSED


def fail(arguments: argparse.Namespace, error: Exception) -> int:
    """Say what went wrong, in the form that was asked for."""
    code, beginning = next((code, text) for kind, code, text in FAILURES if isinstance(error, kind))
    if arguments.json or getattr(arguments, "ear", None) is Form.JSON:
        cut = {"partial": error.partial, "complete": False} if isinstance(error, AnswerError) else {}
        sys.stdout.write(json.dumps({"verified": False, "error": str(error), "checks": []} | cut) + "\n")
    else:
        if isinstance(error, AnswerError) and error.partial:
            terminal.mark_incomplete()
        terminal.complain(f"{beginning} {error}")
    return code


if __name__ == "__main__":
    sys.exit(main())
