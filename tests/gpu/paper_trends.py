"""The paper's findings on a model of GPT-2 small's shape, trained on the spot: one script, at most ten minutes on an H200.

python tests/gpu/paper_trends.py [--device cuda] [--seconds 90] [--output paper-trends] [what else ``reproduce paper-trends`` takes]

It needs no network, nothing but this clone and what the tests need: a model is trained on the Python standard library, with the demo's
tokenizer, for so many seconds; then ``sae-lens-metrics reproduce paper-trends`` trains and judges the grid of SAEs. With ``--dry-run``
the model is tiny, on the CPU: the tests run that.
"""
# ruff: noqa: T201 - a script prints

import argparse
import time
import warnings
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import torch
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerBase

from sae_lens_metrics.cli.main import main as command
from sae_lens_metrics.demo.shipped import load_tiny_lm
from sae_lens_metrics.text.standard_library import standard_library_documents

_CONTEXT = 128
_GPT2_SMALL = {"layers": 12, "width": 768, "heads": 12, "batch": 64}
_SIZES = ["--training-tokens", "2000000"]
_TINY = {"layers": 2, "width": 48, "heads": 2, "batch": 8}
_TINY_SIZES = ["--training-tokens", "8192", "--tokens", "1024", "--quick"]


def sequences(tokenizer: PreTrainedTokenizerBase, batch: int, characters: int) -> Iterator[torch.Tensor]:
    """Batches of the standard library's text, over and over; documents are separated by BOS."""
    found: list[int] = []
    size = batch * _CONTEXT
    for text in cycle(standard_library_documents("train")):
        found += [tokenizer.bos_token_id, *tokenizer(text[:characters])["input_ids"]]
        while len(found) >= size:
            yield torch.tensor(found[:size]).view(batch, _CONTEXT)
            found = found[size:]


def train_model(folder: Path, device: str, seconds: float, *, layers: int, width: int, heads: int, batch: int) -> None:
    """Trains a GPT-2 from nothing, for so many seconds but ten steps at least, and saves it with its tokenizer."""
    tokenizer = load_tiny_lm().tokenizer
    torch.manual_seed(0)
    special = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    shape = {"n_positions": _CONTEXT, "n_embd": width, "n_layer": layers, "n_head": heads}
    config = GPT2Config(vocab_size=len(tokenizer), **shape, **special)
    model = GPT2LMHeadModel(config).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-4, weight_decay=0.1)
    started, loss = time.perf_counter(), torch.tensor(0.0)
    for step, tokens in enumerate(sequences(tokenizer, batch, 20_000)):
        if step >= 10 and time.perf_counter() - started > seconds:
            break
        tokens = tokens.to(device)
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=device != "cpu"):
            loss = model(tokens, labels=tokens).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 200 == 0:
            print(f"step {step}, {time.perf_counter() - started:.0f} s: loss {loss.item():.3f}", flush=True)
    print(f"{step * batch * _CONTEXT:,} tokens in {time.perf_counter() - started:.0f} s: loss {loss.item():.3f}", flush=True)
    unfinished = folder.with_name("unfinished")
    model.eval().save_pretrained(unfinished)
    tokenizer.save_pretrained(unfinished)
    unfinished.rename(folder)


def main(arguments: list[str] | None = None) -> int:
    """Runs it all; gives the exit status of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=90, help="how long the model is trained")
    parser.add_argument("--output", type=Path, default=Path("paper-trends"))
    parser.add_argument("--dry-run", action="store_true", help="tiny, on the CPU")
    options, others = parser.parse_known_args(arguments)
    started = time.perf_counter()
    device, seconds = ("cpu", 0.0) if options.dry_run else (options.device, options.seconds)
    shape, sizes = (_TINY, _TINY_SIZES) if options.dry_run else (_GPT2_SMALL, _SIZES)
    folder = options.output / "model"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not (folder / "config.json").exists():
            train_model(folder, device, seconds, **shape)
        where = ["--model", str(folder), "--device", device, "--output", str(options.output)]
        status = command(["reproduce", "paper-trends", *where, *sizes, *others])
    print(f"done in {time.perf_counter() - started:.0f} s")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
