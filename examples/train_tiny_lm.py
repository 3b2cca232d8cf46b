"""Trains the tiny GPT-2-format language model that the demo ships, from the standard library's own text.

It needs no network and about 40 minutes on two cores::

    python examples/train_tiny_lm.py --output sae_lens_metrics/demo/tiny_lm

The folder then holds float16 weights (safetensors), the tokenizer and a model card with the held-out loss beside that of a
bigram model on the same tokens.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from simple_parsing import ArgumentParser
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from tqdm.auto import tqdm
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from sae_lens_metrics.text.standard_library import standard_library_documents

END_OF_TEXT = "<|endoftext|>"


@dataclass
class Options:
    """Shape and training of the tiny language model."""

    output: Path = Path("tiny_lm")
    """Folder that receives the model."""
    vocabulary: int = 4096
    """Number of byte-pair tokens."""
    context: int = 128
    """Tokens a sequence, the leading end-of-text token included."""
    d_model: int = 128
    layers: int = 4
    heads: int = 4
    tokens: int = 16_000_000
    """Tokens to train on; the training text has about nine million, so this is some two passes."""
    batch: int = 32
    """Sequences a step."""
    learning_rate: float = 3e-3
    seed: int = 0


def train_tokenizer(documents: list[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer in GPT-2's format."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=END_OF_TEXT, eos_token=END_OF_TEXT, unk_token=END_OF_TEXT)


def sequences(documents: list[str], tokenizer: PreTrainedTokenizerFast, context: int) -> torch.Tensor:
    """Documents joined by end-of-text and cut to [n, context], each row starting with end-of-text as SAELens's store does."""
    end = _end_of_text(tokenizer)
    stream = [token for row in tokenizer(documents)["input_ids"] for token in (*row, end)]
    rows = torch.tensor(stream[: len(stream) // (context - 1) * (context - 1)]).view(-1, context - 1)
    return torch.cat([torch.full((len(rows), 1), end), rows], dim=1)


def _end_of_text(tokenizer: PreTrainedTokenizerFast) -> int:
    return int(tokenizer.convert_tokens_to_ids(END_OF_TEXT))  # pyright: ignore[reportArgumentType]


def bigram_loss(train: torch.Tensor, held_out: torch.Tensor, vocabulary: int, discount: float = 0.75) -> float:
    """Held-out nats per token of a bigram model with absolute discounting that backs off to an add-one unigram model."""
    pairs = train[:, :-1].flatten() * vocabulary + train[:, 1:].flatten()
    count = np.bincount(pairs.numpy(), minlength=vocabulary * vocabulary).reshape(vocabulary, vocabulary)
    unigram = (count.sum(0) + 1) / (count.sum() + vocabulary)
    total = np.maximum(count.sum(1), 1)
    backoff = np.where(count.sum(1) > 0, discount * (count > 0).sum(1) / total, 1.0)
    first, second = held_out[:, :-1].flatten().numpy(), held_out[:, 1:].flatten().numpy()
    probability = np.maximum(count[first, second] - discount, 0) / total[first] + backoff[first] * unigram[second]
    return float(-np.log(probability).mean())


@torch.no_grad()
def held_out_loss(model: GPT2LMHeadModel, rows: torch.Tensor) -> float:
    """Mean next-token cross-entropy in nats."""
    model.eval()
    losses = [float(model(batch, labels=batch).loss) * len(batch) for batch in rows.split(32)]
    return sum(losses) / len(rows)


def train_model(options: Options, rows: torch.Tensor, end_of_text: int) -> GPT2LMHeadModel:
    """AdamW with a linear warm-up and a cosine decay; every pass sees the rows in a new order."""
    torch.manual_seed(options.seed)
    config = GPT2Config(
        vocab_size=options.vocabulary,
        n_positions=options.context,
        n_embd=options.d_model,
        n_layer=options.layers,
        n_head=options.heads,
        bos_token_id=end_of_text,
        eos_token_id=end_of_text,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    config.n_ctx = options.context  # the name that transformer-lens reads
    model = GPT2LMHeadModel(config)
    steps = options.tokens // (options.batch * options.context)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate, betas=(0.9, 0.95), weight_decay=0.1)
    warm_up = max(1, steps // 30)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda i: min((i + 1) / warm_up, 0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * i / steps)))
    )
    order = torch.cat([torch.randperm(len(rows)) for _ in range(steps * options.batch // len(rows) + 1)])
    model.train()
    progress = tqdm(range(steps), desc="training the tiny language model", mininterval=20)
    for step in progress:
        batch = rows[order[step * options.batch : (step + 1) * options.batch]]
        loss = model(batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 50 == 0:
            progress.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
    return model


def model_card(options: Options, loss: float, bigram: float, parameters: int, held_out_tokens: int) -> str:
    """The README of the model's folder."""
    shape = f"{options.layers} layers, d_model {options.d_model}, context {options.context}, {options.vocabulary} byte-pair tokens"
    return f"""# tiny_lm: the demo's language model

A GPT-2-format model ({shape}; {parameters:,} parameters, stored as float16).
It was trained by `examples/train_tiny_lm.py` on {options.tokens:,} tokens of the Python standard library's source and docstrings. It exists
so that the demo and the tests run on a real model without a network; it is of no other use.

| on {held_out_tokens:,} tokens of held-out files | nats per token |
|---|---|
| this model | {loss:.3f} |
| bigram model with backoff to unigrams (absolute discounting), same training files | {bigram:.3f} |

The Python standard library is licensed under the PSF License Agreement.
"""


def main(options: Options) -> None:
    """Trains tokenizer and model, measures both losses and writes the folder."""
    train, held_out = list(standard_library_documents("train")), list(standard_library_documents("held_out"))
    tokenizer = train_tokenizer(train, options.vocabulary)
    rows, held_out_rows = (sequences(documents, tokenizer, options.context) for documents in (train, held_out))
    print(f"{rows.numel():,} training tokens, {held_out_rows.numel():,} held out", flush=True)
    bigram = bigram_loss(rows, held_out_rows, options.vocabulary)
    print(f"bigram with backoff: {bigram:.3f} nats", flush=True)
    model = train_model(options, rows, _end_of_text(tokenizer)).half().float()  # the loss is that of the stored weights
    loss = held_out_loss(model, held_out_rows)
    print(f"this model: {loss:.3f} nats", flush=True)
    parameters = sum(p.numel() for p in model.parameters())
    model.half().save_pretrained(options.output)
    tokenizer.save_pretrained(options.output)
    card = model_card(options, loss, bigram, parameters, held_out_rows.numel())
    (options.output / "README.md").write_text(card, encoding="utf-8")


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_arguments(Options, dest="options")
    main(parser.parse_args().options)
