"""The peer of label.avclass: tests/ref/avclass_oracle.py, AVClass restated in plain Python, on the first lines of a file. AVClass itself is in
no Debian archive. Prints the seconds that the whole file would take at this rate, reading of the rules and start of Python not counted, and
the digest of its output.

    peer_avclass.py RULES FILE LINES ALL
"""
import hashlib
import itertools
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "ref"))

import avclass_oracle as oracle  # noqa: E402 (the path must be set first)


def main(rules, path, lines, whole):
    compiled = oracle.Rules(rules)
    options = oracle.parse(["--hash", "sha256", "--avclass-data", rules, path])
    out, reader = hashlib.sha256(), None
    begun, cpu = time.perf_counter(), time.process_time()
    with open(path, encoding="utf-8") as stream:
        for line in itertools.islice(stream, int(lines)):
            report = json.loads(line)
            reader = reader or oracle.choose(report)
            out.update(oracle.line_for(compiled, oracle.attempt(reader, report), options).encode() + b"\n")
    factor = int(whole) / int(lines)
    print(json.dumps({"seconds": (time.perf_counter() - begun) * factor, "cpu_seconds": (time.process_time() - cpu) * factor,
                      "totals": out.hexdigest()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
