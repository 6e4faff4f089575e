# SPDX-License-Identifier: Apache-2.0
"""The client people install.

trust: which policy applies, and what a verified enclave is to the user
one_time_keys: a session as the client has it, and how sure it may be of it
session: requests and answers as ciphertext, without I/O
opening: how a client gets to a session, one type for each state
chat: conversations in the OpenAI API's form
courier: HTTP to the host
keeper: keeps a session at hand for any number of threads
transport: all of it together
receipts: what an enclave signed about an answer, checked without a network
receipted: asks for an answer with a receipt, and finds the evidence that belongs to it
receipt_command: receipts on the command line and on disk
httpx_transport: the same for programs that use httpx, such as OpenAI's client
"""
