# SPDX-License-Identifier: Apache-2.0
"""The engine process: it runs the model for many at once, and never sees a key of the session process.

protocol: what session process and engine process say to each other
client: the session process's end
measure: the cores and the memory that are really there
__main__: the engine process
channel: its end of the socketpair
worker: commands in, reports out
scheduler: whose turn it is, without I/O
work: what is kept of a request, and overwritten
llama: a batch of sequences in llama.cpp; with vocabulary, sampling and check the only ones that call it
vocabulary: text into tokens, and tokens into bytes
sampling: which token comes next
state: how llama.cpp writes a sequence down
snapshots: what is remembered of a session, sealed
grammar: a JSON schema into a grammar, within limits
template: the model's own chat template
text: tokens into text that never splits a character and never shows a stop string
check: whether the library computes what it should; known_answers: of which weights is known what they say
rehearsal: every kind of work once
tally: what was done, in numbers
"""
