# SPDX-License-Identifier: Apache-2.0
"""How models write calls of tools; a model's manifest says which form its template was made for.

tagged:   <tool_call>{"name": ..., "arguments": {...}}</tool_call>, between texts, as often as wanted
mistral:  [TOOL_CALLS] [{"name": ..., "arguments": {...}}, ...], after any text, up to the answer's end
llama3:   {"name": ..., "parameters": {...}}, and nothing else; <|python_tag|> may stand before it
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from models.manifest import ToolFormat

Written = list[tuple[str, dict[str, object]]]


@dataclass(frozen=True, slots=True)
class CallForm:
    """One form: tags, of which the last may be missing, and what a demanded call is put between."""

    begin: str
    end: str
    before: str
    after: str
    arguments: str
    decode: Callable[[str], Written]
    identifier: Callable[[], str]


class _Call(msgspec.Struct, frozen=True):
    name: str
    arguments: dict[str, object]


class _Llama3Call(msgspec.Struct, frozen=True):
    name: str
    parameters: dict[str, object]


_one = msgspec.json.Decoder(_Call)
_several = msgspec.json.Decoder(list[_Call])
_llama3 = msgspec.json.Decoder(_Llama3Call)


def _decode_one(text: str) -> Written:
    call = _one.decode(text)
    return [(call.name, call.arguments)]


def _decode_several(text: str) -> Written:
    return [(call.name, call.arguments) for call in _several.decode(text)]


def _decode_llama3(text: str) -> Written:
    call = _llama3.decode(text)
    return [(call.name, call.parameters)]


def _identifier() -> str:
    return f"call_{secrets.token_hex(12)}"


def _nine_letters() -> str:
    """Templates of Mistral take no other identifiers."""
    return secrets.token_hex(5)[:9]


TAGGED = CallForm(
    begin="<tool_call>",
    end="</tool_call>",
    before="<tool_call>\n",
    after="\n</tool_call>",
    arguments="arguments",
    decode=_decode_one,
    identifier=_identifier,
)
MISTRAL = CallForm(
    begin="[TOOL_CALLS]",
    end="",
    before="[TOOL_CALLS] [",
    after="]",
    arguments="arguments",
    decode=_decode_several,
    identifier=_nine_letters,
)
LLAMA3 = CallForm(
    begin="<|python_tag|>",
    end="",
    before="",
    after="",
    arguments="parameters",
    decode=_decode_llama3,
    identifier=_identifier,
)
FORMS = {ToolFormat.TAGGED: TAGGED, ToolFormat.MISTRAL: MISTRAL, ToolFormat.LLAMA3: LLAMA3}
