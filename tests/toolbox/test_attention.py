from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from percepts.toolbox.attention import (
    chunked_attention,
    elu_plus_one,
    favor_plus,
    linear_attention,
    quadratic_attention,
)

softmax_attention = torch.nn.functional.scaled_dot_product_attention


def random(n: int, m: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    sizes = (2, 3, n, 8), (2, 3, m, 8), (2, 3, m, 5)
    return tuple(torch.randn(*size, generator=generator, dtype=dtype) for size in sizes)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 150), st.integers(1, 90), st.booleans(), st.booleans())
def test_linear_attention_is_its_quadratic_form(n: int, m: int, causal: bool, performer: bool) -> None:
    q, k, v = random(n, n if causal else m)
    phi = favor_plus(8, 24) if performer else elu_plus_one
    found = linear_attention(q, k, v, phi=phi, causal=causal)
    torch.testing.assert_close(found, quadratic_attention(q, k, v, phi=phi, causal=causal), atol=1e-10, rtol=1e-8)


def test_the_causal_form_does_not_see_what_comes_after() -> None:
    q, k, v = random(100, 100)
    changed = v.clone()
    changed[..., 70:, :] = 99
    a, b = (linear_attention(q, k, x, causal=True) for x in (v, changed))
    assert torch.equal(a[..., :70, :], b[..., :70, :]) and not torch.equal(a, b)


@pytest.mark.parametrize("orthogonal", [False, True])
def test_the_error_of_favor_falls_as_one_over_the_root_of_the_number_of_features(orthogonal: bool) -> None:
    q, k, v = random(40, 40)
    q, k = q / 2, k / 2  # large exponents have heavy tails
    exact = softmax_attention(q, k, v)
    counts, errors = [16, 64, 256, 1024, 4096], []
    for count in counts:
        found = [linear_attention(q, k, v, phi=favor_plus(8, count, seed=s, orthogonal=orthogonal)) for s in range(12)]
        errors.append(torch.stack([(x - exact).square().mean() for x in found]).mean().sqrt())
    slope = (errors[-1].log() - errors[1].log()) / math.log(counts[-1] / counts[1])
    assert -0.6 < slope < -0.4  # -1/2, with the noise of twelve draws


def test_favor_has_the_exponential_of_the_product_in_the_mean() -> None:
    q, k, _ = (x / 2 for x in random(6, 6))
    said = torch.stack([(p := favor_plus(8, 512, seed=s))(q) @ p(k).transpose(-1, -2) for s in range(40)]).mean(0)
    exact = (q @ k.transpose(-1, -2) / math.sqrt(8)).exp()
    assert ((said - exact).abs() / exact).median() < 0.1


def test_orthogonal_directions_have_less_error() -> None:
    q, k, _ = (x / 2 for x in random(20, 20))
    exact = (q @ k.transpose(-1, -2) / math.sqrt(8)).exp()

    def error(orthogonal: bool) -> float:
        made = [favor_plus(8, 16, seed=s, orthogonal=orthogonal) for s in range(300)]
        return float(torch.stack([(p(q) @ p(k).transpose(-1, -2) - exact).square().mean() for p in made]).mean())

    assert error(True) < error(False)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 40), st.integers(1, 40), st.booleans())
def test_chunked_attention_is_softmax_attention(n: int, m: int, q_chunk: int, k_chunk: int, causal: bool) -> None:
    q, k, v = random(n, n if causal else m, dtype=torch.float32)
    found = chunked_attention(q * 2, k * 2, v, causal=causal, q_chunk=q_chunk, k_chunk=k_chunk)
    expected = softmax_attention(q * 2, k * 2, v, is_causal=causal)
    torch.testing.assert_close(found, expected, atol=5e-6, rtol=1e-5)  # float32, sums in another order


def test_scores_that_would_overflow_do_not() -> None:
    q, k, v = random(9, 9, dtype=torch.float32)
    assert chunked_attention(q * 1e3, k * 1e3, v, q_chunk=2, k_chunk=2).isfinite().all()


def test_gradients_are_those_of_softmax_attention() -> None:
    q, k, v = (x.requires_grad_() for x in random(20, 20))
    outputs = chunked_attention(q, k, v, q_chunk=7, k_chunk=6), softmax_attention(q, k, v)
    found, expected = (torch.autograd.grad(out.square().sum(), (q, k, v)) for out in outputs)
    torch.testing.assert_close(found, expected)


def test_its_peak_memory_is_that_of_a_chunk() -> None:
    from torch.profiler import ProfilerActivity, profile

    def peak(attend: object, n: int) -> int:
        q, k, v = (torch.randn(1, 1, n, 16) for _ in range(3))
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
            attend(q, k, v)  # type: ignore[operator]
        now = most = 0
        for event in sorted(
            (e for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"), key=lambda e: e.start_ns()
        ):
            now += event.nbytes()
            most = max(most, now)
        return most

    def full(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return (q @ k.transpose(-1, -2) / 4).softmax(-1) @ v

    def chunked(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return chunked_attention(q, k, v, q_chunk=64, k_chunk=64)

    assert peak(full, 2048) > 2048 * 2048 * 4
    assert peak(chunked, 2048) < 2048 * 2048 * 4 / 20
    assert peak(chunked, 2048) < 3 * peak(chunked, 1024)  # what grows is the answer itself, not its square


def test_wrong_shapes_are_named() -> None:
    q, k, v = random(4, 6)
    for attend in (chunked_attention, linear_attention):
        with pytest.raises(ValueError, match="N = M"):
            attend(q, k, v, causal=True)
        with pytest.raises(ValueError, match=r"\[2, 3, 4, 7\]"):
            attend(q[..., :7], k, v)
    with pytest.raises(ValueError, match="chunks of at least 1"):
        chunked_attention(q, k, v, q_chunk=0)
