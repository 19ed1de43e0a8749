"""Names of what may be wrong with an edit although it is right and small."""

from typing import Literal, get_args

QualityFlag = Literal["answer_only", "edit_after_answer", "length_drift", "meta_talk"]
QUALITY_FLAGS: tuple[QualityFlag, ...] = get_args(QualityFlag)
"""`answer_only`: the final value changed, the reasoning still ends in the old one. `edit_after_answer`: text was added
after the final answer. `length_drift`: less than half or more than twice as long. `meta_talk`: it speaks of the repair."""
