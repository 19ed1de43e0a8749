"""The demo's world: questions made from a seed, and a tiny student with one bad habit to cut out.

`generate` makes the questions; `STUDENT_PATH` is the shipped checkpoint; `tools/demo_student` made it.
"""

from pathlib import Path

from spot_core.demo.families import CHECKER_KIND, GENERATORS, generate

__all__ = ["CHECKER_KIND", "GENERATORS", "STUDENT_PATH", "generate"]

STUDENT_PATH = Path(__file__).parent / "student"
"""Hugging Face folder of the student that was pre-trained with seed 0."""
