# SPDX-License-Identifier: Apache-2.0
"""Text into tokens and back, by the vocabulary of the real model."""

from functools import cache

from hypothesis import example, given, settings
from hypothesis import strategies as st
from llama_cpp import llama_cpp as library

from enclave.engine import llama
from enclave.engine.vocabulary import Vocabulary
from models.fetch import weights_path
from models.manifest import find_manifest

# The vocabulary of this model lacks a token for some bytes, all of them of control or unassigned characters.
PRINTED = st.characters(
    max_codepoint=0x1FFFF, categories=["L", "M", "N", "P", "S", "Zs"], exclude_characters="<"
)


@cache
def vocabulary() -> Vocabulary:
    llama.load_backends()
    path = str(weights_path(find_manifest("smollm2-135m-instruct"))).encode()
    model = library.llama_model_load_from_file(path, library.llama_model_default_params())
    assert model is not None
    return Vocabulary(model)


def text(tokens: list[int]) -> str:
    return b"".join(map(vocabulary().piece, tokens)).decode()


def test_the_markers_of_begin_and_end_are_known() -> None:
    assert (vocabulary().begin_text, vocabulary().end_text) == ("<|im_start|>", "<|im_end|>")


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.text(PRINTED))
@example("def f():\n\treturn 'naïve 日本語 🎻'\n")
def test_the_pieces_of_its_tokens_are_the_text(written: str) -> None:
    assert text(vocabulary().tokenize(written, markers=True)) == written


def test_a_character_of_several_bytes_may_be_several_tokens() -> None:
    tokens = vocabulary().tokenize("🎻", markers=True)
    assert len(tokens) > 1
    assert text(tokens) == "🎻"


def test_markers_are_single_tokens_without_text() -> None:
    tokens = vocabulary().tokenize("<|im_start|>user\nhi<|im_end|>", markers=True)
    assert text(tokens) == "user\nhi"
    assert vocabulary().is_end(tokens[-1])
    assert not vocabulary().is_end(tokens[1])


def test_in_plain_text_markers_are_text() -> None:
    written = "<|im_start|>user\nhi<|im_end|>"
    tokens = vocabulary().tokenize(written, markers=False)
    assert text(tokens) == written
    assert not any(map(vocabulary().is_end, tokens))


def test_half_of_a_character_does_not_end_the_process() -> None:
    assert vocabulary().tokenize("\ud83d", markers=False)
