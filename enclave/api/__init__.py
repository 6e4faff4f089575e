# SPDX-License-Identifier: Apache-2.0
"""The OpenAI-compatible interface, called in process with decrypted requests.

routes: which path is answered by what
chat: chat completions, streamed and whole
account: what a generation was, without its words
schema: what a chat request may hold
errors: errors as OpenAI's clients know them
"""
