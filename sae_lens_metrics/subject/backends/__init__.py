"""Running a model up to a hook, and onwards from it with another activation in place.

Only these files know hooks. ``protocol.py`` says what every backend answers; ``full_run.py`` asks nothing of a model but hooks, and
serves as the reference for the others.
"""

import difflib
from typing import Any

from sae_lens_metrics.errors import SubjectError
from sae_lens_metrics.integrations.saelens import extract_layer_from_tlens_hook_name
from sae_lens_metrics.integrations.transformer_lens import HookedTransformer
from sae_lens_metrics.subject.backends.at_once import (
    concurrently,
    each_part,
    rows_of,
    tokens_at_once,
    tokens_of_a_run,
    unembedded_at_once,
)
from sae_lens_metrics.subject.backends.from_hook import FromHookBackend
from sae_lens_metrics.subject.backends.full_run import FullRunBackend, evaluating
from sae_lens_metrics.subject.backends.memory import Onwards, Past, Prefix
from sae_lens_metrics.subject.backends.own_cache import OwnCacheBackend, carries_own_cache
from sae_lens_metrics.subject.backends.protocol import Abilities, Backend

__all__ = [
    "Abilities",
    "Backend",
    "FromHookBackend",
    "FullRunBackend",
    "Onwards",
    "OwnCacheBackend",
    "Past",
    "Prefix",
    "concurrently",
    "each_part",
    "evaluating",
    "make_backend",
    "rows_of",
    "tokens_at_once",
    "tokens_of_a_run",
    "unembedded_at_once",
]

_SWITCHES = {
    "hook_mlp_in": "use_hook_mlp_in",
    "hook_attn_in": "use_attn_in",
    "hook_q_input": "use_split_qkv_input",
    "hook_k_input": "use_split_qkv_input",
    "hook_v_input": "use_split_qkv_input",
    "hook_result": "use_attn_result",
}
"""Settings of TransformerLens's models without which they do not call some hooks, by the ends of their names."""


def make_backend(model: Any, hook_name: str, model_kwargs: dict[str, Any] | None = None) -> Backend:
    """The fastest backend that can serve the model and the hook.

    Raises:
        SubjectError: If the model has no such hook, or does not call it; some models ignore an unknown hook in silence.
    """
    hooks = getattr(model, "hook_dict", None)
    if hooks is None or not hasattr(model, "run_with_hooks"):
        raise SubjectError(
            f"a {type(model).__name__} has no hook points: pass a HookedTransformer, or what sae_lens.load_model.load_model returns"
        )
    if hook_name not in hooks:
        near = difflib.get_close_matches(hook_name, hooks, n=3, cutoff=0.0)
        raise SubjectError(f"the model has no hook {hook_name!r}: the nearest names are {', '.join(near)}")
    switch = _SWITCHES.get(hook_name.rsplit(".", 1)[-1], "")
    if getattr(getattr(model, "cfg", None), switch, None) is False:
        raise SubjectError(f"the model does not call its hook {hook_name!r} by itself: first call model.set_{switch}(True)")
    if carries_own_cache(model):
        return OwnCacheBackend(model, hook_name, model_kwargs)
    in_block = hook_name.startswith("blocks.") and extract_layer_from_tlens_hook_name(hook_name) is not None
    plain_positions = getattr(getattr(model, "cfg", None), "positional_embedding_type", None) != "shortformer"
    fast = isinstance(model, HookedTransformer) and in_block and plain_positions and not _pads_left(model)
    return (FromHookBackend if fast else FullRunBackend)(model, hook_name, model_kwargs)


def _pads_left(model: Any) -> bool:
    """With left padding the attention mask follows from the tokens, which a run from a later layer does not see."""
    return getattr(getattr(model, "tokenizer", None), "padding_side", "right") == "left"
