from __future__ import annotations

from typing import Any

import pytest
import tiny_lm
import torch
import transformers

from percepts.adapters import SoftTokens, Splicer, generate

TEXT = {"hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "intermediate_size",
        "vocab_size", "pad_token_id", "bos_token_id", "eos_token_id", "max_position_embeddings"}  # fmt: skip
CLOSE = {"atol": 2e-6, "rtol": 1e-5}  # float32, padded and not


@pytest.fixture(scope="module")
def lm() -> transformers.LlamaForCausalLM:
    return tiny_lm.llama()


@pytest.fixture(scope="module")
def splicer(lm: transformers.LlamaForCausalLM) -> Splicer:
    return Splicer(lm, tiny_lm.tokenizer())


def soft(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 32, generator=torch.Generator().manual_seed(seed)) * 0.02


def test_markers_become_their_soft_tokens_in_the_order_of_the_text(splicer: Splicer, lm: Any) -> None:
    a, b, c = soft(2, 1), soft(3, 2), soft(1, 3)
    batch = splicer(["what <image> is <audio> and <image>"], [{"<image>": [a, c], "<audio>": [b]}])
    words = lm.get_input_embeddings().weight
    ids = tiny_lm.tokenizer()("what is and")["input_ids"]
    expected = torch.cat([words[ids[:2]], a, words[ids[2:3]], b, words[ids[3:]], c])
    torch.testing.assert_close(batch["inputs_embeds"][0], expected, rtol=0, atol=0)
    assert batch["attention_mask"].tolist() == [[1] * 10]
    assert batch["position_ids"].tolist() == [list(range(10))]
    assert batch["labels"].tolist() == [[*ids[:2], -100, -100, ids[2], -100, -100, -100, ids[3], -100]]


def test_neither_tokenizer_nor_model_is_changed(lm: Any) -> None:
    tokens, rows = tiny_lm.tokenizer(), lm.get_input_embeddings().num_embeddings
    before = len(tokens)
    Splicer(lm, tokens)(["<video>"], [{"<video>": [soft(2)]}])
    assert (len(tokens), lm.get_input_embeddings().num_embeddings) == (before, rows)


def test_padding_is_on_the_left_and_a_row_of_a_batch_is_the_row_alone(splicer: Splicer, lm: Any) -> None:
    texts = ["what is <image>", "this <audio> and <image> then", "nine"]
    media = [{"<image>": [soft(5)]}, {"<audio>": [soft(2)], "<image>": [soft(7)]}, {}]
    batch = splicer(texts, media)
    assert batch["attention_mask"][:, -1].all() and not batch["attention_mask"][2, :-2].any()
    assert (batch["labels"][batch["attention_mask"] == 0] == -100).all()
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    logits = lm(**inputs).logits
    for row, (text, medium) in enumerate(zip(texts, media, strict=True)):
        alone = splicer([text], [medium])
        alone.pop("labels")
        expected = lm(**alone).logits[0]
        torch.testing.assert_close(logits[row, -len(expected) :], expected, **CLOSE)


def test_masked_soft_tokens_are_left_out(splicer: Splicer) -> None:
    tokens = SoftTokens(soft(6).view(2, 3, 32), torch.tensor([[True, True, False], [True, False, False]]))
    whole = splicer(["<video>"], [{"<video>": [tokens]}])["inputs_embeds"]
    torch.testing.assert_close(whole[0, 1:], soft(6)[[0, 1, 3]], rtol=0, atol=0)


def test_the_labels_of_answers_are_the_answers_and_their_end(splicer: Splicer) -> None:
    batch = splicer(["<audio> answer :", "<audio> :"], [{"<audio>": [soft(2)]}] * 2, answers=["two", "three four"])
    ids = tiny_lm.tokenizer()("two three four", add_special_tokens=False)["input_ids"]
    assert batch["labels"][0].tolist() == [-100] * 5 + [ids[0], 2]
    assert batch["labels"][1].tolist() == [-100] * 4 + [*ids[1:], 2]


@pytest.mark.parametrize(
    "text, media, message",
    [
        ("<image> and <image>", {"<image>": 1}, "text 0 holds 2 <image> markers, and soft tokens of 1 came"),
        ("this", {"<audio>": 1}, "text 0 holds 0 <audio> markers, and soft tokens of 1 came"),
        ("<video>", {}, "text 0 holds 1 <video> markers, and soft tokens of 0 came"),
        ("<smell>", {"<smell>": 1}, "expected markers of <image>, <audio>, <video>, got <smell>"),
    ],
)
def test_a_wrong_count_names_both_counts_and_the_marker(
    splicer: Splicer, text: str, media: dict[str, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        splicer([text], [{marker: [soft(2)] * count for marker, count in media.items()}])


def test_other_wrong_asking(splicer: Splicer) -> None:
    with pytest.raises(ValueError, match="1 texts, 0 media"):
        splicer(["this"], [])
    with pytest.raises(ValueError, match="model's 32, got 31"):
        splicer(["<image>"], [{"<image>": [torch.zeros(2, 31)]}])
    with pytest.raises(ValueError, match=r"\(n, D\), got \[1, 2, 32\]"):
        splicer(["<image>"], [{"<image>": [torch.zeros(1, 2, 32)]}])


def test_generation_from_embeds_goes_on_where_the_text_ends(splicer: Splicer, lm: Any) -> None:
    texts, media = ["what is <image> ?", "this"], [{"<image>": [soft(5)]}, {}]
    together = generate(splicer, texts, media, max_new_tokens=6, do_sample=False)
    alone = [
        generate(splicer, [t], [m], max_new_tokens=6, do_sample=False)[0] for t, m in zip(texts, media, strict=True)
    ]
    assert together == alone
    ids = lm.generate(torch.tensor([tiny_lm.tokenizer()("this")["input_ids"]]), max_new_tokens=6, do_sample=False)
    assert together[1] == tiny_lm.tokenizer().decode(ids[0, 2:], skip_special_tokens=True)


def test_our_output_is_that_of_llava_fed_the_same_features() -> None:
    torch.manual_seed(5)
    tokens = tiny_lm.tokenizer(("<image>",))
    vision = transformers.CLIPVisionConfig(hidden_size=16, intermediate_size=24, num_hidden_layers=2,
                                           num_attention_heads=2, image_size=8, patch_size=4)  # fmt: skip
    theirs = transformers.LlavaForConditionalGeneration(
        transformers.LlavaConfig(
            vision_config=vision, text_config=tiny_lm.config(48), image_token_id=tokens.get_vocab()["<image>"]
        )
    ).eval()
    pixels = torch.randn(3, 3, 8, 8)
    features = theirs.get_image_features(pixels).pooler_output
    texts = ["what is <image> and <image> ?", "<image> this"]
    expanded = [text.replace("<image>", "<image>" * len(features[0])) for text in texts]
    ids = tokens(expanded, padding=True, padding_side="left", return_tensors="pt")
    batch = Splicer(theirs, tokens)(texts, [{"<image>": list(features[:2])}, {"<image>": [features[2]]}])
    assert torch.equal(batch["attention_mask"], ids["attention_mask"])
    expected = theirs(input_ids=ids["input_ids"], attention_mask=ids["attention_mask"], pixel_values=pixels).logits
    found = theirs(inputs_embeds=batch["inputs_embeds"], attention_mask=batch["attention_mask"]).logits
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    lm = transformers.LlamaForCausalLM(tiny_lm.config(48)).eval()  # a plain language model with the same weights
    lm.model, lm.lm_head = theirs.model.language_model, theirs.lm_head
    plain = lm(inputs_embeds=batch["inputs_embeds"], attention_mask=batch["attention_mask"]).logits
    torch.testing.assert_close(plain, expected, rtol=0, atol=0)


def test_our_output_is_that_of_qwen2_audio_fed_the_same_features() -> None:
    torch.manual_seed(6)
    tokens = tiny_lm.tokenizer(("<|AUDIO|>",))
    audio = {"d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 24,
             "num_mel_bins": 8, "max_source_positions": 20}  # fmt: skip
    text = {"model_type": "qwen2", **{k: v for k, v in tiny_lm.config(48).to_dict().items() if k in TEXT}}
    config = transformers.Qwen2AudioConfig(
        audio_config=audio, text_config=text, audio_token_id=tokens.get_vocab()["<|AUDIO|>"]
    )
    theirs = transformers.Qwen2AudioForConditionalGeneration(config).eval()
    mel, valid = torch.randn(2, 8, 40), torch.ones(2, 40, dtype=torch.long)
    encoder, projector = theirs.model.audio_tower, theirs.model.multi_modal_projector
    features = projector(encoder(mel, attention_mask=torch.zeros(2, 1, 20, 20)).last_hidden_state)
    texts = ["what is <|AUDIO|> ?", "<|AUDIO|> this is then"]
    expanded = [text.replace("<|AUDIO|>", "<|AUDIO|>" * features.shape[1]) for text in texts]
    ids = tokens(expanded, padding=True, padding_side="left", return_tensors="pt")
    batch = Splicer(theirs, tokens, ["<|AUDIO|>"])(texts, [{"<|AUDIO|>": [row]} for row in features])
    expected = theirs(**ids, input_features=mel, feature_attention_mask=valid).logits
    found = theirs(inputs_embeds=batch["inputs_embeds"], attention_mask=batch["attention_mask"]).logits
    torch.testing.assert_close(found, expected, **CLOSE)
