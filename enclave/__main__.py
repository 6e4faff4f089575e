# SPDX-License-Identifier: Apache-2.0
"""The supervisor: `python -P -m enclave --config FILE`. It holds no secret.

1. Read the configuration, empty the environment.
2. Read the weights into sealed memory while hashing them.
3. Start the engine process, the reporter process and the session process, which has a socketpair to each.
4. When one ends, end all and start all again, with new keys.
"""

import argparse
import importlib.util
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from enclave.config import Config, ConfigError, Launch, read_config
from enclave.listener import listening
from enclave.supervisor import CANNOT_START, Stop, supervise
from enclave.weights import WeightsError, seal_weights
from models.manifest import Manifest, ManifestError, find_manifest, parse_manifest

REPORTER = ("enclave.reporter",)

EPILOG = """\
examples:
  python -P -m enclave --config /etc/sottovoce/enclave.toml

exit codes: 0 stopped; 1 its parts never came to accept requests; 2 a configuration that cannot be run
"""


def main(reporter: tuple[str, ...] = REPORTER) -> int:
    """Run an enclave until told to stop; 2 for a bad configuration, 1 when its parts never come to serve.

    `reporter` is the module of the reporter process, with its first arguments. No setting chooses it.
    """
    arguments = parser().parse_args()
    os.environ.clear()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _told_to_stop)
    try:
        check_library()
        config = read_config(arguments.config)  # 1
        manifest = read_manifest(config)
        weights = seal_weights(Path(config.model.weights), manifest)  # 2
        with listening(config.link) as listener:
            return supervise(Launch(config, manifest), weights, listener, reporter)  # 3, 4
    except (ConfigError, ManifestError, WeightsError, OSError, OverflowError) as error:
        sys.stderr.write(f"the enclave does not start: {error}\n")  # no secret exists yet
        return CANNOT_START
    except Stop:
        return 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(
        prog="python -P -m enclave",
        description="Run one enclave.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument(
        "--config", required=True, type=Path, metavar="FILE", help="TOML file; docs/operations.md has one"
    )
    return options


def check_library() -> None:
    """Raise ConfigError where nothing could run a model: no extra can bring the library that was checked."""
    if importlib.util.find_spec("llama_cpp") is None:
        raise ConfigError("the inference library is not installed; docs/install.md says how to build it")


def read_manifest(config: Config) -> Manifest:
    """The manifest that the configuration names. Raises ManifestError and OSError."""
    if config.model.manifest is not None:
        return parse_manifest(Path(config.model.manifest).read_text(encoding="utf-8"))
    return find_manifest(config.model.name or "")


def _told_to_stop(_number: int, _frame: FrameType | None) -> None:
    raise Stop


if __name__ == "__main__":
    sys.exit(main())
