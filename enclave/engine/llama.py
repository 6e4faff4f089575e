# SPDX-License-Identifier: Apache-2.0
"""A model in llama.cpp with a batch of sequences (engine.md 0, 3, 4).

Every sequence has a stream of keys and values of its own, so that what one computes never depends on what
another says. Slots are counted from 0; in llama.cpp slot s is sequence s + 1, and sequence 0 is scratch.

With one row and 512 or more padded cells, ggml splits the attention over the cells among its threads, and
adds the parts up in another order than it does for several rows (ggml-cpu/ops.cpp, use_split_kv_path). Such a
row therefore never goes alone: a row of the scratch sequence goes with it.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from llama_cpp import llama_cpp as library
from numpy.typing import NDArray

from enclave.engine.sampling import Logits
from enclave.engine.state import Layout, StateError, overwrite, read_layout
from enclave.engine.vocabulary import Vocabulary

# Prompts are decoded in steps of a fixed grid from position 0: nobody waits for longer than one of them, and
# which tokens go together depends on nothing but the prompt (engine.md 3.3).
CHUNK_TOKENS = 64
FLASH_ATTENTION_ON = 1
SPLIT_CELLS, CELLS_STEP = 512, 256
SCRATCH = 0
Tokens = NDArray[np.int32]


class EngineError(Exception):
    """llama.cpp refused; the message says which call."""


@library.llama_log_callback
def _discard_log(_level: int, _text: bytes, _context: object) -> None:
    """Drop llama.cpp's log, which may hold text of prompts."""


def library_folder() -> Path:
    """Where llama.cpp's libraries lie."""
    return Path(library.__file__).parent / "lib"


def load_backends() -> None:
    """Load the variant of the CPU code that suits this processor best."""
    library.llama_log_set(_discard_log, None)
    folder = library_folder()
    ggml = ctypes.CDLL(str(folder / "libggml.so"))
    ggml.ggml_backend_load_all_from_path.argtypes = [ctypes.c_char_p]
    ggml.ggml_backend_load_all_from_path(str(folder).encode())


class Model:
    """A loaded model, and the sequences that it works on."""

    def __init__(
        self, path: str, *, context_tokens: int, threads: int, slots: int = 1, memory_bytes: int | None = None
    ) -> None:
        """Load weights from a path, with so many slots of so many tokens each.

        With `memory_bytes` there are fewer slots where keys and values would take more; EngineError where not
        even one fits, and for weights or a memory that this engine cannot work with.
        """
        model = library.llama_model_load_from_file(path.encode(), library.llama_model_default_params())
        if model is None:
            raise EngineError("llama.cpp cannot load these weights")
        if library.llama_model_is_recurrent(model) or library.llama_model_is_hybrid(model):
            raise EngineError("this model keeps a memory that cannot be wiped token by token")
        self.vocabulary, self.threads = Vocabulary(model), threads
        self.chat_template = (library.llama_model_chat_template(model, None) or b"").decode()
        self.embedding_size = library.llama_model_n_embd_out(model)
        self.cuts_anywhere = library.llama_model_n_swa(model) == 0
        self.context_tokens = min(context_tokens, library.llama_model_n_ctx_train(model))
        if memory_bytes is not None:
            slots = min(slots, self._slots_that_fit(model, memory_bytes))
        self._open(model, self.context_tokens, slots)
        self._zeros = mmap.mmap(-1, self.layout.size_bytes(self.context_tokens))

    @property
    def memory_bytes(self) -> int:
        """What the keys and values of all slots and of the scratch sequence take."""
        return (self.slots + 1) * self._slot_bytes()

    def _open(self, model: library.llama_model_p, context_tokens: int, slots: int) -> None:
        """Make the sequences' memory, and learn its form. Raises EngineError."""
        self.slots = slots
        self._context = _make_context(model, context_tokens, slots, self.threads)
        self._memory = library.llama_get_memory(self._context)
        self._batch = _Batch(max(CHUNK_TOKENS, slots + 1))
        # How many tokens a slot holds, and how many it has held since it was wiped.
        self._lengths, self._used = [0] * slots, [0] * slots
        self.layout = self._probe_layout()

    def _slots_that_fit(self, model: library.llama_model_p, memory_bytes: int) -> int:
        """How many slots there is memory for, by a small context of the same form. Raises EngineError."""
        self._open(model, CELLS_STEP, 1)
        library.llama_free(self._context)
        fitting = memory_bytes // self._slot_bytes() - 1
        if fitting < 1:
            raise EngineError("there is not enough memory for keys and values of one conversation")
        return fitting

    def _slot_bytes(self) -> int:
        return self.layout.bytes_per_token * _padded(self.context_tokens)

    def length(self, slot: int) -> int:
        """How many tokens this slot holds."""
        return self._lengths[slot]

    def prefill(self, slot: int, tokens: Tokens, *, last: bool) -> Logits | None:
        """Decode the next tokens of a prompt, at most CHUNK_TOKENS; the logits after the last one.

        The logits are valid until the next step.
        """
        batch, start = self._batch, self._lengths[slot]
        batch.fill(tokens, range(start, start + len(tokens)), [slot + 1] * len(tokens))
        batch.logits[len(tokens) - 1] = last
        self._decode(len(tokens))
        self._grow(slot, len(tokens))
        return self._logits(1)[0] if last else None

    def decode(self, tokens: Sequence[int]) -> Logits:
        """Decode one token for each of the first slots; one row of logits for each, until the next step.

        The slots are the first ones without a hole, or llama.cpp would take several passes.
        """
        slots = range(len(tokens))
        batch, extra = self._batch, int(self._needs_company(len(tokens)))
        rows = [SCRATCH] * extra + [slot + 1 for slot in slots]
        positions = [0] * extra + [self._lengths[slot] for slot in slots]
        batch.fill([*[0] * extra, *tokens], positions, rows)
        batch.logits[: len(rows)] = 1
        self._decode(len(rows))
        for slot in slots:
            self._grow(slot, 1)
        if extra:
            self._forget(SCRATCH)
        return self._logits(len(rows))[extra:]

    def embed(self, slot: int, tokens: Tokens) -> NDArray[np.float32]:
        """Decode the next tokens of a text, at most CHUNK_TOKENS; the sum of their vectors."""
        library.llama_set_embeddings(self._context, True)
        try:
            batch, start, count = self._batch, self._lengths[slot], len(tokens)
            batch.fill(tokens, range(start, start + count), [slot + 1] * count)
            batch.logits[:count] = 1
            self._decode(count)
            self._grow(slot, count)
            pointer = library.llama_get_embeddings(self._context)
            vectors = np.ctypeslib.as_array(pointer, (count, self.embedding_size))
            total: Logits = vectors.sum(axis=0, dtype=np.float32)
            vectors[:] = 0
            return total
        finally:
            library.llama_set_embeddings(self._context, False)

    def save(self, slot: int) -> bytearray:
        """Keys and values of a slot, to be overwritten by the caller."""
        size = library.llama_state_seq_get_size(self._context, slot + 1)
        state = bytearray(size)
        buffer = (ctypes.c_uint8 * size).from_buffer(state)
        if library.llama_state_seq_get_data(self._context, buffer, size, slot + 1) != size:
            raise EngineError("llama.cpp cannot save a sequence")
        return state

    def restore(self, slot: int, state: bytearray | memoryview, tokens: int) -> None:
        """Put keys and values of so many tokens into an empty slot; the state must come from `save`."""
        buffer = (ctypes.c_uint8 * len(state)).from_buffer(state)
        self._set_state(slot, buffer, len(state))
        self._lengths[slot] = 0
        self._grow(slot, tokens)

    def cut(self, slot: int, tokens: int) -> None:
        """Keep so many tokens of a slot; the others stay in memory until it is wiped."""
        library.llama_memory_seq_rm(self._memory, slot + 1, tokens, -1)
        self._lengths[slot] = tokens

    def move(self, source: int, target: int) -> None:
        """Exchange what two slots hold, and leave nothing in one that becomes empty."""
        states = [(self.save(slot), self._lengths[slot]) for slot in (source, target)]
        for slot in (source, target):
            self.wipe(slot)
        for slot, (state, tokens) in zip((target, source), states, strict=True):
            if tokens:
                self.restore(slot, state, tokens)
            overwrite(state)

    def wipe(self, slot: int) -> None:
        """Overwrite keys and values of all that a slot has held with zeros, and forget it."""
        self._forget(slot + 1)
        tokens, self._lengths[slot] = self._used[slot], 0
        if not tokens:
            return
        # Pages that were never written take no memory and read as zeros.
        parts, size = self.layout.zeros(tokens)
        for place, content in parts:
            self._zeros[place : place + len(content)] = content
        buffer = (ctypes.c_uint8 * size).from_buffer(self._zeros)
        self._set_state(slot, buffer, size)
        for place, content in parts:
            self._zeros[place : place + len(content)] = bytes(len(content))
        self._forget(slot + 1)
        self._used[slot] = 0

    def scrub(self) -> None:
        """Compute something harmless, so that no work space holds what was computed last."""
        tokens = np.zeros(CHUNK_TOKENS, np.int32)
        self._batch.fill(tokens, range(CHUNK_TOKENS), [SCRATCH] * CHUNK_TOKENS)
        self._batch.logits[:CHUNK_TOKENS] = 1
        self._decode(CHUNK_TOKENS)
        self._forget(SCRATCH)

    def _needs_company(self, rows: int) -> bool:
        if rows > 1 or self.threads == 1:
            return False
        return _padded(self._lengths[0] + 1) >= SPLIT_CELLS

    def _grow(self, slot: int, tokens: int) -> None:
        self._lengths[slot] += tokens
        self._used[slot] = max(self._used[slot], self._lengths[slot])

    def _decode(self, rows: int) -> None:
        if library.llama_decode(self._context, self._batch.take(rows)):
            raise EngineError("llama.cpp cannot decode")
        self._batch.wipe(rows)

    def _logits(self, rows: int) -> Logits:
        pointer = library.llama_get_logits(self._context)
        return np.ctypeslib.as_array(pointer, (rows, self.vocabulary.size))

    def _forget(self, sequence: int) -> None:
        library.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    def _set_state(self, slot: int, buffer: ctypes.Array[ctypes.c_uint8], size: int) -> None:
        if library.llama_state_seq_set_data(self._context, buffer, size, slot + 1) != size:
            raise EngineError("llama.cpp cannot restore a sequence")

    def _probe_layout(self) -> Layout:
        """Read the form of a state from one that holds two harmless tokens. Raises EngineError."""
        self.prefill(0, np.zeros(2, np.int32), last=False)
        try:
            layout = read_layout(bytes(self.save(0)), 2)
        except StateError as error:
            raise EngineError(f"this model's memory cannot be wiped: {error}") from None
        self._forget(1)
        self._lengths[0] = self._used[0] = 0
        return layout


class _Batch:
    """llama.cpp's batch, seen through numpy; rows belong to one sequence each."""

    def __init__(self, rows: int) -> None:
        self._batch = library.llama_batch_init(rows, 0, 1)
        self._tokens = np.ctypeslib.as_array(self._batch.token, (rows,))
        self._positions = np.ctypeslib.as_array(self._batch.pos, (rows,))
        self.logits = np.ctypeslib.as_array(self._batch.logits, (rows,))
        np.ctypeslib.as_array(self._batch.n_seq_id, (rows,))[:] = 1
        self.wipe(rows)

    def fill(self, tokens: Tokens | Sequence[int], positions: Sequence[int], sequences: list[int]) -> None:
        """Put rows into the batch; which of them give logits is left to the caller."""
        rows = len(sequences)
        self._tokens[:rows], self._positions[:rows] = tokens, positions
        self.logits[:rows] = 0
        for row, sequence in enumerate(sequences):
            self._batch.seq_id[row][0] = sequence

    def take(self, rows: int) -> library.llama_batch:
        """The batch with its first rows."""
        self._batch.n_tokens = rows
        return self._batch

    def wipe(self, rows: int) -> None:
        """Overwrite the tokens."""
        self._tokens[:rows] = 0


def _padded(tokens: int) -> int:
    """llama.cpp counts cells in steps."""
    return -(-tokens // CELLS_STEP) * CELLS_STEP


def _make_context(
    model: library.llama_model_p, context_tokens: int, slots: int, threads: int
) -> library.llama_context_p:
    params = library.llama_context_default_params()
    params.n_seq_max = slots + 1
    params.n_ctx = _padded(context_tokens) * params.n_seq_max
    params.n_batch = params.n_ubatch = max(CHUNK_TOKENS, slots + 1)
    params.n_threads = params.n_threads_batch = threads
    params.flash_attn_type = FLASH_ATTENTION_ON
    params.kv_unified = False
    params.swa_full = True
    params.no_perf = True
    context = library.llama_init_from_model(model, params)
    if context is None:
        raise EngineError("llama.cpp cannot make a context of this size")
    if library.llama_n_ctx_seq(context) < context_tokens:
        raise EngineError("llama.cpp made a smaller context than was asked for")
    return context
