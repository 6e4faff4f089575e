# SPDX-License-Identifier: Apache-2.0
"""The client people install.

sdk: from an address to a verified connection, in one call
trust: which policy applies, and what a verified enclave is to the user
one_time_keys: a session as the client has it, and how sure it may be of it
session: requests and answers as ciphertext, without I/O
opening: how a client gets to a session, one type for each state
chat: questions and answers in the OpenAI API's form
conversation: a conversation as a value, and its files
chat_commands: what one can do in a conversation, and what happens when it fails
chat_markdown: Markdown on a terminal while it comes
chat_terminal: the terminal, or lines and JSON for programs
courier: HTTP to the host
delivered: answers of the host as they come, which the garbage collector cannot end at a bad moment
keeper: keeps a session at hand for any number of threads
transport: all of it together
memory: what follows from what a client was shown before
memory_file: the file in which it remembers
recollection: holds each enclave against that, and tells what is new
trust_command: that on the command line
receipt_form: how a receipt is asked for and read
receipts: what an enclave signed about an answer, checked without a network
receipted: asks for an answer with a receipt, and finds the evidence that belongs to it
receipt_command: receipts on the command line and on disk
async_events: the same for programs with an event loop
httpx_adapter: the same for programs that use httpx, such as OpenAI's client
failures: what can go wrong, and what to do
proxy: an OpenAI-compatible endpoint on this machine, for programs that take a base URL
proxy_options: its options, apart from its server
proxy_settings: what follows from them, and which of them cannot go together
files: files as a person names them, read with limits
offline: evidence in files, told by its content and judged
clouds: what belongs to evidence from Azure and from Google
gpu: GPU evidence in files
results: results, signed or not, and wrapped evidence
verification: the command `verify`
terminal: what a person sees
exit_code: how a command ends
help_text: commands that show by examples what they are for
asking: the commands `ask` and `chat`
command_line: all commands and their options
completion: what makes a shell complete them

The names of `__all__` are the public interface. Each is loaded when it is first used.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from attestation.evidence import Evidence, EvidenceError
    from attestation.policy import Policy
    from attestation.verdict import Check, Outcome, Verdict
    from attestation.verify import VerificationError, VerifiedEnclave
    from sottovoce.chat import ApiError, Turn
    from sottovoce.courier import RefusedByHostError, UnreachableError
    from sottovoce.failures import ERRORS, Failure, explain, failure_of
    from sottovoce.httpx_adapter import EnclaveTransport as httpx_transport  # noqa: N813 - called as a function
    from sottovoce.httpx_adapter import WrongOriginError
    from sottovoce.httpx_adapter import async_client as async_http_client
    from sottovoce.httpx_adapter import client as http_client
    from sottovoce.memory import Kind as NoticeKind
    from sottovoce.memory import Notice, PinnedError, ReleaseWarning
    from sottovoce.memory_file import Memory, MemoryFileError
    from sottovoce.one_time_keys import Assurance, Session
    from sottovoce.opening import SessionRefusedError, WrongSessionError
    from sottovoce.recollection import ProcessMemory
    from sottovoce.sdk import connect
    from sottovoce.session import AnswerError, NoSuitableKeyError, RequestTooLargeError
    from sottovoce.transport import Connection
    from sottovoce.trust import NoPolicyError

_HOMES = {
    "ERRORS": "sottovoce.failures",
    "AnswerError": "sottovoce.session",
    "ApiError": "sottovoce.chat",
    "Assurance": "sottovoce.one_time_keys",
    "Check": "attestation.verdict",
    "Connection": "sottovoce.transport",
    "Evidence": "attestation.evidence",
    "EvidenceError": "attestation.evidence",
    "Failure": "sottovoce.failures",
    "Memory": "sottovoce.memory_file",
    "MemoryFileError": "sottovoce.memory_file",
    "NoPolicyError": "sottovoce.trust",
    "NoSuitableKeyError": "sottovoce.session",
    "Notice": "sottovoce.memory",
    "NoticeKind": "sottovoce.memory",
    "Outcome": "attestation.verdict",
    "PinnedError": "sottovoce.memory",
    "Policy": "attestation.policy",
    "ProcessMemory": "sottovoce.recollection",
    "RefusedByHostError": "sottovoce.courier",
    "ReleaseWarning": "sottovoce.memory",
    "RequestTooLargeError": "sottovoce.session",
    "Session": "sottovoce.one_time_keys",
    "SessionRefusedError": "sottovoce.opening",
    "Turn": "sottovoce.chat",
    "UnreachableError": "sottovoce.courier",
    "Verdict": "attestation.verdict",
    "VerificationError": "attestation.verify",
    "VerifiedEnclave": "attestation.verify",
    "WrongOriginError": "sottovoce.httpx_adapter",
    "WrongSessionError": "sottovoce.opening",
    "async_http_client": "sottovoce.httpx_adapter",
    "connect": "sottovoce.sdk",
    "explain": "sottovoce.failures",
    "failure_of": "sottovoce.failures",
    "http_client": "sottovoce.httpx_adapter",
    "httpx_transport": "sottovoce.httpx_adapter",
}
_OTHER_NAMES = {
    "NoticeKind": "Kind",
    "async_http_client": "async_client",
    "http_client": "client",
    "httpx_transport": "EnclaveTransport",
}


def __getattr__(name: str) -> object:
    """Load one name of the public interface."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_HOMES[name]), _OTHER_NAMES.get(name, name))
    globals()[name] = value
    return value


__all__ = [
    "ERRORS",
    "AnswerError",
    "ApiError",
    "Assurance",
    "Check",
    "Connection",
    "Evidence",
    "EvidenceError",
    "Failure",
    "Memory",
    "MemoryFileError",
    "NoPolicyError",
    "NoSuitableKeyError",
    "Notice",
    "NoticeKind",
    "Outcome",
    "PinnedError",
    "Policy",
    "ProcessMemory",
    "RefusedByHostError",
    "ReleaseWarning",
    "RequestTooLargeError",
    "Session",
    "SessionRefusedError",
    "Turn",
    "UnreachableError",
    "Verdict",
    "VerificationError",
    "VerifiedEnclave",
    "WrongOriginError",
    "WrongSessionError",
    "async_http_client",
    "connect",
    "explain",
    "failure_of",
    "http_client",
    "httpx_transport",
]
