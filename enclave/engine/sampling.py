# SPDX-License-Identifier: Apache-2.0
"""Which token comes next: the likeliest by numpy, anything else by a chain of llama.cpp's samplers."""

from __future__ import annotations

import ctypes

import numpy as np
from llama_cpp import llama_cpp as library
from numpy.typing import NDArray

from enclave.engine.protocol import Sampling
from enclave.engine.vocabulary import Vocabulary

Logits = NDArray[np.float32]
CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
MIN_KEEP = 1


class GrammarError(Exception):
    """llama.cpp does not take the grammar; it was made of a schema, which is not repeated."""


class Candidates:
    """Room for one row of candidates, which all sequences use in turn."""

    def __init__(self, vocabulary_size: int) -> None:
        self._rows = np.empty(vocabulary_size, CANDIDATE)
        self._ids = np.arange(vocabulary_size, dtype=np.int32)
        self._array = library.llama_token_data_array()

    def fill(self, logits: Logits) -> library.llama_token_data_array:
        """Every token with its logit."""
        self._rows["id"] = self._ids
        self._rows["logit"] = logits
        self._rows["p"] = 0
        return self._over(len(self._rows))

    def one(self, token: int) -> library.llama_token_data_array:
        """A single token, to ask whether it is allowed."""
        self._rows[0] = (token, 0.0, 0.0)
        return self._over(1)

    def chosen(self) -> int | None:
        """The token that was selected; None where none is possible."""
        selected = self._array.selected
        if selected < 0 or not np.isfinite(self._rows[selected]["logit"]):
            return None
        return int(self._rows[selected]["id"])

    @property
    def allows_one(self) -> bool:
        """Whether the single token is still possible."""
        return bool(np.isfinite(self._rows[0]["logit"]))

    def wipe(self) -> None:
        """Overwrite what the last choice left."""
        self._rows[:] = 0

    def _over(self, size: int) -> library.llama_token_data_array:
        self._array.data = ctypes.cast(self._rows.ctypes.data, library.llama_token_data_p)
        self._array.size, self._array.selected, self._array.sorted = size, -1, False
        return self._array


class Chooser:
    """Chooses the tokens of one sequence; to be closed at its end."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        candidates: Candidates,
        sampling: Sampling,
        *,
        most: int,
        grammar: str | None = None,
    ) -> None:
        """Make the samplers for an answer of at most so many tokens. Raises GrammarError."""
        self._candidates = candidates
        biased = {token: bias for token, bias in sampling.logit_bias if token < vocabulary.size}
        self._biased = np.fromiter(biased.keys(), np.int64, len(biased))
        self._biases = np.fromiter(biased.values(), np.float32, len(biased))
        self._grammar = None if grammar is None else _grammar(vocabulary, grammar)
        self._chain = _chain(vocabulary, sampling, most) if _needs_chain(sampling) or self._grammar else None

    def choose(self, logits: Logits) -> int | None:
        """The next token; None where the grammar allows none."""
        if len(self._biased):
            logits = logits.copy()
            logits[self._biased] += self._biases
        token = int(logits.argmax()) if self._chain is None else self._sample(self._chain, logits)
        if len(self._biased):
            logits[:] = 0
        return token

    def _sample(self, chain: library.llama_sampler_p, logits: Logits) -> int | None:
        """Sample freely first: mostly the grammar allows what the model wants anyway."""
        library.llama_sampler_apply(chain, ctypes.byref(self._candidates.fill(logits)))
        token = self._candidates.chosen()
        if self._grammar is not None:
            if token is None or not self._allows(self._grammar, token):
                array = ctypes.byref(self._candidates.fill(logits))
                library.llama_sampler_apply(self._grammar, array)
                library.llama_sampler_apply(chain, array)
                token = self._candidates.chosen()
            if token is not None:
                library.llama_sampler_accept(self._grammar, token)
        if token is not None:
            library.llama_sampler_accept(chain, token)
        return token

    def _allows(self, grammar: library.llama_sampler_p, token: int) -> bool:
        library.llama_sampler_apply(grammar, ctypes.byref(self._candidates.one(token)))
        return self._candidates.allows_one

    def close(self) -> None:
        """Free the samplers, which remember the tokens they chose."""
        for sampler in filter(None, (self._chain, self._grammar)):
            library.llama_sampler_reset(sampler)
            library.llama_sampler_free(sampler)
        self._chain = self._grammar = None


def log_probabilities(logits: Logits) -> Logits:
    """The natural logarithms of the probabilities that a row of logits gives."""
    shifted: Logits = logits - logits.max()
    shifted -= np.log(np.exp(shifted).sum())
    return shifted


def likeliest(row: Logits, count: int) -> list[int]:
    """The tokens with the greatest values, the greatest first."""
    if count == 0:
        return []
    found = np.argpartition(row, -count)[-count:]
    return [int(token) for token in found[np.argsort(-row[found], kind="stable")]]


def _needs_chain(sampling: Sampling) -> bool:
    return bool(sampling.temperature) or _penalised(sampling)


def _penalised(sampling: Sampling) -> bool:
    penalties = (sampling.frequency_penalty, sampling.presence_penalty, sampling.repeat_penalty)
    return penalties != (0.0, 0.0, 1.0)


def _chain(vocabulary: Vocabulary, sampling: Sampling, most: int) -> library.llama_sampler_p:
    """The order of llama.cpp's own programs: penalties, then what narrows, then temperature and chance."""
    chain = library.llama_sampler_chain_init(library.llama_sampler_chain_default_params())

    def add(sampler: library.llama_sampler_p) -> None:
        library.llama_sampler_chain_add(chain, sampler)

    if _penalised(sampling):
        penalties = (sampling.repeat_penalty, sampling.frequency_penalty, sampling.presence_penalty)
        add(library.llama_sampler_init_penalties(vocabulary.size, most, *penalties))
    if not sampling.temperature:
        add(library.llama_sampler_init_greedy())
        return chain
    if sampling.top_k:
        add(library.llama_sampler_init_top_k(sampling.top_k))
    if sampling.top_p < 1:
        add(library.llama_sampler_init_top_p(sampling.top_p, MIN_KEEP))
    if sampling.min_p:
        add(library.llama_sampler_init_min_p(sampling.min_p, MIN_KEEP))
    add(library.llama_sampler_init_temp(sampling.temperature))
    add(library.llama_sampler_init_dist(sampling.seed))
    return chain


def _grammar(vocabulary: Vocabulary, grammar: str) -> library.llama_sampler_p:
    sampler = library.llama_sampler_init_grammar(vocabulary.handle, grammar.encode(), b"root")
    if not sampler:  # a null pointer is an object here
        raise GrammarError("llama.cpp does not take the grammar")
    return sampler
