"""The text modality: a caption of a face."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from diffusers.models.attention import BasicTransformerBlock
from tokenizers import Encoding, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor, nn

from codiff.errors import InputError, InputNotice
from codiff.modalities.modality import Modality

PAD, UNKNOWN, START, END = SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
PAD_ID = 0

TOKENIZER_FILE = "tokenizer.json"
_NO_TOKENIZER = "null"  # what the file holds for a model without a vocabulary: its absence is always a damaged folder

# Tokens are words or shorter, so this much text always holds more tokens than fit; the rest is not worth reading.
_CHARACTERS_PER_TOKEN = 100
# Control characters and lone surrogates: nobody types them, and tokenizers refuse the latter.
_UNTYPABLE = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff]")
_EMPTY = "text: it is empty; write a caption, or leave the text out of the conditions"


def train_tokenizer(captions: Iterable[str], vocab_size: int) -> Tokenizer:
    """A tokenizer of the `vocab_size` most frequent words of `captions`, special tokens included.

    Lower-cases, splits at spaces and punctuation and frames a text with [CLS] and [SEP], as BERT's does; [PAD] is 0.
    Whole words, because their training gives the same vocabulary each time (that of word pieces does not), and
    because a word the model never saw can then be named instead of being spelled in meaningless pieces.

    Raises:
        InputError: no captions, or no room for words.
    """
    if vocab_size <= len(SPECIAL_TOKENS):
        raise InputError(
            f"vocab_size {vocab_size} leaves no room for words beside {len(SPECIAL_TOKENS)} special tokens"
        )
    tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordLevelTrainer(vocab_size=vocab_size, special_tokens=list(SPECIAL_TOKENS), show_progress=False)
    tokenizer.train_from_iterator(captions, trainer)
    if tokenizer.get_vocab_size() == len(SPECIAL_TOKENS):
        raise InputError("there is not one word in the captions")
    ends = [(token, tokenizer.token_to_id(token)) for token in (START, END)]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{START} $A {END}", special_tokens=ends)
    tokenizer.decoder = decoders.WordPiece(cleanup=True)
    return tokenizer


class TextModality(Modality, name="text"):
    """Caption -> token ids -> a transformer trained from scratch -> one token for each token of text.

    Embeddings and learned positions, pre-norm self-attention blocks, a final LayerNorm. Padding takes part like any
    other token, here and in what attends to the result, so there is no attention mask. The published encoder has
    vocab_size 30522, max_tokens 77, features 640, layers 32, heads 8, head_dim 64.

    Args:
        vocab_size: token ids are 0..vocab_size - 1; 0 is padding.
        max_tokens: length that every text is cut or padded to.
        features: width of the tokens.
        layers: transformer blocks.
        heads: attention heads of a block.
        head_dim: width of a head.
        lower_case: lower-case texts before the tokenizer sees them.
    """

    def __init__(
        self,
        vocab_size: int,
        max_tokens: int = 32,
        features: int = 128,
        layers: int = 2,
        heads: int = 4,
        head_dim: int = 32,
        lower_case: bool = True,
    ) -> None:
        super().__init__()
        if min(vocab_size, max_tokens, features, layers, heads, head_dim) < 1:
            raise InputError("vocab_size, max_tokens, features, layers, heads and head_dim must all be positive")
        self.vocab_size = vocab_size
        self.max_tokens = max_tokens
        self.lower_case = lower_case
        self._tokenizer: Tokenizer | None = None
        self.token_embedding = nn.Embedding(vocab_size, features)
        self.position_embedding = nn.Embedding(max_tokens, features)
        self.blocks = nn.ModuleList(
            BasicTransformerBlock(features, heads, head_dim, activation_fn="gelu") for _ in range(layers)
        )
        self.norm = nn.LayerNorm(features)
        for embedding in (self.token_embedding, self.position_embedding):
            nn.init.normal_(embedding.weight, std=0.02)

    @property
    def tokenizer(self) -> Tokenizer | None:
        """What turns texts into ids; None in a model that takes token ids only.

        Raises:
            InputError: on setting one that has more tokens than `vocab_size`, or whose [PAD] is not 0.
        """
        return self._tokenizer

    @tokenizer.setter
    def tokenizer(self, tokenizer: Tokenizer | None) -> None:
        if tokenizer is not None:
            tokens = tokenizer.get_vocab_size()
            if tokens > self.vocab_size:
                raise InputError(f"the tokenizer has {tokens} tokens, but this model has room for {self.vocab_size}")
            if tokenizer.token_to_id(PAD) != PAD_ID or tokenizer.token_to_id(UNKNOWN) is None:
                raise InputError(f"the tokenizer must have {PAD} with id {PAD_ID}, and {UNKNOWN}")
            if tokenizer.num_special_tokens_to_add(False) >= self.max_tokens:
                raise InputError(f"max_tokens {self.max_tokens} leaves no room for words beside {START} and {END}")
            # `read` cuts and pads, and says so.
            tokenizer.no_truncation()
            tokenizer.no_padding()
        self._tokenizer = tokenizer

    def read(self, raw: Any) -> Tensor:
        """Token ids int64 (n, max_tokens) of a text (n = 1), or of such ids, which are checked.

        Texts that are too long are cut and unknown words stand as [UNK]: an `InputNotice` tells which.

        Raises:
            InputError: an empty text, ids out of range or of another shape, anything else.
        """
        if isinstance(raw, Tensor):
            return self._read_ids(raw)
        if not isinstance(raw, str):
            raise InputError(
                f"text: a string or an integer tensor (n, {self.max_tokens}) of token ids is expected, "
                f"not {type(raw).__name__}"
            )
        if self._tokenizer is None:
            raise InputError(
                "text: this model has no vocabulary, so it cannot read strings; give token ids as an integer tensor "
                f"(n, {self.max_tokens}) in 0..{self.vocab_size - 1}"
            )
        ids = self._tokenize(self._clean(raw), self._tokenizer)
        return torch.tensor([ids + [PAD_ID] * (self.max_tokens - len(ids))])

    def forward(self, inputs: Tensor) -> Tensor:
        """Tokens (n, max_tokens, features) of token ids (n, max_tokens)."""
        positions = torch.arange(inputs.shape[1], device=inputs.device)
        hidden: Tensor = self.token_embedding(inputs) + self.position_embedding(positions)
        for block in self.blocks:
            hidden = block(hidden)
        return self.norm(hidden)

    def fit(self, raws: Iterable[Any]) -> None:
        """Take the words of these captions as the vocabulary, where there is none yet."""
        if self._tokenizer is None:
            self.tokenizer = train_tokenizer(raws, self.vocab_size)

    def describe(self, inputs: Tensor) -> str:
        """The text of one list of ids (1, max_tokens), as the model reads it."""
        ids = [token for token in inputs[0].tolist() if token != PAD_ID]
        if self._tokenizer is None:
            return f"text of {len(ids)} tokens"
        return self._tokenizer.decode(ids)

    def save_assets(self, folder: Path) -> None:
        """Write `tokenizer.json`."""
        content = _NO_TOKENIZER if self._tokenizer is None else self._tokenizer.to_str()
        (folder / TOKENIZER_FILE).write_text(content, encoding="utf-8")

    def load_assets(self, folder: Path) -> None:
        """Read `tokenizer.json`.

        Raises:
            InputError: it is missing, broken, or does not fit this model.
        """
        path = folder / TOKENIZER_FILE
        try:
            content = path.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise InputError(f"{path} is missing; copy or download the folder again, whole") from error
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path} cannot be read: {error}; download it again") from error
        if content.strip() == _NO_TOKENIZER:
            self.tokenizer = None
            return
        try:
            tokenizer = Tokenizer.from_str(content)
        except Exception as error:  # tokenizers raises nothing more specific
            raise InputError(f"{path} is not a tokenizer: {error}; download it again") from error
        self.tokenizer = tokenizer

    def _read_ids(self, ids: Tensor) -> Tensor:
        accepted = f"an integer tensor (n, {self.max_tokens}) in 0..{self.vocab_size - 1} is expected"
        if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
            raise InputError(f"text: token ids of {ids.dtype}; {accepted}")
        if ids.ndim != 2 or ids.shape[0] == 0 or ids.shape[1] != self.max_tokens:
            raise InputError(f"text: token ids shaped {tuple(ids.shape)}; {accepted}")
        wrong = ids[(ids < 0) | (ids >= self.vocab_size)]
        if wrong.numel():
            raise InputError(f"text: token id {wrong[0].item()} is unknown; {accepted}")
        return ids.long()

    def _clean(self, text: str) -> str:
        """One line of words, not much longer than what fits."""
        cleaned, controls = _UNTYPABLE.subn(" ", text)
        line = " ".join(cleaned.split())
        if not line:
            raise InputError(_EMPTY)
        if controls:
            warnings.warn(f"text: {controls} control characters are removed", InputNotice, stacklevel=2)
        return line.lower() if self.lower_case else line

    def _tokenize(self, text: str, tokenizer: Tokenizer) -> list[int]:
        """At most `max_tokens` ids of a text, special tokens included."""
        start = text[: self.max_tokens * _CHARACTERS_PER_TOKEN]
        encoding = tokenizer.encode(start, add_special_tokens=False)
        if not encoding.ids:
            raise InputError(_EMPTY)
        room = self.max_tokens - tokenizer.num_special_tokens_to_add(False)
        read = len(start)
        if len(encoding.ids) > room:
            read = encoding.offsets[room][0]
            encoding.truncate(room)
        if read < len(text):
            kept, cut = " ".join(text[:read].split()[-4:]), " ".join(text[read : read + 400].split()[:4])
            message = (
                f"text: cut after {self.max_tokens} tokens: kept up to {_short(kept)!r}, not read from {_short(cut)!r}"
            )
            warnings.warn(message, InputNotice, stacklevel=2)
        self._tell_unknown(start, encoding, tokenizer.token_to_id(UNKNOWN))
        return tokenizer.post_process(encoding).ids

    @staticmethod
    def _tell_unknown(text: str, encoding: Encoding, unknown: int | None) -> None:
        spans = [span for token, span in zip(encoding.ids, encoding.offsets, strict=True) if token == unknown]
        words = list(dict.fromkeys(_short(text[start:end]) for start, end in spans))
        if words:
            shown = ", ".join(repr(word) for word in words[:8]) + (", ..." if len(words) > 8 else "")
            message = f"text: the model never learned {shown}; it reads each as an unknown word"
            warnings.warn(message, InputNotice, stacklevel=2)


def _short(words: str) -> str:
    return words if len(words) <= 60 else f"{words[:28]}...{words[-28:]}"
