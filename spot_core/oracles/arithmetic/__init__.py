"""Written arithmetic: reading it, judging it, and carrying a correction through the text.

How to read it: `carry` corrects a text. `tokens` (with `numbers`) and `finding` (with `segments`, `left_members`, `right_members`,
`reading`, `chains`) read its `equations`: `expressions` and `results`. `judging` says which of them are wrong, in the light of
`other_readings`, `units` and `misprints`. `steps` (with `links`), `mentions` and `final_answer` put right what follows, as far as
`origins` (with `givens`) can tell where a number comes from, and `rewriting` writes it.

Text is never evaluated: values are SymPy rationals made from validated digit strings.
"""
