# SPDX-License-Identifier: Apache-2.0
"""An event log beside a quote, as named checks: its form, and for each register whether it explains it (B5).

The log comes from the guest and is not signed. It is believed as far as it leads to the registers that the
quote's signature covers; `Event.covers_data` says whether the words of an event are covered too.
"""

from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import Final

from attestation.case import Finding, Part, Rule, Unreadable, make_check
from attestation.tdx.documents import DocumentError, read_object
from attestation.tdx.dstack_log import parse_dstack_log
from attestation.tdx.event_log import REGISTERS, Event, EventLogError, Explanation, explain, parse_event_log
from attestation.tdx.quote import QuoteError, parse_quote
from attestation.verdict import Check, Decision


@dataclass(frozen=True, slots=True)
class LogCase:
    """A log, and what it makes of the registers of a quote."""

    events: Part[tuple[Event, ...]]
    explanations: Part[tuple[Explanation, ...]]


def appraise_event_log(log: bytes, quote: bytes) -> tuple[tuple[Check, ...], tuple[Explanation, ...]]:
    """Make every check, and say how each register came about: nothing, where log or quote cannot be read."""
    case = _open(log, quote)
    told = case.explanations.outcome
    return tuple(make_check(rule, case) for rule in LOG_CHECKS), () if isinstance(told, Unreadable) else told


def read_event_log(log: bytes) -> tuple[Event, ...]:
    """A CCEL area, dstack's list in JSON, or a reply of dstack's guest agent with one; EventLogError.

    A reply has more members, such as a quote. Which quote is meant is the caller's choice, not the log's.
    """
    if log[:1] == b"[":
        return parse_dstack_log(log)
    if log[:1] != b"{":
        return parse_event_log(log)
    try:
        return parse_dstack_log(read_object(log, "reply").text("event_log").encode())
    except DocumentError as error:
        raise EventLogError(f"dstack {error}") from error


def _open(log: bytes, quote: bytes) -> LogCase:
    try:
        events = read_event_log(log)
    except EventLogError as error:
        missing = Unreadable(error)
        return LogCase(Part("event log", missing), Part("event log", missing))
    try:
        explanations: Part[tuple[Explanation, ...]] = Part(
            "registers", explain(events, parse_quote(quote).body.rtmrs)
        )
    except QuoteError as error:
        explanations = Part("quote", Unreadable(error))
    return LogCase(Part("event log", events), explanations)


def _form(case: LogCase) -> Finding:
    try:
        return Finding(ok=True, found=f"{len(case.events.examine())} events")
    except EventLogError as error:
        return Finding(ok=False, found=f"a defect ({error})")


def _replay(index: int, case: LogCase) -> Finding:
    told = case.explanations.need()[index]
    kinds = Counter(event.name for event in told.events)
    events = ", ".join(f"{count} {name}" for name, count in kinds.items()) or "no event"
    return Finding(told.complete, f"{told.replayed.hex()} after {events}", f"{told.quoted.hex()} as quoted")


LOG_CHECKS: Final[tuple[Rule[LogCase], ...]] = (
    Rule(
        "B5",
        "event log",
        Decision.UNTRUSTED,
        "a log of CCEL or dstack in its form",
        _form,
        "Bytes without a known meaning are where forgeries hide.",
    ),
    *(
        Rule(
            "B5",
            f"event log rtmr{index}",
            Decision.WRONG_MEASUREMENT,
            "the register's value as quoted",
            partial(_replay, index),
            "A register is only a number; a log that leads to it says what was started.",
        )
        for index in range(REGISTERS)
    ),
)
