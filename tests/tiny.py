"""Tiny random checkpoints in the hub's layout, saved by transformers itself: what the tests hold ours against."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
import transformers
from transformers import PreTrainedTokenizerFast

from percepts import encoders
from percepts.types import Encoder, Spec

WORDS = "a photo of the cat dog piano sound rain red blue green sky tree two three".split()  # noqa: SIM905
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
VISION = {**SMALL, "image_size": 32, "patch_size": 8}


def save(folder: Path, config: Any, kind: str, processor: dict[str, Any] | None = None, *, words: int = 0) -> Path:
    """A checkpoint of that class with every weight random, norms and biases too, so that none goes unnoticed."""
    torch.manual_seed(7)
    model = getattr(transformers, kind)(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "logit" not in name:
                parameter.add_(torch.randn_like(parameter) * 0.05)
        for name, buffer in model.named_buffers():
            if "running_mean" in name:
                buffer.normal_()
    model.save_pretrained(folder)
    if processor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    if words:
        tokenizer(folder)
    return folder


def load(checkpoint: str | Spec) -> Encoder:
    """Ours, on torch: `auto` would export a graph for some of these, to choose by what is not asked here."""
    return encoders.load_encoder(checkpoint, runtime="torch")


def tokenizer(folder: Path) -> None:
    """Words of WORDS; every text begins with id 1 and ends with id 2; 0 pads, 3 is unknown."""
    table = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, **{word: i + 4 for i, word in enumerate(WORDS)}}
    core = tokenizers.Tokenizer(tokenizers.models.WordLevel(table, unk_token="<unk>"))
    core.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    core.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    made = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )
    made.save_pretrained(folder)


def pictures() -> list[np.ndarray]:
    """Awkward ones: wide, tall, one pixel, smaller than the model, odd sides, large."""
    rng = np.random.default_rng(3)
    shapes = [(48, 64), (90, 41), (1, 1), (7, 20), (33, 35), (32, 32), (301, 211)]
    smooth = [rng.integers(0, 256, (max(2, h // 8), max(2, w // 8), 3), np.uint8) for h, w in shapes]
    return [np.kron(s, np.ones((8, 8, 1), np.uint8))[:h, :w] for s, (h, w) in zip(smooth, shapes, strict=True)]


VIT = {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}}
CROPPED = {"size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}}


def vit(folder: Path, kind: str = "ViTModel") -> Path:
    return save(folder, transformers.ViTConfig(**VISION), kind, VIT)


def deit(folder: Path) -> Path:
    processor = {"image_processor_type": "DeiTImageProcessor", "size": {"height": 36, "width": 36},
                 "crop_size": {"height": 32, "width": 32}}  # fmt: skip
    return save(folder, transformers.DeiTConfig(**VISION), "DeiTModel", processor)


def beit(folder: Path) -> Path:
    config = transformers.BeitConfig(**VISION, use_relative_position_bias=True, use_absolute_position_embeddings=False)
    return save(folder, config, "BeitModel", VIT | {"image_processor_type": "BeitImageProcessor"})


def dino2(folder: Path) -> Path:
    processor = {"image_processor_type": "BitImageProcessor", **CROPPED}
    return save(folder, transformers.Dinov2Config(**VISION), "Dinov2Model", processor)


def dino2_registers(folder: Path) -> Path:
    processor = {"image_processor_type": "BitImageProcessor", **CROPPED}
    return save(folder, transformers.Dinov2WithRegistersConfig(**VISION), "Dinov2WithRegistersModel", processor)


def dino3(folder: Path) -> Path:
    config = transformers.DINOv3ViTConfig(**VISION, num_register_tokens=3)
    return save(folder, config, "DINOv3ViTModel", VIT | {"image_processor_type": "DINOv3ViTImageProcessorFast"})


TEXT = {
    **SMALL,
    "vocab_size": 40,
    "max_position_embeddings": 12,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def clip(folder: Path) -> Path:
    config = transformers.CLIPConfig(text_config=dict(TEXT), vision_config=dict(VISION), projection_dim=24)
    return save(folder, config, "CLIPModel", {"image_processor_type": "CLIPImageProcessor", **CROPPED}, words=1)


def siglip(folder: Path) -> Path:
    config = transformers.SiglipConfig(text_config={**TEXT, "projection_size": 32}, vision_config=dict(VISION))
    return save(folder, config, "SiglipModel", VIT | {"image_processor_type": "SiglipImageProcessor"}, words=1)


def siglip2(folder: Path) -> Path:
    vision = {**SMALL, "patch_size": 8, "num_patches": 16}
    config = transformers.Siglip2Config(text_config={**TEXT, "projection_size": 32}, vision_config=vision)
    processor = {"image_processor_type": "Siglip2ImageProcessor", "patch_size": 8, "max_num_patches": 16}
    return save(folder, config, "Siglip2Model", processor, words=1)


def sentence(folder: Path, kind: str = "bert", pooling: str = "mean", norm: bool = True) -> Path:
    classes = {"bert": ("BertConfig", "BertModel"), "roberta": ("RobertaConfig", "RobertaModel"),
               "xlm-roberta": ("XLMRobertaConfig", "XLMRobertaModel"), "mpnet": ("MPNetConfig", "MPNetModel"),
               "distilbert": ("DistilBertConfig", "DistilBertModel")}  # fmt: skip
    config, model = classes[kind]
    sizes = {**SMALL, "vocab_size": 40, "max_position_embeddings": 16, "pad_token_id": 0}
    if kind == "distilbert":
        sizes = {
            "dim": 32,
            "hidden_dim": 48,
            "n_layers": 2,
            "n_heads": 4,
            "vocab_size": 40,
            "max_position_embeddings": 16,
        }
    save(folder, getattr(transformers, config)(**sizes), model, words=1)
    modules = [{"path": "", "type": "sentence_transformers.models.Transformer"},
               {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]  # fmt: skip
    if norm:
        modules.append({"path": "2_Normalize", "type": "sentence_transformers.models.Normalize"})
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    modes = {"pooling_mode_cls_token": pooling == "cls", "pooling_mode_mean_tokens": pooling == "mean"}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 32, **modes}))
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": {"query": "a photo of "}}))
    return folder


def whisper(folder: Path) -> Path:
    config = transformers.WhisperConfig(
        d_model=32, encoder_layers=2, decoder_layers=1, encoder_attention_heads=4, decoder_attention_heads=4,
        encoder_ffn_dim=48, decoder_ffn_dim=48, vocab_size=40, num_mel_bins=80, max_source_positions=100,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1, suppress_tokens=[],
        begin_suppress_tokens=[],
    )  # fmt: skip
    processor = {"feature_extractor_type": "WhisperFeatureExtractor", "feature_size": 80, "chunk_length": 2,
                 "sampling_rate": 16000, "hop_length": 160, "n_fft": 400}  # fmt: skip
    return save(folder, config, "WhisperForConditionalGeneration", processor)


def ast(folder: Path) -> Path:
    config = transformers.ASTConfig(**SMALL, num_mel_bins=128, max_length=200)
    processor = {"feature_extractor_type": "ASTFeatureExtractor", "num_mel_bins": 128, "max_length": 200,
                 "sampling_rate": 16000}  # fmt: skip
    return save(folder, config, "ASTForAudioClassification", processor)


CONVOLUTIONS = {
    "conv_dim": (16, 16, 16),
    "conv_stride": (5, 2, 2),
    "conv_kernel": (10, 3, 2),
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
    "vocab_size": 32,
}


def wav2vec2(folder: Path, kind: str = "Wav2Vec2", norm: str = "group") -> Path:
    config = getattr(transformers, f"{kind}Config")(**SMALL, **CONVOLUTIONS, feat_extract_norm=norm)
    processor = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": 16000, "do_normalize": True,
                 "feature_size": 1, "padding_value": 0.0}  # fmt: skip
    return save(folder, config, f"{kind}Model", processor)


def clap(folder: Path, fused: bool = False) -> Path:
    audio = {"patch_embeds_hidden_size": 8, "hidden_size": 64, "depths": [1, 1, 1, 1],
             "num_attention_heads": [2, 2, 2, 2], "enable_fusion": fused, "drop_path_rate": 0.0}  # fmt: skip
    text = {**TEXT, "max_position_embeddings": 24}
    config = transformers.ClapConfig(audio_config=audio, text_config=text, projection_dim=24)
    processor = {"feature_extractor_type": "ClapFeatureExtractor", "feature_size": 64, "sampling_rate": 48000,
                 "max_length_s": 10, "truncation": "fusion" if fused else "rand_trunc", "padding": "repeatpad",
                 "frequency_min": 50, "frequency_max": 14000}  # fmt: skip
    return save(folder, config, "ClapModel", processor, words=1)


def videomae(folder: Path) -> Path:
    config = transformers.VideoMAEConfig(
        **VISION, num_frames=4, decoder_hidden_size=32, decoder_num_attention_heads=4, decoder_num_hidden_layers=1,
        decoder_intermediate_size=32,
    )  # fmt: skip
    processor = {"image_processor_type": "VideoMAEImageProcessor", **CROPPED}
    return save(folder, config, "VideoMAEForVideoClassification", processor)


def timesformer(folder: Path) -> Path:
    processor = {"image_processor_type": "VideoMAEImageProcessor", **CROPPED}
    return save(folder, transformers.TimesformerConfig(**VISION, num_frames=4), "TimesformerModel", processor)


def imagegpt(folder: Path) -> Path:
    config = transformers.ImageGPTConfig(n_embd=32, n_layer=2, n_head=4, n_positions=64, vocab_size=17)
    clusters = np.random.default_rng(5).uniform(-1, 1, (16, 3)).tolist()
    processor = {
        "image_processor_type": "ImageGPTImageProcessor",
        "size": {"height": 8, "width": 8},
        "clusters": clusters,
    }
    return save(folder, config, "ImageGPTModel", processor)


def fuyu(folder: Path) -> Path:
    text = {
        "model_type": "persimmon",
        **SMALL,
        "vocab_size": 40,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    config = transformers.FuyuConfig(text_config=text, patch_size=30, image_token_id=3)
    processor = {"image_processor_type": "FuyuImageProcessor", "size": {"height": 120, "width": 150},
                 "patch_size": {"height": 30, "width": 30}}  # fmt: skip
    return save(folder, config, "FuyuForCausalLM", processor)


def sounds() -> list[np.ndarray]:
    """Awkward ones at any rate: noise that fills two seconds, an odd length, a tone, silence, a few samples, one."""
    rng = np.random.default_rng(4)
    noise = rng.standard_normal(32_000).astype(np.float32) * 0.1
    tone = (0.3 * np.sin(np.arange(24_321) / 9)).astype(np.float32)
    return [noise, noise[:17_777], tone, np.zeros(8_000, np.float32), noise[:500], noise[:1]]


NAMES = {0: "tiger", 1: "cup", 2: "tripod", 3: "palace", 4: "moped"}
HEADS = {
    "vit": "ViTForImageClassification",
    "deit": "DeiTForImageClassification",
    "deit_teacher": "DeiTForImageClassificationWithTeacher",
    "beit": "BeitForImageClassification",
    "data2vec": "Data2VecVisionForImageClassification",
    "dino2": "Dinov2ForImageClassification",
    "dino2_registers": "Dinov2WithRegistersForImageClassification",
    "imagegpt": "ImageGPTForImageClassification",
    "ast": "ASTForAudioClassification",
    "whisper": "WhisperForAudioClassification",
    "wav2vec2": "Wav2Vec2ForSequenceClassification",
    "hubert": "HubertForSequenceClassification",
    "wavlm": "WavLMForSequenceClassification",
    "videomae": "VideoMAEForVideoClassification",
    "timesformer": "TimesformerForVideoClassification",
}
"""Families with a head → the class of transformers that has it."""
_LIKE = {"deit_teacher": "deit", "data2vec": "beit", "hubert": "wav2vec2", "wavlm": "wav2vec2"}


def classifier(folder: Path, family: str, task: str = "single_label_classification") -> Path:
    """A classifier of NAMES, of the same sizes as the family's encoder here."""
    base = folder / "base"
    like = _LIKE.get(family, family)
    made = globals()[like](base, *{"hubert": ("Hubert",), "wavlm": ("WavLM",)}.get(family, ()))
    config = transformers.AutoConfig.from_pretrained(made)
    if family == "data2vec":
        config = transformers.Data2VecVisionConfig(**VISION, use_relative_position_bias=True)
    config.id2label, config.label2id = dict(NAMES), {name: i for i, name in NAMES.items()}
    config.problem_type = task
    processor = json.loads((made / "preprocessor_config.json").read_text())
    return save(folder / "head", config, HEADS[family], processor)


LETTERS = ("<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ")


def ctc(folder: Path, kind: str = "Wav2Vec2", norm: str = "group") -> Path:
    """wav2vec 2.0 and its like with a head for 32 letters, and the tokenizer of facebook/wav2vec2-base-960h."""
    sizes = {**CONVOLUTIONS, "vocab_size": len(LETTERS)}
    config = getattr(transformers, f"{kind}Config")(**SMALL, **sizes, feat_extract_norm=norm, pad_token_id=0)
    processor = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": 16000, "do_normalize": True,
                 "feature_size": 1, "padding_value": 0.0, "return_attention_mask": norm == "layer"}  # fmt: skip
    save(folder, config, f"{kind}ForCTC", processor)
    (folder / "letters.json").write_text(json.dumps({letter: i for i, letter in enumerate(LETTERS)}))
    transformers.Wav2Vec2CTCTokenizer(folder / "letters.json").save_pretrained(folder)
    (folder / "letters.json").unlink()
    return folder
