import json
import random
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from codiff.errors import InputError, InputNotice
from codiff.modalities.modality import Modality
from codiff.modalities.text import PAD_ID, SPECIAL_TOKENS, TOKENIZER_FILE, TextModality, train_tokenizer

REAL = Path(__file__).parents[2].parent / "shared" / "real"
REFERENCE = Path(__file__).parents[2].parent / "shared" / "reference" / "golden"

CAPTIONS = [
    "This man has a long beard. He is in his sixties.",
    "This young lady has no beard at all.",
    "The guy looks very old and has a moustache.",
]


def tiny(max_tokens: int = 16, **options: Any) -> TextModality:
    torch.manual_seed(0)
    modality = TextModality(64, max_tokens, features=8, layers=1, heads=2, head_dim=4, **options)
    modality.tokenizer = train_tokenizer(CAPTIONS, 64)
    return modality


def test_vocabulary_is_that_of_the_most_frequent_words() -> None:
    tokenizer = train_tokenizer(iter(CAPTIONS), 10)
    assert tokenizer.get_vocab_size() == 10
    assert [tokenizer.id_to_token(token) for token in range(4)] == list(SPECIAL_TOKENS)
    assert {tokenizer.id_to_token(token) for token in range(4, 8)} == {".", "has", "a", "beard"}


def test_vocabulary_depends_on_nothing_but_the_words() -> None:
    generator = random.Random(0)
    captions = [" ".join(f"word{generator.randrange(300)}" for _ in range(8)) for _ in range(300)]
    once = train_tokenizer(captions, 100).to_str()
    generator.shuffle(captions)
    assert train_tokenizer(captions, 100).to_str() == once


@pytest.mark.parametrize(("captions", "size"), [([], 50), (["  "], 50), (CAPTIONS, 4), (CAPTIONS, -1)])
def test_vocabularies_without_words_are_refused(captions: list[str], size: int) -> None:
    with pytest.raises(InputError, match="word"):
        train_tokenizer(captions, size)


def test_reads_and_describes_captions() -> None:
    modality = tiny()
    ids = modality.read("This MAN has\n a  long beard.")
    assert (ids.dtype, ids.shape) == (torch.int64, (1, 16))
    assert modality.tokenizer is not None
    assert [modality.tokenizer.id_to_token(token) for token in ids[0, :9]] == (
        ["[CLS]", "this", "man", "has", "a", "long", "beard", ".", "[SEP]"]
    )
    assert (ids[0, 9:] == PAD_ID).all()
    assert modality.describe(ids) == "this man has a long beard."
    assert torch.equal(modality.read_all(CAPTIONS[:2]), torch.cat([modality.read(caption) for caption in CAPTIONS[:2]]))


def test_padding_and_truncation_of_a_tokenizer_are_switched_off() -> None:
    tokenizer = train_tokenizer(CAPTIONS, 64)
    tokenizer.enable_padding(length=30)
    tokenizer.enable_truncation(3)
    modality = tiny()
    modality.tokenizer = tokenizer
    assert modality.describe(modality.read(CAPTIONS[1])) == CAPTIONS[1].lower()


def test_cuts_long_texts_and_says_where() -> None:
    modality = tiny(max_tokens=8)
    with pytest.warns(
        InputNotice, match="cut after 8 tokens: kept up to 'has a long beard', not read from '. he is in'"
    ):
        ids = modality.read(CAPTIONS[0])
    assert modality.describe(ids) == "this man has a long beard"
    assert ids[0, -1] == SPECIAL_TOKENS.index("[SEP]")


@pytest.mark.parametrize(
    "text", ["beard " * 200_000, "b" * 1_000_000, " " * 1_000_000 + "beard " * 40, "beard" + " a" * 9999]
)
def test_endless_texts_are_cut_first(text: str) -> None:
    modality = tiny()
    with warnings.catch_warnings(record=True) as notices:
        warnings.simplefilter("always")
        ids = modality.read(text)
    assert ids.shape == (1, 16)
    assert "cut after" in str(notices[0].message)
    assert all(len(str(notice.message)) < 300 for notice in notices)


def test_names_unknown_words() -> None:
    with pytest.warns(InputNotice, match=r"never learned 'unicorn', 'moped'; it reads each as an unknown word"):
        tiny().read("This unicorn has a moped, unicorn.".replace(",", ""))
    words = " ".join(f"w{index}" for index in range(12))
    with pytest.warns(InputNotice, match=r"'w0', .*'w7', \.\.\.;"):
        tiny().read(words)


@pytest.mark.parametrize("text", ["", "  \n\t", "\0\x01", "\ud800", "\u200b\u0301"])
def test_empty_texts_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="leave the text out"):
        tiny().read(text)


def test_control_characters_are_removed() -> None:
    modality = tiny()
    with pytest.warns(InputNotice, match="2 control characters"):
        ids = modality.read("this\0man has\ud800a beard")
    assert modality.describe(ids) == "this man has a beard"


SHARED = tiny()


@settings(max_examples=80, deadline=None)
@given(st.text(st.characters(), max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    modality = SHARED
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputNotice)
        try:
            ids = modality.read(text)
        except InputError:
            return
    assert ids.shape == (1, 16)
    assert 0 <= ids.min() <= ids.max() < modality.vocab_size


def test_token_ids_are_checked() -> None:
    modality = tiny()
    ids = torch.arange(32).reshape(2, 16)
    assert torch.equal(modality.read(ids), ids)
    assert modality.read(ids.to(torch.int32)).dtype == torch.int64
    for wrong, message in (
        (ids.float(), "of torch.float32"),
        (ids == 1, "of torch.bool"),
        (ids[0], "shaped"),
        (ids[:0], "shaped"),
        (ids[:, :8], r"shaped \(2, 8\); an integer tensor \(n, 16\)"),
        (ids + 40, "token id 64 is unknown"),
        (ids - 1, "token id -1 is unknown"),
    ):
        with pytest.raises(InputError, match=message):
            modality.read(wrong)


@pytest.mark.parametrize("raw", [None, 3, b"bytes", {"text": "x"}, 1.5])
def test_other_types_are_refused(raw: Any) -> None:
    with pytest.raises(InputError, match="a string or an integer tensor"):
        tiny().read(raw)


def test_models_without_a_vocabulary_take_ids_only(tmp_path: Path) -> None:
    modality = TextModality(64, 16, 8, 1, 2, 4)
    with pytest.raises(InputError, match="no vocabulary"):
        modality.read("a man")
    assert modality.describe(torch.tensor([[5, 6, 0, 0]])) == "text of 2 tokens"
    modality.save_assets(tmp_path)
    loaded = tiny()
    loaded.load_assets(tmp_path)
    assert loaded.tokenizer is None


def test_assets_round_trip(tmp_path: Path) -> None:
    modality = tiny()
    modality.save_assets(tmp_path)
    loaded = TextModality(64, 16, 8, 1, 2, 4)
    loaded.load_assets(tmp_path)
    assert torch.equal(loaded.read(CAPTIONS[1]), modality.read(CAPTIONS[1]))


def test_broken_assets_are_refused(tmp_path: Path) -> None:
    modality = tiny()
    with pytest.raises(InputError, match=r"tokenizer.json is missing"):
        modality.load_assets(tmp_path)
    path = tmp_path / TOKENIZER_FILE
    for content in (b"", b"<html>", b"{}", b"\xff\xfe", b'{"model": 3}'):
        path.write_bytes(content)
        with pytest.raises(InputError, match="download it again"):
            modality.load_assets(tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        modality.load_assets(tmp_path)


def test_tokenizers_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    modality = tiny()
    modality.save_assets(tmp_path)
    with pytest.raises(InputError, match="has room for 10"):
        TextModality(10, 16, 8, 1, 2, 4).load_assets(tmp_path)
    with pytest.raises(InputError, match="no room for words"):
        TextModality(64, 2, 8, 1, 2, 4).load_assets(tmp_path)
    content = json.loads((tmp_path / TOKENIZER_FILE).read_text())
    vocabulary = content["model"]["vocab"]
    for change in ({"[PAD]": vocabulary["beard"], "beard": 0}, {"[UNK]": None}):
        changed = {token: index for token, index in (vocabulary | change).items() if index is not None}
        with pytest.raises(InputError, match=r"must have \[PAD\] with id 0, and \[UNK\]"):
            modality.tokenizer = Tokenizer(models.WordLevel(changed, unk_token="[UNK]"))


@pytest.mark.parametrize("name", ["vocab_size", "max_tokens", "features", "layers", "heads", "head_dim"])
def test_sizes_must_be_positive(name: str) -> None:
    with pytest.raises(InputError, match=name):
        Modality.create("text", {"vocab_size": 8, name: 0})


def test_encodes_tokens_in_their_order() -> None:
    modality = tiny()
    tokens = modality.encode([CAPTIONS[1], "a beard has this young lady."])
    assert tokens.shape == (2, 16, 8)
    ids = modality.read(CAPTIONS[1])
    swapped = ids[:, [0, 2, 1, *range(3, 16)]]
    assert not torch.allclose(modality(ids)[:, 5], modality(swapped)[:, 5], atol=1e-6)
    modality(ids).sum().backward()
    assert all(parameter.grad is not None for parameter in modality.parameters())


def test_case_is_kept_on_request() -> None:
    vocabulary = {token: index for index, token in enumerate((*SPECIAL_TOKENS, "Man", "man"))}
    for lower_case, expected in ((True, 5), (False, 4)):
        modality = tiny(lower_case=lower_case)
        modality.tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
        assert modality.read("Man")[0, 0] == expected


def test_expresses_the_published_encoder() -> None:
    with torch.device("meta"):
        modality = TextModality(30522, 77, features=640, layers=32, heads=8, head_dim=64)
    # The published 186,154,682 less the output layer that it never uses.
    assert sum(parameter.numel() for parameter in modality.parameters()) == 186_154_682 - 19_564_602


@pytest.mark.skipif(not REAL.is_dir(), reason="shared/real is absent: no published vocabulary to read")
def test_published_vocabulary() -> None:
    lines = (REAL / "tokenizer" / "bert-base-uncased-vocab.txt").read_text().splitlines()
    tokenizer = Tokenizer(models.WordPiece({token: index for index, token in enumerate(lines)}, unk_token="[UNK]"))
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 102), ("[CLS]", 101))
    tokenizer.decoder = decoders.WordPiece()
    modality = TextModality(30522, 77, features=8, layers=1, heads=2, head_dim=4)
    modality.tokenizer = tokenizer
    ids = modality.read("This man has a goatee.")
    assert ids[0, :5].tolist() == [101, 2023, 2158, 2038, 1037]
    assert ids[0, ids[0] != PAD_ID][-2:].tolist() == [1012, 102]
    assert modality.describe(ids) == "this man has a goatee."
