"""A few threads for the program's own checks or actions."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import Callable, Deque, Dict, List, Set, Tuple

from .tasks import Task

Key = Tuple[object, ...]
Job = Tuple[Key, Task, Callable[[], None]]

_LOGGER = logging.getLogger("failover")


class Pool:
    """Runs jobs on up to `size` daemon threads, made when they are needed. For each key one job runs at a time and one waits, so a
    function that never returns costs one thread. A job past its deadline does not begin."""

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self._changed = threading.Condition(threading.RLock())
        self._ready: Deque[Job] = deque()
        self._held: Dict[Key, Job] = {}
        self._busy: Set[Key] = set()
        self._idle = 0
        self._closed = False
        self.threads: List[threading.Thread] = []

    def submit(self, key: Key, task: Task, run: Callable[[], None]) -> None:
        """Lets a thread call `run` soon, unless the task's deadline passes before. Does not wait."""
        with self._changed:
            if self._closed:
                return
            if key in self._busy:
                # The one it replaces is past its deadline: the engine asks again only then.
                self._held[key] = (key, task, run)
                return
            self._busy.add(key)
            self._ready.append((key, task, run))
            if self._idle < len(self._ready) and len(self.threads) < self._size:
                self._grow()
            self._changed.notify()

    def close(self) -> None:
        """Begins no more jobs; each thread ends when its function returns."""
        with self._changed:
            self._closed = True
            self._ready.clear()
            self._held.clear()
            self._changed.notify_all()

    def join(self, timeout: float) -> bool:
        """Waits for the threads up to `timeout` seconds; True when all have ended. Never waits for the calling thread."""
        end = time.monotonic() + timeout
        others = [thread for thread in self.threads if thread is not threading.current_thread()]
        for thread in others:
            thread.join(max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in others)

    def _grow(self) -> None:
        thread = threading.Thread(target=self._work, name=f"{self._name}-{len(self.threads) + 1}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            _LOGGER.error("no thread for a task of the host: %s", error)
            return
        self.threads.append(thread)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                while not self._ready and not self._closed:
                    self._changed.wait()
                self._idle -= 1
                if self._closed:
                    return
                key, task, run = self._ready.popleft()
            if task.remaining > 0:
                run()
            with self._changed:
                held = self._held.pop(key, None)
                if held is None:
                    self._busy.discard(key)
                else:
                    self._ready.append(held)
