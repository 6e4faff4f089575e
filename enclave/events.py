# SPDX-License-Identifier: Apache-2.0
"""The only thing that is ever logged: events of numbers and enums, so that no text can slip in."""

import json
import os
import sys
from dataclasses import dataclass, fields
from enum import Enum, StrEnum, auto

from enclave.protection import Protection


class Part(StrEnum):
    """A process of the enclave."""

    SESSION = auto()
    ENGINE = auto()
    REPORTER = auto()


class Outcome(StrEnum):
    """How an exchange ended."""

    ANSWERED = auto()
    REFUSED = auto()
    ABORTED = auto()
    CANCELLED = auto()


class Lack(StrEnum):
    """Why there is no report, by who must act; the names are those of `attestation.collect.errors`."""

    UNAVAILABLE = auto()
    ACCESS = auto()
    BUSY = auto()
    RACE = auto()
    INVALID_REQUEST = auto()
    HOST = auto()
    KEY_DISABLED = auto()
    OWN_REPORT = auto()
    OTHER = auto()


@dataclass(frozen=True, slots=True)
class Started:
    """A part is ready to work."""

    part: Part
    simulated: bool


@dataclass(frozen=True, slots=True)
class Unprotected:
    """The kernel refused a protection, with its error number."""

    part: Part
    protection: Protection
    errno: int


@dataclass(frozen=True, slots=True)
class Stopped:
    """A part has ended, with its exit code."""

    part: Part
    code: int


@dataclass(frozen=True, slots=True)
class Paused:
    """So many runs in a row ended soon after their start: the next one starts after a pause."""

    quick_ends: int
    milliseconds: int


@dataclass(frozen=True, slots=True)
class GaveUp:
    """The enclave never came to accept requests in this many starts: the supervisor ends with code 1."""

    failed_starts: int


@dataclass(frozen=True, slots=True)
class Rotated:
    """New epoch keys are in force."""

    epoch: int


@dataclass(frozen=True, slots=True)
class EvidenceFailed:
    """No evidence could be had for new keys; the old ones go on until they expire."""

    epoch: int


@dataclass(frozen=True, slots=True)
class ReportFailed:
    """The hardware gave no report; `reason` says who has to act."""

    reason: Lack


@dataclass(frozen=True, slots=True)
class Exchanged:
    """One exchange has ended. Neither its size nor its duration is told."""

    outcome: Outcome
    status: int


@dataclass(frozen=True, slots=True)
class Crashed:
    """A fault of our own; where it happened would be text, and is not told."""

    part: Part


@dataclass(frozen=True, slots=True)
class Worked:
    """What the engine did in the last minute in which it was not idle all the time.

    Tokens and steps are rounded up to the next 1,024: sums over everybody, which tell nobody's lengths.
    """

    requests: int
    rejected: int
    cut: int
    waiting: int
    slots: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    steps: int
    rows_per_decode: int
    busy_percent: int
    longest_step_milliseconds: int


Event = (
    Started
    | Unprotected
    | Stopped
    | Paused
    | GaveUp
    | Rotated
    | EvidenceFailed
    | ReportFailed
    | Exchanged
    | Crashed
    | Worked
)


def render(event: Event) -> str:
    """One line of JSON. A field that is neither number nor enum is a fault of our own."""
    line: dict[str, int | str] = {"event": type(event).__name__}
    for field in fields(event):
        value = getattr(event, field.name)
        assert isinstance(value, int | Enum), "events hold numbers and enums alone"
        line[field.name] = value.value if isinstance(value, Enum) else value
    return json.dumps(line)


class _Output:
    """Where events go."""

    descriptor = 2


def log(event: Event) -> None:
    """Write one event to standard error."""
    os.write(_Output.descriptor, render(event).encode() + b"\n")


def nothing_but_events() -> None:
    """From now on only events reach standard error: what a C library prints there may hold text."""
    _Output.descriptor = os.dup(2)
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - a device
        os.dup2(nowhere.fileno(), 2)


def hide_tracebacks(part: Part) -> None:
    """From now on an uncaught exception leaves one event, for its message could hold a prompt."""

    def hide(*_details: object) -> None:
        log(Crashed(part))

    sys.excepthook = sys.unraisablehook = hide
