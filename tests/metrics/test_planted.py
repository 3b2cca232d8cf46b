import pytest
import torch
from datasets import Dataset
from planted import (
    earlier,
    example_rules,
    fires_after,
    fires_after_any,
    fires_on_either,
    fires_on_first,
    planted_subject,
    planted_tokens,
)

from sae_lens_metrics import Corpus

BOS = 49


def on(rule, *tokens):
    return rule(torch.tensor([tokens]))[0].tolist()


def test_rules_fire_where_they_say():
    assert earlier(torch.tensor([[1, 2, 3]]), 1).tolist() == [[-1, 1, 2]]
    assert earlier(torch.tensor([[1]]), 2).tolist() == [[-1]]
    assert on(fires_after(1), 1, 2, 1) == [1, 0, 1]
    assert on(fires_after(2, 3, value=2.0), 3, 2, 3, 3) == [0, 0, 2, 0]
    assert on(fires_after(4, None, 5), 4, 5, 5, 4, 9, 5) == [0, 0, 1, 0, 0, 1]
    assert on(fires_after(None, 5), 5, 5) == [0, 1]
    assert on(fires_on_first(6), 6, 6) == [1, 0]
    assert on(fires_on_first(6, bos=BOS), 6, BOS, 6, 6) == [0, 0, 1, 0]
    assert on(fires_after_any([(1, 7), (2, 7), (7,)], [2.0, 3.0, 1.0]), 7, 1, 7, 2, 7) == [1, 0, 2, 0, 3]
    assert on(fires_on_either(8, 1, 2), 1, 8, 1, 8, 2, 9, 8, 9, 8) == [0, 0, 0, 1, 0, 0, 1, 0, 0]


@pytest.mark.parametrize("bos", [None, BOS])
def test_the_latents_are_the_rules(bos):
    rules = example_rules(bos)
    subject = planted_subject(rules, bos=bos)
    tokens = planted_tokens(subject, 400)
    prefix = subject.site.prefix(tokens)
    x = subject.site.activations(prefix)
    z = subject.dictionary.encode(x)
    assert torch.equal(z, torch.stack([rule(tokens) for rule in rules], dim=-1).float())
    assert (z.flatten(0, 1).max(0).values > 0).all()  # each fires somewhere
    assert torch.equal(subject.dictionary.decode(z, x), x)
    assert torch.equal(subject.site.logits(prefix, x), subject.site.logits(prefix))
    assert not torch.equal(subject.site.logits(prefix, x + 1), subject.site.logits(prefix))
    assert subject.site.losses(prefix, subject.dictionary.decode(z, x)).shape == (400, subject.language.context_size - 1)


def test_what_the_subject_knows_about_sequences():
    plain = planted_subject(example_rules(), context_size=12)
    assert (plain.language.prepend_bos, plain.language.context_size, plain.language.vocabulary, plain.language.tokenizer) == (
        False,
        12,
        50,
        None,
    )
    assert plain.site.valid(planted_tokens(plain, 2)).all()
    with_bos = planted_subject(example_rules(BOS), bos=BOS, pad=0)
    tokens = planted_tokens(with_bos, 2)
    assert with_bos.language.prepend_bos
    assert with_bos.language.special_tokens.tolist() == [0, BOS]
    assert with_bos.site.valid(tokens).tolist() == [[False] + [True] * 15] * 2


def test_documents_are_separated_by_bos():
    subject = planted_subject(example_rules(BOS), bos=BOS, context_size=8)
    rows = Dataset.from_dict({"text": [" t6 t1 t2"] * 40})
    corpus = Corpus.from_dataset(rows, subject, tokens=64)
    assert (corpus.tokens[:, 0] == BOS).all()
    z = subject.dictionary.encode(subject.site.activations(subject.site.prefix(corpus.tokens)))
    starts = (corpus.tokens == 6) & (earlier(corpus.tokens, 1) == BOS)
    assert starts.sum() > 8
    assert torch.equal(z[..., 3], starts.float())
