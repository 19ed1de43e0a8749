"""What the rows of a source have in common, to say why nothing of it can be used."""

from collections import Counter
from collections.abc import Mapping, Sequence

from spot_core.datasets.readers import Record, is_missing, value_at
from spot_core.errors import InputError


class Census:
    """Counts the rows of a source, the columns they have, and those of ``paths`` that they lack."""

    def __init__(self, title: str, paths: Sequence[str]) -> None:
        self._title = title
        self._paths = paths
        self._columns: dict[str, None] = {}
        self._absent = Counter[str]()
        self._rows = 0

    def add(self, record: Record) -> None:
        """Takes one row into account, whether it can be read or not."""
        self._rows += 1
        if record.content is not None:
            self._columns |= dict.fromkeys(record.content)
            self._absent.update(p for p in self._paths if is_missing(value_at(record.content, p)))

    def nothing_usable(
        self, reasons: Mapping[str, int], first: tuple[int, str] | None, *, needs: str, setting: str
    ) -> InputError:
        """Why no row can be used, with the remedy.

        Args:
            reasons: rows by the reason why they cannot be used.
            first: line of the first of these rows, and what is wrong with it.
            needs: what a row has to hold.
            setting: name of the setting that maps the columns.
        """
        if first is None:
            return InputError(f"{self._title} holds no rows: it needs at least {needs}")
        nowhere = [path for path, count in self._absent.items() if count == self._rows]
        if nowhere:
            return InputError(
                f"{self._title} has no column {', '.join(map(repr, nowhere))}; it has "
                f"{', '.join(map(repr, self._columns))}: set {setting} to the names of this source"
            )
        counted = ", ".join(f"{reason} ({count})" for reason, count in Counter(reasons).most_common())
        return InputError(
            f"{self._title} holds no usable row. Of {self._rows} rows: {counted}. "
            f"The first, line {first[0]}: {first[1]}. Correct the rows, or {setting}"
        )
