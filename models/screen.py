# SPDX-License-Identifier: Apache-2.0
"""What a person sees of the command for models. Colours and bars only on a terminal."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from models.fetch import Progress, silent
from models.manifest import Manifest, ToolFormat
from models.requantise import Measurement

# With NO_COLOR there are neither colours nor bold or dim letters, and nothing moves.
COLOURS: Final = None if os.environ.get("NO_COLOR") else "auto"
notes = Console(stderr=True, highlight=False, color_system=COLOURS)
paper = Console(highlight=False, color_system=COLOURS)


@contextmanager
def progress(*, shown: bool) -> Generator[Progress]:
    """A bar on a terminal, and nothing elsewhere."""
    if not shown or not _draws():
        yield silent
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Bars(*columns, console=notes, transient=True) as bars:
        task = bars.add_task("", total=None)

        def show(what: str, done: int, total: int) -> None:
            bars.update(task, description=what, completed=done, total=total)

        yield show


@contextmanager
def working(what: str, *, shown: bool) -> Generator[None]:
    """Say what takes long; on a terminal something moves."""
    if not shown:
        yield
    elif _draws():
        with notes.status(what):
            yield
    else:
        notes.print(Text(f"{what} ..."))
        yield


def _draws() -> bool:
    """Whether somebody looks who wants to see something move."""
    return notes.is_terminal and COLOURS is not None


def show_models(models: list[dict[str, object]]) -> None:
    """One row for each model."""
    table = Table()
    for heading in ("name", "fetched", "size", "format", "context", "tools", "licence"):
        table.add_column(
            heading, overflow="fold", justify="right" if heading in ("size", "context") else "left"
        )
    for model in models:
        fetched = Text("yes", "green") if model["fetched"] else Text("no", "dim")
        size = f"{int(str(model['size_bytes'])) / 1e6:,.0f} MB"
        texts = (size, model["quantisation"], model["context_tokens"], model["tools"], model["licence"])
        table.add_row(Text(str(model["name"]), "bold"), fetched, *(Text(str(text)) for text in texts))
    paper.print(table)


def show_verified(manifest: Manifest, path: Path) -> None:
    """What was found to be true of a file."""
    paper.print(Text(f"VERIFIED: {path}", "bold green"))
    rows = {
        "model": f"{manifest.name} ({manifest.title})",
        "sha256": manifest.digest.hex(),
        "size": f"{manifest.size_bytes:,} bytes",
        "licence": manifest.licence,
        "format": f"{manifest.architecture}, {manifest.quantisation}, context {manifest.context_tokens:,}",
        "chat template": manifest.template.hex() if manifest.template else "none: completes texts only",
        "tools": "no" if manifest.tools is ToolFormat.NONE else manifest.tools.value,
    }
    grid = Table.grid(padding=(0, 2))
    for name, value in rows.items():
        grid.add_row(Text(name, "dim"), Text(value, overflow="fold"))
    paper.print(grid)


def show_comparison(old: Manifest, before: Measurement, new: Manifest, after: Measurement) -> None:
    """Cost in quality beside gain in speed."""
    table = Table(title=f"{before.tokens} tokens of fixed text, {before.threads} threads")
    table.add_column("")
    for manifest in (old, new):
        table.add_column(manifest.quantisation, justify="right")
    table.add_column("change", justify="right")
    rows = (
        ("perplexity (less is better)", before.perplexity, after.perplexity, ".2f"),
        ("reading, tokens/s", before.prefill_tokens_per_second, after.prefill_tokens_per_second, ".0f"),
        ("writing, tokens/s", before.decode_tokens_per_second, after.decode_tokens_per_second, ".0f"),
        ("size, MB", old.size_bytes / 1e6, new.size_bytes / 1e6, ".0f"),
    )
    for name, first, second, form in rows:
        table.add_row(name, format(first, form), format(second, form), f"{second / first - 1:+.1%}")
    notes.print(table)


def complain(sentence: str) -> None:
    """Say what went wrong."""
    notes.print(Text("".join(c for c in sentence if c.isprintable() or c == "\n"), "bold red"))
