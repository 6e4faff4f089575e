# SPDX-License-Identifier: Apache-2.0
"""Events hold numbers and enums, so that no text of a person can be logged."""

import errno
import json
import subprocess
import sys
from dataclasses import asdict, fields, is_dataclass
from enum import Enum
from typing import get_args, get_type_hints

import pytest

from enclave.events import (
    Crashed,
    Event,
    EvidenceFailed,
    Exchanged,
    GaveUp,
    Lack,
    Outcome,
    Part,
    Paused,
    ReportFailed,
    Rotated,
    Started,
    Stopped,
    Unprotected,
    Worked,
    log,
    render,
)
from enclave.protection import Protection

WORKED = Worked(
    requests=9,
    rejected=1,
    cut=2,
    waiting=3,
    slots=4,
    prompt_tokens=1024,
    cached_tokens=0,
    completion_tokens=2048,
    steps=1024,
    rows_per_decode=7,
    busy_percent=88,
    longest_step_milliseconds=90,
)
EVENTS: tuple[tuple[Event, dict[str, int | str]], ...] = (
    (Started(Part.SESSION, simulated=True), {"event": "Started", "part": "session", "simulated": True}),
    (
        Unprotected(Part.ENGINE, Protection.NO_FILES, errno.ENOSYS),
        {"event": "Unprotected", "part": "engine", "protection": "no_files", "errno": errno.ENOSYS},
    ),
    (Stopped(Part.ENGINE, -9), {"event": "Stopped", "part": "engine", "code": -9}),
    (Paused(3, 500), {"event": "Paused", "quick_ends": 3, "milliseconds": 500}),
    (GaveUp(3), {"event": "GaveUp", "failed_starts": 3}),
    (Rotated(7), {"event": "Rotated", "epoch": 7}),
    (ReportFailed(Lack.KEY_DISABLED), {"event": "ReportFailed", "reason": "key_disabled"}),
    (EvidenceFailed(8), {"event": "EvidenceFailed", "epoch": 8}),
    (Exchanged(Outcome.ANSWERED, 200), {"event": "Exchanged", "outcome": "answered", "status": 200}),
    (Crashed(Part.ENGINE), {"event": "Crashed", "part": "engine"}),
    (WORKED, {"event": "Worked"} | asdict(WORKED)),
)

PROGRAM = """
from enclave.events import Part, hide_tracebacks
hide_tracebacks(Part.ENGINE)
class Dying:
    def __del__(self):
        raise ValueError("the secret prompt")
Dying()
raise ValueError("the secret prompt")
"""


@pytest.mark.parametrize(("event", "document"), EVENTS)
def test_each_event_is_one_line_of_json(event: Event, document: dict[str, int | str]) -> None:
    line = render(event)
    assert json.loads(line) == document
    assert "\n" not in line


def test_every_kind_of_event_was_rendered() -> None:
    assert {type(event) for event, _ in EVENTS} == set(get_args(Event))


@pytest.mark.parametrize("kind", get_args(Event))
def test_no_event_has_a_field_for_text(kind: type) -> None:
    assert is_dataclass(kind)
    hints = get_type_hints(kind)
    assert fields(kind)
    for field in fields(kind):
        assert hints[field.name] in (int, bool) or issubclass(hints[field.name], Enum)


@pytest.mark.parametrize("text", ["a prompt", b"a prompt", 0.5, ["a prompt"], None])
def test_text_in_an_event_is_a_fault_of_our_own(text: object) -> None:
    event = Rotated(1)
    object.__setattr__(event, "epoch", text)
    with pytest.raises(AssertionError, match="numbers and enums alone"):
        render(event)


def test_events_go_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    log(Rotated(3))
    log(Crashed(Part.SESSION))
    printed = capfd.readouterr()
    assert printed.out == ""
    assert [json.loads(line)["event"] for line in printed.err.splitlines()] == ["Rotated", "Crashed"]


def test_uncaught_exceptions_leave_an_event_and_no_message() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == [render(Crashed(Part.ENGINE))] * 2


LOUD = """
import ctypes
from enclave.events import Rotated, log, nothing_but_events
nothing_but_events()
libc = ctypes.CDLL(None)
libc.dprintf(2, b"a library prints the secret prompt")
log(Rotated(3))
"""


def test_what_a_library_prints_does_not_reach_standard_error() -> None:
    run = subprocess.run([sys.executable, "-c", LOUD], capture_output=True, text=True, check=True)
    assert json.loads(run.stderr) == {"event": "Rotated", "epoch": 3}
    assert run.stdout == ""
