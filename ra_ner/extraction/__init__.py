"""What the Extractor is made of: alignment of mentions, windows of long texts, scores, and output formats."""
