# SPDX-License-Identifier: Apache-2.0
"""The session process's end of the engine's socketpair, with the other end in the test's hands."""

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from enclave.engine.client import BusyError, Engine, EngineGoneError
from enclave.engine.protocol import (
    Begun,
    Cancel,
    Command,
    CommandReader,
    Finished,
    FinishReason,
    Generate,
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

SECONDS = 10
SAMPLING = Sampling(0.0, 1.0, 0)
STARTED = Ready(64, 1, "b1", {"no_files": "granted"})

Test = Callable[[Engine, "FakeEngine"], Awaitable[None]]


class FakeEngine:
    """The engine's end: the test reads commands and sends reports."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._commands, self._waiting = CommandReader(), list[Command]()

    async def command(self) -> Command:
        while not self._waiting:
            data = await self._reader.read(1 << 16)
            assert data, "the session process closed its end"
            self._waiting += self._commands.receive(data)
        return self._waiting.pop(0)

    async def generate(self) -> Generate:
        command = await self.command()
        assert isinstance(command, Generate)
        return command

    def send(self, *reports: Report) -> None:
        self._writer.write(b"".join(map(encode, reports)))

    def send_bytes(self, data: bytes) -> None:
        self._writer.write(data)

    def close(self) -> None:
        self._writer.close()


@asynccontextmanager
async def joined(waiting_requests: int) -> AsyncGenerator[tuple[Engine, FakeEngine]]:
    """Both ends of a real socketpair."""
    near, far = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=near)
    far_reader, far_writer = await asyncio.open_connection(sock=far)
    try:
        yield Engine(reader, writer, waiting_requests=waiting_requests), FakeEngine(far_reader, far_writer)
    finally:
        for end in (writer, far_writer):
            end.close()
        await asyncio.gather(*(end.wait_closed() for end in (writer, far_writer)), return_exceptions=True)


def play(test: Test, waiting_requests: int = 4) -> None:
    """Run a test on an event loop of its own, bounded in time."""

    async def run() -> None:
        async with asyncio.timeout(SECONDS), joined(waiting_requests) as (engine, fake):
            await test(engine, fake)

    asyncio.run(run())


Reports = AsyncIterator[Begun | Text | Finished | Rejected]


def generation(engine: Engine, prompt: str = "?") -> AbstractAsyncContextManager[Reports]:
    return engine.generation((Turn(Role.USER, prompt),), SAMPLING, max_tokens=9, stop=())


async def answer(engine: Engine, prompt: str = "?") -> list[Report]:
    """All reports of one generation."""
    async with generation(engine, prompt) as reports:
        return [report async for report in reports]


def finished(number: int, reason: FinishReason = FinishReason.STOP) -> Finished:
    return Finished(number, reason, 1)


def test_ready_is_the_first_report() -> None:
    async def test(engine: Engine, fake: FakeEngine) -> None:
        fake.send(STARTED)
        assert await engine.ready() == STARTED

    play(test)


@pytest.mark.parametrize("first", [encode(Begun(1, 1)), b"\0\0\0\1\xc1", b"\xff\xff\xff\xff", b""])
def test_an_engine_that_does_not_become_ready_is_gone(first: bytes) -> None:
    async def test(engine: Engine, fake: FakeEngine) -> None:
        fake.send_bytes(first)
        fake.close()
        with pytest.raises(EngineGoneError):
            await engine.ready()

    play(test)


def test_a_generation_is_asked_for_as_it_was_wanted_and_its_reports_arrive_in_order() -> None:
    async def test(engine: Engine, fake: FakeEngine) -> None:
        turns = (Turn(Role.SYSTEM, "be brief"), Turn(Role.USER, "?"))
        sampling = Sampling(0.7, 0.5, 42)
        async with engine.generation(turns, sampling, max_tokens=3, stop=("\n",)) as reports:
            command = await fake.generate()
            assert (command.turns, command.sampling) == (turns, sampling)
            assert (command.max_tokens, command.stop) == (3, ("\n",))
            number = command.generation
            sent: list[Report] = [Begun(number, 5), Text(number, "a"), Text(number, "b"), finished(number)]
            fake.send(*sent)
            assert [report async for report in reports] == sent

    play(test)


def test_a_rejection_ends_a_generation() -> None:
    async def test(engine: Engine, fake: FakeEngine) -> None:
        asked = asyncio.ensure_future(answer(engine))
        number = (await fake.generate()).generation
        rejected = Rejected(number, Rejection.PROMPT_TOO_LONG, 70)
        fake.send(rejected)
        assert await asked == [rejected]

    play(test)


def test_generations_take_their_turns_in_the_order_in_which_they_came() -> None:
    async def test(engine: Engine, fake: FakeEngine) -> None:
        asked = [asyncio.ensure_future(answer(engine, prompt)) for prompt in ("one", "two", "three")]
        for prompt in ("one", "two", "three"):
            command = await fake.generate()
            assert command.turns[0].content == prompt
            fake.send(Begun(command.generation, 1), finished(command.generation))
        numbers = [reports[-1] for reports in await asyncio.gather(*asked)]
        assert numbers == [finished(1), finished(2), finished(3)]

    play(test)


@pytest.mark.parametrize("waiting_requests", [0, 1, 3])
def test_no_more_requests_wait_than_may(waiting_requests: int) -> None:
    async def test(engine: Engine, fake: FakeEngine) -> None:
        running = asyncio.ensure_future(answer(engine))
        await fake.generate()
        waiting = [asyncio.ensure_future(answer(engine)) for _ in range(waiting_requests)]
        await asyncio.sleep(0)
        with pytest.raises(BusyError):
            await answer(engine)
        fake.send(finished(1))
        await running
        for task in waiting:
            number = (await fake.generate()).generation
            fake.send(finished(number))
            assert await task == [finished(number)]

    play(test, waiting_requests)


def test_a_place_is_free_again_when_a_generation_has_ended() -> None:
    async def test(engine: Engine, fake: FakeEngine) -> None:
        for number in range(1, 4):
            asked = asyncio.ensure_future(answer(engine))
            await fake.generate()
            with pytest.raises(BusyError):
                await answer(engine)
            fake.send(finished(number))
            assert await asked == [finished(number)]

    play(test, waiting_requests=0)


def test_leaving_early_cancels_and_nobody_else_sees_what_was_left() -> None:
    async def test(engine: Engine, fake: FakeEngine) -> None:
        async def leave() -> None:
            async with generation(engine) as reports:
                assert await anext(reports) == Begun(1, 1)

        leaving, waiting = asyncio.ensure_future(leave()), asyncio.ensure_future(answer(engine, "next"))
        await fake.generate()
        fake.send(Begun(1, 1), Text(1, "not for the next"))
        assert await fake.command() == Cancel(1)
        assert not leaving.done()
        fake.send(Text(1, "late"), finished(1, FinishReason.CANCELLED))
        await leaving
        assert (await fake.generate()).turns[0].content == "next"
        fake.send(Begun(2, 1), finished(2))
        assert await waiting == [Begun(2, 1), finished(2)]

    play(test)


def test_a_client_that_goes_away_while_the_engine_works_leaves_it_usable() -> None:
    async def test(engine: Engine, fake: FakeEngine) -> None:
        begun = asyncio.Event()

        async def wait_for_more() -> None:
            async with generation(engine) as reports:
                async for _ in reports:
                    begun.set()

        leaving = asyncio.ensure_future(wait_for_more())
        await fake.generate()
        fake.send(Begun(1, 1))
        await begun.wait()
        leaving.cancel()
        assert await fake.command() == Cancel(1)
        fake.send(finished(1, FinishReason.CANCELLED))
        with pytest.raises(asyncio.CancelledError):
            await leaving
        asked = asyncio.ensure_future(answer(engine))
        number = (await fake.generate()).generation
        fake.send(Begun(number, 1), Text(number, "x"), finished(number))
        assert await asked == [Begun(number, 1), Text(number, "x"), finished(number)]

    play(test)


def test_a_client_that_goes_away_while_its_prompt_is_sent_leaves_the_engine_usable() -> None:
    async def test(engine: Engine, fake: FakeEngine) -> None:
        leaving = asyncio.ensure_future(answer(engine, "long " * 800_000))
        await asyncio.sleep(0)  # it is more than the socket holds: the task now waits for the engine to read
        leaving.cancel()
        number = (await fake.generate()).generation
        assert await fake.command() == Cancel(number)
        fake.send(finished(number, FinishReason.CANCELLED))
        with pytest.raises(asyncio.CancelledError):
            await leaving
        asked = asyncio.ensure_future(answer(engine))
        number = (await fake.generate()).generation
        fake.send(finished(number))
        assert await asked == [finished(number)]

    play(test)


def test_a_client_that_goes_away_while_it_waits_blocks_nobody() -> None:
    async def test(engine: Engine, fake: FakeEngine) -> None:
        running, leaving, waiting = (asyncio.ensure_future(answer(engine, text)) for text in ("a", "b", "c"))
        await fake.generate()
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        fake.send(finished(1))
        assert await running == [finished(1)]
        assert (await fake.generate()).turns[0].content == "c"
        fake.send(finished(2))
        assert await waiting == [finished(2)]

    play(test)


@pytest.mark.parametrize("last", [b"", b"\0\0\0\1\xc1", encode(Text(99, "another's")), encode(STARTED)])
def test_an_engine_that_ends_or_speaks_nonsense_is_gone(last: bytes) -> None:
    async def test(engine: Engine, fake: FakeEngine) -> None:
        asked = asyncio.ensure_future(answer(engine))
        await fake.generate()
        fake.send(Begun(1, 1))
        fake.send_bytes(last)
        fake.close()
        with pytest.raises(EngineGoneError):
            await asked
        with pytest.raises(EngineGoneError):
            await answer(engine)

    play(test)


def test_everyone_who_waits_learns_that_the_engine_is_gone() -> None:
    async def test(engine: Engine, fake: FakeEngine) -> None:
        asked = [asyncio.ensure_future(answer(engine)) for _ in range(3)]
        await fake.generate()
        fake.close()
        ended = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(each) for each in ended] == [EngineGoneError] * 3

    play(test)


def test_a_caller_that_is_cancelled_while_the_engine_falls_silent_lets_nobody_else_in() -> None:
    async def scenario(engine: Engine, fake: FakeEngine) -> None:
        async def broken() -> None:
            async with generation(engine) as reports:
                await anext(reports)
                raise OSError  # the client's connection broke

        first = asyncio.ensure_future(broken())
        command = await fake.generate()
        fake.send(Begun(command.generation, 1))
        assert isinstance(await fake.command(), Cancel)
        second = asyncio.ensure_future(answer(engine))
        first.cancel()  # and then the one who asked went away
        await asyncio.sleep(0.02)
        assert not first.done()
        fake.send(Finished(command.generation, FinishReason.CANCELLED, 0))
        following = await fake.generate()
        fake.send(Begun(following.generation, 1), Finished(following.generation, FinishReason.STOP, 0))
        assert len(await second) == 2
        with pytest.raises(asyncio.CancelledError):
            await first

    play(scenario)
