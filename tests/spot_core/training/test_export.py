"""A checkpoint is the model that was trained, whoever loads it: transformers 5 and 4.57, and vLLM."""

import json
import logging
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import platformdirs
import pytest
import torch
from filelock import FileLock
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from spot_core.config.engine import EngineConfig
from spot_core.errors import InputError
from spot_core.inference.server import SERVED_NAME, VllmServer
from spot_core.training.export import export, exported_config
from spot_core.training.rope import fix_frequencies
from tests.spot_core.training import logits_of_folders
from tests.spot_core.training.geometries import GEOMETRIES, IDS, LAYOUTS, Layout, train, write_source

CASES = [(kind, layout) for kind in GEOMETRIES for layout in LAYOUTS]
TEXT = "12 + 34 = 46<|end|>"
every_case = pytest.mark.parametrize(("kind", "layout"), CASES)


class Exported:
    """Checkpoints of all cases, and the logits of the models that they were made from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.expected: dict[tuple[str, Layout], Tensor] = {}
        for kind, layout in CASES:
            source = write_source(kind, layout, self.path(kind, layout, "source"))
            model, weights = train(source)
            with torch.no_grad():
                self.expected[kind, layout] = model(input_ids=IDS).logits
            export(model, weights, source, self.path(kind, layout))

    def path(self, kind: str, layout: Layout, what: str = "checkpoint") -> Path:
        return self.folder / f"{kind}, {layout}" / what

    def config(self, kind: str, layout: Layout, what: str = "checkpoint") -> dict[str, Any]:
        return json.loads((self.path(kind, layout, what) / "config.json").read_text())


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return Exported(tmp_path_factory.mktemp("exported"))


@pytest.fixture(scope="session")
def python_with_transformers_4() -> Path:
    """An environment with transformers 4.57 and this environment's torch, made once."""
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        pytest.skip(f"transformers 4.57 cannot be installed: there is no {uv}")
    version = torch.__version__.partition("+")[0]
    folder = Path(platformdirs.user_cache_dir("spot-pipeline")) / f"transformers-4.57-torch-{version}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    asked = [sys.executable, "-m", "pip", "config", "get", "global.find-links"]
    found = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    links = os.environ.get("PIP_FIND_LINKS") or found
    where = ["--find-links", links] if links else ["--torch-backend", "cpu"]
    install = [uv, "pip", "install", *where, "transformers==4.57.*", f"torch=={version}", "numpy"]
    with FileLock(f"{folder}.lock"):
        if not (folder / "complete").exists():
            subprocess.run([uv, "venv", "--clear", "--python", sys.executable, folder], check=True)
            done = subprocess.run(
                [*install, "--python", folder / "bin" / "python"], capture_output=True, text=True, check=False
            )
            if "Failed to fetch" in done.stderr:
                pytest.skip(f"transformers 4.57 cannot be installed: no index answers\n{done.stderr}")
            assert done.returncode == 0, done.stderr
            (folder / "complete").touch()
    return folder / "bin" / "python"


def without_rope_theta(path: Path) -> Path:
    """A copy of the checkpoint as transformers 5 writes it."""
    faulty = path.with_name("faulty")
    faulty.mkdir()
    for file in path.iterdir():
        (faulty / file.name).symlink_to(file)
    config = json.loads((path / "config.json").read_text())
    for part in (config, config.get("text_config", {})):
        part.pop("rope_theta", None)
    (faulty / "config.json").unlink()
    (faulty / "config.json").write_text(json.dumps(config))
    return faulty


@pytest.fixture(scope="module")
def of_version_4(exported: Exported, python_with_transformers_4: Path) -> Exported:
    """``exported``, with what transformers 4.57 makes of each checkpoint beside it."""
    torch.save(IDS, exported.folder / "ids.pt")
    folders = [exported.path(*case) for case in CASES]
    folders += [without_rope_theta(exported.path(kind, "layout of 5")) for kind in GEOMETRIES]
    command = [python_with_transformers_4, logits_of_folders.__file__, exported.folder / "ids.pt", *folders]
    left_out = {"PYTHONPATH", "PYTHONDONTWRITEBYTECODE"}
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    environment |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return exported


@every_case
def test_transformers_5_gives_the_logits_of_the_trained_model(
    kind: str, layout: Layout, exported: Exported
) -> None:
    loaded = AutoModelForCausalLM.from_pretrained(exported.path(kind, layout)).eval()
    with torch.no_grad():
        logits = loaded(input_ids=IDS).logits
    torch.testing.assert_close(logits, exported.expected[kind, layout], rtol=0, atol=1e-5)


@every_case
def test_transformers_4_gives_the_logits_of_the_trained_model(
    kind: str, layout: Layout, of_version_4: Exported
) -> None:
    path, expected = of_version_4.path(kind, layout), of_version_4.expected[kind, layout]
    found = torch.load(path.with_suffix(".pt"))
    assert expected.std() > 1
    torch.testing.assert_close(found["logits"], expected, rtol=0, atol=1e-4)
    assert found["tokens"] == AutoTokenizer.from_pretrained(path)(TEXT).input_ids


@pytest.mark.parametrize("kind", GEOMETRIES)
def test_transformers_4_gives_other_logits_where_rope_theta_is_missing(
    kind: str, of_version_4: Exported
) -> None:
    """So the test above sees what it is there to see."""
    case = (kind, LAYOUTS[1])
    faulty = torch.load(of_version_4.path(*case, "faulty.pt"))
    assert (faulty["logits"] - of_version_4.expected[case]).abs().max() > 0.1


@every_case
def test_the_keys_of_version_4_give_the_frequencies_of_the_live_model(
    kind: str, layout: Layout, exported: Exported
) -> None:
    model = AutoModelForCausalLM.from_pretrained(exported.path(kind, layout, "source"))
    with torch.no_grad():
        model(input_ids=IDS)  # longrope goes over to its long factors
    config = exported.config(kind, layout)
    config = config.get("text_config", config)
    rotary = getattr(model.model, "language_model", model.model).rotary_emb
    if config["model_type"] == "gemma3_text":
        torch.testing.assert_close(rotary.sliding_attention_inv_freq, frequencies(config, local=True))
        torch.testing.assert_close(rotary.full_attention_inv_freq, frequencies(config))
    else:
        torch.testing.assert_close(rotary.inv_freq, frequencies(config))


def frequencies(config: dict[str, Any], *, local: bool = False) -> Tensor:
    """Inverse frequencies at position 96, from the keys of transformers 4 and the papers' formulas."""
    head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    size = int(head_dim * config.get("partial_rotary_factor", 1.0))
    theta = config["rope_local_base_freq"] if local else config["rope_theta"]
    plain = [theta ** (-i / size) for i in range(0, size, 2)]
    scaling = None if local else config.get("rope_scaling")
    if scaling is None:
        return torch.tensor(plain)
    factor, context = scaling.get("factor"), scaling.get("original_max_position_embeddings")
    turns = [context * frequency / (2 * math.pi) for frequency in plain] if context else []
    match scaling.get("rope_type", scaling.get("type")):
        case "linear":
            return torch.tensor([frequency / factor for frequency in plain])
        case "longrope":
            assert config["original_max_position_embeddings"] < IDS.shape[1]
            long = scaling["long_factor"]
            return torch.tensor([frequency / by for frequency, by in zip(plain, long, strict=True)])
        case "llama3":
            low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
            kept = [min(1.0, max(0.0, (number - low) / (high - low))) for number in turns]
        case "yarn":
            fast, slow = scaling.get("beta_fast") or 32, scaling.get("beta_slow") or 1
            # The dimension whose wave turns so often within the original context.
            at = [size * math.log(context / (2 * math.pi * n)) / (2 * math.log(theta)) for n in (fast, slow)]
            low, high = max(math.floor(at[0]), 0), min(math.ceil(at[1]), size - 1)
            kept = [1 - min(1.0, max(0.0, (i - low) / (high - low))) for i in range(size // 2)]
    return torch.tensor([f * (k + (1 - k) / factor) for f, k in zip(plain, kept, strict=True)])


@every_case
def test_the_source_s_config_is_changed_only_in_dtype_and_by_keys_of_version_4(
    kind: str, layout: Layout, exported: Exported
) -> None:
    before, after = exported.config(kind, layout, "source"), exported.config(kind, layout)
    added = _added(before, after)
    assert ("rope_theta" in added) == (layout == "layout of 5")
    assert added <= {
        *("rope_theta", "rope_local_base_freq", "rope_scaling", "partial_rotary_factor"),
        *(
            "original_max_position_embeddings",
            "num_experts",
            "image_token_id",
            "boi_token_id",
            "eoi_token_id",
        ),
    }


def _added(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    """Names that only ``after`` has, in its parts too; everything else must be equal but for the dtype."""
    added = after.keys() - before.keys()
    for name, old in before.items():
        if name in ("text_config", "vision_config"):
            added |= _added(old, after[name])
        else:
            assert after[name] == ("float32" if name in ("dtype", "torch_dtype") else old), name
    return added


def test_what_a_source_says_beside_is_kept(tmp_path: Path) -> None:
    source = write_source("qwen3", "layout of 4", tmp_path / "source")
    config = json.loads((source / "config.json").read_text()) | {"unknown": {"key": [1, None, "ü"]}}
    (source / "config.json").write_text(json.dumps(config))
    generation = source / "generation_config.json"
    generation.write_text(
        '{"temperature": 0.6,"do_sample": false, "eos_token_id": [1, 0]}'
    )  # refused by transformers
    model, weights = train(source)
    export(
        model, {name: weight.bfloat16() for name, weight in weights.items()}, source, tmp_path / "checkpoint"
    )
    assert json.loads((tmp_path / "checkpoint" / "config.json").read_text()) == config
    for name in ("generation_config.json", "tokenizer.json", "chat_template.jinja"):
        assert (tmp_path / "checkpoint" / name).read_bytes() == (source / name).read_bytes()


def test_a_source_that_relies_on_a_default_theta_gets_the_one_it_was_trained_with(tmp_path: Path) -> None:
    """Without one, OLMo 3 has 10,000 in version 4 and 500,000 in version 5."""
    small = dict.fromkeys(("num_hidden_layers", "num_attention_heads", "num_key_value_heads"), 2)
    small |= {"hidden_size": 32, "intermediate_size": 32, "vocab_size": 113, "model_type": "olmo3"}
    (tmp_path / "config.json").write_text(json.dumps(small))
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(tmp_path))
    assert exported_config(model, tmp_path, torch.float32)["rope_theta"] == 500000.0


def test_a_tokenizer_that_both_versions_read_is_not_touched(tmp_path: Path) -> None:
    source = write_source("qwen3", "layout of 4", tmp_path / "source")
    text = '{"tokenizer_class":"PreTrainedTokenizerFast",  "eos_token":"<|end|>", "additional_special_tokens":["+"]}'
    (source / "tokenizer_config.json").write_text(text)
    export(*train(source), source, tmp_path / "checkpoint")
    assert (tmp_path / "checkpoint" / "tokenizer_config.json").read_text() == text


def test_new_names_in_a_tokenizer_become_those_that_both_versions_read(tmp_path: Path) -> None:
    source = write_source("qwen3", "layout of 5", tmp_path / "source")
    path = source / "tokenizer_config.json"
    config = json.loads(path.read_text())
    assert config["tokenizer_class"] == "TokenizersBackend"
    path.write_text(json.dumps(config | {"extra_special_tokens": ["+"]}))
    export(*train(source), source, tmp_path / "checkpoint")
    after = json.loads((tmp_path / "checkpoint" / "tokenizer_config.json").read_text())
    expected = {"tokenizer_class": "PreTrainedTokenizerFast", "additional_special_tokens": ["+"]}
    assert after == config | expected
    both = [AutoTokenizer.from_pretrained(folder) for folder in (source, tmp_path / "checkpoint")]
    assert both[0](TEXT).input_ids == both[1](TEXT).input_ids
    assert both[0].all_special_ids == both[1].all_special_ids and len(both[0].all_special_ids) == 4


def test_a_config_that_gives_another_model_than_the_trained_one_is_refused(tmp_path: Path) -> None:
    source = write_source("qwen3", "layout of 4", tmp_path / "source")
    model, weights = train(source)
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(config | {"rope_theta": 10000, "rms_norm_eps": 1e-5}))
    with pytest.raises(
        InputError, match=r"rms_norm_eps .*1e-05, not 1e-06; rope_parameters .* not .*1000000"
    ):
        export(model, weights, source, tmp_path / "checkpoint")
    assert not (tmp_path / "checkpoint").exists()


def test_rotary_settings_without_a_form_for_version_4_are_kept_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = write_source("gemma3", "layout of 5", tmp_path / "source")
    config = json.loads((source / "config.json").read_text())
    config["rope_parameters"]["sliding_attention"] |= {"rope_type": "linear", "factor": 2.0}
    (source / "config.json").write_text(json.dumps(config))
    with caplog.at_level(logging.WARNING, "spot_core.training.export"):
        after = exported_config(train(source)[0], source, torch.float32)
    assert "load the checkpoint with transformers 5 or vLLM only" in caplog.text
    assert after == config


def ask_vllm(path: Path, ids: list[int], max_model_len: int, log_path: Path) -> tuple[Tensor, list[int]]:
    """The log-probs of ``ids`` but the first, and the greedy tokens that follow them."""
    engine = EngineConfig(dtype="float32", max_model_len=max_model_len)
    with VllmServer(path, engine, log_path=log_path) as server:
        asked = {"model": SERVED_NAME, "prompt": ids, "max_tokens": 8, "temperature": 0}
        asked |= {"prompt_logprobs": 0, "return_token_ids": True, "ignore_eos": True}
        with httpx2.Client(trust_env=False, timeout=300) as http:
            answer = http.post(f"{server.base_url}/completions", json=asked).raise_for_status().json()
    (choice,) = answer["choices"]
    by_token = zip(choice["prompt_logprobs"][1:], ids[1:], strict=True)
    return torch.tensor([of_token[str(token)]["logprob"] for of_token, token in by_token]), choice[
        "token_ids"
    ]


@torch.no_grad()
def logprobs_of(model: PreTrainedModel, ids: list[int]) -> Tensor:
    """(tokens - 1,): of ``ids`` but the first."""
    logprobs = model(input_ids=torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
    return logprobs.gather(1, torch.tensor(ids[1:])[:, None])[:, 0]


@pytest.mark.slow
@pytest.mark.engine
@pytest.mark.parametrize("kind", ["qwen3", "llama3", "gemma3", "phi3"])
def test_vllm_gives_the_logprobs_and_greedy_tokens_of_the_trained_model(
    kind: str, exported: Exported, tmp_path: Path
) -> None:
    path, ids = exported.path(kind, "layout of 5"), IDS[0].tolist()
    found, greedy = ask_vllm(path, ids, 512, tmp_path / "vllm.log")
    model = AutoModelForCausalLM.from_pretrained(path).eval()
    torch.testing.assert_close(found, logprobs_of(model, ids), rtol=0, atol=1e-3)
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids + greedy])).logits[0]
    assert greedy == logits[len(ids) - 1 : -1].argmax(-1).tolist()


@pytest.mark.slow
@pytest.mark.engine
@pytest.mark.parametrize("context", [64, 512])
def test_longrope_has_the_factors_in_training_that_vllm_samples_with(
    context: int, exported: Exported, tmp_path: Path
) -> None:
    path, ids = exported.path("phi3", "layout of 5"), IDS[0, :40].tolist()  # of an original context of 64
    found, _ = ask_vllm(path, ids, context, tmp_path / "vllm.log")
    model = AutoModelForCausalLM.from_pretrained(path).eval()
    as_transformers_does = logprobs_of(model, ids)
    fix_frequencies(model, context)
    torch.testing.assert_close(found, logprobs_of(model, ids), rtol=0, atol=1e-3)
    assert torch.allclose(found, as_transformers_does, rtol=0, atol=1e-3) == (context == 64)
