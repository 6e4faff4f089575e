# SPDX-License-Identifier: Apache-2.0
"""A real enclave over time: its memory under many sessions, and an end that lets answers finish."""

import asyncio
import signal
import time

import pytest

from benchmarks.session_memory import MEGABYTE, Load, resident_bytes, session_process
from sottovoce.transport import RefusedByHostError, UnreachableError
from tests.conftest import Pair
from tests.e2e.test_answers import MODEL, QUESTION

FULL, MORE = 1100, 400  # the enclave keeps 1,024 sessions, and the first of these fill that room
ALLOWED_BYTES = 6 * MEGABYTE  # four keys of each of the later ones would be 17


@pytest.mark.timeout(240)
def test_memory_stays_where_it_is_when_sessions_are_opened_and_dropped(own_pair: Pair) -> None:
    load = Load(own_pair.place.enclave_socket, own_pair.place.audience)
    process = session_process(own_pair.enclave.pid)
    at_rest = resident_bytes(process)
    asyncio.run(load.round(FULL, FULL))
    full = resident_bytes(process)
    assert full - at_rest > 20 * MEGABYTE  # so that the test can see sessions at all
    asyncio.run(load.round(MORE, 2 * MORE))
    assert resident_bytes(process) - full < ALLOWED_BYTES
    with own_pair.connect() as connection:
        assert connection.models() == [MODEL]


def test_answers_under_way_are_finished_when_the_enclave_is_told_to_stop(own_pair: Pair) -> None:
    with own_pair.connect() as connection:
        answer = connection.chat(MODEL, QUESTION, temperature=0, max_tokens=60)
        pieces = [next(answer)]
        own_pair.enclave.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        with own_pair.connect() as late, pytest.raises((RefusedByHostError, UnreachableError)):
            late.models()
        assert own_pair.enclave.poll() is None
        pieces += answer  # raises where the answer is cut
    assert len(pieces) > 5
    assert own_pair.enclave.wait(20) == 0
