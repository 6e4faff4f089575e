# SPDX-License-Identifier: Apache-2.0
"""A real browser without a screen: Chromium, led through its DevTools protocol over two pipes."""

import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest

SECONDS = 60.0
# It wants its pipes as descriptors 3 and 4.
AT_3_AND_4 = """
import fcntl, os, sys
read, write = (fcntl.fcntl(int(word), fcntl.F_DUPFD, 10) for word in sys.argv[1:3])
os.dup2(read, 3), os.dup2(write, 4)
os.execvp(sys.argv[3], sys.argv[3:])
"""
Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Members: TypeAlias = dict[str, Json]


class Page:
    """One tab, in which pages may run no script."""

    def __init__(self, commands: int, events: int) -> None:
        self._commands, self._events = commands, events
        self._numbers = itertools.count(1)
        self._session: str | None = None
        self._held = b""
        self.addresses: list[str] = []
        """All that it asked for."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = str(attached["sessionId"])
        self.send("Network.enable")
        self.send("Emulation.setScriptExecutionDisabled", value=True)

    def send(self, method: str, **parameters: Json) -> Members:
        """One command that works; its result."""
        message = self._answer_to(method, parameters)
        result = message.get("result")
        assert isinstance(result, dict), message
        return result

    def _answer_to(self, method: str, parameters: Members) -> Members:
        number = next(self._numbers)
        command: Members = {"id": number, "method": method, "params": dict(parameters)}
        if self._session is not None:
            command["sessionId"] = self._session
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        while (message := self._receive()).get("id") != number:
            pass
        return message

    def open(self, url: str, *, width: int, colours: str) -> None:
        """Go there with a window of this width, as a reader who likes these colours."""
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False
        )
        liked: list[Json] = [{"name": "prefers-color-scheme", "value": colours}]
        self.send("Emulation.setEmulatedMedia", features=liked)
        self.send("Page.navigate", url=url)
        self.wait_for("document.readyState == 'complete' && document.querySelector('main') != null")

    def evaluate(self, expression: str) -> Json:
        """What the inspector finds, which is no script of the page; None also between two pages."""
        asked: Members = {"expression": expression, "returnByValue": True}
        match self._answer_to("Runtime.evaluate", asked):
            case {"result": {"result": {"value": value}}}:
                return value
            case _:
                return None

    def wait_for(self, expression: str) -> None:
        """Wait until that is so."""
        deadline = time.monotonic() + SECONDS
        while self.evaluate(expression) is not True:
            assert time.monotonic() < deadline, f"waited in vain: {expression}"
            time.sleep(0.05)

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press and let go of a key."""
        for kind in ("keyDown", "keyUp"):
            typed = {"text": text} if text and kind == "keyDown" else {}
            self.send(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **typed
            )

    def _receive(self) -> Members:
        while b"\0" not in self._held:
            data = os.read(self._events, 1 << 16)
            assert data, "the browser has gone"
            self._held += data
        line, _, self._held = self._held.partition(b"\0")
        message: Members = json.loads(line)
        match message:
            case {"method": "Network.requestWillBeSent", "params": {"request": {"url": str(address)}}}:
                self.addresses.append(address)
            case _:
                pass
        return message


@contextmanager
def browser(folder: Path) -> Generator[Page]:
    """A browser that keeps its own things in this folder. Skips the test where there is none."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("Chromium is not installed, so the page is not looked at in a browser")
    (its_commands, commands), (events, its_events) = os.pipe(), os.pipe()
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]  # our own page alone
    start = [sys.executable, "-I", "-c", AT_3_AND_4, str(its_commands), str(its_events)]
    process = subprocess.Popen(
        [*start, program, *options, f"--user-data-dir={folder}"],
        pass_fds=(its_commands, its_events),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(its_commands)
    os.close(its_events)
    try:
        yield Page(commands, events)
    finally:
        os.close(commands)  # it ends with its pipe
        os.close(events)
        process.wait(timeout=20)
