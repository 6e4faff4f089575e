# SPDX-License-Identifier: Apache-2.0
"""`cohere-tng`, an independent client of chunked OHTTP, against the real enclave with the real model.

It knows nothing of our evidence, sessions and shaping: what it gets is assurance level L0 at most.
"""

import json
from collections.abc import Iterator
from typing import TypedDict

import cohere_tng
import httpx
import pytest

from tests.conftest import Pair

MODEL = "smollm2-135m-instruct"
QUESTION = [{"role": "user", "content": "What is gravity?"}]
CHAT = "/v1/chat/completions"


class Choice(TypedDict):
    """One piece or one whole answer."""

    delta: dict[str, str]
    message: dict[str, str]


class Document(TypedDict):
    """What the API answers; not all have every key."""

    data: list[dict[str, str]]
    choices: list[Choice]
    error: dict[str, str]


@pytest.fixture
def client(open_pair: Pair) -> Iterator[httpx.Client]:
    """An ordinary HTTP client whose transport is theirs."""
    transport = cohere_tng.Transport(verify=None)
    with httpx.Client(transport=transport, base_url=open_pair.url, timeout=60) as made:
        yield made


def request(*, stream: bool) -> dict[str, object]:
    """A chat request."""
    return {"model": MODEL, "messages": QUESTION, "temperature": 0, "max_tokens": 24, "stream": stream}


def whole(client: httpx.Client) -> str:
    """The whole answer to the question."""
    response = client.post(CHAT, json=request(stream=False))
    document: Document = response.json()
    assert response.status_code == 200, document
    return document["choices"][0]["message"]["content"]


def streamed(client: httpx.Client) -> str:
    """The streamed answer, put together."""
    text = ""
    with client.stream("POST", CHAT, json=request(stream=True)) as response:
        assert (response.status_code, response.headers["content-type"]) == (200, "text/event-stream")
        lines = [line.removeprefix("data: ") for line in response.iter_lines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    for line in lines[:-1]:
        document: Document = json.loads(line)
        text += document["choices"][0]["delta"].get("content", "")
    return text


def test_a_whole_answer(client: httpx.Client) -> None:
    assert "physics" in whole(client)


def test_a_streamed_answer_is_the_whole_one(client: httpx.Client) -> None:
    assert streamed(client) == whole(client)


def test_a_request_without_a_body(client: httpx.Client) -> None:
    document: Document = client.get("/v1/models").json()
    assert [model["id"] for model in document["data"]] == [MODEL]


def test_an_error_is_the_enclaves_own(client: httpx.Client) -> None:
    response = client.post("/v1/nothing", json={})
    document: Document = response.json()
    assert (response.status_code, document["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize(("announced", "status"), [(True, 200), (False, 400)])
def test_a_request_in_pieces(client: httpx.Client, *, announced: bool, status: int) -> None:
    """Without a length it carries the field transfer-encoding inside, which is refused (wire.md 7.16)."""
    body = json.dumps(request(stream=False)).encode()
    pieces = (body[start : start + 7] for start in range(0, len(body), 7))
    length = {"content-length": str(len(body))} if announced else {}
    response = client.post(CHAT, content=pieces, headers={"content-type": "application/json", **length})
    assert response.status_code == status


def test_the_host_saw_nothing_of_it(client: httpx.Client, open_pair: Pair) -> None:
    wires = (open_pair.outside, open_pair.inside)
    begun = [(len(wire.forward), len(wire.backward)) for wire in wires]  # others have used them before
    assert "physics" in whole(client)
    parts = [
        part
        for wire, (forward, backward) in zip(wires, begun, strict=True)
        for part in (wire.forward[forward:], wire.backward[backward:])
    ]
    assert all(parts), "all four directions were used"
    seen = b"\0".join(map(b"".join, parts))
    for text in (b"gravity", b"physics", b"completions"):
        assert text not in seen
