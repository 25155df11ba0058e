"""The fuzz targets hold for their seeds, and notice what they are there to notice."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz import seeds, targets

SEEDS = sorted(path for path in seeds.CORPUS.rglob("*") if path.is_file())


@pytest.mark.parametrize("seed", SEEDS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_seed(seed: Path) -> None:
    targets.TARGETS[seed.parent.name](seed.read_bytes())


def test_every_target_has_seeds() -> None:
    assert {seed.parent.name for seed in SEEDS} == set(targets.TARGETS)


@pytest.mark.parametrize("target", sorted(targets.TARGETS))
def test_a_twin_that_differs_is_found(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Different:
        encode_batch = staticmethod(targets.py.encode_batch)
        encode_masked = staticmethod(targets.py.encode_masked)
        mask_key = staticmethod(targets.py.mask_key)

        @staticmethod
        def encode_frame(first, payload, key):
            return targets.py.encode_frame(first ^ 0x40, payload, key)

        @staticmethod
        def mask(key, data):
            return bytes(data)

        @staticmethod
        def scan(data, start, end, limit):
            stopped, messages = targets.py.scan(data, start, end, limit)
            return stopped, messages[:-1]

        @staticmethod
        def scan_deflated(data, start, end, stream, most, errors, append):
            return targets.py.scan_deflated(data, start, end, stream, most, errors, [].append)

    monkeypatch.setattr(targets, "TWINS", (targets.py, Different))
    inputs = [seed.read_bytes() for seed in SEEDS if seed.parent.name == target]
    with pytest.raises(AssertionError):
        list(map(targets.TARGETS[target], inputs))
