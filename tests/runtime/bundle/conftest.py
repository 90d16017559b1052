"""One signed bundle a session."""

from __future__ import annotations

import pytest
from bundles import Release, make_release


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Version 1.4.0, signed by the one key that is trusted."""
    return make_release(tmp_path_factory.mktemp("release"))
