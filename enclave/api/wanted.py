# SPDX-License-Identifier: Apache-2.0
"""What is wanted of the engine, whichever path it was asked on."""

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from enclave.api import shapes
from enclave.api.call_forms import FORMS, MISTRAL, TAGGED, CallForm
from enclave.api.caller import Caller
from enclave.api.errors import Params
from enclave.api.parameters import Choice, Function, Sampled, invalid, unsupported
from enclave.engine.protocol import Order, Prompt, Sampling, Shape, Tool
from models.manifest import Manifest, ToolFormat

CHAT_PARAMS = Params()


@dataclass(frozen=True, slots=True)
class Offer:
    """Tools of one request: what the template shows, which calls are looked for, which are demanded."""

    tools: tuple[Tool, ...] = field(default=(), repr=False)
    names: frozenset[str] = field(default=frozenset(), repr=False)
    form: CallForm = TAGGED
    shape: Shape | None = field(default=None, repr=False)
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """One request: a generation of the engine for each of its prompts, all of them wanted in one way."""

    prompts: tuple[Prompt, ...] = field(repr=False)
    sampling: Sampling = field(repr=False)
    max_tokens: int
    stop: tuple[str, ...] = field(default=(), repr=False)
    choices: int = 1
    top_logprobs: int | None = None
    shape: Shape | None = field(default=None, repr=False)
    offered: frozenset[str] = field(default=frozenset(), repr=False)
    form: CallForm = TAGGED
    params: Params = CHAT_PARAMS

    @property
    def answers(self) -> int:
        """How many answers there are: so many choices of the first prompt, then those of the next."""
        return len(self.prompts) * self.choices

    def orders(self, caller: Caller) -> Iterator[Order]:
        """The orders as the engine takes them, one for each prompt."""
        for prompt in self.prompts:
            yield Order(
                identity=caller.identity,
                session=caller.session,
                prompt=prompt,
                sampling=self.sampling,
                max_tokens=self.max_tokens,
                stop=self.stop,
                choices=self.choices,
                top_logprobs=self.top_logprobs,
                shape=self.shape,
            )


def sampling_of(request: Sampled) -> Sampling:
    """How tokens are chosen; without a seed a fresh one."""
    biases = {int(token): bias for token, bias in (request.logit_bias or {}).items()}
    return Sampling(
        temperature=1.0 if request.temperature is None else request.temperature,
        top_p=1.0 if request.top_p is None else request.top_p,
        seed=secrets.randbits(32) if request.seed is None else request.seed,
        top_k=request.top_k or 0,
        min_p=request.min_p or 0.0,
        frequency_penalty=request.frequency_penalty or 0.0,
        presence_penalty=request.presence_penalty or 0.0,
        repeat_penalty=1.0 if request.repetition_penalty is None else request.repetition_penalty,
        logit_bias=tuple(sorted(biases.items())),
    )


def offer_of(
    manifest: Manifest,
    functions: Sequence[tuple[Function, str]],
    choice: Choice | str | None,
    *,
    named: str | None,
    parallel: bool,
) -> Offer:
    """The tools of a request, each function with the name of its parameter. Raises ApiError.

    `named` is the one function that has to be called. A demanded call is held to its schema by a grammar; one
    that the model decides upon is what it writes.
    """
    if not functions:
        if named is not None or choice == "required":
            raise invalid("tool_choice", "there are no tools to choose from")
        return Offer()
    if manifest.tools is ToolFormat.NONE:
        raise unsupported(
            "tools", f"{manifest.name} has no tools: its chat template has no calls in a form that is served"
        )
    form, by_name = FORMS[manifest.tools], _by_name(functions, named)
    if not parallel and form is MISTRAL:
        raise unsupported("parallel_tool_calls", f"{manifest.name} writes all its calls as one list")
    tools = tuple(shapes.tool(function, param) for function, param in functions)
    if choice == "none":
        return Offer()
    if named is not None or choice == "required":
        demanded = [by_name[named]] if named is not None else list(functions)
        return Offer(tools, frozenset(by_name), form, shapes.call_shape(demanded, form))
    return Offer(tools, frozenset(by_name), form, stop=(form.end,) if form.end and not parallel else ())


def _by_name(functions: Sequence[tuple[Function, str]], named: str | None) -> dict[str, tuple[Function, str]]:
    by_name = {function.name: (function, param) for function, param in functions}
    if len(by_name) != len(functions):
        raise invalid("tools", "two tools have the same name")
    if named is not None and named not in by_name:
        raise invalid("tool_choice", "there is no tool of this name")
    return by_name
