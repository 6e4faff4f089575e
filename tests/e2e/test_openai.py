# SPDX-License-Identifier: Apache-2.0
"""The unmodified `openai` package against the running enclave: every parameter that is served."""

import json
import math
from collections.abc import Iterator

import pytest
from openai import BadRequestError, NotFoundError, OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionMessageParam
from openai.types.responses import ResponseOutputMessage, ResponseOutputMessageParam

from models.manifest import find_manifest
from tests.conftest import Pair
from tests.fakes.openai_transport import client

MODEL = "smollm2-135m-instruct"
QUESTION: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is gravity?"}]


@pytest.fixture
def openai(pair: Pair) -> Iterator[OpenAI]:
    """The package's client over a verified connection."""
    with pair.connect() as connected:
        connected.verify()
        yield client(connected)


def text(answer: ChatCompletion, choice: int = 0) -> str:
    content = answer.choices[choice].message.content
    assert content is not None
    return content


def greedy(openai: OpenAI, tokens: int = 12) -> ChatCompletion:
    return openai.chat.completions.create(
        model=MODEL, messages=QUESTION, temperature=0, max_completion_tokens=tokens
    )


def test_models(openai: OpenAI) -> None:
    manifest = find_manifest(MODEL)
    (listed,) = openai.models.list().data
    model = openai.models.retrieve(MODEL)
    assert listed == model
    extra = model.model_extra or {}
    assert (model.id, extra["sha256"]) == (MODEL, manifest.digest.hex())
    assert 64 <= extra["context_length"] <= manifest.context_tokens
    assert (extra["quantisation"], extra["tools"]) == ("Q4_1", "none")
    with pytest.raises(NotFoundError) as raised:
        openai.models.retrieve("gpt-9")
    assert raised.value.code == "model_not_found"


def test_a_whole_answer_and_a_stream_are_the_same(openai: OpenAI) -> None:
    whole = greedy(openai)
    assert whole.choices[0].finish_reason == "length"
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 12
    stream = openai.chat.completions.create(
        model=MODEL,
        messages=QUESTION,
        temperature=0,
        max_completion_tokens=12,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == text(whole)
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == whole.usage.total_tokens


def test_a_second_turn_goes_on_from_its_own_sessions_first(openai: OpenAI, pair: Pair) -> None:
    """With the answer that it gets where nothing is known of the first."""
    turns: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Tell me of the sea. " * 40}]

    def answer(asked: OpenAI) -> tuple[str, int, int]:
        made = asked.chat.completions.create(model=MODEL, messages=turns, temperature=0, max_tokens=6)
        assert made.usage is not None
        assert made.usage.prompt_tokens_details is not None
        cached = made.usage.prompt_tokens_details.cached_tokens
        assert cached is not None
        return text(made), made.usage.prompt_tokens, cached

    said, first, cached = answer(openai)
    assert cached == 0
    turns.append({"role": "assistant", "content": said})
    turns.append({"role": "user", "content": "And of ships?"})
    resumed, tokens, cached = answer(openai)
    assert first <= cached < tokens
    with pair.connect() as another:
        another.verify()
        assert answer(client(another)) == (resumed, tokens, 0)


def test_several_choices_with_a_seed(openai: OpenAI) -> None:
    def answers(seed: int) -> list[str]:
        made = openai.chat.completions.create(
            model=MODEL, messages=QUESTION, n=3, seed=seed, temperature=1.2, top_p=0.95, max_tokens=8
        )
        assert [choice.index for choice in made.choices] == [0, 1, 2]
        return [text(made, index) for index in range(3)]

    first = answers(1)
    assert len(set(first)) == 3
    assert answers(1) == first
    assert answers(7) != first


def test_a_stop_string_is_not_shown(openai: OpenAI) -> None:
    whole = text(greedy(openai, 24))
    word = whole.split()[5]
    made = openai.chat.completions.create(
        model=MODEL, messages=QUESTION, temperature=0, max_tokens=24, stop=[word, "\n\n\n"]
    )
    assert made.choices[0].finish_reason == "stop"
    assert text(made) == whole[: whole.index(word)]


def test_probabilities_and_bias(openai: OpenAI) -> None:
    made = openai.chat.completions.create(
        model=MODEL, messages=QUESTION, temperature=0, max_tokens=4, logprobs=True, top_logprobs=3
    )
    logprobs = made.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert len(logprobs.content) == 4
    for chosen in logprobs.content:
        assert len(chosen.top_logprobs) == 3
        assert chosen.logprob == pytest.approx(chosen.top_logprobs[0].logprob)
        assert sum(math.exp(top.logprob) for top in chosen.top_logprobs) <= 1 + 1e-6
    assert b"".join(bytes(chosen.bytes or ()) for chosen in logprobs.content).decode() == text(made)
    completed = openai.completions.create(
        model=MODEL, prompt="One, two, three,", temperature=0, max_tokens=2, logprobs=2
    )
    shown = completed.choices[0].logprobs
    assert shown is not None
    assert shown.tokens is not None
    assert "".join(shown.tokens) == completed.choices[0].text
    # What is demanded by a bias comes always, and what is forbidden never.
    demanded = openai.completions.create(
        model=MODEL, prompt="The sky is", temperature=0, max_tokens=3, logit_bias={"1000": 100}, logprobs=0
    )
    assert demanded.choices[0].logprobs is not None
    assert len(set(demanded.choices[0].logprobs.tokens or ())) == 1
    plain = openai.completions.create(model=MODEL, prompt="The sky is", temperature=0, max_tokens=3)
    assert plain.choices[0].text != demanded.choices[0].text
    forbidden = openai.completions.create(
        model=MODEL, prompt="The sky is", temperature=1, seed=1, max_tokens=3, logit_bias={"1000": -100}
    )
    assert demanded.choices[0].text[:2] not in forbidden.choices[0].text
    with pytest.raises(BadRequestError) as raised:
        openai.chat.completions.create(model=MODEL, messages=QUESTION, logit_bias={"99999999": 1})
    assert raised.value.param == "logit_bias"


def test_penalties_and_the_samplers_of_other_servers(openai: OpenAI) -> None:
    def completed(temperature: float = 0, **parameters: object) -> str:
        made = openai.completions.create(
            model=MODEL,
            prompt="The sky is",
            temperature=temperature,
            max_tokens=40,
            extra_body=parameters,
        )
        return made.choices[0].text

    plain = completed()
    for name, penalty in {
        "frequency_penalty": 2.0,
        "presence_penalty": 2.0,
        "repetition_penalty": 1.9,
    }.items():
        assert completed(**{name: penalty}) != plain, name
    # The likeliest token alone is left, whatever the temperature.
    assert completed(2.0, top_k=1) == completed(2.0, min_p=1.0) == plain
    assert completed(2.0, seed=1) != plain


def test_completions_of_text_and_of_tokens(openai: OpenAI) -> None:
    whole = openai.completions.create(model=MODEL, prompt=["The sky is"], temperature=0, n=2)
    assert whole.usage is not None
    assert whole.usage.completion_tokens <= 32
    assert len({choice.text for choice in whole.choices}) == 1
    stream = openai.completions.create(model=MODEL, prompt="The sky is", temperature=0, stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == whole.choices[0].text
    assert openai.completions.create(model=MODEL, prompt=[504, 6371, 314], max_tokens=1).choices
    several = openai.completions.create(
        model=MODEL, prompt=["Water is", "The sky is", "Once upon a time"], temperature=0, n=2
    )
    assert [choice.index for choice in several.choices] == list(range(6))
    assert several.choices[2].text == several.choices[3].text == whole.choices[0].text
    assert len({choice.text for choice in several.choices}) == 3
    with pytest.raises(BadRequestError) as raised:
        openai.completions.create(model=MODEL, prompt=["Water is", ""])
    assert raised.value.param == "prompt"
    with pytest.raises(BadRequestError) as raised:
        openai.completions.create(model=MODEL, prompt=[1 << 30])
    assert raised.value.param == "prompt"
    with pytest.raises(BadRequestError) as raised:
        openai.completions.create(model=MODEL, prompt="")
    assert raised.value.param == "prompt"


def test_an_answer_that_fits_a_schema(openai: OpenAI) -> None:
    schema: dict[str, object] = {
        "type": "object",
        "properties": {"colour": {"enum": ["red", "green"]}, "count": {"type": "integer"}},
        "required": ["colour", "count"],
        "additionalProperties": False,
    }
    made = openai.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "Describe an apple in JSON."}],
        max_tokens=64,
        temperature=0.5,
        seed=1,
        response_format={"type": "json_schema", "json_schema": {"name": "apple", "schema": schema}},
    )
    answer = json.loads(text(made))
    assert answer["colour"] in ("red", "green")
    assert type(answer["count"]) is int
    with pytest.raises(BadRequestError) as raised:
        openai.chat.completions.create(
            model=MODEL,
            messages=QUESTION,
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "x", "schema": {"type": "string", "pattern": "(a*)*b"}},
            },
        )
    assert raised.value.param == "response_format"


def test_an_answer_that_is_any_object(openai: OpenAI) -> None:
    made = openai.chat.completions.create(
        model=MODEL,
        messages=QUESTION,
        max_tokens=200,
        temperature=0,
        response_format={"type": "json_object"},
    )
    assert text(made).lstrip().startswith("{")
    if made.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(text(made)), dict)


def test_embeddings(openai: OpenAI) -> None:
    texts = ["The cat sat on the mat.", "A cat is sitting on a mat.", "Interest rates rose by one percent."]
    made = openai.embeddings.create(model=MODEL, input=texts)
    vectors = [item.embedding for item in made.data]
    assert [item.index for item in made.data] == [0, 1, 2]
    assert all(sum(x * x for x in vector) == pytest.approx(1, abs=1e-3) for vector in vectors)
    near, far = (sum(a * b for a, b in zip(vectors[0], other, strict=True)) for other in vectors[1:])
    assert near > far
    plain = openai.embeddings.create(model=MODEL, input=texts[0], encoding_format="float")
    assert plain.data[0].embedding == pytest.approx(vectors[0], abs=1e-4)
    with pytest.raises(BadRequestError) as raised:
        openai.embeddings.create(model=MODEL, input=texts, dimensions=3)
    assert raised.value.param == "dimensions"


def test_responses(openai: OpenAI) -> None:
    whole = openai.responses.create(
        model=MODEL,
        input="What is gravity?",
        instructions="Be brief.",
        temperature=0,
        max_output_tokens=12,
        store=False,
        include=["message.output_text.logprobs"],
        top_logprobs=1,
    )
    assert whole.status == "incomplete"
    assert whole.incomplete_details is not None
    assert whole.usage is not None
    assert whole.usage.output_tokens == 12
    stream = openai.responses.create(
        model=MODEL,
        input=[{"role": "user", "content": [{"type": "input_text", "text": "What is gravity?"}]}],
        instructions="Be brief.",
        temperature=0,
        max_output_tokens=12,
        store=False,
        stream=True,
    )
    events = list(stream)
    assert events[0].type == "response.created"
    last = events[-1]
    assert last.type == "response.incomplete"
    assert last.response.output_text == whole.output_text
    assert [event.sequence_number for event in events] == list(range(len(events)))
    with openai.responses.stream(model=MODEL, input="Say yes.", temperature=0, store=False) as running:
        assert running.get_final_response().status == "completed"
    first = openai.responses.create(model=MODEL, input="Say yes.", temperature=0, store=False)
    earlier = first.output[0]
    assert isinstance(earlier, ResponseOutputMessage)
    again = openai.responses.create(
        model=MODEL,
        input=[
            {"role": "user", "content": "Say yes."},
            ResponseOutputMessageParam(
                id=earlier.id,
                type="message",
                role="assistant",
                status="completed",
                content=[{"type": "output_text", "text": first.output_text, "annotations": []}],
            ),
            {"role": "user", "content": "Why?"},
        ],
        max_output_tokens=2,
        store=False,
    )
    assert again.output_text
    with pytest.raises(BadRequestError) as raised:
        openai.responses.create(model=MODEL, input="x")
    assert raised.value.param == "store"
    with pytest.raises(BadRequestError) as raised:
        openai.responses.create(model=MODEL, input="x", store=False, previous_response_id="resp_1")
    assert raised.value.param == "previous_response_id"


def test_what_is_not_served_is_named(openai: OpenAI) -> None:
    for unserved in ({"user": "me"}, {"service_tier": "flex"}, {"reasoning_effort": "low"}):
        with pytest.raises(BadRequestError) as raised:
            openai.chat.completions.create(model=MODEL, messages=QUESTION, extra_body=unserved)
        assert raised.value.param == next(iter(unserved))
    with pytest.raises(BadRequestError) as raised:
        openai.chat.completions.create(
            model=MODEL,
            messages=QUESTION,
            tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}],
        )
    assert (raised.value.param, raised.value.code) == ("tools", "unsupported_parameter")
    with pytest.raises(BadRequestError) as raised:
        openai.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "word " * 9000}], stream=True
        )
    assert raised.value.code == "context_length_exceeded"
