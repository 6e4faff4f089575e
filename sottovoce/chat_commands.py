# SPDX-License-Identifier: Apache-2.0
"""`sottovoce chat`: a conversation with a verified enclave, its commands, and what happens when one fails.

Nothing is kept but in memory, unless the user saves it. Where an answer cannot be believed it is not
part of the conversation; where the enclave went away it is verified anew with the next question.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

from attestation.verdict import Verdict
from sottovoce import receipt_command
from sottovoce.chat import ApiError, chat_request
from sottovoce.conversation import MAX_FILE_BYTES, Conversation, ConversationError, from_json
from sottovoce.courier import RefusedByHostError, UnreachableError
from sottovoce.files import OfflineError
from sottovoce.memory_file import MemoryFileError
from sottovoce.one_time_keys import Session
from sottovoce.opening import SessionRefusedError
from sottovoce.receipt_form import ReceiptError
from sottovoce.receipted import Receipted
from sottovoce.session import AnswerError, RequestTooLargeError
from sottovoce.transport import Connection

HELP: Final = """\
/model [NAME]   which models there are, or use another one
/system [TEXT]  what the model is told beforehand; without text, nothing
/edit           change the last question and ask it anew
/regenerate     ask the last question anew
/verify         verify the enclave now, and show every check
/receipt [DIR]  keep a signed receipt of each answer from now on; without DIR, of none
/save FILE      keep the conversation as a file for /load
/load FILE      go on with a saved conversation
/export FILE    write the conversation as Markdown
/help, /quit    this; leave (or Ctrl-D)

Enter sends, Alt-Enter begins a new line, Ctrl-C stops an answer."""

# After these the conversation goes on: the next question finds its own way to a verified enclave.
PASSING: Final = (ApiError, RefusedByHostError, RequestTooLargeError, SessionRefusedError, UnreachableError)


class Screen(Protocol):
    """Where a conversation is shown."""

    def answer(self, texts: Iterator[str]) -> tuple[str, bool]:
        """Show an answer as it comes; what came, and whether the user stopped it."""
        ...

    def say(self, sentence: str, *, bad: bool = False) -> None:
        """Tell something that is no answer."""
        ...

    def show_verdict(self, verdict: Verdict) -> None:
        """Show every check."""
        ...

    def edit(self, text: str) -> str:
        """Have the user change a text. Raises KeyboardInterrupt and EOFError where they do not want to."""
        ...


class Chat:
    """One run of the command."""

    def __init__(
        self, connection: Connection, conversation: Conversation, parameters: dict[str, float], screen: Screen
    ) -> None:
        self.conversation: Conversation = conversation
        self.session: Session = connection.open()
        self.receipts: Path | None = None
        self._connection, self._parameters, self._screen = connection, parameters, screen
        self._commands: dict[str, Callable[[str], None]] = {
            "/model": self._model,
            "/system": self._system,
            "/edit": self._edit,
            "/regenerate": self._regenerate,
            "/verify": self._verify,
            "/receipt": self._keep_receipts,
            "/save": lambda name: self._write(name, self.conversation.to_json()),
            "/load": self._load,
            "/export": lambda name: self._write(name, self.conversation.to_markdown()),
            "/help": lambda _: self._screen.say(HELP),
        }

    @property
    def commands(self) -> list[str]:
        """Their names."""
        return [*self._commands, "/quit"]

    def take(self, line: str) -> bool:
        """Do what a line says, whether to go on. Raises what means that the enclave is refused."""
        word, _, rest = line.strip().partition(" ")
        if word == "/quit":
            return False
        try:
            if word.startswith("/"):
                self._command(word, rest.strip())
            elif line.strip():
                self._ask(line)
        except (*PASSING, ConversationError, MemoryFileError) as error:
            self._screen.say(str(error), bad=True)
        except (ReceiptError, OfflineError) as error:
            self._screen.say(f"this answer has no receipt: {error}", bad=True)
        except AnswerError as error:
            self._screen.say(f"the answer is incomplete or not genuine, do not use it: {error}", bad=True)
        except OSError as error:
            self._screen.say(f"{error.filename}: {error.strerror}", bad=True)
        return True

    def _command(self, word: str, rest: str) -> None:
        command = self._commands.get(word)
        if command is None:
            raise ConversationError(f"there is no command {word}; /help lists them")
        command(rest)

    def _ask(self, text: str) -> None:
        """An answer that failed leaves the conversation as it was; one that was stopped is kept."""
        asked = self.conversation.asked(text)
        request = chat_request(asked.model, asked.messages(), **self._parameters)
        receipted = None if self.receipts is None else Receipted(self._connection, request)
        texts = self._connection.texts(request) if receipted is None else receipted.texts()
        answer, stopped = self._screen.answer(texts)
        texts.close()
        self.conversation = asked.answered(answer) if answer else self.conversation
        if stopped:
            self._screen.say("(stopped)" if receipted is None else "(stopped, so there is no receipt)")
        elif receipted is not None and self.receipts is not None:
            folder = receipt_command.keep_next(receipted.kept(self._connection.policy), answer, self.receipts)
            self._screen.say(f"receipt in {folder}")

    def _model(self, name: str) -> None:
        names = self._connection.models()
        if not name:
            self._screen.say(", ".join(names))
        elif name in names:
            self.conversation = replace(self.conversation, model=name)
            self._screen.say(f"{name} answers from now on")
        else:
            raise ConversationError(f"there is no model {name} here, but {', '.join(names)}")

    def _system(self, text: str) -> None:
        self.conversation = replace(self.conversation, system=text)
        self._screen.say(
            "the model is told so beforehand" if text else "the model is told nothing beforehand"
        )

    def _edit(self, _: str) -> None:
        with suppress(KeyboardInterrupt, EOFError):
            text = self._screen.edit(self.conversation.last_question())
            self._instead(text)

    def _regenerate(self, _: str) -> None:
        self._instead(self.conversation.last_question())

    def _instead(self, text: str) -> None:
        """Ask this in the place of the last question, which comes back where that fails."""
        whole = self.conversation
        self.conversation = before = whole.before_last_question()
        try:
            self._ask(text)
        finally:
            if self.conversation is before:
                self.conversation = whole

    def _verify(self, _: str) -> None:
        self.session = self._connection.reopen()
        self._screen.show_verdict(self.session.enclave.verdict)

    def _keep_receipts(self, name: str) -> None:
        self.receipts = _path(name) if name else None
        self._screen.say(f"receipts of all answers go to {self.receipts}" if name else "no more receipts")

    def _write(self, name: str, text: str) -> None:
        """Write for this user alone; nothing that is there already is overwritten."""
        path = _path(name)
        with open(path, "x", encoding="utf-8", opener=_private) as file:
            file.write(text)
        self._screen.say(f"wrote {path}")

    def _load(self, name: str) -> None:
        path = _path(name)
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ConversationError(f"{path} is too long")
        try:
            self.conversation = from_json(path.read_text(encoding="utf-8"))
        except UnicodeDecodeError:
            raise ConversationError("the file holds no conversation") from None
        self._screen.say(f"{len(self.conversation.turns)} turns, {self.conversation.model}")


def _path(name: str) -> Path:
    if not name:
        raise ConversationError("which file?")
    return Path(name).expanduser()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
