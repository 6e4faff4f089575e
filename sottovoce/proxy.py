# SPDX-License-Identifier: Apache-2.0
"""`sottovoce proxy`: an OpenAI-compatible endpoint on this machine, for programs that take a base URL."""

import argparse
import ipaddress
import os
import secrets
import signal
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from attestation.policy import Policy, with_any_machine
from attestation.verify import VerificationError
from sottovoce import terminal
from sottovoce.exit_code import ExitCode
from sottovoce.failures import ERRORS, explain
from sottovoce.one_time_keys import Session
from sottovoce.proxy_application import application
from sottovoce.proxy_guard import Rules
from sottovoce.proxy_options import DEFAULT_LISTEN
from sottovoce.transport import Connection
from sottovoce.trust import NoPolicyError, choose_policy, model_name

REQUESTS_AT_ONCE = 16  # that wait for the beginning of their answers; streams that have begun do not count
WATCH_SECONDS = 30.0
TOKEN_BYTES = 32


class UsageError(Exception):
    """The options cannot be what the user wants."""


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


def main(arguments: argparse.Namespace) -> int:
    """Verify, then serve until told to stop; the exit code."""
    try:
        policy = _policy(arguments)
        listen, rules = parse_listen(arguments.listen), _rules(arguments)
        check_exposure(listen, rules, allowed=arguments.let_the_network_read_along)
    except (UsageError, NoPolicyError) as error:
        terminal.complain(str(error))
        return ExitCode.NOT_CHECKED if isinstance(error, NoPolicyError) else ExitCode.WRONG_USAGE
    try:
        return serve(arguments.url, policy, listen, rules)
    except OSError as error:
        terminal.complain(f"cannot listen on {listen.url}: {error.strerror}")
        return ExitCode.WRONG_USAGE
    except ERRORS as error:
        terminal.complain(explain(error))
        return ExitCode.REFUSED if isinstance(error, VerificationError) else ExitCode.NOT_CHECKED


def _policy(arguments: argparse.Namespace) -> Policy:
    policy = choose_policy(arguments.url, file=arguments.require, simulated=arguments.simulated)
    return with_any_machine(policy) if arguments.any_machine else policy


def _rules(arguments: argparse.Namespace) -> Rules:
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


def serve(url: str, policy: Policy, listen: Listen, rules: Rules) -> int:
    """Verify first; then take requests. Raises OSError and ERRORS."""
    with Connection(url, policy, keys=REQUESTS_AT_ONCE) as connection:
        session = connection.open()
        with listen.socket() as listener:
            terminal.banner(session.enclave.verdict)
            terminal.notes.print(f"{listen.url}/v1 -> {url}: {summary(session)}", style="green", markup=False)
            watch = Watch(connection, summary(session))
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            try:
                with suppress(KeyboardInterrupt):  # the server stops gracefully, then passes the signal on
                    server(connection, rules).run(sockets=[listener])
            finally:
                watch.stop()
    return ExitCode.DONE


def server(connection: Connection, rules: Rules) -> uvicorn.Server:
    """The HTTP server. It keeps no log."""
    settings = uvicorn.Config(
        application(connection, rules),
        http="h11",
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_level="critical",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=2,
    )
    return uvicorn.Server(settings)


def summary(session: Session) -> str:
    """One line: what was verified."""
    verdict = session.enclave.verdict
    simulated = " SIMULATED" if verdict.simulated else ""
    model = model_name(session.enclave.claims.model)
    return (
        f"verified {len(verdict.checks)} checks:{simulated} {verdict.tee}, {model}, {session.assurance.value}"
    )


class Watch:
    """Renews the session in the background also while nobody asks, and says what changed."""

    def __init__(self, connection: Connection, said: str, seconds: float = WATCH_SECONDS) -> None:
        self._connection, self._seconds = connection, seconds
        self._stopped = threading.Event()
        self._said = said
        self._thread = threading.Thread(target=self._run, name="sottovoce-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop watching; what is under way ends by itself."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(self._seconds):
            self._look()

    def _look(self) -> None:
        try:
            line, style = summary(self._connection.open()), "green"
        except ERRORS as error:
            line, style = explain(error), "bold red"
        if line != self._said:
            terminal.notes.print(terminal.printable(line), style=style, markup=False)
        self._said = line
