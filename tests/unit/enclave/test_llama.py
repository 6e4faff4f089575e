# SPDX-License-Identifier: Apache-2.0
"""The real model in the real library: tokens, greedy answers, and memory that is wiped."""

from functools import cache

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from enclave.engine import llama
from enclave.engine.protocol import Role, Sampling, Turn
from enclave.engine.template import ChatTemplate
from models.fetch import weights_path
from models.manifest import find_manifest

GREEDY = Sampling(0.0, 1.0, 0)
CONTEXT_TOKENS = 256
# The vocabulary of this model lacks a token for some bytes, all of them of control or unassigned characters.
PRINTED = st.characters(
    max_codepoint=0x1FFFF, categories=["L", "M", "N", "P", "S", "Zs"], exclude_characters="<"
)
QUESTION = "Say hello in French."


@cache
def model() -> llama.Model:
    """The default model, loaded once."""
    llama.load_backends()
    path = str(weights_path(find_manifest("smollm2-135m-instruct")))
    return llama.Model(path, context_tokens=CONTEXT_TOKENS, threads=1)


def prompt(question: str = QUESTION) -> list[int]:
    template = ChatTemplate(model().chat_template, begin=model().begin_text(), end=model().end_text())
    return model().tokenize(template.render((Turn(Role.USER, question),)))


def answer(tokens: list[int], sampling: Sampling = GREEDY, most: int = 12) -> list[int]:
    """Some tokens of an answer; the sequence stays in memory."""
    for _ in model().prefill(tokens):
        pass
    chosen: list[int] = []
    with llama.sampler(sampling) as sampler:
        while len(chosen) < most and not model().is_end(token := model().sample(sampler)):
            chosen.append(token)
            model().append(token)
    return chosen


def wiped_answer(tokens: list[int], sampling: Sampling = GREEDY) -> list[int]:
    try:
        return answer(tokens, sampling)
    finally:
        model().wipe()


def text(tokens: list[int]) -> str:
    return b"".join(map(model().piece, tokens)).decode()


def test_weights_that_are_none_are_refused() -> None:
    model()
    with pytest.raises(llama.EngineError, match="cannot load these weights"):
        llama.Model("/dev/null", context_tokens=64, threads=1)


def test_the_context_is_as_large_as_was_asked_for() -> None:
    assert model().context_tokens == CONTEXT_TOKENS


def test_the_weights_hold_their_template_and_its_markers() -> None:
    assert "<|im_start|>" in model().chat_template
    assert (model().begin_text(), model().end_text()) == ("<|im_start|>", "<|im_end|>")


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.text(PRINTED))
@example("def f():\n\treturn 'naïve 日本語 🎻'\n")
def test_the_pieces_of_its_tokens_are_the_text(written: str) -> None:
    assert text(model().tokenize(written)) == written


def test_a_character_of_several_bytes_may_be_several_tokens() -> None:
    tokens = model().tokenize("🎻")
    assert len(tokens) > 1
    assert text(tokens) == "🎻"


def test_markers_are_single_tokens_without_text() -> None:
    tokens = model().tokenize("<|im_start|>user\nhi<|im_end|>")
    assert text(tokens) == "user\nhi"
    assert model().is_end(tokens[-1])
    assert not model().is_end(tokens[1])


def test_a_prompt_is_decoded_in_steps_of_a_fixed_size() -> None:
    tokens = model().tokenize("word " * 150)[:150]
    try:
        assert sum(1 for _ in model().prefill(tokens)) == 3
    finally:
        model().wipe()


def test_a_greedy_answer_is_the_same_every_time() -> None:
    first = wiped_answer(prompt())
    assert len(first) > 3
    assert "onjour" in text(first)
    assert wiped_answer(prompt()) == first


def test_an_answer_does_not_depend_on_what_was_wiped() -> None:
    first = wiped_answer(prompt())
    other = wiped_answer(prompt("Name three colours."))
    assert other != first
    assert wiped_answer(prompt()) == first


def test_without_a_wipe_an_answer_continues_what_came_before() -> None:
    try:
        answer(prompt("My name is Wilhelmina. Remember it."))
        continued = answer(prompt("What is my name?"))
    finally:
        model().wipe()
    assert wiped_answer(prompt("What is my name?")) != continued


def test_a_sequence_longer_than_the_context_is_refused_and_leaves_the_model_usable() -> None:
    first = wiped_answer(prompt())
    with pytest.raises(llama.EngineError, match="cannot decode"):
        wiped_answer(model().tokenize("word " * (CONTEXT_TOKENS + 64)))
    assert wiped_answer(prompt()) == first


def test_a_seed_decides_a_sampled_answer() -> None:
    answers = [wiped_answer(prompt(), Sampling(1.5, 1.0, seed)) for seed in (1, 1, 2, 3)]
    assert answers[0] == answers[1]
    assert len({tuple(tokens) for tokens in answers}) > 1
