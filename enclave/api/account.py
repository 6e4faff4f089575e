# SPDX-License-Identifier: Apache-2.0
"""What a generation was, without its words: what a receipt tells of it."""

from dataclasses import dataclass, field

from enclave.engine.protocol import Sampling


@dataclass(frozen=True, slots=True)
class Asked:
    """How an answer is generated: with these settings, and at most so many tokens."""

    sampling: Sampling
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Account:
    """A generation that has ended; `text` is the SHA-256 of the answer's text in UTF-8."""

    asked: Asked
    prompt_tokens: int
    completion_tokens: int
    finish: str
    text: bytes = field(repr=False)
