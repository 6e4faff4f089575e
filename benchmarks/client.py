# SPDX-License-Identifier: Apache-2.0
"""What the client costs its user: the start of the command, and an answer beside plain HTTP.

The answers come from the same engine, weights, threads and questions, in alternation: once over plain HTTP,
once from an enclave over a session that is open. Streams are unshaped, so that the tick does not hide what is
compared.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import _report as report
from benchmarks.session import Sample, alternate, encrypted, plain

COMMAND = Path(sys.executable).parent / "sottovoce"
GOAL_START_SECONDS, GOAL_OVERHEAD_MS = 0.15, 5.0


def start_seconds(*words: str) -> float:
    """One start of a command, from its beginning to its end."""
    start = time.perf_counter()
    subprocess.run(words, check=True, capture_output=True)
    return time.perf_counter() - start


def first_ms(samples: list[Sample]) -> list[float]:
    """Milliseconds until the first piece of each answer."""
    return [sample.first_seconds * 1000 for sample in samples]


def main() -> int:
    """Measure, and print."""
    options = report.arguments(__doc__ or "", rounds=10)
    starts = [start_seconds(str(COMMAND), "--version") for _ in range(options.rounds + 1)][1:]
    bare = [start_seconds(sys.executable, "-c", "pass") for _ in range(options.rounds + 1)][1:]
    with plain() as without, encrypted() as through:
        here, there = alternate(options.rounds, 1, (without, through))
    extra = statistics.median(b - a for a, b in zip(first_ms(here), first_ms(there), strict=True))
    rows = [
        ["sottovoce --version, ms", report.spread([seconds * 1000 for seconds in starts])],
        ["python -c pass, ms", report.spread([seconds * 1000 for seconds in bare])],
        ["first piece over plain HTTP, ms", report.spread(first_ms(here))],
        ["first piece from the enclave, ms", report.spread(first_ms(there))],
    ]
    report.show(f"{options.rounds} rounds: median (smallest to largest)", ["", ""], rows)
    report.console.print(
        f"start {statistics.median(starts):.3f} s (goal {GOAL_START_SECONDS}), "
        f"overhead {extra:+.1f} ms (goal {GOAL_OVERHEAD_MS})"
    )
    if options.json:
        report.show_json(
            {
                "benchmark": "client",
                "version_seconds": round(statistics.median(starts), 4),
                "interpreter_seconds": round(statistics.median(bare), 4),
                "first_piece_overhead_ms": round(extra, 2),
                "first_piece_plain_ms": [round(value, 2) for value in first_ms(here)],
                "first_piece_enclave_ms": [round(value, 2) for value in first_ms(there)],
            }
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
