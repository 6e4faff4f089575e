# SPDX-License-Identifier: Apache-2.0
"""What a client remembers of the enclaves it was shown, what it warns of, and the file."""

import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from attestation.verify import VerifiedEnclave, verify
from sottovoce.memory import (
    MAX_EPOCHS,
    MAX_RELEASES,
    Kind,
    Notice,
    Origin,
    PinnedError,
    Release,
    Shown,
    UnknownReleaseError,
    observe,
    pin,
    shown_by,
)
from sottovoce.memory import Epoch as Keys
from sottovoce.memory_file import Memory, MemoryFileError, decode, encode
from tests.fakes import hardware

NOW = hardware.NOW


def shown(code: int = 1, *, run: int = 1, epoch: int = 1, keys: int = 1, version: int = 1) -> Shown:
    """What an enclave with this code and these keys shows."""
    release = Release(bytes([code] * 48).hex(), bytes(32).hex(), bytes(32).hex())
    return Shown(release, Keys(bytes([run] * 32).hex(), epoch, bytes([keys] * 32).hex()), version)


def after(*each: Shown) -> tuple[Origin, tuple[Notice, ...]]:
    """What is remembered after all of these, and what the last one brings up."""
    origin, notices = Origin(), tuple[Notice, ...]()
    for number, what in enumerate(each):
        origin, notices = observe(origin, what, NOW + number)
    return origin, notices


def kinds(*each: Shown) -> list[Kind]:
    """What the last of these brings up."""
    return [notice.kind for notice in after(*each)[1]]


def test_the_first_enclave_is_new_and_the_second_time_there_is_nothing_to_say() -> None:
    assert kinds(shown()) == [Kind.FIRST]
    assert kinds(shown(), shown()) == []
    assert kinds(shown(), shown(run=2, keys=2)) == []


def test_other_code_is_a_change() -> None:
    _, (notice,) = after(shown(), shown(2))
    assert notice.kind is Kind.CHANGED
    assert "measurement" in notice.sentence
    assert "model" not in notice.sentence


def test_code_that_was_replaced_before_is_a_rollback() -> None:
    assert kinds(shown(1), shown(2), shown(1)) == [Kind.ROLLBACK]
    assert kinds(shown(1), shown(2), shown(2)) == []


def test_releases_that_take_turns_are_for_somebody_singled_out() -> None:
    assert kinds(shown(1), shown(2), shown(1), shown(2)) == [Kind.SINGLED_OUT]


@pytest.mark.parametrize("step", [0, -1])
def test_the_latest_is_what_was_shown_last_whatever_the_clock_says(step: int) -> None:
    origin, notices = Origin(), list[list[Kind]]()
    for number, what in enumerate((shown(1), shown(2), shown(2), shown(1), shown(1), shown(2), shown(2))):
        origin, told = observe(origin, what, NOW + step * number)
        notices.append([notice.kind for notice in told])
    assert notices == [[Kind.FIRST], [Kind.CHANGED], [], [Kind.ROLLBACK], [], [Kind.SINGLED_OUT], []]


def test_an_older_protocol_is_a_rollback() -> None:
    assert kinds(shown(version=2), shown(version=1)) == [Kind.ROLLBACK]


def test_two_key_lists_for_one_epoch_of_one_run_mean_that_one_was_made_for_this_client() -> None:
    assert kinds(shown(keys=1), shown(keys=2)) == [Kind.SINGLED_OUT]
    assert kinds(shown(epoch=1, keys=1), shown(epoch=2, keys=2)) == []


def test_a_pin_admits_nothing_else() -> None:
    origin = pin(after(shown(1), shown(2))[0], "01")
    assert [seen.pinned for seen in origin.releases] == [True, False]
    with pytest.raises(PinnedError):
        observe(origin, shown(2), NOW)
    with pytest.raises(PinnedError):
        observe(origin, shown(3), NOW)
    observe(origin, shown(1), NOW)
    with pytest.raises(UnknownReleaseError):
        pin(origin, "99")


def test_the_memory_is_bounded() -> None:
    origin, _ = after(*(shown(number, epoch=number) for number in range(MAX_RELEASES + 10)))
    assert len(origin.releases) == MAX_RELEASES
    assert len(origin.epochs) == MAX_EPOCHS


def enclave() -> VerifiedEnclave:
    """A verified enclave."""
    return verify(hardware.evidence(), hardware.policy(), NOW)


def test_the_file_is_private_and_reads_back_as_it_was(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "new" / "trust.json")
    assert [notice.kind for notice in memory.meet("https://llm.example", enclave(), NOW)] == [Kind.FIRST]
    assert memory.meet("https://llm.example", enclave(), NOW + 1) == ()
    assert memory.path.stat().st_mode & 0o777 == 0o600
    assert memory.path.parent.stat().st_mode & 0o777 == 0o700
    origins = memory.origins()
    (seen,) = origins["https://llm.example"].releases
    assert (seen.what, seen.first, seen.last) == (shown_by(enclave()).release, NOW, NOW + 1)
    assert decode(encode(origins)) == origins
    memory.forget("https://llm.example")
    assert memory.origins() == {}
    with pytest.raises(MemoryFileError):
        memory.forget("https://llm.example")
    assert {path.name for path in memory.path.parent.iterdir()} == {"trust.json", "trust.lock"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b'{"version":2,"origins":{}}',
        b'{"version":1,"origins":{"a":[]}}',
        b'{"version":1,"origins":{"a":[0,[["x","",""]],[]]}}',
        b'{"version":1,"origins":{"a":[0,[["zz","","",1,1,true]],[]]}}',
        b'{"version":1,"origins":{"a":[0,[],[[1,1,1]]]}}',
        b"[" * 100_000,
    ],
)
def test_a_file_that_is_none_is_not_passed_over(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "trust.json"
    path.write_bytes(content)
    with pytest.raises(MemoryFileError):
        Memory(path).meet("https://llm.example", enclave(), NOW)
    assert path.read_bytes() == content


def test_a_folder_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(MemoryFileError):
        Memory(tmp_path / "file" / "trust.json").meet("https://llm.example", enclave(), NOW)


def remember(path: Path, number: int) -> None:
    """Remember twenty addresses."""
    for each in range(20):
        Memory(path).change(f"https://{number}.{each}", lambda origin: observe(origin, shown(), NOW)[0])


def test_processes_that_remember_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "trust.json"
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as processes:
        list(processes.map(remember, [path] * 4, range(4)))
    assert len(json.loads(path.read_bytes())["origins"]) == 80
