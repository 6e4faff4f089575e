# SPDX-License-Identifier: Apache-2.0
"""Session requests of a moment share one report, and nobody waits for the hardware but they."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enclave.freshness import BATCH_SECONDS, Batches, NoReportError, filled
from wire.merkle import MAX_LEAVES, Leaf, Tree, root_of


def leaf(number: int) -> Leaf:
    """One of many leaves."""
    return Leaf(number.to_bytes(32, "big"))


class Hardware:
    """Signs roots one after the other, as slowly as the test says."""

    def __init__(self) -> None:
        self.batches: list[tuple[Leaf, ...]] = []
        self.goes = threading.Event()
        self.goes.set()
        self.fails = False
        self.breaks = False

    def attest(self, leaves: tuple[Leaf, ...]) -> tuple[bytes, ...]:
        """A document for each leaf: its path."""
        self.goes.wait(10)
        self.batches.append(leaves)
        if self.fails:
            raise OSError("no report")
        if self.breaks:
            raise ValueError("a fault of our own")
        tree = Tree(leaves)
        assert {root_of(own, index, tree.path(index)) for index, own in enumerate(leaves)} == {tree.root}
        return tuple(leaves)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, MAX_LEAVES))
def test_a_batch_is_filled_to_a_power_of_two_and_no_place_tells_who_is_real(count: int) -> None:
    own = tuple(leaf(number) for number in range(count))
    batch = filled(own, random_bytes=lambda size: bytes([255]) * size)
    assert len(batch) == 1 << (count - 1).bit_length()
    assert set(own) <= set(batch)
    assert list(batch) == sorted(batch)


def test_those_of_one_moment_share_one_report() -> None:
    hardware = Hardware()

    async def run() -> None:
        with ThreadPoolExecutor(1) as executor:
            batches = Batches(hardware.attest, executor)
            start = asyncio.get_running_loop().time()
            documents = await asyncio.gather(*(batches.evidence(leaf(number)) for number in range(5)))
            assert documents == [leaf(number) for number in range(5)]
            assert asyncio.get_running_loop().time() - start >= BATCH_SECONDS - 0.005

    asyncio.run(run())
    assert [len(batch) for batch in hardware.batches] == [8]


def test_a_full_batch_does_not_wait_and_the_rest_is_served_next() -> None:
    hardware = Hardware()

    async def run() -> None:
        with ThreadPoolExecutor(1) as executor:
            batches = Batches(hardware.attest, executor)
            await asyncio.gather(*(batches.evidence(leaf(number)) for number in range(MAX_LEAVES + 3)))

    asyncio.run(run())
    assert [len(batch) for batch in hardware.batches] == [MAX_LEAVES, 4]


def test_slow_hardware_stops_nobody_else_and_gathers_who_comes_meanwhile() -> None:
    hardware = Hardware()

    async def run() -> None:
        with ThreadPoolExecutor(1) as executor:
            hardware.goes.clear()
            batches = Batches(hardware.attest, executor)
            first = asyncio.ensure_future(batches.evidence(leaf(0)))
            await asyncio.sleep(BATCH_SECONDS * 2)
            later = [asyncio.ensure_future(batches.evidence(leaf(number))) for number in range(1, 4)]
            ticks = 0
            for _ in range(10):  # the loop turns while the hardware works
                await asyncio.sleep(0.01)
                ticks += 1
            assert not first.done()
            assert ticks == 10
            hardware.goes.set()
            await asyncio.gather(first, *later)

    asyncio.run(run())
    assert [len(batch) for batch in hardware.batches] == [1, 4]


@pytest.mark.parametrize("fault", ["fails", "breaks"])
def test_without_a_report_everybody_is_told_and_the_next_ones_are_served(fault: str) -> None:
    hardware = Hardware()

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
        with ThreadPoolExecutor(1) as executor:
            batches = Batches(hardware.attest, executor)
            setattr(hardware, fault, True)
            results = await asyncio.gather(
                *(batches.evidence(leaf(number)) for number in range(3)), return_exceptions=True
            )
            assert [type(result) for result in results] == [NoReportError] * 3
            setattr(hardware, fault, False)
            assert await batches.evidence(leaf(7)) == leaf(7)

    asyncio.run(run())


def test_who_went_away_is_left_out() -> None:
    hardware = Hardware()

    async def run() -> None:
        with ThreadPoolExecutor(1) as executor:
            batches = Batches(hardware.attest, executor)
            gone = asyncio.ensure_future(batches.evidence(leaf(0)))
            await asyncio.sleep(0)
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
            assert await batches.evidence(leaf(1)) == leaf(1)

    asyncio.run(run())
    assert [len(batch) for batch in hardware.batches] == [1]
