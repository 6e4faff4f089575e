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
    command: Callable[[], int] = importlib.import_module("sottovoce.__main__").main
    return command()
