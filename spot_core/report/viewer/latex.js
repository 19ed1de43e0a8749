// LaTeX as a line of plain characters: \frac{a+1}{2} is (a+1)/2, x^{10} is x¹⁰. What is not known stays as it is.

const MOST_READABLE = 200000; // characters of a text that is still looked through
const MOST_FORMULA = 4000; // characters between the delimiters of one formula
const MOST_NESTED = 40; // groups inside of each other; deeper ones stay as they are

const pairsOf = (words) => {
  const all = words.trim().split(/\s+/);
  return new Map(all.filter((_, n) => n % 2 === 0).map((name, n) => [name, all[2 * n + 1]]));
};

const SYMBOLS = pairsOf(`
  alpha α beta β gamma γ delta δ epsilon ε varepsilon ε zeta ζ eta η theta θ vartheta ϑ iota ι kappa κ lambda λ mu μ
  nu ν xi ξ pi π varpi ϖ rho ρ varrho ϱ sigma σ varsigma ς tau τ upsilon υ phi φ varphi φ chi χ psi ψ omega ω
  Gamma Γ Delta Δ Theta Θ Lambda Λ Xi Ξ Pi Π Sigma Σ Upsilon Υ Phi Φ Psi Ψ Omega Ω ell ℓ hbar ℏ aleph ℵ
  times × cdot · cdots ⋯ ldots … dots … dotsc … dotsb ⋯ vdots ⋮ ddots ⋱ div ÷ pm ± mp ∓ ast ∗ star ⋆ circ ∘ bullet •
  le ≤ leq ≤ leqslant ≤ ge ≥ geq ≥ geqslant ≥ ne ≠ neq ≠ approx ≈ equiv ≡ cong ≅ sim ∼ simeq ≃ propto ∝ ll ≪ gg ≫
  lt < gt > mid | nmid ∤ parallel ∥ perp ⊥ angle ∠ triangle △ square □ degree ° prime ′ infty ∞ partial ∂ nabla ∇
  in ∈ notin ∉ ni ∋ subset ⊂ subseteq ⊆ supset ⊃ supseteq ⊇ cup ∪ cap ∩ setminus ∖ emptyset ∅ varnothing ∅
  forall ∀ exists ∃ neg ¬ lnot ¬ land ∧ wedge ∧ lor ∨ vee ∨ oplus ⊕ otimes ⊗ sum ∑ prod ∏ int ∫ iint ∬ oint ∮
  to → rightarrow → longrightarrow ⟶ leftarrow ← leftrightarrow ↔ Rightarrow ⇒ Longrightarrow ⟹ implies ⟹ Leftarrow ⇐
  Leftrightarrow ⇔ iff ⟺ mapsto ↦ uparrow ↑ downarrow ↓ therefore ∴ because ∵ lfloor ⌊ rfloor ⌋ lceil ⌈ rceil ⌉
  langle ⟨ rangle ⟩ lvert | rvert | vert | lVert ‖ rVert ‖ Vert ‖ lbrace { rbrace } backslash \\ checkmark ✓ dagger †
  sin sin cos cos tan tan cot cot sec sec csc csc arcsin arcsin arccos arccos arctan arctan sinh sinh cosh cosh tanh tanh
  log log ln ln exp exp lim lim max max min min sup sup inf inf gcd gcd lcm lcm det det dim dim ker ker deg deg arg arg
  bmod mod mod mod
`);
const SPACES = new Map([[",", " "], [";", " "], [":", " "], [" ", " "], ["!", ""], ["quad", "  "], ["qquad", "    "]]);
const DROPPED = new Set(
  `left right big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr displaystyle textstyle scriptstyle limits nolimits
   rm bf it tt cal hfill noindent nonumber`.split(/\s+/),
);
const TEXT = new Set("text textbf textit textrm textsf texttt mbox hbox operatorname emph underline".split(" "));
const ALPHABETS = new Set("mathrm mathbf mathit mathsf mathtt mathcal mathfrak boldsymbol bm pmb".split(" "));
const DOUBLE = pairsOf("R ℝ N ℕ Z ℤ Q ℚ C ℂ P ℙ E 𝔼 F 𝔽");
const ACCENTS = pairsOf("overline \u0305 bar \u0305 hat \u0302 widehat \u0302 vec \u20d7 overrightarrow \u20d7 tilde \u0303 dot \u0307 ddot \u0308");
const OPENING = pairsOf("pmatrix ( bmatrix [ vmatrix | Bmatrix { cases {");
const CLOSING = pairsOf("pmatrix ) bmatrix ] vmatrix | Bmatrix }");
const SUPERSCRIPT = pairsOf(`0 ⁰ 1 ¹ 2 ² 3 ³ 4 ⁴ 5 ⁵ 6 ⁶ 7 ⁷ 8 ⁸ 9 ⁹ + ⁺ - ⁻ = ⁼ ( ⁽ ) ⁾ a ᵃ b ᵇ c ᶜ d ᵈ e ᵉ f ᶠ g ᵍ h ʰ i ⁱ j ʲ
  k ᵏ l ˡ m ᵐ n ⁿ o ᵒ p ᵖ r ʳ s ˢ t ᵗ u ᵘ v ᵛ w ʷ x ˣ y ʸ z ᶻ T ᵀ ' ′`);
const SUBSCRIPT = pairsOf(`0 ₀ 1 ₁ 2 ₂ 3 ₃ 4 ₄ 5 ₅ 6 ₆ 7 ₇ 8 ₈ 9 ₉ + ₊ - ₋ = ₌ ( ₍ ) ₎ a ₐ e ₑ h ₕ i ᵢ j ⱼ k ₖ l ₗ m ₘ n ₙ
  o ₒ p ₚ r ᵣ s ₛ t ₜ u ᵤ v ᵥ x ₓ`);

const COMMAND = /\\(?:([A-Za-z]+)\*?|[^])/y;
const ALONE = /^(?:\d[\d.,]*|[A-Za-z]|\\[A-Za-z]+)$/; // needs no parentheses beside a slash

const takesArguments = (name) =>
  TEXT.has(name) || ALPHABETS.has(name) || ACCENTS.has(name) || /^(?:[dtc]?frac|[dt]?binom|sqrt|boxed|fbox|pmod|mathbb)$/.test(name);

// Where each brace is closed, by the place where it opens.
function braces(text) {
  const closes = new Map();
  const open = [];
  for (let at = 0; at < text.length; at++) {
    if (text[at] === "\\") at++;
    else if (text[at] === "{") open.push(at);
    else if (text[at] === "}" && open.length) closes.set(open.pop(), at);
  }
  return closes;
}

// The text in pieces {start, end, shown}, in order and without gaps. `shown` is undefined where the text itself is;
// what only the plain line needs, such as a parenthesis, may stand for no character at all.
function readable(text) {
  const pieces = [];
  const closes = braces(text);

  function keep(start, end) {
    const last = pieces.at(-1);
    if (last && last.shown === undefined) last.end = end;
    else pieces.push({ start, end });
  }
  function show(shown, start, end) {
    if (end > start || shown) pieces.push({ start, end, shown });
  }
  function commandAt(at, to) {
    COMMAND.lastIndex = at;
    const match = COMMAND.exec(text);
    return match && at + match[0].length <= to ? match : null;
  }
  // What a command or a script is about: the inside of a group, a command, or one character.
  function argument(at, to) {
    while (at < to && /\s/.test(text[at])) at++;
    if (at >= to) return null;
    if (text[at] === "{") {
      const close = closes.get(at);
      return close === undefined || close >= to ? null : { start: at + 1, end: close, next: close + 1 };
    }
    const command = text[at] === "\\" ? commandAt(at, to) : null;
    const end = command ? at + command[0].length : at + String.fromCodePoint(text.codePointAt(at)).length;
    return end <= to ? { start: at, end, next: end } : null;
  }
  const inside = (group) => text.slice(group.start, group.end).trim();

  function scan(at, to, math, depth) {
    while (at < to) {
      const character = text[at];
      if (depth > MOST_NESTED) {
        keep(at, to);
        return;
      }
      if (character === "\\") at = command(at, to, math, depth);
      else if (character === "$" && !math) at = dollars(at, to, depth);
      else if (math && (character === "^" || character === "_")) at = script(at, to, depth);
      else if (math && "{}~&".includes(character)) {
        show("{}".includes(character) ? "" : " ", at, at + 1);
        at++;
      } else keep(at, ++at);
    }
  }
  function formula(at, inner, end, next, depth) {
    while (inner < end && text[inner] === " ") inner++;
    while (end > inner && text[end - 1] === " ") end--;
    show("", at, inner);
    scan(inner, end, true, depth + 1);
    show("", end, next);
    return next;
  }
  // $…$ is a formula only if it looks like one: responses are full of prices.
  function dollars(at, to, depth) {
    const mark = text.startsWith("$$", at) ? "$$" : "$";
    const inner = at + mark.length;
    const within = text.slice(inner, Math.min(to, inner + MOST_FORMULA));
    const length = within.indexOf(mark);
    const body = within.slice(0, Math.max(0, length));
    const looks = /[\\^_{}]/.test(body) || /^[A-Za-z]$/.test(body) || /^[-\w.]+\s*[=<>+]\s*[-\w.]+$/.test(body);
    const fits = mark === "$$" || (looks && !/^\s|\s$|\n\n/.test(body));
    if (length > 0 && fits) return formula(at, inner, inner + length, inner + length + mark.length, depth);
    keep(at, inner);
    return inner;
  }
  function script(at, to, depth) {
    const group = argument(at + 1, to);
    if (!group) {
      keep(at, at + 1);
      return at + 1;
    }
    const up = text[at] === "^";
    const body = inside(group);
    const table = up ? SUPERSCRIPT : SUBSCRIPT;
    if (up && /^\\(circ|degree)$/.test(body)) show("°", at, group.next);
    else if (up && body === "\\prime") show("′", at, group.next);
    else if (body && body.length <= 8 && [...body].every((character) => table.has(character)))
      show([...body].map((character) => table.get(character)).join(""), at, group.next);
    else {
      const alone = ALONE.test(body);
      show(text[at] + (alone ? "" : "("), at, group.start);
      scan(group.start, group.end, true, depth + 1);
      show(alone ? "" : ")", group.end, group.next);
    }
    return group.next;
  }
  // `before` the group, the group itself, `after` it.
  function around(at, group, before, after, math, depth) {
    show(before, at, group.start);
    scan(group.start, group.end, math, depth + 1);
    show(after, group.end, group.next);
    return group.next;
  }
  function fraction(at, first, second, depth) {
    const alone = [first, second].map((group) => ALONE.test(inside(group)));
    // 3\frac{1}{2} must not read 31/2, nor \frac{1}{2}x 1/2x.
    const touches = /^(?:[A-Za-z0-9(]|\\(?:pi|sqrt|left|alpha|beta|theta))/.test(text.slice(second.next, second.next + 6));
    const before = at > 0 && /[\w)}]/.test(text[at - 1]) ? " " : "";
    show(before + (touches ? "(" : "") + (alone[0] ? "" : "("), at, first.start);
    scan(first.start, first.end, true, depth + 1);
    show((alone[0] ? "" : ")") + "/" + (alone[1] ? "" : "("), first.end, second.start);
    scan(second.start, second.end, true, depth + 1);
    show((alone[1] ? "" : ")") + (touches ? ")" : ""), second.end, second.next);
    return second.next;
  }
  function accented(group, mark) {
    const body = inside(group);
    return /^[A-Za-z0-9]{1,4}$/.test(body) ? [...body].map((character) => character + mark).join("") : null;
  }
  function environment(at, after, to, name) {
    const group = argument(after, to);
    if (!group) {
      keep(at, after);
      return after;
    }
    let next = group.next;
    const kind = inside(group).replace("*", "");
    const columns = name === "begin" && kind === "array" ? argument(next, to) : null;
    if (columns) next = columns.next;
    show((name === "begin" ? OPENING : CLOSING).get(kind) ?? "", at, next);
    return next;
  }
  function command(at, to, math, depth) {
    const match = commandAt(at, to);
    if (!match) {
      keep(at, at + 1);
      return at + 1;
    }
    const name = match[1] ?? match[0].slice(1);
    const after = at + match[0].length;
    if ((name === "(" || name === "[") && !math) {
      const closing = name === "(" ? "\\)" : "\\]";
      const length = text.slice(after, Math.min(to, after + MOST_FORMULA)).indexOf(closing);
      if (length >= 0) return formula(at, after, after + length, after + length + 2, depth);
    } else if (name === "\\" && math) {
      show(text[after] === "\n" ? "" : "; ", at, after);
      return after;
    } else if ("%$#&_{}".includes(name)) {
      show(name, at, after);
      return after;
    } else if (SPACES.has(name) && (math || match[1])) {
      show(SPACES.get(name), at, after);
      return after;
    } else if (name === "begin" || name === "end") {
      return environment(at, after, to, name);
    } else if (SYMBOLS.has(name)) {
      show(SYMBOLS.get(name), at, after);
      return after;
    } else if (DROPPED.has(name)) {
      const dot = (name === "left" || name === "right") && after < to && text[after] === ".";
      const end = dot ? after + 1 : after;
      show("", at, end);
      return end;
    }
    return withArguments(at, after, to, name, depth);
  }
  function withArguments(at, after, to, name, depth) {
    const first = takesArguments(name) ? argument(after, to) : null;
    if (first) {
      if (TEXT.has(name)) return around(at, first, "", "", false, depth);
      if (ALPHABETS.has(name)) return around(at, first, "", "", true, depth);
      if (name === "boxed" || name === "fbox") return around(at, first, "⟦", "⟧", true, depth);
      if (name === "pmod") return around(at, first, " (mod ", ")", true, depth);
      if (name === "mathbb" && DOUBLE.has(inside(first))) {
        show(DOUBLE.get(inside(first)), at, first.next);
        return first.next;
      }
      if (ACCENTS.has(name) && accented(first, ACCENTS.get(name))) {
        show(accented(first, ACCENTS.get(name)), at, first.next);
        return first.next;
      }
      const second = /^([dtc]?frac|[dt]?binom)$/.test(name) ? argument(first.next, to) : null;
      if (second && name.endsWith("frac")) return fraction(at, first, second, depth);
      if (second) {
        show("C(", at, first.start);
        scan(first.start, first.end, true, depth + 1);
        show(", ", first.end, second.start);
        scan(second.start, second.end, true, depth + 1);
        show(")", second.end, second.next);
        return second.next;
      }
      if (name === "sqrt") return root(at, after, to, depth);
    }
    keep(at, after);
    return after;
  }
  function root(at, after, to, depth) {
    const index = /^\[([^\]\\{}]{1,3})\]/.exec(text.slice(after, Math.min(to, after + 8)));
    const group = argument(after + (index ? index[0].length : 0), to);
    if (!group) {
      keep(at, after);
      return after;
    }
    const sign = !index ? "√" : [...index[1]].map((c) => SUPERSCRIPT.get(c) ?? c).join("") + "√";
    if (group.end === group.next) {
      show(sign, at, group.start);
      scan(group.start, group.end, true, depth + 1);
      return group.next;
    }
    const alone = ALONE.test(inside(group));
    return around(at, group, sign + (alone ? "" : "("), alone ? "" : ")", true, depth);
  }

  scan(0, text.length, false, 0);
  return pieces;
}
