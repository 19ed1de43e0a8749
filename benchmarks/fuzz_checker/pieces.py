"""Pieces of formulas, answers and responses, out of which fuzzing and property tests make texts."""

PIECES = (
    r"\frac \sqrt \left \right \boxed{ \text{ \{ \} \( \) \[ \] \cup \pm \le \in \infty \begin{pmatrix} \end{pmatrix} \begin{cases} "
    r"\end{cases} \\ \overline \pi \circ \mathbb{R} \pmod \cdot \times \sum \binom \vec \approx \mid \setminus \angle \log_ { } ( ) [ ] $ "
    r", ; : = < > | ^ _ & % ! ' . - + * / x y a b A B i n 1 2 3 0.5 1,000 10^ e5 7:30 and or cm km p.m. dollars hours percent "
    r"negative two thirds not for all pi sin answer is Answer: #### A: <think> </think> <answer> </answer> ² ½ √ ∞ − ° € 答案"
).split()
