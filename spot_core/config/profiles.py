"""Profiles: named YAML configurations, and how values are laid over them."""

from pathlib import Path
from typing import Any

import yaml

from spot_core.errors import ConfigError

PROFILES = Path(__file__).resolve().parents[2] / "deployments" / "profiles"


def profile_names() -> list[str]:
    """Names of the profiles that come with the project."""
    return sorted(
        path.stem for path in PROFILES.glob("[!_]*.yaml")
    )  # those with _ are only extended by others


def load_profile(name: str) -> dict[str, Any]:
    """Returns a profile's values. ``name`` is one of `profile_names` or the path of a YAML file of one's own.

    Raises:
        ConfigError: there is no such profile or file, or it is no YAML mapping.
    """
    path = Path(name).expanduser() if name.endswith((".yaml", ".yml")) else PROFILES / f"{name}.yaml"
    if path.parent != PROFILES and not name.endswith((".yaml", ".yml")):
        raise ConfigError(f"profile = {name!r}: a name, or the path of a .yaml file")
    if not path.is_file():
        raise ConfigError(
            f"profile = {name!r}: there is no file {path}; choose one of {', '.join(profile_names())} "
            "or give the path of a .yaml file"
        )
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"profile {path} is not readable YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"profile {path} must be a mapping of sections, such as 'train:'")
    base = values.pop("extends", None)
    return merge(load_profile(base), values) if base else values


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Lays ``over`` on ``base``, section by section.

    A section whose ``kind`` changes (another Oracle, another data source) is replaced whole.
    """
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        if both and not ("kind" in value and "kind" in old and value["kind"] != old["kind"]):
            result[key] = merge(old, value)
        else:
            result[key] = value
    return result
