# SPDX-License-Identifier: Apache-2.0
"""The session process's end of the engine's socketpair, with the other end in the test's hands."""

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from enclave.engine.client import Engine, EngineGoneError
from enclave.engine.protocol import (
    Begun,
    Cancel,
    Command,
    CommandReader,
    Conversation,
    Embed,
    Embedded,
    Finished,
    FinishReason,
    Generate,
    Order,
    PlainText,
    Progress,
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
async def joined() -> AsyncGenerator[tuple[Engine, FakeEngine]]:
    """Both ends of a real socketpair."""
    near, far = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=near)
    far_reader, far_writer = await asyncio.open_connection(sock=far)
    try:
        yield Engine(reader, writer), FakeEngine(far_reader, far_writer)
    finally:
        for end in (writer, far_writer):
            end.close()
        await asyncio.gather(*(end.wait_closed() for end in (writer, far_writer)), return_exceptions=True)


def play(test: Test, *, ready: bool = True) -> None:
    """Run a test on an event loop of its own, bounded in time; the engine is ready unless told otherwise."""

    async def run() -> None:
        async with asyncio.timeout(SECONDS), joined() as (engine, fake):
            if ready:
                fake.send(STARTED)
                await engine.ready()
            await test(engine, fake)

    asyncio.run(run())


def order(prompt: str, choices: int = 1) -> Order:
    return Order(
        identity=bytes(16),
        prompt=Conversation((Turn(Role.USER, prompt),)),
        sampling=SAMPLING,
        max_tokens=9,
        choices=choices,
    )


def generation(engine: Engine, prompt: str = "?") -> AbstractAsyncContextManager[AsyncIterator[Progress]]:
    return engine.generation(order(prompt))


async def answer(engine: Engine, prompt: str = "?", choices: int = 1) -> list[Progress]:
    """All reports of one generation."""
    async with engine.generation(order(prompt, choices)) as reports:
        return [report async for report in reports]


def finished(number: int, reason: FinishReason = FinishReason.STOP) -> Finished:
    return Finished(number, reason, 1)


def test_ready_is_the_first_report() -> None:
    async def test(engine: Engine, fake: FakeEngine) -> None:
        fake.send(STARTED)
        assert await engine.ready() == STARTED

    play(test, ready=False)


@pytest.mark.parametrize("first", [encode(Begun(1, 1)), b"\0\0\0\1\xc1", b"\xff\xff\xff\xff", b""])
def test_an_engine_that_does_not_become_ready_is_gone(first: bytes) -> None:
    async def test(engine: Engine, fake: FakeEngine) -> None:
        fake.send_bytes(first)
        fake.close()
        with pytest.raises(EngineGoneError):
            await engine.ready()

    play(test, ready=False)


def test_a_generation_is_asked_for_as_it_was_wanted_and_its_reports_arrive_in_order() -> None:
    async def test(engine: Engine, fake: FakeEngine) -> None:
        wanted = order("?")
        async with engine.generation(wanted) as reports:
            command = await fake.generate()
            assert command.order == wanted
            number = command.generation
            sent: list[Progress] = [Begun(number, 5), Text(number, "a"), Text(number, "b"), finished(number)]
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


def test_generations_run_beside_each_other_and_each_gets_its_own() -> None:
    async def test(engine: Engine, fake: FakeEngine) -> None:
        asked = [asyncio.ensure_future(answer(engine, prompt)) for prompt in ("one", "two", "three")]
        numbers = [(await fake.generate()).generation for _ in asked]
        assert len(set(numbers)) == 3
        for number in reversed(numbers):
            fake.send(Begun(number, 1))
        for number in numbers:
            fake.send(Text(number, str(number)), finished(number))
        for number, reports in zip(numbers, await asyncio.gather(*asked), strict=True):
            assert reports == [Begun(number, 1), Text(number, str(number)), finished(number)]

    play(test)


def test_a_generation_ends_with_its_last_choice() -> None:
    async def test(engine: Engine, fake: FakeEngine) -> None:
        asked = asyncio.ensure_future(answer(engine, choices=2))
        number = (await fake.generate()).generation
        sent: list[Progress] = [
            Begun(number, 1),
            Finished(number, FinishReason.STOP, 1, 1),
            Text(number, "a", 0),
            Finished(number, FinishReason.LENGTH, 1, 0),
        ]
        fake.send(*sent)
        assert await asked == sent

    play(test)


def test_leaving_early_cancels_and_nobody_else_sees_what_was_left() -> None:
    async def test(engine: Engine, fake: FakeEngine) -> None:
        async with generation(engine) as reports:
            number = (await fake.generate()).generation
            fake.send(Begun(number, 1), Text(number, "not for the next"))
            assert await anext(reports) == Begun(number, 1)
        assert await fake.command() == Cancel(number)
        asked = asyncio.ensure_future(answer(engine, "next"))
        following = (await fake.generate()).generation
        fake.send(Text(number, "late"), finished(number, FinishReason.CANCELLED))
        fake.send(Begun(following, 1), finished(following))
        assert await asked == [Begun(following, 1), finished(following)]

    play(test)


def test_what_has_ended_need_not_be_cancelled() -> None:
    async def test(engine: Engine, fake: FakeEngine) -> None:
        for _ in range(2):
            asked = asyncio.ensure_future(answer(engine))
            number = (await fake.generate()).generation
            fake.send(finished(number))
            assert await asked == [finished(number)]

    play(test)


def test_a_client_that_goes_away_while_the_engine_works_leaves_it_usable() -> None:
    async def test(engine: Engine, fake: FakeEngine) -> None:
        leaving = asyncio.ensure_future(answer(engine, "long " * 800_000))
        await asyncio.sleep(0)  # it is more than the socket holds: the task now waits for the engine to read
        leaving.cancel()
        number = (await fake.generate()).generation
        assert await fake.command() == Cancel(number)
        with pytest.raises(asyncio.CancelledError):
            await leaving
        fake.send(finished(number, FinishReason.CANCELLED))
        asked = asyncio.ensure_future(answer(engine))
        number = (await fake.generate()).generation
        fake.send(finished(number))
        assert await asked == [finished(number)]

    play(test)


def test_vectors_are_given_to_who_asked() -> None:
    async def test(engine: Engine, fake: FakeEngine) -> None:
        asked = asyncio.ensure_future(engine.embed(bytes(16), (PlainText("?"),)))
        command = await fake.command()
        assert command == Embed(1, bytes(16), (PlainText("?"),))
        fake.send(Embedded(1, (b"vector",), 2))
        assert await asked == Embedded(1, (b"vector",), 2)

    play(test)


@pytest.mark.parametrize(
    "last",
    [
        b"",
        b"\0\0\0\1\xc1",
        encode(Text(99, "another's")),
        encode(STARTED),
        encode(Finished(1, FinishReason.STOP, 1, 7)),
    ],
)
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
        for _ in asked:
            await fake.generate()
        fake.close()
        ended = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(each) for each in ended] == [EngineGoneError] * 3

    play(test)
