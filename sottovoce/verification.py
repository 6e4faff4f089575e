# SPDX-License-Identifier: Apache-2.0
"""`sottovoce verify`: an enclave or evidence in files, judged, and the verdict in the wanted form."""

import argparse
import time
from pathlib import Path

from attestation.policy import Policy, with_any_machine
from attestation.results import cmw
from attestation.verify import VerificationError
from sottovoce import clouds, results, terminal, trust_command
from sottovoce.clouds import AzureFiles, GoogleFiles
from sottovoce.exit_code import ExitCode
from sottovoce.files import OfflineError, UsageError, read_api_key
from sottovoce.memory_file import Memory
from sottovoce.offline import Files, Judgement, judge, nonce, unix_time
from sottovoce.one_time_keys import Assurance
from sottovoce.results import Form
from sottovoce.transport import Connection, Surroundings
from sottovoce.trust import choose_policy, judgement_json, result_of_verdict

DESCRIPTION = """\
Check an enclave, or evidence in files. What a file holds is told from its content; every check is made and
shown. What you do not give is listed as not made, and the outcome is then 20 and not 0.
"""
EPILOG = """\
examples:
  an enclave
    sottovoce verify https://llm.example --policy hospital.toml
  SEV-SNP
    sottovoce verify report.bin --certs vcek.der cert_chain.pem --crl crl.der --nonce c0ffee
  TDX
    sottovoce verify quote.bin --collateral collateral.json --event-log ccel.bin --nonce c0ffee
  TDX on Google
    sottovoce verify quote.bin --collateral collateral.json \\
      --google-instance 123456/europe-west4-a/987654 --google-host-record records/PPID.json
  Azure, and on Intel's machines with --td-quote and --collateral in place of --certs
    sottovoce verify hcl.bin --certs vcek.pem --tpm-quote quote.msg --tpm-signature quote.sig \\
      --pcrs quote.pcrs --nonce c0ffee --pcr 4=HEX --pcr 11=HEX
  an NVIDIA GPU
    sottovoce verify gpu_report.txt --certs gpu_chain.pem --nonce HEX
  a signed result
    sottovoce verify quote.bin --ear jwt --ear-key verifier.pem
    sottovoce verify quote.bin --ear cwt --ear-key verifier.pem --out result.cwt

Azure: hcl.bin is NV index 0x01400001 of the virtual TPM (tpm2_nvread); the other three are written by
  tpm2_quote -c AK -l sha256:all -q NONCE -m quote.msg -s quote.sig -o quote.pcrs -F values
The processor measured Azure's own layer only, so without --pcr nothing is known of the guest: a failed check.

exit codes: 0 verified, 2 wrong usage, 10 refused, 20 not all could be checked; all of them: sottovoce --help
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """What is checked, what belongs to it, and in which form the verdict is wanted."""
    parser.add_argument("url", metavar="WHAT", help="a URL, or a file with evidence")
    files = parser.add_argument_group("what belongs to evidence in files")
    files.add_argument(
        "--certs", type=Path, nargs="+", default=[], metavar="FILE", help="certificates of AMD or of a GPU"
    )
    files.add_argument("--crl", type=Path, metavar="FILE", help="AMD's revocation list")
    files.add_argument("--collateral", type=Path, metavar="FILE", help="Intel's collateral, in JSON")
    files.add_argument(
        "--event-log", type=Path, metavar="FILE", help="CCEL area or dstack's log, to explain a TDX quote"
    )
    files.add_argument("--nonce", metavar="HEX", help="expected report data (zeros fill up) or nonce")
    files.add_argument("--at", metavar="TIME", help="judge as at this time: unix seconds, or with an offset")
    azure = parser.add_argument_group("Azure's virtual TPM")
    azure.add_argument("--tpm-quote", type=Path, metavar="FILE", help="what the TPM signed")
    azure.add_argument("--tpm-signature", type=Path, metavar="FILE", help="its signature")
    azure.add_argument("--pcrs", type=Path, metavar="FILE", help="values of the quoted registers, in order")
    azure.add_argument(
        "--pcr", action="append", default=[], metavar="N=HEX", help="accepted value of a register; repeatable"
    )
    azure.add_argument("--user-data", metavar="HEX", help="expected user data; zeros fill up to 64 bytes")
    azure.add_argument("--td-quote", type=Path, metavar="FILE", help="the TD quote, on Intel's machines")
    google = parser.add_argument_group("Google's statements about a TDX machine")
    google.add_argument(
        "--cloud", choices=["google"], help="make both checks; the two options below imply it"
    )
    google.add_argument("--google-instance", metavar="PROJECT/ZONE/ID", help="the machine, in numbers")
    google.add_argument(
        "--google-host-record", type=Path, metavar="FILE", help="the registry's record, named after the PPID"
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--ear", type=Form, choices=list(Form), help="an attestation result; json is unsigned"
    )
    output.add_argument("--ear-key", type=Path, metavar="FILE", help="PEM key that signs: P-256 or Ed25519")
    output.add_argument("--out", type=Path, metavar="FILE", help="write the result there and show the checks")
    output.add_argument(
        "--cmw", type=Path, metavar="FILE", help="also write the evidence in its wrapper: .json or .cbor"
    )


def policy_of(arguments: argparse.Namespace, *, is_file: bool = False) -> Policy:
    """The policy that the options ask for. Raises NoPolicyError."""
    url = None if is_file else arguments.url
    policy = choose_policy(url, file=arguments.policy, simulated=arguments.simulated)
    return with_any_machine(policy) if arguments.any_machine else policy


def run_verify(arguments: argparse.Namespace) -> int:
    """Check an enclave, or files of evidence, and print every check."""
    results.check_options(arguments.ear, arguments.ear_key, arguments.out, arguments.cmw)
    key = None if arguments.ear_key is None else results.signing_key(arguments.ear_key)
    files = files_of(arguments)
    is_file = "://" not in arguments.url
    policy = policy_of(arguments, is_file=is_file)
    now = int(time.time()) if arguments.at is None else unix_time(arguments.at)
    judgement = judge(files, policy, now) if is_file else ask(arguments, files, policy)
    if arguments.ear is not None:
        result = result_of_verdict(judgement.verdict, policy, now=now, nonce=files.nonce)
        results.put(results.encode_result(result, arguments.ear, key), arguments.out)
    if arguments.cmw is not None and judgement.record is not None:
        results.write_record(judgement.record, arguments.cmw)
    if arguments.ear is None or arguments.out is not None:
        show(arguments, judgement)
    if judgement.verdict.refused:
        return ExitCode.REFUSED
    return ExitCode.DONE if judgement.verdict.verified else ExitCode.NOT_CHECKED


def ask(arguments: argparse.Namespace, files: Files, policy: Policy) -> Judgement:
    """Verify the enclave at a URL, and a session with it. Refused evidence has a verdict too.

    What is wrapped is the public document, which others can check; that of a session is for one client.
    Refused evidence is not wrapped.
    """
    options = files.options - {"--cmw"} | ({"--at"} if arguments.at is not None else set[str]())
    if options:
        raise UsageError(
            f"{', '.join(sorted(options))} belong to evidence in files, and {arguments.url} is none"
        )
    with connect(arguments, policy) as connection:
        try:
            public = connection.verify()
            session = connection.open()
        except VerificationError as error:
            return Judgement(error.verdict, None)
    record = cmw.evidence_document(public.evidence.encode())
    return Judgement(session.enclave.verdict, record, assurance=session.assurance)


def connect(arguments: argparse.Namespace, policy: Policy) -> Connection:
    """A connection as the options ask for it, which remembers as this user's other programs do.

    Raises UsageError, UnreachableError and MemoryFileError.
    """
    api_key: Path | None = getattr(arguments, "api_key", None)  # `verify` sends nothing that needs one
    return Connection(
        arguments.url,
        policy,
        assurance=Assurance(arguments.assurance),
        api_key=read_api_key(api_key),
        surroundings=Surroundings(memory=Memory(), tell=trust_command.show_notice),
    )


def files_of(arguments: argparse.Namespace) -> Files:
    """The files and expectations on the command line. Raises OfflineError and UsageError."""
    evidence = Path(arguments.url)
    if "://" not in arguments.url and not evidence.exists():
        raise OfflineError(f"there is no file {evidence}; a URL begins with https://")
    instance = arguments.google_instance
    return Files(
        evidence=evidence,
        certificates=tuple(arguments.certs),
        crl=arguments.crl,
        collateral=arguments.collateral,
        nonce=None if arguments.nonce is None else nonce(arguments.nonce),
        event_log=arguments.event_log,
        azure=AzureFiles(
            quote=arguments.tpm_quote,
            signature=arguments.tpm_signature,
            registers=arguments.pcrs,
            td_quote=arguments.td_quote,
            accepted=clouds.registers(arguments.pcr),
            user_data=None if arguments.user_data is None else nonce(arguments.user_data),
        ),
        google=GoogleFiles(
            instance=None if instance is None else clouds.instance(instance),
            host_record=arguments.google_host_record,
            wanted=arguments.cloud is not None,
        ),
        wraps=arguments.cmw is not None,
    )


def show(arguments: argparse.Namespace, judgement: Judgement) -> None:
    """Print every check, for a person or for a program."""
    if arguments.json:
        terminal.write_line(judgement_json(judgement.verdict, judgement.registers, judgement.assurance))
    else:
        terminal.show_verdict(judgement.verdict, arguments.url)
        if judgement.assurance is not None:
            terminal.show_assurance(judgement.assurance)
