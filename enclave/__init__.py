# SPDX-License-Identifier: Apache-2.0
"""The trusted process: it decrypts, answers, and seals.

__main__: the supervisor, which holds no secret: weights into sealed memory, then the two processes below
config: the closed schema of the configuration
weights: hash the weights into memory that nobody can change any more
protection: what the kernel is asked to forbid
serve: the session process: keys, sealed streams, the API
keys: epoch keys, their rotation, and which requests they have opened
attester: evidence for a list of keys
session: one exchange as a state machine, without I/O
receipts: what is signed about an answer whose client asks for it
link: the connection from the host
api: the OpenAI-compatible interface
engine: the engine process, which runs the model and never sees a key
events: the only thing that is ever logged
"""
