# SPDX-License-Identifier: Apache-2.0
"""Whether the library is the one that the bindings describe, and computes what it should: at each start.

1. Its version is the one that this code was written for.
2. The defaults at the beginning and the end of its structures are read where the bindings look for them.
3. One of our CPU variants is loaded.
4. A text comes out of its tokens as it went in.
5. A sequence's logits are finite, are the same again, and are the same to the last bit in company.
6. Weights whose answer to a text is known give that answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from llama_cpp import llama_cpp as library

from enclave.engine import known_answers
from enclave.engine.llama import CHUNK_TOKENS, EngineError, Model, Tokens
from enclave.engine.sampling import Logits

VERSION = b"0.5.0-dev"
DEFAULT_CONTEXT = {"n_ctx": 512, "n_batch": 2048, "n_ubatch": 512, "flash_attn_type": -1}
DEFAULT_FLAGS = {"no_perf": True, "swa_full": True, "kv_unified": False}
TEXT = "A ship in harbour is safe, 1928."
VARIANT = re.compile(r"/libggml-cpu-(\w+)\.so$", re.MULTILINE)
STEPS = 4


def check_library() -> str:
    """Steps 1 to 3; the name of the CPU variant in use. Raises EngineError."""
    if library.llama_version() != VERSION:  # 1
        raise EngineError("this is another release of llama.cpp than the one this code is for")
    params = library.llama_context_default_params()  # 2
    for name, value in (DEFAULT_CONTEXT | DEFAULT_FLAGS).items():
        if getattr(params, name) != value:
            raise EngineError(f"llama.cpp's structures are laid out in another way: {name}")
    found = set(VARIANT.findall(Path("/proc/self/maps").read_text(encoding="utf-8")))  # 3
    if len(found) != 1:
        raise EngineError("not exactly one variant of the CPU code is loaded")
    return str(found.pop())


def check_model(model: Model, digest: bytes) -> None:
    """Steps 4 to 6, in empty slots, which are empty again afterwards. Raises EngineError."""
    vocabulary = model.vocabulary
    tokens = vocabulary.tokenize(TEXT, markers=True)
    if b"".join(map(vocabulary.piece, tokens)).decode(errors="replace").strip() != TEXT:  # 4
        raise EngineError("a text does not come out of its tokens as it went in")
    prompt = np.array(tokens, np.int32)[:CHUNK_TOKENS]
    alone = _answer(model, prompt, others=0)  # 5
    if not np.isfinite(alone).all():
        raise EngineError("logits are not finite")
    if not np.array_equal(alone, _answer(model, prompt, others=0)):
        raise EngineError("the same sequence gives other logits")
    if model.slots > 1 and not np.array_equal(alone, _answer(model, prompt, others=1)):
        raise EngineError("a sequence's logits depend on who else is there")
    _check_known(model, known_answers.KNOWN_ANSWERS.get(digest.hex(), ()))  # 6


def _check_known(model: Model, known: Sequence[tuple[int, float]]) -> None:
    if not known:
        return
    tokens = model.vocabulary.tokenize(known_answers.TEXT, markers=False)
    rows = _answer(model, np.array(tokens, np.int32), others=0, steps=len(known) - 1)
    for row, (token, logit) in zip(rows, known, strict=True):
        if int(row.argmax()) != token or abs(float(row[token]) - logit) > known_answers.TOLERANCE:
            raise EngineError("these weights give another answer than they are known to give")


def _answer(model: Model, prompt: Tokens, *, others: int, steps: int = STEPS) -> Logits:
    """The logits of some greedy steps of the first slot, with other sequences beside it."""
    first = model.prefill(0, prompt, last=True)
    assert first is not None
    rows = [first.copy()]
    for slot in range(1, 1 + others):
        model.prefill(slot, prompt[::-1].copy(), last=False)
    for _ in range(steps):
        rows.append(model.decode([int(rows[-1].argmax()), *[0] * others])[0].copy())
    for slot in range(1 + others):
        model.wipe(slot)
    return np.stack(rows)
