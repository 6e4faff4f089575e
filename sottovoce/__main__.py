# SPDX-License-Identifier: Apache-2.0
"""The command line: one function for each command, and an exit code for each failure."""

import argparse
import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

from attestation.evidence import EvidenceError
from attestation.verify import VerificationError, VerifiedEnclave
from sottovoce import receipt_command, start, terminal, trust_command, verification
from sottovoce.chat import chat_request
from sottovoce.files import OfflineError, UsageError
from sottovoce.memory import PinnedError, UnknownReleaseError
from sottovoce.memory_file import MemoryFileError
from sottovoce.one_time_keys import Assurance
from sottovoce.opening import SessionRefusedError, WrongSessionError
from sottovoce.receipt_form import ReceiptError
from sottovoce.receipted import Receipted
from sottovoce.receipts import NoTimeError
from sottovoce.results import Form
from sottovoce.session import AnswerError, NoSuitableKeyError, RequestTooLargeError
from sottovoce.transport import ApiError, Connection, RefusedByHostError, Turn, UnreachableError
from sottovoce.trust import NoPolicyError, judgement_json, model_name
from sottovoce.verification import NOT_CHECKED, REFUSED, VERIFIED, connect, policy_of, run_verify

BROKEN_ANSWER, API_ERROR, INTERRUPTED = 30, 40, 130
WRONG_USAGE = 2

EPILOG = """\
examples:
  sottovoce verify https://llm.example --policy hospital.toml
  sottovoce verify report.bin --certs vcek.der cert_chain.pem --crl crl.der --policy mine.toml
  sottovoce verify quote.bin --collateral collateral.json --at 2026-06-18T00:00:00Z --nonce c0ffee
  sottovoce attest --json
  sottovoce simulate tdx --status OutOfDate --out evidence/
  sottovoce ask http://localhost:8080 --simulated "What is a trust boundary?"
  git diff | sottovoce ask http://localhost:8080 --simulated -
  sottovoce chat http://localhost:8080 --simulated
  sottovoce proxy http://localhost:8080 --simulated
  sottovoce ask http://localhost:8080 --simulated --receipt kept/ "What is a trust boundary?"
  sottovoce receipt verify kept/receipt.cbor --answer kept/answer.txt --simulated
  sottovoce trust list

exit codes:
   0  verified, or answered
   2  wrong usage
  10  refused: it is not what the policy asks for; nothing was sent
  20  could not check: no answer, no evidence, no policy, or not all that a check needs
  30  an answer was cut or tampered with; what was printed is not to be used
  40  the enclave answered with an error
"""

# What can go wrong, the exit code for it, and how the sentence for a person begins.
FAILURES: tuple[tuple[type[Exception], int, str], ...] = (
    (EvidenceError, REFUSED, "refused, and nothing was sent:"),
    (RequestTooLargeError, API_ERROR, "nothing was sent:"),
    (NoSuitableKeyError, REFUSED, "refused, and nothing was sent:"),
    (PinnedError, REFUSED, "refused, and nothing of yours was sent:"),
    (MemoryFileError, NOT_CHECKED, "could not check:"),
    (UnknownReleaseError, NOT_CHECKED, "could not pin:"),
    (ReceiptError, REFUSED, "refused:"),
    (NoTimeError, NOT_CHECKED, "could not check:"),
    (UsageError, WRONG_USAGE, "wrong usage:"),
    (OfflineError, NOT_CHECKED, "could not check:"),
    (UnreachableError, NOT_CHECKED, "could not check:"),
    (NoPolicyError, NOT_CHECKED, "could not check:"),
    (RefusedByHostError, NOT_CHECKED, "try again, or verify the enclave:"),
    (WrongSessionError, REFUSED, "refused, and nothing of yours was sent:"),
    (SessionRefusedError, API_ERROR, "the enclave says:"),
    (AnswerError, BROKEN_ANSWER, "the answer is incomplete or not genuine, do not use it:"),
    (ApiError, API_ERROR, "the enclave says:"),
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
    if sys.argv[1:2] == ["proxy"]:
        return start.proxy(sys.argv[2:])
    arguments = parser().parse_args()
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        return command(arguments)
    except VerificationError as error:
        return refuse(arguments, error)
    except tuple(kind for kind, _, _ in FAILURES) as error:
        return fail(arguments, error)
    except KeyboardInterrupt:
        return INTERRUPTED


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(
        prog="sottovoce",
        description="Talk to a language model on somebody else's machine, "
        "after checking that its operator cannot listen.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=metadata.version("sottovoce"))
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    checking, asking = checking_options(), asking_options()
    verify = commands.add_parser(
        "verify",
        parents=[checking],
        help="check an enclave or files of evidence",
        description=verification.DESCRIPTION,
        epilog=verification.EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verify.set_defaults(command=run_verify)
    verification.add_options(verify)
    host = argparse.ArgumentParser(add_help=False)
    host.add_argument("url", metavar="URL", help="where the host is, for instance http://localhost:8080")
    ask = commands.add_parser("ask", parents=[host, checking, asking], help="verify, then ask one question")
    ask.set_defaults(command=run_ask)
    ask.add_argument("question", help='the question; "-" reads it from standard input')
    ask.add_argument(
        "--receipt",
        type=Path,
        metavar="FOLDER",
        help="keep a signed receipt here, with its evidence, the request and the answer",
    )
    chat = commands.add_parser(
        "chat", parents=[host, checking, asking], help="verify, then talk; Ctrl-D ends"
    )
    chat.set_defaults(command=run_chat)
    trust = commands.add_parser("trust", help="which releases you were shown, and which you pinned")
    trust_command.add_actions(trust)
    receipt = commands.add_parser("receipt", help="check what an enclave signed about an answer")
    receipt_command.add_actions(receipt, checking)
    commands.add_parser(
        "proxy", help="an OpenAI-compatible endpoint on this machine, answered by the enclave"
    )
    commands.add_parser("attest", help="inside a guest: which evidence this machine gives, and why not")
    commands.add_parser("simulate", help="make evidence of simulated hardware, good or spoiled, for tests")
    return top


def checking_options() -> argparse.ArgumentParser:
    """What every command needs to know about trust."""
    options = argparse.ArgumentParser(add_help=False)
    accepted = options.add_mutually_exclusive_group()
    accepted.add_argument(
        "--policy", type=Path, metavar="FILE", help="what to accept: docs/attestation-policy.md"
    )
    accepted.add_argument("--simulated", action="store_true", help="accept this machine's simulated enclave")
    options.add_argument(
        "--any-machine", action="store_true", help="accept the right code on any genuine machine"
    )
    options.add_argument(
        "--assurance",
        choices=[Assurance.CACHED.value, Assurance.FRESH.value],
        default=Assurance.FRESH.value,
        help="L2 (default): evidence made for this session; L1: evidence of the last eleven minutes",
    )
    options.add_argument("--json", action="store_true", help="print one JSON object, for programs")
    return options


def asking_options() -> argparse.ArgumentParser:
    """How an answer is to be generated."""
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--model", help="which model; otherwise the one that was attested")
    options.add_argument(
        "--max-tokens", type=int, default=1024, metavar="N", help="the longest answer (1024)"
    )
    options.add_argument(
        "--temperature", type=float, metavar="T", help="0 takes the likeliest words, 2 is wild"
    )
    options.add_argument("--seed", type=int, metavar="N", help="the same seed gives the same answer")
    return options


def run_ask(arguments: argparse.Namespace) -> int:
    """Verify, ask one question, print the answer."""
    question = sys.stdin.read() if arguments.question == "-" else arguments.question
    with connect(arguments, policy_of(arguments)) as connection:
        session = connection.open()
        enclave = session.enclave
        trust_command.recall(arguments.url, enclave)
        if not arguments.json:
            terminal.show_verified(enclave.verdict, session.assurance)
        turns = [Turn("user", question)]
        if arguments.receipt is None:
            answer = answer_to(connection, enclave, turns, arguments)
        else:
            answer = answer_with_receipt(connection, enclave, turns, arguments)
    if arguments.json:
        document = {
            "answer": answer,
            "verified": True,
            "simulated": enclave.verdict.simulated,
            "assurance": session.assurance.value,
        }
        sys.stdout.write(json.dumps(document) + "\n")
    return VERIFIED


def run_chat(arguments: argparse.Namespace) -> int:
    """Verify, then answer one line after another."""
    talk: Callable[[argparse.Namespace, Connection, dict[str, float]], None]
    talk = importlib.import_module("sottovoce.chat_terminal").talk  # what draws is needed here alone
    with connect(arguments, policy_of(arguments)) as connection:
        session = connection.open()
        trust_command.recall(arguments.url, session.enclave)
        if not arguments.json:
            terminal.show_verified(session.enclave.verdict, session.assurance)
        talk(arguments, connection, parameters_of(arguments))
    return VERIFIED


def parameters_of(arguments: argparse.Namespace) -> dict[str, float]:
    """How the answer is to be generated, as far as the options say it."""
    wanted = {
        "max_tokens": arguments.max_tokens,
        "temperature": arguments.temperature,
        "seed": arguments.seed,
    }
    return {name: value for name, value in wanted.items() if value is not None}


def answer_to(
    connection: Connection, enclave: VerifiedEnclave, turns: list[Turn], arguments: argparse.Namespace
) -> str:
    """Stream the answer to the terminal, and return it."""
    model = arguments.model or model_name(enclave.claims.model)
    return print_answer(connection.chat(model, turns, **parameters_of(arguments)), arguments)


def answer_with_receipt(
    connection: Connection, enclave: VerifiedEnclave, turns: list[Turn], arguments: argparse.Namespace
) -> str:
    """The same, with a receipt that is checked and kept. Raises ReceiptError where there is none."""
    model = arguments.model or model_name(enclave.claims.model)
    asking = Receipted(connection, chat_request(model, turns, **parameters_of(arguments)))
    answer = print_answer(asking.texts(), arguments)
    receipt_command.keep(asking.kept(policy_of(arguments)), answer, arguments.receipt)
    return answer


def print_answer(texts: Iterator[str], arguments: argparse.Namespace) -> str:
    """Print an answer as it comes, unless a program will read it; the whole of it."""
    pieces: list[str] = []
    for piece in texts:
        pieces.append(piece)
        if not arguments.json:
            terminal.show_piece(piece)
    if not arguments.json:
        terminal.show_piece("\n")
    return "".join(pieces)


def refuse(arguments: argparse.Namespace, error: VerificationError) -> int:
    """Show why an enclave was refused."""
    if arguments.json:
        sys.stdout.write(judgement_json(error.verdict) + "\n")
    else:
        terminal.show_verdict(error.verdict, arguments.url)
    return REFUSED


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
