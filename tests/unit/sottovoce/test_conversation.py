# SPDX-License-Identifier: Apache-2.0
"""Conversations as values, their commands, and Markdown in pieces."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from sottovoce.chat import Turn
from sottovoce.chat_markdown import StreamedMarkdown, finished_blocks
from sottovoce.conversation import Conversation, ConversationError, from_json

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(model=TEXTS, system=TEXTS, said=st.lists(TEXTS, max_size=6))
def test_a_conversation_reads_back_as_it_was(model: str, system: str, said: list[str]) -> None:
    conversation = Conversation(model, system)
    for number, text in enumerate(said):
        conversation = conversation.answered(text) if number % 2 else conversation.asked(text)
    assert from_json(conversation.to_json()) == conversation


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[" * 100_000,
        '{"version":2,"model":"m","system":"","turns":[]}',
        '{"version":1,"model":"m","system":"","turns":[["system","x"]]}',
    ],
)
def test_other_files_are_refused(text: str) -> None:
    with pytest.raises(ConversationError):
        from_json(text)


def test_the_last_question_can_be_taken_back() -> None:
    one = Conversation("m", "be brief").asked("a").answered("b")
    two = one.asked("c").answered("d")
    assert two.last_question() == "c"
    assert two.before_last_question() == one
    assert one.before_last_question() == Conversation("m", "be brief")
    with pytest.raises(ConversationError):
        Conversation("m").last_question()
    assert two.messages()[:2] == [Turn("system", "be brief"), Turn("user", "a")]
    assert two.to_markdown().startswith("**System:** be brief\n\n## You\n\na\n\n## m\n\nb")


def test_no_word_of_a_conversation_is_in_its_representation() -> None:
    assert "secret" not in repr(Conversation("m", "secret").asked("secret"))


def test_blocks_are_finished_at_blank_lines_outside_of_code() -> None:
    assert finished_blocks("a\n\nb") == ("a\n\n", "b")
    assert finished_blocks("```\na\n\nb") == ("", "```\na\n\nb")
    assert finished_blocks("```\na\n\nb\n```\n\nc") == ("```\na\n\nb\n```\n\n", "c")


@given(text=st.text(st.sampled_from("a`~ \n\r"), max_size=60))
def test_no_piece_of_an_answer_is_lost_on_the_screen(text: str) -> None:
    finished, rest = finished_blocks(text)
    assert finished + rest == text


def test_markdown_is_drawn_and_moves_no_cursor_by_itself() -> None:
    file = io.StringIO()
    with StreamedMarkdown(Console(file=file, width=60)) as drawn:
        for piece in ("# He", "ad\n\nSome **bo", "ld** text \x1b[2J\x07\n\n```\nco", "de\n```\n"):
            drawn.add(piece)
    shown = file.getvalue()
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert all(word in shown for word in ("Head", "bold", "code"))
    assert "**" not in shown
