# SPDX-License-Identifier: Apache-2.0
"""Tools, JSON schema, embeddings and errors through the proxy, with clients that know nothing of enclaves.

The enclave has one place and lets two requests wait, so that a third is told to come back.
"""

import asyncio
import json
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import Literal

import openai
import pytest
from openai.types import CreateEmbeddingResponse
from openai.types.chat import (
    ChatCompletion,
    ChatCompletionMessageFunctionToolCall,
    ChatCompletionMessageParam,
    ChatCompletionNamedToolChoiceParam,
    ChatCompletionToolUnionParam,
)
from openai.types.chat.chat_completion import Choice
from pydantic import BaseModel, ConfigDict

from attestation.results.values import Value
from deploy.local import Place
from tests.conformance.javascript import javascript
from tests.e2e.proxies import Proxy, running_proxy

MODEL = "with-tools"
UNITS = ["metric", "imperial"]
QUESTION: list[ChatCompletionMessageParam] = [{"role": "user", "content": "How is the weather in Ulm?"}]
TOO_LONG: list[ChatCompletionMessageParam] = [{"role": "user", "content": "word " * 9000}]
SCHEMA: dict[str, object] = {
    "type": "object",
    "properties": {"unit": {"enum": UNITS}, "days": {"type": "integer"}},
    "required": ["unit", "days"],
    "additionalProperties": False,
}
TOOL: ChatCompletionToolUnionParam = {
    "type": "function",
    "function": {"name": "weather", "description": "Tells it.", "parameters": SCHEMA},
}
THIS_TOOL: ChatCompletionNamedToolChoiceParam = {"type": "function", "function": {"name": "weather"}}
FORM = {"type": "json_schema", "json_schema": {"name": "report", "schema": SCHEMA}}
SENTENCES = ["The cat sat on the mat.", "A cat is sitting on a mat.", "Interest rates rose by one percent."]


class Report(BaseModel):
    """What an answer is held to."""

    model_config = ConfigDict(extra="forbid")

    unit: Literal["metric", "imperial"]
    days: int


@pytest.fixture(scope="module")
def proxy(tools_place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """One for all of these tests."""
    with running_proxy(tools_place, tmp_path_factory.mktemp("proxy")) as running:
        yield running


@pytest.fixture
def program(proxy: Proxy) -> Iterator[openai.OpenAI]:
    """OpenAI's own client, which does not try again here."""
    with openai.OpenAI(base_url=proxy.api, api_key="-", max_retries=0) as client:
        yield client


def check_report(text: str | None) -> None:
    """What the schema says."""
    report = json.loads(text or "")
    assert set(report) == {"unit", "days"}
    assert report["unit"] in UNITS
    assert type(report["days"]) is int


def check_call(choice: Choice) -> None:
    """One call of the one tool, with arguments that fit."""
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls or []
    assert isinstance(call, ChatCompletionMessageFunctionToolCall)
    assert call.function.name == "weather"
    check_report(call.function.arguments)


def check_vectors(made: CreateEmbeddingResponse) -> None:
    """Vectors of length one, of which two are near."""
    vectors = [item.embedding for item in made.data]
    assert len(vectors) == len(SENTENCES)
    assert all(sum(x * x for x in vector) == pytest.approx(1, abs=1e-3) for vector in vectors)
    near, far = (sum(a * b for a, b in zip(vectors[0], other, strict=True)) for other in vectors[1:])
    assert near > far


def test_tools_whole_and_streamed(program: openai.OpenAI) -> None:
    whole = program.chat.completions.create(
        model=MODEL, messages=QUESTION, tools=[TOOL], tool_choice=THIS_TOOL, max_tokens=100, seed=3
    )
    check_call(whole.choices[0])
    with program.chat.completions.stream(
        model=MODEL, messages=QUESTION, tools=[TOOL], tool_choice=THIS_TOOL, max_tokens=100, seed=3
    ) as stream:
        streamed = stream.get_final_completion()
    check_call(streamed.choices[0])
    (called,) = whole.choices[0].message.tool_calls or []
    (again,) = streamed.choices[0].message.tool_calls or []
    assert isinstance(called, ChatCompletionMessageFunctionToolCall)
    assert isinstance(again, ChatCompletionMessageFunctionToolCall)
    assert called.function.arguments == again.function.arguments


def test_the_outcome_of_a_tool_is_answered(program: openai.OpenAI) -> None:
    called: ChatCompletionMessageParam = {
        "role": "assistant",
        "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"days":1}'}}
        ],
    }
    told: ChatCompletionMessageParam = {
        "role": "tool",
        "tool_call_id": "call_1",
        "content": "Rain, 9 degrees.",
    }
    answer = program.chat.completions.create(
        model=MODEL, messages=[*QUESTION, called, told], tools=[TOOL], tool_choice="none", max_tokens=8
    )
    assert answer.choices[0].message.content


def test_a_schema_given_as_a_class(program: openai.OpenAI) -> None:
    made = program.chat.completions.parse(
        model=MODEL, messages=QUESTION, response_format=Report, max_tokens=64, seed=1
    )
    assert isinstance(made.choices[0].message.parsed, Report)
    check_report(made.choices[0].message.content)


def test_embeddings(program: openai.OpenAI) -> None:
    check_vectors(program.embeddings.create(model=MODEL, input=SENTENCES))
    check_vectors(program.embeddings.create(model=MODEL, input=SENTENCES, encoding_format="float"))


def test_the_asynchronous_client_has_all_of_that(proxy: Proxy) -> None:
    async def everything() -> None:
        async with openai.AsyncOpenAI(base_url=proxy.api, api_key="-", max_retries=0) as client:
            chat = client.chat.completions
            whole = await chat.create(
                model=MODEL, messages=QUESTION, tools=[TOOL], tool_choice=THIS_TOOL, max_tokens=100, seed=3
            )
            check_call(whole.choices[0])
            async with chat.stream(
                model=MODEL, messages=QUESTION, tools=[TOOL], tool_choice=THIS_TOOL, max_tokens=100, seed=3
            ) as stream:
                check_call((await stream.get_final_completion()).choices[0])
            parsed = await chat.parse(
                model=MODEL, messages=QUESTION, response_format=Report, max_tokens=64, seed=1
            )
            assert isinstance(parsed.choices[0].message.parsed, Report)
            check_vectors(await client.embeddings.create(model=MODEL, input=SENTENCES))
            with pytest.raises(openai.NotFoundError) as missing:
                await chat.create(model="another", messages=QUESTION)
            assert missing.value.code == "model_not_found"
            with pytest.raises(openai.BadRequestError) as long:
                await chat.create(model=MODEL, messages=TOO_LONG, stream=True)
            assert long.value.code == "context_length_exceeded"

    asyncio.run(everything())


def test_errors_keep_their_status_code_and_parameter(program: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        program.chat.completions.create(model="another", messages=QUESTION)
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    for name, value in {"user": "me", "service_tier": "flex", "nonsense": 1}.items():
        with pytest.raises(openai.BadRequestError) as unsupported:
            program.chat.completions.create(model=MODEL, messages=QUESTION, extra_body={name: value})
        assert (unsupported.value.code, unsupported.value.param) == ("unsupported_parameter", name)
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as long:
            program.chat.completions.create(model=MODEL, messages=TOO_LONG, stream=stream)
        assert long.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError) as wrong:
        program.embeddings.create(model=MODEL, input=SENTENCES, dimensions=3)
    assert wrong.value.param == "dimensions"
    with pytest.raises(openai.NotFoundError):
        program.images.generate(prompt="?")


def test_whoever_asks_for_too_much_gives_way_and_nobody_else(proxy: Proxy) -> None:
    """Places are shared out between identities, and an API key is one: it arrives where the model is.

    One client holds the only place and has two requests more; another one has one. Two can wait. In whatever
    order they come, the one that is sent away is of the first client.
    """
    greedy, modest = (secrets.token_urlsafe(24) for _ in range(2))

    def ask(api_key: str) -> tuple[int, str | None]:
        with openai.OpenAI(base_url=proxy.api, api_key=api_key, max_retries=0) as client:
            try:
                client.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=2)
            except openai.RateLimitError as refused:
                return int(refused.response.headers["retry-after"]), refused.code
            return 0, None

    with openai.OpenAI(base_url=proxy.api, api_key=greedy, max_retries=0) as client:
        story = client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "Tell all."}], max_tokens=3000, stream=True
        )
        next(story)
        with ThreadPoolExecutor(3) as threads:
            asked = [threads.submit(ask, api_key) for api_key in (greedy, greedy, modest)]
            (sent_away,) = wait(asked, return_when=FIRST_COMPLETED).done
            story.close()
            answers = [done.result() for done in asked]
    seconds, code = sent_away.result()
    assert (seconds > 0, code) == (True, "queue_full")
    assert sorted(answers[:2]) == [(0, None), (seconds, code)]
    assert answers[2] == (0, None)


def curl(url: str, body: Mapping[str, object]) -> tuple[int, Value]:
    """Status and document that curl gets."""
    program = shutil.which("curl")
    if program is None:
        pytest.skip("curl is not installed")
    done = subprocess.run(
        [program, "--silent", "--show-error", "--write-out", "\n%{http_code}", "--json", "@-", url],
        input=json.dumps(body),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    document, _, status = done.stdout.rpartition("\n")
    return int(status), json.loads(document)


def test_curl_calls_tools_keeps_to_a_schema_and_embeds(proxy: Proxy) -> None:
    asked = {"model": MODEL, "messages": QUESTION, "max_tokens": 100, "seed": 3}
    status, made = curl(f"{proxy.api}/chat/completions", asked | {"tools": [TOOL], "tool_choice": THIS_TOOL})
    assert status == 200
    check_call(ChatCompletion.model_validate(made).choices[0])
    status, made = curl(f"{proxy.api}/chat/completions", asked | {"response_format": FORM})
    assert status == 200
    check_report(ChatCompletion.model_validate(made).choices[0].message.content)
    status, made = curl(f"{proxy.api}/embeddings", {"model": MODEL, "input": SENTENCES})
    assert status == 200
    check_vectors(CreateEmbeddingResponse.model_validate(made))


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"model": "another"}, 404, "model_not_found"),
        ({"user": "me"}, 400, "unsupported_parameter"),
        ({"messages": TOO_LONG}, 400, "context_length_exceeded"),
        ({"temperature": "warm"}, 400, "invalid_value"),
    ],
)
def test_curl_gets_the_enclaves_errors(
    proxy: Proxy, changed: dict[str, object], status: int, code: str
) -> None:
    asked: dict[str, object] = {"model": MODEL, "messages": QUESTION}
    answered, document = curl(f"{proxy.api}/chat/completions", asked | changed)
    assert answered == status
    match document:
        case {"error": {"code": str(named)}}:
            assert named == code
        case _:
            pytest.fail(f"no error of OpenAI's form: {document!r}")


def test_the_javascript_client_has_all_of_that(proxy: Proxy) -> None:
    work: list[dict[str, object]] = [
        {"messages": QUESTION, "tools": [TOOL], "tool_choice": THIS_TOOL, "max_tokens": 100, "seed": 3},
        {"messages": QUESTION, "response_format": FORM, "max_tokens": 64, "seed": 1},
        {"input": SENTENCES},
        {"messages": TOO_LONG},
    ]
    said = json.loads(javascript("openai_features.mjs", proxy.api, MODEL, work=work))
    for called in (said["called"], said["streamed"]):
        assert called["name"] == "weather"
        check_report(called["arguments"])
    check_report(said["formed"])
    check_vectors(CreateEmbeddingResponse.model_validate(said["embedded"]))
    assert said["errors"] == [
        ["NotFoundError", 404, "model_not_found"],
        ["BadRequestError", 400, "unsupported_parameter"],
        ["BadRequestError", 400, "context_length_exceeded"],
    ]
