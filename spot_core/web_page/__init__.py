"""Web pages in one file that need no network: a template with style and script, and data that cannot be markup."""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

_STYLE = "page.css"
_SCRIPT = "page.js"
_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")
# `<` could end the script element or begin a comment. The rest would let the file itself lie to whoever opens it in
# an editor (directions of writing), or is no character (lone surrogates). JSON gives all of them back.
_ESCAPED = re.compile("[<>&\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")


def fill_template(package: str, name: str, *, style: str, scripts: Sequence[str]) -> str:
    """Returns a package's HTML file with its style and scripts, which follow those of all pages, and their hashes.

    The hashes are for the page's Content-Security-Policy: only these very bytes may run. Other placeholders stay.
    """
    folder = files(package)
    shared = files(__package__)
    css = _joined(shared / _STYLE, folder / style)
    script = _joined(shared / _SCRIPT, *(folder / script for script in scripts))
    filled = {"style": css, "script": script, "style_hash": _hash(css), "script_hash": _hash(script)}
    html = _joined(folder / name)
    return _PLACEHOLDER.sub(lambda match: filled.get(match[1], match[0]), html)


def to_json(value: Any) -> str:
    """Returns JSON that can stand inside a script element of an HTML file in UTF-8, whatever texts are in it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return _ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _joined(*paths: Traversable) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


def _hash(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"
