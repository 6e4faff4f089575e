# SPDX-License-Identifier: Apache-2.0
"""Going on with a conversation from its sealed snapshot, beside computing it again from its first token.

1. In this process, for prompts of several lengths: the prompt decoded in the engine's own steps; then what
   was sealed opened, its tag verified, put back into a slot, and the opened copy overwritten. The logits of
   the token that follows have to be the same to the last bit, or the run fails.
2. Through client, host and enclave: the time to the first piece of a conversation's second turn, in the
   session of its first turn and in a session of its own.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks import _report as report
from deploy.local import DEFAULT_MODEL, Place, enclave, free_port, host, vendor_folder
from enclave.engine import llama
from enclave.engine.llama import CHUNK_TOKENS, Tokens
from enclave.engine.measure import cores
from enclave.engine.sampling import Logits
from enclave.engine.snapshots import SessionMemory
from enclave.engine.state import overwrite
from models.fetch import fetch
from models.manifest import find_manifest
from sottovoce.transport import Connection, Turn
from sottovoce.trust import choose_policy

LENGTHS = (100, 400, 800, 1200)
CONTEXT_TOKENS, MEMORY_BYTES = 1280, 1 << 30
IDENTITY, SESSION = bytes(16), bytes(range(16))
GOAL_RATIO, GOAL_FROM_TOKENS = 40, 400
WORDS = ("river", "stone", "light", "paper", "window", "garden", "winter", "music", "bread", "horse")
FIRST_WORDS, ANSWER_TOKENS = 900, 16


@dataclass(slots=True)
class Times:
    """Milliseconds of every round for one length."""

    prefill: list[float] = field(default_factory=list[float])
    seal: list[float] = field(default_factory=list[float])
    open: list[float] = field(default_factory=list[float])
    restore: list[float] = field(default_factory=list[float])

    @property
    def ratio(self) -> float:
        """How many times as long the prefill takes, as the median of all rounds."""
        resumed = [opening + restoring for opening, restoring in zip(self.open, self.restore, strict=True)]
        return statistics.median(full / again for full, again in zip(self.prefill, resumed, strict=True))

    def document(self) -> dict[str, float]:
        """Medians for machines."""
        medians = {
            "prefill_ms": self.prefill,
            "seal_ms": self.seal,
            "open_ms": self.open,
            "restore_ms": self.restore,
        }
        rounded = {name: round(statistics.median(values), 3) for name, values in medians.items()}
        return rounded | {"ratio": round(self.ratio, 1)}


class Engine:
    """The model, and the memory of sessions."""

    def __init__(self, weights: Path, threads: int) -> None:
        llama.load_backends()
        self._model = llama.Model(str(weights), context_tokens=CONTEXT_TOKENS, threads=threads, slots=1)
        self._memory = SessionMemory(b"benchmark", MEMORY_BYTES)
        self._numbers = np.random.default_rng(1)

    def round(self, length: int, times: Times) -> None:
        """One prompt like no other: decoded, sealed, forgotten, resumed. Ends the run where bits differ."""
        model = self._model
        tokens = self._numbers.integers(100, model.vocabulary.size, length).astype(np.int32)
        start = time.perf_counter()
        token = int(self._prefill(tokens).argmax())
        times.prefill.append(_since(start))
        start = time.perf_counter()
        state = model.save(0)
        self._memory.keep(IDENTITY, SESSION, tokens, state, 0.0)
        overwrite(state)
        times.seal.append(_since(start))
        expected = model.decode([token])[0].copy()
        model.wipe(0)
        start = time.perf_counter()
        recalled = self._memory.recall(IDENTITY, SESSION, 0.0)
        assert recalled is not None, "it was kept"
        opened = recalled.open_state()
        times.open.append(_since(start))
        start = time.perf_counter()
        model.restore(0, opened, length)
        overwrite(opened)
        times.restore.append(_since(start))
        if not np.array_equal(model.decode([token])[0], expected):
            raise SystemExit(f"after {length} tokens the logits are not the same")
        model.wipe(0)

    def _prefill(self, tokens: Tokens) -> Logits:
        logits: Logits | None = None
        for first, stop in pairwise([*range(0, len(tokens), CHUNK_TOKENS), len(tokens)]):
            logits = self._model.prefill(0, tokens[first:stop], last=stop == len(tokens))
        assert logits is not None, "no prompt is empty"
        return logits


def _since(start: float) -> float:
    return (time.perf_counter() - start) * 1000


def measure(weights: Path, threads: int, rounds: int) -> dict[int, Times]:
    """All lengths in turn, after one round of each to warm up."""
    engine, times = Engine(weights, threads), {length: Times() for length in LENGTHS}
    for length in LENGTHS:
        engine.round(length, Times())
    for _ in range(rounds):
        for length in LENGTHS:
            engine.round(length, times[length])
    return times


def second_turns(threads: int, rounds: int) -> tuple[list[float], list[float]]:
    """Milliseconds to the first piece of a second turn: in the same session, and in another."""
    settings = f"[engine]\ncontext_tokens = {CONTEXT_TOKENS}\nthreads = {threads}\n"
    resumed: list[float] = []
    again: list[float] = []
    with tempfile.TemporaryDirectory(prefix="sottovoce-benchmark-") as name:
        port = free_port()
        place = Place(Path(name), vendor_folder(), port, f"http://localhost:{port}")
        with enclave(place, extra=settings), host(place):
            policy = choose_policy(place.url, file=place.policy, simulated=True)
            for number in range(rounds + 1):
                with Connection(place.url, policy) as own, Connection(place.url, policy) as other:
                    for connection in (own, other):
                        connection.open()
                    words = (WORDS[(number + place) * place % len(WORDS)] for place in range(FIRST_WORDS))
                    turns = [Turn("user", f"Story {number}: {' '.join(words)}")]
                    said = "".join(own.chat(DEFAULT_MODEL, turns, temperature=0, max_tokens=ANSWER_TOKENS))
                    turns += [Turn("assistant", said), Turn("user", "What else?")]
                    resumed.append(first_piece(own, turns))
                    again.append(first_piece(other, turns))
    return resumed[1:], again[1:]


def first_piece(connection: Connection, turns: list[Turn]) -> float:
    """Milliseconds to the first piece of an answer, which is then read to its end."""
    start = time.perf_counter()
    pieces = connection.chat(DEFAULT_MODEL, turns, temperature=0, max_tokens=ANSWER_TOKENS)
    next(pieces)
    first = _since(start)
    for _ in pieces:
        pass
    return first


def arguments() -> argparse.Namespace:
    """What is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object on the last line")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="how often, 5 by default")
    parser.add_argument("--threads", type=int, default=cores(), metavar="N", help="of the model")
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="for part 1; the default model's by default"
    )
    return parser.parse_args()


def main() -> int:
    """Measure, and print."""
    options = arguments()
    weights = options.weights or fetch(find_manifest(DEFAULT_MODEL))
    times = measure(weights, options.threads, options.rounds)
    rows = [
        [
            str(length),
            *map(report.spread, (found.prefill, found.seal, found.open, found.restore)),
            f"{found.ratio:.0f}",
        ]
        for length, found in times.items()
    ]
    columns = ["tokens", "prefill, ms", "save and seal", "open", "restore", "ratio"]
    report.show(f"{options.threads} threads, {options.rounds} rounds: median (least to most)", columns, rows)
    resumed, again = second_turns(options.threads, options.rounds)
    rows = [[name, report.spread(values)] for name, values in (("resumed", resumed), ("again", again))]
    report.show("second turn through client, host and enclave", ["", "first piece, ms"], rows)
    least = min(found.ratio for length, found in times.items() if length >= GOAL_FROM_TOKENS)
    report.console.print(f"from {GOAL_FROM_TOKENS} tokens up at least {least:.0f} times (goal {GOAL_RATIO})")
    if options.json:
        print(
            json.dumps(
                {
                    "benchmark": "resume",
                    "threads": options.threads,
                    "by_tokens": {str(length): found.document() for length, found in times.items()},
                    "ratio": {str(length): round(found.ratio, 1) for length, found in times.items()},
                    "least_ratio": round(least, 1),
                    "goal_ratio": GOAL_RATIO,
                    "second_turn_resumed_ms": [round(value, 2) for value in resumed],
                    "second_turn_again_ms": [round(value, 2) for value in again],
                }
            )
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
