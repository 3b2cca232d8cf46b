"""Pure tensor mathematics: knows no model, no SAE and no file.

The metrics' own arithmetic, for tensors from anywhere:

- `probing.fit_logistic_1d`: the best one-dimensional logistic probe of each of thousands of latents; `probing.accuracy`, `probing.auc`;
- `ngram_building.build_explanation`: the n-grams that explain one latent; `matching.Matcher`: where those of many latents predict what;
- `divergence.kl_divergence`: how far the model's outputs are from what they were;
- `effect_sparsity.effect_sparsity`: how many logits an effect touches;
- `refinement.refine_activations`: the best values of the same active latents; `refinement.kkt_residual`: how far any are from them.
"""
