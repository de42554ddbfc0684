# Copyright 2026 The RA-NER authors. Licensed under the Apache License, Version 2.0.
"""
Build an RA-IT dataset: corpus -> examples -> conversations -> a folder laid out like a Hub dataset repo.

    python build_ra_dataset.py recipes/quickstart.yaml
    python build_ra_dataset.py recipes/quickstart.yaml --dry_run
    python build_ra_dataset.py recipes/quickstart.yaml --size 40 --output_dir /tmp/small
    python build_ra_dataset.py recipes/quickstart.yaml --push_to_hub --hub_dataset_id me/ra-it
    accelerate launch build_ra_dataset.py recipes/zh_50k.yaml      # each process encodes its share of the texts

The same as `ra-ner build`; the code is ra_ner/commands/build.py.
"""

import sys

from ra_ner.cli import run

if __name__ == "__main__":
    sys.exit(run("build"))
