"""What Python loads by itself where under.py put this folder first in PYTHONPATH: programs under valgrind are waited for ten times as long."""
import subprocess

SLOWER = 10


def stretched(method):
    def wait(self, *words, timeout=None, **named):
        # as the first argument of wait and the second of communicate, too
        words = list(words)
        at = method.__code__.co_varnames.index("timeout") - 1
        if len(words) > at:
            timeout = words.pop(at)
        return method(self, *words, timeout=timeout and timeout * SLOWER, **named)
    return wait


subprocess.Popen.wait = stretched(subprocess.Popen.wait)
subprocess.Popen.communicate = stretched(subprocess.Popen.communicate)
