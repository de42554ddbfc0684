# Copyright 2026 The RA-NER authors. Licensed under the Apache License, Version 2.0.
"""
Train a QLoRA adapter on an RA-IT dataset with TRL's SFTTrainer.

    python train_sft.py recipes/quickstart.yaml --dry_run      # a row, lengths, steps and memory; trains nothing
    accelerate launch train_sft.py recipes/quickstart.yaml
    accelerate launch train_sft.py recipes/quickstart.yaml --learning_rate 1e-4 --output_dir /tmp/run
    python train_sft.py recipes/quickstart.yaml --merge

The same as `ra-ner train`; the code is ra_ner/commands/train.py.
"""

import sys

from ra_ner.cli import run

if __name__ == "__main__":
    sys.exit(run("train"))
