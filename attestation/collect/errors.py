# SPDX-License-Identifier: Apache-2.0
"""Why there is no evidence, by who must act. All are OSError, which the enclave expects of its hardware."""

import errno
from collections.abc import Mapping
from dataclasses import dataclass


class CollectError(OSError):
    """No evidence could be collected."""


class UnavailableError(CollectError):
    """This machine, or its kernel, does not offer this path. Try another, or another machine."""


class AccessError(CollectError):
    """The path exists, and this user may not use it."""


class BusyError(CollectError):
    """Somebody else is using it. Trying again later helps."""


class RaceError(CollectError):
    """Somebody else changed the request between question and answer, more often than patience lasts."""


class InvalidRequestError(CollectError):
    """The kernel or the firmware refuses this request as wrong: a setting of ours, not a fault of theirs."""


class HostError(CollectError):
    """The host, its firmware or its quoting service failed, was too slow, or sent what has no meaning."""


class KeyDisabledError(CollectError):
    """The guest's key for talking to the security processor is gone. Only restarting the machine helps."""


class OwnReportError(CollectError):
    """The report is none, or does not answer the request. It must not be published."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What an error number means on one path, and what to do."""

    error: type[CollectError]
    text: str


Meanings = Mapping[int, Meaning]


def explain(error: OSError, meanings: Meanings, action: str) -> CollectError:
    """The typed error for what the kernel said; an unknown number counts as the host's fault."""
    number = error.errno or 0
    meaning = meanings.get(number)
    if meaning is None:
        return HostError(f"{action}: unexpected error {_name(number)}; see the kernel's log")
    return meaning.error(f"{action}: {_name(number)}, {meaning.text}")


def _name(number: int) -> str:
    return errno.errorcode.get(number, f"number {number}")
