# SPDX-License-Identifier: Apache-2.0
"""Many streams at once: our enclave through host and client, beside servers that speak in clear.

All serve the same file of weights with the same number of threads, slots and room for each conversation, and
take turns within one run. Ours is asked through the real client: every request sealed, every piece of an
answer opened. llama-server comes from the same source as the library in use: `python -m deploy.llama.peer`
builds it. `llama_cpp.server` takes part where `--peer-python` names an interpreter that has its packages.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from benchmarks import _load, _report
from benchmarks._load import Ours, Peer, Run, Target
from deploy.llama.peer import PROGRAM, peer_folder
from deploy.local import DEFAULT_MODEL, Place, enclave, free_port, host, running, vendor_folder
from enclave.engine.measure import cores
from models.fetch import fetch
from models.manifest import find_manifest
from sottovoce.transport import Connection
from sottovoce.trust import choose_policy
from wire.shaping import parse_shaping

CONTEXT_TOKENS = 1280
OURS, LLAMA_SERVER, LLAMA_CPP_SERVER = "sottovoce", "llama-server", "llama_cpp.server"
# The tokens with which this model ends an answer.
ENDINGS = {"0": -100.0, "2": -100.0}
START_SECONDS = 120.0
# llama-server closes a connection that is idle without a word, and a request on it would be lost.
ONE_REQUEST_EACH = httpx.Limits(max_keepalive_connections=0)
Rows = dict[str, dict[str, list[dict[str, float]]]]


def arguments() -> argparse.Namespace:
    """What is measured; the whole takes long, so it can be run in parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object on the last line")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="how often, 3 by default")
    parser.add_argument("--threads", type=int, default=cores(), metavar="N", help="of every server")
    parser.add_argument("--slots", type=int, default=32, metavar="N", help="of every server")
    parser.add_argument("--streams", default="1,4,8,16,32", metavar="N,...", help="of the uniform part")
    parser.add_argument("--parts", default="uniform,ragged,long", metavar="NAME,...")
    parser.add_argument("--shaping", default="off", metavar="VALUE", help="of our answers, off by default")
    parser.add_argument("--peer-python", type=Path, metavar="FILE", help="runs llama_cpp.server")
    return parser.parse_args()


@contextmanager
def ours(folder: Path, options: argparse.Namespace) -> Generator[tuple[Target, list[int]]]:
    """A running enclave and host, asked by one client."""
    port = free_port()
    place = Place(folder, vendor_folder(), port, f"http://localhost:{port}")
    engine = (
        f"[engine]\ncontext_tokens = {CONTEXT_TOKENS}\nthreads = {options.threads}\nslots = {options.slots}\n"
        f"waiting_requests = 64\n"
    )
    with enclave(place, extra=engine) as inside, host(place) as outside:
        policy = choose_policy(place.url, file=place.policy, simulated=True)
        with Connection(place.url, policy, shaping=parse_shaping(options.shaping)) as connection:
            connection.verify()
            yield Ours(OURS, connection, DEFAULT_MODEL, ENDINGS), [inside.pid, outside.pid]


@contextmanager
def peer(
    name: str, command: list[str], folder: Path, port: int, extra: dict[str, object]
) -> Generator[tuple[Target, list[int]]]:
    """A running server in clear."""
    with (
        running(name, command, folder, folder / f"{name}.log") as process,
        httpx.Client(
            base_url=f"http://127.0.0.1:{port}", timeout=600, trust_env=False, limits=ONE_REQUEST_EACH
        ) as http,
    ):
        wait_until_answering(http, process)
        yield Peer(name, http, DEFAULT_MODEL, extra), [process.pid]


def wait_until_answering(http: httpx.Client, process: "subprocess.Popen[bytes]") -> None:
    """Wait for the list of models."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if http.get("/v1/models").is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise SystemExit("a server to compare with did not start")


def llama_server(port: int, options: argparse.Namespace) -> list[str]:
    """llama.cpp's own server."""
    context = CONTEXT_TOKENS * options.slots
    weights = str(fetch(find_manifest(DEFAULT_MODEL)))
    numbers = {"-t": options.threads, "-tb": options.threads, "-np": options.slots, "-c": context}
    settings = [str(part) for pair in numbers.items() for part in pair]
    return [
        str(peer_folder() / PROGRAM),
        "-m",
        weights,
        *settings,
        *("-fa", "on", "--host", "127.0.0.1", "--port", str(port)),
    ]


def llama_cpp_server(port: int, options: argparse.Namespace) -> list[str]:
    """The server of the bindings, which answers one request at a time."""
    return [
        str(options.peer_python),
        *("-m", "llama_cpp.server", "--model", str(fetch(find_manifest(DEFAULT_MODEL)))),
        *("--n_threads", str(options.threads), "--n_threads_batch", str(options.threads)),
        *("--n_ctx", str(CONTEXT_TOKENS), "--interrupt_requests", "false"),
        *("--host", "127.0.0.1", "--port", str(port)),
    ]


def memory_mib(processes: list[int]) -> float:
    """The proportional memory of processes and their children."""
    total = 0
    for process in processes:
        children = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii").split()
        for each in (process, *map(int, children)):
            rollup = Path(f"/proc/{each}/smaps_rollup").read_text(encoding="ascii")
            total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return round(total / 1024, 1)


def measure(targets: list[Target], options: argparse.Namespace) -> Rows:
    """Every part for every target in turn, as many rounds as asked for after a short warm-up."""
    rows: Rows = {}
    for target in targets:
        _load.load(target, [(_load.prompt_of(20, 1), 8)], 1)
    for number in range(options.rounds):
        order = targets if number % 2 == 0 else targets[::-1]
        for part in parts(options):
            for target in order:
                row = run_part(part, target, 10_000 * (number + 1)).row()
                rows.setdefault(part, {}).setdefault(target.name, []).append(row)
                _report.console.print(f"{part:12} {target.name:18} {row}")
    return rows


def parts(options: argparse.Namespace) -> list[str]:
    """The names of what is measured."""
    uniform = [f"uniform {streams}" for streams in options.streams.split(",")]
    names = {"uniform": uniform, "ragged": ["ragged 16"], "long": ["long"]}
    return [part for name in options.parts.split(",") for part in names[name]]


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
        "model": DEFAULT_MODEL,
        "threads": options.threads,
        "slots": options.slots,
        "rounds": options.rounds,
        "ratio_to_llama_server": {part.split()[1]: ratio(rows, part, LLAMA_SERVER) for part in uniform},
        "ratio_to_llama_server_ragged_16": ratio(rows, "ragged 16", LLAMA_SERVER),
        "itl_p99_ratio_long_prompts": ratio(rows, "long", LLAMA_SERVER, "itl_p99_ms"),
        "ratio_to_llama_cpp_server_16": ratio(rows, "uniform 16", LLAMA_CPP_SERVER),
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
    with tempfile.TemporaryDirectory(prefix="sottovoce-benchmark-") as name, ExitStack() as stack:
        started = [stack.enter_context(ours(Path(name), options))]
        if (peer_folder() / PROGRAM).exists():
            port = free_port()
            command = llama_server(port, options)
            extra: dict[str, object] = {"ignore_eos": True, "cache_prompt": False}
            started.append(stack.enter_context(peer(LLAMA_SERVER, command, Path(name), port, extra)))
        else:
            sys.stderr.write("llama-server is not built: run python -m deploy.llama.peer\n")
        if options.peer_python:
            port = free_port()
            command = llama_cpp_server(port, options)
            biased: dict[str, object] = {"logit_bias": ENDINGS}
            started.append(stack.enter_context(peer(LLAMA_CPP_SERVER, command, Path(name), port, biased)))
        rows = measure([target for target, _ in started], options)
        memory = {target.name: memory_mib(processes) for target, processes in started}
    show(rows)
    if options.json:
        _report.show_json(result(rows, memory, options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
