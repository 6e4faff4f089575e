# SPDX-License-Identifier: Apache-2.0
"""The vectors of receipts: that the files are what the script makes, and what our own code says of each."""

import json
from pathlib import Path
from typing import TypedDict

import pytest

from sottovoce.receipt_form import ReceiptError, decode_receipt
from sottovoce.receipts import Subject, judge
from tests.fakes import hardware
from tests.fakes.receipts import run
from tests.unit.wire.make_receipt_vectors import FOLDER, MAKERS, files
from wire.receipt import ReceiptFormError, Wish, parse_wish


class Good(TypedDict):
    request: str
    answer: str
    texts: list[str]
    receipt: str


class Forged(TypedDict):
    receipt: str
    fails: str


class Asked(TypedDict):
    time: int
    nonce: str


GOOD: dict[str, Good] = json.loads((FOLDER / "good.json").read_text("ascii"))["receipts"]
BAD = json.loads((FOLDER / "bad.json").read_text("ascii"))
REFUSED: dict[str, str] = BAD["refused"]
FORGED: dict[str, Forged] = BAD["forged"]
WISHES = json.loads((FOLDER / "wishes.json").read_text("ascii"))
ACCEPTED_WISHES: dict[str, Asked] = WISHES["accepted"]
REFUSED_WISHES: list[str] = WISHES["refused"]
STREAM = GOOD["a stream"]
SUBJECT = Subject(bytes.fromhex(STREAM["request"]), bytes.fromhex(STREAM["answer"]))


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_the_script_makes_this_file(name: str) -> None:
    assert files()[name] == (FOLDER / name).read_text(encoding="ascii")


def test_there_is_no_other_file() -> None:
    assert {path.name for path in Path(FOLDER).iterdir()} == set(MAKERS)


@pytest.mark.parametrize("name", GOOD)
def test_a_good_receipt_holds(name: str) -> None:
    vector = GOOD[name]
    answers = [vector["answer"], *(vector["texts"] if len(vector["texts"]) == 1 else [])]
    for answer in answers:
        subject = Subject(bytes.fromhex(vector["request"]), bytes.fromhex(answer))
        data, document = bytes.fromhex(vector["receipt"]), run().document()
        assert judge(data, document, hardware.policy(), subject, at=hardware.NOW).proven is not None


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_not_the_form_is_refused(name: str) -> None:
    with pytest.raises(ReceiptError):
        decode_receipt(bytes.fromhex(REFUSED[name]))


@pytest.mark.parametrize("name", FORGED)
def test_the_first_check_that_fails_is_the_one_that_is_named(name: str) -> None:
    vector = FORGED[name]
    verdict = judge(
        bytes.fromhex(vector["receipt"]), run().document(), hardware.policy(), SUBJECT, at=hardware.NOW
    )
    assert verdict.proven is None
    assert next(check.name for check in verdict.checks if not check.ok) == vector["fails"]


@pytest.mark.parametrize("value", ACCEPTED_WISHES)
def test_a_receipt_is_asked_for_with_and_without_a_time(value: str) -> None:
    asked = ACCEPTED_WISHES[value]
    assert parse_wish(value) == Wish(asked["time"], bytes.fromhex(asked["nonce"]))


@pytest.mark.parametrize("value", REFUSED_WISHES)
def test_other_forms_of_asking_are_refused(value: str) -> None:
    with pytest.raises(ReceiptFormError):
        parse_wish(value)
