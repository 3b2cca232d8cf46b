"""A planted language with its texts, probe tasks and settings, on which SAEs are trained and evaluated."""

import json
from functools import cached_property
from pathlib import Path

import torch
from ground_truth import World, truths
from planted_language import CONTEXT, HOOK, PAD, PlantedLanguage, draw_text

from sae_lens_metrics import AblationConfig, Corpus, MetricsConfig, N2GConfig, ProbeConfig, ShrinkageConfig, Subject, evaluate

__all__ = ["PlantedStudy"]

EXAMPLES = 400
"""Texts of a probe task, half of them with the feature."""


class PlantedStudy:
    """Everything that is the same for all SAEs.

    Args:
        folder: Where the probe tasks are written.
        training: Sequences to train on.
        evaluation: Sequences to evaluate on.
        tasks: Features to probe for, at most.
        seed: Of the language and its texts.
        text: Of the texts to evaluate on and of what metrics sample, if not the same: no two of them have a text in common.
    """

    def __init__(self, folder, *, training, evaluation, tasks, seed=0, text=None):
        self.model = PlantedLanguage(seed)
        self._training = (training, seed + 1)
        seed = seed if text is None else text
        self.corpus = Corpus.from_tokens(draw_text(self.model, evaluation, seed=seed + 2))
        text = draw_text(self.model, 2 * evaluation, seed=seed + 3)
        files = write_tasks(Path(folder), text, self.model.triggers.activations(text) > 0, tasks, seed)
        self.config = MetricsConfig(
            seed=seed,
            probe=ProbeConfig(tasks=[], task_files=files, examples=EXAMPLES),
            n2g=N2GConfig(context=CONTEXT, pad_token=PAD),
            ablation=AblationConfig(sequences=min(128, evaluation), positions=8),
            shrinkage=ShrinkageConfig(tokens=4_096),
        )

    @cached_property
    def training(self):
        """Activations to train on."""
        sequences, seed = self._training
        return self.world(draw_text(self.model, sequences, seed=seed))

    @cached_property
    def seen(self):
        """Activations of the evaluation text."""
        return self.world(self.corpus.tokens[:512])

    def world(self, tokens):
        """Activations of text, and the features that they are made of."""
        features = self.model.triggers.activations(tokens).flatten(0, 1)
        return World(features @ self.model.directions + self.model.bias, features, self.model.directions.data, self.model.bias.data)

    def evaluate(self, sae):
        """What the metrics say of an SAE, and what is true of it."""
        return {"numbers": self.report(sae).flat(), "truth": truths(self.subject(sae).dictionary, self.seen)}

    def report(self, sae):
        """What the metrics say of an SAE."""
        return evaluate(self.subject(sae), self.corpus, self.config)

    def subject(self, sae):
        """An SAE at the language's hook."""
        return Subject(self.model, sae, hook_name=HOOK, context_size=CONTEXT, prepend_bos=False)


def write_tasks(folder, tokens, fires, most, seed):
    """A probe task for each of some features: does it fire on the last token? Features that fire often enough, at equal distances."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(seed)
    fires = fires[:, CONTEXT // 4 :]  # after a few tokens
    common = (fires.sum((0, 1)) >= EXAMPLES // 4).nonzero()[:, 0]
    chosen = common[torch.linspace(0, len(common) - 1, min(most, len(common))).round().long()]
    return [_write_task(folder / f"feature_{int(feature)}.jsonl", tokens, fires[..., feature], generator) for feature in chosen]


def _write_task(path, tokens, fires, generator):
    rows = []
    for label in (True, False):
        places = (fires == label).nonzero()
        for sequence, position in places[torch.randperm(len(places), generator=generator)[: EXAMPLES // 2]].tolist():
            text = " ".join(f"t{token}" for token in tokens[sequence, : CONTEXT // 4 + position + 1].tolist())
            rows.append({"text": text, "label": int(label)})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)
