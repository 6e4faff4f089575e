# SPDX-License-Identifier: Apache-2.0
"""Whose turn it is: the rules one by one, and then everything at once with a fake engine."""

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from typing_extensions import override

from enclave.engine.scheduler import (
    OLDEST_EVERY,
    Admitted,
    Decode,
    Ended,
    Job,
    Key,
    Limits,
    Move,
    Prefill,
    Scheduler,
)

ANNA, BERT, CARL = bytes([1]) * 16, bytes([2]) * 16, bytes([3]) * 16
CHUNK = 64
NEVER = 1e9


def scheduler(slots: int = 2, waiting: int = 8, budget_seconds: float = 0.0) -> Scheduler:
    return Scheduler(Limits(slots, waiting, CHUNK, budget_seconds))


def job(number: int, identity: bytes = ANNA, *prompts: int, deadline: float = NEVER) -> Job:
    return Job(number, identity, prompts or (10,), deadline)


def submit(made: Scheduler, *jobs: Job) -> list[int | None]:
    return [made.submit(each, 0.0) for each in jobs]


def admitted(made: Scheduler) -> list[int]:
    """The numbers of the requests that got a slot."""
    return [each.key.number for each in made.admit()]


def run_prefill(made: Scheduler) -> Prefill:
    """Do one chunk, which must be due."""
    step = made.step()
    assert isinstance(step, Prefill)
    made.prefilled(step.key, step.stop - step.start)
    made.took(step, 0.1)
    return step


def test_a_prompt_is_decoded_on_a_fixed_grid_from_its_beginning() -> None:
    made = scheduler()
    submit(made, job(1, ANNA, 150))
    assert admitted(made) == [1]
    assert [(step.start, step.stop) for step in (run_prefill(made) for _ in range(3))] == [
        (0, 64),
        (64, 128),
        (128, 150),
    ]
    assert made.step() == Decode((), (Key(1, 0),))


def test_what_was_known_already_is_not_decoded_and_the_grid_stays() -> None:
    made = scheduler()
    submit(made, job(1, ANNA, 150))
    for each in made.admit():
        made.prefilled(each.key, 100)
    assert [(step.start, step.stop) for step in (run_prefill(made) for _ in range(2))] == [
        (100, 128),
        (128, 150),
    ]


def generating(made: Scheduler, *numbers: int) -> None:
    """Bring these requests to where they generate."""
    submit(made, *(job(number, bytes([number]) * 16) for number in numbers))
    assert admitted(made) == list(numbers)
    prompts = len(numbers)
    while prompts:
        step = made.step()
        assert step is not None
        if isinstance(step, Prefill):
            made.prefilled(step.key, step.stop - step.start)
            prompts -= 1
        made.took(step, 0.1)


def test_between_two_steps_of_those_who_generate_lies_one_chunk() -> None:
    made = scheduler()
    generating(made, 1)
    submit(made, job(9, BERT, 1000))
    assert admitted(made) == [9]
    kinds: list[type] = []
    for _ in range(6):
        step = made.step()
        assert step is not None
        kinds.append(type(step))
        if isinstance(step, Prefill):
            made.prefilled(step.key, step.stop - step.start)
        made.took(step, 0.1)
    assert kinds == [Decode, Prefill] * 3


def test_several_chunks_are_done_where_they_fit_into_the_budget() -> None:
    made = scheduler(budget_seconds=0.05)
    generating(made, 1)
    submit(made, job(9, BERT, 1000))
    assert admitted(made) == [9]
    kinds = ""
    for _ in range(8):
        step = made.step()
        assert step is not None
        kinds += "P" if isinstance(step, Prefill) else "D"
        if isinstance(step, Prefill):
            made.prefilled(step.key, step.stop - step.start)
        made.took(step, 0.02)
    assert kinds == "DPPDPPDP"


def test_a_hole_is_filled_from_the_top_before_the_next_step() -> None:
    made = scheduler(slots=3)
    generating(made, 1, 2, 3)
    assert made.finish(Key(1, 0), 1.0) == 0
    assert made.step() == Decode((Move(2, 0),), (Key(3, 0), Key(2, 0)))
    assert made.step() == Decode((), (Key(3, 0), Key(2, 0)))


def test_a_prompt_in_the_way_changes_places_with_who_generates() -> None:
    made = scheduler(slots=2)
    submit(made, job(1, ANNA, 1000), job(2, BERT, 10))
    assert admitted(made) == [1, 2]
    assert [run_prefill(made).key.number for _ in range(3)] == [1, 1, 2]
    assert made.step() == Decode((Move(1, 0),), (Key(2, 0),))
    made.took(Decode((), ()), 0.0)
    assert run_prefill(made).slot == 1


def test_chunks_are_shared_out_between_identities_and_not_between_requests() -> None:
    made = scheduler(slots=4)
    submit(made, *(job(number, ANNA, 640) for number in (1, 2, 3)), job(4, BERT, 640))
    admitted(made)
    served = Counter(run_prefill(made).key.number == 4 for _ in range(16))
    assert served == {True: 8, False: 8}


def test_a_prompt_that_was_begun_is_read_on_until_it_leads_by_two_chunks() -> None:
    made = scheduler(slots=2)
    submit(made, job(1, ANNA, 640), job(2, BERT, 640))
    admitted(made)
    assert [run_prefill(made).key.number for _ in range(10)] == [1, 1, 2, 2, 2, 2, 1, 1, 1, 1]


def test_a_free_slot_goes_to_who_holds_fewest() -> None:
    made = scheduler(slots=2)
    submit(made, job(1, ANNA), job(2, ANNA), job(3, ANNA), job(4, BERT))
    assert admitted(made) == [1, 4]
    submit(made, job(5, CARL))
    made.cancel(4)
    assert admitted(made) == [5]


def test_who_waits_longest_gets_every_fourth_slot_so_that_newcomers_starve_nobody() -> None:
    made = scheduler(slots=2)
    submit(made, job(1, ANNA), job(2, ANNA))
    waits = 0
    assert admitted(made) == [1, 2]
    submit(made, job(3, ANNA))
    made.cancel(2)
    number = 10
    while True:
        submit(made, Job(number, number.to_bytes(16, "big"), (10,), NEVER))
        got = admitted(made)
        if got == [3]:
            break
        made.cancel(got[0])
        number, waits = number + 1, waits + 1
    assert waits < OLDEST_EVERY


def test_where_too_many_wait_the_greediest_gives_way() -> None:
    made = scheduler(slots=1, waiting=2)
    submit(made, job(1))
    admitted(made)
    assert submit(made, job(2), job(3)) == [None, None]
    assert submit(made, job(4)) == [4]
    assert submit(made, job(5, BERT)) == [3]
    assert submit(made, job(6, BERT)) == [6]
    assert made.waiting_requests == 2


def test_a_request_that_finds_a_free_slot_does_not_count_as_waiting() -> None:
    made = scheduler(slots=2, waiting=0)
    assert submit(made, job(1), job(2), job(3)) == [None, None, 3]


def test_further_choices_begin_when_the_prompt_can_be_had() -> None:
    made = scheduler(slots=4)
    submit(made, job(1, ANNA, 10, 10, 10))
    assert [each.key for each in made.admit()] == [Key(1, 0)]
    run_prefill(made)
    made.share(1)
    assert list(made.admit()) == [Admitted(Key(1, 1), 1), Admitted(Key(1, 2), 2)]


def test_the_texts_of_an_embedding_need_not_wait_for_each_other() -> None:
    made = scheduler(slots=4)
    made.submit(Job(1, ANNA, (5, 500), NEVER, shared=False), 0.0)
    assert [each.key for each in made.admit()] == [Key(1, 0), Key(1, 1)]


def test_a_cancelled_request_frees_its_slots_and_is_never_heard_of_again() -> None:
    made = scheduler(slots=2)
    submit(made, job(1, ANNA, 10, 10), job(2, BERT))
    admitted(made)
    assert made.cancel(1) == [Ended(Key(1, 0), 0), Ended(Key(1, 1), None)]
    assert made.cancel(1) == []
    step = made.step()
    assert isinstance(step, Prefill)
    assert step.key.number == 2


def test_deadlines_are_told() -> None:
    made = scheduler(slots=1)
    submit(made, job(1, deadline=5.0), job(2, deadline=3.0), job(3))
    admitted(made)
    assert made.expired(2.9) == []
    assert made.expired(3.0) == [2]
    assert made.expired(9.0) == [1, 2]


def test_the_estimate_of_when_to_come_back_grows_with_the_queue_and_is_bounded() -> None:
    made = scheduler(slots=1, waiting=1000)
    assert made.retry_after_seconds() == 1
    for number in range(1, 400):
        submit(made, job(number))
    long = made.retry_after_seconds()
    assert long == 60


class FakeEngine(RuleBasedStateMachine):
    """Requests come and go at any time; slots are checked as an engine would hold them."""

    @initialize(slots=st.integers(1, 5), waiting=st.integers(0, 6), budget=st.sampled_from([0.0, 0.3]))
    def start(self, slots: int, waiting: int, budget: float) -> None:
        self.slots, self.waiting = slots, waiting
        self.made = Scheduler(Limits(slots, waiting, CHUNK, budget))
        self.now, self.last = 0.0, 0
        self.held: dict[int, Key] = {}  # by slot
        self.decoded: dict[Key, int] = {}
        self.jobs: dict[int, Job] = {}
        self.open: dict[Key, int] = {}  # the prompt's length, for every sequence that has not ended
        self.generating: set[Key] = set()
        self.over: set[Key] = set()
        self.chunks_in_a_row = 0
        self.steps_without: Counter[Key] = Counter()

    @rule(identity=st.integers(0, 3), lengths=st.lists(st.integers(1, 300), min_size=1, max_size=3))
    def submit(self, identity: int, lengths: list[int]) -> None:
        self.last += 1
        self.submit_job(Job(self.last, bytes([identity]) * 16, (lengths[0],) * len(lengths), self.now + 1e6))

    @rule(lengths=st.lists(st.integers(1, 300), min_size=1, max_size=4))
    def submit_texts(self, lengths: list[int]) -> None:
        self.last += 1
        self.submit_job(Job(self.last, ANNA, tuple(lengths), self.now + 1e6, shared=False))

    def submit_job(self, made: Job) -> None:
        loser = self.made.submit(made, self.now)
        self.jobs[made.number] = made
        for choice, tokens in enumerate(made.prompts):
            self.open[Key(made.number, choice)] = tokens
        if loser is not None:
            assert all(key.number != loser for key in self.held.values()), "who has begun keeps its slot"
            self.forget(loser)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.jobs)))
        ended = self.made.cancel(number)
        assert {each.key for each in ended} == {key for key in self.open if key.number == number}
        for each in ended:
            if each.slot is not None:
                assert self.held.pop(each.slot) == each.key
        self.forget(number)

    @rule(count=st.integers(1, 30), data=st.data())
    def work(self, count: int, data: st.DataObject) -> None:
        for _ in range(count):
            self.step(data)

    def step(self, data: st.DataObject) -> None:
        self.admit()
        step = self.made.step()
        assert (step is None) == (not self.held)
        match step:
            case Prefill():
                self.prefill(step)
            case Decode():
                self.decode(step, data)
            case None:
                return
        self.now += 0.1
        self.made.took(step, 0.1)

    def prefill(self, step: Prefill) -> None:
        self.chunks_in_a_row += bool(self.generating)
        assert self.chunks_in_a_row <= 3 or not self.generating, "those who generate are not kept waiting"
        assert self.held[step.slot] == step.key, "the step is of the sequence that holds the slot"
        assert step.start == self.decoded[step.key]
        assert step.start < step.stop <= self.open[step.key]
        assert step.stop % CHUNK == 0 or step.stop == self.open[step.key]
        assert step.start // CHUNK == (step.stop - 1) // CHUNK, "a chunk keeps to the grid"
        self.prefilled(step.key, step.stop - step.start)

    def prefilled(self, key: Key, tokens: int) -> None:
        self.decoded[key] += tokens
        complete = self.made.prefilled(key, tokens)
        assert complete == (self.decoded[key] == self.open[key])
        if not complete:
            return
        if not self.jobs[key.number].shared:
            self.finish(key)
            return
        self.generating.add(key)
        self.made.share(key.number)

    def decode(self, step: Decode, data: st.DataObject) -> None:
        self.chunks_in_a_row = 0
        self.follow(step.moves)
        assert set(step.keys) == self.generating, "everybody who generates has a turn"
        assert [self.held[slot] for slot in range(len(step.keys))] == list(step.keys)
        for key in step.keys:
            if data.draw(st.integers(0, 3)) == 0:
                self.finish(key)

    def finish(self, key: Key) -> None:
        slot = self.made.finish(key, self.now)
        assert self.held.pop(slot) == key
        self.generating.discard(key)
        del self.open[key]
        self.over.add(key)
        if all(other.number != key.number for other in self.open):
            del self.jobs[key.number]

    def forget(self, number: int) -> None:
        for key in [key for key in self.open if key.number == number]:
            del self.open[key]
            self.generating.discard(key)
            self.over.add(key)
        del self.jobs[number]

    @invariant()
    def capacity_is_never_exceeded(self) -> None:
        if not hasattr(self, "made"):
            return
        assert len(self.held) == self.made.used_slots <= self.slots
        assert self.made.waiting_requests <= max(self.waiting, 0) + self.slots
        assert self.made.idle == (not self.open)
        assert not self.over & set(self.held.values()), "what is over holds nothing"

    @override
    def teardown(self) -> None:
        """Nobody starves: without newcomers, everything that was asked for comes to its end."""
        if not hasattr(self, "made"):
            return
        tokens = sum(self.open.values())
        for _ in range(10 * (tokens // CHUNK + len(self.open) * 12 + 10)):
            if self.made.idle:
                break
            self.drain()
        assert self.made.idle

    def drain(self) -> None:
        self.admit()
        step = self.made.step()
        if isinstance(step, Prefill):
            self.prefill(step)
        elif step:
            self.chunks_in_a_row = 0
            self.follow(step.moves)
            self.finish(step.keys[0])
        if step:
            self.made.took(step, 0.1)

    def admit(self) -> None:
        for each in self.made.admit():
            assert each.slot not in self.held, "one slot, one sequence"
            assert each.key in self.open
            self.held[each.slot] = each.key
            self.decoded[each.key] = 0
            if each.key.choice and self.jobs[each.key.number].shared:
                self.prefilled(each.key, self.open[each.key])

    def follow(self, moves: tuple[Move, ...]) -> None:
        for move in moves:
            source, target = self.held.pop(move.source, None), self.held.pop(move.target, None)
            if source:
                self.held[move.target] = source
            if target:
                self.held[move.source] = target


TestEverythingAtOnce = FakeEngine.TestCase
TestEverythingAtOnce.settings = settings(
    max_examples=25, stateful_step_count=20, deadline=None, derandomize=True
)
