#!/usr/bin/env python3
"""Makes the small tokenizers of every kind in this folder, and goldens of what Hugging Face's tokenizers (0.23.3) does
with them. Needs `pip install tokenizers`. A tokenizer that stands here already is kept, so that goldens stay the same.

    make.py                     # 40 goldens each, beside the tokenizers
    make.py --long DIR COUNT    # COUNT goldens each in DIR, for OCTAVO_KIND_GOLDENS=DIR text_test --gtest_filter='*Kinds*'
"""

import json
import random
import struct
import sys
import unicodedata
from pathlib import Path
from tokenizers import *
from tokenizers import models as M, normalizers as N, pre_tokenizers as P, decoders as D, processors as X, trainers as T

text = (
    "The quick brown fox jumps over the lazy dog. Where's the library, and who's reading? "
    "A café in Zürich serves naïve guests 24 hours; prices: 3.50, 12, 1024! 你好世界 東京 한국어 "
    "Tokenizers cut words into pieces, and pieces into ids: unhappiness, unwinding, rewinding, preprocessing. "
    "Grüße aus München. Ελληνικά και русский язык. It isn't what we're used to, don't you think? "
    "Low, lower, lowest; new, newer, newest; wide, wider, widest. She sells sea shells by the sea shore. "
).strip()
lines = [s + "." for s in text.split(". ")] * 4
spec = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
out = Path(__file__).resolve().parent
toks = {}


def bert():
    t = Tokenizer(M.WordPiece(unk_token="[UNK]", max_input_chars_per_word=20))
    t.normalizer = N.BertNormalizer(lowercase=True)
    t.pre_tokenizer = P.BertPreTokenizer()
    t.decoder = D.WordPiece()
    t.train_from_iterator(lines, T.WordPieceTrainer(vocab_size=300, special_tokens=spec))
    c, s = t.token_to_id("[CLS]"), t.token_to_id("[SEP]")
    t.post_processor = X.BertProcessing(("[SEP]", s), ("[CLS]", c))
    return t


toks["wordpiece_bert"] = bert


def cased():
    t = Tokenizer(M.WordPiece(unk_token="[UNK]"))
    t.normalizer = N.Sequence([N.Nmt(), N.NFKD(), N.StripAccents()])
    t.pre_tokenizer = P.Sequence([P.WhitespaceSplit(), P.Punctuation("contiguous"), P.Digits(True)])
    t.decoder = D.WordPiece(cleanup=False)
    t.train_from_iterator(lines, T.WordPieceTrainer(vocab_size=280, special_tokens=spec))
    t.post_processor = X.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return t


toks["wordpiece_cased"] = cased


# charsmap of our own: a double-array built greedily
def darts(pairs):
    items = {k.encode(): v for k, v in pairs}
    blob = b""
    vals = {}
    for k, v in sorted(items.items()):
        vals[k] = len(blob)
        blob += v.encode() + b"\0"
    tree = {}
    for k in vals:
        n = tree
        for b in k:
            n = n.setdefault(b, {})
        n[None] = vals[k]
    units = {}
    used = set([0])

    def place(pos, node):
        labels = [0 if b is None else b for b in node]
        base = 1
        while True:
            off = pos ^ base
            if off < (1 << 21) and all((base ^ l) not in used for l in labels):
                break
            base += 1
        for l in labels:
            used.add(base ^ l)
        units[pos] = units.get(pos, 0) | (off << 10) | ((1 << 8) if None in node else 0)
        for b, ch in node.items():
            if b is None:
                units[base] = ch | (1 << 31)
            else:
                units[base ^ b] = b
        for b, ch in node.items():
            if b is not None:
                place(base ^ b, ch)

    place(0, tree)
    # leaf sits at base^0: the parent's offset
    n = (max(units) // 256 + 2) * 256
    arr = [units.get(i, 0x1FE) if i in units else 0 for i in range(n)]
    tb = b"".join(struct.pack("<I", a) for a in arr)
    return struct.pack("<I", len(tb)) + tb + blob


pairs = [
    ("Ａ", "A"),
    ("ﬁ", "fi"),
    ("①", "1"),
    ("\t", " "),
    ("\n", " "),
    ("\u00a0", " "),
    ("\u3000", " "),
    ("e\u0301", "é"),
    ("\u200b", ""),
    ("½", "1/2"),
    ("Ω", "Ω"),
    ("k", "k"),
    ("ｶ", "カ"),
    ("ｶﾞ", "ガ"),
    ("\u00ad", ""),
    ("™", "TM"),
    ("ǆ", "dž"),
]
cm = darts(pairs)


def uni(bf, pre, norm, **kw):
    t = Tokenizer(M.Unigram())
    t.normalizer = norm
    t.pre_tokenizer = pre
    sp = ["<pad>", "</s>", "<unk>"] + (["<0x%02X>" % i for i in range(256)] if bf else [])
    t.train_from_iterator(
        lines, T.UnigramTrainer(vocab_size=180 + len(sp), special_tokens=sp, unk_token="<unk>", max_piece_length=8)
    )
    if bf:
        j = json.loads(t.to_str())
        j["model"]["byte_fallback"] = True
        j["added_tokens"] = j["added_tokens"][:3]
        t = Tokenizer.from_str(json.dumps(j))
    for k, v in kw.items():
        setattr(t, k, v)
    return t


tp = X.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
toks["unigram_t5"] = lambda: uni(
    False,
    P.Sequence([P.WhitespaceSplit(), P.Metaspace(prepend_scheme="always")]),
    N.Precompiled(cm),
    decoder=D.Metaspace(),
    post_processor=tp,
)
toks["unigram_bytes"] = lambda: uni(
    True,
    P.Metaspace(prepend_scheme="first", split=False),
    N.Sequence([N.NFKC(), N.Replace(Regex(" {2,}"), " "), N.Strip(left=False)]),
    decoder=D.Sequence([D.Replace("▁", " "), D.ByteFallback(), D.Fuse(), D.Strip(" ", 1, 0)]),
    post_processor=tp,
)
toks["unigram_never"] = lambda: uni(
    False,
    P.Metaspace(prepend_scheme="never"),
    N.Sequence([N.Precompiled(cm), N.Lowercase()]),
    decoder=D.Metaspace(prepend_scheme="never"),
    post_processor=X.RobertaProcessing(("</s>", 1), ("<pad>", 0)),
)


def wl():
    t = Tokenizer(M.WordLevel(unk_token="[UNK]"))
    t.pre_tokenizer = P.Whitespace()
    t.normalizer = N.Sequence([N.NFD(), N.StripAccents(), N.Lowercase()])
    t.train_from_iterator(lines, T.WordLevelTrainer(special_tokens=spec))
    return t


toks["wordlevel"] = wl


def delim():
    t = Tokenizer(M.WordPiece(unk_token="[UNK]", continuing_subword_prefix="@@"))
    t.pre_tokenizer = P.Sequence([P.CharDelimiterSplit(" "), P.Punctuation("merged_with_previous"), P.FixedLength(6)])
    t.train_from_iterator(
        lines, T.WordPieceTrainer(vocab_size=260, special_tokens=spec, continuing_subword_prefix="@@")
    )
    t.normalizer = N.BertNormalizer(lowercase=False, strip_accents=None, clean_text=True, handle_chinese_chars=False)
    t.decoder = D.WordPiece(prefix="@@")
    return t


toks["wordpiece_delimiter"] = delim
rng = random.Random(7)
parts = text.split(" ") + [
    " ",
    "  ",
    "\n",
    "\t",
    "\u00a0",
    "\u3000",
    ".",
    ",",
    "!",
    "?",
    "'s",
    " n't",
    "--",
    "…",
    "“",
    "”",
    "«",
    "€",
    "é",
    "e\u0301",
    "É",
    "ﬁ",
    "①",
    "½",
    "ｶ",
    "ｶﾞ",
    "Ａ",
    "\u200b",
    "\u00ad",
    "™",
    "ǆ",
    "你",
    "好",
    "㐀",
    "\U00020001",
    "👍",
    "👨\u200d👩",
    "12",
    "3",
    "٣",
    "Ⅷ",
    "²",
    "İ",
    "ß",
    "ÅNGSTRÖM",
    "\x01",
    "\x7f",
    "\ufffd",
    "\ufeff",
    "ก็",
    "हिन्दी",
    "[UNK]",
    "[SEP]",
    "</s>",
    "<unk>",
    "▁",
    "▁the",
    "##ing",
    "_",
    "-",
    "x" * 25,
    "\r\n",
    "\u0301",
    "\u0323",
    "k",
    "k\u0301",
    "Ω",
    "\u2028",
    "\u0085",
]


def rand_char(ranges):
    # Assigned characters only: what a newer Unicode adds, the two sides' tables know at different times.
    while True:
        char = chr(rng.randrange(*rng.choice(ranges)))
        if unicodedata.category(char) not in ("Cn", "Cs"):
            return char


def rand():
    s = ""
    for _ in range(rng.randrange(1, 14)):
        r = rng.random()
        if r < 0.08:
            s += rand_char([(1, 0x600), (0x1E00, 0x2E00), (0x3000, 0x3400), (0xF900, 0xFB00)])
        elif r < 0.11:
            s += rand_char([(1, 0xD800), (0xE000, 0x20000)])
        else:
            s += rng.choice(parts) + rng.choice(["", " "])
    return s


def golden(t, text):
    full, bare = t.encode(text), t.encode(text, add_special_tokens=False)
    return dict(
        text=text,
        ids=full.ids,
        ids_no_special=bare.ids,
        decoded=t.decode(full.ids, skip_special_tokens=False),
        decoded_skip_special=t.decode(full.ids, skip_special_tokens=True),
    )


long = sys.argv[1:2] == ["--long"]
folder, count = (Path(sys.argv[2]), int(sys.argv[3])) if long else (out, 40)
folder.mkdir(parents=True, exist_ok=True)
for name, make in toks.items():
    path = out / f"{name}.json"
    if not path.exists():
        make().save(str(path), pretty=False)
    t = Tokenizer.from_file(str(path))
    texts = [""] + lines[:6]
    texts += [rand() for _ in range(count - len(texts))]
    with open(folder / f"{name}.goldens.jsonl", "w") as file:
        file.writelines(json.dumps(golden(t, text), ensure_ascii=False) + "\n" for text in texts)
    print(name, t.get_vocab_size(), len(texts))
