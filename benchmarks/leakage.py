# SPDX-License-Identifier: Apache-2.0
"""What sizes and times of answers tell of their topic, without shaping and with each kind of it.

Answers of the real model, from a real enclave through a real host, are observed between host and client: one
in five is about an illness, the others are about anything else. All stop after the same number of tokens.
Two attackers (`_attackers`) learn from some and guess the others; what one reaches by guessing blindly is the
prior. With few answers luck goes further: beside it stands what the first attacker reaches, on average and at
most, where the same answers are dealt to topics at random. Bytes are per answer and relative to no shaping.

What was observed is kept in the user's cache for as long as the code that shapes is the same, and a later run
adds to it.
"""

import hashlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import msgspec

from benchmarks import _attackers as attackers
from benchmarks import _report as report
from benchmarks._texts import Text, questions
from benchmarks._traces import Trace
from deploy.local import DEFAULT_MODEL, Place, enclave, free_port, host, vendor_folder
from deploy.wiretap import Place as Tapped
from deploy.wiretap import Recording, wiretap
from sottovoce.chat import Turn
from sottovoce.transport import Connection
from sottovoce.trust import choose_policy
from wire.shaping import Buckets, Frames, Off, Shaping

SCHEMES: dict[str, Shaping] = {"off": Off(), "bucket": Buckets(), "frame": Frames()}
TOKENS = 40
FEWEST = 100  # with fewer, luck decides
ROOT = Path(__file__).resolve().parent.parent
SHAPERS = ("wire/shaping.py", "enclave/shaping.py", "enclave/reply.py", "benchmarks/_texts.py")


def store(scheme: str) -> Path:
    """Where observations of this scheme are kept, one JSON object per line."""
    code = hashlib.sha256(b"".join((ROOT / name).read_bytes() for name in SHAPERS)).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "sottovoce" / "traces" / code / f"{scheme}.jsonl"


def recorded(scheme: str) -> list[Trace]:
    """The observations so far."""
    path = store(scheme)
    lines = path.read_text(encoding="ascii").splitlines() if path.exists() else []
    return [msgspec.json.decode(line, type=Trace) for line in lines]


def record(scheme: str, count: int) -> None:
    """Observe until there are this many."""
    have = len(recorded(scheme))
    if have >= count:
        return
    path = store(scheme)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="ascii") as file:
        for trace in observe(SCHEMES[scheme], islice(questions(), have, count), first_seed=have):
            file.write(msgspec.json.encode(trace).decode() + "\n")
            file.flush()


def observe(shaping: Shaping, texts: Iterator[Text], *, first_seed: int) -> Iterator[Trace]:
    """Ask each question, and say what was seen of its answer."""
    with tempfile.TemporaryDirectory(prefix="sottovoce-benchmark-") as name:
        port, inner = free_port(), free_port()
        place = Place(Path(name), vendor_folder(), inner, f"http://localhost:{port}")
        with enclave(place), host(place), wiretap(Tapped(port=port), Tapped(port=inner)) as recording:
            policy = choose_policy(place.audience, file=place.policy, simulated=True)
            with Connection(place.audience, policy, shaping=shaping) as connection:
                connection.open()
                for seed, text in enumerate(texts, first_seed):
                    yield answer(connection, recording, text, seed)


def answer(connection: Connection, recording: Recording, text: Text, seed: int) -> Trace:
    """One answer, as the application and the observer see it."""
    turns = [Turn("user", text.text)]
    before, begun = len(recording.backward), time.perf_counter()
    arrivals = [
        time.perf_counter()
        for _ in connection.chat(DEFAULT_MODEL, turns, temperature=0.8, seed=seed, max_tokens=TOKENS)
    ]
    complete = time.perf_counter()
    return Trace(
        milliseconds=tuple(round((when - begun) * 1000, 2) for when in recording.backward_seconds[before:]),
        sizes=tuple(len(data) for data in recording.backward[before:]),
        target=text.target,
        first_text_milliseconds=(arrivals[0] - begun) * 1000 if arrivals else 0.0,
        complete_milliseconds=(complete - begun) * 1000,
    )


def measure(count: int) -> dict[str, dict[str, float]]:
    """The figures of each scheme."""
    seen = {scheme: recorded(scheme)[:count] for scheme in SCHEMES}
    plain = statistics.mean(trace.bytes for trace in seen["off"])
    return {
        scheme: {
            "traces": len(traces),
            "prior": attackers.prior(traces),
            "auprc_boosting": attackers.boosting(traces),
            "auprc_language": attackers.language(traces),
            **dict(zip(("chance_mean", "chance_largest"), attackers.chance(traces), strict=True)),
            "bytes_ratio": statistics.mean(trace.bytes for trace in traces) / plain,
            "first_text_ms": statistics.median(trace.first_text_milliseconds for trace in traces),
            "complete_ms": statistics.median(trace.complete_milliseconds for trace in traces),
        }
        for scheme, traces in seen.items()
    }


def main() -> int:
    """Observe what is missing, and let the attackers guess."""
    options = report.arguments(__doc__ or "", rounds=150)
    if options.rounds < FEWEST:
        report.console.print(f"an attacker needs at least {FEWEST} answers to learn from")
        return 2
    for scheme in SCHEMES:
        record(scheme, options.rounds)
    figures = measure(options.rounds)
    rows = [
        [
            scheme,
            f"{row['prior']:.3f}",
            f"{row['chance_mean']:.3f} to {row['chance_largest']:.3f}",
            f"{row['auprc_boosting']:.3f}",
            f"{row['auprc_language']:.3f}",
            f"{row['bytes_ratio']:.2f}",
            f"{row['first_text_ms']:.0f}",
            f"{row['complete_ms']:.0f}",
        ]
        for scheme, row in figures.items()
    ]
    columns = ["", "prior", "luck", "boosting", "n-grams", "bytes", "first text, ms", "complete, ms"]
    report.show(f"AUPRC of the topic of {options.rounds} answers of {TOKENS} tokens", columns, rows)
    if options.json:
        summary = {
            "prior": {scheme: row["prior"] for scheme, row in figures.items()},
            "auprc": {
                scheme: max(row["auprc_boosting"], row["auprc_language"]) for scheme, row in figures.items()
            },
            "bytes_ratio": {scheme: row["bytes_ratio"] for scheme, row in figures.items()},
        }
        report.show_json({"benchmark": "leakage", **summary, "schemes": figures, "model": DEFAULT_MODEL})
    return 0


if __name__ == "__main__":
    sys.exit(main())
