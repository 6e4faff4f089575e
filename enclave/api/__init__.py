# SPDX-License-Identifier: Apache-2.0
"""The OpenAI-compatible interface, called in process with decrypted requests.

routes: which path is answered by what, and how an answer is delivered
parameters: what several requests share, and how a body is read
schema, chat: chat completions
completions: completions of a plain text
response_schema, responses: the newer interface, without anything that is kept
embeddings, models: vectors, and what is served
caller, wanted: who asks, and what is wanted of the engine
shapes: JSON schemas of answers
call_forms, calls: how models write calls of tools, and calls in what a model writes
progress: the engine's reports as pieces of an answer
account: what a generation was, without its words
errors: errors as OpenAI's clients know them
"""
