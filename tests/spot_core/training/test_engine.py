"""The whole stage for real: reference log-probs and training, launched under torchrun with DeepSpeed."""

from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForCausalLM

from spot_core.errors import EngineError
from spot_core.store.schemas import REFERENCE
from spot_core.training.pairs import read_pairs
from tests.spot_core.training.plain import padded_logprobs
from tests.spot_core.training.stage import PAIRS, SETTINGS, STEPS, TOO_LONG, Stage

pytestmark = pytest.mark.engine


def test_reference_logprobs_are_those_of_the_plain_model(stage: Stage) -> None:
    table = pq.read_table(stage.reference)
    assert table.schema.equals(REFERENCE)
    pairs = read_pairs([stage.pairs])[:PAIRS]
    model = AutoModelForCausalLM.from_pretrained(stage.model, dtype=torch.float64)
    with torch.no_grad():
        expected = padded_logprobs(model, pairs)
    assert table["question_id"].to_pylist() == [pair.question_id for pair in pairs]
    assert table["chosen_logprob"].to_pylist() == pytest.approx(expected[:, 0].tolist(), rel=1e-5)
    assert table["rejected_logprob"].to_pylist() == pytest.approx(expected[:, 1].tolist(), rel=1e-5)


def test_a_pair_over_the_context_is_set_aside_with_the_reason(stage: Stage) -> None:
    (dropped,) = pq.read_table(stage.folder / "reference" / "dropped.parquet").to_pylist()
    assert dropped["question_id"] == TOO_LONG.question_id
    assert "31 tokens" in dropped["reason"] and "context_length of 30" in dropped["reason"]


def test_checkpoint_is_a_whole_model_folder_of_what_was_learned(
    stage: Stage, undisturbed: list[dict[str, Any]]
) -> None:
    assert [row["step"] for row in undisturbed] == list(range(STEPS))
    assert [row["pairs"] for row in undisturbed][:6] == [8, 8, 8, 8, 8, 1]
    assert undisturbed[-1]["loss"] < undisturbed[0]["loss"]
    folder = stage.folder / "undisturbed" / "checkpoint"
    assert (folder / "chat_template.jinja").read_text() == "{{ messages }}"
    assert not list((stage.folder / "undisturbed").glob("*.tmp"))
    trained = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
    before = AutoModelForCausalLM.from_pretrained(stage.model, dtype=torch.float64)
    pairs = read_pairs([stage.pairs])[:PAIRS]
    with torch.no_grad():
        rewards = SETTINGS.beta * (padded_logprobs(trained, pairs) - padded_logprobs(before, pairs))
    assert (rewards[:, 0] - rewards[:, 1]).mean().item() > 0.9 * undisturbed[-2]["margin"] > 0


def test_a_stale_reference_stops_the_run_with_a_diagnosis(stage: Stage) -> None:
    other = Stage(stage.folder / "other")
    table = pq.read_table(stage.reference)
    at = table.schema.get_field_index("chosen_logprob")
    shifted = [value - 1.0 for value in table["chosen_logprob"].to_pylist()]
    other.reference.parent.mkdir(parents=True)
    pq.write_table(
        table.set_column(at, table.schema.field(at), [shifted]),
        other.reference,
    )
    with pytest.raises(EngineError) as error:
        other.train("stale", ranks=1)
    first_line = str(error.value).splitlines()[0]
    assert "the reference log-probs are not this model's" in first_line and "Compute them again" in first_line
