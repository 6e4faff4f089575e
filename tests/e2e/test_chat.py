# SPDX-License-Identifier: Apache-2.0
"""`sottovoce chat` at a real terminal, and as a filter, with the real enclave."""

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import Pair
from tests.e2e.test_answers import MODEL

ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b[=>78]|\r")
SECONDS = 60.0


class Terminal:
    """A program at a terminal of its own."""

    def __init__(self, process: "subprocess.Popen[bytes]", end: int) -> None:
        self.process, self._end, self._seen = process, end, b""
        self.shown = b""
        """All that came."""

    def type(self, text: str) -> None:
        """Type."""
        os.write(self._end, text.encode())

    def expect(self, pattern: str) -> str:
        """Wait until this is on the screen, and forget what came up to it."""
        deadline = time.monotonic() + SECONDS
        while not (found := re.search(pattern.encode(), plain := ESCAPES.sub(b"", self._seen))):
            assert time.monotonic() < deadline, f"waited in vain for {pattern}: {plain[-2000:]!r}"
            self._read(0.1)
        self._seen = plain[found.end() :]
        return found[0].decode()

    def enter(self, line: str, pattern: str) -> None:
        """Type a line and wait for this."""
        self.type(line + "\r")
        self.expect(pattern)

    def leave(self) -> int:
        """Read until the program ends; its exit code."""
        deadline = time.monotonic() + SECONDS
        while self.process.poll() is None:
            assert time.monotonic() < deadline, "it does not end"
            self._read(0.1)
        return self.process.returncode

    def _read(self, seconds: float) -> None:
        if select.select([self._end], [], [], seconds)[0]:
            try:
                data = os.read(self._end, 1 << 16)
            except OSError:  # the program has gone
                return
            if b"\x1b[6n" in data:
                os.write(self._end, b"\x1b[1;1R")  # where the cursor is, as a terminal answers
            self._seen += data
            self.shown += data


@contextmanager
def terminal(pair: Pair, folder: Path) -> Generator[Terminal]:
    """A chat at a terminal of 100 columns."""
    end, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    command = [sys.executable, "-P", "-m", "sottovoce", "chat", pair.url, "--policy", str(pair.place.policy)]
    command = ["setsid", "--ctty", *command]  # Ctrl-C reaches who has the terminal as its own
    process = subprocess.Popen(
        [*command, "--temperature", "0", "--max-tokens", "400"],
        stdin=inner,
        stdout=inner,
        stderr=inner,
        env=os.environ | {"TERM": "xterm", "XDG_DATA_HOME": str(folder)},
        cwd=folder,
    )
    os.close(inner)
    try:
        yield Terminal(process, end)
    finally:
        process.kill()
        process.wait()
        os.close(end)


def saved(path: Path) -> list[list[str]]:
    """The turns in a saved conversation."""
    turns: list[list[str]] = json.loads(path.read_text(encoding="utf-8"))["turns"]
    return turns


def test_a_person_talks_stops_edits_saves_and_verifies(pair: Pair, tmp_path: Path) -> None:
    with terminal(pair, tmp_path) as screen:
        screen.expect(f"SIMULATED, no protection.*{MODEL}.*L2")  # the line at the bottom
        screen.type("WRITE A VERY LONG STORY\x1b\rABOUT THE SEA.\r")
        screen.expect(r"\.\.\.")  # from here on Ctrl-C is no key of the prompt
        screen.expect(r"[a-z]{3,} [a-z]{2,} [a-z]{2,}")  # lower case is not the question's
        screen.type("\x03")
        screen.expect(r"\(stopped\)")
        screen.enter("/save one.json", "wrote one.json")
        screen.enter("/nothing", "there is no command /nothing")
        screen.enter("/model", MODEL)
        screen.enter("/verify", r"VERIFIED: all \d+ checks")
        screen.enter("/receipt kept", "receipts of all answers go to kept")
        screen.enter("/edit", "ABOUT THE SEA")
        screen.type("\x15\x08\x15SAY YES.\r")  # all of it, line by line
        screen.expect("receipt in kept/001")
        screen.enter("/load one.json", "2 turns")
        screen.enter("/export one.md", "wrote one.md")
        screen.type("/quit\r")
        assert screen.leave() == 0
        assert b"^C" not in screen.shown
    (question, answer) = saved(tmp_path / "one.json")
    assert question == ["user", "WRITE A VERY LONG STORY\nABOUT THE SEA."]
    assert answer[0] == "assistant"
    assert (tmp_path / "one.json").stat().st_mode & 0o777 == 0o600
    request = json.loads((tmp_path / "kept" / "001" / "request.json").read_bytes())
    assert request["messages"] == [{"role": "user", "content": "SAY YES."}]
    assert (tmp_path / "one.md").read_text(encoding="utf-8").startswith("## You\n\nWRITE A VERY LONG STORY")


def test_receipts_of_a_conversation_hold_without_a_network(pair: Pair, tmp_path: Path) -> None:
    policy = ("--policy", str(pair.place.policy))

    def run(*words: str, typed: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-P", "-m", "sottovoce", *words],
            input=typed,
            capture_output=True,
            text=True,
            timeout=100,
            check=True,
            env=os.environ | {"XDG_DATA_HOME": str(tmp_path)},
            cwd=tmp_path,
        )

    asking = ("chat", pair.url, *policy, "--max-tokens", "4", "--json", "--receipt", "kept")
    lines = "Who are you?\nWho am I?\n/receipt\nAnd now?\n"
    said = [json.loads(line) for line in run(*asking, typed=lines).stdout.splitlines()]
    assert [next(iter(each)) for each in said] == ["answer", "note", "answer", "note", "note", "answer"]
    assert [each["note"] for each in said if "note" in each] == [
        "receipt in kept/001",
        "receipt in kept/002",
        "no more receipts",
    ]
    answers = [each["answer"] for each in said if "answer" in each]
    for number in (1, 2):
        folder = tmp_path / "kept" / f"00{number}"
        assert (folder / "answer.txt").read_text(encoding="utf-8") == answers[number - 1]
        kept = ("--answer", str(folder / "answer.txt"), "--request", str(folder / "request.json"))
        proven = run(
            "receipt", "verify", str(folder / "receipt.cbor"), *kept, "--origin", pair.url, *policy, "--json"
        )
        assert json.loads(proven.stdout)["verified"] is True
    messages = json.loads((tmp_path / "kept" / "002" / "request.json").read_bytes())["messages"]
    assert [message["content"] for message in messages] == ["Who are you?", answers[0], "Who am I?"]


def test_a_program_gets_text_or_one_object_for_each_line(pair: Pair, tmp_path: Path) -> None:
    def run(typed: str, *options: str) -> str:
        command = [sys.executable, "-P", "-m", "sottovoce", "chat", pair.url]
        done = subprocess.run(
            [
                *command,
                "--policy",
                str(pair.place.policy),
                "--temperature",
                "0",
                "--max-tokens",
                "8",
                *options,
            ],
            input=typed,
            capture_output=True,
            text=True,
            timeout=100,
            check=True,
            env=os.environ | {"XDG_DATA_HOME": str(tmp_path)},
            cwd=tmp_path,
        )
        return done.stdout

    lines = "Who are you?\n/regenerate\n/edit\nWho am I?\n/model none\n/save two.json\n/quit\nnever read\n"
    objects = [json.loads(line) for line in run(lines, "--json").splitlines()]
    first, again, edited, error, note = objects
    assert first == again
    assert set(edited) == {"answer"}
    assert "there is no model none" in error["error"]
    assert note == {"note": "wrote two.json"}
    assert saved(tmp_path / "two.json") == [["user", "Who am I?"], ["assistant", edited["answer"]]]
    assert run("Who are you?\n").rstrip("\n") == first["answer"].rstrip("\n")
