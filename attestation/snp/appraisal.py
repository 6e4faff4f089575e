# SPDX-License-Identifier: Apache-2.0
"""What an SEV-SNP report says, compared with what the policy accepts: attestation.md 7.2, in that order."""

import hmac
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final

from attestation import binding
from attestation.binding import TeeOctet
from attestation.case import Finding, NotEvaluatedError, Rule, WaivedError
from attestation.policy import AnyMachine, Product
from attestation.settings import AnyValue, Requirement
from attestation.snp.case import Commitment, NotCompared, SnpCase
from attestation.snp.policy import GUEST_BITS, PLATFORM_BITS
from attestation.snp.product import TcbError, decode_tcb
from attestation.snp.report import GuestPolicy, PlatformInfo, Report, SigningKey
from attestation.verdict import Decision, VendorRoot

MITIGATIONS_VERSION: Final = 5
MILAN_REASON: Final = (
    "whose root seed was extracted in software (arXiv 2605.12990): anybody can forge its reports at any "
    "patch level"
)
_ALIAS_CHECK: Final = PlatformInfo.ALIAS_CHECK_COMPLETE
_KNOWN_PLATFORM: Final = sum(PLATFORM_BITS.values())
# Plain numbers: an operation on a flag makes another flag, which takes ten times as long.
_GUEST_NAMES: Final = tuple((name, int(bit)) for name, bit in GUEST_BITS.items())
_PLATFORM_NAMES: Final = tuple((name, int(bit)) for name, bit in PLATFORM_BITS.items())

TEE_OCTETS: Final = MappingProxyType(
    {VendorRoot.AMD: TeeOctet.SEV_SNP, VendorRoot.SIMULATED: TeeOctet.SIMULATED}
)


def _report_data(case: SnpCase) -> Finding:
    report, wanted = case.report.need(), case.report_data
    if isinstance(wanted, NotCompared):
        raise WaivedError(f"the caller compares nothing with {report.report_data.hex()}")
    what = ""
    if isinstance(wanted, Commitment):
        if case.vendor_root is VendorRoot.UNKNOWN:
            raise NotEvaluatedError("the chain ends in no accepted root")
        what = ", which commits to these keys and claims"
        wanted = binding.report_data(
            TEE_OCTETS[case.vendor_root], binding.CACHED, wanted.configuration, binding.NO_FRESHNESS
        )
    bound = hmac.compare_digest(wanted, report.report_data)
    return Finding(bound, report.report_data.hex(), f"{wanted.hex()}{what}")


def _measurement(case: SnpCase) -> Finding:
    measurement, accepted = case.report.need().measurement, case.policy.measurements
    expected = (
        ", ".join(sorted(known.hex() for known in accepted)) or "a measurement, but the policy names none"
    )
    return Finding(measurement in accepted, measurement.hex(), expected)


def _debug(case: SnpCase) -> Finding:
    if GuestPolicy.DEBUG not in case.report.need().policy:
        return Finding(True, "debugging is off")
    return Finding(case.policy.unsafe_allow_debug, "debugging is on: the host can read the guest's memory")


def _migration_agent(case: SnpCase) -> Finding:
    report, accepted = case.report.need(), case.policy.snp.migration_agents
    if GuestPolicy.MIGRATION_AGENT not in report.policy:
        return Finding(True, "no migration agent")
    expected = " or ".join(["no migration agent", *sorted(map(bytes.hex, accepted))])
    known = report.report_id_ma in accepted
    return Finding(known, f"a migration agent is allowed: {report.report_id_ma.hex()}", expected)


def _vmpl(case: SnpCase) -> Finding:
    vmpl, accepted = case.report.need().vmpl, case.policy.snp.vmpls
    expected = (
        " or ".join(f"VMPL {level}" for level in sorted(accepted)) or "a VMPL, but the policy names none"
    )
    return Finding(vmpl in accepted, f"VMPL {vmpl}", expected)


def _chip_key_mask(case: SnpCase) -> Finding:
    masked = case.report.need().chip_key_masked
    return Finding(not masked, "the chip's key is masked" if masked else "the chip's key is in use")


def _tcb_floor(select: Callable[[Report], bytes], case: SnpCase) -> Finding:
    product = case.chain.need().product
    floor = case.policy.tcb_floors.of(product)
    tcb = decode_tcb(select(case.report.need()), product)
    return Finding(tcb.covers(floor), tcb.describe(), f"at least {floor.describe()}")


def _rollback(case: SnpCase) -> Finding:
    """A7, A8. Said and not judged: genuine machines run ahead of what they have committed to."""
    report, product = case.report.need(), case.chain.need().product
    try:
        committed, current = (decode_tcb(tcb, product) for tcb in (report.committed_tcb, report.current_tcb))
    except TcbError as error:
        raise NotEvaluatedError("a TCB version cannot be read") from error
    if committed.covers(current):
        return Finding(True, "the running firmware is committed")
    found = f"committed {committed.describe()} under the running {current.describe()}: "
    return Finding(True, f"{found}the host can go back to it", noted=True)


def _alias_check(case: SnpCase) -> Finding:
    checked = PlatformInfo.ALIAS_CHECK_COMPLETE in case.report.need().platform_info
    wish = case.policy.snp.platform.get(PlatformInfo.ALIAS_CHECK_COMPLETE, Requirement.ANY)
    found = "memory checked for aliases" if checked else "memory not checked for aliases"
    return Finding(_fits(wish, is_set=checked), found, f"alias check: {wish.value}", noted=not checked)


def _platform_info(case: SnpCase) -> Finding:
    """A9. Bits without a known meaning occur on genuine machines: they are reported, not refused."""
    info = int(case.report.need().platform_info)
    wishes: dict[PlatformInfo, Requirement] = {**case.policy.snp.platform}
    wishes.pop(_ALIAS_CHECK, None)
    fits = all(_fits(wish, is_set=bool(bit & info)) for bit, wish in wishes.items())
    unknown = info & ~_KNOWN_PLATFORM
    found = _describe_bits(_PLATFORM_NAMES, info) + (f"; unknown bits {unknown:#x}" if unknown else "")
    return Finding(fits, found, _describe_wishes(wishes), noted=bool(unknown))


def _guest_policy(case: SnpCase) -> Finding:
    report, wishes = case.report.need(), case.policy.snp.guest_policy
    fits = all(_fits(wish, is_set=bit in report.policy) for bit, wish in wishes.items())
    return Finding(fits, _describe_bits(_GUEST_NAMES, int(report.policy)), _describe_wishes(wishes))


def _abi(case: SnpCase) -> Finding:
    abi, floor = case.report.need().abi, case.policy.snp.abi
    return Finding(abi >= floor, f"ABI {abi[0]}.{abi[1]}", f"ABI {floor[0]}.{floor[1]} or later")


def _mitigations(case: SnpCase) -> Finding:
    """A11. Versions before 5 state no mitigations, so with a mask they fail."""
    report, mask = case.report.need(), case.policy.snp.mitigations
    launch, current = report.launch_mitigations, report.current_mitigations
    stated = f"{launch:#x} at launch, {current:#x} now"
    found = stated if report.version >= MITIGATIONS_VERSION else f"none stated in version {report.version}"
    return Finding(launch & current & mask == mask, found, f"at least {mask:#x} at launch and now")


def _guest_svn(case: SnpCase) -> Finding:
    found, floor = case.report.need().guest_svn, case.policy.snp.guest_svn
    return Finding(found >= floor, f"guest SVN {found}", f"guest SVN {floor} or later")


def _family(case: SnpCase) -> Finding:
    return _identity(case.report.need().family_id, case.policy.snp.family_ids)


def _image(case: SnpCase) -> Finding:
    return _identity(case.report.need().image_id, case.policy.snp.image_ids)


def _id_key(case: SnpCase) -> Finding:
    return _identity(case.report.need().id_key_digest, case.policy.snp.id_key_digests)


def _author_key(case: SnpCase) -> Finding:
    """A12. Without AUTHOR_KEY_EN the digest means nothing, so it matches no list."""
    report, accepted = case.report.need(), case.policy.snp.author_key_digests
    if report.author_key_used or isinstance(accepted, AnyValue):
        return _identity(report.author_key_digest, accepted)
    return Finding(False, "no author key", _listed(accepted))


def _host_data(case: SnpCase) -> Finding:
    return _identity(case.report.need().host_data, case.policy.snp.host_data)


def _product(case: SnpCase) -> Finding:
    product, accepted = case.chain.need().product, case.policy.products
    expected = " or ".join(sorted(known.value for known in accepted)) or "none"
    if product is Product.MILAN:
        return Finding(product in accepted, f"milan, {MILAN_REASON}", expected, noted=True)
    return Finding(product in accepted, product.value, expected)


def _machine(case: SnpCase) -> Finding:
    """A14. Where the host masks the identity, the certificate of the chip's own key still names it."""
    report, machines = case.report.need(), case.policy.machines
    chip_id = report.chip_id if any(report.chip_id) else case.chain.need().leaf.chip_id
    found = f"chip {chip_id.hex()}" if any(chip_id) else "a chip whose identity is masked"
    if isinstance(machines, AnyMachine):
        return Finding(True, f"{found}; the policy accepts any machine")
    expected = ", ".join(sorted(known.hex() for known in machines)) or "a machine, but the policy names none"
    return Finding(any(chip_id) and chip_id in machines, found, expected)


def _provider(case: SnpCase) -> Finding:
    """A14. A VLEK says whose machine signed, and not which: accepted where the policy names its owner."""
    leaf, accepted = case.chain.need().leaf, case.policy.snp.providers
    if leaf.kind is SigningKey.VCEK:
        return Finding(True, "the chip's own key, of no provider")
    if isinstance(accepted, AnyValue):
        return Finding(True, f"{leaf.provider}; the policy accepts any provider")
    expected = " or ".join(sorted(accepted)) or "a provider, but the policy names none"
    return Finding(leaf.provider in accepted, leaf.provider, expected)


def _identity(found: bytes, accepted: frozenset[bytes] | AnyValue) -> Finding:
    if isinstance(accepted, AnyValue):
        return Finding(True, f"{found.hex()}; the policy accepts any")
    return Finding(found in accepted, found.hex(), _listed(accepted))


def _listed(accepted: frozenset[bytes]) -> str:
    return " or ".join(sorted(map(bytes.hex, accepted))) or "one that the policy names, but it names none"


def _fits(wish: Requirement, *, is_set: bool) -> bool:
    return wish is Requirement.ANY or is_set == (wish is Requirement.REQUIRED)


def _describe_bits(names: tuple[tuple[str, int], ...], bits: int) -> str:
    return ", ".join(name for name, bit in names if bit & bits) or "nothing set"


def _describe_wishes(wishes: Mapping[GuestPolicy, Requirement] | Mapping[PlatformInfo, Requirement]) -> str:
    said = [f"{str(bit.name).lower()} {wish.value}" for bit, wish in wishes.items()]
    return ", ".join(said) or "anything"


# Every TCB the report states, and none compared with another: genuine machines order them differently (A8).
_TCBS: Final[tuple[tuple[str, Callable[[Report], bytes]], ...]] = (
    ("reported", lambda report: report.reported_tcb),
    ("committed", lambda report: report.committed_tcb),
    ("launch", lambda report: report.launch_tcb),
    ("current", lambda report: report.current_tcb),
)
_TCB_WHY: Final = "Older firmware has published holes through which the host can read or forge a guest."

APPRAISAL: Final[tuple[Rule[SnpCase], ...]] = (
    Rule(
        "A1",
        "report data binding",
        Decision.UNTRUSTED,
        "the expected report data",
        _report_data,
        "The hardware signed for exactly these encryption keys, so nobody between can put in their own.",
    ),
    Rule(
        "A2",
        "measurement",
        Decision.WRONG_MEASUREMENT,
        "an accepted measurement",
        _measurement,
        "The code that was started is the code you accept, to the last byte.",
    ),
    Rule(
        "A3",
        "debug",
        Decision.WRONG_PLATFORM,
        "debugging off",
        _debug,
        "The host can read and change a guest that allows debugging.",
    ),
    Rule(
        "A4",
        "migration agent",
        Decision.WRONG_PLATFORM,
        "no migration agent",
        _migration_agent,
        "A migration agent can move the guest, with its memory, to another machine.",
    ),
    Rule(
        "A5",
        "vmpl",
        Decision.WRONG_PLATFORM,
        "VMPL 0",
        _vmpl,
        "Only the most privileged level of a guest speaks for all of it.",
    ),
    Rule(
        "A6",
        "chip key mask",
        Decision.WRONG_PLATFORM,
        "the chip's key in use",
        _chip_key_mask,
        "A machine that hides its key does not sign, so a signed report that says so is inconsistent.",
    ),
    *(
        Rule(
            "A7",
            f"tcb floor ({name})",
            Decision.WRONG_PLATFORM,
            "current firmware",
            partial(_tcb_floor, select),
            _TCB_WHY,
        )
        for name, select in _TCBS
    ),
    Rule(
        "A7 A8",
        "firmware rollback",
        Decision.WRONG_PLATFORM,
        "anything: reported, not judged",
        _rollback,
        "A machine can be taken back to the firmware it has committed to, holes included.",
    ),
    Rule(
        "A9",
        "alias check",
        Decision.WRONG_PLATFORM,
        "memory checked for aliases",
        _alias_check,
        "Memory modules that lie about their size would let the host swap the guest's memory.",
    ),
    Rule(
        "A9",
        "platform info",
        Decision.WRONG_PLATFORM,
        "what the policy requires of the machine",
        _platform_info,
        "How the machine is set up decides which attacks on its memory are open.",
    ),
    Rule(
        "A10",
        "guest policy",
        Decision.WRONG_PLATFORM,
        "what the policy requires of the guest",
        _guest_policy,
        "What the guest forbids its host at launch, the host cannot do later.",
    ),
    Rule(
        "A10",
        "guest policy abi",
        Decision.WRONG_PLATFORM,
        "a known ABI",
        _abi,
        "Older firmware interfaces lack the defences that newer ones name.",
    ),
    Rule(
        "A11",
        "mitigations",
        Decision.WRONG_PLATFORM,
        "the mitigations that the policy requires",
        _mitigations,
        "Some holes are closed by a mitigation that the firmware has to confirm.",
    ),
    Rule(
        "A12",
        "guest svn",
        Decision.WRONG_MEASUREMENT,
        "a version that the policy accepts",
        _guest_svn,
        "An old version of the right image has the holes it was replaced for.",
    ),
    Rule(
        "A12",
        "family id",
        Decision.WRONG_MEASUREMENT,
        "any",
        _family,
        "The image belongs to a family that you accept.",
    ),
    Rule(
        "A12",
        "image id",
        Decision.WRONG_MEASUREMENT,
        "any",
        _image,
        "The owner named the image so.",
    ),
    Rule(
        "A12",
        "id key",
        Decision.WRONG_MEASUREMENT,
        "any",
        _id_key,
        "The key that signed for the image is one you accept.",
    ),
    Rule(
        "A12",
        "author key",
        Decision.WRONG_MEASUREMENT,
        "any",
        _author_key,
        "The key that vouches for the signing key is one you accept.",
    ),
    Rule(
        "A13",
        "host data",
        Decision.WRONG_MEASUREMENT,
        "any",
        _host_data,
        "Configuration that the measurement does not cover is bound here.",
    ),
    Rule(
        "A14",
        "product",
        Decision.WRONG_PLATFORM,
        "an accepted product",
        _product,
        "The keys of some generations of processors have been extracted.",
    ),
    Rule(
        "A14",
        "machine",
        Decision.WRONG_PLATFORM,
        "an accepted machine",
        _machine,
        "The same code on a machine in an attacker's hands is not the same.",
    ),
    Rule(
        "A14",
        "provider",
        Decision.WRONG_PLATFORM,
        "a provider that the policy names, for a key that is not the chip's own",
        _provider,
        "A provider's key says whose machine it is, and not which.",
    ),
)
