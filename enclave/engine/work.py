# SPDX-License-Identifier: Apache-2.0
"""What the engine keeps of a request while it is worked on, and overwrites when it ends."""

from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from enclave.engine.llama import Tokens
from enclave.engine.protocol import Embed, Order, Sampling, TokenLogprob
from enclave.engine.sampling import Chooser, Logits, likeliest, log_probabilities
from enclave.engine.state import overwrite
from enclave.engine.text import TextAssembler
from enclave.engine.vocabulary import Vocabulary


@dataclass(slots=True)
class Choice:
    """One answer as it comes into being."""

    chooser: Chooser = field(repr=False)
    assembler: TextAssembler = field(repr=False)
    count: int = 0
    pending: int = 0  # chosen, but not yet decoded

    def close(self) -> None:
        """Forget everything."""
        self.chooser.close()
        self.assembler.wipe()
        self.pending = 0


@dataclass(slots=True)
class Generation:
    """One request for answers. `most` is how many tokens an answer may have."""

    number: int
    order: Order = field(repr=False)
    prompt: Tokens = field(repr=False)
    most: int
    grammar: str | None = field(repr=False)
    answered: Tokens = field(repr=False)  # the tokens of the first choice, for the session's memory
    choices: dict[int, Choice] = field(default_factory=dict[int, Choice], repr=False)
    state: bytearray = field(default_factory=bytearray, repr=False)
    logits: Logits = field(default_factory=lambda: np.empty(0, np.float32), repr=False)

    @property
    def shares(self) -> bool:
        """Whether the decoded prompt is kept for further choices."""
        return self.order.choices > 1

    def forget_prompt(self) -> None:
        """Overwrite the decoded prompt, once no choice needs it any more."""
        overwrite(self.state)
        self.logits[:] = 0

    def close(self) -> None:
        """Overwrite everything."""
        for choice in self.choices.values():
            choice.close()
        self.forget_prompt()
        self.prompt[:] = 0
        self.answered[:] = 0


@dataclass(slots=True)
class Embedding:
    """One request for vectors."""

    number: int
    prompts: list[Tokens] = field(repr=False)
    sums: list[NDArray[np.float32]] = field(repr=False)
    unfinished: int

    @classmethod
    def begin(cls, command: Embed, prompts: list[Tokens], size: int) -> "Embedding":
        """Nothing is summed yet."""
        return cls(command.generation, prompts, [np.zeros(size, np.float32) for _ in prompts], len(prompts))

    def vectors(self) -> tuple[bytes, ...]:
        """The means of the tokens' vectors, of unit length."""
        return tuple(_unit(total).astype("<f4").tobytes() for total in self.sums)

    def close(self) -> None:
        """Overwrite everything."""
        for array in (*self.prompts, *self.sums):
            array[:] = 0


def choice_sampling(sampling: Sampling, choice: int) -> Sampling:
    """The sampling of one choice: each has a seed of its own."""
    return msgspec.structs.replace(sampling, seed=(sampling.seed + choice) % (1 << 32))


def token_logprob(vocabulary: Vocabulary, logits: Logits, token: int, top: int) -> TokenLogprob:
    """A chosen token's probability, and those of the likeliest ones, as the model alone gives them."""
    row = log_probabilities(logits)
    best = tuple((vocabulary.piece(other), float(row[other])) for other in likeliest(row, top))
    found = TokenLogprob(vocabulary.piece(token), float(row[token]), best)
    row[:] = 0
    return found


def _unit(total: NDArray[np.float32]) -> NDArray[np.float32]:
    length = float(np.linalg.norm(total))
    return total / length if length else total
