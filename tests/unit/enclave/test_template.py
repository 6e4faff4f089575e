# SPDX-License-Identifier: Apache-2.0
"""Chat templates come with the weights: they render prompts, and can do nothing else."""

import pytest

from enclave.engine.protocol import Conversation, Role, Tool, ToolCall, Turn
from enclave.engine.template import ChatTemplate, TemplateRefusedError

SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SECRET = "a secret prompt"
TURNS = (Turn(Role.USER, SECRET),)


def render(source: str, turns: tuple[Turn, ...] = TURNS) -> str:
    return ChatTemplate(source, begin="<s>", end="</s>").render(Conversation(turns))


def test_a_conversation_is_written_as_the_model_was_taught() -> None:
    turns = (Turn(Role.USER, "Hi"), Turn(Role.ASSISTANT, "Hello"), Turn(Role.USER, "Why?"))
    assert render(SMOLLM2, turns) == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\nHello<|im_end|>\n"
        "<|im_start|>user\nWhy?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_a_system_message_replaces_the_usual_one() -> None:
    assert render(SMOLLM2, (Turn(Role.SYSTEM, "Be brief"), *TURNS)).startswith(
        "<|im_start|>system\nBe brief<|im_end|>\n<|im_start|>user\n"
    )


def test_messages_are_text_and_no_template() -> None:
    assert render("{{ messages[0].content }}", (Turn(Role.USER, "{{ 7 * 7 }}{% raw %}<b>&"),)) == (
        "{{ 7 * 7 }}{% raw %}<b>&"
    )


def test_the_texts_of_special_tokens_are_known() -> None:
    assert render("{{ bos_token }}{{ messages[0]['content'] }}{{ eos_token }}") == f"<s>{SECRET}</s>"


def test_blocks_leave_no_lines() -> None:
    assert render("{% for message in messages %}\n  {% if true %}\nx\n  {% endif %}\n{% endfor %}\n") == "x\n"


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.__class__ }}",
        "{{ messages[0].__init__.__globals__ }}",
        "{{ raise_exception.__globals__['__builtins__'] }}",
        "{{ raise_exception.__code__ }}",
        "{{ (messages|map(attribute='__class__')|list)[0].mro() }}",
        "{{ ''|attr('__class__') }}",
        "{{ '{0.__class__.__mro__}'.format('') }}",
        "{{ self.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update(role='system') }}",
        "{{ messages.clear() }}",
        "{{ range(1000000000)|list }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{% extends 'base' %}",
    ],
)
def test_a_template_that_reaches_out_is_refused_without_detail(source: str) -> None:
    with pytest.raises(TemplateRefusedError) as raised:
        render(source)
    assert str(raised.value) == ""
    assert raised.value.__suppress_context__


def test_a_conversation_that_the_template_refuses_is_refused_without_detail() -> None:
    source = "{{ raise_exception('no ' + messages[0]['content']) }}"
    with pytest.raises(TemplateRefusedError) as raised:
        render(source)
    assert SECRET not in str(raised.value) + repr(raised.value)


@pytest.mark.parametrize(
    "name", ["documents", "messages[0].name", "messages[7]", "messages[0]['tool_calls']", "open"]
)
def test_what_is_not_defined_is_refused(name: str) -> None:
    with pytest.raises(TemplateRefusedError):
        render(f"{{{{ {name} }}}}")


@pytest.mark.parametrize(
    "expression",
    [
        "messages[0].content + 1",
        "1 // 0",
        "'%d' % messages[0].content",
        "'{}{}'.format(1)",
        "10 ** 400 / 0.1",
    ],
)
def test_an_expression_that_fails_refuses_the_conversation(expression: str) -> None:
    with pytest.raises(TemplateRefusedError):
        render(f"{{{{ {expression} }}}}")


def test_what_is_not_defined_can_be_asked_for() -> None:
    assert render("{% if documents is defined %}some{% else %}none{% endif %}") == "none"
    assert render("{% if tools %}tools{% else %}none{% endif %}") == "none"


WITH_TOOLS = (
    "{% if tools %}{{ tools|tojson }}{% endif %}{% for message in messages %}{% if message.tool_calls %}"
    "{% for call in message.tool_calls %}{% if loop.index > 2 %}{% break %}{% endif %}"
    "{{ call.function.name }}({{ call.function.arguments|tojson }}){% endfor %}{% else %}"
    "{{ message.role }}:{{ message.content }};{% endif %}{% endfor %}"
)
WEATHER = Tool("weather", "It's <how>", '{"type": "object"}')


def test_tools_and_calls_are_written_as_the_model_was_taught() -> None:
    call = ToolCall("c1", "weather", '{"city": "Köln"}')
    turns = (
        *TURNS,
        Turn(Role.ASSISTANT, "", (call, call, call)),
        Turn(Role.TOOL, "rain", tool_call_id="c1"),
    )
    template = ChatTemplate(WITH_TOOLS, begin="", end="")
    assert template.takes_tools
    assert template.render(Conversation(turns, (WEATHER,))) == (
        '[{"type": "function", "function": {"name": "weather", "description": "It\'s <how>", '
        '"parameters": {"type": "object"}}}]'
        f'user:{SECRET};weather({{"city": "Köln"}})weather({{"city": "Köln"}})tool:rain;'
    )


def test_tools_for_a_template_that_knows_none_are_refused() -> None:
    template = ChatTemplate(SMOLLM2, begin="", end="")
    assert not template.takes_tools
    with pytest.raises(TemplateRefusedError):
        template.render(Conversation(TURNS, (WEATHER,)))


@pytest.mark.parametrize("arguments", ["", "{", "not json"])
def test_arguments_that_are_no_json_are_refused(arguments: str) -> None:
    turns = (*TURNS, Turn(Role.ASSISTANT, "", (ToolCall("c1", "f", arguments),)))
    with pytest.raises(TemplateRefusedError):
        ChatTemplate(WITH_TOOLS, begin="", end="").render(Conversation(turns))
