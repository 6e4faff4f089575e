# SPDX-License-Identifier: Apache-2.0
"""The only module that touches llama.cpp: a model, one sequence, one step at a time (engine.md 0, 3)."""

from __future__ import annotations

import ctypes
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from llama_cpp import llama_cpp as library

from enclave.engine.protocol import Sampling

# Prompts are decoded in steps of a fixed grid: a cancellation never waits for more than one (engine.md 3.3).
CHUNK_TOKENS = 64
FLASH_ATTENTION_ON = 1
PIECE_BYTES = 256


class EngineError(Exception):
    """llama.cpp refused; the message says which call."""


@library.llama_log_callback
def _discard_log(_level: int, _text: bytes, _context: object) -> None:
    """Drop llama.cpp's log, which may hold text of prompts."""


def load_backends() -> None:
    """Load the variant of the CPU code that suits this processor best."""
    library.llama_log_set(_discard_log, None)
    folder = Path(library.__file__).parent / "lib"
    ggml = ctypes.CDLL(str(folder / "libggml.so"))
    ggml.ggml_backend_load_all_from_path.argtypes = [ctypes.c_char_p]
    ggml.ggml_backend_load_all_from_path(str(folder).encode())


class Model:
    """A loaded model with one sequence's memory."""

    def __init__(self, path: str, *, context_tokens: int, threads: int) -> None:
        """Load weights from a path. Raises EngineError."""
        model = library.llama_model_load_from_file(path.encode(), library.llama_model_default_params())
        if model is None:
            raise EngineError("llama.cpp cannot load these weights")
        params = library.llama_context_default_params()
        params.n_ctx = min(context_tokens, library.llama_model_n_ctx_train(model))
        params.n_batch = params.n_ubatch = CHUNK_TOKENS
        params.n_threads = params.n_threads_batch = threads
        params.n_seq_max = 1
        params.flash_attn_type = FLASH_ATTENTION_ON
        context = library.llama_init_from_model(model, params)
        if context is None:
            raise EngineError("llama.cpp cannot make a context of this size")
        self.context_tokens = params.n_ctx
        self._context, self._vocabulary = context, library.llama_model_get_vocab(model)
        self._memory = library.llama_get_memory(context)
        template = library.llama_model_chat_template(model, None)
        if template is None:
            raise EngineError("the weights hold no chat template")
        self.chat_template = template.decode()

    def begin_text(self) -> str:
        """The text of the token that begins a sequence."""
        return self._token_text(library.llama_vocab_bos(self._vocabulary))

    def end_text(self) -> str:
        """The text of the token that ends a sequence."""
        return self._token_text(library.llama_vocab_eos(self._vocabulary))

    def tokenize(self, text: str) -> list[int]:
        """The tokens of a rendered prompt; the template's own markers become single tokens."""
        encoded = text.encode()
        capacity = len(encoded) + 2
        tokens = (ctypes.c_int32 * capacity)()
        count = library.llama_tokenize(self._vocabulary, encoded, len(encoded), tokens, capacity, False, True)
        if count < 0:
            raise EngineError("llama.cpp cannot tokenize the prompt")
        return tokens[:count]

    def piece(self, token: int) -> bytes:
        """The bytes that a token stands for; none for a marker."""
        buffer = ctypes.create_string_buffer(PIECE_BYTES)
        size = library.llama_token_to_piece(self._vocabulary, token, buffer, PIECE_BYTES, 0, False)
        return buffer.raw[: max(size, 0)]

    def is_end(self, token: int) -> bool:
        """Whether the model ends its answer with this token."""
        return library.llama_vocab_is_eog(self._vocabulary, token)

    def prefill(self, tokens: list[int]) -> Iterator[None]:
        """Decode a prompt, yielding after each step."""
        for start in range(0, len(tokens), CHUNK_TOKENS):
            self._decode(tokens[start : start + CHUNK_TOKENS])
            yield

    def sample(self, sampler: library.llama_sampler_p) -> int:
        """Choose the next token from the logits of the last step."""
        return library.llama_sampler_sample(sampler, self._context, -1)

    def append(self, token: int) -> None:
        """Decode one token that was chosen."""
        self._decode([token])

    def wipe(self) -> None:
        """Overwrite the keys and values of the sequence with zeros, and forget it."""
        library.llama_memory_clear(self._memory, True)

    def _decode(self, tokens: list[int]) -> None:
        array = (ctypes.c_int32 * len(tokens))(*tokens)
        if library.llama_decode(self._context, library.llama_batch_get_one(array, len(tokens))):
            raise EngineError("llama.cpp cannot decode")
        ctypes.memset(array, 0, ctypes.sizeof(array))

    def _token_text(self, token: int) -> str:
        text = library.llama_vocab_get_text(self._vocabulary, token) if token >= 0 else b""
        return (text or b"").decode()


@contextmanager
def sampler(sampling: Sampling) -> Generator[library.llama_sampler_p]:
    """A chain of samplers in C, freed at the end."""
    chain = library.llama_sampler_chain_init(library.llama_sampler_chain_default_params())
    if sampling.temperature:
        library.llama_sampler_chain_add(chain, library.llama_sampler_init_top_p(sampling.top_p, 1))
        library.llama_sampler_chain_add(chain, library.llama_sampler_init_temp(sampling.temperature))
        library.llama_sampler_chain_add(chain, library.llama_sampler_init_dist(sampling.seed))
    else:
        library.llama_sampler_chain_add(chain, library.llama_sampler_init_greedy())
    try:
        yield chain
    finally:
        library.llama_sampler_free(chain)
