# SPDX-License-Identifier: Apache-2.0
"""Many streams at once: our enclave through host and client, beside servers that speak in clear.

All serve the same file of weights with the same number of threads, slots and room for each conversation, and
take turns within one run. Ours is asked through the real client: every request sealed, every piece of an
answer opened; without shaping, which would have it leave at a tick. The others come from the source of the
library in use: `python -m deploy.llama.peer` builds them once. Those in Python take part with 16 streams.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks import _load, _report
from benchmarks._load import Run, Target
from benchmarks._servers import EXAMPLE_SERVER, LLAMA_CPP_SERVER, LLAMA_SERVER, OTHERS, OURS, ours, peer
from deploy.llama.peer import EXAMPLE, peer_folder
from deploy.local import DEFAULT_MODEL
from enclave.engine.measure import cores

# The servers in Python take so long that they take part where the comparison is asked for.
PYTHON_PART = "uniform 16"
PARTS = ("uniform", "ragged", "long")
Rows = dict[str, dict[str, list[dict[str, float]]]]


def arguments() -> argparse.Namespace:
    """What is measured; the whole takes long, so it can be run in parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object on the last line")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="how often, 3 by default")
    parser.add_argument("--threads", type=int, default=cores(), metavar="N", help="of every server")
    parser.add_argument("--slots", type=int, default=32, metavar="N", help="of every server")
    parser.add_argument(
        "--streams", type=counts, default="1,4,8,16,32", metavar="N,...", help="of the uniform part"
    )
    parser.add_argument("--parts", type=part_names, default=",".join(PARTS), metavar="NAME,...")
    parser.add_argument("--shaping", default="off", metavar="VALUE", help="of our answers, off by default")
    parser.add_argument("--model", default=DEFAULT_MODEL, metavar="NAME", help="one of sottovoce-models list")
    parser.add_argument("--without", default="", metavar="NAME,...", help="leave out some of the others")
    return parser.parse_args()


def with_children(processes: list[int]) -> list[int]:
    """Processes and their children."""
    found: list[int] = []
    for process in processes:
        children = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii").split()
        found += [process, *map(int, children)]
    return found


def memory_mib(processes: list[int]) -> float:
    """The proportional memory of processes and their children."""
    total = 0
    for process in with_children(processes):
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii")
        total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return round(total / 1024, 1)


def cpu_seconds(processes: list[int]) -> dict[str, float]:
    """What the client, and processes with their children by their module, have computed so far."""
    found = {"client": time.process_time()}
    for process in with_children(processes):
        command = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
        times = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        name = command[command.index(b"-m") + 1].decode()
        found[name] = (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")
    return found


def measure(targets: list[Target], options: argparse.Namespace) -> Rows:
    """Every part for every target in turn, as many rounds as asked for after a short warm-up."""
    rows: Rows = {}
    for target in targets:
        _load.load(target, [(_load.prompt_of(20, 1), 8)], 1)
    for number in range(options.rounds):
        order = targets if number % 2 == 0 else targets[::-1]
        for part in parts(options):
            for target in order:
                if target.name in (LLAMA_CPP_SERVER, EXAMPLE_SERVER) and part != PYTHON_PART:
                    continue
                row = run_part(part, target, 10_000 * (number + 1)).row()
                rows.setdefault(part, {}).setdefault(target.name, []).append(row)
                _report.console.print(f"{part:12} {target.name:18} {row}")
    return rows


def counts(text: str) -> list[int]:
    """Numbers of streams. Raises ValueError."""
    return [int(word) for word in text.split(",")]


def part_names(text: str) -> list[str]:
    """Some of PARTS. Raises ArgumentTypeError."""
    names = text.split(",")
    if unknown := [name for name in names if name not in PARTS]:
        raise argparse.ArgumentTypeError(f"no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    return names


def parts(options: argparse.Namespace) -> list[str]:
    """The names of what is measured."""
    uniform = [f"uniform {streams}" for streams in options.streams]
    names = {"uniform": uniform, "ragged": ["ragged 16"], "long": ["long"]}
    return [part for name in options.parts for part in names[name]]


def run_part(part: str, target: Target, seed: int) -> Run:
    """One part for one target."""
    kind, _, streams = part.partition(" ")
    match kind:
        case "uniform":
            return _load.uniform(target, int(streams), seed)
        case "ragged":
            return _load.ragged(target, int(streams), seed)
        case _:
            return _load.long_prompts(target, seed)


def ratio(rows: Rows, part: str, other: str, figure: str = "tokens_per_second") -> float | None:
    """The median over rounds of ours to another's; None where either was not measured."""
    here, there = (rows.get(part, {}).get(name) for name in (OURS, other))
    if not here or not there:
        return None
    return round(statistics.median(a[figure] / b[figure] for a, b in zip(here, there, strict=True)), 3)


def result(rows: Rows, memory: dict[str, float], options: argparse.Namespace) -> dict[str, object]:
    """The figures for machines."""
    uniform = [part for part in rows if part.startswith("uniform")]
    return {
        "benchmark": "engine",
        "model": options.model,
        "threads": options.threads,
        "slots": options.slots,
        "rounds": options.rounds,
        "ratio_to_llama_server": {part.split()[1]: ratio(rows, part, LLAMA_SERVER) for part in uniform},
        "ratio_to_llama_server_ragged_16": ratio(rows, "ragged 16", LLAMA_SERVER),
        "itl_p99_ratio_long_prompts": ratio(rows, "long", LLAMA_SERVER, "itl_p99_ms"),
        "ratio_to_llama_cpp_server_16": ratio(rows, PYTHON_PART, LLAMA_CPP_SERVER),
        "ratio_to_examples_server_16": ratio(rows, PYTHON_PART, EXAMPLE_SERVER),
        "memory_mib": memory,
        "rows": rows,
    }


def show(rows: Rows) -> None:
    """A table of medians for people."""
    table = [
        [part, name, *(f"{statistics.median(run[figure] for run in runs):.1f}" for figure in runs[0])]
        for part, by_name in rows.items()
        for name, runs in by_name.items()
    ]
    figures = next(iter(next(iter(rows.values())).values()))[0]
    _report.show("medians", ["part", "server", *figures], table)


def main() -> int:
    """Measure, and print."""
    options = arguments()
    others = [other for other in OTHERS if other not in options.without.split(",")]
    if not (peer_folder() / EXAMPLE).exists():
        sys.stderr.write("ours alone: the others are not built; python -P -m deploy.llama.peer does it\n")
        others = []
    with tempfile.TemporaryDirectory(prefix="sottovoce-benchmark-") as name, ExitStack() as stack:
        started = [stack.enter_context(ours(Path(name), options))]
        started += [stack.enter_context(peer(other, Path(name), options)) for other in others]
        before = cpu_seconds(started[0][1])
        rows = measure([target for target, _ in started], options)
        memory = {target.name: memory_mib(processes) for target, processes in started}
        after = cpu_seconds(started[0][1])
    show(rows)
    shares = {name: round(after[name] - before[name], 2) for name in after}
    _report.console.print(f"processor seconds of ours: {shares}")
    if options.json:
        _report.show_json(result(rows, memory, options) | {"cpu_seconds": shares})
    return 0


if __name__ == "__main__":
    sys.exit(main())
