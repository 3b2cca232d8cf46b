"""Attributes of other packages' classes that this package relies on though nothing promises them: where each is, and what for."""

__all__ = ["ATTRIBUTES"]

ATTRIBUTES = {
    "sae_lens.LanguageModelSAETrainingRunner.run_trainer_with_interruption_handling": "what happens around a training run",
    "sae_lens.MultiSAETrainingRunner._run_with_interruption_handling": "the same for several SAEs",
    "sae_lens.training.sae_trainer.SAETrainer.save_checkpoint": "evaluating at each checkpoint",
    "sae_lens.SAE.process_sae_in": "what the encoder's affine map is applied to",
    "sae_lens.SAE.turn_off_forward_pass_hook_z_reshaping": "flat activations of SAEs at attention heads",
    "sae_lens.SAE.turn_on_forward_pass_hook_z_reshaping": "and back",
    "sae_lens.training.prefetch.PrefetchingIterator.paused": "using the model while a store reads ahead",
    "sae_lens.training.activations_store.ActivationsStore.from_config": "a store of our own for held-out text",
}
"""By full path, what each stands in for."""
