# SPDX-License-Identifier: Apache-2.0
"""How a command ends, for programs and scripts: one number for each thing that a caller would do next."""

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of `sottovoce`; `meaning` is what its help and docs/commands.md say."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> "ExitCode":
        """A number with its meaning."""
        made = int.__new__(cls, code)
        made._value_, made.meaning = code, meaning
        return made

    DONE = 0, "verified, answered, or stopped as asked"
    NOTHING = 1, "attest: no evidence; simulate: nothing was made"
    WRONG_USAGE = 2, "wrong usage, or the address to listen on is taken"
    REFUSED = 10, "refused: it is not what the policy asks for; nothing was sent"
    NOT_CHECKED = 20, "could not check: no answer, no evidence, no policy, or not all that a check needs"
    BROKEN_ANSWER = 30, "an answer was cut or tampered with; what was printed is not to be used"
    API_ERROR = 40, "the enclave answered with an error"
    INTERRUPTED = 130, "interrupted"


def listed(*codes: ExitCode) -> str:
    """These codes as the end of a help text; all of them where none is named."""
    rows = (f"  {code:3}  {code.meaning}\n" for code in codes or tuple(ExitCode))
    return "exit codes:\n" + "".join(rows)
