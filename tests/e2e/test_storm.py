# SPDX-License-Identifier: Apache-2.0
"""The network breaks at random points of an answer, again and again.

Each time the client has a typed error or the complete answer, within its time, and the next question is
answered by the same connection: verified anew where that is needed, with nobody's help.
"""

import random
import time
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest

from sottovoce.chat import ApiError
from sottovoce.courier import READ_SECONDS, RefusedByHostError, UnreachableError
from sottovoce.opening import SessionRefusedError
from sottovoce.session import AnswerError
from sottovoce.transport import Connection
from tests.conftest import Pair
from tests.e2e.test_answers import MODEL, QUESTION
from tests.fakes.cutter import cutter
from wire.shaping import Off

# An answer that broke, or no answer. A refusal of the enclave is not among them: nothing here forges.
TYPED = (AnswerError, ApiError, RefusedByHostError, SessionRefusedError, UnreachableError)
ROUNDS = 40
SEED = 20261122
WHOLE_ROUND_BYTES = 40_000  # evidence, a session and an answer
ANSWER_BYTES = 6_000


@dataclass(slots=True)
class Storm:
    """What came of it."""

    expected: str
    outcomes: Counter[str] = field(default_factory=Counter[str])
    longest_seconds: float = 0.0

    def ask(self, connection: Connection) -> str:
        """One question: the answer, or a typed error. Anything else fails the test."""
        started = time.monotonic()
        outcome, text, before = "complete", self.expected, ""
        try:
            text = answer(connection)
        except TYPED as error:
            outcome = type(error).__name__
            before = error.partial if isinstance(error, AnswerError) else ""
        assert text == self.expected
        assert self.expected.startswith(before)
        self.longest_seconds = max(self.longest_seconds, time.monotonic() - started)
        assert self.longest_seconds < READ_SECONDS
        self.outcomes[outcome] += 1
        return outcome


def answer(connection: Connection) -> str:
    """The model's likeliest answer."""
    return "".join(connection.chat(MODEL, QUESTION, temperature=0, max_tokens=12))


def storm(pair: Pair, rounds: int, seed: int) -> Storm:
    """Cut the network at random bytes, this many times."""
    chance = random.Random(seed)
    port = urlsplit(pair.url).port
    assert port is not None
    with (
        cutter(port) as network,
        Connection(f"http://127.0.0.1:{network.port}", pair.policy, shaping=Off()) as connection,
    ):
        result = Storm(answer(connection))
        for _ in range(rounds):
            most = chance.choice((ANSWER_BYTES, WHOLE_ROUND_BYTES))
            network.cut_after(chance.randrange(most), reset=chance.random() < 0.5)
            result.ask(connection)
            network.mend()
            assert answer(connection) == result.expected
    return result


@pytest.mark.timeout(300)
def test_the_network_is_cut_at_random_bytes(pair: Pair) -> None:
    result = storm(pair, ROUNDS, SEED)
    assert sum(result.outcomes.values()) == ROUNDS
    assert result.outcomes["TruncatedResponse"] > ROUNDS / 10
    assert result.outcomes["complete"] < ROUNDS
