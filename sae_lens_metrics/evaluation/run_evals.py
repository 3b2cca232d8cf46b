"""SAELens's ``run_evals`` with the metrics added, for scripts that call it today."""

from collections.abc import Iterable, Mapping
from typing import Any

from sae_lens import SAE, ActivationsStore, TrainingSAE
from sae_lens import run_evals as saelens_run_evals

from sae_lens_metrics.errors import ConfigError
from sae_lens_metrics.evaluation.evaluate import evaluate
from sae_lens_metrics.integrations.saelens import ActivationScaler, EvalConfig
from sae_lens_metrics.metrics.config import MetricsConfig
from sae_lens_metrics.subject.inference_sae import inference_sae
from sae_lens_metrics.subject.subject import Subject
from sae_lens_metrics.text.corpus import Corpus
from sae_lens_metrics.text.reserve import draw_with_reserve
from sae_lens_metrics.text.tokenization import Tokenization

__all__ = ["run_evals"]


def run_evals(
    sae: SAE[Any],
    activation_store: ActivationsStore,
    model: Any,
    activation_scaler: ActivationScaler,
    eval_config: EvalConfig | None = None,
    model_kwargs: Mapping[str, Any] | None = None,
    exclude_special_tokens: Iterable[int] | bool = True,
    verbose: bool = False,
    *,
    metrics: MetricsConfig | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Runs SAELens's evaluation, then the metrics.

    Change the import, and the same call returns more::

        from sae_lens_metrics.evaluation.run_evals import run_evals

    Args:
        sae: As in SAELens, like the next seven.
        activation_store: The metrics read the beginning of its data set, through a store of their own.
        model: As in SAELens.
        activation_scaler: As in SAELens.
        eval_config: As in SAELens.
        model_kwargs: As in SAELens.
        exclude_special_tokens: As in SAELens; the metrics always leave special tokens out.
        verbose: As in SAELens.
        metrics: What to compute; default the preset "default".

    Returns:
        SAELens's metrics by category, with each metric as one more category (``"shrinkage"`` is SAELens's too and gains entries),
        standard errors under the same name with ``_stderr``, over how many tasks or latents with ``_n``; and SAELens's per-latent
        metrics, unchanged.

    Raises:
        ConfigError: If an inference SAE comes with an activation scaler that is not folded into it.
        CorpusError: If the store has no text.
    """
    config = metrics or MetricsConfig.preset("default")
    if isinstance(sae, TrainingSAE):
        evaluated: SAE[Any] = inference_sae(sae, activation_scaler)
    elif activation_scaler.scaling_factor is not None or getattr(activation_scaler, "whitening", None) is not None:
        raise ConfigError("the SAE is an inference SAE, but the scaler is not folded into it: fold it, and pass ActivationScaler()")
    else:
        evaluated = sae
    scalars, per_latent = saelens_run_evals(
        sae=sae,
        activation_store=activation_store,
        model=model,
        activation_scaler=activation_scaler,
        eval_config=eval_config or EvalConfig(),
        model_kwargs=model_kwargs or {},
        exclude_special_tokens=exclude_special_tokens,
        verbose=verbose,
    )
    report = evaluate(Subject(model, evaluated, model_kwargs=dict(model_kwargs or {})), _corpus(activation_store, config), config)
    for key, value in report.flat().items():
        category, name = key.split("/", 1)
        scalars.setdefault(category, {})[name] = value
    return scalars, per_latent


def _corpus(store: ActivationsStore, config: MetricsConfig) -> Corpus:
    if store.dataset is None:
        raise ConfigError("the store reads cached activations, the metrics need text: give a store over a data set")
    tokenization = Tokenization.of_store(store)
    wanted = max(2, config.tokens // store.context_size)
    rows: Any = store.dataset
    drawn, reserve = draw_with_reserve(rows, store.model, tokenization, wanted, seed=config.seed)
    return Corpus(drawn.tokens, {"kind": "store", "seed": config.seed}, documents=drawn.documents, reserve=reserve)
