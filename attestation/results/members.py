# SPDX-License-Identifier: Apache-2.0
"""Claims of a map, taken out one by one, each of its type; what nobody takes was not expected."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from attestation.results.ear import ResultError
from attestation.results.serialization import Serialization
from attestation.results.values import Value

Claims: TypeAlias = dict[int | str, Value]
Choice = TypeVar("Choice")


def one_of(known: Mapping[Choice, int | str], value: Value) -> Choice:
    for choice, form in known.items():
        if type(value) is type(form) and value == form:
            return choice
    raise ResultError(f"{str(value)[:40]!r} is not a known value")


@dataclass(slots=True)
class Members:
    """The claims of one map, taken out one by one; what is left at the end was not expected."""

    left: Claims
    form: Serialization

    @classmethod
    def of(cls, value: Value, form: Serialization) -> "Members":
        """The claims of a map. Raises ResultError."""
        if not isinstance(value, dict):
            raise ResultError("expected a map of claims")
        return cls(dict(value), form)

    def has(self, claim: str) -> bool:
        """Whether the claim is there and not taken yet."""
        return self.form.key(claim) in self.left

    def take(self, claim: str) -> Value:
        """The claim's value; None where it is missing, which no claim may be."""
        return self.left.pop(self.form.key(claim), None)

    def text(self, claim: str) -> str:
        """A claim that is text. Raises ResultError."""
        value = self.take(claim)
        if not isinstance(value, str):
            raise ResultError(f"expected text as {claim}")
        return value

    def integer(self, claim: str) -> int:
        """A claim that is an integer; JSON's true is none. Raises ResultError."""
        value = self.take(claim)
        if type(value) is not int:
            raise ResultError(f"expected an integer as {claim}")
        return value

    def number(self, claim: str, greatest: int) -> int:
        """A claim that is an integer from 0 to `greatest`. Raises ResultError."""
        value = self.integer(claim)
        if not 0 <= value <= greatest:
            raise ResultError(f"expected a number of up to {greatest} as {claim}")
        return value

    def octets(self, claim: str, size: int) -> bytes:
        """A claim of so many octets. Raises ResultError."""
        value = self.form.read_digest(self.take(claim))
        if len(value) != size:
            raise ResultError(f"expected {size} octets as {claim}")
        return value

    def texts(self, claim: str) -> tuple[str, ...]:
        """A claim that is a list of different texts. Raises ResultError."""
        value = self.take(claim)
        found = tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()
        if not isinstance(value, list) or len(set(found)) != len(value):
            raise ResultError(f"expected a list of different texts as {claim}")
        return found

    def inner(self, claim: str) -> "Members":
        """A claim that is a map. Raises ResultError."""
        return Members.of(self.take(claim), self.form)

    def end(self) -> None:
        """Raise ResultError for claims that nobody took."""
        if self.left:
            raise ResultError(f"unknown claims {', '.join(sorted(map(str, self.left)))[:200]}")
