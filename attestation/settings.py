# SPDX-License-Identifier: Apache-2.0
"""Readers of the values that occur in a policy's TOML. Each takes the name to complain about; PolicyError."""

import re
from collections.abc import Mapping
from enum import Enum
from typing import Final, TypeAlias

Toml: TypeAlias = "bool | int | float | str | list[Toml] | dict[str, Toml]"


class PolicyError(Exception):
    """A policy's text or values are not what `parse_policy` describes."""


class AnyValue(Enum):
    """Accept every value: said openly, because a list that is left out must not mean it by accident."""

    ANY = "any"


class Requirement(Enum):
    """What a policy says about one bit."""

    REQUIRED = "required"
    FORBIDDEN = "forbidden"
    ANY = "any"


ANY: Final = AnyValue.ANY


def check_names(
    table: Mapping[str, Toml], *, required: frozenset[str], optional: frozenset[str], where: str
) -> None:
    """Refuse a setting that is missing, and one that nothing reads."""
    if missing := required - table.keys():
        raise PolicyError(f"{where} needs {', '.join(sorted(missing))}")
    if unknown := table.keys() - required - optional:
        raise PolicyError(f"{where} has no setting {', '.join(sorted(unknown))}")


def table_of(value: Toml, name: str) -> dict[str, Toml]:
    """A table."""
    if not isinstance(value, dict):
        raise PolicyError(f"expected a table as {name}")
    return value


def texts(value: Toml, name: str) -> list[str]:
    """A list of texts, none twice."""
    if not isinstance(value, list):
        raise PolicyError(f"expected a list as {name}")
    found = [item for item in value if isinstance(item, str)]
    if len(found) != len(value) or len(set(found)) != len(found):
        raise PolicyError(f"expected different texts in {name}")
    return found


def texts_or_any(value: Toml, name: str) -> frozenset[str] | AnyValue:
    """A list of texts, or "any"."""
    return ANY if value == ANY.value else frozenset(texts(value, name))


def integer(value: Toml, name: str) -> int:
    """An integer from 0."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise PolicyError(f"expected a non-negative integer as {name}")
    return value


def integers(value: Toml, name: str, largest: int) -> frozenset[int]:
    """A list of integers from 0 to `largest`, none twice."""
    if not isinstance(value, list):
        raise PolicyError(f"expected a list as {name}")
    found = [integer(item, name) for item in value]
    if len(set(found)) != len(found) or any(item > largest for item in found):
        raise PolicyError(f"expected different integers up to {largest} in {name}")
    return frozenset(found)


def boolean(value: Toml, name: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise PolicyError(f"expected true or false as {name}")
    return value


def digests(value: Toml, name: str, size: int) -> frozenset[bytes]:
    """A list of byte strings of one size in lower case hexadecimal."""
    found = texts(value, name)
    for text in found:
        if not re.fullmatch(f"[0-9a-f]{{{2 * size}}}", text):
            raise PolicyError(f"expected {2 * size} lower case hexadecimal digits in {name}, found {text!r}")
    return frozenset(bytes.fromhex(text) for text in found)


def digests_or_any(value: Toml, name: str, size: int) -> frozenset[bytes] | AnyValue:
    """A list of byte strings, or "any"."""
    return ANY if value == ANY.value else digests(value, name, size)


def requirements(value: Toml, name: str, bits: frozenset[str]) -> dict[str, Requirement]:
    """A table that says "required", "forbidden" or "any" about some of the named bits."""
    table = table_of(value, name)
    check_names(table, required=frozenset(), optional=bits, where=f"[{name}]")
    return {bit: _requirement(word, f"{name}.{bit}") for bit, word in table.items()}


def _requirement(value: Toml, name: str) -> Requirement:
    for requirement in Requirement:
        if value == requirement.value:
            return requirement
    raise PolicyError(f'expected "required", "forbidden" or "any" as {name}')
