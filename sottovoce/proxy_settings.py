# SPDX-License-Identifier: Apache-2.0
"""What follows from the options of `sottovoce proxy`, and which of them cannot go together."""

import argparse
import ipaddress
import os
import secrets
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from attestation.policy import Policy, with_any_machine
from sottovoce.files import UsageError
from sottovoce.proxy_guard import Rules
from sottovoce.proxy_options import DEFAULT_LISTEN
from sottovoce.trust import choose_policy

TOKEN_BYTES = 32


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
