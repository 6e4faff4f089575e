# SPDX-License-Identifier: Apache-2.0
"""What vendors say about machines, fetched for clients: certificates, revocation lists, Intel's collateral.

An answer comes from the first of: an offline bundle, a cache entry that is young enough, the vendor, a cache
entry that is old, marked as stale. What has a next update is young until half of the time to it is over, and
of no use after it. The host does not judge any of it: clients verify signatures and dates.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from host import endorsement_requests as requests
from host.endorsement_bundle import Bundle, BundleError
from host.endorsement_cache import Cache, Entry
from host.endorsement_dates import next_update
from host.endorsement_fetch import Fetcher, FetchError, NotThereError, World, vendor_client
from host.endorsement_forms import FormError, certificates, check_form, signed_json
from host.endorsement_requests import (
    CertificateAuthority,
    Evaluation,
    PatchLevels,
    Product,
    Request,
    SigningKey,
    Update,
)
from host.endorsement_settings import Settings

STANDARD: Final = Update.STANDARD


class Source(Enum):
    """Where an answer came from."""

    BUNDLE = "bundle"
    CACHE = "cache"
    VENDOR = "vendor"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class Endorsement:
    """An answer, the PEM of its issuers where the service gives it, and when it was fetched (0: unknown).

    `expires_at` is its next update, where it has one; all times are in unix seconds.
    """

    content: bytes
    chain: bytes
    fetched_at: int
    source: Source
    expires_at: int | None = None

    @property
    def stale(self) -> bool:
        """Whether it is older than it should be, because the service does not answer."""
        return self.source is Source.STALE


@dataclass(frozen=True, slots=True)
class SnpEndorsements:
    """What a verifier of an SEV-SNP report needs, in DER. `stale` if any part is."""

    chain: tuple[bytes, ...]
    revocations: bytes
    stale: bool
    expires_at: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class TdxCollateral:
    """What a verifier of a TDX quote needs. JSON as Intel signed it, lists in DER, chains in PEM."""

    tcb_info: str
    tcb_info_signature: bytes
    tcb_info_chain: bytes
    qe_identity: str
    qe_identity_signature: bytes
    qe_identity_chain: bytes
    pck_revocations: bytes
    pck_revocations_chain: bytes
    root_revocations: bytes
    stale: bool
    expires_at: int | None = field(default=None, compare=False)


class Endorsements:
    """Fetches and keeps endorsements. Equal questions at the same time are asked once."""

    def __init__(self, settings: Settings, fetcher: Fetcher, world: World) -> None:
        """Make the cache's folder if there is to be one. Raises OSError."""
        self._settings, self._fetcher, self._world = settings, fetcher, world
        self._cache = Cache(settings.cache) if settings.cache else None
        self._bundle = Bundle(settings.bundle) if settings.bundle else None
        self._running: dict[str, asyncio.Task[Endorsement]] = {}

    async def snp(
        self, product: Product, chip_id: bytes, levels: PatchLevels, *, leaf: bytes = b""
    ) -> SnpEndorsements:
        """Leaf, intermediate, root and revocation list of a chip's key. Raises FetchError.

        With a `leaf` that came with the report, only the others are fetched.
        """
        question = requests.vcek(product, chip_id, levels)
        return await self._snp(product, SigningKey.VCEK, question, leaf)

    async def snp_of_provider(
        self, product: Product, levels: PatchLevels, *, leaf: bytes = b""
    ) -> SnpEndorsements:
        """The same for the key of a cloud provider, whose leaf mostly comes with the report."""
        return await self._snp(product, SigningKey.VLEK, requests.vlek(product, levels), leaf)

    async def tdx(
        self, fmspc: bytes, authority: CertificateAuthority, evaluation: Evaluation = STANDARD
    ) -> TdxCollateral:
        """Intel's collateral for a family of platforms. Raises FetchError."""
        tcb, identity, pck, root = await asyncio.gather(
            self.get(requests.tcb_info(fmspc, evaluation)),
            self.get(requests.qe_identity(evaluation)),
            self.get(requests.pck_revocations(authority)),
            self.get(requests.intel_root_revocations()),
        )
        signed_tcb, signed_identity = signed_json(tcb.content), signed_json(identity.content)
        return TdxCollateral(
            tcb_info=signed_tcb.content,
            tcb_info_signature=signed_tcb.signature,
            tcb_info_chain=tcb.chain,
            qe_identity=signed_identity.content,
            qe_identity_signature=signed_identity.signature,
            qe_identity_chain=identity.chain,
            pck_revocations=pck.content,
            pck_revocations_chain=pck.chain,
            root_revocations=root.content,
            stale=any(part.stale for part in (tcb, identity, pck, root)),
            expires_at=earliest(tcb, identity, pck, root),
        )

    async def get(self, request: Request) -> Endorsement:
        """The answer to one question. Raises FetchError."""
        task = self._running.get(request.key)
        if task is None:
            task = asyncio.create_task(self._find(request))
            self._running[request.key] = task
            task.add_done_callback(lambda done: self._finish(request.key, done))
        # One who gives up leaves the others their answer.
        return await asyncio.shield(task)

    async def end(self) -> None:
        """Give up what is being asked: nothing may go on when the connections are closed."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _snp(
        self, product: Product, signing_key: SigningKey, question: Request, leaf: bytes
    ) -> SnpEndorsements:
        above, revoked, *own = await asyncio.gather(
            self.get(requests.amd_chain(product, signing_key)),
            self.get(requests.amd_revocations(product, signing_key)),
            *(() if leaf else (self.get(question),)),
        )
        chain = (leaf or own[0].content, *certificates(above.content))
        parts = (above, revoked, *own)
        return SnpEndorsements(
            chain, revoked.content, any(part.stale for part in parts), expires_at=earliest(*parts)
        )

    def _finish(self, key: str, done: "asyncio.Task[Endorsement]") -> None:
        del self._running[key]
        if not done.cancelled():
            done.exception()  # seen, even if everyone who asked has given up

    async def _find(self, request: Request) -> Endorsement:
        """1. the bundle, 2. a young entry, 3. the vendor, 4. an old entry."""
        if (bundled := await asyncio.to_thread(self._of_bundle, request)) is not None:  # 1
            return bundled
        entry = await asyncio.to_thread(self._of_cache, request)
        age = self._world.now() - entry.fetched_at if entry else 0.0
        expires_at = next_update(request, entry.content) if entry else None
        if entry and 0 <= age <= young_seconds(request, entry, expires_at):  # 2
            return Endorsement(entry.content, entry.chain, entry.fetched_at, Source.CACHE, expires_at)
        try:
            return await self._of_vendor(request)  # 3
        except NotThereError:
            raise  # the vendor's own word, which no old answer outweighs
        except FetchError:
            # An entry from the future says only that a clock was moved; its true age is unknown.
            if entry is None or not 0 <= age <= self._settings.max_stale_seconds:
                raise
            if expires_at is not None and expires_at <= self._world.now():
                raise
            return Endorsement(entry.content, entry.chain, entry.fetched_at, Source.STALE, expires_at)  # 4

    def _of_bundle(self, request: Request) -> Endorsement | None:
        if self._bundle is None:
            return None
        try:
            found = self._bundle.get(request)
            if found is None:
                return None
            content, chain = found
            check_form(request, content)
            if request.chain_header:
                certificates(chain)
        except (BundleError, FormError) as error:
            raise FetchError(f"{request.name} of the bundle: {error}") from error
        expires_at = next_update(request, content)
        if expires_at is not None and expires_at <= self._world.now():
            if self._settings.offline:
                raise FetchError(
                    f"{request.name} of the bundle expired at {expires_at}, and this host is offline"
                )
            return None  # the vendor may have a newer one
        return Endorsement(content, chain, 0, Source.BUNDLE, expires_at)

    def _of_cache(self, request: Request) -> Entry | None:
        return self._cache.get(request.key) if self._cache else None

    async def _of_vendor(self, request: Request) -> Endorsement:
        if self._settings.offline:
            raise FetchError(f"{request.name} is not in the bundle, and this host is to stay offline")
        found = await self._fetcher.fetch(request)
        now = int(self._world.now())
        if self._cache:
            # A full disk makes the next question slow; it does not take away this answer.
            with suppress(OSError):
                await asyncio.to_thread(self._cache.put, request.key, Entry(found.content, found.chain, now))
        expires_at = next_update(request, found.content)
        return Endorsement(found.content, found.chain, now, Source.VENDOR, expires_at)


def earliest(*parts: Endorsement) -> int | None:
    """The first next update among these; None where none has one."""
    return min((part.expires_at for part in parts if part.expires_at is not None), default=None)


def young_seconds(request: Request, entry: Entry, expires_at: int | None) -> float:
    """How old an entry may be before the vendor is asked again."""
    if expires_at is None:
        return request.fresh_seconds
    return min(request.fresh_seconds, (expires_at - entry.fetched_at) / 2)


@asynccontextmanager
async def open_endorsements(settings: Settings, world: World) -> AsyncGenerator[Endorsements]:
    """Endorsements with connections of their own, until the end of the block. Raises OSError."""
    async with vendor_client(settings) as client:
        endorsements = Endorsements(settings, Fetcher(settings, client, world), world)
        try:
            yield endorsements
        finally:
            await endorsements.end()
