# SPDX-License-Identifier: Apache-2.0
"""Text into tokens and tokens into bytes, by the model's own vocabulary in llama.cpp."""

from __future__ import annotations

import ctypes

from llama_cpp import llama_cpp as library

PIECE_BYTES = 1024
# Markers with which models begin and end calls of tools: whoever looks for calls has to see them.
CALL_MARKERS = frozenset({"<tool_call>", "</tool_call>", "[TOOL_CALLS]", "<|python_tag|>"})


class VocabularyError(Exception):
    """llama.cpp cannot tokenize; the message holds nothing of the text."""


class Vocabulary:
    """What the tokens of a model stand for: looked up once for all of them."""

    def __init__(self, model: library.llama_model_p) -> None:
        self.handle = library.llama_model_get_vocab(model)
        self.size = library.llama_vocab_n_tokens(self.handle)
        self._pieces = [self._piece(token) for token in range(self.size)]
        self._ends = frozenset(
            token for token in range(self.size) if library.llama_vocab_is_eog(self.handle, token)
        )
        self.begin_text = self._text(library.llama_vocab_bos(self.handle))
        self.end_text = self._text(library.llama_vocab_eos(self.handle))

    def tokenize(self, text: str, *, markers: bool) -> list[int]:
        """The tokens of a text.

        With `markers` the text is a rendered template, and its markers become single tokens. Without, markers
        are text, and the model's own beginning is added where it wants one. Raises VocabularyError.
        """
        encoded = text.encode(errors="replace")
        capacity = len(encoded) + 8
        tokens = (ctypes.c_int32 * capacity)()
        count = library.llama_tokenize(
            self.handle, encoded, len(encoded), tokens, capacity, not markers, markers
        )
        if count < 0:
            raise VocabularyError("llama.cpp cannot tokenize the prompt")
        found = tokens[:count]
        ctypes.memset(tokens, 0, ctypes.sizeof(tokens))
        return found

    def piece(self, token: int) -> bytes:
        """The bytes that a token stands for; none for a marker, but for those of calls."""
        return self._pieces[token]

    def is_end(self, token: int) -> bool:
        """Whether the model ends its answer with this token."""
        return token in self._ends

    def _piece(self, token: int) -> bytes:
        buffer, shown = ctypes.create_string_buffer(PIECE_BYTES), self._text(token) in CALL_MARKERS
        size = library.llama_token_to_piece(self.handle, token, buffer, PIECE_BYTES, 0, shown)
        return buffer.raw[: max(size, 0)]

    def _text(self, token: int) -> str:
        text = library.llama_vocab_get_text(self.handle, token) if token >= 0 else b""
        return (text or b"").decode()
