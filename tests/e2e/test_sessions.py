# SPDX-License-Identifier: Apache-2.0
"""Sessions between real processes: many requests at once, refresh, restart, and OpenAI's own client."""

import os
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionUserMessageParam

from sottovoce.httpx_adapter import WrongOriginError, client
from sottovoce.one_time_keys import REFRESH_SECONDS, Assurance
from sottovoce.transport import EVIDENCE_PATH, GATEWAY_PATH, Connection, Surroundings, Turn
from tests.conftest import Pair, wait_until
from tests.e2e.test_answers import MODEL, QUESTION, STORY
from wire.session import GATEWAY_PREFIX, MAX_TTL_SECONDS
from wire.shaping import Buckets, Off, Shaping


@dataclass(slots=True)
class Clock:
    """A clock that a test moves."""

    now: float = 0.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


@pytest.fixture
def connection(pair: Pair) -> Iterator[Connection]:
    """A connection without a session yet."""
    with pair.connect() as connected:
        yield connected


def answer(connection: Connection, turns: list[Turn] = QUESTION, tokens: int = 12) -> str:
    """The model's likeliest answer."""
    return "".join(connection.chat(MODEL, turns, temperature=0, max_tokens=tokens))


def paths(pair: Pair) -> list[str]:
    """The outer paths of all requests so far, as the network sees them."""
    sent = b"\n".join(pair.outside.forward)
    return [path.decode() for path in re.findall(rb"(?:GET|POST) (/[!-~]+) HTTP/1.1\r\n", sent)]


def test_requests_go_through_one_session_with_evidence_of_its_own(pair: Pair, connection: Connection) -> None:
    seen = len(paths(pair))
    texts = {answer(connection), answer(connection)}
    session = connection.open()
    own = session.identifier.path
    assert len(texts) == 1
    assert paths(pair)[seen:] == [
        EVIDENCE_PATH,
        GATEWAY_PATH,
        own,
        own,
    ]
    assert session.assurance is Assurance.FRESH
    assert session.enclave.evidence.mode == 1
    assert session.enclave.verdict.verified
    assert session.keys_left == 4


def test_a_session_without_fresh_evidence_says_so(pair: Pair) -> None:
    with Connection(pair.url, pair.policy, assurance=Assurance.CACHED) as connection:
        assert answer(connection)
        assert connection.open().assurance is Assurance.CACHED


def test_many_threads_share_four_keys(pair: Pair, connection: Connection) -> None:
    expected = [answer(connection, [Turn("user", f"Count to {number}.")]) for number in range(3)]
    questions = [[Turn("user", f"Count to {number % 3}.")] for number in range(12)]
    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(partial(answer, connection), questions))
    assert answers == expected * 4
    assert {path for path in paths(pair)[-12:] if GATEWAY_PREFIX in path} == {
        connection.open().identifier.path
    }
    assert connection.open().keys_left == 4


def test_the_next_session_is_opened_while_requests_go_on_in_the_old_one(pair: Pair) -> None:
    clock = Clock()
    with Connection(pair.url, pair.policy, surroundings=Surroundings(clock)) as connection:
        answer(connection)
        old = connection.open()
        stream = connection.chat(MODEL, STORY, temperature=0, max_tokens=30)
        first = next(stream)
        clock.now += REFRESH_SECONDS
        assert connection.open() is old
        wait_until(lambda: connection.open() is not old, "the next session")
        assert answer(connection)
        assert first + "".join(stream) == answer(connection, STORY, 30)
        clock.now += MAX_TTL_SECONDS
        assert answer(connection)
        assert len({old, connection.open()}) == 2


def test_a_restarted_enclave_is_verified_again_and_answers(own_pair: Pair) -> None:
    with own_pair.connect() as connection:
        before = answer(connection)
        session = connection.open()
        os.kill(own_pair.process("enclave.serve"), 9)
        wait_until(lambda: own_pair.events().count('"event": "Started"') > 1, "the enclave is back")
        wait_until(lambda: httpx.get(f"{own_pair.url}/healthz").is_success, "the host reaches it")
        assert answer(connection) == before
        after = connection.open()
    assert after.identifier != session.identifier
    assert after.enclave.claims.receipt_key != session.enclave.claims.receipt_key


@pytest.mark.parametrize("shaping", [Buckets(), Off()])
def test_shaping_changes_no_text(pair: Pair, connection: Connection, shaping: Shaping) -> None:
    with Connection(pair.url, pair.policy, shaping=shaping) as other:
        assert answer(other) == answer(connection)


def test_leaving_early_costs_no_key(connection: Connection) -> None:
    for _ in range(6):
        stream = connection.chat(MODEL, STORY, temperature=0, max_tokens=200)
        next(stream)
        stream.close()
    assert connection.open().keys_left == 4
    assert answer(connection)


def test_the_client_of_openai_streams_and_asks(pair: Pair, connection: Connection) -> None:
    expected = answer(connection)
    asked = [ChatCompletionUserMessageParam(role="user", content=QUESTION[0].content)]
    with (
        client(connection) as http,
        openai.OpenAI(
            base_url=f"{pair.url}/v1",
            api_key="no-account",
            http_client=http,  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - takes both
        ) as enclave,
    ):
        assert [model.id for model in enclave.models.list()] == [MODEL]
        whole = enclave.chat.completions.create(model=MODEL, messages=asked, temperature=0, max_tokens=12)
        assert whole.choices[0].message.content == expected
        stream = enclave.chat.completions.create(
            model=MODEL, messages=asked, temperature=0, max_tokens=12, stream=True
        )
        pieces = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
        assert "".join(pieces) == expected
        with pytest.raises(openai.NotFoundError):
            enclave.chat.completions.create(model="another", messages=asked)


def test_a_program_cannot_send_elsewhere(connection: Connection) -> None:
    with client(connection) as http, pytest.raises(WrongOriginError):
        http.get("https://elsewhere.example/v1/models")


def test_waiting_for_a_key_ends_when_one_comes_back(pair: Pair) -> None:
    with Connection(pair.url, pair.policy, keys=1) as connection:
        answers: list[str] = []
        threads = [threading.Thread(target=lambda: answers.append(answer(connection))) for _ in range(5)]
        started = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
        assert len(answers) == 5
        assert len(set(answers)) == 1
        assert time.monotonic() - started < 60
