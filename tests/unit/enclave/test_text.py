# SPDX-License-Identifier: Apache-2.0
"""Tokens into text: no split characters, no stop strings, and the same text however the tokens lie."""

import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from enclave.engine.text import TextAssembler

some = settings(max_examples=400, deadline=None, derandomize=True)
CUTS = st.lists(st.integers(0, 400), max_size=12)
# Few letters, so that stop strings and beginnings of them occur.
LETTERS = st.text("abé🎻", max_size=24)
STOPS = st.lists(st.text("abé🎻", min_size=1, max_size=4), max_size=4).map(tuple)


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(places)]


def assembled(pieces: list[bytes], stop: tuple[str, ...] = ()) -> tuple[list[str], bool]:
    """What each piece released, and at last the end; and whether a stop string was met."""
    assembler = TextAssembler(stop)
    released = [assembler.receive(piece) for piece in pieces]
    return [*released, assembler.end()], assembler.stopped


def reference(text: str, stop: tuple[str, ...]) -> tuple[str, bool]:
    """Character by character: the text before the first stop string that is complete."""
    for end in range(1, len(text) + 1):
        found = [end - len(each) for each in stop if text[:end].endswith(each)]
        if found:
            return text[: min(found)], True
    return text, False


@some
@given(st.text(), CUTS)
def test_any_split_of_the_bytes_gives_the_same_text(text: str, cuts: list[int]) -> None:
    released, stopped = assembled(split(text.encode(), cuts))
    assert "".join(released) == text
    assert not stopped


@some
@given(LETTERS, CUTS, STOPS)
@example("abab", [1, 2, 3], ("bab", "ab"))
@example("abé🎻", [], ("bé", "abé🎻"))
def test_the_text_before_a_stop_string_is_that_of_the_whole_text(
    text: str, cuts: list[int], stop: tuple[str, ...]
) -> None:
    released, stopped = assembled(split(text.encode(), cuts), stop)
    assert ("".join(released), stopped) == reference(text, stop)


@some
@given(LETTERS, CUTS, STOPS)
def test_what_was_released_never_has_to_be_taken_back(
    text: str, cuts: list[int], stop: tuple[str, ...]
) -> None:
    released, _ = assembled(split(text.encode(), cuts), stop)
    whole = reference(text, stop)[0]
    for shown in itertools.accumulate(released):
        assert whole.startswith(shown)
        assert not any(each in shown for each in stop)


@some
@given(st.binary(max_size=60), CUTS)
def test_bytes_that_are_no_text_give_the_same_replacements_in_any_split(data: bytes, cuts: list[int]) -> None:
    released, _ = assembled(split(data, cuts))
    assert "".join(released) == data.decode(errors="replace")


def test_a_character_appears_once_it_is_whole() -> None:
    assert assembled([b"\xf0", b"\x9f\x8e", b"\xbbx"])[0] == ["", "", "🎻x", ""]


def test_text_that_cannot_begin_a_stop_string_is_shown_at_once() -> None:
    assert assembled([b"hello, wor", b"ld"], ("\n\n",))[0] == ["hello, wor", "ld", ""]


def test_a_stop_string_across_tokens_is_never_shown() -> None:
    released, stopped = assembled([b"answer\n", b"US", b"ER", b": more"], ("\nUSER:",))
    assert (released, stopped) == (["answer", "", "", "", ""], True)


def test_the_beginning_of_a_stop_string_that_does_not_follow_is_shown_after_all() -> None:
    assert assembled([b"a\nUS", b"A"], ("\nUSER:",))[0] == ["a", "\nUSA", ""]


def test_what_was_held_back_is_shown_at_the_end() -> None:
    assert assembled([b"a\nUSER"], ("\nUSER:",)) == (["a", "\nUSER"], False)


def test_a_character_that_is_cut_at_the_end_is_replaced() -> None:
    assert assembled([b"caf\xc3"])[0] == ["caf", "\ufffd"]


def test_nothing_is_shown_after_a_stop_string() -> None:
    assembler = TextAssembler(("stop",))
    assert assembler.receive(b"go stop go") == "go "
    assert assembler.stopped
    assert assembler.receive(b"more") == ""
    assert assembler.end() == ""


@pytest.mark.parametrize("stop", [(), ("",)])
def test_an_empty_stop_string_is_none(stop: tuple[str, ...]) -> None:
    assert assembled([b"text"], stop) == (["text", ""], False)
