# SPDX-License-Identifier: Apache-2.0
"""The page that shows the verdict: for a keyboard, a phone, a screen reader, light or dark. No script."""

import base64
import hashlib
from html import escape
from typing import Final

from attestation.verdict import Check, Outcome, Verdict
from sottovoce.one_time_keys import Assurance
from sottovoce.terminal import SIMULATED
from sottovoce.trust import model_name

STYLE: Final = """
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.4rem; } code { overflow-wrap: anywhere; }
.state { padding: .6rem 1rem; border: .2rem solid; border-radius: .4rem; font-weight: bold; }
.good { color: light-dark(#075e2c, #7fe0a3); } .bad { color: light-dark(#a3121f, #ff9aa2); }
.simulated { background: #ffd95e; color: #201800; padding: .6rem 1rem; border-radius: .4rem; }
dt { font-weight: bold; } dd { margin: 0 0 .6rem; } li { margin-bottom: .6rem; }
small { color: light-dark(#444, #bbb); } button { font: inherit; padding: .6rem 1rem; min-height: 2.75rem; }
:focus-visible { outline: .2rem solid; outline-offset: .2rem; }
"""
_DIGEST: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS: Final = {
    "content-security-policy": f"default-src 'none'; style-src 'sha256-{_DIGEST}'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
_SIGNS: Final = {
    Outcome.PASSED: "pass",
    Outcome.NOTED: "note",
    Outcome.WAIVED: "not asked for",
    Outcome.FAILED: "FAIL",
    Outcome.NOT_EVALUATED: "FAIL",
}


def page(url: str, verdict: Verdict | None, assurance: Assurance | None, trouble: str | None) -> str:
    """The page for one state. Without assurance there is no session, and `trouble` says why."""
    good = assurance is not None and verdict is not None
    state = "VERIFIED" if good else "NOT VERIFIED: nothing is sent"
    parts = [
        f'<p class="state {"good" if good else "bad"}" role="status">{state}</p>',
        "" if trouble is None else f"<p>{escape(trouble)}</p>",
        "" if verdict is None else _verdict(verdict),
        "" if assurance is None else _details(verdict, assurance),
        '<form method="post" action="/verify"><button>Verify again</button></form>',
        "" if verdict is None else f"<h2>Checks</h2><ol>{''.join(map(_check, verdict.checks))}</ol>",
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Sottovoce</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body><main><h1>Is {escape(url)} what it says it is?</h1>"
        f"{''.join(parts)}</main></body></html>"
    )


def _verdict(verdict: Verdict) -> str:
    return f'<p class="simulated">{escape(SIMULATED)}</p>' if verdict.simulated else ""


def _details(verdict: Verdict | None, assurance: Assurance) -> str:
    rows = [("Assurance", f"{assurance.value}: {assurance.meaning}")]
    if verdict is not None:
        rows += [("Hardware", verdict.tee), ("Measurement", verdict.measurement.hex())]
        rows += [("Model", model_name(verdict.claims.model))] if verdict.claims else []
    return (
        "<dl>"
        + "".join(f"<dt>{name}</dt><dd><code>{escape(text)}</code></dd>" for name, text in rows)
        + "</dl>"
    )


def _check(check: Check) -> str:
    kind = "good" if check.outcome in (Outcome.PASSED, Outcome.NOTED) else "bad"
    return (
        f'<li><strong class="{kind}">{_SIGNS[check.outcome]}</strong> {escape(check.name)}: '
        f"<code>{escape(check.detail)}</code><br><small>{escape(check.why)}</small></li>"
    )
