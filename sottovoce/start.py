# SPDX-License-Identifier: Apache-2.0
"""Where the command begins. What one command needs and another does not is loaded only for that one."""

import importlib
import sys
from collections.abc import Callable
from importlib import metadata


def main() -> int:
    """Run one command and return its exit code."""
    if sys.argv[1:] == ["--version"]:
        sys.stdout.write(metadata.version("sottovoce") + "\n")
        return 0
    if sys.argv[1:2] == ["proxy"]:
        return proxy(sys.argv[2:])
    command: Callable[[], int] = importlib.import_module("sottovoce.__main__").main
    return command()


def proxy(words: list[str]) -> int:
    """`sottovoce proxy`, which alone needs a server."""
    command: Callable[[list[str]], int] = importlib.import_module("sottovoce.proxy").main
    return command(words)
