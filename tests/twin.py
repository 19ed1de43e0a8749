"""The demo student whose tokenizer names another end than the one that it writes, as Gemma's and Phi's do."""

import json
import shutil
from pathlib import Path

from spot_core.demo import STUDENT_PATH

WRITTEN, NAMED = 1, 2
"""Ids of <|end|>, which the student writes and its chat template too, and of <|unk|>."""


def write_twin(folder: Path) -> Path:
    """Copies the student to ``folder``; its tokenizer's end of sequence is another token, and sampling ends at both."""
    shutil.copytree(STUDENT_PATH, folder)
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer | {"eos_token": "<|unk|>"}))
    generation = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(
        json.dumps(generation | {"eos_token_id": [NAMED, WRITTEN]})
    )
    return folder
