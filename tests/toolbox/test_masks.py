from __future__ import annotations

import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from percepts.toolbox.masks import Band, BlockLocal, Dilated, Global, Pattern, Random, Union, bigbird, longformer

PATTERNS = st.one_of(
    st.builds(Global, st.integers(1, 4)), st.builds(Band, st.integers(0, 5)), st.builds(BlockLocal, st.integers(1, 7)),
    st.builds(Dilated, st.integers(1, 4), st.integers(1, 3)), st.builds(Random, st.integers(1, 4), st.integers(0, 9)),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(PATTERNS, PATTERNS, PATTERNS, st.integers(1, 33))
def test_the_union_is_a_union(a: Pattern, b: Pattern, c: Pattern, length: int) -> None:
    assert torch.equal((a | b).matrix(length), a.matrix(length) | b.matrix(length))
    assert (a | b | c) == (a | (b | c))
    assert torch.equal((a | b).matrix(length), (b | a).matrix(length))
    assert max(a.density(length), b.density(length)) <= (a | b).density(length) <= a.density(length) + b.density(length)


def test_each_pattern_is_what_it_says() -> None:
    n = 12
    for q in range(n):
        for k in range(n):
            assert Global(2).matrix(n)[q, k] == (q < 2 or k < 2)
            assert Band(3).matrix(n)[q, k] == (abs(q - k) <= 3)
            assert Dilated(2, 3).matrix(n)[q, k] == (abs(q - k) in (0, 3, 6))
            assert BlockLocal(5).matrix(n)[q, k] == (q // 5 == k // 5)
    drawn = Random(4, 1).matrix(n)
    assert (drawn.sum(1) == 4).all() and torch.equal(drawn, Random(4, 1).matrix(n))
    assert not torch.equal(drawn, Random(4, 2).matrix(n)) and Random(99).density(n) == 1


def test_density_by_hand() -> None:
    assert Band(1).density(10) == 28 / 100
    assert BlockLocal(5).density(10) == 0.5


def test_presets_are_unions() -> None:
    assert longformer(4, 2) == Band(2) | Global(2)
    assert isinstance(bigbird(4, 2, 3), Union) and len(bigbird(4, 2, 3).parts) == 3
    assert longformer().density(2048) < 0.25


@pytest.mark.parametrize("pattern", [longformer(8, 2), bigbird(8, 2, 3), BlockLocal(16) | Dilated(2, 8)])
def test_flex_attention_with_the_block_mask_is_attention_with_the_matrix(pattern: Pattern) -> None:
    from torch.nn.attention.flex_attention import flex_attention

    torch.manual_seed(0)
    q, k, v = torch.randn(3, 1, 2, 64, 16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is slow without torch.compile: right is enough here
        found = flex_attention(q, k, v, block_mask=pattern.block_mask(64, block=16))
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=pattern.matrix(64))
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=1e-5)  # sums in another order


def test_empty_blocks_are_left_out() -> None:
    mask = Band(8).block_mask(256, block=32)
    assert mask.sparsity() > 60


@pytest.mark.parametrize("make", [lambda: Global(0), lambda: Dilated(1, 0), lambda: BlockLocal(0), lambda: Random(0)])
def test_nothing_is_no_pattern(make: object) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        make()  # type: ignore[operator]
