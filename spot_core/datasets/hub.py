"""Reads rows of a data set that `datasets.load_dataset` finds (hub, its cache, or a local folder)."""

from collections.abc import Iterator
from typing import Any

from spot_core.config.questions import HubQuestions
from spot_core.datasets.records import Record, RowSource, all_paths, needed_columns, not_readable

BATCH_ROWS = 1_000
_REMEDY = (
    "Check questions.name, subset, split and revision, and that this machine reaches the hub or has the data set in "
    "its cache; or download it and give the file (kind: file)."
)


def _title(source: HubQuestions) -> str:
    parts = [source.name, source.subset, source.split, source.revision]
    return "data set " + " / ".join(part for part in parts if part)


def open_hub(source: HubQuestions) -> RowSource:
    """The split's rows.

    Raises:
        InputError: there is no such data set, subset, split or revision, or it cannot be fetched.
    """
    import datasets  # noqa: PLC0415 - half a second that files need not pay

    try:
        data = datasets.load_dataset(source.name, source.subset, split=source.split, revision=source.revision)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise not_readable(_title(source), error, _REMEDY) from error
    needed = needed_columns(all_paths(source.columns), data.column_names)
    return RowSource(_title(source), source.name, _rows(data.select_columns(needed)))


def _rows(data: Any) -> Iterator[Record]:
    number = 0
    for batch in data.with_format("arrow").iter(batch_size=BATCH_ROWS):
        for content in batch.to_pylist():
            number += 1
            yield Record(number, content)


def hub_fingerprint(source: HubQuestions) -> str:
    """The hash that `datasets` gives this version of the data: of the hub's commit, or of the local files.

    Raises:
        InputError: as for `open_hub`.
    """
    import datasets  # noqa: PLC0415

    try:
        return datasets.load_dataset_builder(source.name, source.subset, revision=source.revision).hash
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise not_readable(_title(source), error, _REMEDY) from error
