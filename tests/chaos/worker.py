"""Work that goes on while daemons fail."""
import os
import threading
import time


class Worker:
    """One thread with a directory of its own that does round(0), round(1) and so on. Stops at the first that fails."""

    def __init__(self, root, name):
        self.name = name
        self.root = os.path.join(root, name)
        self.failure = None
        self.since = time.monotonic()  # when the operation under way began
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        os.mkdir(self.root)

    def path(self, name):
        return os.path.join(self.root, name)

    def run(self):
        number = 0
        try:
            while not self.stop.is_set():
                self.round(number)
                number += 1
        except BaseException as e:  # noqa: B902
            self.failure = e
