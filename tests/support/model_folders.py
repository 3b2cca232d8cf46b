"""Small random models of several architectures as Hugging Face folders, and SAEs for them."""

import copy
import shutil

import torch
from saes import training_sae
from tiny_release import TINY_LM
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from sae_lens_metrics.subject.inference_sae import inference_sae

WIDTH, LAYERS, CONTEXT = 32, 3, 32
HOOK = "blocks.1.hook_resid_post"
_SHAPE = {"hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": 4, "vocab_size": 4096}
_SHAPE |= {"intermediate_size": 64, "max_position_embeddings": 128, "bos_token_id": 0, "eos_token_id": 0}
_GROUPED = {"num_key_value_heads": 2, "head_dim": 8}
_GPT2 = {"n_embd": WIDTH, "n_layer": LAYERS, "n_head": 4, "n_positions": 128, "vocab_size": 4096, "bos_token_id": 0, "eos_token_id": 0}
ARCHITECTURES = {
    "llama": lambda **k: LlamaForCausalLM(LlamaConfig(**{**_SHAPE, "num_key_value_heads": 2, **k})),
    "neox": lambda **k: GPTNeoXForCausalLM(GPTNeoXConfig(**{**_SHAPE, **k})),
    "gemma2": lambda **k: Gemma2ForCausalLM(Gemma2Config(**{**_SHAPE, **_GROUPED, "sliding_window": 16, **k})),
    "qwen3": lambda **k: Qwen3ForCausalLM(Qwen3Config(**{**_SHAPE, **_GROUPED, **k})),
    "gpt2": lambda **k: GPT2LMHeadModel(GPT2Config(**{**_GPT2, **k})),
}


def model_folder(architecture, folder, *, dtype=torch.float32, variants=(), **changes):
    """A model whose layers all matter, with the tokenizer of the package's own; ``variants`` are dtypes that it is there in, too."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = ARCHITECTURES[architecture](**changes)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
    for variant in variants:
        copy.deepcopy(model).to(variant).save_pretrained(folder, variant=str(variant).removeprefix("torch."))
    model.to(dtype).save_pretrained(folder)  # the last one, as it says the dtype in config.json
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TINY_LM / name, folder / name)
    return folder


def sae_folder(folder, *, hook=HOOK, model_class="HookedTransformer", architecture="standard", **metadata):
    """An inference SAE for one of these models; more metadata by keyword."""
    sae = inference_sae(training_sae(architecture, hook=hook, d_in=WIDTH, context_size=CONTEXT))
    for name, value in {"model_class_name": model_class, "model_name": "unknown", **metadata}.items():
        setattr(sae.cfg.metadata, name, value)
    sae.save_model(folder)
    return folder
