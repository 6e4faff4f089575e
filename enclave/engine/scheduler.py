# SPDX-License-Identifier: Apache-2.0
"""Whose turn it is: requests and what became of each step in, steps out. Pure, without a clock of its own.

A request has one or more sequences: its choices, or the texts of an embedding. A sequence waits, then holds a
slot while its prompt is decoded in chunks, then generates. Rules:

1. A free slot goes to the identity that holds fewest, then to the one that was served least, then to who came
   first. Every fourth slot goes to who has waited longest, so that nobody waits for ever.
2. Chunks go to the identity that was served least, counted in tokens. A prompt that has been begun goes on
   until it leads by two chunks: prompts are complete one after another, and not all at the end.
3. Between two steps of those who generate lies one chunk; more only where several fit into the budget.
4. Those who generate hold the first slots without a hole (engine.md 3.1).
5. Where too many requests wait, the newest request of the identity with most of them gives way.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto

OLDEST_EVERY = 4
LEAD_CHUNKS = 2
MOST_RETRY_SECONDS = 60
DURATION_MEMORY = 0.1  # how much one more request counts in the mean duration


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """One sequence: the number of its request, and which of the request's sequences it is."""

    number: int
    choice: int


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is done at once.

    `budget_seconds` is how long chunks may keep those who generate waiting; one chunk is always done.
    """

    slots: int
    waiting_requests: int
    chunk_tokens: int
    budget_seconds: float = 0.05


@dataclass(frozen=True, slots=True)
class Job:
    """One request: the lengths of its prompts in tokens.

    With `shared` the prompts are one and the same: the first sequence decodes it, and the others begin when
    `share` says that it can be had. `deadline` is a time of the caller's clock, in seconds.
    """

    number: int
    identity: bytes = field(repr=False)
    prompts: tuple[int, ...]
    deadline: float
    shared: bool = True


@dataclass(frozen=True, slots=True)
class Admitted:
    """A sequence got a slot."""

    key: Key
    slot: int


@dataclass(frozen=True, slots=True)
class Ended:
    """A sequence is over before its time; `slot` is what it held, if it did, and is to be wiped."""

    key: Key
    slot: int | None


@dataclass(frozen=True, slots=True)
class Move:
    """Exchange what two slots hold."""

    source: int
    target: int


@dataclass(frozen=True, slots=True)
class Prefill:
    """Decode these tokens of a prompt."""

    key: Key
    slot: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Decode:
    """After these moves, decode one token for each of these sequences, which hold the slots from 0 on."""

    moves: tuple[Move, ...]
    keys: tuple[Key, ...]


class Phase(Enum):
    """What a sequence does."""

    WAITING = auto()
    PREFILL = auto()
    GENERATE = auto()


@dataclass(slots=True)
class _Sequence:
    key: Key
    tokens: int
    phase: Phase = Phase.WAITING
    done: int = 0
    slot: int = -1


@dataclass(slots=True)
class _Request:
    job: Job
    arrived: float
    sequences: dict[Key, _Sequence]
    begun: bool = False
    shared: bool = False

    def waiting(self) -> list[_Sequence]:
        """The sequences that could begin now."""
        held = self.job.shared and not self.shared
        return [
            sequence
            for sequence in self.sequences.values()
            if sequence.phase is Phase.WAITING and not (held and sequence.key.choice)
        ]


class Scheduler:
    """Decides what the next step is."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._requests: dict[int, _Request] = {}  # in the order of arrival
        self._slots: list[_Sequence | None] = [None] * limits.slots
        self._served: dict[bytes, float] = {}
        self._admissions = 0
        self._reading: Key | None = None  # whose prompt the last chunk was of
        self._spent = 0.0  # seconds of chunks since those who generate last had a step
        self._chunk_seconds = 0.0  # of the last chunk
        self._mean_seconds = 1.0

    @property
    def waiting_requests(self) -> int:
        """How many requests have not begun."""
        return sum(not request.begun for request in self._requests.values())

    @property
    def used_slots(self) -> int:
        """How many slots are held."""
        return sum(held is not None for held in self._slots)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self._requests

    def submit(self, job: Job, now: float) -> int | None:
        """Take a request; the number of the one that gives way where too many wait, which may be this one."""
        if job.identity not in self._served:
            self._served[job.identity] = min(self._served.values(), default=0.0)
        keys = [Key(job.number, choice) for choice in range(len(job.prompts))]
        sequences = {key: _Sequence(key, tokens) for key, tokens in zip(keys, job.prompts, strict=True)}
        self._requests[job.number] = _Request(job, now, sequences)
        if self.waiting_requests <= self._limits.waiting_requests or self._has_room():
            return None
        loser = self._who_gives_way()
        self._drop(loser)
        return loser

    def cancel(self, number: int) -> list[Ended]:
        """End a request with all its sequences; nothing where it has ended already."""
        request = self._requests.get(number)
        if request is None:
            return []
        return [Ended(key, self._end(request, key)) for key in list(request.sequences)]

    def expired(self, now: float) -> list[int]:
        """The requests whose deadline has passed."""
        return [number for number, request in self._requests.items() if request.job.deadline <= now]

    def finish(self, key: Key, now: float) -> int:
        """A sequence is complete; the slot that it held, which must be wiped before the next admission."""
        request = self._requests[key.number]
        slot = self._end(request, key)
        assert slot is not None, "only what holds a slot can finish"
        if not request.sequences:
            self._mean_seconds += DURATION_MEMORY * (now - request.arrived - self._mean_seconds)
        return slot

    def admit(self) -> Iterator[Admitted]:
        """Give free slots to those who wait; what is found in each meanwhile may be told by `prefilled`."""
        while None in self._slots:
            sequence = self._next_waiting()
            if sequence is None:
                return
            slot = self._slots.index(None)
            self._admissions += 1
            self._requests[sequence.key.number].begun = True
            sequence.slot, sequence.phase, self._slots[slot] = slot, Phase.PREFILL, sequence
            yield Admitted(sequence.key, slot)

    def share(self, number: int) -> None:
        """The prompt of a request has been decoded: its other sequences may begin."""
        if number in self._requests:
            self._requests[number].shared = True

    def prefilled(self, key: Key, tokens: int) -> bool:
        """So many more tokens of a prompt are there; whether it is complete."""
        sequence = self._requests[key.number].sequences[key]
        sequence.done += tokens
        assert sequence.done <= sequence.tokens, "a prompt has no more tokens than it has"
        if sequence.done == sequence.tokens:
            sequence.phase = Phase.GENERATE
        return sequence.phase is Phase.GENERATE

    def step(self) -> Prefill | Decode | None:
        """What to do next; None where nobody holds a slot."""
        generating = [held for held in self._slots if held and held.phase is Phase.GENERATE]
        prompts = [held for held in self._slots if held and held.phase is Phase.PREFILL]
        if generating and (not prompts or not self._chunk_fits()):
            return self._decode(generating)
        return self._prefill(prompts) if prompts else None

    def took(self, step: Prefill | Decode, seconds: float) -> None:
        """How long a step lasted."""
        if isinstance(step, Prefill):
            self._chunk_seconds = seconds
            self._spent += max(seconds, 1e-9)
        else:
            self._spent = 0.0

    def retry_after_seconds(self) -> int:
        """An estimate of when there will be room again."""
        rounds = 1 + self.waiting_requests / self._limits.slots
        return max(1, min(MOST_RETRY_SECONDS, math.ceil(rounds * self._mean_seconds)))

    def _chunk_fits(self) -> bool:
        return not self._spent or self._spent + self._chunk_seconds <= self._limits.budget_seconds

    def _prefill(self, prompts: list[_Sequence]) -> Prefill:
        sequence, grid = self._whose_chunk(prompts), self._limits.chunk_tokens
        self._reading = sequence.key
        stop = min(sequence.tokens, (sequence.done // grid + 1) * grid)
        self._served[self._identity(sequence.key)] += stop - sequence.done
        return Prefill(sequence.key, sequence.slot, sequence.done, stop)

    def _whose_chunk(self, prompts: list[_Sequence]) -> _Sequence:
        """The prompt of the identity served least, or the one begun while its lead is small."""

        def served(held: _Sequence) -> float:
            return self._served[self._identity(held.key)]

        least = min(prompts, key=lambda held: (served(held), held.key))
        lead = LEAD_CHUNKS * self._limits.chunk_tokens
        return next(
            (held for held in prompts if held.key == self._reading and served(held) < served(least) + lead),
            least,
        )

    def _decode(self, generating: list[_Sequence]) -> Decode:
        moves: list[Move] = []
        for target in range(len(generating)):
            held = self._slots[target]
            if held is None or held.phase is not Phase.GENERATE:
                source = max(sequence.slot for sequence in generating)
                self._swap(source, target)
                moves.append(Move(source, target))
        generating.sort(key=lambda sequence: sequence.slot)
        for sequence in generating:
            self._served[self._identity(sequence.key)] += 1
        return Decode(tuple(moves), tuple(sequence.key for sequence in generating))

    def _swap(self, source: int, target: int) -> None:
        self._slots[source], self._slots[target] = self._slots[target], self._slots[source]
        for slot in (source, target):
            held = self._slots[slot]
            if held is not None:
                held.slot = slot

    def _next_waiting(self) -> _Sequence | None:
        waiting = [sequence for request in self._requests.values() for sequence in request.waiting()]
        if not waiting:
            return None
        if self._admissions % OLDEST_EVERY == OLDEST_EVERY - 1:
            return waiting[0]
        held = Counter(self._identity(held.key) for held in self._slots if held)

        def rank(place: int) -> tuple[int, float, int]:
            identity = self._identity(waiting[place].key)
            return held[identity], self._served[identity], place

        return waiting[min(range(len(waiting)), key=rank)]

    def _has_room(self) -> bool:
        """Whether there are free slots enough that nobody who has not begun waits in vain."""
        wanted = sum(len(request.waiting()) for request in self._requests.values())
        return wanted <= self._slots.count(None)

    def _who_gives_way(self) -> int:
        waiting = [request.job for request in self._requests.values() if not request.begun]
        counts = Counter(job.identity for job in waiting)
        most = max(counts.values())
        return next(job.number for job in reversed(waiting) if counts[job.identity] == most)

    def _drop(self, number: int) -> None:
        request = self._requests[number]
        for key in list(request.sequences):
            self._end(request, key)

    def _end(self, request: _Request, key: Key) -> int | None:
        """Forget a sequence; the slot that it held."""
        sequence = request.sequences.pop(key)
        held = None if sequence.phase is Phase.WAITING else sequence.slot
        if held is not None:
            self._slots[held] = None
        if not request.sequences:
            del self._requests[request.job.number]
            identity = request.job.identity
            if all(other.job.identity != identity for other in self._requests.values()):
                del self._served[identity]
        return held

    def _identity(self, key: Key) -> bytes:
        return self._requests[key.number].job.identity
