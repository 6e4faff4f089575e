# SPDX-License-Identifier: Apache-2.0
"""Spoil good inputs for as long as asked, and stop at the first exception that a parser may not raise."""

import argparse
import sys
import time
from random import Random

from tests.fuzz.mutations import mutate
from tests.fuzz.targets import Target, targets

ROUNDS_BETWEEN_LOOKS = 50


def fuzz(target: Target, random: Random, seconds: float) -> int:
    """How many spoiled inputs one parser took. Raises what the parser may not raise."""
    count, deadline = 0, time.monotonic() + seconds
    while time.monotonic() < deadline:
        for _ in range(ROUNDS_BETWEEN_LOOKS):
            spoiled = mutate(random, random.choice(target.seeds), random.choice(target.seeds))
            count += 1
            try:
                target.parse(spoiled)
            except target.errors:
                continue
            except BaseException:
                sys.stderr.write(f"{target.name} failed on {spoiled.hex()}\n")
                raise
    return count


def main() -> int:
    """Give each parser its share of the time."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Spoil bytes for every parser.")
    parser.add_argument("--seconds", type=float, default=120.0, metavar="N", help="how long in all (120)")
    parser.add_argument("--seed", type=int, default=time.time_ns(), metavar="N", help="repeat an earlier run")
    options = parser.parse_args()
    sys.stdout.write(f"seed {options.seed}\n")
    random, found = Random(options.seed), targets()
    for target in found:
        count = fuzz(target, random, options.seconds / len(found))
        sys.stdout.write(f"{target.name:<28} {count:>8} inputs, {len(target.seeds)} seeds\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
