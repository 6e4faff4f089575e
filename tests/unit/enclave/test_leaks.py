# SPDX-License-Identifier: Apache-2.0
"""Thousands of conversations at once in the real library: each says only what it holds, as it would alone.

The weights are a parrot's: an answer is made of letters that its sequence holds, and of no others. Each
conversation has a few letters of its own, so a letter of somebody else's shows at once, and whatever else
changes a conversation's numbers shows in what it says. Conversations are cancelled, out of time, forgotten
and displaced at random points; sessions go on from what is left of them.

SOTTOVOCE_TEST_CONVERSATIONS is how many there are, 3,000 by default.
"""

import os
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import pytest
from msgspec.structs import replace
from typing_extensions import override

from enclave.engine import llama
from enclave.engine.llama import EngineError, Model
from enclave.engine.protocol import (
    Begun,
    Cancel,
    Embed,
    Finished,
    FinishReason,
    Generate,
    Order,
    PlainText,
    Rejected,
    Report,
    Sampling,
    Text,
)
from enclave.engine.sampling import Logits
from enclave.engine.scheduler import Limits
from enclave.engine.snapshots import SessionMemory
from enclave.engine.worker import Worker
from tests.fakes.parrot import LETTERS, write_parrot

CONVERSATIONS = int(os.environ.get("SOTTOVOCE_TEST_CONVERSATIONS", "3000"))
CONTEXT_TOKENS, SLOTS, WAITING = 512, 6, 24
# A few of the sessions' snapshots: others are displaced.
MEMORY_BYTES = 1 << 21
IDENTITIES, SESSIONS = 4, 5
OWN_LETTERS = 4
BURST_EVERY, BURST = 200, 40  # so many come at once, and some of them are sent away
MOST_TOKENS, MOST_HELD = 10, 300
LENGTH, CANCELLED, DEADLINE = FinishReason.LENGTH, FinishReason.CANCELLED, FinishReason.DEADLINE


@pytest.fixture(scope="module")
def parrot(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The weights, written once."""
    path = tmp_path_factory.mktemp("weights") / "parrot.gguf"
    write_parrot(path)
    return str(path)


def load(kind: type[Model], path: str) -> Model:
    llama.load_backends()
    return kind(path, context_tokens=CONTEXT_TOKENS, threads=1, slots=SLOTS)


@dataclass(slots=True)
class Asked:
    """One conversation's order, and what was said to it, by choice."""

    order: Order
    text: dict[int, str] = field(default_factory=dict[int, str])

    @property
    def prompt(self) -> str:
        """What it begins with."""
        assert isinstance(self.order.prompt, PlainText)
        return self.order.prompt.text


@dataclass(slots=True)
class Play:
    """Many conversations with one worker; what they were told is kept to be looked at."""

    model: Model
    seed: int = 5
    asked: dict[int, Asked] = field(default_factory=dict[int, Asked])
    seen: Counter[str] = field(default_factory=Counter[str])
    now: float = 0.0
    numbers: random.Random = field(init=False)
    worker: Worker = field(init=False)
    held: dict[tuple[bytes, bytes], str] = field(default_factory=dict[tuple[bytes, bytes], str])

    def __post_init__(self) -> None:
        self.numbers = random.Random(self.seed)
        memory = SessionMemory(b"test", MEMORY_BYTES)
        limits = Limits(self.model.slots, WAITING, llama.CHUNK_TOKENS)
        self.worker = Worker(self.model, memory, limits, lambda: self.now)

    def run(self, conversations: int) -> None:
        """Begin so many, with things happening between them, and come to an end with all."""
        chance = self.numbers.random
        for number in range(1, conversations + 1):
            order = self._order()
            self.asked[number] = Asked(order)
            self.worker.take(Generate(number, order))
            if chance() < 0.02:
                texts = (PlainText(self._letters(90)),)
                self.worker.take(Embed(conversations + number, order.identity, texts))
            if number % BURST_EVERY > BURST:
                self.work(self.numbers.randrange(8))
            if chance() < 0.15:
                self.worker.take(Cancel(self.numbers.randrange(max(1, number - 20), number + 1)))
            if chance() < 0.02:
                self.worker.forget(order.identity, order.session)
            if chance() < 0.2:
                self.now += self.numbers.random() * 300
        self.work(10**6)

    def _letters(self, count: int) -> str:
        own = self.numbers.sample(LETTERS, OWN_LETTERS)
        return "".join(self.numbers.choices(own, k=count))

    def _order(self) -> Order:
        """A prompt of its own, or in a session one that goes on from what the session held."""
        numbers = self.numbers
        identity = bytes([numbers.randrange(IDENTITIES)]) * 16
        session, text = b"", self._letters(numbers.randrange(4, 160))
        if numbers.random() < 0.5:
            session = bytes([numbers.randrange(SESSIONS)]) * 16
            before = self.held.get((identity, session), "")
            if len(before) < MOST_HELD and numbers.random() < 0.8:
                text = before[: len(before) - numbers.randrange(4)] + text[: numbers.randrange(1, 40)]
            self.held[identity, session] = text
        plain = numbers.random() < 0.3
        sampling = Sampling(0) if plain else Sampling(1.0, min_p=0.05, seed=numbers.randrange(1 << 31))
        return Order(
            identity=identity,
            session=session,
            prompt=PlainText(text),
            sampling=sampling,
            max_tokens=numbers.randrange(1, MOST_TOKENS + 1),
            choices=numbers.choice((1, 1, 1, 1, 3)),
            limit_seconds=numbers.choice((3600.0, 100.0)),
        )

    def work(self, steps: int) -> None:
        """Do so many steps, or what there is to do."""
        for _ in range(steps):
            if self.worker.scheduler.idle:
                break
            self.worker.step()
            self._take(self.worker.reports())

    def _take(self, reports: Iterable[Report]) -> None:
        for report in reports:
            match report:
                case Text(generation=number, choice=choice, text=text):
                    said = self.asked[number].text
                    said[choice] = said.get(choice, "") + text
                case Finished(generation=number, reason=reason, choice=choice):
                    self.seen[reason] += 1
                    if reason is LENGTH and choice == 0:
                        self._hold(self.asked[number])
                case Begun(cached_tokens=cached):
                    self.seen["resumed"] += cached > 0
                case Rejected():
                    self.seen["rejected"] += 1
                case _:
                    pass

    def _hold(self, asked: Asked) -> None:
        """What a session holds now: its prompt and its answer."""
        self.held[asked.order.identity, asked.order.session] = asked.prompt + asked.text[0]

    def foreign(self) -> int:
        """How many conversations were told a letter that they do not hold."""
        return sum(
            not set("".join(asked.text.values())) <= set(asked.prompt) for asked in self.asked.values()
        )

    def different(self) -> int:
        """How many were told something else than they are told when nobody else is there."""
        return sum(
            any(not alone[choice].startswith(text) for choice, text in asked.text.items())
            for asked, alone in zip(self.asked.values(), self._alone(), strict=True)
        )

    def _alone(self) -> Iterator[dict[int, str]]:
        """The answer of each by a worker with nothing else to do, without a session."""
        alone = Play(self.model)
        for number, asked in self.asked.items():
            order = replace(asked.order, session=b"", limit_seconds=3600.0)
            alone.asked[number] = Asked(order)
            alone.worker.take(Generate(number, order))
            alone.work(10**6)
            yield alone.asked[number].text


def test_thousands_of_conversations_and_none_ever_sees_anothers(parrot: str) -> None:
    play = Play(load(Model, parrot))
    play.run(CONVERSATIONS)
    assert [play.model.length(slot) for slot in range(SLOTS)] == [0] * SLOTS
    assert play.foreign() == 0
    assert play.different() == 0
    whole, cut, late = (play.seen[why] for why in (LENGTH, CANCELLED, DEADLINE))
    assert whole > CONVERSATIONS // 2, "most of them came to their end"
    assert min(cut, late, play.seen["resumed"], play.seen["rejected"]) > CONVERSATIONS // 100


class ForgetsToWipe(Model):
    """What a slot held is still there for who comes next."""

    @override
    def wipe(self, slot: int) -> None:
        pass


class MixesUpRows(Model):
    """Each gets its neighbour's logits, once in a while."""

    @override
    def decode(self, tokens: Sequence[int]) -> Logits:
        rows = super().decode(tokens)
        return np.roll(rows, 1, axis=0) if self.length(0) % 50 == 0 else rows


class MovesNothing(Model):
    """Who moves finds what was there before."""

    @override
    def move(self, source: int, target: int) -> None:
        pass


class SavesAnotherSlot(Model):
    """A session's snapshot is made of the first slot that holds as much."""

    @override
    def save(self, slot: int) -> bytearray:
        same = (other for other in range(self.slots) if self.length(other) == self.length(slot))
        return super().save(next(same))


@pytest.mark.parametrize("mistaken", [ForgetsToWipe, MixesUpRows, MovesNothing, SavesAnotherSlot])
def test_mistakes_that_leak_are_noticed(mistaken: type[Model], parrot: str) -> None:
    play = Play(load(mistaken, parrot))
    with suppress(EngineError):  # some of them end where llama.cpp finds positions that do not follow
        play.run(600)
    assert play.foreign()
