"""One module for each command of `ra-ner`: its flags, and what it does in order. The root scripts run the same."""
