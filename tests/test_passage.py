"""Passages: views, samples, duplicates."""

from conftest import passage

from ra_ner.passage import fingerprint, merge_duplicates, sample


def test_repeats_are_kept_and_views_are_distinct():
    ada = passage("Ada met Bo and Ada.", ("Ada", "person"), ("Bo", "dog"), ("Ada", "person"))
    assert len(ada.entities) == 3
    assert ada.pairs == [("Ada", "person"), ("Bo", "dog")]
    assert ada.types == ["person", "dog"]
    assert ada.mentions("person") == ["Ada"]


def test_sampling_follows_the_seed():
    passages = [passage(f"text {i}", id=str(i)) for i in range(50)]
    assert sample(passages, 5, 1) == sample(passages, 5, 1) != sample(passages, 5, 2)
    assert sample(passages, 10, 1)[:5] == sample(passages, 5, 1)
    assert sorted(p.id for p in sample(passages, None, 1)) == sorted(p.id for p in passages)


def test_duplicate_texts_are_merged_with_the_entities_of_all():
    first, second = passage("Ada", ("Ada", "person"), id="1"), passage("Ada", ("Ada", "programmer"), id="2")
    (merged,) = merge_duplicates([first, second])
    assert merged.id == "1" and merged.types == ["person", "programmer"]


def test_the_fingerprint_tells_contents_apart():
    one, other = passage("Ada", ("Ada", "person")), passage("Ada", ("Ada", "woman"))
    assert fingerprint([one]) == fingerprint([one]) != fingerprint([other])
