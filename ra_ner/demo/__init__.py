"""The demo: what it answers, its page, and its Space on the Hub."""
