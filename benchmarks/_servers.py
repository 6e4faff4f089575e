# SPDX-License-Identifier: Apache-2.0
"""The servers that `benchmarks.engine` compares: ours with its host and client, and others in clear."""

import argparse
import json
import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import httpx

from benchmarks._load import Ours, Peer, Target
from deploy.llama.peer import EXAMPLE, PROGRAM, peer_folder, peer_python
from deploy.local import Place, enclave, free_port, host, running, vendor_folder
from models.fetch import fetch
from models.library import find_known
from sottovoce.transport import Connection
from sottovoce.trust import choose_policy
from wire.shaping import parse_shaping

CONTEXT_TOKENS = 1280
OURS, LLAMA_SERVER, LLAMA_CPP_SERVER, EXAMPLE_SERVER = (
    "sottovoce",
    "llama-server",
    "llama_cpp.server",
    "examples/server",
)
# The tokens with which this model ends an answer.
ENDINGS = {"0": -100.0, "2": -100.0}
START_SECONDS = 120.0
# llama-server closes a connection that is idle without a word, and a request on it would be lost.
ONE_REQUEST_EACH = httpx.Limits(max_keepalive_connections=0)


@contextmanager
def ours(folder: Path, options: argparse.Namespace) -> Generator[tuple[Target, list[int]]]:
    """A running enclave and host, asked by one client."""
    port = free_port()
    place = Place(folder, vendor_folder(), port, f"http://localhost:{port}", options.model)
    engine = (
        f"[engine]\ncontext_tokens = {CONTEXT_TOKENS}\nthreads = {options.threads}\nslots = {options.slots}\n"
        f"waiting_requests = 64\n"
    )
    with enclave(place, extra=engine) as inside, host(place) as outside:
        policy = choose_policy(place.url, file=place.policy, simulated=True)
        with Connection(place.url, policy, shaping=parse_shaping(options.shaping)) as connection:
            connection.verify()
            yield Ours(OURS, connection, options.model, ENDINGS), [inside.pid, outside.pid]


@contextmanager
def peer(name: str, folder: Path, options: argparse.Namespace) -> Generator[tuple[Target, list[int]]]:
    """A running server in clear."""
    port, (command, extra) = free_port(), OTHERS[name]
    with (
        running(
            name, command(port, peer_folder(), options), folder, folder / f"{name.replace('/', '-')}.log"
        ) as process,
        httpx.Client(
            base_url=f"http://127.0.0.1:{port}", timeout=600, trust_env=False, limits=ONE_REQUEST_EACH
        ) as http,
    ):
        wait_until_answering(http, process)
        yield Peer(name, http, options.model, extra), [process.pid]


def wait_until_answering(http: httpx.Client, process: "subprocess.Popen[bytes]") -> None:
    """Wait for the list of models."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if http.get("/v1/models").is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise SystemExit("a server to compare with did not start")


def llama_server(port: int, folder: Path, options: argparse.Namespace) -> list[str]:
    """llama.cpp's own server."""
    context = CONTEXT_TOKENS * options.slots
    numbers = {"-t": options.threads, "-tb": options.threads, "-np": options.slots, "-c": context}
    settings = [str(part) for pair in numbers.items() for part in pair]
    address = ("--host", "127.0.0.1", "--port", str(port))
    return [str(folder / PROGRAM), "-m", weights(options), *settings, "-fa", "on", *address]


def llama_cpp_server(port: int, _folder: Path, options: argparse.Namespace) -> list[str]:
    """The server of the bindings, which answers one request at a time."""
    return [
        *(*bindings(), "llama_cpp.server", "--model", weights(options), "--model_alias", options.model),
        *("--n_threads", str(options.threads), "--n_threads_batch", str(options.threads)),
        *("--n_ctx", str(CONTEXT_TOKENS), "--flash_attn", "true", "--interrupt_requests", "false"),
        *("--host", "127.0.0.1", "--port", str(port)),
    ]


def example_server(port: int, folder: Path, options: argparse.Namespace) -> list[str]:
    """The example in the bindings' source, which batches as ours does."""
    threads = {"threads": options.threads, "threads_batch": options.threads}
    room = {"n_ctx": CONTEXT_TOKENS * options.slots, "n_seq_max": options.slots}
    model = {"alias": options.model, "path": weights(options), "flash_attn": True, **threads, **room}
    config = folder / "example.json"
    server = {"host": "127.0.0.1", "port": port}
    config.write_text(json.dumps({"server": server, "model": model}), encoding="utf-8")
    return [*bindings(), str(peer_folder() / EXAMPLE), "-C", str(config)]


def bindings() -> list[str]:
    """What runs a server of the bindings."""
    return [str(peer_python()), "-P", str(Path(__file__).parent / "_bindings.py"), str(peer_folder())]


def weights(options: argparse.Namespace) -> str:
    """The file that all of them serve."""
    return str(fetch(find_known(options.model)))


# How each is started, and what a request needs so that an answer has its length and nothing is remembered.
OTHERS: dict[str, tuple[Callable[[int, Path, argparse.Namespace], list[str]], dict[str, object]]] = {
    LLAMA_SERVER: (llama_server, {"ignore_eos": True, "cache_prompt": False}),
    LLAMA_CPP_SERVER: (llama_cpp_server, {"logit_bias": ENDINGS}),
    EXAMPLE_SERVER: (example_server, {"logit_bias": ENDINGS}),
}
