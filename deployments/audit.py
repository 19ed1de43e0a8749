"""Known vulnerabilities of the packages that the constraints pin: `make audit`.

Findings are shown and fail nothing: most have no newer version that fits yet, and new ones must not break a build of
yesterday. What was not checked is said, with the reason, and never looks like "nothing found".
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

CONSTRAINTS = Path(__file__).parent / "constraints"
CONTROL = "jinja2==2.10"
"""Known to be vulnerable since 2019: a service that does not say so (an index mirror without these data) says nothing."""
_SECONDS = 120
_MOST_NAMED = 5
_OF_THE_SERVICE = re.compile(r"ConnectionError|Timeout|Could not connect|ServiceError|RetryError|SSLError")


class NotCheckedError(Exception):
    """The service of vulnerabilities could not be asked, or knows nothing."""


class AuditError(Exception):
    """pip-audit itself failed."""


@dataclass(frozen=True)
class Finding:
    """One vulnerability of one pinned package."""

    package: str
    vulnerability: str
    fixed_in: str


@dataclass(frozen=True)
class Audit:
    """What a service knows of the pins."""

    checked: int
    skipped: list[str]
    """Packages that the service does not know."""
    findings: list[Finding]


def pins(folder: Path = CONSTRAINTS) -> list[str]:
    """Every `name==version` that the constraints of any device pin."""
    lines = [
        line.strip() for name in ("cpu", "gpu") for line in (folder / f"{name}.txt").read_text().splitlines()
    ]
    return sorted({line for line in lines if line and not line.startswith("#")})


def ask(service: list[str], pinned: list[str]) -> Audit:
    """Asks one service, given as pip-audit's options, about pinned packages.

    Raises:
        NotCheckedError: it cannot be reached, or fails.
        AuditError: pip-audit failed for another reason.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(pinned) + "\n")
        file.flush()
        command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--no-deps", "--format", "json"]
        command += ["--progress-spinner", "off", "--requirement", file.name, *service]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            raise NotCheckedError(f"no answer within {_SECONDS} s") from error
    try:  # the exit status is 1 for findings as for faults
        answer = json.loads(done.stdout)
    except ValueError as error:
        last = (done.stderr.strip().splitlines() or ["without a word"])[-1]
        if _OF_THE_SERVICE.search(done.stderr):
            raise NotCheckedError(last) from error
        raise AuditError(f"pip-audit failed (exit status {done.returncode}): {last}") from error
    known = [package for package in answer["dependencies"] if "vulns" in package]
    return Audit(
        checked=len(known),
        skipped=sorted(package["name"] for package in answer["dependencies"] if "vulns" not in package),
        findings=[
            Finding(
                f"{package['name']} {package['version']}",
                ", ".join([found["id"], *found["aliases"]]),
                ", ".join(found["fix_versions"]) or "none yet",
            )
            for package in known
            for found in package["vulns"]
        ],
    )


def _one_version_each(pinned: list[str]) -> list[list[str]]:
    """The pins in groups, since pip-audit refuses two versions of one package."""
    groups: list[dict[str, str]] = []
    for pin in pinned:
        name = pin.split("==")[0]
        group = next((group for group in groups if name not in group), None)
        if group is None:
            groups.append(group := {})
        group[name] = pin
    return [list(group.values()) for group in groups]


def _joined(audits: list[Audit]) -> Audit:
    return Audit(
        checked=sum(audit.checked for audit in audits),
        skipped=sorted({name for audit in audits for name in audit.skipped}),
        findings=[finding for audit in audits for finding in audit.findings],
    )


def audit(services: dict[str, list[str]], pinned: list[str]) -> tuple[str, Audit]:
    """What the first service says that passes the control, with its name.

    Raises:
        NotCheckedError: none does; the message has every service's reason.
        AuditError: pip-audit failed.
    """
    reasons = []
    for name, options in services.items():
        try:
            if not ask(options, [CONTROL]).findings:
                raise NotCheckedError(f"it knows of no vulnerability of {CONTROL}, which has some")
            return name, _joined([ask(options, group) for group in _one_version_each(pinned)])
        except NotCheckedError as reason:
            reasons.append(f"{name}: {reason}")
    raise NotCheckedError("\n".join(reasons))


def show(console: Console, service: str, result: Audit) -> None:
    """Prints what was found, and what was not looked at."""
    if result.findings:
        table = Table("package", "vulnerability", "fixed in", title="Known vulnerabilities")
        for finding in sorted(result.findings, key=lambda f: f.package):
            table.add_row(finding.package, finding.vulnerability, finding.fixed_in)
        console.print(table)
    console.print(
        f"audit: {len(result.findings)} known vulnerabilities in {result.checked} packages ({service})"
    )
    if result.skipped:
        more = ", …" if len(result.skipped) > _MOST_NAMED else ""
        console.print(
            f"audit: NOT CHECKED, unknown to {service}: {len(result.skipped)} packages "
            f"({', '.join(result.skipped[:_MOST_NAMED])}{more})"
        )


def main() -> int:
    """0 whatever was found or could not be asked; 1 if pip-audit itself failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--osv-url", help="ask this service, which speaks OSV's protocol, instead of PyPI and OSV"
    )
    parser.add_argument(
        "--constraints", type=Path, default=CONSTRAINTS, help="folder with cpu.txt and gpu.txt"
    )
    given = parser.parse_args()
    services = {"PyPI": ["--vulnerability-service", "pypi"], "OSV": ["--vulnerability-service", "osv"]}
    if given.osv_url:
        services = {given.osv_url: ["--vulnerability-service", "osv", "--osv-url", given.osv_url]}
    console = Console()
    pinned = pins(given.constraints)
    try:
        show(console, *audit(services, pinned))
    except NotCheckedError as reasons:
        console.print(f"audit: NOT CHECKED, {len(pinned)} packages:", style="bold")
        console.print(str(reasons), markup=False, soft_wrap=True)
    except AuditError as error:
        console.print(f"audit: {error}", style="bold red", markup=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
