# SPDX-License-Identifier: Apache-2.0
"""Commands that show by examples what they are for."""

import argparse
from collections.abc import Sequence
from typing import Protocol


class Commands(Protocol):
    """What `ArgumentParser.add_subparsers` returns."""

    def add_parser(
        self,
        name: str,
        *,
        parents: Sequence[argparse.ArgumentParser],
        help: str,  # noqa: A002 - the library's word
        description: str,
        epilog: str,
        formatter_class: type[argparse.HelpFormatter],
    ) -> argparse.ArgumentParser:
        """Add one."""
        ...


def with_examples(
    commands: Commands,
    name: str,
    purpose: str,
    *examples: str,
    parents: Sequence[argparse.ArgumentParser] = (),
    more: str = "",
) -> argparse.ArgumentParser:
    """Add a command that says what it is for, with examples, and what is to be said after them."""
    shown = "".join(f"  {example}\n" for example in examples)
    return commands.add_parser(
        name,
        parents=list(parents),
        help=purpose,
        description=purpose[0].upper() + purpose[1:] + ".",
        epilog=f"examples:\n{shown}" + (f"\n{more}" if more else ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
