"""What the Extractor is made of: windows of long texts, scores, and output formats."""
