# SPDX-License-Identifier: Apache-2.0
"""The engine process: started by the supervisor, joined to the session process by a socketpair.

1. Refuse tracing, core dumps and swap.
2. Load the CPU code and the weights from sealed memory, and check that they compute what they should.
3. Let nothing else be opened, rehearse, so that all threads exist, then allow only these system calls.
4. Work for many at once until the session process closes its end.
"""

import os
import socket
import sys
import time
from dataclasses import dataclass

import numpy as np
from llama_cpp import llama_cpp as library

from enclave.engine import llama
from enclave.engine.channel import Channel, Disconnected
from enclave.engine.check import check_library, check_model
from enclave.engine.protocol import ProtocolError, Ready
from enclave.engine.rehearsal import rehearse
from enclave.engine.scheduler import Limits
from enclave.engine.snapshots import SessionMemory
from enclave.engine.tally import INTERVAL_SECONDS
from enclave.engine.worker import Worker
from enclave.events import Crashed, Part, Unprotected, hide_tracebacks, log, nothing_but_events
from enclave.protection import Protector, before_secrets, only_system_calls, without_files

# No call that opens, connects, executes or creates.
SYSTEM_CALLS = """
    read write close poll mmap mprotect munmap brk rt_sigprocmask rt_sigreturn sched_yield mremap madvise
    getpid sendto recvfrom exit gettid futex sched_getaffinity clock_gettime clock_nanosleep exit_group tgkill
    getrandom rseq
"""
BUDGET_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Options:
    """What the supervisor says: descriptors first, then the configuration, then what it measured."""

    weights: int
    connection: int
    required: bool
    context_tokens: int
    threads: int
    slots: int
    waiting_requests: int
    memory_bytes: int
    session_memory_bytes: int
    model_digest: bytes

    @classmethod
    def parse(cls, arguments: list[str]) -> "Options":
        """Numbers in the order of the fields, and the model's digest in hexadecimal."""
        weights, connection, required, context, threads, slots, waiting, memory, session = map(
            int, arguments[:-1]
        )
        return cls(
            weights,
            connection,
            bool(required),
            context,
            threads,
            slots,
            waiting,
            memory,
            session,
            bytes.fromhex(arguments[-1]),
        )


def load(options: Options) -> llama.Model:
    """The model from sealed memory. Raises EngineError."""
    model = llama.Model(
        f"/proc/self/fd/{options.weights}",
        context_tokens=options.context_tokens,
        threads=options.threads,
        slots=options.slots,
        memory_bytes=options.memory_bytes,
    )
    os.close(options.weights)
    return model


def settings(options: Options, model: llama.Model, variant: str) -> dict[str, str]:
    """The configuration in force, as it goes into the claims."""
    numbers = {
        "chunk tokens": llama.CHUNK_TOKENS,
        "context tokens": model.context_tokens,
        "key and value bytes": model.memory_bytes,
        "session memory bytes": options.session_memory_bytes,
        "slots": model.slots,
        "threads": model.threads,
        "waiting requests": options.waiting_requests,
    }
    words = {"cpu": variant, "library": library.llama_version().decode(), "key and value type": "f16"}
    return words | {name: str(number) for name, number in numbers.items()}


def run(options: Options, connection: socket.socket) -> None:
    """The engine's life, in the order of the module's docstring."""
    protector = Protector(required=options.required)
    protector.apply(before_secrets())  # 1
    llama.load_backends()  # 2
    variant = check_library()
    model = load(options)
    check_model(model, options.model_digest)
    in_force = settings(options, model, variant)
    binding = options.model_digest + repr(sorted(in_force.items())).encode()
    memory = SessionMemory(binding, options.session_memory_bytes)
    limits = Limits(model.slots, options.waiting_requests, llama.CHUNK_TOKENS, BUDGET_SECONDS)
    worker = Worker(model, memory, limits, time.monotonic)
    protector.apply(without_files())  # 3
    rehearse(worker, vocabulary_size=model.vocabulary.size)
    protector.apply(only_system_calls(SYSTEM_CALLS))
    for protection, number in protector.refused.items():
        log(Unprotected(Part.ENGINE, protection, number))
    channel = Channel(connection)
    ready = Ready(
        model.context_tokens,
        model.threads,
        in_force["library"],
        protector.granted(),
        in_force,
        model.embedding_size,
        worker.takes_tools,
    )
    channel.send([ready])
    serve(worker, channel)  # 4


def serve(worker: Worker, channel: Channel) -> None:
    """Work until the session process goes away. Raises Disconnected."""
    told = time.monotonic()
    while True:
        if worker.scheduler.idle:
            worker.rest()
        for command in channel.receive(wait=worker.scheduler.idle):
            worker.take(command)
        worker.step()
        channel.send(worker.reports())
        if time.monotonic() - told >= INTERVAL_SECONDS:
            told = time.monotonic()
            log(worker.tell())


def main(arguments: list[str]) -> int:
    """Start with the arguments of `Options`."""
    hide_tracebacks(Part.ENGINE)
    nothing_but_events()
    options = Options.parse(arguments)
    np.seterr(all="ignore")  # numpy would print a warning; logits are checked where it matters
    try:
        with socket.socket(fileno=options.connection) as connection:
            run(options, connection)
    except Disconnected:
        return 0
    except (llama.EngineError, ProtocolError):
        log(Crashed(Part.ENGINE))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
