# SPDX-License-Identifier: Apache-2.0
"""Every kind of work once, before the process is confined.

Libraries load some of their modules at first use, llama.cpp starts its threads with the first steps, and
afterwards nothing can be opened and no thread made. It is a self-test as well.
"""

from msgspec.structs import replace

from enclave.engine.llama import EngineError
from enclave.engine.protocol import (
    Conversation,
    Embed,
    Finished,
    Generate,
    Order,
    PlainText,
    Role,
    Sampling,
    Shape,
    Tool,
    Turn,
)
from enclave.engine.worker import Worker

NOBODY = bytes(16)
SESSION = bytes(range(16))
WORDS = "word " * 80  # more than one chunk, and enough to be remembered
SCHEMA = (
    '{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"],"additionalProperties":false}'
)


def rehearse(worker: Worker, *, vocabulary_size: int) -> None:
    """Generate, twice in one session, with every sampler; compute a vector; refuse. Raises EngineError."""
    number = 0

    def play(order: Order) -> None:
        nonlocal number
        number += 1
        worker.take(Generate(number, order))

    sampled = Sampling(
        temperature=0.7,
        top_p=0.9,
        seed=1,
        top_k=40,
        min_p=0.01,
        frequency_penalty=0.1,
        logit_bias=((vocabulary_size - 1, -1.0),),
    )
    text = Order(
        identity=NOBODY,
        session=SESSION,
        prompt=PlainText(WORDS),
        sampling=Sampling(temperature=0),
        max_tokens=4,
    )
    play(text)
    _finish(worker)
    play(replace(text, choices=2, top_logprobs=2))
    turns, tool = (Turn(Role.USER, "a"),), Tool("a", "b", '{"type":"object"}')
    play(replace(text, prompt=Conversation(turns, (tool,)), sampling=sampled, stop=("stop",)))
    play(replace(text, prompt=Conversation(turns), sampling=sampled, shape=Shape(SCHEMA, "<", ">")))
    worker.take(Embed(number + 1, NOBODY, (PlainText("a"),)))
    reports = _finish(worker)
    if not reports:
        raise EngineError("the rehearsal gave no answer")
    worker.forget(NOBODY, SESSION)
    worker.rest()


def _finish(worker: Worker) -> int:
    """Work until nothing is left; how many answers were complete."""
    complete = 0
    while not worker.scheduler.idle:
        worker.step()
        complete += sum(isinstance(report, Finished) for report in worker.reports())
    return complete
