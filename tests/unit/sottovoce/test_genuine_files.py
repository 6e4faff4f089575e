# SPDX-License-Identifier: Apache-2.0
"""Genuine evidence of Azure as a user's files: all of the chain holds, and what nobody named is what fails.

The vectors are not part of the project: without the folder `../shared/vectors`, these tests are skipped.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from attestation.policy import AnyMachine, AnyModel, Policy, Product
from attestation.verdict import Verdict
from sottovoce.clouds import AzureFiles
from sottovoce.offline import Files, judge
from tests.unit.attestation.azure.test_genuine_azure import VECTORS, Row, evidence, rows

pytestmark = pytest.mark.skipif(not VECTORS.is_dir(), reason="no genuine evidence in ../shared/vectors")

NOW = 1_780_000_000
POLICY = Policy(
    measurements=frozenset(),
    machines=AnyMachine.ANY_MACHINE,
    models=AnyModel.ANY_MODEL,
    products=frozenset({Product.MILAN, Product.GENOA}),
)
# The certificate of each machine on SEV-SNP; quotes of TDX bring theirs.
LEAVES = {
    "coco-snp-evidence-v0": "v3-milan-vcek-azure-coco-evidence-v0",
    "coco-snp-evidence-v1": "v3-milan-vcek-azure-coco-evidence-v1",
    "coco-snp-evidence-v2": "v3-milan-vcek-azure-coco-evidence-v2",
    "coco-snp-evidence-genoa": "v3-genoa-vcek-azure-coco-evidence-genoa",
}


def files_of(row: Row, folder: Path) -> Files:
    """The evidence in files, as the tools of a TPM write them."""
    genuine = evidence(row)
    contents = {
        "hcl": genuine.hcl_blob,
        "quote": genuine.quote,
        "signature": genuine.signature.value,
        "registers": b"".join(genuine.registers[number] for number in range(24)),
        "td_quote": genuine.td_quote,
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    leaf = LEAVES.get(Path(row.file).stem)
    certificates: tuple[Path, ...] = ()
    if leaf is not None:
        product = leaf.split("-")[1]
        roots = (VECTORS / "snp" / "roots" / f"{kind}-{product}.der" for kind in ("ask", "ark"))
        certificates = (VECTORS / "snp" / "certs" / f"{leaf}.vcek.der", *roots)
    azure = AzureFiles(
        quote=folder / "quote",
        signature=folder / "signature",
        registers=folder / "registers",
        td_quote=folder / "td_quote" if genuine.td_quote else None,
        accepted=((4, genuine.registers[4]),),
        user_data=bytes.fromhex(row.text("user_data")),
    )
    nonce = bytes.fromhex(row.text("tpm_nonce"))
    return Files(folder / "hcl", certificates, nonce=nonce, azure=azure)


def failed(verdict: Verdict) -> set[str]:
    return {check.name for check in verdict.checks if not (check.ok or check.waived)}


@pytest.mark.parametrize("row", rows("azure-vtpm-evidence"), ids=lambda row: row.file)
def test_chain_of_azure_holds_down_to_the_registers(row: Row, tmp_path: Path) -> None:
    """No policy names the paravisor here, and on Intel's machines it leaves SEPT_VE on."""
    files = files_of(row, tmp_path)
    unknown = {"measurement", "hardware signature"}
    unknown |= {"fmspc", "ppid", "sept ve disable"} if files.azure.td_quote else set[str]()
    verdict = judge(files, POLICY, NOW).verdict
    assert failed(verdict) == unknown
    old = judge(replace(files, nonce=b"another nonce"), POLICY, NOW).verdict
    assert failed(old) == unknown | {"tpm quote nonce"}
    (tmp_path / "registers").write_bytes(bytes(24 * 32))
    assert failed(judge(files, POLICY, NOW).verdict) == unknown | {"register digest", "guest measurements"}
