# SPDX-License-Identifier: Apache-2.0
"""What the engine reports of one request, as pieces of its choices."""

from dataclasses import dataclass, field
from hashlib import sha256

from enclave.api import errors
from enclave.api.account import Account
from enclave.api.calls import Call, Said, call_reader
from enclave.api.wanted import Wanted
from enclave.engine.protocol import Begun, Finished, FinishReason, Progress, Rejected, Text, TokenLogprob


@dataclass(frozen=True, slots=True)
class Piece:
    """Some more of one choice: text, calls and probabilities, and whether it is the last."""

    choice: int
    said: tuple[Said, ...] = field(default=(), repr=False)
    logprobs: tuple[TokenLogprob, ...] = field(default=(), repr=False)
    finish_reason: str | None = None

    @property
    def text(self) -> str:
        """The text in it."""
        return "".join(said for said in self.said if isinstance(said, str))

    @property
    def calls(self) -> list[Call]:
        """The calls in it."""
        return [said for said in self.said if isinstance(said, Call)]


@dataclass(slots=True)
class Usage:
    """Token counts of one request."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0

    def document(self) -> dict[str, object]:
        """The counts as chat and completions name them."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
        }


class Reading:
    """Reads the reports of one request."""

    def __init__(self, wanted: Wanted, context_tokens: int) -> None:
        self._wanted, self._context_tokens = wanted, context_tokens
        self._readers = [call_reader(wanted.offered, wanted.form) for _ in range(wanted.answers)]
        self._said = [sha256() for _ in range(wanted.answers)]
        self._reasons = [""] * wanted.answers
        self._cut_short = False
        self.usage = Usage()

    def take(self, report: Progress, prompt: int = 0) -> Piece | None:
        """The piece that a report on one of the prompts brings; none for the beginning.

        Raises ApiError where the engine does not take the request.
        """
        first = prompt * self._wanted.choices
        match report:
            case Text(choice=choice, text=text, logprobs=logprobs):
                answer = first + choice
                return self._note(Piece(answer, tuple(self._readers[answer].receive(text)), logprobs))
            case Finished(choice=choice, reason=reason, completion_tokens=count):
                answer = first + choice
                reader = self._readers[answer]
                self.usage.completion_tokens += count
                said = tuple(reader.end())
                why = _finish_reason(reason, called=reader.called)
                self._reasons[answer] = why
                self._cut_short |= reason not in (FinishReason.STOP, FinishReason.LENGTH)
                return self._note(Piece(answer, said, finish_reason=why))
            case Begun(prompt_tokens=count, cached_tokens=cached):
                self.usage.prompt_tokens += count
                self.usage.cached_tokens += cached
                return None
            case Rejected():
                raise errors.rejected(report, self._context_tokens, self._wanted.params)

    def account(self) -> Account:
        """What the generation was, when all of its choices have ended."""
        texts = [said.digest() for said in self._said]
        return Account(
            sampling=self._wanted.sampling,
            max_tokens=self._wanted.max_tokens,
            prompt_tokens=self.usage.prompt_tokens,
            completion_tokens=self.usage.completion_tokens,
            finish=" ".join(self._reasons),
            text=texts[0] if len(texts) == 1 else sha256(b"".join(texts)).digest(),
            cached_tokens=self.usage.cached_tokens,
            cut_short=self._cut_short,
        )

    def _note(self, piece: Piece) -> Piece:
        self._said[piece.choice].update(piece.text.encode())
        return piece


def _finish_reason(reason: FinishReason, *, called: bool) -> str:
    """The reason as clients know it: whatever cuts an answer is its length."""
    if reason is not FinishReason.STOP:
        return "length"
    return "tool_calls" if called else "stop"


def token_text(token: bytes) -> str:
    """The text of a token; one that is a part of a character shows as a replacement."""
    return token.decode(errors="replace")
