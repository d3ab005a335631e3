#!/usr/bin/env python3
"""Makes the small tokenizers in this folder that are not a tokenizer.json of Hugging Face's models, and goldens of what the
Python packages make of them. Needs `pip install tokenizers==0.23.3 sentencepiece==0.2.3 tiktoken==0.14.0`. A tokenizer that
stands here already is kept, so that goldens stay the same.

    make_files.py                   # 40 goldens each, beside the tokenizers
    make_files.py --long DIR COUNT  # COUNT goldens each in DIR, for OCTAVO_KIND_GOLDENS=DIR text_test --gtest_filter='*Kinds*'
"""

import base64
import io
import json
import random
import sys
import unicodedata
from pathlib import Path

import sentencepiece
import tiktoken
from sentencepiece import sentencepiece_model_pb2 as proto
from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers import decoders as D, models as M, normalizers as N, pre_tokenizers as P, processors as X, trainers as T

import random_text

here = Path(__file__).resolve().parent
rng = random.Random(5)
corpus = [" ".join(rng.choice(random_text.WORDS) for _ in range(rng.randrange(3, 14))) for _ in range(400)]

# --- SentencePiece: name → what its trainer is told -----------------------------------------------------------------

RULES = {"Ａ": "A", "ﬁ": "fi", "①": "1", "½": "1/2", "ｶ": "カ", "ｶﾞ": "ガ", "\t": " ", "\n": " ", "\u00a0": " ",
         "\u3000": " ", "\u200b": "", "™": "TM", "e\u0301": "é", "…": "...", "«": " «", "İ": "i\u0307"}  # fmt: skip
PLAIN = dict(normalization_rule_name="identity", remove_extra_whitespaces=False)
SENTENCEPIECE = {
    "sp_unigram": dict(model_type="unigram", user_defined_symbols=["<sep>", "fo", "▁the"], control_symbols=["<ctl>"]),
    "sp_unigram_bytes": dict(model_type="unigram", byte_fallback=True, vocab_size=560, **PLAIN),
    "sp_unigram_suffix": dict(model_type="unigram", treat_whitespace_as_suffix=True),
    "sp_bpe": dict(model_type="bpe", control_symbols=["<ctl>"], unk_surface="??"),
    "sp_bpe_bytes": dict(
        model_type="bpe", byte_fallback=True, vocab_size=560, user_defined_symbols=["  ", "\n", "own f", "ab"], **PLAIN
    ),
    "sp_bpe_split": dict(model_type="bpe", split_by_whitespace=False, add_dummy_prefix=False, **PLAIN),
    "sp_bpe_unused": dict(model_type="bpe"),
}


def train_sentencepiece(name, path):
    rules = path.with_suffix(".tsv")
    rules.write_text("".join(
        " ".join(f"{ord(c):X}" for c in a) + "\t" + " ".join(f"{ord(c):X}" for c in b) + "\n" for a, b in RULES.items()
    ))  # fmt: skip
    told = dict(vocab_size=300, character_coverage=0.98, hard_vocab_limit=False, minloglevel=2)
    told |= SENTENCEPIECE[name]
    if "normalization_rule_name" not in told:
        told["normalization_rule_tsv"] = str(rules)
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(corpus), model_writer=model, **told)
    rules.unlink()
    message = proto.ModelProto.FromString(model.getvalue())
    message.normalizer_spec.ClearField("normalization_rule_tsv")
    if name == "sp_bpe_unused":
        chosen = random.Random(1)
        for piece in message.pieces:
            if piece.type == piece.NORMAL and chosen.random() < 0.3:
                piece.type = piece.UNUSED
    path.write_bytes(message.SerializeToString())


def sentencepiece_goldens(name, count):
    path = here / f"{name}.model"
    if not path.exists():
        train_sentencepiece(name, path)
    model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    pieces = [model.id_to_piece(i).replace("▁", " ") for i in range(model.get_piece_size())]
    for text in random_text.texts(random.Random(7), count, pieces):
        ids = model.encode(text)
        yield dict(text=text, ids_plain=ids, decode=ids, decoded_skip_special=model.decode(ids))


# --- tiktoken: the file's name says the pattern ---------------------------------------------------------------------

CL100K = r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"""
QWEN = r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
O200K = "|".join([
    r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?""",
    r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?""",
    r"""\p{N}{1,3}""", r""" ?[^\s\p{L}\p{N}]+[\r\n/]*""", r"""\s*[\r\n]+""", r"""\s+(?!\S)""", r"""\s+""",
])  # fmt: skip
KIMI = "[\\p{Han}]+|" + O200K.replace("\\p{M}]", "\\p{M}&&[^\\p{Han}]]").replace("[\\r\\n/]*", "[\\r\\n]*")
# name → its file, its pattern, tokenizer_config.json, and the special tokens that follow, given the number of ranks
TIKTOKEN = {
    "tiktoken_cl100k": ("cl100k_base.tiktoken", CL100K, None, lambda n: {"<|endoftext|>": 100257, "<|fim_prefix|>": 100258,
        "<|fim_middle|>": 100259, "<|fim_suffix|>": 100260, "<|endofprompt|>": 100276}),
    "tiktoken_o200k": ("o200k_base.tiktoken", O200K, None, lambda n: {"<|endoftext|>": 199999, "<|endofprompt|>": 200018}),
    "tiktoken_qwen": ("qwen.tiktoken", QWEN, {"tokenizer_class": "QWenTokenizer"}, lambda n: {
        name: n + i for i, name in enumerate(["<|endoftext|>", "<|im_start|>", "<|im_end|>"] + [f"<|extra_{i}|>" for i in range(205)])}),
    "tiktoken_kimi": ("tiktoken.model", KIMI, {"tokenizer_class": "TikTokenTokenizer", "added_tokens_decoder": {
        "500": {"content": "[BOS]", "special": True}, "510": {"content": "<|im_end|>", "special": True}}},
        lambda n: {"[BOS]": 500, "<|im_end|>": 510}
        | {f"<|reserved_token_{i}|>": i for i in range(n, n + 256) if i not in (500, 510)}),
}  # fmt: skip


def byte_level_bpe():
    """A byte-level BPE of 500 tokens, as tokenizers trains it."""
    trained = Tokenizer(M.BPE())
    trained.pre_tokenizer = P.ByteLevel(add_prefix_space=False)
    trained.train_from_iterator(corpus, T.BpeTrainer(vocab_size=500, initial_alphabet=P.ByteLevel.alphabet(), show_progress=False))
    model = json.loads(trained.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


def alphabet():
    """GPT-2's: character → byte."""
    kept = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in kept]
    return {chr(b): b for b in kept} | {chr(0x100 + i): b for i, b in enumerate(others)}


def write_json(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def make_tiktoken(name, folder):
    file, _, config, _ = TIKTOKEN[name]
    to_byte = alphabet()
    tokens = [bytes([b]) for b in range(256)]
    tokens += [bytes(to_byte[c] for c in left + right) for left, right in byte_level_bpe()[1]]
    folder.mkdir()
    (folder / file).write_text("".join(f"{base64.b64encode(t).decode()} {i}\n" for i, t in enumerate(dict.fromkeys(tokens))))
    if config:
        write_json(folder / "tokenizer_config.json", config)


def tiktoken_goldens(name, count):
    folder = here / name
    file, pattern, _, specials = TIKTOKEN[name]
    if not folder.exists():
        make_tiktoken(name, folder)
    lines = [line.split() for line in (folder / file).read_text().splitlines()]
    ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
    special_tokens = specials(len(ranks))
    encoding = tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks, special_tokens=special_tokens)
    for text in random_text.texts(random.Random(7), count, list(special_tokens)[:8]):
        read = unicodedata.normalize("NFC", text) if name == "tiktoken_qwen" else text
        ids, plain = encoding.encode(read, allowed_special="all"), encoding.encode_ordinary(read)
        yield dict(text=text, ids_no_special=ids, ids_plain=plain, decode=ids, decoded=encoding.decode(ids))


# --- vocab.json with merges.txt, and vocab.txt: name → the files beside, and what tokenizers makes of the same ---------

END = {"content": "<|end|>", "lstrip": False, "normalized": False, "rstrip": True, "single_word": False, "special": True}


def added(tokenizer, *tokens):
    tokenizer.add_tokens([AddedToken(name, **how) for name, how in tokens])
    return tokenizer


def gpt2(folder):
    t = Tokenizer(M.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
    t.pre_tokenizer, t.decoder = P.ByteLevel(add_prefix_space=True), D.ByteLevel()
    t.add_special_tokens([AddedToken("<pad>", normalized=False)])
    return added(t, ("<tool>", {}))


def qwen2(folder):
    t = Tokenizer(M.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
    t.normalizer, t.decoder = N.NFC(), D.ByteLevel()
    t.pre_tokenizer = P.Sequence([P.Split(Regex(QWEN), "isolated"), P.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.add_special_tokens([AddedToken("<|end|>", rstrip=True, normalized=False)])
    return t


def roberta(folder):
    t = Tokenizer(M.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
    t.pre_tokenizer, t.decoder = P.ByteLevel(add_prefix_space=False), D.ByteLevel()
    t.add_special_tokens([AddedToken(name, normalized=False) for name in ("<s>", "</s>", "<unk>")])
    t.post_processor = X.RobertaProcessing(("</s>", t.token_to_id("</s>")), ("<s>", t.token_to_id("<s>")), add_prefix_space=False)
    return t


def bert(folder):
    config = json.loads((folder / "tokenizer_config.json").read_text())
    lower = config.get("do_lower_case", True)
    t = Tokenizer(M.WordPiece.from_file(str(folder / "vocab.txt"), unk_token="[UNK]", max_input_chars_per_word=100))
    t.normalizer = N.BertNormalizer(lowercase=lower, strip_accents=config.get("strip_accents"),
        handle_chinese_chars=config.get("tokenize_chinese_chars", True))  # fmt: skip
    t.pre_tokenizer, t.decoder = P.BertPreTokenizer(), D.WordPiece()
    t.add_special_tokens([AddedToken(n, normalized=False) for n in ("[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]")])
    t.post_processor = X.BertProcessing(("[SEP]", t.token_to_id("[SEP]")), ("[CLS]", t.token_to_id("[CLS]")))
    return t


VOCABULARIES = {
    "vocab_gpt2": (gpt2, {
        "tokenizer_config.json": {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": True},
        "special_tokens_map.json": {"pad_token": "<pad>"}, "added_tokens.json": {"<pad>": 500, "<tool>": 501}}),
    "vocab_qwen2": (qwen2, {
        "tokenizer_config.json": {"tokenizer_class": "Qwen2TokenizerFast", "added_tokens_decoder": {"500": END}}}),
    "vocab_roberta": (roberta, {"tokenizer_config.json": {"tokenizer_class": "RobertaTokenizer"}}),
    "vocab_bert": (bert, {"tokenizer_config.json": {"tokenizer_class": "BertTokenizer"}}),
    "vocab_bert_cased": (bert, {"tokenizer_config.json": {"do_lower_case": False, "tokenize_chinese_chars": False}}),
}  # fmt: skip


def make_vocabulary(name, folder):
    folder.mkdir()
    for file, content in VOCABULARIES[name][1].items():
        write_json(folder / file, content)
    if name.startswith("vocab_bert"):
        trained = Tokenizer(M.WordPiece(unk_token="[UNK]"))
        trained.pre_tokenizer = P.BertPreTokenizer()
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        trained.train_from_iterator(corpus, T.WordPieceTrainer(vocab_size=300, special_tokens=special, show_progress=False))
        vocab = trained.get_vocab()
        (folder / "vocab.txt").write_text("".join(token + "\n" for token in sorted(vocab, key=vocab.get)))
        return
    vocab, merges = byte_level_bpe()
    if name == "vocab_roberta":
        vocab = {"<s>": 0, "</s>": 1, "<unk>": 2} | {token: i + 3 for token, i in vocab.items()}
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False) + "\n")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))


def vocabulary_goldens(name, count):
    folder = here / name
    if not folder.exists():
        make_vocabulary(name, folder)
    yield from tokenizers_goldens(VOCABULARIES[name][0](folder), count)


# --- steps of tokenizer.json that no other golden has ----------------------------------------------------------------


def scripts():
    t = Tokenizer(M.WordPiece({"[UNK]": 0, "a": 1, "##a": 2, "b": 3, "##b": 4, "ж": 5}, unk_token="[UNK]"))
    t.pre_tokenizer = P.UnicodeScripts()
    return t


def end_of_word():
    t = Tokenizer(M.BPE(unk_token="[UNK]", end_of_word_suffix="</w>"))
    t.pre_tokenizer, t.decoder = P.Whitespace(), D.BPEDecoder()
    how = T.BpeTrainer(vocab_size=300, special_tokens=["[UNK]", "<pad>"], end_of_word_suffix="</w>", show_progress=False)
    t.train_from_iterator(corpus, how)
    return t


def ctc():
    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefghijklmnopqrstuvwxyz'.,?!", " .", " n't"]
    t = Tokenizer(M.WordLevel({letter: i for i, letter in enumerate(letters)}, unk_token="<unk>"))
    t.normalizer = N.Sequence([N.Lowercase(), N.Replace(" ", "|")])
    t.pre_tokenizer, t.decoder = P.Split(Regex("."), "isolated"), D.CTC()
    t.add_special_tokens(["<pad>", "<s>", "</s>"])
    return t


STEPS = {"scripts": scripts, "end_of_word": end_of_word, "ctc": ctc}


def tokenizers_goldens(t, count):
    chosen = random.Random(9)
    for i, text in enumerate(random_text.texts(random.Random(7), count, ["<tool>", "<|end|> "])):
        ids = t.encode(text).ids
        decode = ids if i % 2 == 0 else [chosen.randrange(t.get_vocab_size()) for _ in range(chosen.randrange(10))]
        yield dict(
            text=text,
            ids=ids,
            ids_no_special=t.encode(text, add_special_tokens=False).ids,
            decode=decode,
            decoded=t.decode(decode, skip_special_tokens=False),
            decoded_skip_special=t.decode(decode, skip_special_tokens=True),
        )


def step_goldens(name, count):
    path = here / f"{name}.json"
    if not path.exists():
        STEPS[name]().save(str(path), pretty=False)
    yield from tokenizers_goldens(Tokenizer.from_file(str(path)), count)


if __name__ == "__main__":
    long = sys.argv[1:2] == ["--long"]
    folder, count = (Path(sys.argv[2]), int(sys.argv[3])) if long else (here, 40)
    folder.mkdir(parents=True, exist_ok=True)
    for names, goldens in (
        (SENTENCEPIECE, sentencepiece_goldens),
        (TIKTOKEN, tiktoken_goldens),
        (VOCABULARIES, vocabulary_goldens),
        (STEPS, step_goldens),
    ):
        for name in names:
            lines = [json.dumps(golden, ensure_ascii=False) + "\n" for golden in goldens(name, count)]
            (folder / f"{name}.goldens.jsonl").write_text("".join(lines), newline="\n")
            print(name, len(lines))
