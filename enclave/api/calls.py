# SPDX-License-Identifier: Apache-2.0
"""Calls of tools in what a model writes: JSON between tags, found while the text still arrives."""

import secrets
from dataclasses import dataclass, field

import msgspec

from enclave.api.shapes import CALL_BEGIN, CALL_END


@dataclass(frozen=True, slots=True)
class Call:
    """One call; `arguments` is JSON as text."""

    name: str = field(repr=False)
    arguments: str = field(repr=False)
    identifier: str = field(default_factory=lambda: f"call_{secrets.token_hex(12)}")


Said = str | Call


class _Written(msgspec.Struct, frozen=True):
    """A call as models write it."""

    name: str
    arguments: dict[str, object]


_decoder = msgspec.json.Decoder(_Written)


class CallReader:
    """Takes the text of one choice as it arrives, and gives text and calls.

    What looks like a call and is none, or calls what was not offered, stays text: nothing is lost.
    """

    def __init__(self, offered: frozenset[str]) -> None:
        """Look for calls of these functions; of none where there are none."""
        self._offered, self._held, self._inside = offered, "", False
        self._after_call = self.called = False

    def receive(self, text: str) -> list[Said]:
        """Take some text."""
        if not self._offered:
            return [text] if text else []
        self._held += text
        said: list[Said] = []
        while True:
            tag = CALL_END if self._inside else CALL_BEGIN
            position = self._held.find(tag)
            if position < 0:
                break
            before, self._held = self._held[:position], self._held[position + len(tag) :]
            said += self._call(before, CALL_END) if self._inside else self._text(before)
            self._inside = not self._inside
        if not self._inside:
            free = len(self._held) - _overlap(self._held, CALL_BEGIN)
            ready, self._held = self._held[:free], self._held[free:]
            said += self._text(ready)
        return said

    def end(self) -> list[Said]:
        """Nothing more comes: a call without its end counts if it is whole."""
        held, self._held = self._held, ""
        return self._call(held, "") if self._inside else self._text(held)

    def _text(self, text: str) -> list[Said]:
        """Text, without the white space that follows a call: it is part of how calls are written."""
        if self._after_call:
            text = text.lstrip()
        self._after_call = self._after_call and not text
        return [text] if text else []

    def _call(self, written: str, end: str) -> list[Said]:
        try:
            call = _decoder.decode(written.strip())
        except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
            return [CALL_BEGIN + written + end]
        if call.name not in self._offered:
            return [CALL_BEGIN + written + end]
        self._after_call = self.called = True
        return [Call(call.name, msgspec.json.encode(call.arguments).decode())]


def _overlap(text: str, tag: str) -> int:
    """How many characters at the end of the text may be the beginning of the tag."""
    return next((size for size in range(len(tag) - 1, 0, -1) if text.endswith(tag[:size])), 0)
