# SPDX-License-Identifier: Apache-2.0
"""A log beside a quote explains each register, or the register's own check says what is wrong."""

import json
from hashlib import sha384

import pytest

from attestation.simulated.event_log import EVENTS, EventLog
from attestation.tdx.event_log import EventLogError
from attestation.tdx.log_checks import LOG_CHECKS, appraise_event_log, read_event_log
from attestation.verdict import Check, Outcome
from tests.fakes.trust_domain import domain
from tests.unit.attestation.tdx.genuine import VECTORS, Row, of_kind, read, row_id

QUOTE = domain().evidence_quote(bytes(64))
LOG = domain().event_log


def failed(checks: tuple[Check, ...]) -> dict[str, Outcome]:
    assert [check.name for check in checks] == [rule.name for rule in LOG_CHECKS]
    return {check.name: check.outcome for check in checks if check.outcome is not Outcome.PASSED}


def test_log_explains_every_register() -> None:
    checks, explanations = appraise_event_log(LOG, QUOTE)
    assert failed(checks) == {}
    assert [len(item.events) for item in explanations] == [3, 2, 2, 1]
    told = "1 EV_EFI_PLATFORM_FIRMWARE_BLOB2, 1 EV_EFI_VARIABLE_DRIVER_CONFIG, 1 EV_SEPARATOR"
    assert checks[1].found.endswith(told)


def test_event_that_is_left_out_is_missed_in_its_register() -> None:
    checks, explanations = appraise_event_log(EventLog(EVENTS[:-1]).encode(), QUOTE)
    assert failed(checks) == {"event log rtmr3": Outcome.FAILED}
    check = checks[-1]
    assert check.expected == f"{explanations[3].quoted.hex()} as quoted"
    assert check.found == f"{bytes(48).hex()} after no event"


def test_log_without_form_leaves_the_registers_unexplained() -> None:
    checks, explanations = appraise_event_log(b"rubbish", QUOTE)
    assert explanations == ()
    outcomes = list(failed(checks).values())
    assert outcomes == [Outcome.FAILED] + [Outcome.NOT_EVALUATED] * 4
    assert checks[0].found.startswith("a defect")


def test_log_beside_rubbish_explains_nothing() -> None:
    checks, explanations = appraise_event_log(LOG, b"rubbish")
    assert explanations == ()
    assert set(failed(checks).values()) == {Outcome.NOT_EVALUATED}


def test_list_and_reply_of_dstack_are_read() -> None:
    item = {"imr": 0, "event_type": 4, "digest": sha384(b"").hexdigest(), "event": "", "event_payload": ""}
    plain = json.dumps([item])
    reply = json.dumps({"quote": "00", "event_log": plain})
    assert read_event_log(plain.encode()) == read_event_log(reply.encode())
    for other in (b"{}", b'{"event_log": 1}', b'{"event_log": "x"}', b"{"):
        with pytest.raises(EventLogError, match="dstack"):
            read_event_log(other)


@pytest.mark.parametrize("row", of_kind("tdx-ccel", "dstack-eventlog-json"), ids=row_id)
def test_genuine_log_is_what_the_index_says(row: Row) -> None:
    """Exactly the registers that the index names are explained; a quote in a reply is taken from there."""
    log, expect = read(row["file"]), row["expect"]
    assert read_event_log(log)
    quote = b""
    if log[:1] == b"{":
        quote = bytes.fromhex(json.loads(log)["quote"])
    elif "quote" in expect and (VECTORS / expect["quote"]).exists():
        quote = read(expect["quote"])
    if quote:
        checks, _ = appraise_event_log(log, quote)
        # Replies without digests of applications do not match as they stand; here they are computed.
        match = {**expect["match"], **({"rtmr3": True} if b'\\"digest\\":\\"\\"' in log else {})}
        assert {check.name.removeprefix("event log "): check.ok for check in checks[1:]} == match
