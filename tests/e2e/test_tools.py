# SPDX-License-Identifier: Apache-2.0
"""Tools with the unmodified `openai` package: the default model's weights, with a template that knows tools.

The model is too small to call a tool of its own accord. What the grammar makes it say is a call all the same,
and what it says about the outcome is an answer.
"""

import json
from collections.abc import Iterator

import pytest
from openai import BadRequestError, OpenAI
from openai.types.chat import (
    ChatCompletionMessageFunctionToolCall,
    ChatCompletionMessageParam,
    ChatCompletionToolUnionParam,
)
from openai.types.chat.chat_completion import Choice

from deploy.local import Place
from models.manifest import ToolFormat
from sottovoce.transport import Connection, Turn
from sottovoce.trust import choose_policy
from tests.fakes.openai_transport import client

QUESTION: list[ChatCompletionMessageParam] = [{"role": "user", "content": "How is the weather in Ulm?"}]
UNITS = ["metric", "imperial"]


def tool(name: str) -> ChatCompletionToolUnionParam:
    """A function with a place, a unit of a fixed set, and a number."""
    properties: dict[str, object] = {
        "unit": {"$ref": "#/$defs/Unit"},
        "days": {"type": "integer"},
    }
    parameters: dict[str, object] = {
        "type": "object",
        "properties": properties,
        "required": ["unit", "days"],
        "additionalProperties": False,
        "$defs": {"Unit": {"enum": UNITS}},
    }
    return {
        "type": "function",
        "function": {"name": name, "description": "Tells it.", "parameters": parameters},
    }


@pytest.fixture(scope="module")
def connection(tools_place: Place) -> Iterator[Connection]:
    """A connection to an enclave with weights and a manifest of one's own, whose model has tools."""
    policy = choose_policy(tools_place.audience, file=tools_place.policy, simulated=True)
    with Connection(tools_place.audience, policy) as connected:
        yield connected


@pytest.fixture(scope="module")
def openai(connection: Connection) -> OpenAI:
    """The package's client over it."""
    return client(connection)


def test_a_model_that_no_catalogue_knows_is_asked_by_the_name_that_the_enclave_gives_it(
    connection: Connection,
) -> None:
    assert connection.model() == "with-tools"
    assert list(connection.chat(connection.model(), [Turn("user", "Hello")], max_tokens=2))


def test_a_manifest_of_ones_own_says_that_there_are_tools(openai: OpenAI) -> None:
    (model,) = openai.models.list().data
    assert (model.id, (model.model_extra or {})["tools"]) == ("with-tools", ToolFormat.TAGGED)


@pytest.mark.parametrize("stream", [False, True])
def test_a_demanded_call_fits_its_schema(openai: OpenAI, *, stream: bool) -> None:
    choice: Choice
    if stream:
        with openai.chat.completions.stream(
            model="with-tools",
            messages=QUESTION,
            tools=[tool("weather")],
            tool_choice={"type": "function", "function": {"name": "weather"}},
            max_tokens=100,
            seed=3,
        ) as running_stream:
            choice = running_stream.get_final_completion().choices[0]
    else:
        choice = openai.chat.completions.create(
            model="with-tools",
            messages=QUESTION,
            tools=[tool("weather")],
            tool_choice={"type": "function", "function": {"name": "weather"}},
            max_tokens=100,
            seed=3,
        ).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls is not None
    (call,) = choice.message.tool_calls
    assert isinstance(call, ChatCompletionMessageFunctionToolCall)
    assert call.function.name == "weather"
    arguments = json.loads(call.function.arguments)
    assert arguments["unit"] in UNITS
    assert type(arguments["days"]) is int


def test_one_of_several_tools_is_called_and_its_outcome_is_answered(openai: OpenAI) -> None:
    tools = [tool("weather"), tool("traffic")]
    made = openai.chat.completions.create(
        model="with-tools", messages=QUESTION, tools=tools, tool_choice="required", max_tokens=100, seed=5
    )
    message = made.choices[0].message
    assert message.tool_calls is not None
    (call,) = message.tool_calls
    assert isinstance(call, ChatCompletionMessageFunctionToolCall)
    assert call.function.name in ("weather", "traffic")
    called: ChatCompletionMessageParam = {
        "role": "assistant",
        "content": message.content,
        "tool_calls": [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.function.name, "arguments": call.function.arguments},
            }
        ],
    }
    outcome: ChatCompletionMessageParam = {
        "role": "tool",
        "tool_call_id": call.id,
        "content": "Rain, 9 degrees.",
    }
    answer = openai.chat.completions.create(
        model="with-tools",
        messages=[*QUESTION, called, outcome],
        tools=tools,
        max_tokens=16,
        temperature=0,
        parallel_tool_calls=False,
    )
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert made.usage is not None
    assert answer.usage.prompt_tokens > made.usage.prompt_tokens


def test_tools_that_shall_not_be_called_are_not_in_the_prompt(openai: OpenAI) -> None:
    def prompt_tokens(choice: str) -> int:
        made = openai.chat.completions.create(
            model="with-tools",
            messages=QUESTION,
            tools=[tool("weather")],
            max_tokens=1,
            extra_body={"tool_choice": choice},
        )
        assert made.usage is not None
        return made.usage.prompt_tokens

    assert prompt_tokens("none") + 20 < prompt_tokens("auto")


def test_a_response_with_a_call(openai: OpenAI) -> None:
    response = openai.responses.create(
        model="with-tools",
        input="How is the weather in Ulm?",
        store=False,
        tools=[
            {
                "type": "function",
                "name": "weather",
                "strict": True,
                "parameters": {
                    "type": "object",
                    "properties": {"city": {"type": "string", "maxLength": 12}},
                    "required": ["city"],
                },
            }
        ],
        tool_choice="required",
        max_output_tokens=100,
    )
    call = response.output[0]
    assert call.type == "function_call"
    assert isinstance(json.loads(call.arguments)["city"], str)


def test_a_schema_beyond_the_limits_names_the_tools(openai: OpenAI) -> None:
    deep: dict[str, object] = {"type": "string"}
    for _ in range(40):
        deep = {"type": "array", "items": deep}
    with pytest.raises(BadRequestError) as raised:
        openai.chat.completions.create(
            model="with-tools",
            messages=QUESTION,
            tools=[
                {
                    "type": "function",
                    "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": deep}}},
                }
            ],
            tool_choice="required",
        )
    assert raised.value.param == "tools"
