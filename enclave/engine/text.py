# SPDX-License-Identifier: Apache-2.0
"""Tokens into text that never splits a character and never shows a stop string. Pure."""

import codecs


class TextAssembler:
    """Takes the bytes of tokens, gives text that may be shown.

    The bytes of a token may end inside a character, and a stop string may begin in one token and end in
    another, so the end of the text is held back for as long as it could belong to either.
    """

    def __init__(self, stop: tuple[str, ...]) -> None:
        self._stop = tuple(text for text in stop if text)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""
        self.stopped = False

    def receive(self, piece: bytes) -> str:
        """The text that this token made certain; `stopped` is set where a stop string was met."""
        return self._release(self._decoder.decode(piece))

    def end(self) -> str:
        """The text that was held back when the generation ended."""
        last = self._release(self._decoder.decode(b"", final=True))
        held, self._held = self._held, ""
        return last if self.stopped else last + held

    def wipe(self) -> None:
        """Forget what was held back."""
        self._held, self._stop = "", ()
        self._decoder.reset()

    def _release(self, more: str) -> str:
        if self.stopped:
            return ""
        text = self._held + more
        starts = {stop: text.find(stop) for stop in self._stop}
        # What is complete first ends the text, so that it does not matter how the tokens lie.
        found = [(start + len(stop), start) for stop, start in starts.items() if start >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)[1]]
        safe = len(text) - self._possible_start(text)
        self._held = text[safe:]
        return text[:safe]

    def _possible_start(self, text: str) -> int:
        """How many characters at the end could begin a stop string."""
        longest = max((len(stop) - 1 for stop in self._stop), default=0)
        lengths = range(min(longest, len(text)), 0, -1)
        return next(
            (size for size in lengths if any(stop.startswith(text[-size:]) for stop in self._stop)), 0
        )
