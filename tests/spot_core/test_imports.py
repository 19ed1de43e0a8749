"""`import spot_core` is light, and the method knows no orchestrator."""

import ast
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "vllm", "prefect", "transformers", "deepspeed", "sympy", "pandas", "pyarrow")
SECONDS = 0.5
MODULES = sorted((ROOT / "spot_core").rglob("*.py"))


def seconds(program: str) -> float:
    """Median wall time of three fresh interpreters."""
    times = []
    for _ in range(3):
        started = time.monotonic()
        subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
        times.append(time.monotonic() - started)
    return statistics.median(times)


def test_the_package_is_imported_in_less_than_half_a_second():
    assert seconds("import spot_core") - seconds("") < SECONDS


@pytest.mark.parametrize("module", ["spot_core", "spot_core.config.spot", "spot_core.errors"])
def test_light_modules_load_nothing_heavy(module):
    program = f"import sys, {module}; print(*sorted(set(sys.modules) & set({HEAVY!r})))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == []


def imported(path: Path) -> set[str]:
    """Top-level packages that a file imports, wherever in the file."""
    packages = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            packages |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            packages.add(node.module.partition(".")[0])
    return packages


def test_the_method_knows_no_orchestrator():
    outside = {"prefect", "flows", "tasks", "deployments"}
    offenders = {str(path.relative_to(ROOT)): imported(path) & outside for path in MODULES}
    assert len(offenders) > 50
    assert not {path: packages for path, packages in offenders.items() if packages}
