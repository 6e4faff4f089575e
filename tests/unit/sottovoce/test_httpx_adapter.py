# SPDX-License-Identifier: Apache-2.0
"""OpenAI's own client through an enclave: what reaches it, and what it must not try again."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionUserMessageParam

from attestation.verify import VerificationError
from sottovoce.httpx_adapter import WrongOriginError, client
from sottovoce.session import TruncatedResponse
from sottovoce.transport import Connection, Surroundings
from tests.fakes import hardware
from tests.fakes.courier import chunk_borders
from tests.fakes.relay import PROBLEM, TEXTS, Enclave, Host, Outer, guest
from wire.session import GATEWAY_PREFIX

MACHINE = guest()
QUESTION = [ChatCompletionUserMessageParam(role="user", content="is it malignant?")]


@pytest.fixture
def host() -> Host:
    """An honest host in front of a new enclave."""
    return Host(Enclave(MACHINE))


@contextmanager
def openai_client(host: Host) -> Generator[openai.OpenAI]:
    """OpenAI's client, which by itself tries twice again."""
    with host.connect() as connection, client(connection) as http:
        yield openai.OpenAI(
            base_url=f"{hardware.ORIGIN}/v1",
            api_key="an-account",
            http_client=http,  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - takes both
        )


def streamed(enclave: openai.OpenAI) -> Iterator[str]:
    """The texts of a streamed answer."""
    stream = enclave.chat.completions.create(model="model", messages=QUESTION, stream=True)
    for chunk in stream:
        yield chunk.choices[0].delta.content or ""


def test_its_stream_is_the_enclaves_and_its_key_goes_inside(host: Host) -> None:
    with openai_client(host) as enclave:
        assert list(streamed(enclave)) == list(TEXTS)
    (call,) = host.enclave.calls
    assert call.fields["authorization"] == "Bearer an-account"
    assert "x-stainless-lang" not in call.fields
    assert "user-agent" not in call.fields
    assert all(b"an-account" not in body for _, body in host.posts)


def test_the_key_of_the_connection_stands_in_the_place_of_a_programs(host: Host) -> None:
    surroundings = Surroundings(network=host)
    own = Connection(
        hardware.ORIGIN, hardware.policy(), api_key="of-the-connection", surroundings=surroundings
    )
    with own as connection, client(connection) as http:
        http.get(f"{hardware.ORIGIN}/v1/models", headers={"authorization": "Bearer -"})
    (call,) = host.enclave.calls
    assert call.fields["authorization"] == "Bearer of-the-connection"


def test_a_request_that_was_done_is_not_done_again(host: Host) -> None:
    forged: list[str] = []

    def forge_once(path: str, kind: str, body: bytes) -> Outer:
        delivered = host.honestly(path, kind, body)
        if path.startswith(GATEWAY_PREFIX) and not forged:
            forged.append(path)
            return Outer(422, PROBLEM, b"{}")
        return delivered

    host.deliver = forge_once
    with openai_client(host) as enclave, pytest.raises(openai.ConflictError):
        list(streamed(enclave))
    assert len(host.enclave.calls) == 1


def test_a_cut_stream_is_an_error_and_is_not_tried_again(host: Host) -> None:
    def cut(path: str, kind: str, body: bytes) -> Outer:
        answer = host.honestly(path, kind, body)
        if not path.startswith(GATEWAY_PREFIX):
            return answer
        return Outer(200, answer.content_type, answer.body[: chunk_borders(answer.body, 32)[3]])

    host.deliver = cut
    with openai_client(host) as enclave, pytest.raises(TruncatedResponse):
        list(streamed(enclave))
    assert len(host.enclave.calls) == 1


def test_a_refused_enclave_is_not_tried_again(host: Host) -> None:
    host.enclave.evidence_for = lambda _: host.enclave.evidence
    with openai_client(host) as enclave:
        for _ in range(2):
            with pytest.raises(VerificationError):
                list(streamed(enclave))
    assert len(host.posts) == 1


@pytest.mark.parametrize(
    "url", ["https://elsewhere.example/v1/models", "http://llm.example/v1/models", "https://llm.example:444/"]
)
def test_nothing_is_sent_elsewhere(host: Host, url: str) -> None:
    with host.connect() as connection, client(connection) as http, pytest.raises(WrongOriginError):
        http.get(url)
    assert host.posts == []


def test_an_answer_that_is_left_early_is_closed(host: Host) -> None:
    with host.connect() as connection, client(connection) as http:
        with http.stream("POST", f"{hardware.ORIGIN}/v1/chat/completions", json={"stream": True}) as response:
            assert response.headers["content-type"] == "text/event-stream"
            assert next(response.iter_bytes())
        assert isinstance(response, httpx.Response)
        assert response.is_closed
        assert connection.open().keys_left == 4
