# Copyright 2026 The RA-NER authors. Licensed under the Apache License, Version 2.0.
#
# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "accelerate>=1.15,<2",
#     "bitsandbytes>=0.50.2,<0.51",
#     "bm25s>=0.3.16,<0.4",
#     "datasets>=5.2,<6",
#     "evaluate>=0.4.6,<0.5",
#     "huggingface_hub>=2.4,<3",
#     "jieba>=0.42.1,<0.43",
#     "Jinja2>=3.1.6,<4",
#     "llguidance>=1.9.1,<2",
#     "matplotlib>=3.11,<4",
#     "numpy>=2.4,<3",
#     "openai>=3.54,<4",
#     "peft>=0.21.2,<0.22",
#     "PyYAML>=6.0.3,<7",
#     "rich>=15,<16",
#     "safetensors>=0.8,<0.9",
#     "scikit-learn>=1.9,<2",
#     "scipy>=1.17,<2",
#     "sentence-transformers>=6.2,<7",
#     "sentencepiece>=0.2.3,<0.3",
#     "tensorboard>=2.21,<3",
#     "torch>=2.13,<3",
#     "tqdm>=4.70,<5",
#     "transformers>=5.23,<5.24",
#     "trl>=1.16,<1.17",
# ]
# ///
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
