"""Drive the unmodified Hugging Face clients against the loopback hub."""

import io
import os
import time

import pytest
from datasets import Dataset, DatasetDict, load_dataset
from huggingface_hub import DatasetCard, HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    BadRequestError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

API = HfApi()
WEIGHTS = bytes(range(256)) * 40


@pytest.fixture
def waits(monkeypatch):
    """The seconds that the clients would have slept between their attempts, in order."""
    seconds = []
    monkeypatch.setattr(time, "sleep", seconds.append)
    return seconds


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "push" / "sub").mkdir(parents=True)
    (tmp_path / "push" / "config.json").write_text("{}")
    (tmp_path / "push" / "sub" / "notes.txt").write_text("notes")
    (tmp_path / "push" / "model.safetensors").write_bytes(WEIGHTS)
    return tmp_path / "push"


def status_of(error):
    return error.value.response.status_code


def count(hub, method, part):
    return sum(seen == method and part in path for seen, path in hub.requests)


def test_whoami(hub):
    assert API.whoami()["name"] == "tester"
    assert hub.requests == [("GET", "/api/whoami-v2")]


def test_create_private_and_public(hub):
    assert API.create_repo("tester/open").repo_id == "tester/open"
    url = API.create_repo("short", repo_type="dataset", private=True)
    assert (url.repo_id, url.repo_type) == ("tester/short", "dataset")
    assert not API.model_info("tester/open").private
    assert API.dataset_info("tester/short").private
    assert API.create_repo("tester/open", exist_ok=True).repo_id == "tester/open"
    with pytest.raises(HfHubHTTPError) as error:
        API.create_repo("tester/open")
    assert status_of(error) == 409


def test_upload_folder_and_download(hub, folder):
    API.create_repo("tester/m")
    first = API.model_info("tester/m").sha
    pushed = API.upload_folder(repo_id="tester/m", folder_path=folder, commit_message="Push")
    expected = {"config.json": b"{}", "sub/notes.txt": b"notes", "model.safetensors": WEIGHTS}
    files = hub.files("model", "tester/m")
    assert files.pop(".gitattributes")
    assert files == expected
    assert count(hub, "PUT", "/lfs/") == 1
    for name, content in expected.items():
        with open(hf_hub_download("tester/m", name), "rb") as file:
            assert file.read() == content
    assert set(os.listdir(snapshot_download("tester/m", revision=first))) == {".gitattributes"}
    assert "model.safetensors" in os.listdir(snapshot_download("tester/m", revision=pushed.oid))
    assert [commit.title for commit in API.list_repo_commits("tester/m")] == ["Push", "initial commit"]
    assert API.upload_folder(repo_id="tester/m", folder_path=folder).oid == pushed.oid  # nothing has changed
    with pytest.raises(RevisionNotFoundError):
        snapshot_download("tester/m", revision="nowhere")
    with pytest.raises(EntryNotFoundError):
        hf_hub_download("tester/m", "absent.json")


def test_upload_from_memory_and_stream(hub, folder):
    API.create_repo("tester/m")
    sources = (("path.bin", folder / "model.safetensors"), ("bytes.bin", b"123"), ("stream.bin", io.BytesIO(b"456")))
    for name, source in sources:
        API.upload_file(repo_id="tester/m", path_in_repo=name, path_or_fileobj=source)
    API.upload_file(repo_id="tester/m", path_in_repo="empty.bin", path_or_fileobj=b"")
    files = hub.files("model", "tester/m")
    assert (files["path.bin"], files["bytes.bin"], files["stream.bin"]) == (WEIGHTS, b"123", b"456")
    assert files["empty.bin"] == b""
    assert count(hub, "PUT", "/lfs/") == 3


def test_listing(hub):
    hub.create("model", "tester/m")
    hub.put("model", "tester/m", {"a.txt": b"a", "d/e/b.bin": b"bb", "d/c.txt": b"c", "empty.bin": b""})
    top = {".gitattributes", "a.txt", "d", "empty.bin"}
    assert {item.path for item in API.list_repo_tree("tester/m")} == top
    assert {item.path for item in API.list_repo_tree("tester/m", "d")} == {"d/c.txt", "d/e"}
    assert {item.path for item in API.list_repo_tree("tester/m", "d", recursive=True)} == {
        "d/c.txt",
        "d/e",
        "d/e/b.bin",
    }
    info = {item.path: item for item in API.get_paths_info("tester/m", ["a.txt", "d", "d/e/b.bin", "no"])}
    assert set(info) == {"a.txt", "d", "d/e/b.bin"}
    assert info["d/e/b.bin"].lfs.size == 2
    assert API.file_exists("tester/m", "a.txt") and not API.file_exists("tester/m", "b.txt")
    with pytest.raises(EntryNotFoundError):
        list(API.list_repo_tree("tester/m", "nowhere"))


def test_branches_tags_deletions_and_shas(hub):
    for name in ("tester/one", "tester/two"):
        API.create_repo(name)
        API.upload_file(repo_id=name, path_in_repo="d/a.txt", path_or_fileobj=b"a")
    one, two = API.list_repo_commits("tester/one"), API.list_repo_commits("tester/two")
    assert not {commit.commit_id for commit in one} & {commit.commit_id for commit in two}
    API.create_tag("tester/one", tag="v1")
    API.create_branch("tester/one", branch="dev/x")
    API.create_branch("tester/one", branch="dev/x", exist_ok=True)
    API.create_branch("tester/one", branch="old", revision=one[1].commit_id)
    API.upload_file(repo_id="tester/one", path_in_repo="b.txt", path_or_fileobj=b"b", revision="dev/x")
    API.delete_folder("d", "tester/one")
    refs = API.list_repo_refs("tester/one")
    assert {branch.name for branch in refs.branches} == {"main", "dev/x", "old"}
    assert [(tag.name, tag.target_commit) for tag in refs.tags] == [("v1", one[0].commit_id)]
    assert set(hub.files("model", "tester/one")) == {".gitattributes"}
    assert set(hub.files("model", "tester/one", "v1")) == {".gitattributes", "d/a.txt"}
    assert set(hub.files("model", "tester/one", "dev/x")) == {".gitattributes", "d/a.txt", "b.txt"}
    assert set(hub.files("model", "tester/one", "old")) == {".gitattributes"}
    assert hf_hub_download("tester/one", "b.txt", revision="dev/x")
    with pytest.raises(EntryNotFoundError):
        API.delete_file("absent.txt", "tester/one")


def test_anonymous_user_cannot_see_a_private_repo(hub):
    hub.create("dataset", "tester/secret", private=True)
    hub.put("dataset", "tester/secret", {"a.txt": b"a"})
    assert API.dataset_info("tester/secret").private
    for read in (
        lambda: API.dataset_info("tester/secret", token=False),
        lambda: hf_hub_download("tester/secret", "a.txt", repo_type="dataset", token=False),
        lambda: snapshot_download("tester/secret", repo_type="dataset", token=False),
        lambda: API.upload_file(
            path_or_fileobj=b"", path_in_repo="b", repo_id="tester/secret", repo_type="dataset", token=False
        ),
    ):
        with pytest.raises(RepositoryNotFoundError) as error:
            read()
        assert status_of(error) == 401
    with pytest.raises(RepositoryNotFoundError) as error:
        hf_hub_download("tester/absent", "a.txt")
    assert status_of(error) == 404
    hub.create("model", "someone/secret", private=True)
    with pytest.raises(RepositoryNotFoundError) as error:
        API.model_info("someone/secret")
    assert status_of(error) == 404
    API.update_repo_settings("tester/secret", repo_type="dataset", private=False)
    assert hf_hub_download("tester/secret", "a.txt", repo_type="dataset", token=False)


def test_gated_repo(hub):
    hub.create("model", "someone/gated", gated=True)
    hub.put("model", "someone/gated", {"a.txt": b"a"})
    assert API.model_info("someone/gated").gated == "auto"
    for token, status in ((None, 403), (False, 401)):
        with pytest.raises(GatedRepoError) as error:
            hf_hub_download("someone/gated", "a.txt", token=token)
        assert status_of(error) == status
        with pytest.raises(GatedRepoError) as error:
            snapshot_download("someone/gated", token=token)
        assert status_of(error) == status
    hub.create("model", "tester/own", gated=True)
    hub.put("model", "tester/own", {"a.txt": b"a"})
    assert hf_hub_download("tester/own", "a.txt")


def test_wrong_token_and_foreign_namespace(hub):
    hub.create("model", "tester/m")
    hub.create("model", "someone/m")
    hub.put("model", "tester/m", {"a.txt": b"a"})
    for call in (
        lambda: API.whoami(token="hf_wrong"),
        lambda: API.create_repo("tester/new", token="hf_wrong"),
        lambda: API.upload_file(path_or_fileobj=b"", path_in_repo="b", repo_id="tester/m", token="hf_wrong"),
        lambda: hf_hub_download("tester/m", "a.txt", token="hf_wrong"),
        lambda: API.create_repo("tester/new", token=False),
    ):
        with pytest.raises(HfHubHTTPError) as error:
            call()
        assert status_of(error) == 401
        assert not isinstance(error.value, RepositoryNotFoundError)
    for call in (
        lambda: API.create_repo("someone/new"),
        lambda: API.upload_file(path_or_fileobj=b"", path_in_repo="b", repo_id="someone/m"),
        lambda: API.delete_repo("someone/m"),
        lambda: API.update_repo_settings("someone/m", private=True),
    ):
        with pytest.raises(HfHubHTTPError) as error:
            call()
        assert status_of(error) == 403
    API.delete_repo("tester/m")
    with pytest.raises(RepositoryNotFoundError):
        API.delete_repo("tester/m")
    API.delete_repo("tester/m", missing_ok=True)


def test_dataset_dict_of_two_configs(hub):
    for config in ("sft", "pairs"):
        rows = {"text": [f"{config} {i}" for i in range(5)]}
        DatasetDict({"train": Dataset.from_dict(rows), "test": Dataset.from_dict(rows)}).push_to_hub(
            "tester/dict", config_name=config, private=True
        )
    assert API.dataset_info("tester/dict").private
    with pytest.raises(
        Exception, match="doesn't exist on the Hub or cannot be accessed"
    ):  # after a load, the cache would answer
        load_dataset("tester/dict", "sft", token=False)
    for config in ("sft", "pairs"):
        assert load_dataset("tester/dict", config, split="train")["text"][4] == f"{config} 4"
        assert next(iter(load_dataset("tester/dict", config, split="test", streaming=True)))["text"] == f"{config} 0"


def test_dataset_card(hub):
    API.create_repo("tester/data", repo_type="dataset")
    DatasetCard("---\nlicense: apache-2.0\n---\n\n# Data\n").push_to_hub("tester/data")
    assert DatasetCard.load("tester/data").data.license == "apache-2.0"
    bad = b"---\nlicense: [apache-2.0\n---\n\n# Data\n"
    with pytest.raises(ValueError, match="Invalid metadata in README.md"):
        API.upload_file(path_or_fileobj=bad, path_in_repo="README.md", repo_id="tester/data", repo_type="dataset")
    with pytest.warns(UserWarning, match="empty or missing yaml"):
        API.upload_file(path_or_fileobj=b"#", path_in_repo="README.md", repo_id="tester/data", repo_type="dataset")


def test_parent_commit_conflict(hub):
    API.create_repo("tester/m")
    head = API.model_info("tester/m").sha
    push = {"repo_id": "tester/m", "parent_commit": head, "path_in_repo": "a.txt"}
    API.upload_file(path_or_fileobj=b"a", **push)
    with pytest.raises(HfHubHTTPError) as error:
        API.upload_file(path_or_fileobj=b"b", **push)
    assert status_of(error) == 412
    assert hub.files("model", "tester/m")["a.txt"] == b"a"


def test_short_outage_is_retried(hub, waits, folder):
    API.create_repo("tester/m")
    hub.fail("POST .*/preupload/", times=2)
    hub.fail("PUT /lfs/", status=429, headers={"Retry-After": "3"})
    API.upload_folder(repo_id="tester/m", folder_path=folder)
    assert waits == [1, 2, 4]  # two waits of the backoff, then Retry-After and a second
    assert "model.safetensors" in hub.files("model", "tester/m")


def test_long_outage_gives_up(hub, waits, folder):
    API.create_repo("tester/m")
    hub.fail("PUT /lfs/", times=100)
    with pytest.raises(RuntimeError, match="Error while uploading"):
        API.upload_folder(repo_id="tester/m", folder_path=folder)
    assert waits == [1, 2, 4, 8, 8]
    assert set(hub.files("model", "tester/m")) == {".gitattributes"}
    hub.heal()
    API.upload_folder(repo_id="tester/m", folder_path=folder)
    assert hub.files("model", "tester/m")["model.safetensors"] == WEIGHTS


@pytest.mark.parametrize(
    "call",
    [
        lambda: API.whoami(),
        lambda: API.create_repo("tester/new"),
        lambda: API.model_info("tester/m"),
        lambda: API.upload_file(path_or_fileobj=b"b", path_in_repo="b.txt", repo_id="tester/m"),
    ],
)
def test_calls_without_retry(hub, waits, call):
    hub.create("model", "tester/m")
    hub.fail("whoami|create|GET /api/models|/commit/")
    with pytest.raises(HfHubHTTPError) as error:
        call()
    assert status_of(error) == 503
    assert waits == []
    call()


def test_cut_upload(hub, waits, folder):
    API.create_repo("tester/m")
    hub.cut("PUT /lfs/")
    API.upload_folder(repo_id="tester/m", folder_path=folder)
    assert waits == [1]
    (folder / "config.json").write_text("[]")
    hub.cut("POST .*/commit/")
    with pytest.raises(Exception, match="disconnected without sending a response"):
        API.upload_folder(repo_id="tester/m", folder_path=folder)
    assert hub.files("model", "tester/m")["config.json"] == b"{}"
    hub.heal()
    API.upload_folder(repo_id="tester/m", folder_path=folder)
    assert hub.files("model", "tester/m")["config.json"] == b"[]"


def test_cut_download(hub, waits, tmp_path):
    hub.create("model", "tester/m")
    hub.put("model", "tester/m", {"a.bin": WEIGHTS, "b.bin": WEIGHTS[1:]})
    hub.cut("GET .*/resolve/")
    with open(hf_hub_download("tester/m", "a.bin", cache_dir=tmp_path), "rb") as file:
        assert file.read() == WEIGHTS
    assert waits == [1]
    hub.cut("GET .*/resolve/", times=100)
    with pytest.raises(Exception, match="peer closed connection"):
        hf_hub_download("tester/m", "b.bin", cache_dir=tmp_path)
    assert waits == [1] * 6
    hub.heal()
    with open(hf_hub_download("tester/m", "b.bin", cache_dir=tmp_path), "rb") as file:
        assert file.read() == WEIGHTS[1:]


def test_outage_of_the_head_request(hub, waits, tmp_path):
    hub.create("model", "tester/m")
    hub.put("model", "tester/m", {"a.bin": WEIGHTS})
    hub.fail("HEAD .*/resolve/", times=100)
    with pytest.raises(LocalEntryNotFoundError):
        hf_hub_download("tester/m", "a.bin", cache_dir=tmp_path)
    assert hub.requests == [("HEAD", "/tester/m/resolve/main/a.bin")] * 7
    assert waits == [1, 2, 4, 8, 8]


def test_cached_file_hides_an_outage(hub, waits, tmp_path):
    hub.create("model", "tester/m")
    hub.put("model", "tester/m", {"a.txt": b"old"})
    hf_hub_download("tester/m", "a.txt", cache_dir=tmp_path)
    hub.put("model", "tester/m", {"a.txt": b"new"})
    hub.fail("HEAD")
    with open(hf_hub_download("tester/m", "a.txt", cache_dir=tmp_path), "rb") as file:
        assert file.read() == b"old"
    with open(hf_hub_download("tester/m", "a.txt", cache_dir=tmp_path), "rb") as file:
        assert file.read() == b"new"
    assert waits == []


def test_missing_lfs_object_refuses_the_commit(hub, monkeypatch):
    API.create_repo("tester/m")
    monkeypatch.setattr("huggingface_hub._commit_api.lfs_upload", lambda **kwargs: None)
    with pytest.raises(BadRequestError):
        API.upload_file(path_or_fileobj=b"x", path_in_repo="a.bin", repo_id="tester/m")
