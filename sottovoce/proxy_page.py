# SPDX-License-Identifier: Apache-2.0
"""The page that shows the verdict: for a keyboard, a phone, a screen reader, light or dark. No script."""

import base64
import hashlib
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Final

from attestation.verdict import Check, Outcome, Verdict
from sottovoce.memory import Notice
from sottovoce.one_time_keys import Assurance
from sottovoce.terminal import SIMULATED
from sottovoce.trust import model_name

STYLE: Final = """
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }
body { max-width: 50rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2rem; } h1, h2 { line-height: 1.25; }
.box { padding: .6rem 1rem; border: .2rem solid; border-radius: .4rem; font-weight: bold; }
.good { color: light-dark(#075e2c, #7fe0a3); } .bad { color: light-dark(#a3121f, #ff9aa2); }
.care { color: light-dark(#7a4100, #ffc46b); }
.simulated { background: #ffd95e; color: #201800; padding: .8rem 1.2rem; border-radius: .4rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .5rem 1.5rem; } dd { margin: 0; }
dt, small { color: light-dark(#444, #bbb); } small { font-size: .875rem; }
ul { list-style: none; padding: 0; } li { margin-bottom: .8rem; }
button { font: inherit; padding: .6rem 1rem; min-height: 2.75rem; }
:focus-visible { outline: .2rem solid; outline-offset: .2rem; }
@media (max-width: 35rem) { dl { display: block; } dd { margin-bottom: .6rem; } }
"""
_DIGEST: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS: Final = {
    "content-security-policy": f"default-src 'none'; style-src 'sha256-{_DIGEST}'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
    "referrer-policy": "same-origin",  # with no-referrer a browser says of the form that its origin is null
    "x-content-type-options": "nosniff",
}
# What a check is called, worst first, which is the order on the page.
_SIGNS: Final = {
    Outcome.FAILED: "FAIL",
    Outcome.NOT_EVALUATED: "FAIL",
    Outcome.WAIVED: "not asked for",
    Outcome.NOTED: "note",
    Outcome.PASSED: "pass",
}


@dataclass(frozen=True, slots=True)
class State:
    """How things stand. Without assurance there is no session, and `trouble` says why."""

    verdict: Verdict | None
    assurance: Assurance | None
    trouble: str | None
    notices: tuple[Notice, ...] = ()


def page(url: str, endpoint: str, state: State, now: float) -> str:
    """The page about the enclave at `url`, as of `now` in unix seconds; programs are told `endpoint`."""
    verdict, assurance = state.verdict, state.assurance
    good = assurance is not None and verdict is not None
    says = "VERIFIED" if good else "NOT VERIFIED: nothing is sent"
    parts = [
        f'<p class="box {"good" if good else "bad"}">{says}</p>',
        "" if state.trouble is None else f"<p>{escape(state.trouble)}</p>",
        f'<p class="simulated">{escape(SIMULATED)}</p>' if verdict is not None and verdict.simulated else "",
        "".join(map(_notice, state.notices)),
        _details(state, endpoint, now),
        '<form method="post" action="/verify"><button>Verify again</button></form>',
        "" if verdict is None else _checks(verdict.checks),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{says.partition(':')[0]} - Sottovoce</title>"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body><main><h1>Is {escape(url)} what it says it is?</h1>"
        f"{''.join(parts)}</main></body></html>"
    )


def _notice(notice: Notice) -> str:
    return f'<p class="{"box care" if notice.is_warning else "note"}">{escape(notice.line())}</p>'


def _details(state: State, endpoint: str, now: float) -> str:
    verdict, assurance = state.verdict, state.assurance
    moment = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    rows = [("This page is of", moment)]
    if verdict is not None and assurance is not None:
        rows += [("For programs", f"<code>{escape(endpoint)}</code>")]
        rows += [("Model", escape(model_name(verdict.claims.model)))] if verdict.claims else []
        rows += [("Assurance", escape(f"{assurance.value}: {assurance.meaning}"))]
        rows += [("Hardware", escape(verdict.tee))]
        rows += [("Measurement", f"<code>{verdict.measurement.hex()}</code>")]
    return f"<dl>{''.join(f'<dt>{name}</dt><dd>{text}</dd>' for name, text in rows)}</dl>"


def _checks(checks: tuple[Check, ...]) -> str:
    """All of them, those that failed first."""
    worst_first = [check for outcome in _SIGNS for check in checks if check.outcome is outcome]
    counts = Counter(_SIGNS[check.outcome] for check in worst_first)
    heading = ", ".join(f"{count} {sign}" for sign, count in counts.items())
    return f"<h2>Checks: {heading}</h2><ul>{''.join(map(_check, worst_first))}</ul>"


def _check(check: Check) -> str:
    kind = "good" if check.ok else "care" if check.waived else "bad"
    return (
        f'<li><strong class="{kind}">{_SIGNS[check.outcome]}</strong> <b>{escape(check.name)}</b>: '
        f"{escape(check.detail)}<br><small>{escape(check.why)}</small></li>"
    )
