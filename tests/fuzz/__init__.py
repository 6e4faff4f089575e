# SPDX-License-Identifier: Apache-2.0
"""Spoiled bytes for every parser: `python -m tests.fuzz --seconds N`, or `make fuzz`.

mutations: ways to spoil bytes
targets: the parsers, with good inputs to spoil and the errors they may raise
"""
