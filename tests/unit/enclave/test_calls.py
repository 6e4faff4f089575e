# SPDX-License-Identifier: Apache-2.0
"""Calls of tools in what a model writes, however the text is cut."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enclave.api.calls import Call, CallReader, Said

OFFERED = frozenset({"f", "g"})
F = '<tool_call>\n{"name": "f", "arguments": {"a": [1, "</x>"]}}\n</tool_call>'
G = '<tool_call>{"arguments": {}, "name": "g"}</tool_call>'


def read(*pieces: str, offered: frozenset[str] = OFFERED) -> list[str | tuple[str, str]]:
    """What was said: joined texts, and calls with their arguments."""
    reader = CallReader(offered)
    said: list[Said] = [each for piece in pieces for each in reader.receive(piece)] + reader.end()
    shown: list[str | tuple[str, str]] = []
    for each in said:
        if isinstance(each, Call):
            shown.append((each.name, each.arguments))
        elif shown and isinstance(shown[-1], str):
            shown[-1] += each
        else:
            shown.append(each)
    return shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hello", ["hello"]),
        (F, [("f", '{"a":[1,"</x>"]}')]),
        (f"before {F}\n{G}\n", ["before ", ("f", '{"a":[1,"</x>"]}'), ("g", "{}")]),
        (G.removesuffix("</tool_call>"), [("g", "{}")]),
        (f"{G} after", [("g", "{}"), "after"]),
        ("1 < 2 and <tool", ["1 < 2 and <tool"]),
        ("<tool_call>nonsense</tool_call>", ["<tool_call>nonsense</tool_call>"]),
        ('<tool_call>{"name": "f"}</tool_call>', ['<tool_call>{"name": "f"}</tool_call>']),
        (G.replace('"g"', '"h"'), [G.replace('"g"', '"h"')]),
        ('<tool_call>{"name": "f", "argum', ['<tool_call>{"name": "f", "argum']),
        ("<tool_call>" + "[" * 5000, ["<tool_call>" + "[" * 5000]),
    ],
)
def test_calls_are_found_and_nothing_is_lost(text: str, expected: list[object]) -> None:
    assert read(text) == expected
    assert read(*text) == expected


def test_without_tools_text_goes_through_at_once() -> None:
    reader = CallReader(frozenset())
    assert reader.receive("<tool") == ["<tool"]
    assert reader.receive("") == []
    assert read(F, offered=frozenset()) == [F]


def test_text_that_cannot_begin_a_call_is_not_held_back() -> None:
    reader = CallReader(OFFERED)
    assert reader.receive("a <") == ["a "]
    assert reader.receive("b") == ["<b"]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from([F, G, "text ", "<", "<tool_call>", "</tool_call>", "{}", "é\n"]), max_size=8),
    st.data(),
)
def test_how_the_text_is_cut_makes_no_difference(parts: list[str], data: st.DataObject) -> None:
    text = "".join(parts)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=6)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert read(*pieces) == read(*text)
