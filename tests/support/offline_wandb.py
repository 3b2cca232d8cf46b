"""Reads W&B runs that were kept on disk, with W&B's own reader."""

import json
import subprocess
import sys
from pathlib import Path

import wandb


def fresh_wandb(folder, monkeypatch):
    """The next run goes to this folder, whatever W&B remembers of earlier ones."""
    wandb.teardown()
    folder.mkdir()
    monkeypatch.setenv("WANDB_DIR", str(folder))


def records(folder, kind):
    """The records of one kind of the only run in a folder, in their order."""
    printed = _inspect("--json", str(run_folder(folder)))
    return [record[kind] for record in map(json.loads, printed.splitlines()) if record["type"] == kind]


def history(folder):
    """Steps and logged items; the fields of a table or picture are ``key.field``."""
    return [(record["step"].get("num", 0), record["item"]) for record in records(folder, "history")]


def summary(folder):
    """What run tables and scatter plots read."""
    return json.loads(_inspect("--summary", "--json", str(run_folder(folder))))


def run_folder(folder):
    wandb.teardown()  # or the log may not be on disk yet
    (run,) = (path for path in Path(folder).rglob("offline-run-*") if path.is_dir())
    return run


def logged_file(folder, item, key):
    """The file of a table or picture."""
    return run_folder(folder) / "files" / item[f"{key}.path"]


def _inspect(*arguments):
    return subprocess.run([sys.executable, "-m", "wandb", "leet", "inspect", *arguments], capture_output=True, text=True, check=True).stdout
