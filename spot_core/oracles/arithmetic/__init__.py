"""Written arithmetic: finding `a op b = c` steps in any text, checking them exactly, carrying values through.

Reading order: `numbers` → `tokens` → `expressions` → `reading` → `results` → `equations` → `finding` → `givens` →
`origins` → `carry`.
Text is never evaluated: values are SymPy rationals made from validated digit strings.
"""
