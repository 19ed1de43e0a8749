"""Words that decide how the numbers beside them are read."""

# fmt: off
# They cannot stand between an operand and its operator: after them a new phrase begins.
PHRASE_WORDS = frozenset([
    "and", "or", "but", "so", "then", "thus", "hence", "therefore", "because", "since",
    "if", "when", "while", "where", "which", "that",
    "is", "are", "was", "were", "be", "been", "has", "have", "had",
    "he", "she", "it", "they", "we", "you", "i",
    "get", "gets", "got", "give", "gives", "makes", "make", "need", "needs", "left",
    "with", "times", "minus", "plus", "divided", "multiplied", "by", "equals", "equal", "than", "of", "not", "no",
])
# They change the value of the number before them: such an operand is not the written number.
SCALE_WORDS = frozenset([
    "dozen", "dozens", "hundred", "hundreds", "thousand", "thousands",
    "million", "millions", "billion", "billions", "trillion",
    "half", "halves", "quarter", "quarters", "third", "thirds", "fourth", "fourths", "fifth", "fifths",
    "tenth", "tenths", "percent", "percentage",
    "squared", "cubed", "factorial", "choose", "mod", "modulo", "remainder",
    "log", "ln", "sin", "cos", "tan", "sqrt", "root", "lcm", "gcd", "am", "pm", "point",
])
# fmt: on
