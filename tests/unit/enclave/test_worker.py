# SPDX-License-Identifier: Apache-2.0
"""Many conversations on the real model: each gets its own answer, and nobody sees what another said."""

import itertools
import json
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache

import msgspec
import numpy as np
import pytest

from enclave.api.call_forms import FORMS, CallForm
from enclave.api.calls import Call, call_reader
from enclave.api.parameters import Function
from enclave.api.shapes import call_shape
from enclave.engine import llama
from enclave.engine.protocol import (
    Begun,
    Cancel,
    Command,
    Conversation,
    Embed,
    Embedded,
    Finished,
    FinishReason,
    Generate,
    Order,
    PlainText,
    Prompt,
    Rejected,
    Rejection,
    Report,
    Role,
    Sampling,
    Shape,
    Text,
    TokenList,
    Tool,
    Turn,
)
from enclave.engine.rehearsal import rehearse
from enclave.engine.scheduler import Limits
from enclave.engine.snapshots import SessionMemory, SnapshotError
from enclave.engine.worker import Worker, common_length
from models.fetch import weights_path
from models.manifest import find_manifest

CONTEXT_TOKENS, SLOTS, WAITING = 256, 4, 64
GREEDY = Sampling(temperature=0)
ANNA, BERT = bytes([1]) * 16, bytes([2]) * 16
SESSION = bytes([3]) * 16
NUMBERS = itertools.count(1)


@cache
def model() -> llama.Model:
    llama.load_backends()
    path = str(weights_path(find_manifest("smollm2-135m-instruct")))
    return llama.Model(path, context_tokens=CONTEXT_TOKENS, threads=1, slots=SLOTS)


@dataclass(slots=True)
class Clock:
    """Time that passes when it is told to."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass(slots=True)
class Place:
    """A worker on the model whose slots are empty."""

    clock: Clock = field(default_factory=Clock)
    worker: Worker = field(init=False)
    memory: SessionMemory = field(init=False)

    def __post_init__(self) -> None:
        self.memory = SessionMemory(b"test", 1 << 26)
        limits = Limits(SLOTS, WAITING, llama.CHUNK_TOKENS)
        self.worker = Worker(model(), self.memory, limits, self.clock)

    def take(self, *commands: Command) -> None:
        for command in commands:
            self.worker.take(command)

    def work(self, steps: int = 10**6) -> list[Report]:
        """Work until nothing is left; what was told."""
        told = self.worker.reports()
        for _ in range(steps):
            if self.worker.scheduler.idle:
                break
            self.worker.step()
            told += self.worker.reports()
        return told


@pytest.fixture
def place() -> Iterable[Place]:
    made = Place()
    yield made
    assert made.worker.scheduler.idle, "a test leaves nothing behind"
    assert [model().length(slot) for slot in range(SLOTS)] == [0] * SLOTS


def order(prompt: Prompt | str, sampling: Sampling = GREEDY, most: int = 8, **more: object) -> Order:
    made = PlainText(prompt) if isinstance(prompt, str) else prompt
    fields = {"identity": ANNA, "prompt": made, "sampling": sampling, "max_tokens": most} | more
    return Order(**fields)  # type: ignore[arg-type]


def generate(wanted: Order) -> Generate:
    return Generate(next(NUMBERS), wanted)


def answer(place: Place, wanted: Order) -> str:
    """One answer of a worker with nothing else to do."""
    place.take(generate(wanted))
    return text(place.work())


def text(told: list[Report], number: int | None = None, choice: int = 0) -> str:
    return "".join(
        report.text
        for report in told
        if isinstance(report, Text) and report.choice == choice and number in (None, report.generation)
    )


def test_an_answer_begins_goes_on_and_ends(place: Place) -> None:
    question = Conversation((Turn(Role.USER, "Say hello in French."),))
    place.take(Generate(7, order(question, most=40)))
    first, *rest, last = place.work()
    assert isinstance(first, Begun)
    assert (first.generation, first.cached_tokens) == (7, 0)
    assert {type(report) for report in rest} == {Text}
    assert isinstance(last, Finished)
    assert last.reason is FinishReason.STOP
    assert "onjour" in text(rest)


def test_an_answer_among_others_is_the_answer_alone(place: Place) -> None:
    orders = [order(f"{number} " * (10 + 30 * number), most=6) for number in range(6)]
    expected = [answer(place, each) for each in orders]
    commands = [generate(each) for each in orders]
    told: list[Report] = []
    for command in commands:
        place.take(command)
        told += place.work(2)
    told += place.work()
    assert [text(told, command.generation) for command in commands] == expected


def test_choices_share_the_prompt_and_have_seeds_of_their_own(place: Place) -> None:
    wanted = order("Once upon a time", Sampling(1.5, seed=11), most=6)
    alone = [
        answer(place, order("Once upon a time", Sampling(1.5, seed=11 + choice), most=6))
        for choice in range(6)
    ]
    place.worker.tell()
    place.take(generate(order(wanted.prompt, wanted.sampling, most=6, choices=6)))
    told = place.work()
    assert [text(told, choice=choice) for choice in range(6)] == alone
    assert place.worker.tally.chunks == 1, "more choices than slots, and the prompt was computed once"
    assert sum(isinstance(report, Begun) for report in told) == 1
    assert sorted(report.choice for report in told if isinstance(report, Finished)) == list(range(6))


def test_stop_strings_end_an_answer_and_are_not_part_of_it(place: Place) -> None:
    whole = answer(place, order("One, two, three, four,", most=12))
    stop = whole[5:9]
    place.take(generate(order("One, two, three, four,", most=12, stop=(stop,))))
    told = place.work()
    assert text(told) == whole[: whole.index(stop)]
    assert isinstance(told[-1], Finished)
    assert told[-1].reason is FinishReason.STOP


def test_probabilities_are_told_for_every_token(place: Place) -> None:
    place.take(generate(order("The capital of France is", most=5, top_logprobs=3)))
    *told, last = place.work()
    entries = [entry for report in told if isinstance(report, Text) for entry in report.logprobs]
    assert isinstance(last, Finished)
    assert len(entries) == last.completion_tokens == 5
    assert b"".join(entry.token for entry in entries).decode() == text(told)
    for entry in entries:
        assert len(entry.top) == 3
        assert entry.top[0] == (entry.token, entry.logprob), "greedy takes the likeliest"
        assert entry.logprob <= 0


def test_an_answer_has_the_shape_that_was_asked_for(place: Place) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "boolean"}, "b": {"enum": ["x", "y"]}},
        "required": ["a", "b"],
        "additionalProperties": False,
    }
    shape = Shape(json.dumps(schema), "<call>", "</call>")
    told = answer(place, order("Hello", Sampling(1.2, seed=3), most=60, shape=shape))
    document = json.loads(told.removeprefix("<call>").removesuffix("</call>"))
    assert set(document) == {"a", "b"}


@pytest.mark.parametrize("form", FORMS.values())
def test_a_demanded_call_is_read_back_in_every_form(place: Place, form: CallForm) -> None:
    parameters = {"type": "object", "properties": {"b": {"enum": ["x", "y"]}}, "required": ["b"]}
    raw = msgspec.Raw(json.dumps(parameters | {"additionalProperties": False}).encode())
    wanted = call_shape([(Function(name="weather", parameters=raw), "tools")], form)
    reader = call_reader(frozenset({"weather"}), form)
    written = answer(place, order("Hello", Sampling(1.2, seed=3), most=80, shape=wanted))
    (call,) = [*reader.receive(written), *reader.end()]
    assert isinstance(call, Call)
    assert call.name == "weather"
    assert json.loads(call.arguments)["b"] in ("x", "y")


@pytest.mark.parametrize(
    ("wanted", "rejection"),
    [
        (order("word " * 400), Rejection.PROMPT_TOO_LONG),
        (order("word " * 400000), Rejection.PROMPT_TOO_LONG),
        (order(""), Rejection.PROMPT_EMPTY),
        (order(TokenList((1 << 30,))), Rejection.TOKEN_UNKNOWN),
        (order("a", Sampling(logit_bias=((1 << 30, 1.0),))), Rejection.TOKEN_UNKNOWN),
        (order("a", shape=Shape('{"not": {}}')), Rejection.SCHEMA_REFUSED),
        (
            order(Conversation((Turn(Role.USER, "a"),), (Tool("f", "", "{}"),))),
            Rejection.TEMPLATE_REFUSED,
        ),
    ],
)
def test_what_cannot_be_begun_is_rejected_before_any_work(
    place: Place, wanted: Order, rejection: Rejection
) -> None:
    place.take(Generate(5, wanted))
    (told,) = place.work()
    assert isinstance(told, Rejected)
    assert (told.generation, told.rejection) == (5, rejection)
    assert (told.prompt_tokens > CONTEXT_TOKENS) == (rejection is Rejection.PROMPT_TOO_LONG)
    assert place.worker.tally.chunks == 0


def test_who_comes_when_too_many_wait_is_told_when_to_come_back(place: Place) -> None:
    commands = [generate(order("a", most=1)) for _ in range(SLOTS + WAITING + 1)]
    place.take(commands[0])
    place.worker.step()
    place.take(*commands[1:])
    told = place.work()
    busy = [report for report in told if isinstance(report, Rejected)]
    assert [report.rejection for report in busy] == [Rejection.BUSY] * len(busy)
    assert busy
    assert all(report.retry_after_seconds >= 1 for report in busy)
    assert sum(isinstance(report, Finished) for report in told) == len(commands) - len(busy)


def test_a_cancelled_generation_ends_within_one_step_and_is_never_heard_of_again(place: Place) -> None:
    place.take(Generate(1, order("word " * 200, most=50)), Generate(2, order("Hello", most=3)))
    place.work(2)
    place.take(Cancel(1), Cancel(1), Cancel(99))
    told = place.work()
    assert told[0] == Finished(1, FinishReason.CANCELLED, 0)
    assert {report.generation for report in told[1:] if isinstance(report, Text | Finished | Begun)} == {2}


def test_a_deadline_ends_a_generation(place: Place) -> None:
    place.take(Generate(1, order("Hello", most=100, limit_seconds=5.0)))
    place.work(4)
    place.clock.now = 5.0
    told = place.work()
    assert isinstance(told[-1], Finished)
    assert told[-1].reason is FinishReason.DEADLINE


def test_vectors_are_of_unit_length_and_like_texts_are_near(place: Place) -> None:
    texts = ("a small cat", "a little kitten", "the price of oil fell sharply on Monday " * 12)
    place.take(Embed(4, ANNA, tuple(map(PlainText, texts))), generate(order("Hello", most=4)))
    (told,) = [report for report in place.work() if isinstance(report, Embedded)]
    cat, kitten, oil = (np.frombuffer(vector, "<f4") for vector in told.vectors)
    assert [float(np.linalg.norm(vector)) for vector in (cat, kitten, oil)] == pytest.approx([1, 1, 1])
    assert cat @ kitten > cat @ oil
    assert told.prompt_tokens > 60
    place.take(Embed(5, ANNA, (PlainText(texts[0]),)))
    (again,) = place.work()
    assert isinstance(again, Embedded)
    assert again.vectors[0] == told.vectors[0], "others' texts change no bit of a vector"


def test_a_session_goes_on_from_what_it_had_and_says_the_same(place: Place) -> None:
    wanted = order("Tell me more about it. " * 24, most=4)
    expected = answer(place, wanted)
    with_session = order(wanted.prompt, most=4, session=SESSION)
    place.take(generate(with_session))
    first = place.work()
    place.take(generate(with_session))
    second = place.work()
    assert text(first) == text(second) == expected
    begun = [report.cached_tokens for told in (first, second) for report in told if isinstance(report, Begun)]
    assert begun[0] == 0
    assert begun[1] >= 128


def test_a_spoiled_snapshot_never_reaches_the_model() -> None:
    made, session = Place(), order("Tell me more about it. " * 24, most=4, session=SESSION)
    made.take(generate(session))
    made.work()
    kept = made.memory.snapshots[ANNA, SESSION]
    kept.state[len(kept.state) // 2] ^= 1
    made.take(generate(session))
    with pytest.raises(SnapshotError):
        made.work()
    assert [model().length(slot) for slot in range(SLOTS)] == [0] * SLOTS


def test_nobody_gains_time_from_what_another_identity_asked(place: Place) -> None:
    prompt = "A prompt that two people have in common. " * 16
    place.take(generate(order(prompt, most=2, session=SESSION)))
    place.work()
    place.worker.tell()
    for identity, session in ((BERT, SESSION), (BERT, b""), (ANNA, b""), (ANNA, bytes(16))):
        place.take(generate(order(prompt, most=2, identity=identity, session=session)))
        begun = place.work()[0]
        assert isinstance(begun, Begun)
        assert begun.cached_tokens == 0
    assert place.worker.tell().cached_tokens == 0


def test_every_kind_of_work_is_rehearsed() -> None:
    made = Place()
    rehearse(made.worker, vocabulary_size=model().vocabulary.size)
    assert made.worker.scheduler.idle


def test_counters_hold_no_one_conversation(place: Place) -> None:
    answer(place, order("Hello", most=3))
    short = place.worker.tell()
    answer(place, order("Hello, how are you?", most=9))
    assert place.worker.tell() == short


def test_some_conversations_on_the_real_model_and_none_sees_anothers(place: Place) -> None:
    """Each repeats a secret of its own; many are cancelled. Thousands of them are in test_leaks."""
    numbers = random.Random(5)
    secrets: dict[int, str] = {}
    told: dict[int, str] = {}
    for number in itertools.islice(NUMBERS, 40):
        secret = "".join(numbers.choices("bcdfghjklm", k=6))
        secrets[number] = secret
        identity = bytes([numbers.randrange(1, 5)]) * 16
        session = identity[:15] + bytes([numbers.randrange(2)]) if numbers.random() < 0.3 else b""
        prompt = f"The word is {secret}. The word is {secret}. The word is {secret}. The word is"
        place.take(Generate(number, order(prompt, most=8, identity=identity, session=session)))
        collect(told, place.work(numbers.randrange(4)))
        if numbers.random() < 0.3:
            place.take(Cancel(numbers.choice(list(secrets))))
    collect(told, place.work())
    right = sum(told.get(number, "").strip().startswith(secret) for number, secret in secrets.items())
    assert right > len(secrets) // 4, "the model does repeat what it was told"
    for number, said in told.items():
        assert not any(secret in said for other, secret in secrets.items() if other != number)


def collect(told: dict[int, str], reports: list[Report]) -> None:
    for report in reports:
        if isinstance(report, Text):
            told[report.generation] = told.get(report.generation, "") + report.text


def test_the_common_beginning_of_two_sequences() -> None:
    def array(*numbers: int) -> llama.Tokens:
        return np.array(numbers, np.int32)

    assert common_length(array(1, 2, 3), array(1, 2, 4, 5)) == 2
    assert common_length(array(1, 2), array(1, 2, 4)) == 2
    assert common_length(array(), array(1)) == 0
