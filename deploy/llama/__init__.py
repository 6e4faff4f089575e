# SPDX-License-Identifier: Apache-2.0
"""The inference library, built from its locked source.

build: compile libllama and ggml once for this user, and pack them with the bindings
reproduce: build it once more elsewhere, and compare
peer: llama.cpp's own server, for the benchmark
"""
