# SPDX-License-Identifier: Apache-2.0
"""What a receipt promises of an answer, by what the engine reported of it."""

import pytest

from enclave.api.progress import Reading
from enclave.api.wanted import Wanted
from enclave.engine.protocol import Begun, Finished, FinishReason, PlainText, Sampling, Text
from enclave.receipts import CUT_SHORT, FROM_SESSION, REPEATABLE
from sottovoce.receipt_form import MAX_WORDS, decode_receipt, from_text
from tests.fakes.receipts import NONCE, REQUEST, run
from wire.receipt import Wish

WANTED = Wanted((PlainText("?"),), Sampling(seed=1), 8)


@pytest.mark.parametrize(
    ("cached", "reason", "promise"),
    [
        (0, FinishReason.STOP, REPEATABLE),
        (0, FinishReason.LENGTH, REPEATABLE),
        (0, FinishReason.DEADLINE, CUT_SHORT),
        (0, FinishReason.CANCELLED, CUT_SHORT),
        (1, FinishReason.STOP, FROM_SESSION),
        (64, FinishReason.DEADLINE, FROM_SESSION),
    ],
)
def test_a_receipt_promises_no_more_than_the_engine_does(
    cached: int, reason: FinishReason, promise: str
) -> None:
    reading = Reading(WANTED, 64)
    for report in (Begun(0, 64, cached), Text(0, "No."), Finished(0, reason, 2)):
        reading.take(report)
    issuer = run().receipts.issuer(Wish(0, NONCE), REQUEST)
    said = decode_receipt(from_text(issuer.issue(bytes(32), reading.account()))).receipt
    assert said.repeatable == promise
    assert len(promise) <= MAX_WORDS


def test_one_choice_of_several_that_was_cut_short_is_enough() -> None:
    reading = Reading(Wanted((PlainText("?"),), Sampling(seed=1), 8, choices=2), 64)
    reports = [Finished(0, FinishReason.DEADLINE, 2, 0), Finished(0, FinishReason.STOP, 2, 1)]
    for report in reports:
        reading.take(report)
    assert reading.account().cut_short
