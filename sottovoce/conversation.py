# SPDX-License-Identifier: Apache-2.0
"""A conversation as a value: what was said, and its forms in a file. No terminal and no network here."""

import json
from dataclasses import dataclass, field, replace
from typing import Final

from attestation.results.values import Value
from sottovoce.chat import Turn

SYSTEM, USER, ASSISTANT = "system", "user", "assistant"
VERSION: Final = 1
MAX_FILE_BYTES: Final = 16 << 20


class ConversationError(Exception):
    """What was asked cannot be done with this conversation, or a file does not hold one."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns of user and assistant in turn, the model that answers, and what it is told beforehand."""

    model: str
    system: str = field(default="", repr=False)
    turns: tuple[Turn, ...] = field(default=(), repr=False)

    def messages(self) -> list[Turn]:
        """All that the model reads."""
        return [*([Turn(SYSTEM, self.system)] if self.system else []), *self.turns]

    def asked(self, text: str) -> "Conversation":
        """With a question more."""
        return replace(self, turns=(*self.turns, Turn(USER, text)))

    def answered(self, text: str) -> "Conversation":
        """With its answer."""
        return replace(self, turns=(*self.turns, Turn(ASSISTANT, text)))

    def last_question(self) -> str:
        """The question that was asked last. Raises ConversationError."""
        for turn in reversed(self.turns):
            if turn.role == USER:
                return turn.content
        raise ConversationError("nothing was asked yet")

    def before_last_question(self) -> "Conversation":
        """Without the last question and what followed it. Raises ConversationError."""
        self.last_question()
        place = max(number for number, turn in enumerate(self.turns) if turn.role == USER)
        return replace(self, turns=self.turns[:place])

    def to_json(self) -> str:
        """The form that `from_json` reads back."""
        turns = [[turn.role, turn.content] for turn in self.turns]
        document = {"version": VERSION, "model": self.model, "system": self.system, "turns": turns}
        return json.dumps(document, ensure_ascii=False, indent=1) + "\n"

    def to_markdown(self) -> str:
        """The form for people."""
        told = [f"**System:** {self.system}"] if self.system else []
        names = {USER: "You", ASSISTANT: self.model}
        said = [f"## {names[turn.role]}\n\n{turn.content}" for turn in self.turns]
        return "\n\n".join([*told, *said]) + "\n"


def from_json(text: str) -> Conversation:
    """Read a saved conversation. Raises ConversationError."""
    try:
        document: Value = json.loads(text)
    except (ValueError, RecursionError):
        raise ConversationError("the file holds no JSON") from None
    match document:
        case {"version": 1, "model": str(model), "system": str(system), "turns": list(turns)}:
            return Conversation(model, system, tuple(map(_turn, turns)))
        case _:
            raise ConversationError("the file holds no conversation")


def _turn(value: Value) -> Turn:
    match value:
        case [str(role), str(content)] if role in {USER, ASSISTANT}:
            return Turn(role, content)
        case _:
            raise ConversationError("the file holds no conversation")
