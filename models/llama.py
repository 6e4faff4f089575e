# SPDX-License-Identifier: Apache-2.0
"""llama.cpp as a tool for model files, in a process of its own; nothing here runs in an enclave.

python -m models.llama convert OLD NEW NUMBER    store the weights in another format
python -m models.llama measure FILE              perplexity on the fixed text and speed, as JSON
"""

import ctypes
import json
import os
import sys
import time
from importlib import resources
from pathlib import Path

import numpy
from llama_cpp import llama_cpp as library

WINDOW_TOKENS = 256  # each part of the text is read without what stands before it
DECODED_TOKENS = 32
FLASH_ATTENTION_ON = 1

Rows = numpy.ndarray[tuple[int, int], numpy.dtype[numpy.float32]]


@library.llama_log_callback
def _discard_log(_level: int, _text: bytes, _context: object) -> None:
    """Drop llama.cpp's log."""


class Evaluator:
    """A loaded model that tells the probability of a text."""

    def __init__(self, path: str, threads: int) -> None:
        """Load weights; end the process where that fails."""
        model = library.llama_model_load_from_file(path.encode(), library.llama_model_default_params())
        if model is None:
            sys.exit("the weights cannot be loaded")
        params = library.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = WINDOW_TOKENS + DECODED_TOKENS
        params.n_threads = params.n_threads_batch = threads
        params.n_seq_max = 1
        params.flash_attn_type = FLASH_ATTENTION_ON
        context = library.llama_init_from_model(model, params)
        if context is None:
            sys.exit("there is no memory for a context")
        self._context, self._vocabulary = context, library.llama_model_get_vocab(model)
        self._size = library.llama_vocab_n_tokens(self._vocabulary)
        self._batch = library.llama_batch_init(WINDOW_TOKENS, 0, 1)

    def tokenize(self, text: str) -> list[int]:
        """The tokens of a text, without markers."""
        encoded = text.encode()
        tokens = (ctypes.c_int32 * (len(encoded) + 2))()
        count = library.llama_tokenize(
            self._vocabulary, encoded, len(encoded), tokens, len(encoded) + 2, False, False
        )
        return tokens[:count]

    def surprise(self, tokens: list[int]) -> float:
        """The sum of negative log-probabilities of every token but the first, in nats."""
        self._forget()
        logits = self._decode(tokens, 0, every=True).astype(numpy.float64)
        logits -= logits.max(axis=1, keepdims=True)
        totals = numpy.log(numpy.exp(logits).sum(axis=1))
        rows = numpy.arange(len(tokens) - 1)
        return float((totals[:-1] - logits[rows, tokens[1:]]).sum())

    def decode(self, tokens: list[int]) -> float:
        """How many seconds it takes to decode one token after another behind these."""
        self._forget()
        row = self._decode(tokens, 0, every=False)
        start = time.perf_counter()
        for position in range(len(tokens), len(tokens) + DECODED_TOKENS):
            row = self._decode([int(row.argmax())], position, every=False)
        return time.perf_counter() - start

    def _forget(self) -> None:
        library.llama_memory_seq_rm(library.llama_get_memory(self._context), 0, 0, -1)

    def _decode(self, tokens: list[int], start: int, *, every: bool) -> Rows:
        """Decode tokens at these positions; logits of each, or of the last alone."""
        batch = self._batch
        batch.n_tokens = len(tokens)
        for index, token in enumerate(tokens):
            batch.token[index], batch.pos[index] = token, start + index
            batch.n_seq_id[index], batch.seq_id[index][0] = 1, 0
            batch.logits[index] = int(every or index == len(tokens) - 1)
        if library.llama_decode(self._context, batch):
            sys.exit("the text cannot be decoded")
        rows = len(tokens) if every else 1
        address = ctypes.addressof(library.llama_get_logits(self._context).contents)
        content = (ctypes.c_float * (rows * self._size)).from_address(address)
        return numpy.frombuffer(memoryview(content).cast("B"), dtype=numpy.float32).reshape(rows, self._size)


def load_backends() -> None:
    """Load the variant of the CPU code that suits this processor best."""
    library.llama_log_set(_discard_log, None)
    folder = Path(library.__file__).parent / "lib"
    ggml = ctypes.CDLL(str(folder / "libggml.so"))
    ggml.ggml_backend_load_all_from_path.argtypes = [ctypes.c_char_p]
    ggml.ggml_backend_load_all_from_path(str(folder).encode())


def convert(old: str, new: str, number: int) -> None:
    """Write the weights in another format."""
    params = library.llama_model_quantize_default_params()
    params.ftype, params.allow_requantize = number, True
    if library.llama_model_quantize(old.encode(), new.encode(), ctypes.byref(params)):
        sys.exit("the weights cannot be converted")


def measure(path: str) -> dict[str, float]:
    """Perplexity over the fixed text, and tokens per second of reading and of writing."""
    threads = max(1, len(os.sched_getaffinity(0)) - 1)  # as many as an enclave takes by itself
    evaluator = Evaluator(path, threads)
    text = resources.files("models").joinpath("perplexity.txt").read_text(encoding="utf-8")
    tokens = evaluator.tokenize(text)
    windows = [tokens[start : start + WINDOW_TOKENS] for start in range(0, len(tokens), WINDOW_TOKENS)]
    windows = [window for window in windows if len(window) > 1]
    evaluator.surprise(windows[0])  # threads start, weights are read
    start = time.perf_counter()
    surprise = sum(evaluator.surprise(window) for window in windows)
    reading = time.perf_counter() - start
    predicted = sum(len(window) - 1 for window in windows)
    return {
        "perplexity": float(numpy.exp(surprise / predicted)),
        "tokens": len(tokens),
        "threads": threads,
        "prefill_tokens_per_second": len(tokens) / reading,
        "decode_tokens_per_second": DECODED_TOKENS / evaluator.decode(windows[0]),
    }


def main(arguments: list[str]) -> int:
    """Run one of the two commands."""
    load_backends()
    match arguments:
        case ["convert", old, new, number]:
            convert(old, new, int(number))
        case ["measure", path]:
            sys.stdout.write(json.dumps(measure(path)))
        case _:
            sys.stderr.write(f"{__doc__}")
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
