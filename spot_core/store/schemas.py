"""Arrow schemas of every artifact: the contract, in one place. Never inferred from data."""

import pyarrow as pa

SCHEMA_VERSION = 3

_IDS = pa.list_(pa.int32())


def _schema(*fields: tuple[str, pa.DataType], nullable: tuple[str, ...] = ()) -> pa.Schema:
    return pa.schema([pa.field(name, kind, nullable=name in nullable) for name, kind in fields])


QUESTIONS = _schema(
    ("question_id", pa.string()),
    ("question", pa.string()),
    ("answer", pa.string()),
    ("source", pa.string()),
    ("source_id", pa.string()),
    ("checker", pa.string()),
    ("metadata", pa.string()),
    nullable=("source_id", "checker", "metadata"),
)

REJECTED = _schema(
    ("file", pa.string()),
    ("line", pa.int64()),
    ("reason", pa.string()),
    ("content", pa.string()),
    nullable=("line", "content"),
)

ROLLOUT = _schema(
    ("question_id", pa.string()),
    ("sample", pa.int32()),
    ("question", pa.string()),
    ("answer", pa.string()),
    ("source", pa.string()),
    ("prompt_token_ids", _IDS),
    ("response", pa.string()),
    ("response_token_ids", _IDS),
    ("ids_sampled", pa.bool_()),
    ("finish_reason", pa.string()),
    ("seed", pa.int64()),
    ("checker", pa.string()),
    ("metadata", pa.string()),
    nullable=("seed", "checker", "metadata"),
)

VERDICT = [
    pa.field("extracted_answer", pa.string(), nullable=True),
    pa.field("method", pa.string(), nullable=False),
    pa.field("verdict", pa.string(), nullable=False),
]

FILTER = pa.schema([*ROLLOUT, *VERDICT])

PROPOSAL = _schema(
    ("attempt", pa.int32()),
    ("oracle", pa.string()),
    ("status", pa.string()),
    ("reason", pa.string()),
    ("change_ratio", pa.float64()),
    ("input_tokens", pa.int64()),
    ("output_tokens", pa.int64()),
    ("cost_usd", pa.float64()),
    nullable=("reason", "change_ratio"),
)
"""One entry of a rectified row's `history`: what an Oracle was asked for, and what became of it."""

RECTIFY = _schema(
    ("question_id", pa.string()),
    ("sample", pa.int32()),
    ("question", pa.string()),
    ("answer", pa.string()),
    ("prompt_token_ids", _IDS),
    ("response", pa.string()),
    ("response_token_ids", _IDS),
    ("rectified", pa.string()),
    ("rectified_token_ids", _IDS),
    ("status", pa.string()),
    ("reason", pa.string()),
    ("flags", pa.list_(pa.string())),
    ("change_ratio", pa.float64()),
    ("shared_prefix_tokens", pa.int32()),
    ("edit_regions", pa.int32()),
    ("attempts", pa.int32()),
    ("oracle", pa.string()),
    ("oracle_input_tokens", pa.int64()),
    ("oracle_output_tokens", pa.int64()),
    ("cost_usd", pa.float64()),
    ("history", pa.list_(pa.struct(list(PROPOSAL)))),
    nullable=(
        "rectified",
        "rectified_token_ids",
        "reason",
        "change_ratio",
        "shared_prefix_tokens",
        "edit_regions",
    ),
)

STATISTICS = _schema(
    ("table", pa.string()),
    ("group", pa.string()),
    ("figure", pa.string()),
    ("value", pa.float64()),
)
"""Figures of a report, one a row: of which table, about which rows, called what."""

REFERENCE = _schema(
    ("question_id", pa.string()),
    ("sample", pa.int32()),
    ("chosen_logprob", pa.float64()),
    ("rejected_logprob", pa.float64()),
    ("chosen_tokens", pa.int32()),
    ("rejected_tokens", pa.int32()),
)

TRAIN = _schema(
    ("step", pa.int32()),
    ("epoch", pa.float64()),
    ("loss", pa.float64()),
    ("reward_chosen", pa.float64()),
    ("reward_rejected", pa.float64()),
    ("margin", pa.float64()),
    ("accuracy", pa.float64()),
    ("delta", pa.float64()),
    ("kl", pa.float64()),
    ("lr", pa.float64()),
    ("grad_norm", pa.float64()),
    ("pairs", pa.int32()),
    ("tokens", pa.int64()),
    ("tokens_per_second", pa.float64()),
    ("mfu", pa.float64()),
    nullable=("delta", "kl", "mfu", "reward_chosen", "reward_rejected", "margin", "accuracy"),
)

EVALUATE = pa.schema(
    [
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("question_id", pa.string(), nullable=False),
        pa.field("sample", pa.int32(), nullable=False),
        pa.field("question", pa.string(), nullable=False),
        pa.field("answer", pa.string(), nullable=False),
        pa.field("response", pa.string(), nullable=False),
        pa.field("finish_reason", pa.string(), nullable=False),
        *VERDICT,
    ]
)

BY_STAGE: dict[str, pa.Schema] = {
    "questions": QUESTIONS,
    "rollout": ROLLOUT,
    "filter": FILTER,
    "rectify": RECTIFY,
    "reference": REFERENCE,
    "train": TRAIN,
    "evaluate": EVALUATE,
}
