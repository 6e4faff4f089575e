# SPDX-License-Identifier: Apache-2.0
"""What a generation was, without its words: what a receipt tells of it."""

from dataclasses import dataclass, field

from enclave.engine.protocol import Sampling


@dataclass(frozen=True, slots=True)
class Account:
    """A generation that has ended.

    `finish` has a reason for each choice, in order. `text` is the SHA-256 of the answer's text in UTF-8; of
    several choices that of the SHA-256 of each, in order. Calls of tools are no text. `cached_tokens` of the
    prompt were decoded earlier in the session; `cut_short` is an answer that the time limit ended.
    """

    sampling: Sampling
    max_tokens: int
    prompt_tokens: int
    completion_tokens: int
    finish: str
    text: bytes = field(repr=False)
    cached_tokens: int = 0
    cut_short: bool = False
