"""What this process saw before it loaded anything: see ``adapters/dead_owner.py``."""

from __future__ import annotations

from perpdesk.domain.ownership import SeenDead

dead: SeenDead | None = None
