"""Tiny random checkpoints of models that caption and answer, in the hub's layout, saved by transformers itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tokenizers
import transformers
from tiny import CROPPED, SMALL, VISION, WORDS, pictures, save  # the tests of encoders have the maker
from transformers import PreTrainedTokenizerFast

__all__ = ["pictures"]

ASKED = "how many what is on table user assistant describe this picture in one sentence".split()  # noqa: SIM905
MARKS = [
    *("<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"),
    *("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"),
    *("<s_docvqa>", "<s_question>", "</s_question>", "<s_answer>", "</s_answer>"),
    *(f"<row_{i}_col_{j}>" for i in range(1, 7) for j in range(1, 7)),
]
VOCABULARY = 4 + len(WORDS) + len(ASKED) + 8 + len(MARKS)


def tokenizer(folder: Path, *, special: bool = True, template: str = "") -> Any:
    """Words of WORDS and ASKED, some pieces that go on inside a word; 0 pads, 1 begins, 2 ends, 3 is unknown."""
    words = [*WORDS, *ASKED, *(f"##{letter}" for letter in "abcdefgh")]
    table = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, **{word: i + 4 for i, word in enumerate(words)}}
    core = tokenizers.Tokenizer(tokenizers.models.WordPiece(table, unk_token="<unk>"))
    core.normalizer = tokenizers.normalizers.Lowercase()
    core.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    core.decoder = tokenizers.decoders.WordPiece()
    if special:
        core.post_processor = tokenizers.processors.TemplateProcessing(
            single="<s> $A </s>", pair="<s> $A </s> $B:1 </s>:1", special_tokens=[("<s>", 1), ("</s>", 2)]
        )
    made = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>",
        cls_token="<s>", sep_token="</s>", additional_special_tokens=MARKS,
    )  # fmt: skip
    made.chat_template = template or None
    made.save_pretrained(folder)
    return made


TEXT = {**SMALL, "vocab_size": VOCABULARY, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
"""Every weight is random, so nothing ends a text but its length or chance."""
BLIP = {"image_processor_type": "BlipImageProcessor", "size": {"height": 32, "width": 32}}


def _blip(folder: Path, kind: str) -> Path:
    text = {**TEXT, "sep_token_id": 2, "encoder_hidden_size": 32, "max_position_embeddings": 64}
    config = transformers.BlipConfig(text_config=text, vision_config={**VISION}, projection_dim=24)
    save(folder, config, kind, BLIP)
    tokenizer(folder)
    return folder


def blip(folder: Path) -> Path:
    return _blip(folder, "BlipForConditionalGeneration")


def blip_vqa(folder: Path) -> Path:
    return _blip(folder, "BlipForQuestionAnswering")


def git(folder: Path) -> Path:
    config = transformers.GitConfig(vision_config={**VISION}, max_position_embeddings=64, **TEXT)
    save(folder, config, "GitForCausalLM", {"image_processor_type": "CLIPImageProcessor", **CROPPED})
    tokenizer(folder)
    return folder


def vit_gpt2(folder: Path) -> Path:
    """As nlpconnect/vit-gpt2-image-captioning is saved: the start token in the decoder's settings, beams of its own."""
    decoder = transformers.GPT2Config(
        vocab_size=VOCABULARY, n_positions=64, n_embd=32, n_layer=2, n_head=4, bos_token_id=1, eos_token_id=2,
        pad_token_id=0, add_cross_attention=True, is_decoder=True,
    )  # fmt: skip
    config = transformers.VisionEncoderDecoderConfig(
        encoder=transformers.ViTConfig(**VISION).to_dict(), decoder=decoder.to_dict()
    )
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 1, 0, 2
    processor = {"feature_extractor_type": "ViTFeatureExtractor", "size": 32, "resample": 2}
    save(folder, config, "VisionEncoderDecoderModel", processor)
    (folder / "generation_config.json").write_text(
        json.dumps(
            {"decoder_start_token_id": 1, "pad_token_id": 0, "eos_token_id": 2, "num_beams": 3, "max_length": 16}
        )
    )
    tokenizer(folder, special=False)
    return folder


TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }} {% for c in m['content'] %}{% if c['type'] == 'image' %}{{ IMAGE }}"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %}{% if not loop.last %}</s>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}</s>assistant {% endif %}"
)
LLAMA = {**TEXT, "model_type": "llama", "num_key_value_heads": 2, "max_position_embeddings": 512}


def _template(image: str) -> str:
    return TEMPLATE.replace("{{ IMAGE }}", image)


def llava(folder: Path) -> Path:
    made = tokenizer(folder, template=_template("<image> "))
    config = transformers.LlavaConfig(
        text_config=LLAMA, vision_config={"model_type": "clip_vision_model", **VISION},
        image_token_id=made.convert_tokens_to_ids("<image>"), vision_feature_layer=-2,
    )  # fmt: skip
    save(folder, config, "LlavaForConditionalGeneration", {"image_processor_type": "CLIPImageProcessor", **CROPPED})
    (folder / "processor_config.json").write_text(
        json.dumps(
            {
                "processor_class": "LlavaProcessor", "patch_size": 8, "vision_feature_select_strategy": "default",
                "image_token": "<image>", "num_additional_image_tokens": 1,
            }
        )
    )  # fmt: skip
    return folder


def idefics3(folder: Path, kind: str = "Idefics3") -> Path:
    made = tokenizer(folder, template=_template("<image>"))
    config = getattr(transformers, f"{kind}Config")(
        text_config=LLAMA, vision_config={**VISION}, scale_factor=2,
        image_token_id=made.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    processor = {
        "image_processor_type": f"{kind}ImageProcessor", "size": {"longest_edge": 64},
        "max_image_size": {"longest_edge": 32}, "do_image_splitting": True,
    }  # fmt: skip
    save(folder, config, f"{kind}ForConditionalGeneration", processor)
    (folder / "processor_config.json").write_text(
        json.dumps({"processor_class": f"{kind}Processor", "image_seq_len": 4})
    )
    return folder


def smolvlm(folder: Path) -> Path:
    return idefics3(folder, "SmolVLM")


def qwen2_vl(folder: Path, kind: str = "Qwen2VL") -> Path:
    """With the generation settings its authors ship: they sample."""
    made = tokenizer(folder, template=_template("<|vision_start|><|image_pad|><|vision_end|>"))
    ids = {
        f"{name}_token_id": made.convert_tokens_to_ids(f"<|{mark}|>")
        for name, mark in (("image", "image_pad"), ("video", "video_pad"), ("vision_start", "vision_start"),
                           ("vision_end", "vision_end"))
    }  # fmt: skip
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}
    text = {**TEXT, "num_key_value_heads": 2, "max_position_embeddings": 512, "rope_parameters": rope}
    vision = {"depth": 2, "num_heads": 4, "patch_size": 4, "spatial_merge_size": 2, "temporal_patch_size": 2}
    if kind == "Qwen2VL":
        vision |= {"embed_dim": 32, "hidden_size": 32, "mlp_ratio": 2}
    else:
        vision |= {"hidden_size": 32, "out_hidden_size": 32, "intermediate_size": 48, "window_size": 16,
                   "fullatt_block_indexes": [1]}  # fmt: skip
    config = getattr(transformers, f"{'Qwen2_5_VL' if kind != 'Qwen2VL' else kind}Config")(
        text_config=text, vision_config=vision, **ids
    )
    processor = {"image_processor_type": "Qwen2VLImageProcessor", "patch_size": 4, "merge_size": 2,
                 "temporal_patch_size": 2, "min_pixels": 256, "max_pixels": 1024}  # fmt: skip
    name = "Qwen2_5_VLForConditionalGeneration" if kind != "Qwen2VL" else "Qwen2VLForConditionalGeneration"
    save(folder, config, name, processor)
    (folder / "generation_config.json").write_text(
        json.dumps({"do_sample": True, "temperature": 0.7, "top_k": 5, "top_p": 0.8, "eos_token_id": [2, 5],
                    "pad_token_id": 0, "bos_token_id": 1})
    )  # fmt: skip
    return folder


def qwen2_5_vl(folder: Path) -> Path:
    return qwen2_vl(folder, "Qwen2_5_VL")


def fuyu(folder: Path) -> Path:
    """With a tokenizer that, like its own, puts an underscore before every text: the processor cuts it off again."""
    table = {"<pad>": 0, "<s>": 1, "</s>": 2, "|SPEAKER|": 3, "|NEWLINE|": 4, "<0x04>": 5, "▁": 6, "\n": 7, "<unk>": 8,
             **{word: 9 + i for i, word in enumerate([*WORDS, *ASKED])}}  # fmt: skip
    core = tokenizers.Tokenizer(tokenizers.models.WordLevel(table, unk_token="<unk>"))
    core.normalizer = tokenizers.normalizers.Sequence(
        [tokenizers.normalizers.Prepend("▁"), tokenizers.normalizers.Replace(" ", "▁")]
    )
    marks = tokenizers.Regex(r"\|SPEAKER\||\|NEWLINE\||<s>|<0x04>|▁|\n")
    core.pre_tokenizer = tokenizers.pre_tokenizers.Split(marks, "isolated")
    core.decoder = tokenizers.decoders.Sequence([tokenizers.decoders.Replace("▁", " "), tokenizers.decoders.Fuse()])
    made = PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    made.save_pretrained(folder)
    text = {**LLAMA, "model_type": "persimmon", "vocab_size": len(table)}
    config = transformers.FuyuConfig(text_config=text, patch_size=30, image_token_id=3, pad_token_id=0)
    processor = {"image_processor_type": "FuyuImageProcessor", "size": {"height": 120, "width": 150},
                 "patch_size": {"height": 30, "width": 30}}  # fmt: skip
    return save(folder, config, "FuyuForCausalLM", processor)


def vilt(folder: Path) -> Path:
    config = transformers.ViltConfig(
        **VISION, vocab_size=VOCABULARY, max_position_embeddings=40, modality_type_vocab_size=2
    )
    config.id2label = {i: word for i, word in enumerate("yes no 1 2 red blue".split())}  # noqa: SIM905
    config.label2id = {word: i for i, word in config.id2label.items()}
    processor = {"image_processor_type": "ViltImageProcessor", "size": {"shortest_edge": 32}, "size_divisor": 8}
    save(folder, config, "ViltForQuestionAnswering", processor)
    tokenizer(folder)
    return folder


LAYOUT = {**SMALL, "vocab_size": VOCABULARY, "max_2d_position_embeddings": 1024}


def layoutlm(folder: Path) -> Path:
    config = transformers.LayoutLMConfig(**LAYOUT, max_position_embeddings=48, pad_token_id=0)
    save(folder, config, "LayoutLMForQuestionAnswering")
    tokenizer(folder)
    return folder


def layoutlmv3(folder: Path) -> Path:
    config = transformers.LayoutLMv3Config(
        **LAYOUT, max_position_embeddings=64, pad_token_id=1, bos_token_id=0, eos_token_id=2, type_vocab_size=1,
        input_size=32, patch_size=8, coordinate_size=6, shape_size=4, rel_pos_bins=8, rel_2d_pos_bins=8,
    )  # fmt: skip
    processor = {
        "image_processor_type": "LayoutLMv3ImageProcessor",
        "size": {"height": 32, "width": 32},
        "apply_ocr": False,
    }
    save(folder, config, "LayoutLMv3ForQuestionAnswering", processor)
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    table = {name: i for i, name in enumerate(["<s>", "<pad>", "</s>", "<unk>", *letters][:VOCABULARY])}
    transformers.LayoutLMv3Tokenizer(vocab=table, merges=[]).save_pretrained(folder)
    return folder


def donut(folder: Path) -> Path:
    made = tokenizer(folder, special=False)
    encoder = transformers.DonutSwinConfig(
        image_size=[64, 64], patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=4
    )
    decoder = transformers.MBartConfig(
        vocab_size=len(made), d_model=16, decoder_layers=1, encoder_layers=1, decoder_attention_heads=2,
        encoder_attention_heads=2, decoder_ffn_dim=24, encoder_ffn_dim=24, max_position_embeddings=64, is_decoder=True,
        add_cross_attention=True, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    config = transformers.VisionEncoderDecoderConfig(encoder=encoder.to_dict(), decoder=decoder.to_dict())
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 1, 0, 2
    processor = {"image_processor_type": "DonutImageProcessor", "size": {"height": 64, "width": 64}}
    return save(folder, config, "VisionEncoderDecoderModel", processor)


def tapas(folder: Path) -> Path:
    """Every text can be written with its vocabulary, a letter a token."""
    letters = [chr(i) for i in range(33, 127) if not chr(i).isupper()]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[EMPTY]", *letters, *(f"##{c}" for c in letters)]
    config = transformers.TapasConfig(
        **SMALL, vocab_size=len(words), max_position_embeddings=256, type_vocab_sizes=[3, 256, 256, 2, 256, 256, 10],
        num_aggregation_labels=4, aggregation_labels={0: "NONE", 1: "SUM", 2: "AVERAGE", 3: "COUNT"},
    )  # fmt: skip
    save(folder, config, "TapasForQuestionAnswering")
    (folder / "vocab.txt").write_text("\n".join(words))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "TapasTokenizer", "model_max_length": 256, "do_lower_case": True})
    )
    return folder
