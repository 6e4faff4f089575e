# SPDX-License-Identifier: Apache-2.0
"""Store a model's weights in another format, and measure what that costs and gains.

llama.cpp runs in a process of its own, `models.llama`: it ends its process on many faults.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from models.describe import describe
from models.fetch import weights_path
from models.manifest import Manifest, ManifestError

# Numbers are llama.cpp's. These are the ones with kernels that suit the CPUs of confidential machines.
TYPES = {"Q4_0": 2, "Q8_0": 7, "IQ4_NL": 25}
SECONDS = 3600


class RequantiseError(Exception):
    """llama.cpp could not make or measure the weights."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """Quality and speed of one file on this machine. Of perplexity less is better."""

    perplexity: float
    tokens: int
    threads: int
    prefill_tokens_per_second: float
    decode_tokens_per_second: float

    def numbers(self) -> dict[str, float]:
        """All of it by name."""
        return asdict(self)


def requantise(old: Manifest, path: Path, kind: str, name: str | None) -> tuple[Manifest, Path]:
    """Make a new file in the cache, named by its digest; its manifest and where it is.

    Raises RequantiseError, GgufError and ManifestError.
    """
    if old.quantisation == kind:
        raise ManifestError(f"{old.name} is stored as {kind} already")
    unfinished = path.with_name(f"{old.digest.hex()}.{kind}.{os.getpid()}.new")
    try:
        _llama("convert", str(path), str(unfinished), str(TYPES[kind]))
        made = describe(unfinished, name=name or f"{old.name}-{kind.lower()}")
        made = replace(made, title=f"{old.title}, requantised to {kind}"[:200], licence=old.licence)
        destination = weights_path(made)
        unfinished.replace(destination)
    finally:
        unfinished.unlink(missing_ok=True)
    return made, destination


def measure(path: Path) -> Measurement:
    """Perplexity on the fixed text, and speed. Raises RequantiseError."""
    found: dict[str, float] = json.loads(_llama("measure", str(path)))
    return Measurement(
        perplexity=found["perplexity"],
        tokens=int(found["tokens"]),
        threads=int(found["threads"]),
        prefill_tokens_per_second=found["prefill_tokens_per_second"],
        decode_tokens_per_second=found["decode_tokens_per_second"],
    )


def _llama(*arguments: str) -> str:
    """Run llama.cpp in a process of its own; what it printed."""
    command = [sys.executable, "-P", "-m", "models.llama", *arguments]
    done = subprocess.run(  # noqa: S603 - our own interpreter and module
        command, capture_output=True, text=True, check=False, timeout=SECONDS
    )
    if done.returncode:
        last = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise RequantiseError(f"llama.cpp failed: {last}")
    return done.stdout
