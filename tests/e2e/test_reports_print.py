"""Reports on paper: audit.md 10 (printable HTML, pt-BR and en). The widest tables fit on A4, nothing is cut off."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from fhirserver.audit.disclosure.facts import Fact
from fhirserver.audit.disclosure.reports import REPORTS, Known, of_patient
from fhirserver.audit.disclosure.tables import Frame, write

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
START = datetime(2026, 3, 3, 12, 0, tzinfo=UTC)
A4_LANDSCAPE = {"width": 1032, "height": 703}  # CSS pixels inside margins of 12 mm
FACTS = [
    Fact(
        id=f"01a21874-6691-7069-a015-21bcc6c2a4{n:02}", at=START + timedelta(hours=9), type="110106",
        action="disclose", outcome="0", user="Practitioner/42", role="practitioner",
        client="https://login.a-long-issuer.example/realms/clinic|agenda-web", organization="Organization/1",
        recipient="Operadora de Planos de Saúde Interestadual S.A.", sent_to="https://guias.operadora.example/fhir/r4/v1",
        address="2001:db8:85a3::8a2e:370:7334", patient="Patient/77", purposes=("HPAYMT",), denied="denied-compartment",
        types=("AllergyIntolerance", "Appointment", "Condition", "DiagnosticReport", "MedicationRequest"),
        grant="2b348a5d-52b0-4d86-8b8c-2ff38e5f56e8", records=134,
    )
    for n in range(4)
]  # fmt: skip
KNOWN = Known(
    START,
    {"Practitioner/42": "Dra. Maria Antônia Wanderley", "Patient/77": "César Fábio Soares Pinto", "Organization/1": "Clínica São José"},
    protected=frozenset({"Patient/77"}),
)  # fmt: skip


@pytest.mark.skipif(BROWSER is None and not os.environ.get("CI"), reason="no chromium is installed")
def test_the_widest_reports_fit_on_paper_in_both_languages(tmp_path: Path) -> None:
    tables = [*(REPORTS[kind](FACTS, KNOWN) for kind in ("access", "disclosures"))]
    tables.append(of_patient(FACTS, KNOWN))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page(viewport=A4_LANDSCAPE)  # type: ignore[arg-type]
        page.emulate_media(media="print")
        for table in tables:
            for language in ("pt-BR", "en"):
                frame = Frame(START, START + timedelta(days=1), START, language=language)
                file = tmp_path / f"{table.kind}.html"
                file.write_bytes(write("html", [table], frame))
                page.goto(file.as_uri())
                assert page.locator("tbody tr").count() == len(FACTS)
                assert page.evaluate("document.documentElement.scrollWidth") <= A4_LANDSCAPE["width"], (
                    table.kind
                )
                head = page.evaluate("getComputedStyle(document.querySelector('thead')).display")
                assert head == "table-header-group"  # repeated on each page
        pdf = page.pdf(prefer_css_page_size=True)
        assert b"/MediaBox [0 0 841" in pdf or b"/MediaBox [0 0 842" in pdf  # landscape
        page.goto(f"data:text/html,<div style='width:{A4_LANDSCAPE['width'] + 50}px'>x</div>")
        assert (
            page.evaluate("document.documentElement.scrollWidth") > A4_LANDSCAPE["width"]
        )  # one that would not
        browser.close()
