"""Broken and hostile files of others end in one line, never in a traceback or a hang."""

import hostile
import pytest


@pytest.fixture(scope="module")
def targets(finished, models, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(finished)
        yield hostile.Targets(finished, models, tmp_path_factory.mktemp("hostile"))


def test_each_kind_of_fault_in_each_file_is_read_or_refused(targets):
    unexpected = {}
    for name, content in targets.contents.items():
        assert targets.attack(name, content) == "read" or name == "vectors.safetensors", "unchanged it is read"
        for number, (fault, attack) in enumerate(hostile.whole(content).items()):
            if number >= hostile.KINDS and number % 7:  # `make chaos` tries all
                continue
            end = targets.attack(name, attack)
            if end.startswith("unexpected"):
                unexpected[name, fault] = end
    assert not unexpected


def test_random_faults_are_read_or_refused(targets):
    ends = hostile.attack_often(targets, 300)
    assert not [end for counts in ends.values() for end in counts if end.startswith("unexpected")]
