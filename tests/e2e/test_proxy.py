# SPDX-License-Identifier: Apache-2.0
"""`sottovoce proxy` between programs that people have and a real enclave."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionUserMessageParam

from deploy.local import free_port
from tests.conformance.javascript import javascript
from tests.conftest import Pair, wait_until
from tests.e2e.proxies import Proxy, running_proxy
from tests.e2e.test_answers import MODEL
from tests.e2e.test_commands import run

QUESTION = [ChatCompletionUserMessageParam(role="user", content="What is gravity?")]
CANARY = "the-secret-of-the-lighthouse"


@pytest.fixture(scope="module")
def proxy(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """One for all tests that leave it running."""
    with running_proxy(pair.place, tmp_path_factory.mktemp("proxy")) as running:
        yield running


@pytest.fixture
def program(proxy: Proxy) -> Iterator[openai.OpenAI]:
    """OpenAI's own client, which knows nothing of enclaves."""
    with openai.OpenAI(base_url=proxy.api, api_key="-") as client:
        yield client


def ask(program: openai.OpenAI, content: str = "What is gravity?") -> str | None:
    """The likeliest answer."""
    asked = [ChatCompletionUserMessageParam(role="user", content=content)]
    done = program.chat.completions.create(model=MODEL, messages=asked, temperature=0, max_tokens=12)
    return done.choices[0].message.content


def test_it_says_in_one_line_what_it_verified(pair: Pair, proxy: Proxy) -> None:
    (line,) = [line for line in proxy.printed.splitlines() if "/v1 -> " in line]
    assert line.startswith(f"{proxy.api} -> {pair.url}: verified ")
    assert re.search(rf"verified \d+ checks: SIMULATED sev-snp, {MODEL}, L2$", line)


def test_the_client_of_openai_asks_streams_and_lists(program: openai.OpenAI) -> None:
    expected = ask(program)
    assert expected is not None
    assert expected.startswith("Gravity is")
    stream = program.chat.completions.create(
        model=MODEL, messages=QUESTION, temperature=0, max_tokens=12, stream=True
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == expected
    assert [model.id for model in program.models.list()] == [MODEL]


def test_errors_of_the_enclave_are_the_clients_own(program: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="another"):
        program.chat.completions.create(model="another", messages=QUESTION)
    with pytest.raises(openai.BadRequestError, match="nonsense"):
        program.chat.completions.create(model=MODEL, messages=QUESTION, extra_body={"nonsense": 1})
    with pytest.raises(openai.NotFoundError):
        program.images.generate(prompt="?")


def test_its_asynchronous_client_asks_and_streams_at_once(proxy: Proxy, program: openai.OpenAI) -> None:
    async def all_at_once() -> list[str | None]:
        async with openai.AsyncOpenAI(base_url=proxy.api, api_key="-") as client:

            async def streamed() -> str:
                stream = await client.chat.completions.create(
                    model=MODEL, messages=QUESTION, temperature=0, max_tokens=12, stream=True
                )
                return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

            async def whole() -> str | None:
                done = await client.chat.completions.create(
                    model=MODEL, messages=QUESTION, temperature=0, max_tokens=12
                )
                return done.choices[0].message.content

            return list(await asyncio.gather(streamed(), whole(), streamed(), whole()))

    assert set(asyncio.run(all_at_once())) == {ask(program)}


def test_many_clients_at_once_get_their_own_answers(program: openai.OpenAI) -> None:
    questions = [f"Count to {number}." for number in range(3)]
    expected = [ask(program, question) for question in questions]
    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(partial(ask, program), questions * 4))
    assert answers == expected * 4


def test_curl_streams(proxy: Proxy, program: openai.OpenAI) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    body = {"model": MODEL, "messages": QUESTION, "temperature": 0, "max_tokens": 12, "stream": True}
    command = [curl, "--silent", "--fail", "--no-buffer", f"{proxy.api}/chat/completions", "--json", "@-"]
    done = subprocess.run(
        command, input=json.dumps(body), capture_output=True, text=True, check=True, timeout=60
    )
    events = [line.removeprefix("data: ") for line in done.stdout.splitlines() if line.startswith("data: ")]
    assert events.pop() == "[DONE]"
    texts = [json.loads(event)["choices"][0]["delta"].get("content", "") for event in events]
    assert "".join(texts) == ask(program)


def test_the_javascript_client_of_openai(proxy: Proxy, program: openai.OpenAI) -> None:
    said = json.loads(javascript("openai.mjs", proxy.api, MODEL))
    assert said == {"models": [MODEL], "whole": ask(program), "streamed": ask(program), "missing": 404}


def test_llm_lists_and_asks(proxy: Proxy, program: openai.OpenAI, tmp_path: Path) -> None:
    """`llm` is a program of others for the command line, which is told of the endpoint in a file."""
    told = f"- model_id: enclave\n  model_name: {MODEL}\n  api_base: {proxy.api}\n"
    (tmp_path / "extra-openai-models.yaml").write_text(told, encoding="utf-8")
    words = ("-m", "enclave", "--no-log", "-o", "temperature", "0", "-o", "max_tokens", "12", "--key", "-")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "llm", *words, "What is gravity?"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LLM_USER_PATH": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == (ask(program) or "").strip()


def test_the_page_shows_every_check_and_runs_nothing(proxy: Proxy) -> None:
    page = httpx.get(f"{proxy.url}/")
    assert page.status_code == 200
    assert "VERIFIED" in page.text
    assert "SIMULATED" in page.text
    assert "report signature" in page.text
    assert 'lang="en"' in page.text
    assert 'name="viewport"' in page.text
    assert "color-scheme: light dark" in page.text
    assert "<script" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    again = httpx.post(f"{proxy.url}/verify", headers={"origin": proxy.url}, follow_redirects=True)
    assert "VERIFIED" in again.text


def test_the_status_is_for_programs(proxy: Proxy) -> None:
    status = httpx.get(f"{proxy.url}/status").json()
    assert (status["verified"], status["simulated"], status["assurance"]) == (True, True, "L2")


def test_nothing_of_a_conversation_is_written(proxy: Proxy, program: openai.OpenAI) -> None:
    ask(program, CANARY)
    with pytest.raises(openai.BadRequestError):
        program.chat.completions.create(model=MODEL, messages=QUESTION, extra_body={CANARY: CANARY})
    written = {path.name: path.read_bytes() for path in proxy.log.parent.rglob("*") if path.is_file()}
    assert set(written) == {"proxy.log", "trust.json", "trust.lock"}
    assert [name for name, content in written.items() if CANARY.encode() in content] == []


def test_a_token_is_asked_for_and_stays_here(pair: Pair, tmp_path: Path) -> None:
    file = tmp_path / "token"
    with running_proxy(pair.place, tmp_path, "--token", str(file)) as proxy:
        token = file.read_text().strip()
        assert file.stat().st_mode & 0o777 == 0o600
        models = f"{proxy.api}/models"
        assert httpx.get(models).status_code == 401
        assert httpx.get(models, headers={"authorization": "Bearer wrong"}).status_code == 401
        assert httpx.get(models, headers={"authorization": f"Bearer {token}"}).status_code == 200


def test_an_enclave_that_the_policy_refuses_gets_no_endpoint(pair: Pair) -> None:
    done = run("proxy", pair.url, "--listen", f"127.0.0.1:{free_port()}")
    assert done.returncode == 10
    assert "refused, and nothing was sent" in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--listen", "0.0.0.0:8642"), "--let-the-network-read-along"),
        (("--listen", "[::]:8642"), "--let-the-network-read-along"),
        (("--listen", "0.0.0.0:8642", "--let-the-network-read-along"), "--token"),
        (("--listen", "example.org:8642"), "ADDRESS:PORT"),
        (("--listen", "127.0.0.1:99999"), "no port"),
    ],
)
def test_other_machines_reach_it_only_where_that_is_meant(options: tuple[str, ...], said: str) -> None:
    done = run("proxy", f"http://localhost:{free_port()}", *options)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())


def test_a_host_that_is_not_there_could_not_be_checked() -> None:
    done = run("proxy", f"http://localhost:{free_port()}")
    assert done.returncode == 20
    assert "check the address" in " ".join(done.stderr.split())


def test_it_recovers_when_the_enclave_starts_again(own_pair: Pair, tmp_path: Path) -> None:
    with (
        running_proxy(own_pair.place, tmp_path) as proxy,
        openai.OpenAI(base_url=proxy.api, api_key="-") as program,
    ):
        before = ask(program)
        os.kill(own_pair.process("enclave.serve"), 9)
        wait_until(lambda: own_pair.events().count('"event": "Started"') > 1, "the enclave is back")
        wait_until(lambda: httpx.get(f"{own_pair.url}/healthz").is_success, "the host reaches it")
        assert ask(program) == before


def test_a_cut_answer_is_an_error_in_the_stream(own_pair: Pair, tmp_path: Path) -> None:
    story = [ChatCompletionUserMessageParam(role="user", content="Write a very long story.")]
    with (
        running_proxy(own_pair.place, tmp_path) as proxy,
        openai.OpenAI(base_url=proxy.api, api_key="-") as program,
    ):
        stream = program.chat.completions.create(model=MODEL, messages=story, max_tokens=2000, stream=True)
        next(stream)
        own_pair.host.kill()
        with pytest.raises(openai.APIError, match="must not be used"):
            for _ in stream:
                pass
        with pytest.raises(openai.InternalServerError, match="must not be used"):
            ask(program.with_options(max_retries=0))
        assert httpx.get(f"{proxy.url}/").status_code == 200
