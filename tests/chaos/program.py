"""Programs that work in a mount while a test breaks or replaces the servers."""
import fcntl
import mmap
import os
import random
import struct
import sys

from cluster import is_gone, kill


class Program:
    """Makes, writes, syncs, locks, renames, reads back and removes files in a directory of its own, for ever."""

    def __init__(self, root, number, seed):
        self.done = mmap.mmap(-1, 8)  # how many rounds; shared with the process
        self.root = os.path.join(root, str(number))
        os.mkdir(self.root)
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                self.work(random.Random(seed))
            except BaseException as e:  # the process ends here, whatever it is
                print(f"a program failed: {e!r}", file=sys.stderr, flush=True)
            finally:
                os._exit(code)

    def work(self, chance):
        bodies = {}
        number = 0
        while True:
            name = os.path.join(self.root, f"f{chance.randrange(20)}")
            if name in bodies:
                with open(name, "rb") as f:
                    assert f.read() == bodies[name], f"{name}: other bytes than were written"
            if chance.random() < 0.2 and name in bodies:
                os.unlink(name)
                del bodies[name]
            elif chance.random() < 0.2 and name in bodies:
                os.rename(name, name + "r")
                os.rename(name + "r", name)
            else:
                body = chance.randbytes(chance.choice((10, 5000, 200000)))
                with open(name, "wb") as f:
                    fcntl.lockf(f, fcntl.LOCK_EX)
                    f.write(body)
                    f.flush()
                    if chance.random() < 0.5:
                        os.fsync(f.fileno())
                bodies[name] = body
            names = {os.path.basename(n) for n in bodies}
            assert set(os.listdir(self.root)) == names, "other names than were made"
            number += 1
            struct.pack_into("Q", self.done, 0, number)

    def rounds(self):
        return struct.unpack_from("Q", self.done)[0]

    def failed(self):
        return self.pid is not None and is_gone(self.pid)

    def close(self):
        if self.pid is not None:
            kill(self.pid)
            os.waitpid(self.pid, 0)
            self.pid = None
