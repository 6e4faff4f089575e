# SPDX-License-Identifier: Apache-2.0
"""The engine ends while eight people read: killed, aborted, out of memory. And an enclave that cannot start.

All are told, none takes the beginning for an answer, and all are answered again by a new enclave that they
verified, through the connections that they have.
"""

import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from deploy.local import (
    DEFAULT_MODEL,
    STOP_SECONDS,
    Place,
    enclave_config,
    free_port,
    prepare_enclave,
    running,
)
from enclave.supervisor import GAVE_UP, MOST_FAILED_STARTS
from models.fetch import fetch
from models.manifest import find_manifest
from sottovoce.session import TruncatedResponse
from sottovoce.transport import ApiError, Connection, Turn
from tests.conftest import Pair, running_pair
from tests.e2e.test_answers import MODEL, QUESTION, STORY
from tests.e2e.test_storm import TYPED

STREAMS = 8
RECOVERY_SECONDS = 60.0
LONG = [Turn("user", "Tell me more about this lighthouse. " * 60)]


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory, vendor_folder: Path) -> Iterator[Pair]:
    """A pair whose engine these tests end."""
    with running_pair(tmp_path_factory.mktemp("fragile"), vendor_folder) as pair:
        yield pair


def killed(engine: int, _connection: Connection) -> None:
    """By an operator, or by a kernel that has no memory left."""
    os.kill(engine, signal.SIGKILL)


def aborted(engine: int, _connection: Connection) -> None:
    """By its own library, after a call that it does not take."""
    os.kill(engine, signal.SIGABRT)


def starved(engine: int, connection: Connection) -> None:
    """It gets no more memory than it has, and needs more to remember a conversation."""
    pages = int(Path(f"/proc/{engine}/statm").read_text(encoding="ascii").split()[0])
    size = pages * resource.getpagesize()
    resource.prlimit(engine, resource.RLIMIT_AS, (size, size))
    with suppress(*TYPED):
        "".join(connection.chat(MODEL, LONG, temperature=0, max_tokens=1))


def read_to_the_end(connection: Connection, begun: threading.Barrier) -> str:
    """How a long story ends. Only an error may be its end."""
    stream = connection.chat(MODEL, STORY, temperature=0, max_tokens=3000)
    next(stream)
    begun.wait(30)
    with pytest.raises((ApiError, TruncatedResponse)) as raised:
        list(stream)
    if isinstance(raised.value, ApiError):
        assert "the engine stopped" in str(raised.value)
    return raised.type.__name__


def ask_until_answered(connection: Connection) -> str:
    """The next answer, with no help but patience."""
    deadline = time.monotonic() + RECOVERY_SECONDS
    while True:
        try:
            return "".join(connection.chat(MODEL, QUESTION, temperature=0, max_tokens=8))
        except TYPED:
            assert time.monotonic() < deadline, "no answer any more"
            time.sleep(0.1)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("fault", [killed, aborted, starved])
def test_the_engine_ends_under_eight_streams(fragile: Pair, fault: Callable[[int, Connection], None]) -> None:
    begun = threading.Barrier(STREAMS + 1)
    connections = [fragile.connect() for _ in range(STREAMS)]
    try:
        before = [connection.open().enclave for connection in connections]
        with ThreadPoolExecutor(STREAMS) as threads, fragile.connect() as another:
            another.open()
            reading = [threads.submit(read_to_the_end, connection, begun) for connection in connections]
            begun.wait(30)
            fault(fragile.process("enclave.engine"), another)
            ends = [future.result(RECOVERY_SECONDS) for future in reading]
            answers = list(threads.map(ask_until_answered, connections))
        after = [connection.open().enclave for connection in connections]
    finally:
        for connection in connections:
            connection.close()
    assert len(ends) == STREAMS
    assert len({*answers}) == 1
    assert answers[0]
    assert len({enclave.claims.receipt_key for enclave in before}) == 1
    assert len({enclave.claims.receipt_key for enclave in after}) == 1
    assert before[0].claims.receipt_key != after[0].claims.receipt_key
    assert before[0].evidence.keys != after[0].evidence.keys
    assert all(enclave.verdict.verified for enclave in after)


def test_an_enclave_that_cannot_start_gives_up_and_says_so(tmp_path: Path, vendor_folder: Path) -> None:
    """Its memory has room for the supervisor, and not for the model."""
    place = Place(tmp_path, vendor_folder, free_port(), "http://localhost:1")
    config = enclave_config(place, fetch(find_manifest(DEFAULT_MODEL)))
    command = ["/bin/sh", "-c", 'ulimit -v 300000 && exec "$@"', "-", *prepare_enclave(place, config)]
    with running("the enclave", command, place.folder, place.enclave_log) as process:
        assert process.wait(STOP_SECONDS * MOST_FAILED_STARTS) == GAVE_UP
    events = place.enclave_log.read_text(encoding="utf-8")
    assert f'{{"event": "GaveUp", "failed_starts": {MOST_FAILED_STARTS}}}' in events
    assert '"event": "Started"' not in events
