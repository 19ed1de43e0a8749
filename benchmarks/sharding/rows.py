"""A run whose rollout is made of real responses and of the demo's chains, whose slips a calculator can mend."""

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa

from benchmarks.filter_scale.responses import batches
from spot_core.artifacts import schemas
from spot_core.config.spot import SpotConfig
from spot_core.demo import STUDENT_PATH
from spot_core.demo.chains import STEPS, draw_chain, slipped_values, write_response
from spot_core.models import load_tokenizer
from spot_core.pipeline import stages
from spot_core.pipeline.resolve import Resolver
from spot_core.runs import Run

_SLIPS = 0.5
"""Chance of each carry to be forgotten."""


def begin(store: Path, name: str, rows: int, **settings: Any) -> Run:
    """A run that is through with its rollout. Runs of one store share it.

    Its questions are the demo's and decide only under which key the rollout stands.
    """
    config = SpotConfig.from_profile(
        "demo",
        store=str(store),
        evaluate={"datasets": []},
        rectify={"oracle": {"kind": "calculator"}},
        **settings,
    )
    run = Run.create(config, name)
    stages.prepare(run)
    stages.produce(
        run,
        Resolver(run).rollout(),
        lambda writer: writer.complete_batches(_rollout(rows), statistics={"responses": rows}),
    )
    return run


def _rollout(rows: int) -> Iterator[pa.RecordBatch]:
    """Real responses, every other one replaced by a chain, with the ids of the tokenizer that measures edits."""
    tokenizer, random = load_tokenizer(STUDENT_PATH), Random(0)
    for batch in batches(rows, seed=0):
        columns = {
            name: column.to_pylist() for name, column in zip(batch.schema.names, batch.columns, strict=True)
        }
        for row in range(0, batch.num_rows, 2):
            chain = draw_chain(random, random.choice(STEPS))
            columns["question"][row] = chain.question
            columns["answer"][row] = chain.answer
            columns["response"][row] = write_response(chain, slipped_values(random, chain, _SLIPS))
        for text, ids in (("question", "prompt_token_ids"), ("response", "response_token_ids")):
            columns[ids] = tokenizer(columns[text], add_special_tokens=False)["input_ids"]
        yield pa.RecordBatch.from_pydict(
            {name: columns[name] for name in schemas.ROLLOUT.names}, schema=schemas.ROLLOUT
        )
