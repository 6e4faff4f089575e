# SPDX-License-Identifier: Apache-2.0
"""`make demo`: one question through the whole path, and a search for it in everything the host had.

1. Start an enclave and a host as two programs, with a wiretap on either side of the host.
2. Verify the enclave, and show every check.
3. Ask, and stream the answer.
4. Show what the host saw.
5. Search for prompt and answer in all that the host received, wrote and holds in memory. To show that the
   search can find something, it also looks for a text that the host does know.
"""

import secrets
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from attestation.verify import VerificationError
from deploy.local import Place, StartError, enclave, free_port, host, vendor_folder
from deploy.search import Needle, forms, needles, search, search_files, search_memory
from deploy.wiretap import Place as Tapped
from deploy.wiretap import Recording, wiretap
from sottovoce import terminal
from sottovoce.session import AnswerError
from sottovoce.transport import ApiError, Connection, RefusedByHostError, Turn, UnreachableError
from sottovoce.trust import choose_policy, model_name

QUESTION = (
    "I was told in confidence (file {nonce}) that I have high blood pressure. What is high blood pressure?"
)
ANSWER_TOKENS = 120
console = Console(highlight=False)


def main() -> int:
    """Run the demonstration; 0 only if all of it succeeded."""
    console.print("[bold]Starting an enclave (SIMULATED SEV-SNP) and a host, as two separate programs ...[/]")
    try:
        with tempfile.TemporaryDirectory(prefix="sottovoce-demo-") as name:
            return demonstrate(Path(name))
    except VerificationError as error:
        terminal.show_verdict(error.verdict, "the enclave")
    except (StartError, UnreachableError, RefusedByHostError, AnswerError, ApiError) as error:
        terminal.complain(f"the demonstration failed: {error}")
    return 1


def demonstrate(folder: Path) -> int:
    """Steps 1 to 5 of the module's docstring."""
    tapped_port, link = free_port(), folder / "tapped.sock"
    place = Place(folder, vendor_folder(), free_port(), f"http://localhost:{tapped_port}")
    with (
        enclave(place),
        host(place, link=f"unix:{link}") as host_process,
        wiretap(Tapped(port=tapped_port), Tapped(port=place.port)) as outside,
        wiretap(Tapped(path=link), Tapped(path=place.enclave_socket)) as inside,
    ):
        question = QUESTION.format(nonce=secrets.token_hex(8))
        answer = converse(place, question)
        show_recording({"client and host": outside, "host and enclave": inside})
        wanted = needles("the prompt", question) + needles("the answer", answer)
        control = forms("a text the host knows", str(link))[:1]
        return show_search(
            search_host(place, host_process.pid, [outside, inside], wanted + control), wanted, control
        )


def converse(place: Place, question: str) -> str:
    """Verify, ask, and stream the answer."""
    policy = choose_policy(place.audience, file=place.policy, simulated=True)
    with Connection(place.audience, policy) as connection:
        verified = connection.verify()
        terminal.show_verdict(verified.verdict, place.audience)
        console.print(f"\n[bold]You ask:[/] {question}\n[bold]The model answers:[/] ", end="")
        start, pieces = time.monotonic(), list[str]()
        model = model_name(verified.claims.model)
        for piece in connection.chat(
            model, [Turn("user", question)], temperature=0, max_tokens=ANSWER_TOKENS
        ):
            pieces.append(piece)
            terminal.show_piece(piece)
        console.print(f"\n[dim]({len(pieces)} pieces in {time.monotonic() - start:.1f} s)[/]\n")
    return "".join(pieces)


def show_recording(recordings: dict[str, Recording]) -> None:
    """Step 4: sizes and ciphertext."""
    table = Table(title="What the host saw of it", title_justify="left")
    for column in ("between", "direction", "pieces", "bytes", "the end of it"):
        table.add_column(column)
    for between, recording in recordings.items():
        for direction, pieces in (("request", recording.forward), ("answer", recording.backward)):
            total = b"".join(pieces)
            table.add_row(between, direction, str(len(pieces)), str(len(total)), total[-24:].hex(" ", 4))
    console.print(table)


def search_host(
    place: Place, process_id: int, recordings: list[Recording], wanted: list[Needle]
) -> dict[str, list[Needle]]:
    """Step 5: what was found where."""
    return {
        "everything it received and sent": [
            found for one in recordings for found in search(one.everything(), wanted)
        ],
        "everything it wrote and logged": search_files(place.host_folder, wanted),
        "everything it holds in memory": search_memory(process_id, wanted),
    }


def show_search(found: dict[str, list[Needle]], wanted: list[Needle], control: list[Needle]) -> int:
    """Print the result; 0 where nothing leaked and the search is known to work."""
    table = Table(title="Is the prompt or the answer in what the host had?", title_justify="left")
    for column in ("searched", "forms looked for", "prompt or answer", "a text the host knows"):
        table.add_column(column)
    for where, needles_found in found.items():
        leaked = [needle for needle in needles_found if needle in wanted]
        says = "not found" if not leaked else f"FOUND as {leaked[0].form}"
        known = "found" if set(control) & set(needles_found) else "-"
        table.add_row(where, str(len(wanted)), f"[{'red' if leaked else 'green'}]{says}[/]", known)
    console.print(table)
    leaks = any(needle in wanted for needles_found in found.values() for needle in needles_found)
    works = any(set(control) & set(needles_found) for needles_found in found.values())
    if leaks or not works:
        terminal.complain(
            "the host could read along" if leaks else "the search found nothing at all, so it proves nothing"
        )
        return 1
    console.print(
        "[bold green]The host carried every byte of it and could read none.[/] [dim](SIMULATED hardware)[/]"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
