# SPDX-License-Identifier: Apache-2.0
"""Completions of a text as it is, without a chat template: the older interface, for models that have none."""

from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from enclave.api.chat import Envelope, failure, with_usage
from enclave.api.errors import ApiError, Params
from enclave.api.parameters import (
    ModelName,
    Sampled,
    StreamOptions,
    Text,
    Token,
    TokenCount,
    TopLogprobs,
    decode,
    invalid,
)
from enclave.api.progress import Piece, Usage, token_text
from enclave.api.wanted import Wanted, sampling_of
from enclave.engine.protocol import PlainText, TokenList, TokenLogprob

DEFAULT_TOKENS = 16  # as few as OpenAI's interface gives
MAX_PROMPTS = 16  # each takes a place in the queue of its own
Tokens = Annotated[list[Token], Meta(min_length=1, max_length=1 << 20)]


class CompletionRequest(Sampled, frozen=True, kw_only=True):
    """The body of POST /v1/completions."""

    model: ModelName
    prompt: Text | Annotated[list[Text | Token | Tokens], Meta(min_length=1, max_length=1 << 20)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: TokenCount | None = None
    logprobs: TopLogprobs | None = None
    echo: Literal[False] | None = None


_decoder = msgspec.json.Decoder(CompletionRequest)


def parse_completion_request(body: bytes) -> CompletionRequest:
    """Read a request. Raises ApiError, which names the parameter that is unknown or wrong."""
    return decode(_decoder, body)


def wanted_of(request: CompletionRequest) -> Wanted:
    """What a request asks of the engine. Raises ApiError, naming the parameter."""
    if request.stream_options and not request.stream:
        raise invalid("stream_options", "needs stream")
    prompts = prompts_of(request.prompt)
    has_tokens = any(isinstance(prompt, TokenList) for prompt in prompts)
    return Wanted(
        prompts=prompts,
        sampling=sampling_of(request),
        max_tokens=request.max_tokens or DEFAULT_TOKENS,
        stop=request.stops,
        choices=request.n or 1,
        top_logprobs=request.logprobs,
        params=Params("prompt", "prompt" if has_tokens else "logit_bias"),
    )


def prompts_of(prompt: str | list[str | int | list[int]]) -> tuple[PlainText | TokenList, ...]:
    """One text, one list of tokens, or several of them. Raises ApiError."""
    if isinstance(prompt, str):
        return (PlainText(prompt),)
    tokens = [each for each in prompt if isinstance(each, int)]
    if len(tokens) == len(prompt):
        return (TokenList(tuple(tokens)),)
    if tokens:
        raise invalid("prompt", "must be texts, lists of tokens, or one list of tokens")
    if len(prompt) > MAX_PROMPTS:
        raise invalid("prompt", f"at most {MAX_PROMPTS} prompts are answered in one request")
    return tuple(
        PlainText(each) if isinstance(each, str) else TokenList(tuple(each))
        for each in prompt
        if not isinstance(each, int)
    )


def envelope_of(request: CompletionRequest) -> Envelope:
    """What every document of one answer has in common."""
    return Envelope(
        request.model,
        with_usage(request.stream_options),
        prefix="cmpl",
        kind="text_completion",
        chunk_kind="text_completion",
    )


class CompletionAnswer:
    """The documents of one completion."""

    def __init__(self, envelope: Envelope, wanted: Wanted) -> None:
        self._envelope, self._wanted = envelope, wanted
        self._offsets = [0] * wanted.answers

    def opening(self) -> Iterable[bytes]:
        """A stream begins with its first text."""
        return ()

    def events(self, piece: Piece) -> Iterable[bytes]:
        """The events of one piece."""
        if piece.text or piece.logprobs or piece.finish_reason:
            yield self._envelope.event(
                self._choice(piece.choice, piece.text, piece.logprobs, piece.finish_reason)
            )

    def whole(self, pieces: list[Piece], usage: Usage) -> bytes:
        """The whole answer as one JSON document."""
        choices: list[dict[str, object]] = []
        for choice in range(self._wanted.answers):
            own = [piece for piece in pieces if piece.choice == choice]
            logprobs = tuple(logprob for piece in own for logprob in piece.logprobs)
            reason = next(piece.finish_reason for piece in own if piece.finish_reason)
            choices.append(self._choice(choice, "".join(piece.text for piece in own), logprobs, reason))
        return self._envelope.whole(choices, usage)

    def closing(self, usage: Usage) -> Iterable[bytes]:
        """The events with which a stream ends."""
        return self._envelope.closing(usage)

    def failure(self, error: ApiError) -> bytes:
        """The event that ends a stream which cannot go on."""
        return failure(error)

    def _choice(
        self, choice: int, text: str, logprobs: tuple[TokenLogprob, ...], reason: str | None
    ) -> dict[str, object]:
        shown = self._logprobs(choice, logprobs) if self._wanted.top_logprobs is not None else None
        return {"index": choice, "text": text, "logprobs": shown, "finish_reason": reason}

    def _logprobs(self, choice: int, logprobs: tuple[TokenLogprob, ...]) -> dict[str, object]:
        offsets: list[int] = []
        for each in logprobs:
            offsets.append(self._offsets[choice])
            self._offsets[choice] += len(token_text(each.token))
        return {
            "tokens": [token_text(each.token) for each in logprobs],
            "token_logprobs": [each.logprob for each in logprobs],
            "top_logprobs": [
                {token_text(token): logprob for token, logprob in each.top} for each in logprobs
            ],
            "text_offset": offsets,
        }
