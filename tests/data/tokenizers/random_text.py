"""Random strings to compare tokenizers on: words of several scripts, white space of every kind, controls, emoji, characters
that normalisation changes, and characters from anywhere in Unicode."""

import unicodedata

WORDS = (
    "The quick brown fox jumps over the lazy dog. Where's the library, who's reading? café Zürich naïve 24 3.50 1024! "
    "你好世界 東京 한국어 日本語のテキスト カタカナ ひらがな unhappiness Grüße Ελληνικά русский isn't we're don't DON'T I'LL low "
    "lower lowest sells sea shells HelloWorld XMLHttp 中文abc ーー"
).split()
ODD = (
    [" ", "  ", "   ", "\n", "\t", "\r\n", "\n\n\n", "/\n/", "    if x:\n\t\treturn", "\u00a0", "\u3000", "▁", "▁▁"]
    + ["\0", "\x01", "\x7f", "\x85", "\u200b", "\u200d", "\ufeff", "\u2028", "\ufffd", "\u0301", "e\u0301"]
    + ["ﬁ", "①", "½", "ｶﾞ", "Ａ", "™", "ſ", "'S", "'ſ", "İ", "ß", "Ⅷ", "²", "…", "—", "«»", "12345", "٣٤"]
    + ["👍", "👨\u200d👩\u200d👧", "🇩🇪", "हिन्दी", "ก็", "العربية", "עברית", "x" * 30, "a" * 40]
    + ["<s>", "</s>", "<unk>", "<0x41>", "<|endoftext|>", "[UNK]", "[MASK]", "<pad>"]
)


def character(rng):
    """An assigned character: what a newer Unicode adds, two sides' tables know at different times. Of marks, which change
    how their neighbours normalise, only old ones."""
    blocks = [(1, 0x600)] * 4 + [(0x600, 0x3400)] * 2 + [(0x3400, 0xD800)] * 2 + [(0xE000, 0x10000), (0x10000, 0x20000)]
    while True:
        char = chr(rng.randrange(*rng.choice(blocks)))
        mark = unicodedata.category(char).startswith("M")
        if (unicodedata.ucd_3_2_0 if mark else unicodedata).category(char) not in ("Cn", "Cs", "Co"):
            return char


def text(rng, more=()):
    """`more`: strings to be used besides, as often as odd ones."""
    out = ""
    for _ in range(rng.randrange(1, 16)):
        kind = rng.random()
        if kind < 0.2:
            out += character(rng)
        elif kind < 0.45:
            out += rng.choice(ODD)
        elif kind < 0.65 and more:
            out += rng.choice(more)
        else:
            out += rng.choice(WORDS) + rng.choice(["", " "])
    return out


def texts(rng, count, more=()):
    edges = ["", " ", "  ", "▁", "a", "\n \n  "]
    return edges + [text(rng, more) for _ in range(count - len(edges))]
