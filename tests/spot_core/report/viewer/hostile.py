"""Texts that try to break out of a page, run in it, or lie about what they are."""

TEXTS = [
    "<script>document.title = 'broken'; alert(1)</script>",
    "</script><script>document.title = 'broken'</script>",
    "<!-- <script> \u2028 document.title = 'broken' //-->",
    "<img src=x onerror=\"document.title = 'broken'\"><style>*{display:none}</style>",
    "{{rows}} {{script}} {{about}} ${document.title = 'broken'} `",
    "</title></style></textarea><svg onload=alert(1)>",
    '\\u003c/script> "],"x":[ \\',
    "\u202egnp.exe\u2066 \u200f\u061c",
    "NUL \0 bell \x07 escape \x1b[31m delete \x7f \x85",
    "line\u2028line\u2029line\rline\r\nline",
    "zero\u200bwidth \u2060 \ufeff soft\u00adhyphen \U000e0041",
    "\\frac{" * 400,
    "{" * 3000 + "$" * 3000,
    "\\(" * 500 + "^" * 500 + "_{" * 500,
    "a" * 5000,
    "שלום مرحبا 123 你好 🙂 é",
    "&lt;b&gt; &#60;script&#62; %3Cscript%3E",
    "",
    "\n\n\n",
]
