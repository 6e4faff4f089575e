# SPDX-License-Identifier: Apache-2.0
"""The form that all benchmarks share: a table for people, and with --json one object on the last line."""

import argparse
import json
import statistics

from rich.console import Console
from rich.table import Table

console = Console(highlight=False)


def arguments(description: str, *, rounds: int) -> argparse.Namespace:
    """The options of every benchmark: `--json` and `--rounds N`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="print one JSON object on the last line")
    parser.add_argument(
        "--rounds", type=int, default=rounds, metavar="N", help=f"how often, {rounds} by default"
    )
    return parser.parse_args()


def spread(values: list[float]) -> str:
    """Median with the smallest and largest value."""
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def show(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table."""
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def show_json(result: dict[str, object]) -> None:
    """Print the result for machines, on one line."""
    print(json.dumps(result))
