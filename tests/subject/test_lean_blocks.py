"""Layers of a HookedTransformer that are run without what is there for hooks, against the layers themselves."""

import pytest
import torch
from small_transformers import KINDS, small_transformer
from transformer_lens import TransformerLensKeyValueCacheEntry

from sae_lens_metrics.subject.backends import lean_blocks
from sae_lens_metrics.subject.backends.lean_blocks import LeanBlock

LEAN = [
    "learned positions",
    "rotary positions",
    "part of each head rotary",
    "grouped queries",
    "RMS norm",
    "RMS norm, gated MLP, rotary",
    "parallel attention and MLP",
    "RMS norm, parallel attention and MLP",
    "no MLP",
    "split inputs of the MLP",
    "norms of queries and keys",
]
ROWS, EARLIER, NEW = 3, 5, 4


@pytest.fixture
def calls(monkeypatch):
    """How often PyTorch's attention is called by a lean layer."""
    seen = []
    attend = lean_blocks.scaled_dot_product_attention
    monkeypatch.setattr(lean_blocks, "scaled_dot_product_attention", lambda *a, **k: seen.append(1) or attend(*a, **k))
    return seen


def residuals(model, positions, seed=0):
    return torch.randn(ROWS, positions, model.cfg.d_model, generator=torch.Generator().manual_seed(seed)).to(model.cfg.dtype)


def entry(model):
    return TransformerLensKeyValueCacheEntry.init_cache_entry(model.cfg, "cpu", ROWS)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_lean_layer_gives_what_the_layer_gives(kind, calls):
    model = small_transformer(kind)
    whole = residuals(model, EARLIER + NEW)
    for block in model.blocks:
        lean = LeanBlock(block)
        torch.testing.assert_close(lean(whole), block(whole), rtol=1e-5, atol=1e-5)
        ours, theirs = entry(model), entry(model)
        for part in (whole[:, :EARLIER], whole[:, EARLIER:-1], whole[:, -1:]):  # many positions, some, a single one
            torch.testing.assert_close(lean(part, ours), block(part, past_kv_cache_entry=theirs), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(ours.past_keys, theirs.past_keys)
        torch.testing.assert_close(ours.past_values, theirs.past_values)
    assert bool(calls) == (kind in LEAN)


@pytest.mark.parametrize("kind", LEAN)
@pytest.mark.parametrize("changed", [0, 1, 2])
@torch.no_grad()
def test_what_is_not_changed_is_not_projected_again(kind, changed, monkeypatch):
    model = small_transformer(kind)
    block, whole = model.blocks[1], residuals(model, EARLIER + NEW)
    lean, rows = LeanBlock(block), torch.tensor([2, 0, 0, 1, 2])
    memory = entry(model)
    lean(whole[:, :EARLIER], memory)
    known = lean.project(whole[:, EARLIER:], memory)
    before = [each.clone() for each in known]
    runs = whole[rows]
    runs[:, EARLIER : EARLIER + changed] = torch.randn(len(rows), changed, model.cfg.d_model, generator=torch.Generator().manual_seed(1))
    expected = block(runs)[:, EARLIER:]
    projected, project = [], lean.project
    monkeypatch.setattr(lean, "project", lambda residual: projected.append(residual.shape[1]) or project(residual))
    torch.testing.assert_close(lean.changed(runs[:, EARLIER:], known, rows, changed), expected, rtol=1e-5, atol=1e-5)
    assert projected == ([changed] if changed else [])
    assert all(map(torch.equal, known, before))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@torch.no_grad()
def test_a_lean_layer_in_other_precisions(dtype, calls):
    model = small_transformer("grouped queries").to(dtype)
    x = residuals(model, NEW)
    lean, plain = LeanBlock(model.blocks[1])(x), model.blocks[1](x)
    assert lean.dtype == plain.dtype == dtype
    assert float((lean - plain).norm() / plain.norm()) < 8 * torch.finfo(dtype).eps
    assert calls


@torch.no_grad()
def test_hooks_inside_a_layer_see_and_change_it(calls):
    model = small_transformer("learned positions")
    lean, x, patterns = LeanBlock(model.blocks[0]), residuals(model, NEW), []

    def blind(pattern, hook):
        patterns.append(pattern)
        return torch.zeros_like(pattern)

    before = lean(x)
    with model.hooks(fwd_hooks=[("blocks.0.attn.hook_pattern", blind)]):
        calls.clear()
        changed, expected = lean(x), model.blocks[0](x)
        assert not calls
    assert len(patterns) == 2
    assert torch.equal(changed, expected)
    assert not torch.allclose(before, changed)
    assert torch.equal(before, lean(x))


@torch.no_grad()
def test_weights_are_read_when_a_layer_is_run():
    model = small_transformer("learned positions")
    lean, x = LeanBlock(model.blocks[0]), residuals(model, NEW)
    before = lean(x)
    model.blocks[0].mlp.W_out *= 2
    assert not torch.allclose(before, lean(x))
    torch.testing.assert_close(lean(x), model.blocks[0](x), rtol=1e-5, atol=1e-5)
