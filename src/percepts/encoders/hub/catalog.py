"""List Hugging Face models by short name, with what their own files say, known before anything is fetched.

Revisions are those that transformers 5.23 pins for its pipelines (seven digits) or mteb 2.26 for its models (forty);
and where neither has one, the commit that public projects pin in their sources: of DINOv2 with registers (with the
digest of its safetensors), SigLIP 2 of any shape and Fuyu; TimeSformer's is from one table of models, seen without its
place. "main" stands where none of them names a commit: it is pinned to the one that is here. Licences are those of the
cards of the models. Not verified against the hub.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...types import Spec

CATALOG: Mapping[str, Spec] = {
    row.name: row
    for row in (
        # Images
        Spec(
            name="vit-b16", target=".hub.vit:Vit", kind="image", dim=768, pool="cls", size=224,
            weights=("google/vit-base-patch16-224@3f49326",), license="Apache-2.0",
            summary="ViT-B/16, ImageNet-21k and 1k",
        ),
        Spec(
            # Size: of the shorter side; a crop of 224 follows.
            name="deit-b16", target=".hub.vit:Deit", kind="image", dim=768, pool="cls", size=256,
            weights=("facebook/deit-base-distilled-patch16-224@main",), license="Apache-2.0",
            summary="DeiT-B/16, distilled, ImageNet-1k",
        ),
        Spec(
            name="beit-b16", target=".hub.vit:Beit", kind="image", dim=768, pool="mean", size=224,
            weights=("microsoft/beit-base-patch16-224-pt22k-ft22k@main",), license="Apache-2.0",
            summary="BEiT-B/16, ImageNet-22k",
        ),
        Spec(
            name="dinov2-s", target=".hub.dino:Dino2", kind="image", dim=384, pool="cls", size=256,
            weights=("facebook/dinov2-small@ed25f3a31f01632728cabb09d1542f84ab7b0056",), license="Apache-2.0",
            summary="DINOv2 ViT-S/14: images without labels",
        ),
        Spec(
            name="dinov2-b", target=".hub.dino:Dino2", kind="image", dim=768, pool="cls", size=256,
            weights=("facebook/dinov2-base@f9e44c814b77203eaa57a6bdbbd535f21ede1415",), license="Apache-2.0",
            summary="DINOv2 ViT-B/14",
        ),
        Spec(
            name="dinov2-reg-b", target=".hub.dino:Dino2Registers", kind="image", dim=768, pool="cls", size=256,
            weights=("facebook/dinov2-with-registers-base@a1d738ccfa7ae170945f210395d99dde8adb1805",),
            license="Apache-2.0", summary="DINOv2 ViT-B/14 with registers",
        ),
        Spec(
            name="dinov3-s", target=".hub.dino:Dino3", kind="image", dim=384, pool="cls", size=224,
            weights=("facebook/dinov3-vits16-pretrain-lvd1689m@114c1379950215c8b35dfcd4e90a5c251dde0d32",),
            license="dinov3-license", summary="DINOv3 ViT-S/16; asks for consent on the hub",
        ),
        Spec(
            name="dinov3-b", target=".hub.dino:Dino3", kind="image", dim=768, pool="cls", size=224,
            weights=("facebook/dinov3-vitb16-pretrain-lvd1689m@5931719e67bbdb9737e363e781fb0c67687896bc",),
            license="dinov3-license", summary="DINOv3 ViT-B/16; asks for consent on the hub",
        ),
        Spec(
            name="imagegpt-s", target=".hub.imagegpt:ImageGpt", kind="image", dim=512, pool="mean", size=32,
            weights=("openai/imagegpt-small@main",), license="Apache-2.0",
            summary="ImageGPT small: 32 x 32 colours of 512",
        ),
        Spec(
            name="fuyu-8b", target=".hub.fuyu:Fuyu", kind="image", dim=4096, pool="mean",
            weights=("adept/fuyu-8b@f41defefdb89be0d28cac19d94ce216e37cb6be5",), license="CC-BY-NC-4.0",
            summary="Fuyu: linear patches of an image of any size",
        ),
        # Images and text
        Spec(
            name="clip-b32", target=".hub.clip:Clip", kind="image", dim=512, pool="l2mean", size=224,
            weights=("openai/clip-vit-base-patch32@3d74acf",), license="MIT",
            summary="CLIP ViT-B/32: images and text in one space",
        ),
        Spec(
            name="clip-b16", target=".hub.clip:Clip", kind="image", dim=512, pool="l2mean", size=224,
            weights=("openai/clip-vit-base-patch16@57c216476eefef5ab752ec549e440a49ae4ae5f3",), license="MIT",
            summary="CLIP ViT-B/16",
        ),
        Spec(
            name="clip-l14", target=".hub.clip:Clip", kind="image", dim=768, pool="l2mean", size=224,
            weights=("openai/clip-vit-large-patch14@32bd64288804d66eefd0ccbe215aa642df71cc41",), license="MIT",
            summary="CLIP ViT-L/14",
        ),
        Spec(
            name="clip-b32-laion", target=".hub.clip:Clip", kind="image", dim=512, pool="l2mean", size=224,
            weights=("laion/CLIP-ViT-B-32-laion2B-s34B-b79K@08f73555f1b2fb7c82058aebbd492887a94968ef",),
            license="MIT", summary="CLIP ViT-B/32 on LAION-2B",
        ),
        Spec(
            name="siglip-b16", target=".hub.siglip:Siglip", kind="image", dim=768, pool="l2mean", size=224,
            weights=("google/siglip-base-patch16-224@7fd15f0689c79d79e38b1c2e2e2370a7bf2761ed",),
            license="Apache-2.0", summary="SigLIP ViT-B/16: images and text in one space",
        ),
        Spec(
            name="siglip-so400m", target=".hub.siglip:Siglip", kind="image", dim=1152, pool="l2mean", size=384,
            weights=("google/siglip-so400m-patch14-384@9fdffc58afc957d1a03a25b10dba0329ab15c2a3",),
            license="Apache-2.0", summary="SigLIP, shape-optimised, 384 pixels",
        ),
        Spec(
            name="siglip2-b16", target=".hub.siglip:Siglip", kind="image", dim=768, pool="l2mean", size=224,
            weights=("google/siglip2-base-patch16-224@75de2d55ec2d0b4efc50b3e9ad70dba96a7b2fa2",),
            license="Apache-2.0", summary="SigLIP 2 ViT-B/16: many languages",
        ),
        Spec(
            # Size: of a square of 256 patches of 16 pixels.
            name="siglip2-naflex", target=".hub.siglip:Siglip2", kind="image", dim=768, pool="l2mean", size=256,
            weights=("google/siglip2-base-patch16-naflex@b53b807d3a2d5e2b3911292f2d69e5341cdc064c",),
            license="Apache-2.0", summary="SigLIP 2 for images of any shape",
        ),
        # Audio
        Spec(
            name="clap-fused", target=".hub.clap:Clap", kind="audio", rate=48_000.0, window=10.0, dim=512,
            pool="l2mean", weights=("laion/clap-htsat-fused@cca9e28",), license="Apache-2.0",
            summary="CLAP, HTS-AT: audio and text in one space",
        ),
        Spec(
            name="clap-unfused", target=".hub.clap:Clap", kind="audio", rate=48_000.0, window=10.0, dim=512,
            pool="l2mean", weights=("laion/clap-htsat-unfused@8fa0f1c6d0433df6e97c127f64b2a1d6c0dcda8a",),
            license="Apache-2.0", summary="CLAP without fusion of long audio",
        ),
        Spec(
            # Window: 1024 frames, one every 10 ms.
            name="ast", target=".hub.ast:Ast", kind="audio", rate=16_000.0, window=10.24, dim=768, pool="cls",
            weights=("MIT/ast-finetuned-audioset-10-10-0.4593@f826b80d28226b62986cc218e5cec390b1096902",),
            license="BSD-3-Clause", summary="Audio Spectrogram Transformer, AudioSet",
        ),
        # Speech
        Spec(
            name="whisper-tiny", target=".hub.whisper:Whisper", kind="audio", rate=16_000.0, window=30.0, dim=384,
            pool="mean", weights=("openai/whisper-tiny@169d4a4341b33bc18d8881c4b69c2e104e1cc0af",),
            license="Apache-2.0", summary="Whisper's encoder: 50 states a second",
        ),
        Spec(
            name="whisper-base", target=".hub.whisper:Whisper", kind="audio", rate=16_000.0, window=30.0, dim=512,
            pool="mean", weights=("openai/whisper-base@e37978b90ca9030d5170a5c07aadb050351a65bb",),
            license="Apache-2.0", summary="Whisper base's encoder",
        ),
        Spec(
            name="whisper-small", target=".hub.whisper:Whisper", kind="audio", rate=16_000.0, window=30.0, dim=768,
            pool="mean", weights=("openai/whisper-small@973afd24965f72e36ca33b3055d56a652f456b4d",),
            license="Apache-2.0", summary="Whisper small's encoder",
        ),
        Spec(
            name="whisper-large-v3", target=".hub.whisper:Whisper", kind="audio", rate=16_000.0, window=30.0,
            dim=1280, pool="mean", weights=("openai/whisper-large-v3@06f233fe06e710322aca913c1bc4249a0d71fce1",),
            license="Apache-2.0", summary="Whisper large-v3's encoder, 128 mels",
        ),
        Spec(
            # Window: our choice, see WINDOW in wav2vec2.py.
            name="w2v2-base", target=".hub.wav2vec2:Wav2Vec2", kind="audio", rate=16_000.0, window=20.0, dim=768,
            pool="mean", weights=("facebook/wav2vec2-base-960h@22aad52",), license="Apache-2.0",
            summary="wav2vec 2.0 base: a state every 20 ms",
        ),
        Spec(
            name="w2v2-xlsr", target=".hub.wav2vec2:Wav2Vec2", kind="audio", rate=16_000.0, window=20.0, dim=1024,
            pool="mean", weights=("facebook/wav2vec2-xls-r-300m@1a640f32ac3e39899438a2931f9924c02f080a54",),
            license="Apache-2.0", summary="wav2vec 2.0 XLS-R, 128 languages",
        ),
        Spec(
            name="hubert-b", target=".hub.wav2vec2:Wav2Vec2", kind="audio", rate=16_000.0, window=20.0, dim=768,
            pool="mean", weights=("facebook/hubert-base-ls960@dba3bb02fda4248b6e082697eee756de8fe8aa8a",),
            license="Apache-2.0", summary="HuBERT base",
        ),
        Spec(
            name="wavlm-b", target=".hub.wav2vec2:Wav2Vec2", kind="audio", rate=16_000.0, window=20.0, dim=768,
            pool="mean", weights=("microsoft/wavlm-base-plus@4c66d4806a428f2e922ccfa1a962776e232d487b",),
            license="MIT", summary="WavLM base+",
        ),
        Spec(
            name="wavlm-l", target=".hub.wav2vec2:Wav2Vec2", kind="audio", rate=16_000.0, window=20.0, dim=1024,
            pool="mean", weights=("microsoft/wavlm-large@c1423ed94bb01d80a3f5ce5bc39f6026a0f4828c",), license="MIT",
            summary="WavLM large",
        ),
        # Video
        Spec(
            name="videomae-b", target=".hub.videomae:VideoMae", kind="video", rate=7.5, window=16 / 7.5, dim=768,
            pool="mean", size=224, weights=("MCG-NJU/videomae-base-finetuned-kinetics@488eb9a",),
            license="CC-BY-NC-4.0", summary="VideoMAE base, Kinetics-400: windows of 16 frames",
        ),
        Spec(
            name="timesformer-b", target=".hub.videomae:TimeSformer", kind="video", rate=30 / 32,
            window=8 / (30 / 32), dim=768, pool="cls", size=224,
            weights=("facebook/timesformer-base-finetuned-k400@8aaf40ea7d3d282dcb0a5dea01a198320d15d6c0",),
            license="CC-BY-NC-4.0", summary="TimeSformer base, Kinetics-400: windows of 8 frames",
        ),
        # Text
        Spec(
            name="minilm-l6", target=".hub.sentence:Sentence", kind="text", dim=384, pool="l2mean",
            weights=("sentence-transformers/all-MiniLM-L6-v2@8b3219a92973c328a8e22fadcfa821b5dc75636a",),
            license="Apache-2.0", summary="MiniLM: English sentences",
        ),
        Spec(
            name="mpnet-b", target=".hub.sentence:Sentence", kind="text", dim=768, pool="l2mean",
            weights=("sentence-transformers/all-mpnet-base-v2@9a3225965996d404b775526de6dbfe85d3368642",),
            license="Apache-2.0", summary="MPNet base: English sentences",
        ),
        Spec(
            name="e5-small", target=".hub.sentence:Sentence", kind="text", dim=384, pool="l2mean",
            weights=("intfloat/multilingual-e5-small@fd1525a9fd15316a2d503bf26ab031a61d056e98",), license="MIT",
            summary="E5 small, many languages; prompts query and passage",
        ),
        Spec(
            name="bge-small", target=".hub.sentence:Sentence", kind="text", dim=384, pool="l2cls",
            weights=("BAAI/bge-small-en-v1.5@5c38ec7c405ec4b44b94cc5a9bb96e735b38267a",), license="MIT",
            summary="BGE small: English sentences",
        ),
    )
}  # fmt: skip
