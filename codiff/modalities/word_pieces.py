"""Word-piece vocabularies, as the published text models read them."""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from codiff.errors import InputError
from codiff.modalities.text import END, PAD, SPECIAL_TOKENS, START, UNKNOWN

_FILE = "vocab.txt"
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


def word_piece_tokenizer(vocabulary: str | Path) -> Tokenizer:
    """The lower-casing word-piece tokenizer of a BERT vocabulary (Devlin et al., arXiv:1810.04805).

    Args:
        vocabulary: a text file with one piece a line, a folder that holds such a `vocab.txt`, or a hub id like
            `bert-base-uncased`.

    Raises:
        InputError: no such file, or a vocabulary without [PAD] as its first piece, [UNK], [CLS] or [SEP].
    """
    path = _file(vocabulary)
    try:
        pieces = path.read_text("utf-8-sig").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"vocabulary {path} cannot be read: {error}") from error
    ids = {piece: number for number, piece in enumerate(pieces)}
    lacking = [token for token in SPECIAL_TOKENS if token not in ids]
    if lacking or ids[PAD] != 0 or len(ids) != len(pieces):
        reason = f"it lacks {', '.join(lacking)}" if lacking else f"{PAD} must be first, and every piece unique"
        raise InputError(f"vocabulary {path} is not one of BERT's, one piece a line: {reason}")
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token=UNKNOWN, max_input_chars_per_word=100))
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [(token, ids[token]) for token in (START, END)]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{START} $A {END}", special_tokens=ends)
    tokenizer.decoder = decoders.WordPiece(cleanup=True)
    return tokenizer


def _file(vocabulary: str | Path) -> Path:
    path = Path(vocabulary).expanduser()
    if path.is_dir():
        path = path / _FILE
    if path.is_file():
        return path
    if not _HUB_ID.fullmatch(str(vocabulary)):
        raise InputError(f"there is no vocabulary file {path}; give BERT's vocab.txt, or a hub id")
    try:
        return Path(hf_hub_download(str(vocabulary), _FILE))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"there is no vocabulary file {path}, and it cannot be downloaded as a hub id: {reason}"
        ) from error
