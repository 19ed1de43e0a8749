"""Names of what may be wrong with an edit although it is right and small."""

from typing import Literal, get_args

QualityFlag = Literal["answer_only", "edit_after_answer", "length_drift", "meta_talk"]
QUALITY_FLAGS: tuple[QualityFlag, ...] = get_args(QualityFlag)
