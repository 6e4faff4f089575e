# SPDX-License-Identifier: Apache-2.0
"""Processes are killed at random moments, again and again: the host, parts of the enclave, all of it.

Each time the client has a typed error or the complete answer, within its time. Then, with nobody's help but a
service manager's, the same connection answers again; what was started anew is verified anew.

`make test` kills some. More, or the same once more:

    SOTTOVOCE_KILLS=200 SOTTOVOCE_SEED=7 python -P -m pytest tests/e2e/test_kills.py
"""

import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deploy.local import DEFAULT_MODEL, Place, enclave_config, free_port, prepare_enclave, prepare_host
from models.fetch import fetch
from models.manifest import find_manifest
from sottovoce.courier import READ_SECONDS
from sottovoce.session import AnswerError
from sottovoce.transport import Connection
from sottovoce.trust import choose_policy
from tests.conftest import arguments
from tests.e2e.test_storm import TYPED, answer
from tests.fakes.service_manager import Service, service
from wire.shaping import Off

KILLS = int(os.environ.get("SOTTOVOCE_KILLS", "20"))
SEED = int(os.environ.get("SOTTOVOCE_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
SECONDS_FOR_EACH = 30  # far more than one takes
RECOVERY_SECONDS = 60.0
HOST, SUPERVISOR = "host", "supervisor"
SESSION, ENGINE = "enclave.serve", "enclave.engine"
VICTIMS = (HOST, HOST, HOST, SUPERVISOR, SESSION, ENGINE)
AGAIN, AGAIN_SECONDS = 0.2, 1.0  # how often somebody is killed while all start again, and when


@dataclass(slots=True)
class Field:
    """Where it happens, and what came of it."""

    place: Place
    host: Service
    enclave: Service
    chance: random.Random
    killed: Counter[str] = field(default_factory=Counter[str])
    outcomes: Counter[str] = field(default_factory=Counter[str])
    longest_seconds: float = 0.0

    @property
    def summary(self) -> str:
        """What came of it, for a person."""
        return f"{dict(self.killed)}, {dict(self.outcomes)}, longest {self.longest_seconds:.1f} s"

    def kill(self, victim: str) -> None:
        """Kill a process as soon as there is one."""
        deadline = time.monotonic() + RECOVERY_SECONDS
        while not self._kill(victim):
            assert time.monotonic() < deadline, f"there is no {victim}"
            time.sleep(0.005)
        self.killed[victim] += 1

    def _kill(self, victim: str) -> bool:
        if victim in (HOST, SUPERVISOR):
            (self.host if victim == HOST else self.enclave).kill()
            return True
        try:
            os.kill(child(self.enclave.process_id, victim), signal.SIGKILL)
        except (IndexError, OSError):
            return False
        return True

    def ask(self, connection: Connection, expected: str) -> bool:
        """One question: the answer, or a typed error. Anything else fails the test."""
        started = time.monotonic()
        outcome, text, before = "complete", expected, ""
        try:
            text = answer(connection)
        except TYPED as error:
            outcome = type(error).__name__
            before = error.partial if isinstance(error, AnswerError) else ""
        assert text == expected
        assert expected.startswith(before)
        seconds = time.monotonic() - started
        assert seconds < READ_SECONDS
        self.longest_seconds = max(self.longest_seconds, seconds)
        self.outcomes[outcome] += 1
        return outcome == "complete"

    def strike(self, connection: Connection, expected: str, within_seconds: float) -> None:
        """Kill somebody in the middle of an answer, or soon after it; then wait until all is well."""
        victims = [self.chance.choice(VICTIMS)]
        before = connection.open().enclave.claims.receipt_key
        striking = threading.Timer(self.chance.uniform(0, within_seconds), self.kill, victims)
        striking.start()
        self.ask(connection, expected)
        striking.join()
        if self.chance.random() < AGAIN:
            time.sleep(self.chance.uniform(0, AGAIN_SECONDS))
            victims.append(self.chance.choice(VICTIMS))
            self.kill(victims[-1])
        deadline = time.monotonic() + RECOVERY_SECONDS
        while not self.ask(connection, expected):
            assert time.monotonic() < deadline, f"no answer any more after {victims}"
            time.sleep(0.05)
        is_new = connection.open().enclave.claims.receipt_key != before
        assert is_new or {*victims} == {HOST}


def child(parent: int, module: str) -> int:
    """The process with this module. Raises IndexError and OSError where there is none."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii").split()
    return [int(each) for each in children if module in arguments(int(each))][0]  # noqa: RUF015 - IndexError


def first_answer(connection: Connection) -> str:
    """The answer, as soon as both programs have started."""
    deadline = time.monotonic() + RECOVERY_SECONDS
    while True:
        try:
            return answer(connection)
        except TYPED:
            assert time.monotonic() < deadline, "it did not start"
            time.sleep(0.1)


@pytest.fixture
def battlefield(tmp_path: Path, vendor_folder: Path) -> Iterator[Field]:
    """An enclave and a host, kept running."""
    port = free_port()
    place = Place(tmp_path, vendor_folder, port, f"http://localhost:{port}")
    config = enclave_config(place, fetch(find_manifest(DEFAULT_MODEL)))
    with (
        service(prepare_enclave(place, config), place.folder, place.enclave_log) as enclave,
        service(prepare_host(place), place.host_folder, place.host_log) as host,
    ):
        yield Field(place, host, enclave, random.Random(SEED))


@pytest.mark.timeout(60 + SECONDS_FOR_EACH * KILLS)
def test_processes_are_killed_at_random_moments(battlefield: Field) -> None:
    sys.stderr.write(f"SOTTOVOCE_SEED={SEED}\n")  # shown where the test fails
    began = time.monotonic()
    policy = choose_policy(battlefield.place.url, file=battlefield.place.policy, simulated=True)
    with Connection(battlefield.place.url, policy, shaping=Off()) as connection:
        expected = first_answer(connection)
        started = time.monotonic()
        assert answer(connection) == expected
        within_seconds = time.monotonic() - started
        while battlefield.killed.total() < KILLS:
            battlefield.strike(connection, expected, within_seconds)
    sys.stderr.write(f"{battlefield.summary}, in all {time.monotonic() - began:.0f} s\n")
    assert battlefield.outcomes.total() - battlefield.outcomes["complete"] > KILLS / 4
    assert {*battlefield.enclave.codes, *battlefield.host.codes} <= {-signal.SIGKILL}
