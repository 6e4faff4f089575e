# SPDX-License-Identifier: Apache-2.0
"""The options of `sottovoce proxy`, apart from its server: help and completion need them alone."""

import argparse
from pathlib import Path

from sottovoce.exit_code import ExitCode, listed
from sottovoce.files import API_KEY_HELP

DEFAULT_LISTEN = "127.0.0.1:8642"
DESCRIPTION = "Serve the OpenAI API on this machine, and answer it from a verified enclave."
EPILOG = f"""\
examples:
  sottovoce proxy https://llm.example --require hospital.toml
  sottovoce proxy http://localhost:8080 --simulated --token ~/.sottovoce-token
  OPENAI_BASE_URL=http://{DEFAULT_LISTEN}/v1 OPENAI_API_KEY=- program

The page at http://{DEFAULT_LISTEN}/ shows the verdict; /status gives it to programs.

{listed(ExitCode.DONE, ExitCode.WRONG_USAGE, ExitCode.REFUSED, ExitCode.NOT_CHECKED)}"""


def add_options(options: argparse.ArgumentParser) -> None:
    """Add what the proxy is told."""
    add = options.add_argument
    add("url", metavar="URL", help="where the host is, for instance http://localhost:8080")
    accepted = options.add_mutually_exclusive_group()
    accepted.add_argument(
        "--require",
        "--policy",
        type=Path,
        metavar="POLICY",
        help="what to accept: docs/attestation-policy.md",
    )
    accepted.add_argument("--simulated", action="store_true", help="accept this machine's simulated enclave")
    add("--any-machine", action="store_true", help="accept the right code on any genuine machine")
    add("--listen", default=DEFAULT_LISTEN, metavar="ADDRESS:PORT", help=f"{DEFAULT_LISTEN} by default")
    add(
        "--token",
        type=Path,
        metavar="FILE",
        help="ask programs for the token in FILE; made where it is missing",
    )
    add("--api-key", type=Path, metavar="FILE", help=API_KEY_HELP)
    add(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="let web pages of this origin use the endpoint; none may otherwise",
    )
    add(
        "--let-the-network-read-along",
        action="store_true",
        help="listen on other than loopback addresses. Requests and answers then cross that network "
        "unencrypted: whoever is on it can read them. Needs --token",
    )
