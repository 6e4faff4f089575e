# SPDX-License-Identifier: Apache-2.0
"""Where `sottovoce chat` reads and writes: a terminal, or lines and JSON for programs."""

import argparse
import json
import sys
import termios
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.patch_stdout import patch_stdout
from rich.text import Text

from attestation.verdict import Verdict
from sottovoce import terminal
from sottovoce.chat_commands import Chat
from sottovoce.chat_markdown import StreamedMarkdown
from sottovoce.conversation import Conversation
from sottovoce.transport import Connection
from sottovoce.trust import judgement_json

PROMPT = "> "


class TerminalScreen:
    """A person at a terminal."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._input = PromptSession[str](
            history=InMemoryHistory(),
            key_bindings=_keys(),
            multiline=True,
            complete_while_typing=False,
            prompt_continuation="  ",
        )

    def run(self, chat: Chat) -> None:
        """Read and answer until the user leaves. Ctrl-C at the prompt clears it."""
        self._input.completer = WordCompleter(chat.commands, sentence=True)
        self._input.bottom_toolbar = partial(toolbar, self._connection, chat)
        self.say("/help lists what else one can do")
        while True:
            try:
                with patch_stdout(raw=True):  # what another thread has to say comes above the prompt
                    line = self._input.prompt(PROMPT)
            except KeyboardInterrupt:
                continue
            except EOFError:
                return
            if not chat.take(line):
                return

    def answer(self, texts: Iterator[str]) -> tuple[str, bool]:
        """Draw it as Markdown; Ctrl-C stops it."""
        pieces: list[str] = []
        try:
            with without_echo(), StreamedMarkdown(terminal.paper) as drawn:
                for piece in texts:
                    pieces.append(piece)
                    drawn.add(piece)
        except KeyboardInterrupt:
            return "".join(pieces), True
        return "".join(pieces), False

    def say(self, sentence: str, *, bad: bool = False) -> None:
        """A sentence beside the conversation."""
        terminal.notes.print(Text(terminal.printable(sentence), "bold red" if bad else "dim"))

    def show_verdict(self, verdict: Verdict) -> None:
        """The table of checks."""
        terminal.show_verdict(verdict, str(self._connection.origin))

    def edit(self, text: str) -> str:
        """The text at the prompt, to be changed."""
        return self._input.prompt(PROMPT, default=text)


@contextmanager
def without_echo() -> Generator[None]:
    """Keys that are hit now are not shown: that, and the ^C of Ctrl-C, would shift what is drawn."""
    before = termios.tcgetattr(sys.stdin)
    quiet = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
    termios.tcsetattr(sys.stdin, termios.TCSADRAIN, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def toolbar(connection: Connection, chat: Chat) -> FormattedText:
    """Always there: which enclave, whether simulated, how sure that is, the model, and the last warning."""
    verdict, assurance = chat.session.enclave.verdict, chat.session.assurance
    simulated = "SIMULATED, no protection" if verdict.simulated else "verified"
    warned = [f"WARNING: {notice.kind.value}" for notice in connection.notices if notice.is_warning][-1:]
    receipts = ["receipts"] if chat.receipts else []
    parts = [simulated, *warned, *receipts, chat.conversation.model]
    parts += [verdict.tee, assurance.value, str(connection.origin)]  # what is cut off on a narrow terminal
    style = "bg:ansiyellow fg:ansiblack" if verdict.simulated else "bg:ansigreen fg:ansiblack"
    return FormattedText([(f"{style} noreverse", f" {terminal.printable('  |  '.join(parts))} ")])


def _keys() -> KeyBindings:
    """Enter sends; Alt-Enter (Escape, Enter) begins a new line. A pasted text stays in one piece."""
    keys = KeyBindings()

    def send(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    def new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    keys.add("enter")(send)
    keys.add("escape", "enter")(new_line)
    return keys


class PipeScreen:
    """A program: a question on each line, the answer as text, or as one JSON object for each question."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def run(self, chat: Chat) -> None:
        """Answer one line after another."""
        for line in sys.stdin:
            if not chat.take(line.removesuffix("\n")):
                return

    def answer(self, texts: Iterator[str]) -> tuple[str, bool]:
        """Write it as it comes, or when it is complete."""
        pieces: list[str] = []
        for piece in texts:
            pieces.append(piece)
            if not self._as_json:
                terminal.show_piece(piece)
        text = "".join(pieces)
        self._write({"answer": text} if self._as_json else None)
        return text, False

    def say(self, sentence: str, *, bad: bool = False) -> None:
        """Beside the answers, or as an object of its own."""
        if self._as_json:
            self._write({"error" if bad else "note": sentence})
        else:
            terminal.notes.print(Text(terminal.printable(sentence)))

    def show_verdict(self, verdict: Verdict) -> None:
        """As JSON on a line of its own."""
        sys.stdout.write(judgement_json(verdict) + "\n")
        sys.stdout.flush()

    def edit(self, text: str) -> str:
        """The next line in its place."""
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        return line.removesuffix("\n") or text

    def _write(self, document: dict[str, str] | None) -> None:
        sys.stdout.write("\n" if document is None else json.dumps(document) + "\n")
        sys.stdout.flush()


def talk(arguments: argparse.Namespace, connection: Connection, parameters: dict[str, float]) -> None:
    """Talk until the user leaves or the input ends, on a connection that is open."""
    screen: TerminalScreen | PipeScreen
    if sys.stdin.isatty() and sys.stdout.isatty() and not arguments.json:
        screen = TerminalScreen(connection)
    else:
        screen = PipeScreen(as_json=arguments.json)
    model = arguments.model or connection.model()
    chat = Chat(connection, Conversation(model), parameters, screen)
    chat.receipts = arguments.receipt
    screen.run(chat)
