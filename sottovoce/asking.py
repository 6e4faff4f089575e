# SPDX-License-Identifier: Apache-2.0
"""`sottovoce ask` and `sottovoce chat`: verify first, then answer."""

import argparse
import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from sottovoce import receipt_command, terminal
from sottovoce.chat import chat_request
from sottovoce.exit_code import ExitCode
from sottovoce.files import API_KEY_HELP
from sottovoce.receipted import Receipted
from sottovoce.transport import Connection, Turn
from sottovoce.verification import connect, policy_of


def add_question(ask: argparse.ArgumentParser) -> None:
    """Add what is asked once."""
    ask.add_argument("question", metavar="QUESTION", help='the question; "-" reads it from standard input')
    ask.add_argument(
        "--receipt",
        type=Path,
        metavar="FOLDER",
        help="keep a signed receipt here, with its evidence, the request and the answer",
    )


def add_receipts(chat: argparse.ArgumentParser) -> None:
    """Add what is kept of a conversation."""
    chat.add_argument(
        "--receipt",
        type=Path,
        metavar="FOLDER",
        help="keep a signed receipt of each answer below this folder",
    )


def generation_options() -> argparse.ArgumentParser:
    """How an answer is to be generated."""
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--model", help="which model; otherwise the one that was attested")
    options.add_argument(
        "--max-tokens", type=int, default=1024, metavar="N", help="the longest answer (1024)"
    )
    options.add_argument(
        "--temperature", type=float, metavar="T", help="0 takes the likeliest words, 2 is wild"
    )
    options.add_argument("--api-key", type=Path, metavar="FILE", help=API_KEY_HELP)
    options.add_argument("--seed", type=int, metavar="N", help="the same seed gives the same answer")
    return options


def run_ask(arguments: argparse.Namespace) -> int:
    """Verify, ask one question, print the answer."""
    question = sys.stdin.read() if arguments.question == "-" else arguments.question
    with connect(arguments, policy_of(arguments)) as connection:
        session = connection.open()
        enclave = session.enclave
        if not arguments.json:
            terminal.show_verified(enclave.verdict, session.assurance)
        turns = [Turn("user", question)]
        if arguments.receipt is None:
            answer = answer_to(connection, turns, arguments)
        else:
            answer = answer_with_receipt(connection, turns, arguments)
    if arguments.json:
        document = {
            "answer": answer,
            "verified": True,
            "simulated": enclave.verdict.simulated,
            "assurance": session.assurance.value,
        }
        sys.stdout.write(json.dumps(document) + "\n")
    return ExitCode.DONE


def run_chat(arguments: argparse.Namespace) -> int:
    """Verify, then answer one line after another."""
    talk: Callable[[argparse.Namespace, Connection, dict[str, float]], None]
    talk = importlib.import_module("sottovoce.chat_terminal").talk  # what draws is needed here alone
    with connect(arguments, policy_of(arguments)) as connection:
        session = connection.open()
        if not arguments.json:
            terminal.show_verified(session.enclave.verdict, session.assurance)
        talk(arguments, connection, parameters_of(arguments))
    return ExitCode.DONE


def parameters_of(arguments: argparse.Namespace) -> dict[str, float]:
    """How the answer is to be generated, as far as the options say it."""
    wanted = {
        "max_tokens": arguments.max_tokens,
        "temperature": arguments.temperature,
        "seed": arguments.seed,
    }
    return {name: value for name, value in wanted.items() if value is not None}


def answer_to(connection: Connection, turns: list[Turn], arguments: argparse.Namespace) -> str:
    """Stream the answer to the terminal, and return it."""
    model = arguments.model or connection.model()
    return print_answer(connection.chat(model, turns, **parameters_of(arguments)), arguments)


def answer_with_receipt(connection: Connection, turns: list[Turn], arguments: argparse.Namespace) -> str:
    """The same, with a receipt that is checked and kept. Raises ReceiptError where there is none."""
    model = arguments.model or connection.model()
    asking = Receipted(connection, chat_request(model, turns, **parameters_of(arguments)))
    answer = print_answer(asking.texts(), arguments)
    receipt_command.keep(asking.kept(connection.policy), answer, arguments.receipt)
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
