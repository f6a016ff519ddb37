"""Where the cache is, and what is said when it cannot be made."""

from pathlib import Path

import pytest

from bakeoff.config.cache import cache_dir, require_cache
from bakeoff.errors import UnfitEnvironment


def test_the_cache_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "bakeoff"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert cache_dir() == Path.home() / ".cache" / "bakeoff"


def test_a_cache_that_cannot_be_made_is_an_error_with_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "new"))
    require_cache()
    assert (tmp_path / "new/bakeoff").is_dir()
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(UnfitEnvironment) as caught:
        require_cache()
    assert str(tmp_path / "file/bakeoff") in str(caught.value)
    assert "XDG_CACHE_HOME" in str(caught.value.hint)
