# SPDX-License-Identifier: Apache-2.0
"""Markdown on a terminal while it comes: what is finished is printed, the last block is drawn anew."""

import time
from collections.abc import Callable
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.markdown import Markdown
from rich.text import Text

from sottovoce.terminal import printable

SECONDS_BETWEEN_DRAWINGS: Final = 1 / 12
WAITING: Final = Text("...", "dim")  # until the first words come
FENCES: Final = ("```", "~~~")


def finished_blocks(text: str) -> tuple[str, str]:
    """What nothing that follows can change, up to a blank line outside of code, and the rest."""
    end, position, in_code = 0, 0, False
    for line in text.splitlines(keepends=True):
        position += len(line)
        if line.lstrip().startswith(FENCES):
            in_code = not in_code
        elif not in_code and line.strip() == "" and line.endswith("\n"):
            end = position
    return text[:end], text[end:]


class StreamedMarkdown:
    """Draws an answer. Used in a `with`; the end of it leaves the last block as it is.

    It draws in the thread that adds, so that Ctrl-C there meets no drawing that is half done elsewhere.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        """The clock counts seconds."""
        self._console, self._clock = console, clock
        self._rest, self._drawn_at = "", clock()
        self._live = Live(WAITING, console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> "StreamedMarkdown":
        self._live.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._live.update("")
        self._live.stop()
        self._print(self._rest)

    def add(self, piece: str) -> None:
        """Take some more of the answer, without what could move a cursor."""
        finished, self._rest = finished_blocks(self._rest + printable(piece))
        now = self._clock()
        if finished or now - self._drawn_at >= SECONDS_BETWEEN_DRAWINGS:
            self._drawn_at = now
            self._live.update(Markdown(self._rest))
            self._print(finished)
            self._live.refresh()

    def _print(self, text: str) -> None:
        if text.strip():
            self._console.print(Markdown(text))
            self._console.print()
