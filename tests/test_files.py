import os
import shutil
import threading
from concurrent import futures

import pytest

from kpipe import files
from kpipe.errors import UserError, WriteError


def test_a_failed_write_leaves_the_old_content_and_no_leftover(tmp_path, monkeypatch):
    path = tmp_path / "run.json"
    files.write_bytes(path, b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError, match=r"run\.json: .* are free there \(No space"):
        files.write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["run.json"]


def test_json_refuses_nan(tmp_path):
    with pytest.raises(ValueError):
        files.write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert not os.listdir(tmp_path)


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "model"
    with pytest.raises(RuntimeError), files.new_folder(target) as folder:
        (folder / "a").write_text("a")
        raise RuntimeError
    assert not os.listdir(tmp_path)
    with files.new_folder(target) as folder:
        (folder / "a").write_text("a")
        assert not target.exists()
    assert (target / "a").read_text() == "a"


def test_a_standing_folder_is_replaced_and_not_mixed(tmp_path):
    target = tmp_path / "model"
    for name in ("old", "new"):
        with files.new_folder(target) as folder:
            (folder / name).write_text(name)
    assert sorted(os.listdir(target)) == ["manifest.json", "new"]
    assert os.listdir(tmp_path) == ["model"]


def test_leftovers_of_a_killed_writer_are_removed(tmp_path):
    (tmp_path / ".model.part-0123").mkdir()
    (tmp_path / ".run.json.part-4567").write_text("half")
    (tmp_path / "kept").write_text("kept")
    files.remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == ["kept"]


def test_leftovers_of_a_long_name_are_found(tmp_path):
    path = tmp_path / ("long [name] " * 10)
    with files.new_folder(path) as temporary:
        shutil.copytree(temporary, f"{temporary}-of-a-killed-one")
    files.remove_leftovers(tmp_path, path.name)
    assert os.listdir(tmp_path) == [path.name]


def test_a_folder_is_written_by_one_process_while_others_wait(tmp_path, monkeypatch):
    path, written, missed = tmp_path / "arrays", [], threading.Barrier(2)
    find_damage, found = files._find_damage, []

    def find_once(path):
        found.append(find_damage(path))
        if len(found) <= 2:
            missed.wait(timeout=10)  # both find that it is missing
        return found[-1]

    monkeypatch.setattr(files, "_find_damage", find_once)

    def open_once(_):
        return files.open_or_write(path, lambda: path, written.append)

    with futures.ThreadPoolExecutor(2) as pool:
        assert list(pool.map(open_once, range(2))) == [path, path]
    assert len(written) == 1


def test_a_folder_that_stays_incomplete_is_named(tmp_path):
    with pytest.raises(UserError, match="arrays: the arrays just written cannot be read; check"):
        files.open_or_write(tmp_path / "arrays", lambda: None, lambda folder: None)


def test_a_folder_that_cannot_be_made_is_a_users_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot create the folder .*/file/below"):
        files.make_folder(tmp_path / "file" / "below")


def test_an_array_has_its_space_on_the_disk_before_it_is_written(tmp_path):
    files.new_array(tmp_path / "a.npy", dtype="float32", shape=(1000, 100))
    about = (tmp_path / "a.npy").stat()
    assert about.st_blocks * 512 >= about.st_size > 400_000
