# SPDX-License-Identifier: Apache-2.0
"""The model's own chat template, rendered in jinja's sandbox."""

import json
from typing import NoReturn

from jinja2 import StrictUndefined, TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment
from typing_extensions import override

from enclave.engine.protocol import Conversation, Role, Tool, Turn

# What an expression of a template may raise about the text of a message; it must not end the process.
EXPRESSION_ERRORS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


class TemplateRefusedError(Exception):
    """The model's template does not take this conversation; no detail, for it would hold the conversation."""


class _Missing(StrictUndefined):
    """What a message does not have can be asked for, as templates do with tool calls, but not written."""

    __slots__ = ()

    @override
    def __bool__(self) -> bool:  # type: ignore[override] # pyright: ignore[reportIncompatibleMethodOverride]
        return False


class ChatTemplate:
    """One compiled chat template."""

    def __init__(self, source: str, *, begin: str, end: str) -> None:
        """Take the template's source, and the texts of the tokens that begin and end a sequence."""
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, undefined=_Missing, extensions=[loopcontrols]
        )
        environment.filters["tojson"] = _to_json
        self._template = environment.from_string(source)
        self._names = {"bos_token": begin, "eos_token": end, "raise_exception": _refuse}
        self.takes_tools = "tools" in source

    def render(self, conversation: Conversation) -> str:
        """The prompt that ends where the model begins to answer.

        Raises TemplateRefusedError.
        """
        try:
            messages = [_message(turn) for turn in conversation.turns]
            tools = [_tool(tool) for tool in conversation.tools] or None
            if tools and not self.takes_tools:
                raise TemplateRefusedError
            return self._template.render(
                self._names, messages=messages, tools=tools, add_generation_prompt=True
            )
        except (TemplateError, *EXPRESSION_ERRORS):
            raise TemplateRefusedError from None


def _message(turn: Turn) -> dict[str, object]:
    """A message as templates know it. Raises ValueError for arguments that are no JSON."""
    message: dict[str, object] = {"role": turn.role.value, "content": turn.content}
    if turn.tool_calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.loads(call.arguments)},
            }
            for call in turn.tool_calls
        ]
    if turn.role is Role.TOOL:
        message["tool_call_id"] = turn.tool_call_id
    return message


def _tool(tool: Tool) -> dict[str, object]:
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": json.loads(tool.parameters),
    }
    return {"type": "function", "function": function}


def _to_json(value: object, indent: int | None = None) -> str:
    """As templates expect it: jinja's own filter would escape for HTML."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(_message: str) -> NoReturn:
    raise TemplateError
