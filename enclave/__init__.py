# SPDX-License-Identifier: Apache-2.0
"""The trusted process: it decrypts, answers, and seals.

__main__: the supervisor, which holds no secret: weights into sealed memory, then the three processes below
config: the closed schema of the configuration
weights: hash the weights into memory that nobody can change any more
protection: what the kernel is asked to forbid
serve: the session process: keys, sealed streams, the API
keys: epoch keys, their rotation, and which requests they have opened
attester: evidence for a list of keys
report_protocol: what session process and reporter process say to each other
report_source: the session process's end of it
session: one exchange as a state machine, without I/O
link: the connection from the host
api: the OpenAI-compatible interface
reporter: the reporter process, which has the hardware sign what the session process asks for
engine: the engine process, which runs the model and never sees a key
events: the only thing that is ever logged
"""
