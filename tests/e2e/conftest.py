# SPDX-License-Identifier: Apache-2.0
"""An enclave whose model knows tools: the default model's weights, with another template."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import (
    DEFAULT_MODEL,
    PYTHON,
    Place,
    enclave_config,
    free_port,
    host,
    running,
    wait_until,
    write_policy,
)
from models.describe import describe
from models.fetch import weights_path
from models.manifest import find_manifest, render_manifest
from tests.fakes.gguf import with_template

TEMPLATE = """\
{%- if tools %}<|im_start|>system
You can call these tools: {% for tool in tools %}{{ tool | tojson }}
{% endfor %}To call one, write <tool_call>{"name": NAME, "arguments": ARGUMENTS}</tool_call>.<|im_end|>
{% endif %}
{%- for message in messages %}<|im_start|>{{ message.role }}
{{ message.content }}
{%- for call in message.tool_calls or [] %}
<tool_call>{{ call.function | tojson }}</tool_call>
{%- endfor %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
# One conversation at once, and two may wait: whoever is third is told to come back.
ENGINE = "[engine]\nslots = 1\nwaiting_requests = 2\n"


@pytest.fixture(scope="session")
def tools_place(tmp_path_factory: pytest.TempPathFactory, vendor_folder: Path) -> Iterator[Place]:
    """The enclave and its host. The model is called `with-tools`."""
    folder = tmp_path_factory.mktemp("tools")
    weights, manifest = folder / "with-tools.gguf", folder / "with-tools.toml"
    with_template(weights_path(find_manifest(DEFAULT_MODEL)), TEMPLATE, weights)
    manifest.write_text(render_manifest(describe(weights)), encoding="utf-8")
    port = free_port()
    place = Place(folder, vendor_folder, port, f"http://localhost:{port}")
    write_policy(place)
    config = folder / "enclave.toml"
    text = enclave_config(place, weights, extra=ENGINE)
    config.write_text(text.replace(f'name = "{DEFAULT_MODEL}"', f'manifest = "{manifest}"'), encoding="utf-8")
    command = [*PYTHON, "enclave", "--config", str(config)]
    with running("the enclave", command, folder, place.enclave_log) as process:
        wait_until(
            lambda: "Started" in place.enclave_log.read_text(encoding="utf-8"), process, place.enclave_log
        )
        with host(place):
            yield place
