# SPDX-License-Identifier: Apache-2.0
"""Fresh evidence for session requests: those of a moment share one hardware report (wire.md 6.3)."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass

from wire.merkle import HASH_SIZE, MAX_LEAVES, Leaf

BATCH_SECONDS = 0.05

# Documents for these leaves, in order. Blocks for as long as the hardware takes; raises OSError.
AttestLeaves = Callable[[tuple[Leaf, ...]], tuple[bytes, ...]]
RandomBytes = Callable[[int], bytes]


class NoReportError(Exception):
    """The hardware gave no report."""


def filled(leaves: tuple[Leaf, ...], *, random_bytes: RandomBytes = os.urandom) -> tuple[Leaf, ...]:
    """These leaves among as many random ones as make their number a power of two.

    They are put in the order of their values, which is no order: nobody's place tells how many are real.
    """
    size = 1 << (len(leaves) - 1).bit_length()
    strangers = (Leaf(random_bytes(HASH_SIZE)) for _ in range(size - len(leaves)))
    return tuple(sorted((*leaves, *strangers)))


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A session request that waits for its document."""

    leaf: Leaf
    since: float
    document: asyncio.Future[bytes]

    def give(self, document: bytes | None) -> None:
        """End the waiting, unless the client has gone away."""
        if self.document.done():
            return
        if document is None:
            self.document.set_exception(NoReportError())
        else:
            self.document.set_result(document)


class Batches:
    """Gathers leaves for 50 ms, or up to 64 of them, and has one report made at a time."""

    def __init__(self, attest_leaves: AttestLeaves, executor: Executor) -> None:
        """Reports are made in the executor's thread, so that nobody else's answer waits for the hardware."""
        self._attest_leaves, self._executor = attest_leaves, executor
        self._waiting: list[_Waiting] = []
        self._full = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None

    async def evidence(self, leaf: Leaf) -> bytes:
        """The document for one leaf. Raises NoReportError."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(leaf, loop.time(), loop.create_future())
        self._waiting.append(waiting)
        if len(self._waiting) >= MAX_LEAVES:
            self._full.set()
        if self._worker is None or self._worker.done():
            self._worker = asyncio.ensure_future(self._work())
        return await waiting.document

    async def _work(self) -> None:
        """Serve until nobody waits. Who comes while a report is made is in the next batch."""
        try:
            while self._waiting:
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(self._waiting[0].since + BATCH_SECONDS):
                        await self._full.wait()
                await self._serve(self._next_batch())
        finally:
            for waiting in self._waiting:
                waiting.give(None)
            self._waiting.clear()

    def _next_batch(self) -> list[_Waiting]:
        batch, self._waiting = self._waiting[:MAX_LEAVES], self._waiting[MAX_LEAVES:]
        if len(self._waiting) < MAX_LEAVES:
            self._full.clear()
        return [waiting for waiting in batch if not waiting.document.done()]

    async def _serve(self, batch: list[_Waiting]) -> None:
        if not batch:
            return
        leaves = filled(tuple(waiting.leaf for waiting in batch))
        documents: dict[Leaf, bytes] = {}
        loop = asyncio.get_running_loop()
        try:
            made = await loop.run_in_executor(self._executor, self._attest_leaves, leaves)
            documents = dict(zip(leaves, made, strict=True))
        except OSError:
            pass
        finally:
            for waiting in batch:
                waiting.give(documents.get(waiting.leaf))
