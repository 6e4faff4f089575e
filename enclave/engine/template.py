# SPDX-License-Identifier: Apache-2.0
"""The model's own chat template, rendered in jinja's sandbox."""

from typing import NoReturn

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from enclave.engine.protocol import Turn

# What an expression of a template may raise about the text of a message; it must not end the process.
EXPRESSION_ERRORS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


class TemplateRefusedError(Exception):
    """The model's template does not take this conversation; no detail, for it would hold the conversation."""


class ChatTemplate:
    """One compiled chat template."""

    def __init__(self, source: str, *, begin: str, end: str) -> None:
        """Take the template's source, and the texts of the tokens that begin and end a sequence."""
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
        )
        self._template = environment.from_string(source)
        self._names = {"bos_token": begin, "eos_token": end, "raise_exception": _refuse}

    def render(self, turns: tuple[Turn, ...]) -> str:
        """The prompt that ends where the model begins to answer.

        Raises TemplateRefusedError.
        """
        messages = [{"role": turn.role.value, "content": turn.content} for turn in turns]
        try:
            return self._template.render(self._names, messages=messages, add_generation_prompt=True)
        except (TemplateError, *EXPRESSION_ERRORS):
            raise TemplateRefusedError from None


def _refuse(_message: str) -> NoReturn:
    raise TemplateError
