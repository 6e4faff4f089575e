# SPDX-License-Identifier: Apache-2.0
"""The search finds a text in each form it could have, and nothing where there is nothing."""

import base64
import ctypes
import mmap
import os
import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.search import (
    BLOCK_BYTES,
    MOST_PARTS,
    PART_CHARACTERS,
    Needle,
    count_hidden,
    forms,
    hidden,
    needles,
    regions,
    search,
    search_files,
    search_memory,
    written_files,
)

TEXT = "Grüße aus dem Vorzimmer der Königin"
LONG = "".join(f"sentence number {number} of a long answer. " for number in range(40))

FORMS: dict[str, Callable[[str], bytes]] = {
    "UTF-8": str.encode,
    "UTF-16": lambda text: text.encode("utf-16-le"),
    "hexadecimal": lambda text: text.encode().hex().encode(),
    "base64": lambda text: base64.b64encode(text.encode()),
}

PROGRAM = """
import mmap, sys
held, digits = mmap.mmap(-1, 4096), sys.stdin.readline()
for place in range(len(digits) // 2):
    held[place] = int(digits[2 * place : 2 * place + 2], 16)
print("held", flush=True)
sys.stdin.readline()
held[:] = bytes(len(held))
print("gone", flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("form", FORMS)
def test_a_text_is_found_in_each_of_its_forms(form: str) -> None:
    haystack = b"before " + FORMS[form](TEXT) + b" after"
    assert {needle.form for needle in search(haystack, forms("prompt", TEXT))} == {form}


@pytest.mark.parametrize("lead", range(7))
@pytest.mark.parametrize("tail", range(4))
def test_base64_is_found_wherever_the_text_begins_inside_it(lead: int, tail: int) -> None:
    encoded = base64.b64encode(secrets.token_bytes(lead) + TEXT.encode() + secrets.token_bytes(tail))
    assert [needle.form for needle in search(encoded, forms("prompt", TEXT))] == ["base64"]


def test_any_part_of_a_long_text_is_found() -> None:
    wanted = needles("answer", LONG)
    assert MOST_PARTS - 1 <= sum(needle.form == "part in UTF-8" for needle in wanted) <= MOST_PARTS
    window = len(LONG) // MOST_PARTS + PART_CHARACTERS
    for start in range(len(LONG) - window - PART_CHARACTERS):
        assert search(LONG[start : start + window].encode(), wanted), start


def test_a_short_text_is_looked_for_as_a_whole() -> None:
    assert needles("prompt", "a short one") == forms("prompt", "a short one")


def test_other_text_is_not_found() -> None:
    wanted = needles("prompt", TEXT) + needles("answer", LONG)
    assert search(secrets.token_bytes(1 << 20), wanted) == []
    assert search(TEXT[1:].encode() + LONG[30:50].encode(), wanted) == []


def test_files_are_searched_by_content_and_by_name(tmp_path: Path) -> None:
    wanted = [Needle("content", "UTF-8", b"in the file"), Needle("name", "UTF-8", b"in-the-name")]
    (tmp_path / "deep" / "down").mkdir(parents=True)
    (tmp_path / "deep" / "down" / "log").write_bytes(b"\0\xffit is in the file\0")
    assert search_files(tmp_path, wanted) == wanted[:1]
    (tmp_path / "deep" / "a-text-in-the-name").touch()
    assert search_files(tmp_path, wanted) == wanted


def test_a_text_is_found_in_the_memory_of_a_process_and_not_once_it_is_overwritten() -> None:
    token = secrets.token_bytes(40)
    wanted = [Needle("held", "bytes", token), Needle("never", "bytes", secrets.token_bytes(40))]
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None

        def tell(line: str, expected: str) -> None:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write(line + "\n")
            child.stdin.flush()
            assert child.stdout.readline() == expected + "\n"

        # In hexadecimal, and put together in one place, so that no buffer of the child holds a copy.
        tell(token.hex(), "held")
        assert search_memory(child.pid, wanted) == wanted[:1]
        tell("", "gone")
        assert search_memory(child.pid, wanted) == []
        child.stdin.close()
        assert child.wait(10) == 0


def test_a_process_that_has_ended_is_not_searched_in_vain() -> None:
    with subprocess.Popen(["/bin/true"]) as child:
        child.wait(10)
    with pytest.raises(OSError, match=str(child.pid)):
        search_memory(child.pid, forms("held", TEXT))


def random_memory(size: int, filled: int) -> memoryview:
    """Memory that begins with so many bytes that are in no other place."""
    view = memoryview(mmap.mmap(-1, size))
    with Path("/dev/urandom").open("rb", buffering=0) as file:
        assert file.readinto(view[:filled]) == filled
    return view


def test_a_process_finds_in_itself_what_it_holds_and_nothing_of_its_search() -> None:
    held = random_memory(4096, 64)
    wanted = [hidden(held[:48]), hidden(secrets.token_bytes(48)), hidden(held[16:64])]
    for _ in range(3):  # a search finds nothing of those before it
        assert count_hidden(os.getpid(), wanted) == [1, 0, 1]
    held[20] ^= 1
    assert count_hidden(os.getpid(), wanted) == [0, 0, 0]


def test_what_lies_across_pieces_is_counted_once() -> None:
    held, places = random_memory(4 * BLOCK_BYTES, 40), range(0, 3 * BLOCK_BYTES, 40)
    wanted = [hidden(held[:40]), hidden(held[:20])]
    for place in places:
        held[place : place + 40] = held[:40]
    assert count_hidden(os.getpid(), wanted) == [len(places)] * 2


def test_what_the_search_reads_into_is_no_part_of_what_it_reads() -> None:
    window, beside = bytearray(BLOCK_BYTES), bytearray(BLOCK_BYTES)
    spans = regions(os.getpid(), left_out=window)

    def read(buffer: bytearray) -> int:
        first = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
        return sum(max(0, min(end, first + len(buffer)) - max(start, first)) for start, end in spans)

    assert (read(window), read(beside)) == (0, BLOCK_BYTES)


def test_the_end_of_a_file_that_became_shorter_stops_no_search(tmp_path: Path) -> None:
    path = tmp_path / "long"
    path.write_bytes(bytes(3 * 4096))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        file.truncate(0)
        assert len(mapped) == 3 * 4096
        assert search_memory(os.getpid(), forms("held", TEXT)[:1]) == forms("held", TEXT)[:1]


def test_the_files_that_a_process_writes_are_known(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with (
        path.open("wb") as output,
        subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, stdout=output) as child,
    ):
        assert child.stdin is not None
        assert path in written_files(child.pid)
        child.stdin.close()
        assert child.wait(10) == 0
