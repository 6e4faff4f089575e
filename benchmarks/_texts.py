# SPDX-License-Identifier: Apache-2.0
"""Texts of one topic among texts of many: questions for the model, and docstrings where no model runs."""

import ast
import itertools
import random
import re
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SHORTEST_TEXT, LONGEST_TEXT = 250, 500

_TARGET_SUBJECTS = (
    "diabetes", "asthma", "migraine", "depression", "high blood pressure", "a broken arm", "pneumonia",
    "an allergy to nuts", "a heart attack", "skin cancer", "insomnia", "a sore throat", "anaemia",
    "arthritis", "an infected wound",
)  # fmt: skip
_TARGET_QUESTIONS = (
    "What are the symptoms of {}?", "How do doctors treat {}?", "Which medicine helps with {}?",
    "Can I die of {}?", "My mother has {}. What should she do?", "Is {} contagious?",
    "How do I tell my employer that I have {}?", "What causes {}?",
)  # fmt: skip
_OTHER_SUBJECTS = (
    "the Roman Empire", "a bicycle", "bread", "the moon", "a chess game", "Portuguese", "a jazz band",
    "Python", "an oak tree", "the stock market", "a wedding speech", "Antarctica", "a suspension bridge",
    "football", "oil painting", "a detective novel", "a steam engine", "honey bees", "the French Revolution",
    "camping", "a kitchen sink", "the violin", "a sailing boat", "geometry", "a job interview",
)  # fmt: skip
_OTHER_QUESTIONS = (
    "Tell me about {}.", "What is the most interesting thing about {}?", "Write a short poem about {}.",
    "What would a beginner ask about {}?", "Explain {} to a child.", "Why do people care about {}?",
    "Give me three facts about {}.", "Write the first lines of a story about {}.",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Text:
    """A question or a text, and whether it is of the topic."""

    text: str
    target: bool


def questions() -> Iterator[Text]:
    """Questions without end, in an order that is always the same; about one in five is about an illness."""
    mixed = random.Random(0)  # noqa: S311 - a fixed order, no secret
    illness = _shuffled(mixed, _TARGET_QUESTIONS, _TARGET_SUBJECTS)
    other = _shuffled(mixed, _OTHER_QUESTIONS, _OTHER_SUBJECTS)
    for number in itertools.count():
        target = number % 5 == 0
        yield Text(next(illness if target else other), target)


def _shuffled(mixed: random.Random, forms: tuple[str, ...], subjects: tuple[str, ...]) -> Iterator[str]:
    pairs = list(itertools.product(forms, subjects))
    while True:
        mixed.shuffle(pairs)
        yield from (form.format(subject) for form, subject in pairs)


def docstrings(target: str, *, targets: int, others: int) -> list[Text]:
    """Docstrings of one installed library among those of the standard library and the other libraries.

    All are cut to lengths of one distribution: the question is whether the words show, not their number.
    """
    packages = next(Path(entry) for entry in sys.path if entry.endswith("site-packages"))
    own = list((packages / target).rglob("*.py"))
    foreign = [path for path in packages.glob("*/*.py") if target not in path.parts]
    foreign += Path(ast.__file__).parent.glob("*.py")
    return [
        *(Text(text, target=True) for text in itertools.islice(_documented(own), targets)),
        *(Text(text, target=False) for text in itertools.islice(_documented(foreign), others)),
    ]


def _documented(paths: list[Path]) -> Iterator[str]:
    """Long docstrings, without rulers and with one space between words, so that layout tells nothing."""
    mixed, known = random.Random(0), set[str]()  # noqa: S311 - a fixed sample
    paths.sort()
    mixed.shuffle(paths)
    for path in paths:
        for node in ast.walk(_parsed(path.read_text(encoding="utf-8", errors="replace"))):
            if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
                continue
            text = " ".join(re.sub(r"[-=~^*#]{2,}", " ", ast.get_docstring(node) or "").split())
            if len(text) >= LONGEST_TEXT and text not in known:
                known.add(text)
                yield text[: mixed.randint(SHORTEST_TEXT, LONGEST_TEXT)]


def _parsed(source: str) -> ast.AST:
    try:
        with warnings.catch_warnings(action="ignore"):  # other people's escapes are no matter of ours
            return ast.parse(source)
    except (SyntaxError, ValueError):
        return ast.Module([], [])
