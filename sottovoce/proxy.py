# SPDX-License-Identifier: Apache-2.0
"""`sottovoce proxy`: an OpenAI-compatible endpoint on this machine, for programs that take a base URL."""

import argparse
import signal
import threading
from contextlib import suppress

import uvicorn

from attestation.policy import Policy
from sottovoce import terminal
from sottovoce.exit_code import ExitCode
from sottovoce.failures import ERRORS, explain
from sottovoce.files import UsageError, read_api_key
from sottovoce.memory_file import Memory
from sottovoce.one_time_keys import Session
from sottovoce.proxy_application import application
from sottovoce.proxy_guard import Rules
from sottovoce.proxy_settings import Listen, check_exposure, parse_listen, policy_of, rules_of
from sottovoce.transport import REFUSALS, Connection, Surroundings
from sottovoce.trust import NoPolicyError, model_name
from sottovoce.trust_command import show_notice

REQUESTS_AT_ONCE = 16  # that wait for the beginning of their answers; streams that have begun do not count
WATCH_SECONDS = 30.0


def main(arguments: argparse.Namespace) -> int:
    """Verify, then serve until told to stop; the exit code."""
    try:
        policy = policy_of(arguments)
        listen, rules = parse_listen(arguments.listen), rules_of(arguments)
        check_exposure(listen, rules, allowed=arguments.let_the_network_read_along)
        api_key = read_api_key(arguments.api_key)
    except (UsageError, NoPolicyError) as error:
        terminal.complain(str(error))
        return ExitCode.NOT_CHECKED if isinstance(error, NoPolicyError) else ExitCode.WRONG_USAGE
    try:
        with connection_of(arguments.url, policy, api_key) as connection:
            return serve(connection, listen, rules)
    except OSError as error:
        terminal.complain(f"cannot listen on {listen.url}: {error.strerror}")
        return ExitCode.WRONG_USAGE
    except ERRORS as error:
        terminal.complain(explain(error))
        return ExitCode.REFUSED if isinstance(error, REFUSALS) else ExitCode.NOT_CHECKED


def connection_of(url: str, policy: Policy, api_key: str | None) -> Connection:
    """A connection that remembers as this user's other programs do.

    Raises UnreachableError and MemoryFileError.
    """
    surroundings = Surroundings(memory=Memory(), tell=show_notice)
    return Connection(url, policy, keys=REQUESTS_AT_ONCE, api_key=api_key, surroundings=surroundings)


def serve(connection: Connection, listen: Listen, rules: Rules) -> int:
    """Verify first; then take requests. Raises OSError and ERRORS."""
    session = connection.open()
    with listen.socket() as listener:
        terminal.banner(session.enclave.verdict)
        line = f"{listen.url}/v1 -> {connection.origin}: {summary(session)}"
        terminal.notes.print(line, style="green", markup=False)
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
    """Looks at the session also while nobody asks, and says what changed."""

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
