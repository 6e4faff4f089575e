# SPDX-License-Identifier: Apache-2.0
"""Somebody shows a receipt for what did not happen. Each test spoils one thing of a good receipt."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attestation.evidence import EvidenceError
from attestation.results.values import Value, decode_cbor, encode_cbor
from sottovoce.receipt_form import ReceiptError, decode_receipt
from sottovoce.receipts import NoTimeError, ReceiptVerdict, Subject, judge
from tests.fakes import hardware
from tests.fakes.receipts import ANSWER, MINUTE, NONCE, REQUEST, TEXT, run
from wire.receipt import TAG

GOOD = run().receipt()
DOCUMENT = run().document()
BOTH = Subject(REQUEST, ANSWER)


def judged(data: bytes = GOOD, document: bytes = DOCUMENT, subject: Subject = BOTH) -> ReceiptVerdict:
    """What the client makes of it."""
    return judge(data, document, hardware.policy(), subject)


def failed(verdict: ReceiptVerdict) -> set[str]:
    """The names of the checks that failed."""
    assert verdict.proven is None
    return {check.name for check in verdict.checks if not (check.ok or check.waived)}


def under(header: dict[int | str, Value], data: bytes = GOOD) -> bytes:
    """A receipt under another header."""
    members = decode_cbor(data[1:])
    assert isinstance(members, list)
    members[1] = header
    return TAG + encode_cbor(members)


@pytest.mark.parametrize("answer", [ANSWER, ANSWER + b": filler\n\ndata: [DONE]\n\n", TEXT, TEXT + b"\n"])
def test_a_good_receipt_holds_in_every_form_of_its_answer(answer: bytes) -> None:
    verdict = judged(subject=Subject(REQUEST, answer))
    assert verdict.proven is not None
    assert verdict.proven.prompt_tokens == 31
    settings = {"max_tokens": 256, "temperature": "0.7", "top_p": "0.9", "seed": 42}
    assert verdict.proven.sampling.items() >= settings.items()
    assert verdict.judged_at == hardware.NOW


def test_somebody_alters_a_receipt_in_any_byte() -> None:
    for place in range(len(GOOD)):
        data = bytearray(GOOD)
        data[place] ^= 1 << place % 8
        try:
            verdict = judged(bytes(data), subject=Subject())
        except (ReceiptError, NoTimeError):
            continue
        assert failed(verdict), f"byte {place}"


@given(place=st.integers(0, len(DOCUMENT) - 1), bit=st.integers(0, 6))
def test_somebody_alters_the_evidence_beside_a_receipt(place: int, bit: int) -> None:
    document = bytearray(DOCUMENT)
    document[place] ^= 1 << bit
    try:
        verdict = judged(document=bytes(document))
    except EvidenceError:
        return
    assert failed(verdict)


@given(extra=st.binary(min_size=1, max_size=20), size=st.integers(0, len(GOOD) - 1))
def test_somebody_cuts_a_receipt_or_makes_it_longer(extra: bytes, size: int) -> None:
    for data in (GOOD + extra, GOOD[:size]):
        with pytest.raises(ReceiptError):
            judged(data)


def test_somebody_shows_another_answer() -> None:
    assert failed(judged(subject=Subject(REQUEST, b"Yes."))) == {"answer"}
    assert failed(judged(subject=Subject(REQUEST, b""))) == {"answer"}


def test_somebody_shows_another_request() -> None:
    assert failed(judged(subject=Subject(REQUEST + b" ", ANSWER))) == {"request"}


def test_somebody_claims_another_model() -> None:
    other = run(model=bytes([8]) * 32)
    assert failed(judged(other.receipt())) == {"model"}
    assert "evidence" in failed(judged(other.receipt(), other.document()))


def test_somebody_claims_another_measurement() -> None:
    assert failed(judged(run().receipt(measurement=bytes(48)))) == {"measurement"}


def test_a_receipt_is_signed_with_a_key_that_is_not_in_the_claims() -> None:
    assert failed(judged(run(2).receipt())) == {"receipt key"}
    assert judged(run(2).receipt(), run(2).document()).proven is not None


def test_a_receipt_hides_its_key() -> None:
    with pytest.raises(ReceiptError, match="the key and the nonce"):
        judged(under({"nonce": NONCE}))


def test_a_receipt_names_the_key_of_the_claims_and_is_signed_with_another() -> None:
    forged = under({"key": decode_receipt(GOOD).public_key, "nonce": NONCE}, run(2).receipt())
    assert failed(judged(forged)) == {"signature"}


def test_a_receipt_of_one_epoch_is_shown_with_the_evidence_of_another() -> None:
    evidence = hardware.evidence(keys=hardware.KEYS * 2, claims=run().claims)
    assert "key list" in failed(judged(document=evidence.encode()))


def test_somebody_opens_the_digests_with_another_nonce() -> None:
    other = under({"key": decode_receipt(GOOD).public_key, "nonce": bytes(32)})
    assert failed(judged(other)) == {"nonce", "request", "answer"}


def test_evidence_that_was_not_in_force_at_the_time_of_the_receipt() -> None:
    late = run().receipt(time=MINUTE + 3600)
    assert failed(judged(late)) == {"evidence"}
    early = run().receipt(time=MINUTE - 3600)
    assert failed(judged(early)) == {"evidence"}


def test_a_receipt_without_a_time_is_judged_only_as_of_a_time_that_is_given() -> None:
    data = run().receipt(time=0)
    with pytest.raises(NoTimeError):
        judged(data)
    verdict = judge(data, DOCUMENT, hardware.policy(), BOTH, at=hardware.NOW)
    assert verdict.proven is not None
    assert verdict.proven.time == 0


def test_evidence_of_a_machine_that_the_policy_does_not_accept() -> None:
    policy = replace(hardware.policy(), machines=frozenset({bytes(64)}))
    assert failed(judge(GOOD, DOCUMENT, policy, BOTH)) == {"evidence"}


def test_a_receipt_holds_no_words_of_the_conversation() -> None:
    for words in (b"malignant", b"No.", REQUEST, TEXT):
        assert words not in GOOD.replace(b"release", b"")
