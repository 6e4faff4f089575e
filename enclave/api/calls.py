# SPDX-License-Identifier: Apache-2.0
"""Calls of tools in what a model writes, found while the text still arrives.

What looks like a call and is none, or calls what was not offered, stays text: nothing is lost.
"""

from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from enclave.api.call_forms import LLAMA3, TAGGED, CallForm


@dataclass(frozen=True, slots=True)
class Call:
    """One call; `arguments` is JSON as text."""

    name: str = field(repr=False)
    arguments: str = field(repr=False)
    identifier: str


Said = str | Call


class CallReader(Protocol):
    """Takes the text of one choice as it arrives, and gives text and calls."""

    called: bool

    def receive(self, text: str) -> list[Said]:
        """Take some text."""
        ...

    def end(self) -> list[Said]:
        """Nothing more comes."""
        ...


def call_reader(offered: frozenset[str], form: CallForm = TAGGED) -> CallReader:
    """What looks for calls of these functions in this form; for none where none is offered."""
    if not offered:
        return _NoCalls()
    return _LeadingCall(offered, form) if form is LLAMA3 else _TaggedCalls(offered, form)


class _NoCalls:
    """Everything is text."""

    called = False

    def receive(self, text: str) -> list[Said]:
        return [text] if text else []

    def end(self) -> list[Said]:
        return []


class _TaggedCalls:
    """Calls stand behind a tag, up to another one or to the end."""

    def __init__(self, offered: frozenset[str], form: CallForm) -> None:
        self._offered, self._form, self._held = offered, form, ""
        self._inside = self._after_call = self.called = False

    def receive(self, text: str) -> list[Said]:
        self._held += text
        said: list[Said] = []
        while tag := self._form.end if self._inside else self._form.begin:
            before, found, rest = self._held.partition(tag)
            if not found:
                break
            self._held = rest
            said += self._calls(before, tag) if self._inside else self._text(before)
            self._inside = not self._inside
        if not self._inside:
            free = len(self._held) - _overlap(self._held, self._form.begin)
            ready, self._held = self._held[:free], self._held[free:]
            said += self._text(ready)
        return said

    def end(self) -> list[Said]:
        """A call without its end counts if it is whole."""
        held, self._held = self._held, ""
        return self._calls(held, "") if self._inside else self._text(held)

    def _text(self, text: str) -> list[Said]:
        """Text, without the white space that follows a call: it is part of how calls are written."""
        if self._after_call:
            text = text.lstrip()
        self._after_call = self._after_call and not text
        return [text] if text else []

    def _calls(self, written: str, end: str) -> list[Said]:
        calls = _read(written, self._offered, self._form)
        if not calls:
            return [self._form.begin + written + end]
        self._after_call = self.called = True
        return [*calls]


class _LeadingCall:
    """A call is the whole answer, so the first character tells whether it can be one."""

    def __init__(self, offered: frozenset[str], form: CallForm) -> None:
        self._offered, self._form, self._held = offered, form, ""
        self._free = self.called = False

    def receive(self, text: str) -> list[Said]:
        self._held += text
        start, tag = self._held.lstrip(), self._form.begin
        self._free = self._free or not (start.startswith(("{", tag)) or tag.startswith(start))
        return self._release() if self._free else []

    def end(self) -> list[Said]:
        calls = [] if self._free else _read(self._written(), self._offered, self._form)
        self.called = bool(calls)
        return [*calls] if calls else self._release()

    def _written(self) -> str:
        return self._held.strip().removeprefix(self._form.begin)

    def _release(self) -> list[Said]:
        held, self._held = self._held, ""
        return [held] if held else []


def _read(written: str, offered: frozenset[str], form: CallForm) -> list[Call]:
    """The calls in it, if it is nothing but calls of what was offered."""
    try:
        found = form.decode(written.strip())
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return []
    if any(name not in offered for name, _ in found):
        return []
    return [
        Call(name, msgspec.json.encode(arguments).decode(), form.identifier()) for name, arguments in found
    ]


def _overlap(text: str, tag: str) -> int:
    """How many characters at the end of the text may be the beginning of the tag."""
    return next((size for size in range(len(tag) - 1, 0, -1) if text.endswith(tag[:size])), 0)
