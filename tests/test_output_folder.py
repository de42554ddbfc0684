"""Where results are written: nothing of the user's is replaced, and two runs never write to one folder."""

import os
import shutil
import subprocess
from pathlib import Path

import processes
import pytest
from conftest import content, run_command
from processes import join

from ra_ner.atomic_files import temporary_name
from ra_ner.errors import UserError
from ra_ner.output_folder import LOCK, MANIFEST, beside, claim, locked, new_folder

RECIPE = "recipes/quickstart.yaml"
# Each command, and what it writes below --output_dir.
COMMANDS = {
    "build": ["--strategy", "none"],
    "train": ["--max_steps", "1"],
    "evaluate": ["--models", "base", "--limit", "1", "--max_new_tokens", "1"],
}
each_command = pytest.mark.parametrize("command", COMMANDS)


def run(command: str, folder: Path | str, *words: str) -> None:
    run_command(command, RECIPE, "--output_dir", folder, *COMMANDS[command], *words)


def refuse(command: str, folder: Path | str, message: str, *words: str) -> None:
    with pytest.raises(UserError, match=message):
        run(command, folder, *words)


@each_command
def test_results_replace_older_results_of_the_same_kind(here, tmp_path, command):
    run(command, tmp_path / "out")
    run(command, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"], "nothing is left beside"


@pytest.mark.parametrize(
    "command, name",
    [
        ("build", "corpus.jsonl"),
        ("build", "README.md"),
        ("build", "quickstart/ra_it.json"),
        ("train", "adapter/README.md"),
        ("train", "adapter/notes/thesis.docx"),
        ("evaluate", "report.md"),
        ("evaluate", "answers.jsonl"),
    ],
)
def test_what_the_user_wrote_is_kept_even_where_its_name_is_one_of_ours(here, tmp_path, command, name):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("of the user")
    message = f"holds .*{Path(name).name}, which ra-ner did not write as its .*move it away"
    refuse(command, tmp_path, message)
    refuse(command, tmp_path, message, "--dry_run")
    assert content(tmp_path) == {name: b"of the user"}


@pytest.mark.parametrize("command, note", [("build", "README.txt"), ("train", "adapter/README.txt")])
def test_a_note_beside_finished_results_is_noticed(here, tmp_path, command, note):
    run(command, tmp_path / "out")
    (tmp_path / "out" / note).write_text("keep this one")
    before = content(tmp_path / "out" / "adapter" if command == "train" else tmp_path)
    refuse(command, tmp_path / "out", "out.* holds README.txt, which ra-ner did not write")
    assert before == content(tmp_path / "out" / "adapter" if command == "train" else tmp_path)


def test_a_finished_run_is_no_folder_for_a_dataset_or_for_scores(here):
    before = content(Path("outputs/quickstart"))
    refuse("build", "outputs/quickstart", "outputs/quickstart holds .* did not write as its dataset")
    refuse("build", "outputs/quickstart/adapter", "did not write as its dataset")
    refuse("build", "outputs/quickstart/evaluation", "did not write as its dataset")
    refuse("evaluate", "outputs/quickstart/dataset", "did not write as its evaluation")
    assert content(Path("outputs/quickstart")) == before


def test_checkpoints_of_others_are_neither_rotated_away_nor_mixed_with_ours(here, tmp_path):
    other = tmp_path / "checkpoints" / "checkpoint-500"
    other.mkdir(parents=True)
    refuse("train", tmp_path, "holds checkpoint-500, which is no complete checkpoint of ra-ner")
    assert other.is_dir()


@pytest.mark.parametrize("folder", ["", ".", "..", "outputs/../."])
@each_command
def test_the_current_folder_and_those_above_are_refused(here, command, folder):
    refuse(command, folder, "is the current folder or one above it")


@each_command
def test_files_and_links_are_refused(here, tmp_path, command):
    (tmp_path / "file").write_text("of the user")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    refuse(command, tmp_path / "file", "file is a file: name another folder")
    refuse(command, tmp_path / "file" / "below", "file is a file: name another folder")
    refuse(command, tmp_path / "link", "link is a link")
    refuse(command, tmp_path / ("x" * 300) / "o", "can't be used .*too long")
    refuse(command, f"{tmp_path}/\0", "can't be used .*null")
    assert (tmp_path / "file").read_text() == "of the user" and (tmp_path / "link").is_symlink()


@each_command
def test_a_read_only_place_is_refused_before_any_work(here, tmp_path, command):
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", tmp_path], capture_output=True)
    if mounted.returncode:
        pytest.skip("a read-only file system can't be mounted here; run as root")
    try:
        refuse(command, tmp_path / "out", "read-only|Read-only")
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@each_command
def test_a_second_run_is_refused_while_the_first_one_writes(here, tmp_path, command):
    folder = tmp_path / "out"
    with locked(beside(folder) if command == "build" else folder / LOCK):
        refuse(command, folder, "another process is writing there")
    run(command, folder)


def test_of_several_builds_at_once_one_writes_and_the_others_are_refused(here, tmp_path):
    words = ["build", RECIPE, "--output_dir", tmp_path / "out", *COMMANDS["build"]]
    codes = join([processes.start(here, *words) for _ in range(4)])
    assert 0 in codes and set(codes) <= {0, 2}
    several = content(tmp_path / "out")
    run("build", tmp_path / "out")
    assert content(tmp_path / "out") == several and os.listdir(tmp_path) == ["out"]


def test_a_lock_that_its_holder_removes_is_not_taken_by_one_who_had_it_open(tmp_path):
    with locked(tmp_path / "lock"), pytest.raises(UserError, match="another process"), locked(tmp_path / "lock"):
        pass
    assert not (tmp_path / "lock").exists()
    with locked(tmp_path / "lock"):
        (tmp_path / "lock").unlink()
        with locked(tmp_path / "lock"):
            pass


def test_a_link_in_finished_results_is_noticed_and_its_target_stays(tmp_path):
    (tmp_path / "data").mkdir()
    with new_folder(tmp_path / "a", "dataset") as new:
        (new / "x").write_text("old")
    (tmp_path / "a" / "link").symlink_to(tmp_path / "data")
    with pytest.raises(UserError, match="a holds link"), new_folder(tmp_path / "a", "dataset"):
        pass
    assert (tmp_path / "a" / "x").read_text() == "old" and (tmp_path / "data").is_dir()


def test_what_the_user_puts_there_meanwhile_is_kept(tmp_path):
    with pytest.raises(UserError, match="a holds note.txt"), new_folder(tmp_path / "a", "dataset") as new:
        (new / "x").write_text("new")
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "note.txt").write_text("of the user")
    assert content(tmp_path) == {"a/note.txt": b"of the user"}


def test_leftovers_of_killed_runs_are_removed_and_hidden_files_of_the_user_are_not(tmp_path):
    with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "a", "dataset") as new:
        shutil.copytree(new, left := tmp_path / new.name.replace(new.name[3:9], "0" * 6))
        raise KeyboardInterrupt
    (tmp_path / ".a.tmp").write_text("of the user")
    with new_folder(tmp_path / "a", "dataset"):
        pass
    with locked(tmp_path / "b" / LOCK):
        temporary_name(tmp_path / "b" / MANIFEST).touch()  # a kill while the first file was written
        claim(tmp_path / "b", "evaluation")
        assert sorted(os.listdir(tmp_path / "b")) == [MANIFEST, LOCK]
    shutil.rmtree(tmp_path / "b")
    assert not left.exists() and sorted(os.listdir(tmp_path)) == [".a.tmp", "a"]
