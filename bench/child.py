"""A contestant's process: answers in JSON lines, one run for every line we send."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any


class ChildFailed(Exception):
    """The process ended or kept silent; the message says why, as far as it told."""


class Child:
    """Started at once; ``answer`` waits for what it says of itself, ``ask`` makes it run once more."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str], log: Path) -> None:
        self._log = log
        self._stderr = open(log, "w")  # noqa: SIM115 (closed in stop, with the process)
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            bufsize=1,
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def cpu_seconds(self) -> float | None:
        """Processor time that it has used so far, where the system tells it."""
        figures = Path(f"/proc/{self._process.pid}/stat")
        if not figures.exists():
            return None
        ticks = figures.read_text().rpartition(")")[2].split()[11:13]
        return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def answer(self, seconds: float) -> dict[str, Any]:
        """The next JSON line. Raises ChildFailed if there is none in time."""
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            raise ChildFailed(f"no answer within {seconds:.0f} s") from None
        if line is None:
            raise ChildFailed(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, seconds: float) -> dict[str, Any]:
        """Let it run once and tell."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write("\n")
        except BrokenPipeError:
            raise ChildFailed(self._last_words()) from None
        return self.answer(seconds)

    def stop(self) -> None:
        """End the process: by closing its input, else by force."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended already
            self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stderr.close()

    def _last_words(self) -> str:
        lines = [line for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else f"ended with exit code {self._process.poll()}"
