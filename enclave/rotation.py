# SPDX-License-Identifier: Apache-2.0
"""Keeps epoch keys and their evidence fresh, and erases what is over (wire.md 6.2)."""

import asyncio
import time
from concurrent.futures import Executor
from dataclasses import dataclass, field

from enclave.attester import Attested, Attester
from enclave.ehbp import BodyKeys
from enclave.events import EvidenceFailed, Rotated, log
from enclave.keys import KeyRing
from enclave.sessions import Sessions

CHECK_SECONDS = 1.0
EVIDENCE_RETRY_SECONDS = 5.0
NOTHING = Attested(b"", b"", b"")


@dataclass(slots=True)
class Published:
    """The public documents of the epoch in force; empty while there is none."""

    attested: Attested = NOTHING


@dataclass(frozen=True, slots=True)
class Rotation:
    """Replaces the keys when it is due."""

    ring: KeyRing
    sessions: Sessions
    attester: Attester
    published: Published
    executor: Executor = field(repr=False)
    body_keys: BodyKeys | None = None

    async def rotate(self) -> bool:
        """Make new keys, and put them in force once there is evidence for them."""
        epoch = self.ring.make_epoch(time.monotonic())
        loop = asyncio.get_running_loop()
        try:
            attested = await loop.run_in_executor(
                self.executor, self.attester.attest, epoch, int(time.time())
            )
        except OSError:
            log(EvidenceFailed(epoch.number))
            return False
        self.ring.install(epoch, time.monotonic())
        self.published.attested = attested
        log(Rotated(epoch.number))
        return True

    async def run(self) -> None:
        """Rotate when it is due; without evidence the old keys go on until they expire."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            self.sessions.expire(time.monotonic())
            if self.body_keys is not None:
                self.body_keys.renew(time.monotonic())
            if self.ring.needs_rotation(time.monotonic()) and not await self.rotate():
                await asyncio.sleep(EVIDENCE_RETRY_SECONDS)
            if not self.ring.is_alive(time.monotonic()):
                self.published.attested = NOTHING
