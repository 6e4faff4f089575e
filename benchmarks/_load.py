# SPDX-License-Identifier: Apache-2.0
"""Streams of questions to a server of OpenAI's interface, and how their answers arrive."""

import itertools
import json
import random
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

import httpx

from sottovoce.session import Content
from sottovoce.transport import Connection

WORDS = ("river", "stone", "light", "paper", "window", "garden", "winter", "music", "bread", "horse", "lamp")
LONG_WORDS, LONG_GAP_SECONDS = 800, 0.2


class Target(Protocol):
    """A server under load."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    def answer(self, prompt: str, tokens: int) -> Iterator[None]:
        """One answer of exactly so many tokens: something for each piece of it."""
        ...


@dataclass(frozen=True, slots=True)
class Ours:
    """The enclave, through the host and the real client."""

    name: str
    connection: Connection
    model: str
    endings: dict[str, float]

    def answer(self, prompt: str, tokens: int) -> Iterator[None]:
        """One sealed answer; the tokens that would end it early are made impossible."""
        body = request(self.model, prompt, tokens) | {"logit_bias": self.endings}
        held = b""
        for event in self.connection.stream("POST", "/v1/chat/completions", json.dumps(body).encode()):
            if isinstance(event, Content):
                held, count = pieces(held + event.data)
                yield from (None for _ in range(count))


@dataclass(frozen=True, slots=True)
class Peer:
    """A server that speaks in clear over HTTP."""

    name: str
    http: httpx.Client
    model: str
    extra: dict[str, object]

    def answer(self, prompt: str, tokens: int) -> Iterator[None]:
        """One answer in clear."""
        body, held = request(self.model, prompt, tokens) | self.extra, b""
        with self.http.stream("POST", "/v1/chat/completions", json=body) as response:
            response.raise_for_status()
            for data in response.iter_raw():
                held, count = pieces(held + data)
                yield from (None for _ in range(count))


def request(model: str, prompt: str, tokens: int) -> dict[str, object]:
    """The body of a question."""
    messages = [{"role": "user", "content": prompt}]
    return {"model": model, "messages": messages, "stream": True, "temperature": 0, "max_tokens": tokens}


def pieces(data: bytes) -> tuple[bytes, int]:
    """What is left of some server-sent events, and how many of them brought text."""
    *lines, rest = data.replace(b"\r\n", b"\n").split(b"\n\n")
    found = 0
    for line in lines:
        text = line.removeprefix(b"data: ")
        if text.startswith(b"{"):
            event = json.loads(text)
            found += any(choice.get("delta", {}).get("content") for choice in event.get("choices", ()))
    return rest, found


@dataclass(slots=True)
class Run:
    """How the answers of one run arrived: seconds to the first piece, seconds between pieces, tokens."""

    seconds: float = 0.0
    tokens: int = 0
    firsts: list[float] = field(default_factory=list[float])
    gaps: list[float] = field(default_factory=list[float])

    def add(self, started: float, arrivals: list[float], tokens: int) -> None:
        """Count one answer."""
        self.tokens += tokens
        self.firsts.append(arrivals[0] - started)
        self.gaps += [later - earlier for earlier, later in itertools.pairwise(arrivals)]

    def row(self) -> dict[str, float]:
        """The figures: tokens per second, and times in milliseconds."""
        return {
            "tokens_per_second": round(self.tokens / self.seconds, 2),
            "ttft_p50_ms": percentile(self.firsts, 50),
            "ttft_p95_ms": percentile(self.firsts, 95),
            "itl_p50_ms": percentile(self.gaps, 50),
            "itl_p95_ms": percentile(self.gaps, 95),
            "itl_p99_ms": percentile(self.gaps, 99),
        }


def percentile(seconds: list[float], share: int) -> float:
    """In milliseconds."""
    if len(seconds) < 2:
        return round(1000 * sum(seconds), 1)
    return round(1000 * statistics.quantiles(seconds, n=100, method="inclusive")[share - 1], 1)


def prompt_of(words: int, seed: int) -> str:
    """A prompt of about so many tokens that no server has seen before."""
    numbers = random.Random(seed)  # noqa: S311 - any prompt will do
    return f"Question {seed}: " + " ".join(numbers.choice(WORDS) for _ in range(words))


def load(target: Target, questions: list[tuple[str, int]], streams: int) -> Run:
    """Ask all questions, so many at a time."""
    run, lock = Run(), threading.Lock()

    def ask(question: tuple[str, int]) -> None:
        prompt, tokens = question
        started = time.perf_counter()
        arrivals = [time.perf_counter() for _ in target.answer(prompt, tokens)]
        with lock:
            run.add(started, arrivals, tokens)

    started = time.perf_counter()
    with ThreadPoolExecutor(streams) as pool:
        list(pool.map(ask, questions))
    run.seconds = time.perf_counter() - started
    return run


def uniform(target: Target, streams: int, seed: int) -> Run:
    """So many streams at once, each with about 100 tokens of prompt and 128 of answer."""
    return load(target, [(prompt_of(70, seed + number), 128) for number in range(streams)], streams)


def ragged(target: Target, streams: int, seed: int) -> Run:
    """Prompts of 15 to 250 tokens and answers of 16 to 240, the next as soon as one is done."""
    numbers = random.Random(seed)  # noqa: S311 - a shape of traffic, the same for all
    questions = [
        (prompt_of(round(8 * 28 ** numbers.random()), seed + number), numbers.randint(16, 240))
        for number in range(round(2.5 * streams))
    ]
    return load(target, questions, streams)


def long_prompts(target: Target, seed: int, streams: int = 4, count: int = 3) -> Run:
    """The gaps of some streams while long prompts arrive, one after another."""
    stop = threading.Event()

    def disturb() -> None:
        for number in range(count):
            if stop.wait(LONG_GAP_SECONDS):
                return
            for _ in target.answer(prompt_of(LONG_WORDS, seed + 1000 + number), 2):
                pass

    other = threading.Thread(target=disturb)
    other.start()
    try:
        return load(target, [(prompt_of(20, seed + number), 160) for number in range(streams)], streams)
    finally:
        stop.set()
        other.join()
