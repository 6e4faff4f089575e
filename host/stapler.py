# SPDX-License-Identifier: Apache-2.0
"""Keeps the endorsements of the enclave's machine at hand, and adds them to the evidence that is served.

Fetching goes on beside serving: a document is passed on as it is while there is nothing to add, and what was
fetched stays in use until something newer is there.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Final

from host.endorsement_fetch import FetchError, World
from host.endorsement_requests import Product, RequestValueError, SigningKey
from host.endorsement_subjects import SnpSubject, Subject, SubjectError, TdxSubject, subject_of
from host.endorsements import Endorsements, SnpEndorsements, TdxCollateral
from host.link import LinkError
from host.stapling import StapleError, staple_snp, staple_tdx

REFRESH_SECONDS: Final = 6 * 3600.0
LEAST_SECONDS: Final = 60.0
FIRST_RETRY_SECONDS: Final = 2.0
MAX_RETRY_SECONDS: Final = 3600.0
# Firmware updates and migrations change the machine; of those that were, only the last few matter.
MAX_MACHINES: Final = 8

Found = SnpEndorsements | TdxCollateral
ReadEvidence = Callable[[], Awaitable[bytes]]
"""The document as the enclave serves it. Raises LinkError."""


class Stapler:
    """Adds what `run` has fetched. `status` is for the operator."""

    def __init__(
        self,
        opening: Callable[[], AbstractAsyncContextManager[Endorsements]],
        read_evidence: ReadEvidence,
        world: World,
        product: Product | None = None,
    ) -> None:
        self._opening, self._read, self._world, self._product = opening, read_evidence, world, product
        self._found: dict[Subject, Found] = {}
        self._wanted = asyncio.Event()
        self.status = "not fetched yet"

    def staple(self, document: bytes) -> bytes:
        """The document with what is at hand for its machine; as it is where there is nothing."""
        try:
            subject = subject_of(document, self._product)
            if subject is None:
                return document
            found = self._found.get(subject)
            if found is None:
                self._wanted.set()
                return document
            if isinstance(found, SnpEndorsements):
                return staple_snp(document, found)
            return staple_tdx(document, found)
        except (SubjectError, StapleError) as error:
            self.status = str(error)
            return document

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Fetch for as long as the block lasts. Raises OSError where the cache's folder cannot be made."""
        async with self._opening() as endorsements:
            fetching = asyncio.create_task(self._run(endorsements))
            try:
                yield
            finally:
                fetching.cancel()
                with suppress(asyncio.CancelledError):
                    await fetching

    async def _run(self, endorsements: Endorsements) -> None:
        failures = 0
        while True:
            self._wanted.clear()
            try:
                pause = await self.refresh(endorsements)
                failures = 0
            except (FetchError, LinkError, RequestValueError, SubjectError) as error:
                self.status = str(error)
                pause = min(FIRST_RETRY_SECONDS * 2**failures, MAX_RETRY_SECONDS)
                failures = min(failures + 1, 12)
            await self._rest(pause, wake=failures == 0)

    async def _rest(self, seconds: float, *, wake: bool) -> None:
        """Wait until it is time, or a document of another machine was served; not so after a failure."""
        if not wake:
            await self._world.sleep(seconds)
            return
        sleeping = asyncio.ensure_future(self._world.sleep(seconds))
        waking = asyncio.ensure_future(self._wanted.wait())
        try:
            await asyncio.wait((sleeping, waking), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            waking.cancel()

    async def refresh(self, endorsements: Endorsements) -> float:
        """Fetch for the machine that the enclave runs on now; returns after how many seconds to do so again.

        Raises FetchError, LinkError, RequestValueError and SubjectError.
        """
        subject = subject_of(await self._read(), self._product)
        if subject is None:
            self.status = "the enclave brings its own"
            return REFRESH_SECONDS
        found = await fetch(endorsements, subject)
        self._found.pop(subject, None)
        self._found[subject] = found
        while len(self._found) > MAX_MACHINES:
            del self._found[next(iter(self._found))]
        self.status = "stale" if found.stale else "stapled"
        # Well before the next update is due: at half of the time that is left.
        left = REFRESH_SECONDS if found.expires_at is None else (found.expires_at - self._world.now()) / 2
        return max(LEAST_SECONDS, min(REFRESH_SECONDS, left))


async def fetch(endorsements: Endorsements, subject: Subject) -> Found:
    """Everything that a verifier needs for this machine. Raises FetchError and RequestValueError."""
    match subject:
        case TdxSubject(fmspc, authority):
            return await endorsements.tdx(fmspc, authority)
        case SnpSubject(product, SigningKey.VCEK, chip_id, levels, leaf):
            return await endorsements.snp(product, chip_id, levels, leaf=leaf)
        case SnpSubject(product, _, _, levels, leaf):
            return await endorsements.snp_of_provider(product, levels, leaf=leaf)
