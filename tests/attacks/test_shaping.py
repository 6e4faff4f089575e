# SPDX-License-Identifier: Apache-2.0
"""What the host learns from sizes and times: of streams, of refusals, and over many answers (wire.md 6.7)."""

import cmath
import itertools
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pytest

from benchmarks import _attackers as attackers
from benchmarks import _synthetic as synthetic
from benchmarks._texts import docstrings
from enclave.keys import KeyRing
from enclave.session import OuterAnswer, Refused, RequestReceiver
from sottovoce.chat import ApiError, Turn
from sottovoce.transport import Connection
from tests.conftest import Pair
from wire import frames, hpke, ohttp, varint
from wire.shaping import (
    DEFAULT,
    FRAME_BYTES,
    FRAMES_PER_GROUP,
    MULTIPLES,
    TICK_MILLISECONDS,
    Frames,
    Off,
    Shaping,
)

MODEL: Final = "smollm2-135m-instruct"
TAG_BYTES, NONCE_BYTES = 16, 32
LONG_PROMPT = "Explain this list of numbers: " + " ".join(str(number) for number in range(60))
# (what is asked, how many tokens may come back, and for which model)
PROMPTS = {
    "one token": ("Say yes.", 1, MODEL),
    "a long answer": ("Write a very long story about a lighthouse.", 60, MODEL),
    "a long prompt": (LONG_PROMPT, 16, MODEL),
    "an error": ("Say yes.", 1, "no-such-model"),
}
# Sixteen moments that know nothing of the tick come so far once in fifty times; those of four answers never.
LEAST_IN_STEP = 0.5
AUPRC_MARGIN, LEAST_WITHOUT_SHAPING = 0.05, 0.12
BAND = 4.0  # between the medians of two ways to be refused


@dataclass(frozen=True, slots=True)
class Seen:
    """An answer as it passed the host: sizes of its sealed chunks, and when each of them was complete."""

    sizes: list[int]
    seconds: list[float]

    @property
    def frames(self) -> list[int]:
        """How many times a frame's size each chunk is, between the head and the empty last chunk."""
        return [(size - TAG_BYTES) // FRAME_BYTES for size in self.sizes[1:-1]]


def seen(pair: Pair, before: int) -> Seen:
    """What passed between host and enclave since then: one answer on the link."""
    pieces, moments = pair.inside.backward[before:], pair.inside.backward_seconds[before:]
    reader = frames.AnswerHeadReader()
    data = b"".join(pieces)
    head = reader.receive(data)
    assert head == frames.AnswerHead(200, ohttp.CHUNKED_RESPONSE)
    ends = list(itertools.accumulate(map(len, pieces)))
    offset, sizes, seconds = len(data) - len(reader.rest) + NONCE_BYTES, list[int](), list[float]()
    while offset < len(data):
        size, offset = varint.decode(data, offset)
        size = size or len(data) - offset  # a length of zero means that the last chunk goes to the end
        offset += size
        sizes.append(size)
        seconds.append(next(moment for end, moment in zip(ends, moments, strict=True) if end >= offset))
    return Seen(sizes, seconds)


def ask(pair: Pair, name: str, shaping: Shaping = DEFAULT) -> Seen:
    """Ask one of the questions in a session, for a stream, and return what the host saw."""
    prompt, tokens, model = PROMPTS[name]
    with Connection(pair.url, pair.policy, shaping=shaping) as connection:
        connection.open()
        before = len(pair.inside.backward)
        try:
            list(connection.chat(model, [Turn("user", prompt)], temperature=0, max_tokens=tokens))
        except ApiError:
            assert model != MODEL
        return seen(pair, before)


@pytest.fixture(scope="module")
def answers(pair: Pair) -> dict[str, Seen]:
    """What the host saw of each of them."""
    return {name: ask(pair, name) for name in PROMPTS}


@pytest.mark.alone
def test_29_streams_of_very_different_answers_look_alike(answers: dict[str, Seen]) -> None:
    assert {answer.sizes[0] for answer in answers.values()} == {answers["an error"].sizes[0]}
    for answer in answers.values():
        assert all((size - TAG_BYTES) % FRAME_BYTES == 0 for size in answer.sizes[1:-1])
        assert set(answer.frames) <= set(MULTIPLES)
        assert len(answer.frames) % FRAMES_PER_GROUP == 0
        assert answer.sizes[-1] == TAG_BYTES
    assert len(answers["an error"].frames) == FRAMES_PER_GROUP  # as many as a short answer has


@pytest.mark.alone
def test_29_frames_leave_at_a_tick_that_the_answer_does_not_move(answers: dict[str, Seen]) -> None:
    for name, answer in answers.items():
        assert in_step(answer.seconds[:-1]) > LEAST_IN_STEP, name


def in_step(moments: list[float]) -> float:
    """How well moments keep to the tick: 1 exactly, and near 0 where they know nothing of it.

    The length of the mean of their phases as unit vectors, so that no single moment is the measure of others.
    """
    turns = [2j * cmath.pi * moment * 1000 / TICK_MILLISECONDS for moment in moments]
    return abs(sum(cmath.exp(turn) for turn in turns)) / len(moments)


def test_29_without_shaping_the_same_answer_shows_its_tokens(pair: Pair) -> None:
    sizes = ask(pair, "a long answer", Off()).sizes[1:-1]
    assert len(set(sizes)) > 3
    assert any((size - TAG_BYTES) % FRAME_BYTES for size in sizes)


def test_29_sizes_and_times_of_frames_do_not_tell_the_topic() -> None:
    """The smaller run of `benchmarks.leakage`, on texts: without shaping the same attackers see the topic."""
    texts = docstrings("numpy", targets=120, others=480)

    def auprc(shaping: Frames | Off) -> tuple[float, float]:
        traces = [synthetic.trace(text, shaping, seed=number) for number, text in enumerate(texts)]
        guessed = max(attackers.boosting(traces, trees=30, folds=3), attackers.language(traces))
        return guessed, attackers.prior(traces)

    plain, prior = auprc(Off())
    framed, _ = auprc(Frames())
    assert plain - prior > LEAST_WITHOUT_SHAPING
    assert framed - prior < AUPRC_MARGIN


def refused(ring: KeyRing, body: bytes) -> float:
    """Seconds until a request is refused with the answer for all faults."""
    receiver = RequestReceiver(ring, ohttp.CHUNKED_REQUEST)
    begun = time.perf_counter()
    with pytest.raises(Refused) as refusal:
        receiver.receive(body, 0.0)
    took = time.perf_counter() - begun
    assert refusal.value.answer is OuterAnswer.MALFORMED
    return took


@pytest.mark.alone
@pytest.mark.parametrize("kem", [hpke.Kem.X_WING, hpke.Kem.X25519])
def test_30_causes_of_a_refusal_take_about_the_same_time(
    kem: hpke.Kem, record_property: Callable[[str, object], None]
) -> None:
    """A bad encapsulated key and a bad tag: one does not take many times as long as the other."""
    ring = KeyRing(0)
    epoch = ring.make_epoch(0.0)
    ring.install(epoch, 0.0)
    [configuration] = [known for known in ohttp.decode_key_list(epoch.key_list) if known.kem is kem]
    times: dict[str, list[float]] = {"decapsulation": [], "tag": []}
    for _ in range(200):  # in alternation, so that a busy machine disturbs both alike
        sealer = ohttp.RequestSealer(configuration, configuration.suites[0])
        body = sealer.seal(os.urandom(1024), last=False)
        start = ohttp.HEAD_SIZE + kem.enc_size
        foreign = body[: ohttp.HEAD_SIZE] + os.urandom(kem.enc_size) + body[start:]
        times["decapsulation"].append(refused(ring, foreign))
        times["tag"].append(refused(ring, body[:-1] + bytes([body[-1] ^ 1])))
    medians = {cause: statistics.median(values) for cause, values in times.items()}
    for cause, median in medians.items():
        record_property(f"{kem.name} {cause} microseconds", round(median * 1e6, 1))
    assert max(medians.values()) < BAND * min(medians.values())
