# SPDX-License-Identifier: Apache-2.0
"""Real questions to the real model, through client, host and enclave."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

import httpx
import pytest

from sottovoce.session import Content, Event, Head
from sottovoce.transport import ApiError, Connection, Turn
from tests.conftest import Pair, running_pair, wait_until

MODEL = "smollm2-135m-instruct"
QUESTION = [Turn("user", "What is gravity?")]
STORY = [Turn("user", "Write a very long story about a lighthouse.")]
CHAT = "/v1/chat/completions"


class Message(TypedDict):
    """A whole answer's message."""

    role: str
    content: str


class Choice(TypedDict):
    """A whole answer's choice."""

    message: Message
    finish_reason: str


class Completion(TypedDict):
    """A whole answer."""

    object: str
    model: str
    choices: list[Choice]
    usage: dict[str, int]


@pytest.fixture
def connection(pair: Pair) -> Iterator[Connection]:
    """A verified connection."""
    with pair.connect() as connected:
        connected.verify()
        yield connected


def whole(events: Iterator[Event]) -> tuple[int, str, bytes]:
    """Status, content type and body of an answer."""
    received = list(events)
    head = received[0]
    assert isinstance(head, Head)
    body = b"".join(event.data for event in received if isinstance(event, Content))
    return head.status, head.fields["content-type"], body


def ask(connection: Connection, **request: object) -> tuple[int, dict[str, dict[str, str]]]:
    """A chat request as raw JSON; status and body of the answer."""
    status, _, body = whole(connection.stream("POST", CHAT, json.dumps(request).encode()))
    answer: dict[str, dict[str, str]] = json.loads(body)
    return status, answer


def complete(connection: Connection, **parameters: object) -> Completion:
    """A whole answer to the question."""
    messages = [{"role": turn.role, "content": turn.content} for turn in QUESTION]
    request = {"model": MODEL, "messages": messages, "temperature": 0, "max_tokens": 24} | parameters
    status, content_type, body = whole(connection.stream("POST", CHAT, json.dumps(request).encode()))
    assert (status, content_type) == (200, "application/json")
    answer: Completion = json.loads(body)
    return answer


def test_a_streamed_answer_is_the_models(connection: Connection) -> None:
    pieces = list(connection.chat(MODEL, QUESTION, temperature=0, max_tokens=24))
    assert len(pieces) > 3
    assert "physics" in "".join(pieces)


def test_a_whole_answer_equals_the_streamed_one_and_counts_tokens(connection: Connection) -> None:
    answer = complete(connection)
    streamed = "".join(connection.chat(MODEL, QUESTION, temperature=0, max_tokens=24))
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": streamed}
    usage = answer["usage"]
    assert usage["prompt_tokens"] > 10
    assert 3 < usage["completion_tokens"] <= 24
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert (answer["object"], answer["model"]) == ("chat.completion", MODEL)


def test_a_stream_has_the_form_that_openai_clients_read(connection: Connection) -> None:
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "Say "}, {"type": "text", "text": "hello."}]}
    ]
    request = {"model": MODEL, "messages": messages, "stream": True, "max_tokens": 5, "temperature": 0}
    body = json.dumps(request | {"stream_options": {"include_usage": True}}).encode()
    status, content_type, events = whole(connection.stream("POST", CHAT, body))
    # What begins with a colon is a comment, and fills the frames.
    lines = [event for event in events.decode().split("\n\n") if not event.startswith(":")]
    assert (status, content_type) == (200, "text/event-stream")
    assert lines[-2:] == ["data: [DONE]", ""]
    documents = [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]
    assert documents[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert documents[-2]["choices"][0]["finish_reason"] == "length"
    assert documents[-1]["choices"] == []
    assert documents[-1]["usage"]["completion_tokens"] == 5
    assert len({document["id"] for document in documents}) == 1


def test_the_model_decides_when_to_stop(connection: Connection) -> None:
    assert complete(connection, max_tokens=200)["choices"][0]["finish_reason"] == "stop"


def test_a_stop_string_ends_the_answer_and_is_not_shown(connection: Connection) -> None:
    answer = complete(connection, stop=["physics"])["choices"][0]
    assert answer["finish_reason"] == "stop"
    assert "physics" not in answer["message"]["content"]


def test_a_seed_makes_an_answer_repeatable(connection: Connection) -> None:
    answers = {
        complete(connection, temperature=1.5, seed=seed)["choices"][0]["message"]["content"]
        for seed in (1, 1, 2)
    }
    assert len(answers) == 2


def test_the_models_are_listed(connection: Connection) -> None:
    assert connection.models() == [MODEL]


@pytest.mark.parametrize(
    ("request_changes", "status", "code", "param"),
    [
        ({"tools": []}, 400, "invalid_value", "tools"),
        ({"user": "me"}, 400, "unsupported_parameter", "user"),
        ({"temperature": 3}, 400, "invalid_value", "temperature"),
        ({"max_tokens": True}, 400, "invalid_value", "max_tokens"),
        ({"n": 9}, 400, "invalid_value", "n"),
        ({"model": "gpt-4"}, 404, "model_not_found", "model"),
        (
            {"messages": [{"role": "user", "content": "word " * 9000}]},
            400,
            "context_length_exceeded",
            "messages",
        ),
        ({"stream_options": {"include_usage": True}}, 400, "invalid_value", "stream_options"),
    ],
)
def test_what_cannot_be_answered_is_named(
    connection: Connection, request_changes: dict[str, object], status: int, code: str, param: str
) -> None:
    request: dict[str, object] = {"model": MODEL, "messages": [{"role": "user", "content": "?"}]}
    answered, body = ask(connection, **(request | request_changes))
    error = body["error"]
    assert (answered, error["code"], error["param"]) == (status, code, param)
    assert error["message"]


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("GET", "/v1/nothing", b"", 404),
        ("POST", "/v1/models", b"{}", 405),
        ("POST", CHAT, b"not json", 400),
        ("POST", CHAT, b"", 415),
    ],
)
def test_other_requests_get_an_error_inside_the_encryption(
    connection: Connection, method: str, path: str, content: bytes, status: int
) -> None:
    answered, content_type, body = whole(connection.stream(method, path, content))
    assert (answered, content_type) == (status, "application/json")
    assert json.loads(body)["error"]["message"]


def test_two_requests_are_answered_one_after_the_other(pair: Pair) -> None:
    answers: list[str] = []

    def one() -> None:
        with pair.connect() as connected:
            answers.append("".join(connected.chat(MODEL, QUESTION, temperature=0, max_tokens=24)))

    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 3
    assert len(set(answers)) == 1


def test_a_request_that_may_not_wait_is_told_so(tmp_path: Path, vendor_folder: Path) -> None:
    with (
        running_pair(tmp_path, vendor_folder, extra="[engine]\nslots = 1\nwaiting_requests = 0\n") as own,
        own.connect() as first,
        own.connect() as second,
    ):
        stream = first.chat(MODEL, STORY, max_tokens=300, temperature=0)
        next(stream)
        with pytest.raises(ApiError) as refused:
            list(second.chat(MODEL, QUESTION, max_tokens=1))
        assert refused.value.status == 429
        assert list(stream)


def stream_close(stream: Iterator[str]) -> None:
    """Leave a stream early."""
    close = getattr(stream, "close", None)
    assert close is not None
    close()


def test_a_client_that_goes_away_stops_the_generation(own_pair: Pair) -> None:
    with own_pair.connect() as connection:
        stream = connection.chat(MODEL, STORY, max_tokens=3000, temperature=0)
        for _ in range(5):
            next(stream)
        stream_close(stream)
        wait_until(lambda: '"outcome": "cancelled"' in own_pair.events(), "the exchange is cancelled")
        engine = own_pair.process("enclave.engine")
        wait_until(lambda: is_idle(engine), "the engine is idle")
        assert "".join(connection.chat(MODEL, QUESTION, temperature=0, max_tokens=24))


def is_idle(process_id: int) -> bool:
    """Whether a process used no processor time for a while."""
    before = cpu_ticks(process_id)
    threading.Event().wait(0.3)
    return cpu_ticks(process_id) == before


def cpu_ticks(process_id: int) -> int:
    """User and system time of a process (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{process_id}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_the_host_is_healthy_while_attestation_is(own_pair: Pair) -> None:
    health = f"{own_pair.url}/healthz"
    assert httpx.get(health, trust_env=False).status_code == 200
    own_pair.enclave.terminate()
    own_pair.enclave.wait(20)
    answer = httpx.get(health, trust_env=False)
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
