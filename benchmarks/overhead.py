# SPDX-License-Identifier: Apache-2.0
"""What verification, encryption and the host cost: an answer through all of it, beside the same model alone.

Both sides run the same weights with the same library, threads, context, prompt and number of tokens, in
alternation, so that a noisy machine disturbs both alike. The model alone is the engine's own loop in this
process, without sandbox, socketpair, JSON, sealing, host and HTTP. Once without shaping, so that nothing but
those is measured; once with it, as clients have it: frames of one size at a tick carry so much and no more.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import _report as report
from deploy.local import DEFAULT_MODEL, Place, enclave, free_port, host, vendor_folder
from enclave.engine import llama
from enclave.engine.llama import CHUNK_TOKENS
from enclave.engine.protocol import Conversation, Role, Turn
from enclave.engine.template import ChatTemplate
from models.fetch import fetch
from models.manifest import find_manifest
from sottovoce import transport
from sottovoce.trust import choose_policy
from wire.shaping import DEFAULT, Off, Shaping

PROMPT = "Describe the sea to somebody who has never seen it, at length. This is question number {number}."
TOKENS, CONTEXT_TOKENS, THREADS = 128, 2048, 1
ENGINE = f"[engine]\ncontext_tokens = {CONTEXT_TOKENS}\nthreads = {THREADS}\n"


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer: seconds to its first piece, seconds in all, and how many pieces there were."""

    first_seconds: float
    seconds: float
    pieces: int

    @property
    def tokens_per_second(self) -> float:
        """After the first piece, so that the prompt does not count."""
        return (self.pieces - 1) / (self.seconds - self.first_seconds)


def measure(pieces: Iterator[str]) -> Sample:
    """Time an answer as it comes."""
    start, first, count = time.perf_counter(), 0.0, 0
    for _ in pieces:
        count += 1
        first = first or time.perf_counter() - start
    return Sample(first, time.perf_counter() - start, count)


class Direct:
    """The model in this process."""

    def __init__(self) -> None:
        llama.load_backends()
        weights = str(fetch(find_manifest(DEFAULT_MODEL)))
        self._model = llama.Model(weights, context_tokens=CONTEXT_TOKENS, threads=THREADS)
        model = self._model
        vocabulary = model.vocabulary
        self._template = ChatTemplate(
            model.chat_template, begin=vocabulary.begin_text, end=vocabulary.end_text
        )

    def answer(self, prompt: str) -> Iterator[str]:
        """The greedy answer, token by token."""
        model, vocabulary = self._model, self._model.vocabulary
        rendered = self._template.render(Conversation((Turn(Role.USER, prompt),)))
        tokens = np.array(vocabulary.tokenize(rendered, markers=True), np.int32)
        *before, last = range(0, len(tokens), CHUNK_TOKENS)
        for start in before:
            model.prefill(0, tokens[start : start + CHUNK_TOKENS], last=False)
        logits = model.prefill(0, tokens[last:], last=True)
        assert logits is not None
        for number in range(TOKENS):
            token = int(logits.argmax())
            if vocabulary.is_end(token):
                break
            yield vocabulary.piece(token).decode(errors="replace")
            if number + 1 < TOKENS:
                logits = model.decode([token])[0]
        model.wipe(0)


def run(rounds: int, shaping: Shaping) -> tuple[list[Sample], list[Sample], float]:
    """Alternate; the samples of both sides, and the seconds that verification took."""
    with tempfile.TemporaryDirectory(prefix="sottovoce-benchmark-") as name:
        port = free_port()
        place = Place(Path(name), vendor_folder(), port, f"http://localhost:{port}")
        with enclave(place, extra=ENGINE), host(place):
            policy = choose_policy(place.url, file=place.policy, simulated=True)
            with transport.Connection(place.url, policy, shaping=shaping) as connection:
                start = time.perf_counter()
                connection.verify()
                verification = time.perf_counter() - start
                return *alternate(Direct(), connection, rounds), verification


def alternate(
    direct: Direct, connection: transport.Connection, rounds: int
) -> tuple[list[Sample], list[Sample]]:
    """One round to warm up, then as many as asked for."""
    alone: list[Sample] = []
    through: list[Sample] = []
    for number in range(rounds + 1):
        prompt = PROMPT.format(number=number)
        alone.append(measure(direct.answer(prompt)))
        turns = [transport.Turn("user", prompt)]
        through.append(measure(connection.chat(DEFAULT_MODEL, turns, temperature=0, max_tokens=TOKENS)))
    return alone[1:], through[1:]


def throughput(alone: list[Sample], through: list[Sample]) -> float:
    """The median ratio of tokens per second."""
    pairs = zip(alone, through, strict=True)
    return statistics.median(there.tokens_per_second / here.tokens_per_second for here, there in pairs)


def main() -> int:
    """Measure, and print."""
    options = report.arguments(__doc__ or "", rounds=8)
    alone, through, verification = run(options.rounds, Off())
    beside, framed, _ = run(options.rounds, DEFAULT)
    ratio, shaped = throughput(alone, through), throughput(beside, framed)
    extra = statistics.median(
        (there.first_seconds - here.first_seconds) * 1000 for here, there in zip(alone, through, strict=True)
    )
    rows = [
        [
            name,
            report.spread([sample.tokens_per_second for sample in samples]),
            report.spread([sample.first_seconds * 1000 for sample in samples]),
        ]
        for name, samples in (
            ("model alone", alone),
            ("through client, host, enclave", through),
            ("the same, in frames at a tick", framed),
        )
    ]
    title = f"{TOKENS} tokens, {THREADS} thread, {len(alone)} rounds: median (smallest to largest)"
    report.show(title, ["", "tokens/s", "first token, ms"], rows)
    report.console.print(
        f"throughput ratio {ratio:.3f}, in frames {shaped:.3f}; first token {extra:+.1f} ms, "
        f"verified in {verification * 1000:.1f} ms"
    )
    if options.json:
        report.show_json(
            {
                "benchmark": "overhead",
                "throughput_ratio": round(ratio, 4),
                "throughput_ratio_in_frames": round(shaped, 4),
                "ttft_overhead_ms": round(extra, 2),
                "verification_ms": round(verification * 1000, 2),
                "tokens_per_second_direct": [round(sample.tokens_per_second, 2) for sample in alone],
                "tokens_per_second_enclave": [round(sample.tokens_per_second, 2) for sample in through],
                "model": DEFAULT_MODEL,
                "threads": THREADS,
            }
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
