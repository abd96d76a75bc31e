"""Shards, read back by the webdataset library."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.transport.exports.samples import actions, picture
from transport.exports.plain import to_plain
from transport.exports.webdataset import write_webdataset

webdataset = pytest.importorskip("webdataset")


def samples_of(folder: Path) -> list[dict[str, Any]]:
    shards = [str(path) for path in sorted(folder.glob("*.tar"))]
    return list(webdataset.WebDataset(shards, shardshuffle=False))


def test_every_action_is_a_sample_with_its_pictures(tmp_path: Path) -> None:
    counts = write_webdataset(tmp_path, actions())
    samples = samples_of(tmp_path)
    assert [json.loads(sample["json"]) for sample in samples] == [to_plain(action) for action in actions()]
    assert counts["actions"] == 12
    for sample, action in zip(samples, actions(), strict=True):
        if action.after is not None:
            pixels = np.asarray(Image.open(io.BytesIO(sample["after.png"])))
            assert (pixels == picture(action.after.t_ms)[..., 2::-1]).all()


def test_a_missing_picture_is_counted_and_its_action_kept(tmp_path: Path) -> None:
    counts = write_webdataset(tmp_path, actions())
    assert counts["pictures that the archive no longer has"] == 1
    assert counts["pictures"] == 2 * 12 - 2
    lost, first = samples_of(tmp_path)[10], samples_of(tmp_path)[0]
    assert "before.png" not in lost
    assert "after.png" in lost
    assert "before.png" not in first


def test_shards_are_closed_by_size(tmp_path: Path) -> None:
    counts = write_webdataset(tmp_path, actions(), shard_bytes=4096)
    assert counts["shards"] == len(list(tmp_path.glob("actions-*.tar"))) > 3
    assert len(samples_of(tmp_path)) == 12
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in tmp_path.glob("*.tar"))
