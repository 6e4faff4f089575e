# SPDX-License-Identifier: Apache-2.0
"""Calls of tools in what a model writes, however the text is cut."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enclave.api.call_forms import LLAMA3, MISTRAL, TAGGED, CallForm
from enclave.api.calls import Call, Said, call_reader

OFFERED = frozenset({"f", "g"})
F = '<tool_call>\n{"name": "f", "arguments": {"a": [1, "</x>"]}}\n</tool_call>'
G = '<tool_call>{"arguments": {}, "name": "g"}</tool_call>'


# As models write them: with white space, with keys that say nothing new, with tags that are no tags.
LISTED = (
    """[TOOL_CALLS] [{"name": "f", "arguments": {"a": [1,"]"]}},{"id": 1, "arguments": {}, "name": "g"}]"""
)
PARAMETERS = """{"type": "function", "name": "f", "parameters": {"place": "Ulm {[", "days": "3"}}"""
BOTH = [("f", '{"a":[1,"]"]}'), ("g", "{}")]
ONE = [("f", '{"place":"Ulm {[","days":"3"}')]


def read(
    *pieces: str, offered: frozenset[str] = OFFERED, form: CallForm = TAGGED
) -> list[str | tuple[str, str]]:
    """What was said: joined texts, and calls with their arguments."""
    reader = call_reader(offered, form)
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
    reader = call_reader(frozenset())
    assert reader.receive("<tool") == ["<tool"]
    assert reader.receive("") == []
    assert read(F, offered=frozenset()) == [F]


def test_text_that_cannot_begin_a_call_is_not_held_back() -> None:
    reader = call_reader(OFFERED)
    assert reader.receive("a <") == ["a "]
    assert reader.receive("b") == ["<b"]
    reader = call_reader(OFFERED, MISTRAL)
    assert reader.receive("see [TOOL") == ["see "]
    assert reader.receive("BOX]") == ["[TOOLBOX]"]
    reader = call_reader(OFFERED, LLAMA3)
    assert reader.receive(" \n") == []
    assert reader.receive("It {") == [" \nIt {"]
    assert reader.receive("}") == ["}"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LISTED, BOTH),
        (f"Let me see. {LISTED}\n", ["Let me see. ", *BOTH]),
        (LISTED.replace("] [", "]["), BOTH),
        (LISTED.replace('"g"', '"h"'), [LISTED.replace('"g"', '"h"')]),
        (LISTED.removesuffix("]"), [LISTED.removesuffix("]")]),
        ("[TOOL_CALLS] []", ["[TOOL_CALLS] []"]),
        ("[TOOL_CALLS]f[ARGS]{}", ["[TOOL_CALLS]f[ARGS]{}"]),
        ('[{"name": "f", "arguments": {}}]', ['[{"name": "f", "arguments": {}}]']),
        ("a list: [1, 2", ["a list: [1, 2"]),
        (F, [F]),
    ],
)
def test_calls_in_a_list_after_a_marker(text: str, expected: list[object]) -> None:
    assert read(text, form=MISTRAL) == expected
    assert read(*text, form=MISTRAL) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PARAMETERS, ONE),
        (f"\n{PARAMETERS} ", ONE),
        (f"<|python_tag|>{PARAMETERS}", ONE),
        (f"{PARAMETERS} is what I would call", [f"{PARAMETERS} is what I would call"]),
        (f"I call {PARAMETERS}", [f"I call {PARAMETERS}"]),
        (PARAMETERS.replace('"f"', '"h"'), [PARAMETERS.replace('"f"', '"h"')]),
        (PARAMETERS.removesuffix("}"), [PARAMETERS.removesuffix("}")]),
        ('{"name": "f", "arguments": {}}', ['{"name": "f", "arguments": {}}']),
        ('{"answer": 42}', ['{"answer": 42}']),
        ("<|python_tag|>f.call()", ["<|python_tag|>f.call()"]),
        ("<|pythons", ["<|pythons"]),
        ("  ", ["  "]),
        ("", []),
    ],
)
def test_a_call_that_is_the_whole_answer(text: str, expected: list[object]) -> None:
    assert read(text, form=LLAMA3) == expected
    assert read(*text, form=LLAMA3) == expected


def test_identifiers_are_what_templates_take() -> None:
    for form, text, size in ((MISTRAL, LISTED, 9), (LLAMA3, PARAMETERS, 29), (TAGGED, F, 29)):
        reader = call_reader(OFFERED, form)
        calls = [said for said in (*reader.receive(text), *reader.end()) if isinstance(said, Call)]
        assert reader.called
        assert {len(call.identifier) for call in calls} == {size}
        assert len({call.identifier for call in calls}) == len(calls)
        assert all(call.identifier.replace("_", "").isalnum() for call in calls)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([TAGGED, MISTRAL, LLAMA3]),
    st.lists(
        st.sampled_from(
            [F, G, LISTED, PARAMETERS, "text ", "<", "<tool_call>", "</tool_call>", "[TOOL_", "{}", "é\n"]
        ),
        max_size=8,
    ),
    st.data(),
)
def test_how_the_text_is_cut_makes_no_difference(
    form: CallForm, parts: list[str], data: st.DataObject
) -> None:
    text = "".join(parts)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=6)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert read(*pieces, form=form) == read(*text, form=form)
