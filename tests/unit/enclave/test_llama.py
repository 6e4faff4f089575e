# SPDX-License-Identifier: Apache-2.0
"""The real model in the real library: a sequence depends on nobody else, and nothing of it stays."""

import os
import random
import subprocess
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from deploy.search import count_hidden, hidden
from enclave.engine import llama
from enclave.engine.check import check_library, check_model
from enclave.engine.protocol import Sampling
from enclave.engine.sampling import Candidates, Chooser, GrammarError, Logits, likeliest, log_probabilities
from enclave.engine.snapshots import SessionMemory
from models.fetch import weights_path
from models.gguf import parse_gguf
from models.manifest import find_manifest

CONTEXT_TOKENS, SLOTS = 512, 3
# More than one thread is a matter of the machine; tests take what there is.
THREADS = (1, 2)
DIGEST = find_manifest("smollm2-135m-instruct").digest
NOT_HERE = 77
WITH_VARIANT = f"""
import ctypes, sys
from enclave.engine import check, llama
variant, path, digest = sys.argv[1:]
folder = llama.library_folder()
ggml = ctypes.CDLL(str(folder / "libggml.so"))
ggml.ggml_backend_load.argtypes, ggml.ggml_backend_load.restype = [ctypes.c_char_p], ctypes.c_void_p
llama.library.llama_log_set(llama._discard_log, None)
if not ggml.ggml_backend_load(str(folder / f"libggml-cpu-{{variant}}.so").encode()):
    sys.exit({NOT_HERE})
assert check.check_library() == variant
check.check_model(llama.Model(path, context_tokens=256, threads=2, slots=2), bytes.fromhex(digest))
"""


@cache
def path() -> str:
    return str(weights_path(find_manifest("smollm2-135m-instruct")))


LOADED: dict[int, llama.Model] = {}


def model(threads: int = 1) -> llama.Model:
    """The default model with some slots, loaded once for each number of threads.

    Threads that wait without spinning compute the same, and do not stand still on a machine with other work.
    """
    if threads not in LOADED:
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        llama.load_backends()
        LOADED[threads] = llama.Model(path(), context_tokens=CONTEXT_TOKENS, threads=threads, slots=SLOTS)
    return LOADED[threads]


@pytest.fixture(autouse=True)
def _empty_slots() -> None:
    """No test finds what another has left, also where that one failed."""
    for made in LOADED.values():
        for slot in range(SLOTS):
            made.wipe(slot)


def words(seed: int, count: int) -> list[int]:
    """A prompt of so many tokens that is like no other."""
    numbers = random.Random(seed)
    return [numbers.randrange(100, 40000) for _ in range(count)]


def prefill(made: llama.Model, slot: int, prompt: list[int]) -> Logits:
    """Decode what a slot does not hold yet of a prompt, on the grid."""
    grid, logits = llama.CHUNK_TOKENS, None
    start = made.length(slot)
    borders = [start, *range((start // grid + 1) * grid, len(prompt), grid), len(prompt)]
    for first, stop in pairwise(borders):
        tokens = np.array(prompt[first:stop], np.int32)
        logits = made.prefill(slot, tokens, last=stop == len(prompt))
    assert logits is not None
    return logits.copy()


def alone(made: llama.Model, prompt: list[int], count: int) -> tuple[list[int], list[Logits]]:
    """A greedy answer of a sequence that has the model for itself, and the logits of every step."""
    rows = [prefill(made, 0, prompt)]
    for _ in range(count - 1):
        rows.append(made.decode([int(rows[-1].argmax())])[0].copy())
    made.wipe(0)
    return [int(row.argmax()) for row in rows], rows


def test_weights_that_are_none_are_refused() -> None:
    model()
    with pytest.raises(llama.EngineError, match="cannot load these weights"):
        llama.Model("/dev/null", context_tokens=64, threads=1)


def test_the_library_and_the_model_pass_their_own_check() -> None:
    model()
    assert check_library() in ("haswell", "zen4", "sapphirerapids")
    check_model(model(), DIGEST)
    assert [model().length(slot) for slot in range(SLOTS)] == [0] * SLOTS


def spoiled_layer(destination: Path) -> str:
    """The default weights with one tensor of the fifth layer full of zeros."""
    content = bytearray(Path(path()).read_bytes())
    header = parse_gguf(bytes(content))
    (tensor,) = [tensor for tensor in header.tensors if tensor.name == "blk.5.ffn_down.weight"]
    start = header.data_start + tensor.offset
    content[start : start + tensor.size_bytes] = bytes(tensor.size_bytes)
    destination.write_bytes(content)
    return str(destination)


def test_a_model_that_computes_something_else_fails_its_check(tmp_path: Path) -> None:
    """What is consistent with itself can be wrong all the same."""
    model()
    wrong = llama.Model(
        spoiled_layer(tmp_path / "wrong.gguf"), context_tokens=CONTEXT_TOKENS, threads=1, slots=SLOTS
    )
    check_model(wrong, b"nothing is known of these")
    with pytest.raises(llama.EngineError, match="another answer"):
        check_model(wrong, DIGEST)


@pytest.mark.parametrize("variant", ["haswell", "zen4", "sapphirerapids"])
def test_every_variant_of_the_cpu_code_gives_the_known_answer(variant: str) -> None:
    """In a process of its own, for there can be one variant in each. One that this CPU lacks is skipped."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", WITH_VARIANT, variant, path(), DIGEST.hex()],
        cwd=Path(__file__).parents[3],
        env=os.environ | {"OMP_WAIT_POLICY": "passive"},
        check=False,
    )
    if done.returncode == NOT_HERE:
        pytest.skip(f"this processor cannot run {variant}")
    assert done.returncode == 0


def test_there_are_as_many_slots_as_there_is_memory_for() -> None:
    one = model().memory_bytes // (SLOTS + 1)
    fitting = llama.Model(path(), context_tokens=512, threads=1, slots=9, memory_bytes=3 * one)
    assert (fitting.slots, fitting.context_tokens, fitting.memory_bytes) == (2, 512, 3 * one)
    with pytest.raises(llama.EngineError, match="not enough memory"):
        llama.Model(path(), context_tokens=512, threads=1, slots=9, memory_bytes=2 * one - 1)


@pytest.mark.parametrize(("threads", "lengths"), [(1, (70, 262, 20, 254)), (2, (262, 20, 30))])
def test_a_greedy_answer_in_a_full_batch_is_the_answer_alone_token_for_token(
    threads: int, lengths: tuple[int, ...]
) -> None:
    """With arrivals while others generate, holes, moves, and prompts on both sides of 256 tokens."""
    made = model(threads)
    count = 4
    prompts = [words(seed, length) for seed, length in enumerate(lengths)]
    expected = [alone(made, prompt, count)[0] for prompt in prompts]
    answers: dict[int, list[int]] = {}
    holding: list[int] = []  # which prompt generates in which slot
    waiting = list(range(len(prompts)))
    while waiting or holding:
        if waiting and len(holding) < SLOTS - 1:
            arriving = waiting.pop(0)
            answers[arriving] = [int(prefill(made, len(holding), prompts[arriving]).argmax())]
            holding.append(arriving)
        rows = made.decode([answers[who][-1] for who in holding])
        for who, row in zip(holding, rows, strict=True):
            answers[who].append(int(row.argmax()))
        done = next((slot for slot, who in enumerate(holding) if len(answers[who]) == count), None)
        if done is not None:
            last = len(holding) - 1
            made.wipe(done)
            if done != last:
                made.move(last, done)
                holding[done] = holding[last]
            holding.pop()
    assert [answers[who] for who in range(len(prompts))] == expected


@pytest.mark.parametrize("threads", THREADS)
def test_a_long_sequence_alone_is_not_split_among_threads(threads: int) -> None:
    """The guard: above 256 cells a row never goes alone, and gives what it gives beside another."""
    made = model(threads)
    prompt, other = words(1, 260), words(2, 20)
    tokens, rows = alone(made, prompt, 3)
    together = [prefill(made, 0, prompt)]
    prefill(made, 1, other)
    for token in tokens[:-1]:
        together.append(made.decode([token, other[0]])[0].copy())
    for slot in (0, 1):
        made.wipe(slot)
    assert all(np.array_equal(one, two) for one, two in zip(rows, together, strict=True))


def test_other_peoples_texts_change_no_bit_of_a_sequences_logits() -> None:
    made, prompt = model(), words(3, 90)
    tokens, _ = alone(made, prompt, 4)

    def beside(seed: int) -> list[Logits]:
        rows = [prefill(made, 0, prompt)]
        others = [words(seed + slot, 40 + slot) for slot in range(1, SLOTS)]
        for slot, other in enumerate(others, 1):
            prefill(made, slot, other)
        for step, token in enumerate(tokens[:-1]):
            rows.append(made.decode([token, *(other[step] for other in others)])[0].copy())
        for slot in range(SLOTS):
            made.wipe(slot)
        return rows

    assert np.array_equal(np.stack(beside(100)), np.stack(beside(200)))


def test_a_restored_sequence_goes_on_as_if_nothing_had_been() -> None:
    made, prompt = model(), words(4, 150)
    _, expected = alone(made, prompt, 3)
    first = prefill(made, 0, prompt)
    state = made.save(0)
    made.wipe(0)
    prefill(made, 0, words(5, 30))
    made.restore(1, state, len(prompt))
    rows = made.decode([7, int(first.argmax())])
    assert np.array_equal(rows[1], expected[1])
    for slot in (0, 1):
        made.wipe(slot)


def test_a_conversation_resumed_from_its_sealed_snapshot_goes_on_bit_for_bit() -> None:
    """With 420 tokens; `python -m benchmarks.resume` asks the same of 100 to 1,200, on all threads."""
    made, prompt, memory = model(), words(10, 420), SessionMemory(b"test", 1 << 26)
    first = int(prefill(made, 0, prompt).argmax())
    memory.keep(bytes(16), bytes(16), np.array(prompt, np.int32), made.save(0), 0.0)
    tokens, expected = following(made, first, 3)
    made.wipe(0)
    recalled = memory.recall(bytes(16), bytes(16), 0.0)
    assert recalled is not None
    made.restore(0, recalled.open_state(), len(recalled.tokens))
    assert following(made, first, 3) == (tokens, expected)
    made.wipe(0)


def following(made: llama.Model, token: int, count: int) -> tuple[list[int], list[bytes]]:
    """The next greedy tokens of the first slot, and the bytes of their logits."""
    tokens, rows = [token], list[bytes]()
    for _ in range(count):
        row = made.decode(tokens[-1:])[0]
        tokens.append(int(row.argmax()))
        rows.append(row.tobytes())
    return tokens, rows


def test_a_sequence_that_was_cut_goes_on_from_there() -> None:
    made, prompt = model(), words(6, 100)
    expected = prefill(made, 0, prompt)
    made.wipe(0)
    prefill(made, 0, [*prompt[:64], *words(7, 80)])
    made.cut(0, 64)
    assert np.array_equal(prefill(made, 0, prompt), expected)
    made.wipe(0)


@pytest.mark.parametrize("cut", [False, True])
def test_a_wiped_slot_leaves_no_keys_and_values_in_memory(cut: bool) -> None:
    made = model()
    prefill(made, 2, words(8, 150))
    needles = hidden_needles(made.save(2))
    assert count_hidden(os.getpid(), needles) == [1] * len(needles)
    if cut:
        made.cut(2, 10)
    made.wipe(2)
    made.scrub()
    assert count_hidden(os.getpid(), needles) == [0] * len(needles)


def test_a_move_leaves_nothing_where_it_came_from() -> None:
    made = model()
    prefill(made, 2, words(9, 100))
    needles = hidden_needles(made.save(2))
    made.move(2, 0)
    assert count_hidden(os.getpid(), needles) == [1] * len(needles)
    made.wipe(0)
    assert (made.length(0), made.length(2)) == (0, 0)
    assert count_hidden(os.getpid(), needles) == [0] * len(needles)


def hidden_needles(state: bytearray) -> list[bytes]:
    """Some pieces of keys and values, hidden from the search; the state itself is overwritten."""
    places = [len(state) * share // 1000 for share in (137, 411, 853)]
    with memoryview(state) as view:
        needles = [hidden(view[place : place + 48]) for place in places]
    state[:] = bytes(len(state))
    return needles


def chooser(sampling: Sampling, grammar: str | None = None) -> Chooser:
    made = model()
    return Chooser(
        made.vocabulary, Candidates(made.vocabulary.size), sampling, most=CONTEXT_TOKENS, grammar=grammar
    )


def chosen(sampling: Sampling, logits: Logits, count: int = 5) -> list[int | None]:
    choosing = chooser(sampling)
    try:
        return [choosing.choose(logits) for _ in range(count)]
    finally:
        choosing.close()


@cache
def row() -> Logits:
    made = model()
    logits = prefill(made, 0, made.vocabulary.tokenize("The capital of France is", markers=False))
    made.wipe(0)
    return logits


def test_without_temperature_the_likeliest_token_is_chosen() -> None:
    assert set(chosen(Sampling(temperature=0), row())) == {int(row().argmax())}


def test_a_seed_decides_what_is_sampled() -> None:
    answers = [chosen(Sampling(1.5, seed=seed), row(), 12) for seed in (1, 1, 2)]
    assert answers[0] == answers[1] != answers[2]


@pytest.mark.parametrize("narrow", [Sampling(2, top_k=1), Sampling(2, 1e-6), Sampling(2, min_p=1.0)])
def test_what_narrows_the_choice_narrows_it(narrow: Sampling) -> None:
    assert set(chosen(narrow, row())) == {int(row().argmax())}


def test_a_bias_decides() -> None:
    best = int(row().argmax())
    before = row().copy()
    assert best not in chosen(Sampling(temperature=0, logit_bias=((best, -100.0),)), row())
    assert set(chosen(Sampling(temperature=0, logit_bias=((99, 100.0),)), row())) == {99}
    assert set(chosen(Sampling(seed=3, logit_bias=((99, 100.0),)), row())) == {99}
    assert np.array_equal(row(), before), "others' logits are left alone"


@pytest.mark.parametrize(
    "penalised",
    [
        Sampling(0, frequency_penalty=2.0),
        Sampling(0, presence_penalty=2.0),
        Sampling(0, repeat_penalty=2.0),
    ],
)
def test_penalties_wear_off_what_was_said(penalised: Sampling) -> None:
    flat = np.zeros_like(row())
    flat[[7, 8]] = 1.5, 1.0
    assert chosen(penalised, flat, 2) == [7, 8]
    assert chosen(Sampling(temperature=0), flat, 2) == [7, 7]


def test_a_grammar_is_kept_to_and_comes_to_an_end() -> None:
    choosing, vocabulary = chooser(Sampling(seed=5), 'root ::= "yes" | "no"'), model().vocabulary
    said = b""
    for _ in range(5):
        token = choosing.choose(row())
        assert token is not None
        if vocabulary.is_end(token):
            break
        said += vocabulary.piece(token)
    choosing.close()
    assert said in (b"yes", b"no")


def test_what_is_no_grammar_is_refused() -> None:
    with pytest.raises(GrammarError):
        chooser(Sampling(), "root ::= (")


def test_probabilities_are_those_of_the_logits() -> None:
    made = log_probabilities(row())
    assert np.isclose(np.exp(made.astype(np.float64)).sum(), 1, atol=1e-4)
    assert likeliest(made, 0) == []
    assert likeliest(made, 3) == [int(token) for token in np.argsort(-made, kind="stable")[:3]]
