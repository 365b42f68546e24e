"""Checkpoints of the hub by short names: what their own files say, known before a byte of them is here.

Revisions are those that transformers 5.23 pins for its pipelines (seven digits) or mteb 2.26 for its models (forty);
and where neither has one, the commit that public projects pin in their sources: of DINOv2 with registers (with the
digest of its safetensors), SigLIP 2 of any shape and Fuyu; TimeSformer's is from one table of models, seen without its
place. "main" is a branch of which none of them says a commit: it is pinned to the one that is here. Licences are those
of the checkpoints' cards.
None of it could be checked against the hub where this was written.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...types import Spec


def _pictures(
    name: str, target: str, dim: int, pool: str, size: int, weights: str, license: str, summary: str
) -> Spec:  # fmt: skip
    return Spec(name, target, "image", 0.0, 0.0, dim, pool, (weights,), license, size=size, summary=summary)


def _sound(
    name: str, target: str, rate: float, window: float, dim: int, pool: str, weights: str, license: str, summary: str
) -> Spec:
    return Spec(name, target, "audio", rate, window, dim, pool, (weights,), license, summary=summary)


def _speech(name: str, target: str, window: float, dim: int, weights: str, license: str, summary: str) -> Spec:
    return _sound(name, target, 16_000.0, window, dim, "mean", weights, license, summary)


def _film(name: str, target: str, rate: float, frames: int, pool: str, weights: str, summary: str) -> Spec:
    return Spec(
        name, target, "video", rate, frames / rate, 768, pool, (weights,), "CC-BY-NC-4.0", size=224, summary=summary
    )


def _text(name: str, dim: int, pool: str, weights: str, license: str, summary: str) -> Spec:
    return Spec(name, ".hub.sentence:Sentence", "text", 0.0, 0.0, dim, pool, (weights,), license, summary=summary)


CATALOG: Mapping[str, Spec] = {
    row.name: row
    for row in (
        # Pictures
        _pictures("vit-b16", ".hub.vit:Vit", 768, "cls", 224, "google/vit-base-patch16-224@3f49326", "Apache-2.0",
                  "ViT-B/16, ImageNet-21k and 1k"),
        _pictures("deit-b16", ".hub.vit:Deit", 768, "cls", 256, "facebook/deit-base-distilled-patch16-224@main",
                  "Apache-2.0", "DeiT-B/16, distilled, ImageNet-1k"),
        _pictures("beit-b16", ".hub.vit:Beit", 768, "mean", 224, "microsoft/beit-base-patch16-224-pt22k-ft22k@main",
                  "Apache-2.0", "BEiT-B/16, ImageNet-22k"),
        _pictures("dinov2-s", ".hub.dino:Dino2", 384, "cls", 256,
                  "facebook/dinov2-small@ed25f3a31f01632728cabb09d1542f84ab7b0056", "Apache-2.0",
                  "DINOv2 ViT-S/14: pictures without labels"),
        _pictures("dinov2-b", ".hub.dino:Dino2", 768, "cls", 256,
                  "facebook/dinov2-base@f9e44c814b77203eaa57a6bdbbd535f21ede1415", "Apache-2.0", "DINOv2 ViT-B/14"),
        _pictures("dinov2-reg-b", ".hub.dino:Dino2Registers", 768, "cls", 256,
                  "facebook/dinov2-with-registers-base@a1d738ccfa7ae170945f210395d99dde8adb1805", "Apache-2.0",
                  "DINOv2 ViT-B/14 with registers"),
        _pictures("dinov3-s", ".hub.dino:Dino3", 384, "cls", 224,
                  "facebook/dinov3-vits16-pretrain-lvd1689m@114c1379950215c8b35dfcd4e90a5c251dde0d32",
                  "dinov3-license", "DINOv3 ViT-S/16; asks for consent on the hub"),
        _pictures("dinov3-b", ".hub.dino:Dino3", 768, "cls", 224,
                  "facebook/dinov3-vitb16-pretrain-lvd1689m@5931719e67bbdb9737e363e781fb0c67687896bc",
                  "dinov3-license", "DINOv3 ViT-B/16; asks for consent on the hub"),
        _pictures("imagegpt-s", ".hub.imagegpt:ImageGpt", 512, "mean", 32, "openai/imagegpt-small@main", "Apache-2.0",
                  "ImageGPT small: 32 x 32 colours of 512"),
        _pictures("fuyu-8b", ".hub.fuyu:Fuyu", 4096, "mean", 0,
                  "adept/fuyu-8b@f41defefdb89be0d28cac19d94ce216e37cb6be5", "CC-BY-NC-4.0",
                  "Fuyu: linear patches of a picture of any size"),
        # Pictures and text
        _pictures("clip-b32", ".hub.clip:Clip", 512, "l2mean", 224, "openai/clip-vit-base-patch32@3d74acf", "MIT",
                  "CLIP ViT-B/32: pictures and text in one space"),
        _pictures("clip-b16", ".hub.clip:Clip", 512, "l2mean", 224,
                  "openai/clip-vit-base-patch16@57c216476eefef5ab752ec549e440a49ae4ae5f3", "MIT", "CLIP ViT-B/16"),
        _pictures("clip-l14", ".hub.clip:Clip", 768, "l2mean", 224,
                  "openai/clip-vit-large-patch14@32bd64288804d66eefd0ccbe215aa642df71cc41", "MIT", "CLIP ViT-L/14"),
        _pictures("clip-b32-laion", ".hub.clip:Clip", 512, "l2mean", 224,
                  "laion/CLIP-ViT-B-32-laion2B-s34B-b79K@08f73555f1b2fb7c82058aebbd492887a94968ef", "MIT",
                  "CLIP ViT-B/32 on LAION-2B"),
        _pictures("siglip-b16", ".hub.siglip:Siglip", 768, "l2mean", 224,
                  "google/siglip-base-patch16-224@7fd15f0689c79d79e38b1c2e2e2370a7bf2761ed", "Apache-2.0",
                  "SigLIP ViT-B/16: pictures and text in one space"),
        _pictures("siglip-so400m", ".hub.siglip:Siglip", 1152, "l2mean", 384,
                  "google/siglip-so400m-patch14-384@9fdffc58afc957d1a03a25b10dba0329ab15c2a3", "Apache-2.0",
                  "SigLIP, shape-optimised, 384 pixels"),
        _pictures("siglip2-b16", ".hub.siglip:Siglip", 768, "l2mean", 224,
                  "google/siglip2-base-patch16-224@75de2d55ec2d0b4efc50b3e9ad70dba96a7b2fa2", "Apache-2.0",
                  "SigLIP 2 ViT-B/16: many languages"),
        _pictures("siglip2-naflex", ".hub.siglip:Siglip2", 768, "l2mean", 256,
                  "google/siglip2-base-patch16-naflex@b53b807d3a2d5e2b3911292f2d69e5341cdc064c", "Apache-2.0",
                  "SigLIP 2 for pictures of any shape"),
        # Sound
        _sound("clap-fused", ".hub.clap:Clap", 48_000.0, 10.0, 512, "l2mean", "laion/clap-htsat-fused@cca9e28",
               "Apache-2.0", "CLAP, HTS-AT: sound and text in one space"),
        _sound("clap-unfused", ".hub.clap:Clap", 48_000.0, 10.0, 512, "l2mean",
               "laion/clap-htsat-unfused@8fa0f1c6d0433df6e97c127f64b2a1d6c0dcda8a", "Apache-2.0",
               "CLAP without fusion of long sound"),
        _sound("ast", ".hub.ast:Ast", 16_000.0, 10.24, 768, "cls",
               "MIT/ast-finetuned-audioset-10-10-0.4593@f826b80d28226b62986cc218e5cec390b1096902", "BSD-3-Clause",
               "Audio Spectrogram Transformer, AudioSet"),
        # Speech
        _speech("whisper-tiny", ".hub.whisper:Whisper", 30.0, 384,
                "openai/whisper-tiny@169d4a4341b33bc18d8881c4b69c2e104e1cc0af", "Apache-2.0",
                "Whisper's encoder: 50 states a second"),
        _speech("whisper-base", ".hub.whisper:Whisper", 30.0, 512,
                "openai/whisper-base@e37978b90ca9030d5170a5c07aadb050351a65bb", "Apache-2.0", "Whisper base's encoder"),
        _speech("whisper-small", ".hub.whisper:Whisper", 30.0, 768,
                "openai/whisper-small@973afd24965f72e36ca33b3055d56a652f456b4d", "Apache-2.0",
                "Whisper small's encoder"),
        _speech("whisper-large-v3", ".hub.whisper:Whisper", 30.0, 1280,
                "openai/whisper-large-v3@06f233fe06e710322aca913c1bc4249a0d71fce1", "Apache-2.0",
                "Whisper large-v3's encoder, 128 mels"),
        _speech("w2v2-base", ".hub.wav2vec2:Wav2Vec2", 20.0, 768, "facebook/wav2vec2-base-960h@22aad52", "Apache-2.0",
                "wav2vec 2.0 base: a state every 20 ms"),
        _speech("w2v2-xlsr", ".hub.wav2vec2:Wav2Vec2", 20.0, 1024,
                "facebook/wav2vec2-xls-r-300m@1a640f32ac3e39899438a2931f9924c02f080a54", "Apache-2.0",
                "wav2vec 2.0 XLS-R, 128 languages"),
        _speech("hubert-b", ".hub.wav2vec2:Wav2Vec2", 20.0, 768,
                "facebook/hubert-base-ls960@dba3bb02fda4248b6e082697eee756de8fe8aa8a", "Apache-2.0", "HuBERT base"),
        _speech("wavlm-b", ".hub.wav2vec2:Wav2Vec2", 20.0, 768,
                "microsoft/wavlm-base-plus@4c66d4806a428f2e922ccfa1a962776e232d487b", "MIT", "WavLM base+"),
        _speech("wavlm-l", ".hub.wav2vec2:Wav2Vec2", 20.0, 1024,
                "microsoft/wavlm-large@c1423ed94bb01d80a3f5ce5bc39f6026a0f4828c", "MIT", "WavLM large"),
        # Film
        _film("videomae-b", ".hub.videomae:VideoMae", 7.5, 16, "mean",
              "MCG-NJU/videomae-base-finetuned-kinetics@488eb9a",
              "VideoMAE base, Kinetics-400: windows of 16 frames"),
        _film("timesformer-b", ".hub.videomae:TimeSformer", 30 / 32, 8, "cls",
              "facebook/timesformer-base-finetuned-k400@8aaf40ea7d3d282dcb0a5dea01a198320d15d6c0",
              "TimeSformer base, Kinetics-400: windows of 8 frames"),
        # Text
        _text("minilm-l6", 384, "l2mean",
              "sentence-transformers/all-MiniLM-L6-v2@8b3219a92973c328a8e22fadcfa821b5dc75636a", "Apache-2.0",
              "MiniLM: English sentences"),
        _text("mpnet-b", 768, "l2mean",
              "sentence-transformers/all-mpnet-base-v2@9a3225965996d404b775526de6dbfe85d3368642", "Apache-2.0",
              "MPNet base: English sentences"),
        _text("e5-small", 384, "l2mean", "intfloat/multilingual-e5-small@fd1525a9fd15316a2d503bf26ab031a61d056e98",
              "MIT", "E5 small, many languages; prompts query and passage"),
        _text("bge-small", 384, "l2cls", "BAAI/bge-small-en-v1.5@5c38ec7c405ec4b44b94cc5a9bb96e735b38267a", "MIT",
              "BGE small: English sentences"),
    )
}  # fmt: skip
