# SPDX-License-Identifier: Apache-2.0
"""The public interface in programs of others: OpenAI's clients with the enclave as their transport."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionUserMessageParam

import sottovoce
from deploy.local import free_port
from tests.conftest import Pair
from tests.e2e.test_answers import MODEL

QUESTION = [ChatCompletionUserMessageParam(role="user", content="What is gravity?")]


@pytest.fixture
def enclave(pair: Pair) -> Iterator[sottovoce.Connection]:
    """A verified connection."""
    with sottovoce.connect(pair.url, pair.place.policy) as connected:
        yield connected


def test_every_public_name_is_there_and_nothing_else() -> None:
    for name in sottovoce.__all__:
        assert getattr(sottovoce, name) is not None
    with pytest.raises(AttributeError, match="elsewhere"):
        _ = sottovoce.elsewhere


def test_importing_it_loads_nothing_before_it_is_used() -> None:
    program = "import sys, sottovoce; print([name for name in ('httpx', 'rich', 'uvicorn', 'cryptography')"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program + " if name in sys.modules])"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_verdict_evidence_and_assurance_are_objects(pair: Pair, enclave: sottovoce.Connection) -> None:
    session = enclave.open()
    assert session.assurance is sottovoce.Assurance.FRESH
    assert session.enclave.verdict.verified
    assert session.enclave.verdict.simulated
    assert {check.outcome for check in session.enclave.verdict.checks} <= {
        sottovoce.Outcome.PASSED,
        sottovoce.Outcome.NOTED,
    }
    assert session.enclave.claims.audience == pair.url


def test_a_policy_can_be_an_object_a_path_or_a_name(pair: Pair) -> None:
    for policy in (pair.policy, pair.place.policy, str(pair.place.policy)):
        with sottovoce.connect(pair.url, policy) as connected:
            assert connected.models() == [MODEL]


def test_the_default_policy_refuses_and_says_what_to_do(pair: Pair) -> None:
    with pytest.raises(sottovoce.VerificationError) as refused:
        sottovoce.connect(pair.url)
    assert not refused.value.verdict.verified
    failure = sottovoce.failure_of(refused.value)
    assert (failure.code, failure.retry_is_safe) == ("enclave_refused", False)
    assert "nothing was sent" in sottovoce.explain(refused.value)
    assert "sottovoce verify" in sottovoce.explain(refused.value)


def test_a_host_that_is_not_there_is_safe_to_try_again() -> None:
    with pytest.raises(sottovoce.ERRORS) as failed:
        sottovoce.connect(f"http://localhost:{free_port()}")
    assert isinstance(failed.value, sottovoce.UnreachableError)
    assert sottovoce.failure_of(failed.value).retry_is_safe


def test_a_program_keeps_to_the_pins_of_the_command_and_is_warned(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    file = tmp_path / "sottovoce" / "trust.json"

    def connect(
        memory: sottovoce.Memory | sottovoce.ProcessMemory | None = None,
    ) -> list[sottovoce.NoticeKind]:
        with sottovoce.connect(pair.url, pair.place.policy, memory=memory) as connected:
            return [notice.kind for notice in connected.notices]

    first = sottovoce.NoticeKind.FIRST
    assert connect(sottovoce.ProcessMemory()) == [first]
    assert not file.exists()
    assert connect(sottovoce.Memory(tmp_path / "other.json")) == [first]
    assert [connect(), connect()] == [[first], []]

    known = file.read_text(encoding="utf-8")
    (origin,) = json.loads(known)["origins"].values()
    measurement = origin[1][0][0]
    other = known.replace(measurement, "f" * len(measurement))
    file.write_text(other, encoding="utf-8")
    with pytest.raises(sottovoce.ReleaseWarning) as warned:  # warnings are exceptions in this test run
        connect()
    assert warned.value.notice.kind is sottovoce.NoticeKind.CHANGED
    file.write_text(other, encoding="utf-8")
    with pytest.warns(sottovoce.ReleaseWarning, match="measurement"):
        assert connect() == [sottovoce.NoticeKind.CHANGED]

    command = [sys.executable, "-P", "-m", "sottovoce", "trust", "pin", pair.url, "ffff"]
    subprocess.run(command, check=True, timeout=60)
    with pytest.raises(sottovoce.PinnedError):
        connect()
    file.write_text("spoiled", encoding="utf-8")
    with pytest.raises(sottovoce.MemoryFileError):
        connect()


def test_one_transport_serves_both_kinds_of_client(pair: Pair, enclave: sottovoce.Connection) -> None:
    transport = sottovoce.httpx_transport(enclave)
    with httpx.Client(transport=transport) as client:
        expected = client.get(f"{pair.url}/v1/models").json()

    async def also() -> object:
        async with httpx.AsyncClient(transport=transport) as asynchronous:
            return (await asynchronous.get(f"{pair.url}/v1/models")).json()

    assert asyncio.run(also()) == expected
    assert [model["id"] for model in expected["data"]] == [MODEL]


def test_the_asynchronous_client_of_openai(pair: Pair, enclave: sottovoce.Connection) -> None:
    async def answers() -> list[str | None]:
        async with (
            sottovoce.async_http_client(enclave) as http,
            openai.AsyncOpenAI(
                base_url=f"{pair.url}/v1",
                api_key="-",
                http_client=http,  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - takes both
            ) as client,
        ):
            whole = client.chat.completions.create(
                model=MODEL, messages=QUESTION, temperature=0, max_tokens=12
            )
            stream = await client.chat.completions.create(
                model=MODEL, messages=QUESTION, temperature=0, max_tokens=12, stream=True
            )
            pieces = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
            with pytest.raises(openai.NotFoundError):
                await client.chat.completions.create(model="another", messages=QUESTION)
            return ["".join(pieces), (await whole).choices[0].message.content]

    streamed, whole = asyncio.run(answers())
    assert streamed == whole
    assert whole is not None
    assert whole.startswith("Gravity is")


def test_a_task_that_is_cancelled_goes_on_at_once_and_frees_its_key(enclave: sottovoce.Connection) -> None:
    body = {"model": MODEL, "messages": QUESTION, "max_tokens": 400, "stream": True}

    async def left() -> None:
        async with sottovoce.async_http_client(enclave) as http:
            url = f"{enclave.origin}/v1/chat/completions"
            async with asyncio.timeout(30), http.stream("POST", url, json=body) as response:
                assert await anext(response.aiter_bytes())

    for _ in range(6):
        asyncio.run(left())
    assert enclave.models() == [MODEL]
    assert enclave.open().keys_left == 4
