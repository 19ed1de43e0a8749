"""Arguments: a file with token ids, then model folders. Writes the logits of each beside it, as NAME.pt.

Runs under any transformers, in an environment without this project.
"""

import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def main(ids_path: str, *folders: str) -> None:
    ids = torch.load(ids_path)
    for folder in map(Path, folders):
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        with torch.no_grad():
            logits = model(input_ids=ids).logits
        tokens = AutoTokenizer.from_pretrained(folder)("12 + 34 = 46<|end|>").input_ids
        torch.save({"logits": logits, "tokens": tokens}, folder.with_suffix(".pt"))


if __name__ == "__main__":
    main(*sys.argv[1:])
