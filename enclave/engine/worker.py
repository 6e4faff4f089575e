# SPDX-License-Identifier: Apache-2.0
"""Commands in, reports out: the scheduler decides, the model computes, what is done with is overwritten."""

from collections.abc import Callable

import numpy as np

from enclave.engine.grammar import SchemaError, compile_shape
from enclave.engine.llama import Model, Tokens
from enclave.engine.protocol import (
    Begun,
    Cancel,
    Command,
    Conversation,
    Embed,
    Embedded,
    Finished,
    FinishReason,
    Generate,
    Order,
    PlainText,
    Prompt,
    Rejected,
    Rejection,
    Report,
    Text,
    TokenList,
    TokenLogprob,
)
from enclave.engine.sampling import Candidates, Chooser, GrammarError, Logits
from enclave.engine.scheduler import Admitted, Decode, Ended, Job, Key, Limits, Prefill, Scheduler
from enclave.engine.snapshots import SessionMemory
from enclave.engine.state import overwrite
from enclave.engine.tally import Tally
from enclave.engine.template import ChatTemplate, TemplateRefusedError
from enclave.engine.text import TextAssembler
from enclave.engine.work import Choice, Embedding, Generation, choice_sampling, token_logprob
from enclave.events import Worked

# A common beginning that is shorter is not worth the work of finding it.
MIN_CACHED_TOKENS = 64
NEVER = float("inf")


class _RejectedError(Exception):
    """What is asked cannot be begun."""

    def __init__(self, rejection: Rejection, prompt_tokens: int = 0) -> None:
        super().__init__(rejection)
        self.rejection, self.prompt_tokens = rejection, prompt_tokens


class Worker:
    """Works for many at once on one model."""

    def __init__(
        self,
        model: Model,
        memory: SessionMemory,
        limits: Limits,
        clock: Callable[[], float],
    ) -> None:
        """Take a model whose slots are all empty."""
        self._model, self._memory, self._clock = model, memory, clock
        vocabulary = model.vocabulary
        self._template = ChatTemplate(
            model.chat_template, begin=vocabulary.begin_text, end=vocabulary.end_text
        )
        self.scheduler, self.tally = Scheduler(limits), Tally()
        self._candidates = Candidates(vocabulary.size)
        self._work: dict[int, Generation | Embedding] = {}
        self._reports: list[Report] = []
        self._longest_piece = max(len(vocabulary.piece(token)) for token in range(vocabulary.size))
        self._clean = True

    @property
    def takes_tools(self) -> bool:
        """Whether the model's template knows tools."""
        return self._template.takes_tools

    def reports(self) -> list[Report]:
        """What is to be said since the last call."""
        reports, self._reports = self._reports, []
        return reports

    def tell(self) -> Worked:
        """What was done since the last call, in numbers."""
        tally, self.tally = self.tally, Tally()
        return tally.event(waiting=self.scheduler.waiting_requests, slots=self.scheduler.used_slots)

    def forget(self, identity: bytes, session: bytes) -> None:
        """Erase what is remembered of a session."""
        self._memory.forget(identity, session)

    def take(self, command: Command) -> None:
        """Begin or end something."""
        match command:
            case Cancel(generation=number):
                self._end(number, FinishReason.CANCELLED)
            case Generate(generation=number) | Embed(generation=number):
                self.tally.requests += 1
                try:
                    self._submit(command)
                except _RejectedError as error:
                    self._reject(number, error.rejection, error.prompt_tokens)

    def step(self) -> None:
        """One step of the model, and what comes of it."""
        for number in self.scheduler.expired(self._clock()):
            self._end(number, FinishReason.DEADLINE)
        for admitted in self.scheduler.admit():
            self._begin(admitted)
        step, start = self.scheduler.step(), self._clock()
        match step:
            case Prefill():
                self._prefill(step)
            case Decode():
                self._decode(step)
            case None:
                return
        self._clean = False
        seconds = self._clock() - start
        self.scheduler.took(step, seconds)
        self.tally.stepped(step, seconds)

    def rest(self) -> None:
        """Nothing is to be done: overwrite the work spaces of what was computed last."""
        self._memory.expire(self._clock())
        if not self._clean:
            self._model.scrub()
            self._candidates.wipe()
            self._clean = True

    def _submit(self, command: Generate | Embed) -> None:
        """Check and queue. Raises _RejectedError."""
        number, now = command.generation, self._clock()
        if isinstance(command, Embed):
            prompts = [self._tokens(text, room=0) for text in command.texts]
            work: Generation | Embedding = Embedding.begin(command, prompts, self._model.embedding_size)
            job = Job(number, command.identity, tuple(map(len, prompts)), NEVER, shared=False)
        else:
            work = self._generation(number, command.order)
            lengths = (len(work.prompt),) * command.order.choices
            job = Job(number, command.order.identity, lengths, now + command.order.limit_seconds)
        self._work[number] = work
        loser = self.scheduler.submit(job, now)
        if loser is not None:
            self._reject(loser, Rejection.BUSY)

    def _generation(self, number: int, order: Order) -> Generation:
        tokens = self._tokens(order.prompt, room=1)
        if any(token >= self._model.vocabulary.size for token, _ in order.sampling.logit_bias):
            raise _RejectedError(Rejection.TOKEN_UNKNOWN)
        try:
            grammar = None if order.shape is None else compile_shape(order.shape)
        except SchemaError:
            raise _RejectedError(Rejection.SCHEMA_REFUSED) from None
        most = min(order.max_tokens, self._model.context_tokens - len(tokens))
        generation = Generation(number, order, tokens, most, grammar, np.zeros(most, np.int32))
        try:
            for choice in range(order.choices):
                generation.choices[choice] = self._choice(generation, choice)
        except GrammarError:
            generation.close()
            raise _RejectedError(Rejection.SCHEMA_REFUSED) from None
        return generation

    def _choice(self, generation: Generation, choice: int) -> Choice:
        chooser = Chooser(
            self._model.vocabulary,
            self._candidates,
            choice_sampling(generation.order.sampling, choice),
            most=generation.most,
            grammar=generation.grammar,
        )
        return Choice(chooser, TextAssembler(generation.order.stop))

    def _tokens(self, prompt: Prompt, *, room: int) -> Tokens:
        """The tokens of a prompt that fits, with room for so many more. Raises _RejectedError."""
        vocabulary, most = self._model.vocabulary, self._model.context_tokens - room
        tokens: list[int]
        match prompt:
            case TokenList(tokens=listed):
                if any(token >= vocabulary.size for token in listed):
                    raise _RejectedError(Rejection.TOKEN_UNKNOWN)
                tokens = list(listed)
            case PlainText(text=text):
                tokens = self._tokenize(text, most, markers=False)
            case Conversation():
                try:
                    tokens = self._tokenize(self._template.render(prompt), most, markers=True)
                except TemplateRefusedError:
                    raise _RejectedError(Rejection.TEMPLATE_REFUSED) from None
        if not tokens:
            raise _RejectedError(Rejection.PROMPT_EMPTY)
        if len(tokens) > most:
            raise _RejectedError(Rejection.PROMPT_TOO_LONG, len(tokens))
        return np.array(tokens, np.int32)

    def _tokenize(self, text: str, most: int, *, markers: bool) -> list[int]:
        """Refuse a text that cannot fit whatever its tokens are, before any work is done on it."""
        at_least = len(text) // self._longest_piece
        if at_least > most:
            raise _RejectedError(Rejection.PROMPT_TOO_LONG, at_least)
        return self._model.vocabulary.tokenize(text, markers=markers)

    def _begin(self, admitted: Admitted) -> None:
        """Put what is known of a sequence already into its slot."""
        work, key = self._work[admitted.key.number], admitted.key
        if isinstance(work, Embedding):
            return
        if key.choice:
            self._model.restore(admitted.slot, work.state, len(work.prompt))
            self.scheduler.prefilled(key, len(work.prompt))
            self._choose(work, key, work.logits)
            return
        cached = self._recall(work, admitted.slot)
        self.tally.prompt_tokens += len(work.prompt)
        self.tally.cached_tokens += cached
        if cached:
            self.scheduler.prefilled(key, cached)
        self._reports.append(Begun(key.number, len(work.prompt), cached))

    def _recall(self, work: Generation, slot: int) -> int:
        """Restore the longest beginning that the session's own memory has; how many tokens that are."""
        if not work.order.session:
            return 0
        recalled = self._memory.recall(work.order.identity, work.order.session, self._clock())
        if recalled is None:
            return 0
        known = len(recalled.tokens)
        common = common_length(recalled.tokens, work.prompt[:-1])  # the last token is decoded for its logits
        recalled.tokens[:] = 0
        if common < MIN_CACHED_TOKENS or (common < known and not self._model.cuts_anywhere):
            return 0
        state = recalled.open_state()
        self._model.restore(slot, state, known)
        self._model.cut(slot, common)
        overwrite(state)
        return common

    def _prefill(self, step: Prefill) -> None:
        work = self._work[step.key.number]
        if isinstance(work, Embedding):
            self._embed(work, step)
            return
        last = step.stop == len(work.prompt)
        logits = self._model.prefill(step.slot, work.prompt[step.start : step.stop], last=last)
        self.scheduler.prefilled(step.key, step.stop - step.start)
        if logits is None:
            return
        if work.shares:
            work.state, work.logits = self._model.save(step.slot), logits.copy()
            self.scheduler.share(step.key.number)
        self._choose(work, step.key, logits)

    def _embed(self, work: Embedding, step: Prefill) -> None:
        tokens = work.prompts[step.key.choice]
        work.sums[step.key.choice] += self._model.embed(step.slot, tokens[step.start : step.stop])
        if not self.scheduler.prefilled(step.key, step.stop - step.start):
            return
        self._model.wipe(self.scheduler.finish(step.key, self._clock()))
        work.unfinished -= 1
        if not work.unfinished:
            count = sum(map(len, work.prompts))
            self.tally.prompt_tokens += count
            self._reports.append(Embedded(work.number, work.vectors(), count))
            self._close(work.number)

    def _decode(self, step: Decode) -> None:
        for move in step.moves:
            self._model.move(move.source, move.target)
        pending: list[tuple[Key, Generation, Choice]] = []
        for key in step.keys:
            work = self._work[key.number]
            assert isinstance(work, Generation), "vectors are complete when their text is decoded"
            pending.append((key, work, work.choices[key.choice]))
        rows = self._model.decode([choice.pending for _, _, choice in pending])
        for (key, work, _), logits in zip(pending, rows, strict=True):
            self._choose(work, key, logits)

    def _choose(self, work: Generation, key: Key, logits: Logits) -> None:
        """Choose the next token of a sequence, tell it, and see whether it was the last."""
        choice = work.choices[key.choice]
        token = choice.chooser.choose(logits)
        if token is None or self._model.vocabulary.is_end(token):
            self._tell(key, choice.assembler.end())
            self._complete(work, key, FinishReason.STOP)
            return
        if key.choice == 0:
            work.answered[choice.count] = token
        choice.pending = token
        choice.count += 1
        self.tally.completion_tokens += 1
        text = choice.assembler.receive(self._model.vocabulary.piece(token))
        top = work.order.top_logprobs
        if top is None:
            self._tell(key, text)
        else:
            self._tell(key, text, (token_logprob(self._model.vocabulary, logits, token, top),))
        if choice.assembler.stopped:
            self._complete(work, key, FinishReason.STOP)
        elif choice.count == work.most:
            self._tell(key, choice.assembler.end())
            self._complete(work, key, FinishReason.LENGTH)

    def _tell(self, key: Key, text: str, logprobs: tuple[TokenLogprob, ...] = ()) -> None:
        if text or logprobs:
            self._reports.append(Text(key.number, text, key.choice, logprobs))

    def _complete(self, work: Generation, key: Key, reason: FinishReason) -> None:
        slot = self.scheduler.finish(key, self._clock())
        if key.choice == 0:
            self._remember(work, slot)
        self._model.wipe(slot)
        self._forget_choice(work, key, reason)

    def _remember(self, work: Generation, slot: int) -> None:
        """Seal what a session has got so far, if it is one."""
        order = work.order
        if not order.session:
            return
        known = np.concatenate((work.prompt, work.answered))
        state = self._model.save(slot)
        tokens = known[: self._model.length(slot)]
        self._memory.keep(order.identity, order.session, tokens, state, self._clock())
        known[:] = 0
        overwrite(state)

    def _forget_choice(self, work: Generation, key: Key, reason: FinishReason) -> None:
        choice = work.choices.pop(key.choice)
        self._reports.append(Finished(key.number, reason, choice.count, key.choice))
        choice.close()
        if not work.choices:
            self._close(key.number)

    def _end(self, number: int, reason: FinishReason) -> None:
        """End a request before its time; nothing where it has ended already."""
        self.tally.cut += number in self._work
        for ended in self.scheduler.cancel(number):
            self._end_sequence(ended, reason)

    def _end_sequence(self, ended: Ended, reason: FinishReason) -> None:
        if ended.slot is not None:
            self._model.wipe(ended.slot)
        work = self._work[ended.key.number]
        if isinstance(work, Generation):
            self._forget_choice(work, ended.key, reason)
            return
        work.unfinished -= 1
        if not work.unfinished:
            self._reports.append(Rejected(work.number, Rejection.DEADLINE))
            self._close(work.number)

    def _reject(self, number: int, rejection: Rejection, prompt_tokens: int = 0) -> None:
        busy = rejection is Rejection.BUSY
        retry = self.scheduler.retry_after_seconds() if busy else 0
        self.tally.rejected += 1
        self._reports.append(Rejected(number, rejection, prompt_tokens, retry))
        if number in self._work:
            self._close(number)

    def _close(self, number: int) -> None:
        self._work.pop(number).close()


def common_length(one: Tokens, other: Tokens) -> int:
    """How many tokens two sequences have in common from their beginnings."""
    size = min(len(one), len(other))
    different = np.flatnonzero(one[:size] != other[:size])
    return int(different[0]) if len(different) else size
