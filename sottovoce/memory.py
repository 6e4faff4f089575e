# SPDX-License-Identifier: Apache-2.0
"""What a client was shown before: trust on first use beside the policy, which alone decides what is accepted.

For each origin it remembers releases (code, model, release manifest) in the order in which they were first
shown, the keys of recent epochs, and what the user pinned. Nothing in here is secret, and nothing in it
makes an enclave trusted; it makes a change visible. Here is what follows from what; `memory_file` keeps it.
"""

from dataclasses import dataclass, replace
from enum import Enum
from hashlib import sha256
from typing import Final

from attestation.verify import VerifiedEnclave

MAX_RELEASES: Final = 64
MAX_EPOCHS: Final = 32


class UnknownReleaseError(Exception):
    """No release with this name was ever shown."""


class PinnedError(Exception):
    """The user pinned another release for this origin. Nothing of theirs was sent."""


class Kind(Enum):
    """What is worth telling, mildest first."""

    FIRST = "first seen"
    CHANGED = "changed"
    ROLLBACK = "rollback"
    SINGLED_OUT = "singled out"


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell the user."""

    kind: Kind
    sentence: str

    @property
    def is_warning(self) -> bool:
        """Whether it should stand out: all but that an address is new."""
        return self.kind is not Kind.FIRST

    def line(self) -> str:
        """It in one line for a person."""
        return f"WARNING, {self.kind.value}: {self.sentence}" if self.is_warning else self.sentence


class ReleaseWarning(UserWarning):
    """What programs are told of a notice. Where they make it an exception, nothing of the user's is sent."""

    def __init__(self, address: str, notice: Notice) -> None:
        super().__init__(f"{address}: {notice.kind.value}: {notice.sentence}")
        self.address, self.notice = address, notice


@dataclass(frozen=True, slots=True)
class Release:
    """Code, model and release manifest as the hardware and the claims name them, in hexadecimal."""

    measurement: str
    model: str
    release: str


@dataclass(frozen=True, slots=True)
class Seen:
    """A release that was shown, first and last in unix seconds; `pinned` by the user."""

    what: Release
    first: int
    last: int
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class Epoch:
    """The keys of one epoch of one run: there can be only one list of them."""

    run: str
    number: int
    keys: str


@dataclass(frozen=True, slots=True)
class Origin:
    """All that is remembered of one origin; releases in the order in which they were first shown."""

    releases: tuple[Seen, ...] = ()
    epochs: tuple[Epoch, ...] = ()
    lowest_version: int = 0


@dataclass(frozen=True, slots=True)
class Shown:
    """What one verified enclave shows."""

    release: Release
    epoch: Epoch
    minimum_version: int


def shown_by(enclave: VerifiedEnclave) -> Shown:
    """What there is to remember of an enclave."""
    claims = enclave.claims
    return Shown(
        Release(enclave.verdict.measurement.hex(), claims.model.hex(), claims.release.hex()),
        Epoch(claims.receipt_key.hex(), claims.epoch, sha256(enclave.evidence.keys).hexdigest()),
        claims.minimum_version,
    )


def observe(origin: Origin, shown: Shown, now: int) -> tuple[Origin, tuple[Notice, ...]]:
    """What is remembered afterwards, and what to tell. Raises PinnedError where another release is pinned.

    1. A pin admits the pinned releases alone.
    2. Two key lists for one epoch of one run: one of the two was made for this client.
    3. A release that was followed by another one before, or a lower protocol version: a rollback.
    4. A release that was never shown: the first, or a change, in code, model or manifest.
    """
    pinned = [seen.what for seen in origin.releases if seen.pinned]
    if pinned and shown.release not in pinned:  # 1
        raise PinnedError(f"the release {name(shown.release)} is not pinned for this address")
    notices = [*_singled_out(origin, shown.epoch), *_rolled_back(origin, shown), *_new(origin, shown.release)]
    return _remembered(origin, shown, now), tuple(notices)


def _singled_out(origin: Origin, epoch: Epoch) -> list[Notice]:  # 2
    for known in origin.epochs:
        if (known.run, known.number) == (epoch.run, epoch.number) and known.keys != epoch.keys:
            sentence = f"two different key lists were shown for epoch {epoch.number} of one run"
            return [Notice(Kind.SINGLED_OUT, sentence)]
    return []


def _rolled_back(origin: Origin, shown: Shown) -> list[Notice]:  # 3
    notices: list[Notice] = []
    if shown.minimum_version < origin.lowest_version:
        sentence = f"an older protocol is allowed again: version {shown.minimum_version}"
        notices.append(Notice(Kind.ROLLBACK, sentence))
    order = [seen.what for seen in origin.releases]
    latest = _latest(origin)
    if latest and shown.release in order and shown.release != latest.what:
        older = order.index(shown.release) < order.index(latest.what)
        sentence = f"the release {name(shown.release)} is back, after {name(latest.what)} was shown"
        notices.append(Notice(Kind.ROLLBACK if older else Kind.SINGLED_OUT, sentence))
    return notices


def _new(origin: Origin, release: Release) -> list[Notice]:  # 4
    if not origin.releases:
        return [Notice(Kind.FIRST, f"this address is new to you; it shows the release {name(release)}")]
    if any(seen.what == release for seen in origin.releases):
        return []
    before = _latest(origin)
    parts = ("measurement", "model", "release")
    changed = [part for part in parts if before and getattr(before.what, part) != getattr(release, part)]
    return [Notice(Kind.CHANGED, f"changed since last time: {', '.join(changed)}; now {name(release)}")]


def _latest(origin: Origin) -> Seen | None:
    return max(origin.releases, key=lambda seen: seen.last, default=None)


def _remembered(origin: Origin, shown: Shown, now: int) -> Origin:
    """No pin is ever forgotten here: where there is one, no release is added.

    What is shown now is the latest, also within one second, or after a clock was set back.
    """
    latest = _latest(origin)
    if latest is not None:
        now = max(now, latest.last if latest.what == shown.release else latest.last + 1)
    known = next((seen for seen in origin.releases if seen.what == shown.release), None)
    if known is None:
        releases = (*origin.releases, Seen(shown.release, now, now))
    else:
        releases = tuple(replace(seen, last=now) if seen is known else seen for seen in origin.releases)
    others = tuple(epoch for epoch in origin.epochs if epoch != shown.epoch)
    epochs = (*others, shown.epoch)[-MAX_EPOCHS:]
    return Origin(releases[-MAX_RELEASES:], epochs, max(origin.lowest_version, shown.minimum_version))


def pin(origin: Origin, beginning: str) -> Origin:
    """Pin the releases whose measurement begins so. Raises UnknownReleaseError where there is none."""
    if not any(seen.what.measurement.startswith(beginning) for seen in origin.releases):
        raise UnknownReleaseError(f"no release that was shown has a measurement beginning with {beginning!r}")
    return replace(
        origin,
        releases=tuple(
            replace(seen, pinned=seen.pinned or seen.what.measurement.startswith(beginning))
            for seen in origin.releases
        ),
    )


def name(release: Release) -> str:
    """A release for a person: the beginning of its measurement."""
    return release.measurement[:16]
