# SPDX-License-Identifier: Apache-2.0
"""The options of `sottovoce proxy`, and which of them cannot go together."""

import argparse
import ipaddress
import os
import secrets
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from attestation.policy import Policy, with_any_machine
from sottovoce.files import API_KEY_HELP, UsageError
from sottovoce.proxy_guard import Rules
from sottovoce.trust import choose_policy

DEFAULT_LISTEN = "127.0.0.1:8642"
TOKEN_BYTES = 32

EPILOG = f"""\
examples:
  sottovoce proxy https://llm.example --require hospital.toml
  sottovoce proxy http://localhost:8080 --simulated --token ~/.sottovoce-token
  OPENAI_BASE_URL=http://{DEFAULT_LISTEN}/v1 OPENAI_API_KEY=- program

The page at http://{DEFAULT_LISTEN}/ shows the verdict; /status gives it to programs.

exit codes:
   0  stopped
   2  wrong usage, or the address is taken
  10  refused: it is not what the policy asks for; nothing was sent
  20  could not check: no answer, no evidence or no policy
"""


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to listen."""

    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    port: int

    @property
    def url(self) -> str:
        """What programs call it."""
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"http://{host}:{self.port}"

    def socket(self) -> socket.socket:
        """The listening socket. Raises OSError."""
        family = socket.AF_INET6 if self.address.version == 6 else socket.AF_INET
        return socket.create_server((str(self.address), self.port), family=family)


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(
        prog="sottovoce proxy",
        description="Serve the OpenAI API on this machine, and answer it from a verified enclave.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
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
    return options


def policy_of(arguments: argparse.Namespace) -> Policy:
    """What to accept. Raises NoPolicyError."""
    policy = choose_policy(arguments.url, file=arguments.require, simulated=arguments.simulated)
    return with_any_machine(policy) if arguments.any_machine else policy


def rules_of(arguments: argparse.Namespace) -> Rules:
    """Who may use the endpoint. Raises UsageError."""
    token = None if arguments.token is None else read_token(arguments.token)
    return Rules(token, frozenset(arguments.allow_origin))


def parse_listen(text: str) -> Listen:
    """Read ADDRESS:PORT. `localhost` is 127.0.0.1. Raises UsageError."""
    host, _, port = text.rpartition(":")
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host.strip("[]"))
        number = int(port)
    except ValueError:
        raise UsageError(f"--listen {text}: expected ADDRESS:PORT, such as {DEFAULT_LISTEN}") from None
    if not 0 < number < 1 << 16:
        raise UsageError(f"--listen {text}: there is no port {number}")
    return Listen(address, number)


def check_exposure(listen: Listen, rules: Rules, *, allowed: bool) -> None:
    """Raise UsageError where others than this machine would reach the endpoint, unless that is asked for."""
    if listen.address.is_loopback:
        return
    if not allowed:
        raise UsageError(
            f"{listen.address} can be reached from other machines, and what they send here is not encrypted; "
            "if that is meant: --let-the-network-read-along"
        )
    if rules.token is None:
        raise UsageError("an endpoint for other machines needs --token, or anybody there could use it")


def read_token(file: Path) -> str:
    """The token in a file, which is made, for this user alone, where there is none. Raises UsageError."""
    try:
        with suppress(FileExistsError):
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as made:
                made.write(secrets.token_urlsafe(TOKEN_BYTES) + "\n")
        token = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--token {file}: {error}") from error
    if len(token) < 16 or not token.isprintable():
        raise UsageError(f"--token {file}: expected one line of at least 16 characters")
    return token
