"""`spot gc` shows before it removes."""

import os
import time

from typer.testing import CliRunner

from spot_cli.main import app
from spot_core.store import ArtifactStore
from tests.spot_core.store.writing import RECIPE, write


def gc(*arguments):
    said = CliRunner().invoke(app, ["gc", *arguments])
    assert said.exit_code == 0, said.output
    return said.output


def test_nothing_is_removed_before_it_is_agreed_to(tmp_path):
    store = ArtifactStore(tmp_path)
    write(store, rows=3, files=0)
    assert "Nothing to remove" in gc("--store", str(tmp_path))
    folder = store.get(RECIPE).folder
    old = time.time() - 2 * 3600
    for path in folder.rglob("*"):
        os.utime(path, (old, old))
    listed = gc("--store", str(tmp_path))
    assert RECIPE.key in listed
    assert "add --yes" in listed
    assert store.get(RECIPE).rows == 3
    assert "Removed" in gc("--store", str(tmp_path), "--yes")
    assert store.find(RECIPE) is None
    assert "Nothing to remove" in gc("--store", str(tmp_path))
