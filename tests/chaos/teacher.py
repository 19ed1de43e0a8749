"""What the endpoint answers that stands in for a paid Oracle: the calculator's correction, between the markers."""

import re
from importlib.resources import files
from string import Template
from typing import Any

from spot_core.oracles.calculator import NoCorrectionError, correct
from spot_core.oracles.prompting import END, START

_PROMPT = Template(files("spot_core.oracles.prompts").joinpath("with_answer.txt").read_text(encoding="utf-8"))


def edited(body: dict[str, Any]) -> str:
    """The reply to a chat request of the Oracle; a response that the calculator leaves alone comes back as it was."""
    found = _READ.match(body["messages"][0]["content"])
    assert found is not None, "a prompt of with_answer.txt"
    response = found["response"]
    try:
        text = correct(response, found["question"])
    except NoCorrectionError:
        text = response
    return f"{START}\n{text}\n{END}"


def _pattern() -> re.Pattern[str]:
    """The prompt with its blanks as named groups."""
    blanks = {name: f"BLANK-{name}" for name in ("question", "answer", "response")}
    text = re.escape(_PROMPT.substitute(blanks, start=START, end=END))
    for name, blank in blanks.items():
        text = text.replace(re.escape(blank), f"(?P<{name}>.*?)")
    return re.compile(text, re.DOTALL)


_READ = _pattern()
