"""A run whose rollout is made of real responses, as many as are wanted."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.filter_scale.responses import batches
from spot_core.artifacts import schemas
from spot_core.config.spot import SpotConfig
from spot_core.demo import STUDENT_PATH
from spot_core.models import load_tokenizer
from spot_core.pipeline import stages
from spot_core.pipeline.resolve import Resolver
from spot_core.runs import Run


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
        lambda writer: writer.complete_batches(_tokenized(rows), statistics={"responses": rows}),
    )
    return run


def _tokenized(rows: int) -> Iterator[pa.RecordBatch]:
    """The responses with the ids of the tokenizer that measures their edits."""
    tokenizer = load_tokenizer(STUDENT_PATH)
    for batch in batches(rows, seed=0):
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        for text, ids in (("question", "prompt_token_ids"), ("response", "response_token_ids")):
            encoded = tokenizer(columns[text].to_pylist(), add_special_tokens=False)["input_ids"]
            columns[ids] = pa.array(encoded, type=pa.list_(pa.int32()))
        yield pa.RecordBatch.from_arrays([columns[n] for n in schemas.ROLLOUT.names], schema=schemas.ROLLOUT)
