# SPDX-License-Identifier: Apache-2.0
"""What the engine did, in numbers: told now and then, coarse enough to say nothing of one conversation."""

from dataclasses import dataclass

from enclave.engine.scheduler import Decode, Prefill
from enclave.events import Worked

TOKEN_STEP = 1024
INTERVAL_SECONDS = 60.0


@dataclass(slots=True)
class Tally:
    """Counts since the last event."""

    requests: int = 0
    rejected: int = 0
    cut: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    chunks: int = 0
    decodes: int = 0
    rows: int = 0
    busy_seconds: float = 0.0
    longest_seconds: float = 0.0

    def stepped(self, step: Prefill | Decode, seconds: float) -> None:
        """Count one step of the model."""
        if isinstance(step, Decode):
            self.decodes += 1
            self.rows += len(step.keys)
        else:
            self.chunks += 1
        self.busy_seconds += seconds
        self.longest_seconds = max(self.longest_seconds, seconds)

    def event(self, *, waiting: int, slots: int) -> Worked:
        """The event for what was counted, with how many wait and how many slots are held now."""
        return Worked(
            requests=self.requests,
            rejected=self.rejected,
            cut=self.cut,
            waiting=waiting,
            slots=slots,
            prompt_tokens=_coarse(self.prompt_tokens),
            cached_tokens=_coarse(self.cached_tokens),
            completion_tokens=_coarse(self.completion_tokens),
            steps=_coarse(self.chunks + self.decodes),
            rows_per_decode=round(self.rows / self.decodes) if self.decodes else 0,
            busy_percent=round(100 * min(1.0, self.busy_seconds / INTERVAL_SECONDS)),
            longest_step_milliseconds=round(1000 * self.longest_seconds),
        )


def _coarse(count: int) -> int:
    """Rounded up, so that the length of one conversation cannot be told from it."""
    return -(-count // TOKEN_STEP) * TOKEN_STEP
