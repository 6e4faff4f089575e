# SPDX-License-Identifier: Apache-2.0
"""What a person sees, and what a hostile host cannot make them see."""

import io
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from attestation.verdict import Check, Verdict
from attestation.verify import appraise
from sottovoce import terminal
from sottovoce.one_time_keys import Assurance
from tests.fakes import hardware

URL = "https://llm.example"
HOSTILE = "[bold]x[/bold] \x1b[2J\x1b]0;owned\x07 \u202eevil \x9b31m\rVERIFIED"


class Screen:
    """A terminal of a given width in the place of the real one."""

    def __init__(self, width: int, *, colours: bool = False) -> None:
        self.written = io.StringIO()
        self.console = Console(file=self.written, width=width, highlight=False, force_terminal=colours)

    @property
    def text(self) -> str:
        return self.written.getvalue()


def screen(monkeypatch: pytest.MonkeyPatch, width: int, *, colours: bool = False) -> Screen:
    """Let the module print on a screen of this width."""
    made = Screen(width, colours=colours)
    monkeypatch.setattr(terminal, "paper", made.console)
    monkeypatch.setattr(terminal, "notes", made.console)
    return made


def verdict() -> Verdict:
    return appraise(hardware.evidence(), hardware.policy(), hardware.NOW)


def with_check(found: str, *, ok: bool = False) -> Verdict:
    check = Check("launch measurement", ok, f"expected {found}", found, "it is the code that runs")
    return replace(verdict(), checks=(check,))


@pytest.mark.parametrize("width", [60, 200])
def test_every_check_is_shown_with_its_result(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    shown = screen(monkeypatch, width)
    terminal.show_verdict(verdict(), URL)
    lines = shown.text.splitlines()
    assert sum("pass" in line for line in lines) >= len(verdict().checks)
    assert "FAIL" not in shown.text
    assert f"VERIFIED: all {len(verdict().checks)} checks of a SIMULATED enclave passed." in " ".join(lines)


@pytest.mark.parametrize("width", [60, 200])
def test_a_refusal_says_what_failed_and_that_nothing_was_sent(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    shown = screen(monkeypatch, width)
    terminal.show_verdict(with_check("something else"), URL)
    text = " ".join(shown.text.split())
    assert "FAIL" in text
    assert "something else" in text
    assert "REFUSED: 1 of 1 checks failed. Nothing was sent." in text
    assert "VERIFIED" not in text


def test_a_wide_screen_has_a_table_and_a_narrow_one_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    wide, narrow = screen(monkeypatch, 130), Screen(129)
    terminal.show_verdict(verdict(), URL)
    monkeypatch.setattr(terminal, "paper", narrow.console)
    terminal.show_verdict(verdict(), URL)
    assert "why it matters" in wide.text
    assert "why it matters" not in narrow.text
    assert max(map(len, wide.text.splitlines())) <= 130


@pytest.mark.parametrize("width", [60, 200])
def test_what_the_host_sends_is_neither_markup_nor_terminal_control(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    shown = screen(monkeypatch, width)
    terminal.show_verdict(with_check(HOSTILE), URL)
    assert "[bold]x[/bold]" in shown.text
    assert all(character.isprintable() or character == "\n" for character in shown.text)


@pytest.mark.parametrize("width", [60, 200])
def test_a_colour_terminal_gets_no_control_of_the_host(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    shown = screen(monkeypatch, width, colours=True)
    terminal.show_verdict(with_check(HOSTILE), URL)
    assert "\x1b[2J" not in shown.text
    assert "\x1b]" not in shown.text
    assert not {"\u202e", "\x9b", "\r", "\x07"} & set(shown.text)
    assert "\x1b[" in shown.text


def test_a_complaint_shows_text_of_others_without_control_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = screen(monkeypatch, 200)
    terminal.complain(f"the enclave says: {HOSTILE}")
    assert "[bold]x[/bold]" in shown.text
    assert shown.text.strip().isprintable()


def test_long_digests_are_cut_in_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = screen(monkeypatch, 200)
    terminal.show_verdict(with_check("ab" * 48), URL)
    assert "abababababab...abab" in shown.text
    assert "ab" * 24 not in shown.text


@pytest.mark.parametrize("simulated", [True, False])
def test_a_simulated_enclave_is_called_that_on_every_screen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, simulated: bool
) -> None:
    shown = screen(monkeypatch, 200)
    judged = replace(verdict(), simulated=simulated)
    terminal.show_verdict(judged, URL)
    terminal.show_verified(judged, Assurance.FRESH)
    beside = " ".join(capsys.readouterr().err.split())
    assert (terminal.SIMULATED in shown.text) is simulated
    assert (terminal.SIMULATED in beside) is simulated
    assert f"verified {len(judged.checks)} checks: {judged.tee}" in shown.text


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text())
def test_printable_keeps_text_and_drops_control(text: str) -> None:
    shown = terminal.printable(text)
    assert all(character.isprintable() or character in "\n\t" for character in shown)
    assert [character for character in text if character.isprintable()] == [
        character for character in shown if character not in "\n\t"
    ]
    assert terminal.printable(shown) == shown


def test_printable_keeps_lines_and_other_scripts() -> None:
    assert terminal.printable("naïve\n\t日本語 🎻\x1b[31m\x00\x7f\u2066") == "naïve\n\t日本語 🎻[31m"


def test_a_piece_goes_into_a_pipe_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.show_piece("a\x1b[31mb")
    assert capsys.readouterr().out == "a\x1b[31mb"
