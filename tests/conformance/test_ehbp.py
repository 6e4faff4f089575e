# SPDX-License-Identifier: Apache-2.0
"""Two clients of the Encrypted HTTP Body Protocol against the real enclave, and what they cannot protect."""

import json
from collections.abc import Iterator
from typing import TypedDict

import ehbp
import httpx
import pytest

from sottovoce.session import Content, Head
from tests.conformance.javascript import javascript
from tests.conftest import Pair

MODEL = "smollm2-135m-instruct"
QUESTION = [{"role": "user", "content": "What is gravity?"}]
CHAT, KEYS = "/v1/chat/completions", "/.well-known/hpke-keys"


class Choice(TypedDict):
    """One piece or one whole answer."""

    delta: dict[str, str]
    message: dict[str, str]


class Document(TypedDict):
    """What the API answers; not all have every key."""

    choices: list[Choice]
    error: dict[str, str]


class Answered(TypedDict):
    """What the program in JavaScript prints."""

    status: int
    type: str
    text: str


def request(*, stream: bool) -> dict[str, object]:
    """A chat request."""
    return {"model": MODEL, "messages": QUESTION, "temperature": 0, "max_tokens": 24, "stream": stream}


def said(stream: str) -> str:
    """The text in a stream of server-sent events."""
    lines = [line.removeprefix("data: ") for line in stream.split("\n") if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    documents: list[Document] = [json.loads(line) for line in lines[:-1]]
    return "".join(document["choices"][0]["delta"].get("content", "") for document in documents)


@pytest.fixture
def key(open_pair: Pair) -> bytes:
    """The key, from inside a verified session: this is how it is known whose key it is."""
    with open_pair.connect() as connection:
        events = list(connection.stream("GET", KEYS, b""))
    assert isinstance(events[0], Head)
    assert events[0].status == 200
    return b"".join(event.data for event in events if isinstance(event, Content))


@pytest.fixture
def client(open_pair: Pair, key: bytes) -> Iterator[ehbp.Client]:
    """The client in Python, with the verified key."""
    with ehbp.Client.with_config(open_pair.url, key) as made:
        yield made


def test_the_key_that_the_host_shows_is_the_verified_one(open_pair: Pair, key: bytes) -> None:
    with ehbp.Client.discover(open_pair.url) as discovered:
        assert discovered.server_identity.marshal_public_config() == key


def test_a_whole_answer_of_python(client: ehbp.Client) -> None:
    response = client.post(CHAT, json_body=request(stream=False))
    document: Document = json.loads(response.content)
    assert response.status_code == 200
    assert "physics" in document["choices"][0]["message"]["content"]
    assert len(response.content) == 1024  # padded with spaces


def test_a_streamed_answer_of_python(client: ehbp.Client) -> None:
    with client.stream("POST", CHAT, json_body=request(stream=True)) as response:
        assert response.headers["content-type"] == "text/event-stream"
        pieces = list(response.iter_bytes())
    assert len(pieces) > 3
    assert "physics" in said(b"".join(pieces).decode())


def test_a_request_in_many_frames(client: ehbp.Client) -> None:
    body = json.dumps(request(stream=False)).encode() + b" " * 150_000
    response = client.post(CHAT, body=body, headers={"content-type": "application/json"})
    assert response.status_code == 200
    assert b"physics" in response.content


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_of_javascript(open_pair: Pair, *, stream: bool) -> None:
    answered: Answered = json.loads(javascript("ehbp.mjs", open_pair.url, work=[request(stream=stream)]))
    assert answered["status"] == 200
    if stream:
        assert answered["type"] == "text/event-stream"
        assert "physics" in said(answered["text"])
    else:
        document: Document = json.loads(answered["text"])
        assert "physics" in document["choices"][0]["message"]["content"]


def test_an_error_is_sealed_and_its_status_is_not(client: ehbp.Client) -> None:
    response = client.post("/v1/nothing", json_body={})
    document: Document = json.loads(response.content)
    assert (response.status_code, document["error"]["code"]) == (404, "not_found")


def test_a_key_that_is_over_is_said_to_be(open_pair: Pair) -> None:
    other = ehbp.ServerIdentity(bytes([9]) + bytes(31))
    with (
        ehbp.Client(open_pair.url, other) as client,
        pytest.raises(ehbp.KeyConfigMismatchError, match="key configuration mismatch"),
    ):
        client.post(CHAT, json_body=request(stream=False))


def test_a_request_without_a_body_is_not_served_in_clear(client: ehbp.Client) -> None:
    assert client.get("/v1/models").status_code in {404, 405}


def test_the_host_saw_no_text_but_sees_the_path(client: ehbp.Client, open_pair: Pair) -> None:
    before = len(open_pair.outside.forward)
    assert b"physics" in client.post(CHAT, json_body=request(stream=False)).content
    seen = b"".join(open_pair.outside.forward[before:]) + b"".join(open_pair.outside.backward)
    assert b"physics" not in seen
    assert b"gravity" not in seen
    assert CHAT.encode() in seen


def test_an_enclave_that_is_not_configured_for_it_has_no_such_key(pair: Pair) -> None:
    assert httpx.get(f"{pair.url}{KEYS}", trust_env=False).status_code == 404
    with pair.connect() as connection:
        events = list(connection.stream("GET", KEYS, b""))
    assert isinstance(events[0], Head)
    assert events[0].status == 404
