"""Finding examples: passages in, ranked passages out. Knows nothing of conversations."""
