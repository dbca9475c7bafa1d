"""Small made model folders with the tokenizers and layouts of real ones; weights are random, from a fixed seed."""

import string
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel

WORDS = ("query", "passage", "milk", "children", "shoe", "red", "hose", "garden")
HAN = "牛奶儿童女鞋红花园水管线耳机無兒"
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")


def xlm_roberta(folder: Path) -> Path:
    """An XLM-RoBERTa with a Unigram tokenizer of SentencePiece's kind, whose positions begin at two."""
    pieces = [
        *SPECIAL,
        "▁",
        *(f"▁{word}" for word in WORDS),
        "牛奶",
        "儿童",
        *string.ascii_lowercase,
        *":.-0123456789",
        *HAN,
    ]
    scores = [0.0] * len(SPECIAL) + [-2.0] + [-3.0] * (len(WORDS) + 2) + [-6.0] * (len(pieces) - len(WORDS) - 7)
    tokenizer = Tokenizer(models.Unigram(list(zip(pieces, scores, strict=True)), unk_id=3))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    config = XLMRobertaConfig(
        **_sizes(len(pieces)),
        max_position_embeddings=66,
        type_vocab_size=1,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )
    return _save(folder, XLMRobertaModel(config, add_pooling_layer=False), tokenizer, SPECIAL)


def wordpiece(folder: Path) -> Path:
    """A BERT with a WordPiece tokenizer."""
    special = ("[CLS]", "[PAD]", "[SEP]", "[UNK]")
    pieces = [*special, *WORDS, *string.ascii_lowercase, *(f"##{letter}" for letter in string.ascii_lowercase), ":"]
    tokenizer = Tokenizer(models.WordPiece({piece: place for place, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 0))
    config = BertConfig(**_sizes(len(pieces)), max_position_embeddings=64, pad_token_id=1)
    return _save(folder, BertModel(config, add_pooling_layer=False), tokenizer, special)


def _sizes(pieces: int) -> dict[str, int]:
    return {
        "vocab_size": pieces,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 48,
    }


def _save(folder: Path, model: torch.nn.Module, tokenizer: Tokenizer, special: tuple[str, ...]) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.5 if parameter.ndim > 1 else 0.1)
    model.save_pretrained(folder)
    first, pad, last, unknown = special
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        cls_token=first,
        pad_token=pad,
        sep_token=last,
        unk_token=unknown,
        model_max_length=64,
    ).save_pretrained(folder)
    return folder
