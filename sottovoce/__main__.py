# SPDX-License-Identifier: Apache-2.0
"""The command line: `sottovoce verify`, `sottovoce ask`, `sottovoce chat`."""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path

from attestation.evidence import EvidenceError
from attestation.policy import AnyMachine, Policy
from attestation.verify import VerificationError, VerifiedEnclave
from sottovoce import terminal
from sottovoce.session import AnswerError, NoSuitableKeyError
from sottovoce.transport import ApiError, Connection, RefusedByHostError, Turn, UnreachableError
from sottovoce.trust import NoPolicyError, choose_policy, model_name, verdict_json

VERIFIED, REFUSED, NOT_CHECKED, BROKEN_ANSWER, API_ERROR, INTERRUPTED = 0, 10, 20, 30, 40, 130

EPILOG = """\
examples:
  sottovoce verify https://llm.example --policy hospital.toml
  sottovoce ask http://localhost:8080 --simulated "What is a trust boundary?"
  git diff | sottovoce ask http://localhost:8080 --simulated -
  sottovoce chat http://localhost:8080 --simulated

exit codes:
  0 verified or answered   10 refused: it is not what the policy asks for   20 could not check: no answer, no policy
  30 an answer was cut or tampered with   40 the enclave answered with an error   2 wrong usage
"""


def main() -> int:
    """Run one command and return its exit code."""
    arguments = parser().parse_args()
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        return command(arguments)
    except VerificationError as error:
        return refuse(arguments, error)
    except (EvidenceError, NoSuitableKeyError) as error:
        return fail(arguments, REFUSED, f"refused: {error}; nothing was sent")
    except (UnreachableError, NoPolicyError) as error:
        return fail(arguments, NOT_CHECKED, f"could not check: {error}")
    except RefusedByHostError as error:
        return fail(arguments, NOT_CHECKED, f"{error}; try again, or verify the enclave")
    except AnswerError as error:
        return fail(
            arguments, BROKEN_ANSWER, f"the answer above is incomplete or not genuine, do not use it: {error}"
        )
    except ApiError as error:
        return fail(arguments, API_ERROR, f"the enclave says: {error}")
    except KeyboardInterrupt:
        return INTERRUPTED


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(
        prog="sottovoce",
        description="Talk to a language model on somebody else's machine, after checking that its operator cannot listen.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=metadata.version("sottovoce"))
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    checking = argparse.ArgumentParser(add_help=False)
    checking.add_argument("url", metavar="URL", help="where the host is, for instance http://localhost:8080")
    checking.add_argument(
        "--policy", type=Path, metavar="FILE", help="TOML file that says what to accept (docs/policy.md)"
    )
    checking.add_argument(
        "--simulated", action="store_true", help="accept this machine's own simulated enclave"
    )
    checking.add_argument(
        "--any-machine", action="store_true", help="accept the right code on any genuine machine"
    )
    checking.add_argument("--json", action="store_true", help="print one JSON object, for programs")
    _add(commands, checking, "verify", run_verify, "check an enclave and print every check")
    asking = argparse.ArgumentParser(add_help=False)
    asking.add_argument("--model", help="which model; the first that is served otherwise")
    asking.add_argument("--max-tokens", type=int, metavar="N", help="the longest answer")
    asking.add_argument(
        "--temperature", type=float, metavar="T", help="0 takes the likeliest words, 2 is wild"
    )
    asking.add_argument("--seed", type=int, metavar="N", help="the same seed gives the same answer")
    ask = _add(commands, checking, "ask", run_ask, "verify, then ask one question", asking)
    ask.add_argument("question", help='the question; "-" reads it from standard input')
    _add(
        commands, checking, "chat", run_chat, "verify, then talk; Ctrl-C stops an answer, Ctrl-D ends", asking
    )
    return top


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    checking: argparse.ArgumentParser,
    name: str,
    command: Callable[[argparse.Namespace], int],
    text: str,
    *more: argparse.ArgumentParser,
) -> argparse.ArgumentParser:
    added = commands.add_parser(
        name, parents=[checking, *more], help=text, description=text.capitalize() + "."
    )
    added.set_defaults(command=command)
    return added


def policy_of(arguments: argparse.Namespace) -> Policy:
    """The policy that the options ask for. Raises NoPolicyError."""
    policy = choose_policy(arguments.url, file=arguments.policy, simulated=arguments.simulated)
    return replace(policy, machines=AnyMachine.ANY_MACHINE) if arguments.any_machine else policy


def run_verify(arguments: argparse.Namespace) -> int:
    """Check an enclave and print every check."""
    with Connection(arguments.url, policy_of(arguments)) as connection:
        verdict = connection.verify().verdict
    if arguments.json:
        sys.stdout.write(verdict_json(verdict) + "\n")
    else:
        terminal.show_verdict(verdict, arguments.url)
    return VERIFIED


def run_ask(arguments: argparse.Namespace) -> int:
    """Verify, ask one question, print the answer."""
    question = sys.stdin.read() if arguments.question == "-" else arguments.question
    with Connection(arguments.url, policy_of(arguments)) as connection:
        enclave = connection.verify()
        if not arguments.json:
            terminal.show_verified(enclave.verdict)
        answer = answer_to(connection, enclave, [Turn("user", question)], arguments)
    if arguments.json:
        document = {"answer": answer, "verified": True, "simulated": enclave.verdict.simulated}
        sys.stdout.write(json.dumps(document) + "\n")
    return VERIFIED


def run_chat(arguments: argparse.Namespace) -> int:
    """Verify, then answer one line after another."""
    turns: list[Turn] = []
    with Connection(arguments.url, policy_of(arguments)) as connection:
        enclave = connection.verify()
        terminal.show_verified(enclave.verdict)
        while (line := _read_line()) is not None:
            if not line.strip():
                continue
            turns.append(Turn("user", line))
            try:
                turns.append(Turn("assistant", answer_to(connection, enclave, turns, arguments)))
            except KeyboardInterrupt:
                turns.pop()
                terminal.notes.print("\n(stopped)", style="dim")
    return VERIFIED


def answer_to(
    connection: Connection, enclave: VerifiedEnclave, turns: list[Turn], arguments: argparse.Namespace
) -> str:
    """Stream the answer to the terminal, and return it."""
    wanted = {
        "max_tokens": arguments.max_tokens,
        "temperature": arguments.temperature,
        "seed": arguments.seed,
    }
    parameters = {name: value for name, value in wanted.items() if value is not None}
    model = arguments.model or model_name(enclave.claims.model)
    pieces: list[str] = []
    for piece in connection.chat(model, turns, **parameters):
        pieces.append(piece)
        if not arguments.json:
            terminal.show_piece(piece)
    if not arguments.json:
        terminal.show_piece("\n")
    return "".join(pieces)


def _read_line() -> str | None:
    """The next line that a person types; None at the end of the input."""
    try:
        return input("> " if sys.stdin.isatty() else "")
    except EOFError:
        return None


def refuse(arguments: argparse.Namespace, error: VerificationError) -> int:
    """Show why an enclave was refused."""
    if arguments.json:
        sys.stdout.write(verdict_json(error.verdict) + "\n")
    else:
        terminal.show_verdict(error.verdict, arguments.url)
    return REFUSED


def fail(arguments: argparse.Namespace, code: int, sentence: str) -> int:
    """Say what went wrong, in the form that was asked for."""
    if arguments.json:
        sys.stdout.write(json.dumps({"verified": False, "error": sentence, "checks": []}) + "\n")
    else:
        terminal.complain(sentence)
    return code


if __name__ == "__main__":
    sys.exit(main())
