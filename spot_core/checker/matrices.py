"""Reads matrices and functions that are defined piece by piece."""

import re
from collections.abc import Iterator

from spot_core.checker.brackets import split_top
from spot_core.checker.nodes import Group, Matrix, Node, Read

_MATRIX = re.compile(
    r"\\begin\s*\{([pbB]?matrix|smallmatrix|array|cases)\}(?:\s*\{[lcr| ]*\})?(.*)\\end\s*\{\1\}", re.DOTALL
)
_NESTED_ROWS = re.compile(r"\[\s*(\[[^\[\]]*\]\s*(?:,\s*\[[^\[\]]*\]\s*)*)\]")
_CONDITION = re.compile(r"^\s*(?:if|for|when|where)\b")


def read_matrix(text: str, read: Read) -> Node | None:
    if match := _MATRIX.fullmatch(text):
        if r"\begin" in match[2]:
            return None  # a product of matrices, or a matrix of matrices
        lines = [line for line in match[2].split(r"\\") if line.strip()]
        if match[1] == "cases":
            return _piecewise(lines, text, read)
        cells: Iterator[list[str]] = (split_top(line, lambda word: word == "&") for line in lines)
    elif match := _NESTED_ROWS.fullmatch(text):
        cells = (row.split(",") for row in re.findall(r"\[([^\[\]]*)\]", match[1]))
    else:
        return None
    return Matrix(tuple(tuple(read(cell) for cell in row) for row in cells), text)


def _piecewise(lines: list[str], text: str, read: Read) -> Node | None:
    """Pairs of value and condition, in whatever order."""
    rows = [split_top(line, lambda word: word == "&") for line in lines]
    if any(len(row) != 2 for row in rows):
        return None
    pairs = [(value.rstrip(", "), _CONDITION.sub("", condition).rstrip(",. ")) for value, condition in rows]
    items = (tuple(read(part) for part in pair) for pair in pairs)
    return Group("set", tuple(Group("tuple", item, text) for item in items), text)
