# Copyright 2026 The RA-NER authors. Licensed under the Apache License, Version 2.0.
"""
Ask models for the entities of benchmarks, zero-shot and with examples, and report entity-level P, R and F1.

    python evaluate_ner.py recipes/quickstart.yaml
    python evaluate_ner.py recipes/quickstart.yaml --models adapter --settings zero_shot --limit 5
    accelerate launch evaluate_ner.py recipes/zh_10k.yaml      # each process asks its share

Stopped and started again, it asks only what is missing. The same as `ra-ner evaluate`; the code is
ra_ner/commands/evaluate.py.
"""

import sys

from ra_ner.cli import run

if __name__ == "__main__":
    sys.exit(run("evaluate"))
