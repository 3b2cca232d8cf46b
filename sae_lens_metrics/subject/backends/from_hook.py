"""Runs of a HookedTransformer that leave out the layers that do not matter."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sae_lens_metrics.errors import SubjectError
from sae_lens_metrics.integrations.saelens import extract_layer_from_tlens_hook_name
from sae_lens_metrics.integrations.transformer_lens import HookedTransformer, TransformerLensKeyValueCacheEntry
from sae_lens_metrics.integrations.widening import computes_in
from sae_lens_metrics.subject.backends.full_run import FullRunBackend, evaluating, last_seen, widest_layer
from sae_lens_metrics.subject.backends.lean_blocks import LeanBlock, Projections
from sae_lens_metrics.subject.backends.memory import KeysValues, Onwards, Past, Prefix
from sae_lens_metrics.subject.backends.protocol import Abilities
from sae_lens_metrics.subject.backends.unembedding import unembedded_differences

__all__ = ["FromHookBackend"]


class _Memory(NamedTuple):
    """What runs onwards from a hook share."""

    keys_values: KeysValues
    """Of each layer after the hook, on the positions before the first changed one."""
    first: Projections | None
    """Of the first of these layers, on the other positions too: where nothing is changed, nothing there is changed either."""


class FromHookBackend(FullRunBackend):
    """For a HookedTransformer and a hook inside a block: runs only the layers before, or only those from the hook on."""

    def __init__(self, model: HookedTransformer, hook_name: str, model_kwargs: dict[str, Any] | None = None) -> None:
        super().__init__(model, hook_name, model_kwargs)
        layer = extract_layer_from_tlens_hook_name(hook_name)
        if layer is None:
            raise SubjectError(f"{hook_name!r} is not inside a block")
        self._blocks = [LeanBlock(block) for block in model.blocks]
        self._residual_is_activation = hook_name.endswith(("hook_resid_pre", "hook_resid_post"))
        # after hook_resid_post the next block's input is the activation itself
        self._layer = layer + 1 if hook_name.endswith("hook_resid_post") else layer
        # blocks are run where they are, without arguments
        self._one_by_one = not self.model_kwargs and getattr(model.cfg, "n_devices", 1) == 1
        # weights that are widened when a layer is called are so for one thread, and for whole layers
        whole_layers = computes_in(torch.nn.ModuleList(self.onward_layers())) != model.cfg.dtype
        # several threads only where no hook is needed: otherwise one would see what passes another one's
        concurrent = self._residual_is_activation and not whole_layers
        self.abilities = Abilities(
            concurrent=concurrent,
            unembeds=self._one_by_one,
            remembers_past=self._one_by_one,
            remembers_onwards=self._one_by_one,
        )
        self._trims_last_block = _keys_and_values_are_plain(model.cfg) and not whole_layers

    def onward_layers(self) -> list[torch.nn.Module]:
        """The modules that runs from the hook on call."""
        return [*self.model.blocks[self._layer :], *([self.model.ln_final] if hasattr(self.model, "ln_final") else []), self.model.unembed]

    def prefix(self, tokens: Int[Tensor, "batch pos"]) -> Prefix:
        """Runs the layers before the hook."""
        tokens = tokens.to(self.device)
        with evaluating(self.model), torch.no_grad():
            residual = self._to_layer(tokens)
            if self._residual_is_activation:
                return Prefix(tokens, residual, residual)
            seen: list[Tensor] = []
            capture = [(self.hook_name, lambda activation, hook: seen.append(activation))]
            self.model.run_with_hooks(
                residual, start_at_layer=self._layer, stop_at_layer=self._layer + 1, fwd_hooks=capture, **self.model_kwargs
            )
        return Prefix(tokens, last_seen(seen, self.hook_name), residual)

    def _to_layer(self, tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos d_model"]:
        """The residual stream before the layer of the hook."""
        if not self._one_by_one:
            return self.model(tokens, stop_at_layer=self._layer, **self.model_kwargs)
        residual = self._embed(tokens, 0)
        for block in self._blocks[: self._layer]:
            residual = block(residual)
        return residual

    def before_unembedding(self, prefix: Prefix, activation: Float[Tensor, "batch pos ..."] | None) -> Float[Tensor, "batch pos d_output"]:
        """Runs the layers from the hook on; the logits themselves where blocks cannot be called one by one."""
        residual = self._residual(prefix) if activation is None or not self._residual_is_activation else activation
        in_place = nullcontext() if activation is None else self._in_place(activation)
        with evaluating(self.model), torch.no_grad(), in_place:
            if not self._one_by_one:
                return self.model(residual, start_at_layer=self._layer, return_type="logits", **self.model_kwargs)
            for block in self._blocks[self._layer :]:
                residual = block(residual)
            return self._final_norm(residual)

    def unembedded(self, outputs: Float[Tensor, "*batch d_output"]) -> Float[Tensor, "*batch vocab"]:
        """Logits of some positions from what ``before_unembedding`` gives for them."""
        if not self._one_by_one:
            return outputs
        with torch.no_grad():
            logits = self.model.unembed(outputs)
        return self._cap * (logits / self._cap).tanh() if self._cap else logits

    def at(self, tokens: Int[Tensor, "batch pos"], position: Int[Tensor, "batch"]) -> Float[Tensor, "batch 1 ..."]:
        """Runs the layers up to the hook; the last of them, where the hook is at its end, computes one position of each sequence only."""
        if not (self._one_by_one and self._residual_is_activation and self._layer):
            return super().at(tokens, position)
        with evaluating(self.model), torch.no_grad():
            residual = self._embed(tokens.to(self.device), 0)
            for block in self._blocks[: self._layer - 1]:
                residual = block(residual)
            return self._blocks[self._layer - 1].at(residual, position.to(residual.device))

    def past(self, tokens: Int[Tensor, "rows past"]) -> Past:
        """Runs the layers up to the hook, and keeps their keys and values."""
        tokens = tokens.to(self.device)
        blocks = self._blocks_to_hook()
        entries = [TransformerLensKeyValueCacheEntry.init_cache_entry(self.model.cfg, self.device, len(tokens)) for _ in blocks]
        if blocks and tokens.shape[1]:
            with evaluating(self.model), torch.no_grad():
                residual = self._embed(tokens, 0)
                for block, entry in zip(blocks[:-1], entries[:-1], strict=True):
                    residual = block(residual, past_kv_cache_entry=entry)
                self._remember(blocks[-1], entries[-1], residual)
        return Past(tokens, tuple((entry.past_keys, entry.past_values) for entry in entries))

    def last(self, past: Past, tokens: Int[Tensor, "rows new"]) -> Float[Tensor, "rows 1 ..."]:
        """Runs the layers up to the hook on what follows the past; the last of them computes the last position only."""
        tokens = tokens.to(self.device)
        with evaluating(self.model), torch.no_grad():
            residual = self._embed(tokens, past.tokens.shape[1])
            blocks = self._blocks_to_hook()
            entries = [TransformerLensKeyValueCacheEntry(keys, values) for keys, values in past.keys_values]
            for block, entry in zip(blocks[:-1], entries[:-1], strict=True):
                residual = block(residual, past_kv_cache_entry=entry)
            if not blocks:
                return residual[:, -1:]
            if self._trims_last_block:
                self._remember(blocks[-1], entries[-1], residual[:, :-1])
                residual = residual[:, -1:]
            return self._at_hook(blocks[-1], entries[-1], residual)[:, -1:]

    def onwards(self, prefix: Prefix, activation: Float[Tensor, "batch pos ..."], start: int) -> Onwards:
        """Runs the layers after the hook on what comes before the position, and keeps their keys and values."""
        blocks = self._blocks[self._layer :]
        entries = [TransformerLensKeyValueCacheEntry.init_cache_entry(self.model.cfg, self.device, len(activation)) for _ in blocks]
        if blocks and start:
            with evaluating(self.model), torch.no_grad(), self._in_place(activation[:, :start]):
                residual = (activation if self._residual_is_activation else self._residual(prefix))[:, :start]
                for block, entry in zip(blocks[:-1], entries[:-1], strict=True):
                    residual = block(residual, past_kv_cache_entry=entry)
                self._remember(blocks[-1], entries[-1], residual)
        known = [(entry.past_keys, entry.past_values) for entry in entries]
        first = None
        if blocks and self._residual_is_activation and blocks[0].is_lean(activation):
            with evaluating(self.model), torch.no_grad():
                first = blocks[0].project(activation[:, start:], entries[0])
            known[0] = (first.keys[:, :start], first.values[:, :start])
        return Onwards(prefix, activation, start, _Memory(tuple(known), first))

    def outputs(
        self, onwards: Onwards, rows: Int[Tensor, "n"], change: Float[Tensor, "n c ..."] | None
    ) -> Float[Tensor, "n length d_output"]:
        """Runs the layers from the hook on, on the positions from the changed one on; the outputs are what is unembedded."""
        activation = onwards.changed(rows, change)
        blocks = self._blocks[self._layer :]
        with evaluating(self.model), torch.no_grad(), self._in_place(activation):
            residual = activation if self._residual_is_activation else self._residual(onwards.prefix)[rows, onwards.start :]
            remembered = list(zip(blocks, onwards.memory.keys_values, strict=True))
            positions = 0 if change is None else change.shape[1]
            if onwards.memory.first is not None and positions < onwards.length and blocks[0].is_lean(residual):
                residual = blocks[0].changed(residual, onwards.memory.first, rows, positions)
                remembered = remembered[1:]
            for block, (keys, values) in remembered:
                residual = block(residual, past_kv_cache_entry=TransformerLensKeyValueCacheEntry(keys[rows], values[rows]))
            return self._final_norm(residual)

    def logit_differences(
        self, outputs: Float[Tensor, "n pos d_output"], unchanged: Float[Tensor, "n pos d_output"]
    ) -> Float[Tensor, "n pos vocab"]:
        """Unembeds differences, which is more precise, and less work, than to unembed both and subtract."""
        return unembedded_differences(outputs, unchanged, self.model.unembed.W_U, self._cap, self.model.unembed)

    def bytes_per_output(self, onwards: Onwards, vocabulary: int) -> int:
        """Memory that ``outputs`` takes for each run while it computes, roughly, in bytes."""
        kept = sum(keys[0].numel() + values[0].numel() for keys, values in onwards.memory.keys_values[:1])  # of one layer at a time
        return 4 * (2 * kept + onwards.length * widest_layer(self.model))

    def _in_place(self, activation: Tensor) -> AbstractContextManager[Any]:
        """Puts an activation into the place of the model's own, where a hook is needed for that."""
        if self._residual_is_activation:
            return nullcontext()
        return self.model.hooks(fwd_hooks=[(self.hook_name, lambda _, hook: activation)])

    @property
    def _cap(self) -> float:
        """What logits are softly capped at; 0 for no cap."""
        return max(0.0, self.model.cfg.output_logits_soft_cap)

    def _final_norm(self, residual: Tensor) -> Tensor:
        return self.model.ln_final(residual) if hasattr(self.model, "ln_final") else residual

    def _residual(self, prefix: Prefix) -> Tensor:
        assert prefix.residual is not None  # as in every prefix of this backend
        return prefix.residual

    def _blocks_to_hook(self) -> list[LeanBlock]:
        """The blocks that a run up to the hook needs; the hook is in the last of them, or at its end."""
        return self._blocks[: self._layer + (not self._residual_is_activation)]

    def _embed(self, tokens: Tensor, offset: int) -> Tensor:
        return self.model.get_residual(self.model.hook_embed(self.model.embed(tokens)), offset, tokens=tokens)[0]

    def _remember(self, block: LeanBlock, entry: TransformerLensKeyValueCacheEntry, residual: Tensor) -> None:
        """Appends a block's keys and values for its input; where that is possible, nothing else is computed."""
        if not self._trims_last_block:
            block(residual, past_kv_cache_entry=entry)
        elif residual.shape[1]:
            entry.append(*block.keys_values(residual))

    def _at_hook(self, block: LeanBlock, entry: TransformerLensKeyValueCacheEntry, residual: Tensor) -> Tensor:
        if self._residual_is_activation:
            return block(residual, past_kv_cache_entry=entry)
        seen: list[Tensor] = []
        with self.model.hooks(fwd_hooks=[(self.hook_name, lambda activation, hook: seen.append(activation))]):
            block(residual, past_kv_cache_entry=entry)
        return seen[-1]


def _keys_and_values_are_plain(cfg: Any) -> bool:
    """Whether a block's keys and values are its normalised input times weights, and nothing more."""
    changed = cfg.use_split_qkv_input or cfg.use_attn_in or getattr(cfg, "clip_qkv", None) is not None
    return not changed and not str(cfg.original_architecture).startswith("Olmo")
