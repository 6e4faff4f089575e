# SPDX-License-Identifier: Apache-2.0
"""A model that says nothing but what it has seen, for the real llama.cpp: one layer, letters for tokens.

A letter's vector is 1 at its own place. Attention mixes the vectors of what a sequence holds, with weights
that depend on letters and positions, and nothing else adds to it: the logit of a letter is above zero where
the sequence holds that letter, and zero where it does not. So an answer shows whose keys and values it was
made of.
"""

import struct
from pathlib import Path
from string import ascii_letters, digits

import numpy as np
from numpy.typing import NDArray

from models.gguf_types import ValueType
from tests.fakes.gguf import ALIGNMENT, Parts, array, entry, string, tensor, text, uint32

LETTERS = ascii_letters + digits
WIDTH, HEADS, HIDDEN = 96, 3, 32
CONTEXT_TOKENS = 1024
NORMAL, UNKNOWN, CONTROL = 1, 2, 3
WORDS = (("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL), *((letter, NORMAL) for letter in LETTERS))
GAIN = 100.0  # what was seen counts more than what was said last


def write_parrot(path: Path) -> None:
    """Write the weights: the same file each time."""
    count = len(WORDS)
    metadata = [
        string("general.architecture", "llama"),
        string("general.name", "Parrot"),
        uint32("llama.block_count", 1),
        uint32("llama.context_length", CONTEXT_TOKENS),
        uint32("llama.embedding_length", WIDTH),
        uint32("llama.feed_forward_length", HIDDEN),
        uint32("llama.attention.head_count", HEADS),
        uint32("llama.rope.dimension_count", WIDTH // HEADS),
        entry("llama.attention.layer_norm_rms_epsilon", ValueType.FLOAT32, struct.pack("<f", 1e-5)),
        string("tokenizer.ggml.model", "llama"),
        entry("tokenizer.ggml.add_space_prefix", ValueType.BOOL, b"\0"),
        entry("tokenizer.ggml.add_bos_token", ValueType.BOOL, b"\0"),
        array("tokenizer.ggml.tokens", ValueType.STRING, count, b"".join(text(word) for word, _ in WORDS)),
        array("tokenizer.ggml.scores", ValueType.FLOAT32, count, bytes(4 * count)),
        array(
            "tokenizer.ggml.token_type",
            ValueType.INT32,
            count,
            struct.pack(f"<{count}i", *(kind for _, kind in WORDS)),
        ),
        uint32("tokenizer.ggml.unknown_token_id", 0),
        uint32("tokenizer.ggml.bos_token_id", 1),
        uint32("tokenizer.ggml.eos_token_id", 2),
    ]
    lines: list[bytes] = []
    data = b""
    for name, values in _weights(count).items():
        lines.append(tensor(name, values.shape[::-1], 0, len(data)))
        data += values.astype("<f4").tobytes()
        data += bytes(-len(data) % ALIGNMENT)
    path.write_bytes(Parts(metadata=metadata, tensors=lines, data=data).file())


def _weights(count: int) -> dict[str, NDArray[np.float64]]:
    numbers, one, unit = np.random.default_rng(1), np.ones(WIDTH), np.eye(WIDTH)

    def noise() -> NDArray[np.float64]:
        return numbers.normal(0, WIDTH**-0.5, (WIDTH, WIDTH))

    return {
        "token_embd.weight": unit[:count],
        "blk.0.attn_norm.weight": one,
        "blk.0.attn_q.weight": noise(),
        "blk.0.attn_k.weight": noise(),
        "blk.0.attn_v.weight": unit,
        "blk.0.attn_output.weight": unit * GAIN,
        "blk.0.ffn_norm.weight": one,
        "blk.0.ffn_gate.weight": np.zeros((HIDDEN, WIDTH)),
        "blk.0.ffn_up.weight": np.zeros((HIDDEN, WIDTH)),
        "blk.0.ffn_down.weight": np.zeros((WIDTH, HIDDEN)),
        "output_norm.weight": one,
        "output.weight": unit[:count],
    }
