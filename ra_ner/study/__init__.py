"""A study: a grid of recipes, each built, trained and evaluated, and one report on all."""
