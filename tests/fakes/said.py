"""What the set-up says to its user."""

import threading


class Said:
    """The lines, and a way to wait for one."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._more = threading.Condition()

    def __call__(self, line: str) -> None:
        with self._more:
            self.lines.append(line)
            self._more.notify_all()

    def wait_for(self, part: str) -> None:
        with self._more:
            found = self._more.wait_for(lambda: any(part in line for line in self.lines), timeout=20)
        assert found, self.lines
