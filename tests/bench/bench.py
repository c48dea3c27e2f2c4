"""Ours beside a peer: one JSON object a line, {"bench", "case", "ours", "peer", "ratio", "unit", "runs", "against"}.

    bench.py [NAME…]            names or their beginnings ("extract"); none: all
    bench.py --needs [NAME…]    the Debian packages these need, and nothing else

Figures are rates, so that more is better and a ratio above 1 means that ours is faster: the medians of the runs, and the median of the
rounds' ratios, for both run in turn and what else the machine does hits both alike. cpu_ratio is the same of processor time alone.
Absolute figures mean little on a shared machine. Exit code: 0; 1 when a bench failed (the two counted differently, or one broke);
2 for an unknown name.
"""
import json
import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import collect_bench  # noqa: E402 (the path must be set first)
import collect_nights_bench  # noqa: E402
import detect_bench  # noqa: E402
import extract_bench  # noqa: E402
import label_bench  # noqa: E402
import scale_bench  # noqa: E402
import store_bench  # noqa: E402
import traces_bench  # noqa: E402
import train_bench  # noqa: E402
from measure import Missing, Wrong  # noqa: E402

# name: (function of the work folder that yields result lines, packages its peers need)
BENCHES = {
    "collect.zip": (collect_bench.zips, ("unzip",)),
    "collect.store": (collect_bench.store, ()),
    "collect.worker": (collect_bench.worker, ()),
    "collect.workers": (collect_bench.workers, ()),
    "collect.unchanged": (collect_nights_bench.unchanged, ()),
    "collect.changed": (collect_nights_bench.changed, ()),
    "collect.memory": (collect_bench.large, ()),
    "extract.report": (extract_bench.reports, ("g++", "libyajl-dev", "libsimdjson-dev")),
    "extract.dataset": (extract_bench.datasets, ()),
    "extract.memory": (extract_bench.large, ()),
    "label.avclass": (label_bench.avclass, ()),
    "label.import": (label_bench.imports, ()),
    "store.calls": (store_bench.calls, ("sqlite3",)),
    "malseq.export": (traces_bench.exports, ()),
    "malseq.audit": (traces_bench.audits, ()),
    "train.article": (train_bench.article, train_bench.PACKAGES),
    "train.lstm": (train_bench.lstm, train_bench.PACKAGES),
    "train.sequences": (train_bench.sequences, train_bench.PACKAGES),
    "train.predict": (train_bench.predict, train_bench.PACKAGES),
    "train.jobs": (train_bench.jobs, ()),
    "detect.report": (detect_bench.report, ()),
    "scale": (scale_bench.scale, ("zstd",)),
}


def main(words):
    needs = words[:1] == ["--needs"]
    wanted = words[1:] if needs else words
    for want in wanted:
        if not any(name.startswith(want) for name in BENCHES):
            print("bench: no bench is called '%s'; there is %s" % (want, ", ".join(BENCHES)), file=sys.stderr)
            return 2
    names = [name for name in BENCHES if not wanted or any(name.startswith(want) for want in wanted)]
    if needs:
        print(" ".join(sorted({package for name in names for package in BENCHES[name][1]})))
        return 0
    failed = 0
    with tempfile.TemporaryDirectory(prefix="malseq-bench-") as work:
        for name in names:
            try:
                for line in BENCHES[name][0](work):
                    print(json.dumps(line), flush=True)
            except Missing as why:
                print("bench: %s: skipped: %s" % (name, why), file=sys.stderr)
            except Wrong as why:
                print("bench: %s: failed: %s" % (name, why), file=sys.stderr)
                failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
