# SPDX-License-Identifier: Apache-2.0
"""The trusted process: it decrypts, answers, and seals.

__main__: the supervisor, which holds no secret: weights into sealed memory, then the three processes below
supervisor: keeps them running
config: the closed schema of the configuration
weights: hash the weights into memory that nobody can change any more
protection: what the kernel is asked to forbid
serve: the session process: keys, sealed streams, the API
keys: epoch keys, and which requests they have opened
sessions: sessions and their one-time keys
attester: evidence for a list of keys, and for the session requests of a moment
report_protocol: what session process and reporter process say to each other
report_source: the session process's end of it
rotation: keeps keys and evidence fresh
session: one exchange as a state machine, without I/O
connection: one stream from the host
link: which stream is what: the public documents, or an exchange
front: what an authentic request meets before the API
session_requests: opens sessions
freshness: one hardware report for the session requests of a moment
idempotency: which requests were taken already
reply: where the API puts its answer
shaping: when and in which sizes an answer leaves
ehbp: a protocol that encrypts bodies alone, for clients that speak no other; off unless configured
ehbp_reply: its answers, and its key for clients that verify
receipts: what is signed about an answer whose client asks for it
api: the OpenAI-compatible interface
reporter: the reporter process, which has the hardware sign what the session process asks for
engine: the engine process, which runs the model and never sees a key
events: the only thing that is ever logged
"""
