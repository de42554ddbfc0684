"""NER as a task: what is read of an answer."""

from conftest import passage

from ra_ner.tasks.ner import copied


def test_a_mention_is_copied_that_stands_in_an_example_but_not_in_the_text():
    shown = [passage("Carl met Bob in Rome.", ("Carl", "person"))]
    assert copied(["Ada", "Bob", "Carl", "Rome", "Dora", ""], "Ada met Bob.", shown) == ["Carl", "Rome"]
    assert copied(["Carl"], "Ada met Bob.", []) == []
