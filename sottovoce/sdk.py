# SPDX-License-Identifier: Apache-2.0
"""From an address to a verified connection, in one call."""

from pathlib import Path

from attestation.policy import Policy, PolicyError, with_audience
from sottovoce.memory_file import Memory
from sottovoce.one_time_keys import Assurance
from sottovoce.opening import KEYS
from sottovoce.recollection import Remembers
from sottovoce.transport import Connection, Surroundings
from sottovoce.trust import NoPolicyError, choose_policy, origin


def connect(  # noqa: PLR0913 - each has a default, and is given by name
    url: str,
    policy: Policy | Path | str | None = None,
    *,
    simulated: bool = False,
    assurance: Assurance = Assurance.FRESH,
    keys: int = KEYS,
    api_key: str | None = None,
    memory: Remembers | None = None,
) -> Connection:
    """A connection to the enclave behind this address, verified and with a session open.

    `policy` is one, or the file of one; None is the default policy, which accepts hardware alone. `simulated`
    accepts this machine's simulated enclave. `keys` is how many requests may wait for their answers at once.
    By `api_key`, of 22 random characters or more, an enclave knows the user again. `memory` is what was shown
    before: None is this user's own file, with the pins of `sottovoce trust pin`. What is new is in
    `Connection.notices`, and all but that an address is new comes as a ReleaseWarning too, whenever it shows.

    Raises NoPolicyError, and what `Connection.open` raises; then nothing of the user's was sent.
    """
    connection = Connection(
        url,
        _chosen(url, policy, simulated=simulated),
        assurance=assurance,
        keys=keys,
        api_key=api_key,
        surroundings=Surroundings(memory=Memory() if memory is None else memory),
    )
    try:
        connection.open()
    except BaseException:
        connection.close()
        raise
    return connection


def _chosen(url: str, policy: Policy | Path | str | None, *, simulated: bool) -> Policy:
    if not isinstance(policy, Policy):
        return choose_policy(url, file=None if policy is None else Path(policy), simulated=simulated)
    try:
        return with_audience(policy, origin(url))
    except PolicyError as error:
        raise NoPolicyError(str(error)) from None
