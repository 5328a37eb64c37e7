"""What all tests share: the folder of real market data, and hypothesis without a stopwatch."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent

# A test that fails because the machine is busy proves nothing.
settings.register_profile("perpdesk", deadline=None, print_blob=True)
settings.load_profile("perpdesk")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real market data: PERPDESK_DATA, else ../shared/data; the test is skipped without it."""
    chosen = os.environ.get("PERPDESK_DATA")
    folder = Path(chosen) if chosen else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        if chosen:
            pytest.fail(f"PERPDESK_DATA={chosen} is no folder")
        pytest.skip("no real market data: set PERPDESK_DATA")
    return folder
