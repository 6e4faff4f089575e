# SPDX-License-Identifier: Apache-2.0
"""Receipts of the real enclave: asked for by programs, kept by the command, checked offline."""

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest

from enclave.receipts import FROM_SESSION, REPEATABLE
from sottovoce.chat import chat_request
from sottovoce.httpx_adapter import client
from sottovoce.receipt_form import decode_receipt, from_text, new_wish
from sottovoce.receipted import Receipted
from sottovoce.receipts import Subject, judge
from sottovoce.transport import ApiError, Connection, Turn
from tests.conftest import Pair
from tests.e2e.test_answers import MODEL, QUESTION
from wire.receipt import COMMENT, RECEIPT_FIELD
from wire.shaping import Off

WISH = new_wish(1_790_000_000.0)
FULL = 14  # more than there are places on a small machine


@pytest.fixture(scope="module")
def connection(pair: Pair) -> Iterator[Connection]:
    """A connection of one's own."""
    with Connection(pair.url, pair.policy) as connected:
        yield connected


def ask(seed: int, temperature: float = 0.8) -> bytes:
    """A request that is short to answer."""
    return chat_request(MODEL, QUESTION, seed=seed, temperature=temperature, max_tokens=12)


def test_a_stream_brings_a_receipt_that_says_what_ran(pair: Pair, connection: Connection) -> None:
    asking = Receipted(connection, ask(7))
    text = "".join(asking.texts())
    kept = asking.kept(pair.policy)
    said = judge(kept.receipt, kept.evidence, pair.policy, Subject(kept.request, text.encode())).proven
    assert said is not None
    settings = {"max_tokens": 12, "temperature": "0.8", "top_p": "1.0", "seed": 7}
    assert said.sampling.items() >= settings.items()
    assert 0 < said.completion_tokens <= 12
    assert said.finish in {"stop", "length"}
    enclave = connection.open().enclave
    assert said.measurement == enclave.verdict.measurement
    assert said.model == enclave.claims.model
    assert sha256(decode_receipt(kept.receipt).public_key).digest() == enclave.claims.receipt_key


def text_digest(pair: Pair, content: bytes, connection: Connection | None = None) -> tuple[bytes, str]:
    """What the receipt says of the answer's text under one and the same nonce, and whether it is repeatable.

    In a session of its own, unless a connection is given.
    """
    if connection is None:
        with Connection(pair.url, pair.policy, shaping=Off()) as own:
            return text_digest(pair, content, own)
    with client(connection) as http:
        headers = {RECEIPT_FIELD: WISH, "content-type": "application/json"}
        answer = http.post(f"{pair.url}/v1/chat/completions", content=content, headers=headers).content
    (comment,) = [event for event in answer.split(b"\n\n") if event.startswith(COMMENT)]
    said = decode_receipt(from_text(comment.removeprefix(COMMENT).decode())).receipt
    return said.text, said.repeatable


def shaped(seed: int) -> bytes:
    """A request for an answer of a certain shape."""
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}
    return json.dumps(json.loads(ask(seed)) | {"response_format": form}).encode()


@pytest.mark.parametrize(
    "requests",
    [(ask(3), ask(4)), (ask(3, 0.0), ask(4, 0.0)), (shaped(3), shaped(4))],
    ids=["sampled", "likeliest", "of a shape"],
)
def test_the_same_request_has_the_same_receipt_alone_and_in_a_full_batch(
    pair: Pair, requests: tuple[bytes, bytes]
) -> None:
    alone = [text_digest(pair, content) for content in requests]
    crowd = [chat_request(MODEL, QUESTION, seed=seed, max_tokens=60) for seed in range(FULL)]
    with ThreadPoolExecutor(FULL + 2) as threads:
        others = [threads.submit(text_digest, pair, content) for content in crowd]
        beside = list(threads.map(partial(text_digest, pair), requests))
        assert len({other.result() for other in others}) > 1
    assert beside == alone
    assert {repeatable for _, repeatable in alone} == {REPEATABLE}
    assert len(set(alone)) == (1 if b'"temperature": 0.0' in requests[0] else 2)


def test_an_answer_that_goes_on_from_what_a_session_remembers_promises_no_repetition(pair: Pair) -> None:
    question = [Turn("user", "Tell me the story of the ship that never left its harbour. " * 8)]
    content = chat_request(MODEL, question, seed=1, temperature=0, max_tokens=8)
    with Connection(pair.url, pair.policy, shaping=Off()) as connection:
        said = [text_digest(pair, content, connection)[1] for _ in range(2)]
    assert said == [REPEATABLE, FROM_SESSION]


def test_programs_see_a_receipt_in_the_head_of_a_whole_answer(pair: Pair, connection: Connection) -> None:
    body = json.loads(ask(5)) | {"stream": False}
    with client(connection) as http:
        response = http.post(f"{pair.url}/v1/chat/completions", json=body, headers={RECEIPT_FIELD: "1"})
        plain = http.post(f"{pair.url}/v1/chat/completions", json=body)
    assert RECEIPT_FIELD not in plain.headers
    data = from_text(response.headers[RECEIPT_FIELD])
    enclave = connection.verify()
    request, now = response.request.content, enclave.claims.issued_at
    for answer in (response.content, response.json()["choices"][0]["message"]["content"].encode()):
        subject = Subject(request, answer)
        assert judge(data, enclave.evidence.encode(), pair.policy, subject, at=now).proven is not None
    other = Subject(request, plain.content)
    assert judge(data, enclave.evidence.encode(), pair.policy, other, at=now).proven is None


def test_programs_see_a_receipt_as_a_comment_before_the_end_of_a_stream(
    pair: Pair, connection: Connection
) -> None:
    with client(connection) as http:
        headers = {RECEIPT_FIELD: "1", "content-type": "application/json"}
        content = http.post(f"{pair.url}/v1/chat/completions", content=ask(5), headers=headers).content
    events = [event for event in content.split(b"\n\n") if event.strip(b" :")]
    assert events[-1] == b"data: [DONE]"
    assert events[-2].startswith(COMMENT)
    data = from_text(events[-2].removeprefix(COMMENT).decode())
    enclave = connection.verify()
    subject = Subject(ask(5), content)
    at = enclave.claims.issued_at
    assert judge(data, enclave.evidence.encode(), pair.policy, subject, at=at).proven is not None


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("completions", {"prompt": "The sky is", "max_tokens": 6}),
        ("completions", {"prompt": "The sky is", "max_tokens": 6, "n": 2}),
        ("responses", {"input": "Who are you?", "max_output_tokens": 6, "store": False}),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_every_generated_answer_brings_a_receipt(
    pair: Pair, connection: Connection, path: str, asked: dict[str, str | int], *, stream: bool
) -> None:
    body = asked | {"model": MODEL, "stream": stream}
    with client(connection) as http:
        response = http.post(f"{pair.url}/v1/{path}", json=body, headers={RECEIPT_FIELD: "1"})
    assert response.status_code == 200, response.content
    comments = [event for event in response.content.split(b"\n\n") if event.startswith(COMMENT)]
    assert len(comments) == stream
    shown = comments[0].removeprefix(COMMENT).decode() if stream else response.headers[RECEIPT_FIELD]
    enclave = connection.verify()
    subject = Subject(response.request.content, response.content)
    at = enclave.claims.issued_at
    said = judge(from_text(shown), enclave.evidence.encode(), pair.policy, subject, at=at).proven
    assert said is not None
    assert said.sampling["max_tokens"] == 6
    assert len(said.finish.split()) == asked.get("n", 1)
    other = Subject(response.request.content, response.content.replace(b"created", b"creatde"))
    assert judge(from_text(shown), enclave.evidence.encode(), pair.policy, other, at=at).proven is None


def test_errors_bring_no_receipt_and_a_malformed_wish_is_an_error(pair: Pair, connection: Connection) -> None:
    with client(connection) as http:
        models = http.get(f"{pair.url}/v1/models", headers={RECEIPT_FIELD: "1"})
        wrong = http.post(f"{pair.url}/v1/chat/completions", content=b"{}", headers={RECEIPT_FIELD: "1"})
        malformed = http.get(f"{pair.url}/v1/models", headers={RECEIPT_FIELD: "yes"})
    assert (models.status_code, wrong.status_code, malformed.status_code) == (200, 400, 400)
    assert malformed.json()["error"]["code"] == "invalid_receipt_request"
    assert not any(RECEIPT_FIELD in response.headers for response in (models, wrong, malformed))
    asking = Receipted(connection, b"{}")
    with pytest.raises(ApiError):
        list(asking.texts())


def run(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run the client."""
    command = [sys.executable, "-P", "-m", "sottovoce", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=False, text=True, timeout=60)


def test_the_command_keeps_a_receipt_and_checks_it_without_a_network(pair: Pair, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    policy = ("--policy", pair.place.policy)
    asked = run(
        "ask", pair.url, *policy, "--max-tokens", "8", "--seed", "1", "--receipt", kept, "Who are you?"
    )
    assert asked.returncode == 0, asked.stderr
    assert (kept / "answer.txt").read_text(encoding="utf-8") == asked.stdout.removesuffix("\n")
    assert {file.stat().st_mode & 0o777 for file in kept.iterdir()} == {0o600}
    verify = ("receipt", "verify", kept / "receipt.cbor", *policy, "--origin", pair.url)
    good = run(*verify, "--answer", kept / "answer.txt", "--request", kept / "request.json")
    assert good.returncode == 0, good.stdout + good.stderr
    assert f"PROVEN: {MODEL}" in good.stdout
    assert "SIMULATED" in good.stdout
    document = json.loads(run(*verify, "--json").stdout)
    assert document["verified"]
    assert document["receipt"]["sampling"]["seed"] == 1
    (kept / "answer.txt").write_text("Something else.", encoding="utf-8")
    other = run(*verify, "--answer", kept / "answer.txt")
    assert other.returncode == 10
    assert "another one" in other.stdout
    late = run(*verify, "--at", "2099-01-01T00:00:00Z")
    assert late.returncode == 10
    assert run("receipt", "verify", kept / "nothing.cbor", *policy).returncode == 20
    (kept / "receipt.cbor").write_bytes(b"x")
    malformed = run(*verify)
    assert malformed.returncode == 10
    assert "expected COSE_Sign1" in malformed.stderr


def test_the_host_sees_no_receipt(pair: Pair, connection: Connection) -> None:
    asking = Receipted(connection, ask(9))
    list(asking.texts())
    kept = asking.kept(pair.policy)
    seen = b"".join([*pair.outside.forward, *pair.outside.backward])
    assert kept.receipt not in seen
    assert decode_receipt(kept.receipt).public_key not in seen
