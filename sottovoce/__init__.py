# SPDX-License-Identifier: Apache-2.0
"""The client people install.

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
keeper: keeps a session at hand for any number of threads
transport: all of it together
memory: what follows from what a client was shown before
memory_file: the file in which it remembers
trust_command: that on the command line
receipts: what an enclave signed about an answer, checked without a network
receipted: asks for an answer with a receipt, and finds the evidence that belongs to it
receipt_command: receipts on the command line and on disk
httpx_transport: the same for programs that use httpx, such as OpenAI's client
"""
