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
    "hundred", "hundreds", "thousand", "thousands",
    "million", "millions", "billion", "billions", "trillion",
    "half", "halves", "third", "thirds", "fourth", "fourths", "fifth", "fifths",
    "tenth", "tenths", "percentage", "twice", "thrice", "double", "triple", "quadruple",
    "squared", "cubed", "factorial", "choose", "mod", "modulo", "remainder",
    "log", "ln", "sin", "cos", "tan", "sqrt", "root", "lcm", "gcd", "am", "pm", "point",
])
# They make what follows them a part of a longer expression.
BINDING_WORDS = SCALE_WORDS | frozenset(["plus", "minus", "times", "over", "power", "than"])
# `the average of 80 + 90`: what follows is their argument.
FUNCTION_WORDS = frozenset([
    "square", "cube", "root", "power", "factorial", "reciprocal", "logarithm", "value", "average", "mean", "median",
])
# After `5 + 3 is` they make a comparison of what follows, or leave it open.
COMPARING_WORDS = frozenset([
    "than", "times", "as", "more", "less", "fewer", "greater", "larger", "bigger", "smaller", "higher", "lower",
    "older", "younger", "longer", "shorter", "taller", "faster", "slower", "not", "off", "or", "if", "least", "most",
    "equal", "gross", "score", "closer", "near", "nearly", "almost", "over", "under", "above", "below", "between",
])
# `57 from 15 families`: the number after them is another one, where `5 feet 10 inches` is one quantity.
PREPOSITIONS = frozenset(["from", "in", "for", "on", "at", "after", "to", "per", "each", "every", "over", "during"])
APPROXIMATING_WORDS = frozenset(["approximately", "about", "roughly", "around"])
MODULAR_WORDS = frozenset(["mod", "modulo", "base"])
SAYS = "is"  # the text of a token that may say a result in words
# fmt: on
