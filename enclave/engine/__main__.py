# SPDX-License-Identifier: Apache-2.0
"""The engine process: started by the supervisor, joined to the session process by a socketpair.

1. Refuse tracing, core dumps and swap.
2. Load the CPU code and the weights from sealed memory.
3. Let nothing else be opened, start llama.cpp's threads with one step, then allow only these system calls.
4. Serve one generation at a time until the session process closes its end.
"""

import os
import secrets
import select
import socket
import sys
from collections import deque
from contextlib import suppress

from llama_cpp import llama_cpp as library

from enclave.engine import llama
from enclave.engine.protocol import (
    Begun,
    Cancel,
    Command,
    CommandReader,
    Conversation,
    Finished,
    FinishReason,
    Generate,
    ProtocolError,
    Ready,
    Rejected,
    Rejection,
    Report,
    Role,
    Sampling,
    Text,
    Turn,
    encode,
)
from enclave.engine.template import ChatTemplate, TemplateRefusedError
from enclave.engine.text import TextAssembler
from enclave.events import Crashed, Part, Unprotected, hide_tracebacks, log
from enclave.protection import Protector, before_secrets, only_system_calls, without_files

# No call that opens, connects, executes or creates.
SYSTEM_CALLS = """
    read write close poll mmap mprotect munmap brk rt_sigprocmask rt_sigreturn sched_yield mremap madvise
    getpid sendto recvfrom exit gettid futex sched_getaffinity clock_gettime clock_nanosleep exit_group tgkill
    getrandom rseq
"""
RECEIVE_BYTES = 1 << 16


class Disconnected(Exception):  # noqa: N818 - an event, not a fault
    """The session process closed its end."""


class Channel:
    """The engine's end of the socketpair."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._reader = connection, CommandReader()
        self._waiting: deque[Command] = deque()

    def next(self) -> Command:
        """Wait for a command. Raises Disconnected."""
        while not self._waiting:
            self._receive()
        return self._waiting.popleft()

    def is_cancelled(self, generation: int) -> bool:
        """Whether a cancellation of this generation has arrived; does not wait. Raises Disconnected."""
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        while poll.poll(0):
            self._receive()
        cancel = Cancel(generation)
        if cancel in self._waiting:
            self._waiting.remove(cancel)
            return True
        return False

    def send(self, report: Report) -> None:
        """Send a report. Raises Disconnected."""
        try:
            self._connection.sendall(encode(report))
        except OSError:
            raise Disconnected from None

    def _receive(self) -> None:
        data = self._connection.recv(RECEIVE_BYTES)
        if not data:
            raise Disconnected
        self._waiting.extend(self._reader.receive(data))


class Generator:
    """Runs one generation after another on one model."""

    def __init__(self, model: llama.Model, channel: Channel) -> None:
        self._model, self._channel = model, channel
        self._template = ChatTemplate(model.chat_template, begin=model.begin_text(), end=model.end_text())

    def serve(self) -> None:
        """Answer until the session process goes away. Raises Disconnected."""
        while True:
            self._serve_one(self._channel.next())

    def _serve_one(self, command: Command) -> None:
        """Answer one command, and keep nothing of it."""
        if isinstance(command, Generate):
            try:
                self._generate(command)
            finally:
                self._model.wipe()

    def rehearse(self) -> None:
        """Render and assemble once, so that no module is left to be loaded later."""
        with suppress(TemplateRefusedError):
            self._template.render((Turn(Role.USER, "a"),))
        TextAssembler(("stop",)).receive(b"a")

    def _generate(self, command: Generate) -> None:
        number, order = command.generation, command.order
        assert isinstance(order.prompt, Conversation)
        try:
            tokens = self._model.tokenize(self._template.render(order.prompt.turns))
        except TemplateRefusedError:
            self._channel.send(Rejected(number, Rejection.TEMPLATE_REFUSED, 0))
            return
        room = self._model.context_tokens - len(tokens)
        if room < 1:
            self._channel.send(Rejected(number, Rejection.PROMPT_TOO_LONG, len(tokens)))
            return
        self._channel.send(Begun(number, len(tokens)))
        for _ in self._model.prefill(tokens):
            if self._channel.is_cancelled(number):
                self._channel.send(Finished(number, FinishReason.CANCELLED, 0))
                return
        reason, count = self._answer(command, min(room, order.max_tokens))
        self._channel.send(Finished(number, reason, count))

    def _answer(self, command: Generate, most: int) -> tuple[FinishReason, int]:
        """Choose token after token; the reason for the end, and how many tokens there were."""
        assembler = TextAssembler(command.order.stop)
        with llama.sampler(command.order.sampling) as sampler:
            for count in range(most):
                token = self._model.sample(sampler)
                if self._model.is_end(token):
                    self._send_text(command, assembler.end())
                    return FinishReason.STOP, count
                self._send_text(command, assembler.receive(self._model.piece(token)))
                if assembler.stopped:
                    return FinishReason.STOP, count + 1
                if self._channel.is_cancelled(command.generation):
                    return FinishReason.CANCELLED, count + 1
                if count + 1 < most:
                    self._model.append(token)
        self._send_text(command, assembler.end())
        return FinishReason.LENGTH, most

    def _send_text(self, command: Generate, text: str) -> None:
        if text:
            self._channel.send(Text(command.generation, text))


def warm_up(model: llama.Model) -> None:
    """One step, so that every thread of llama.cpp exists before system calls are limited."""
    tokens = model.tokenize("a" * 8)
    for _ in model.prefill(tokens):
        pass
    with llama.sampler(Sampling(temperature=1.0, top_p=0.9, seed=secrets.randbits(32))) as sampler:
        model.append(model.sample(sampler))
    model.wipe()


def run(
    weights: int, connection: socket.socket, *, required: bool, context_tokens: int, threads: int
) -> None:
    """The engine's life, in the order of the module's docstring."""
    protector = Protector(required=required)
    protector.apply(before_secrets())  # 1
    llama.load_backends()  # 2
    model = llama.Model(f"/proc/self/fd/{weights}", context_tokens=context_tokens, threads=threads)
    os.close(weights)
    channel = Channel(connection)
    generator = Generator(model, channel)
    generator.rehearse()
    protector.apply(without_files())  # 3
    warm_up(model)
    protector.apply(only_system_calls(SYSTEM_CALLS))
    for protection, number in protector.refused.items():
        log(Unprotected(Part.ENGINE, protection, number))
    version = library.llama_version().decode()
    channel.send(Ready(model.context_tokens, threads, version, protector.granted()))
    generator.serve()  # 4


def main(arguments: list[str]) -> int:
    """Start with descriptors of weights and socket, then protections required, context, threads."""
    hide_tracebacks(Part.ENGINE)
    weights, descriptor, required, context_tokens, threads = (int(argument) for argument in arguments)
    try:
        with socket.socket(fileno=descriptor) as connection:
            run(weights, connection, required=bool(required), context_tokens=context_tokens, threads=threads)
    except Disconnected:
        return 0
    except (llama.EngineError, ProtocolError):
        log(Crashed(Part.ENGINE))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
