# SPDX-License-Identifier: Apache-2.0
"""The commands and their options, with examples. What one command alone needs is loaded when it runs."""

import argparse
import importlib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from sottovoce import asking, proxy_options, receipt_command, trust_command, verification
from sottovoce.exit_code import listed
from sottovoce.help_text import with_examples
from sottovoce.one_time_keys import Assurance

SHELLS = ("bash", "fish", "zsh")
COMMANDS = ("sottovoce", "sottovoce-models")

EPILOG = f"""\
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

{listed()}"""


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
    trusting, assuring, generating = trust_options(), assurance_options(), asking.generation_options()
    host = argparse.ArgumentParser(add_help=False)
    host.add_argument("url", metavar="URL", help="where the host is, for instance http://localhost:8080")
    verify = commands.add_parser(
        "verify",
        parents=[trusting, assuring],
        help="check an enclave or files of evidence",
        description=verification.DESCRIPTION,
        epilog=verification.EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verify.set_defaults(command=verification.run_verify)
    verification.add_options(verify)
    ask = with_examples(
        commands,
        "ask",
        "verify, then ask one question",
        'sottovoce ask http://localhost:8080 --simulated "What is a trust boundary?"',
        "git diff | sottovoce ask https://llm.example --policy hospital.toml -",
        'sottovoce ask https://llm.example --temperature 0 --seed 1 --receipt kept/ "Who are you?"',
        parents=[host, trusting, assuring, generating],
    )
    ask.set_defaults(command=asking.run_ask)
    asking.add_question(ask)
    chat = with_examples(
        commands,
        "chat",
        "verify, then talk; Ctrl-D ends",
        "sottovoce chat http://localhost:8080 --simulated",
        "sottovoce chat https://llm.example --policy hospital.toml --json < questions.txt",
        parents=[host, trusting, assuring, generating],
    )
    chat.set_defaults(command=asking.run_chat)
    asking.add_receipts(chat)
    trust = with_examples(
        commands,
        "trust",
        "which releases you were shown, and which you pinned",
        "sottovoce trust list",
        "sottovoce trust pin https://llm.example 3f786850e387550f",
    )
    trust_command.add_actions(trust)
    receipt = with_examples(
        commands,
        "receipt",
        "check what an enclave signed about an answer",
        "sottovoce receipt verify kept/receipt.cbor --answer kept/answer.txt --simulated",
    )
    receipt_command.add_actions(receipt, trusting)
    proxy = commands.add_parser(
        "proxy",
        help="an OpenAI-compatible endpoint on this machine, answered by the enclave",
        description=proxy_options.DESCRIPTION,
        epilog=proxy_options.EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    proxy.set_defaults(command=_later("sottovoce.proxy"))
    proxy_options.add_options(proxy)
    commands.add_parser("attest", help="inside a guest: which evidence this machine gives, and why not")
    commands.add_parser("simulate", help="make evidence of simulated hardware, good or spoiled, for tests")
    completion = with_examples(
        commands,
        "completion",
        "print what makes a shell complete the commands",
        "sottovoce completion bash > ~/.local/share/bash-completion/completions/sottovoce",
        "sottovoce completion zsh > ~/.zfunc/_sottovoce",
        "sottovoce completion fish sottovoce-models > ~/.config/fish/completions/sottovoce-models.fish",
    )
    completion.set_defaults(command=_later("sottovoce.completion"))
    completion.add_argument("shell", metavar="SHELL", choices=SHELLS, help="bash, fish or zsh")
    completion.add_argument(
        "program",
        metavar="PROGRAM",
        nargs="?",
        choices=COMMANDS,
        default="sottovoce",
        help="sottovoce (default), or sottovoce-models",
    )
    return top


def _later(module: str) -> Callable[[argparse.Namespace], int]:
    """The `main` of a module that is loaded when the command runs."""

    def run(arguments: argparse.Namespace) -> int:
        command: Callable[[argparse.Namespace], int] = importlib.import_module(module).main
        return command(arguments)

    return run


def trust_options() -> argparse.ArgumentParser:
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
    options.add_argument("--json", action="store_true", help="print one JSON object, for programs")
    return options


def assurance_options() -> argparse.ArgumentParser:
    """How sure a session has to be of who reads along."""
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument(
        "--assurance",
        choices=[Assurance.CACHED.value, Assurance.FRESH.value],
        default=Assurance.FRESH.value,
        help="L2 (default): evidence made for this session; L1: evidence of the last eleven minutes",
    )
    return options
