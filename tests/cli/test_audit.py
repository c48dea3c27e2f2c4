"""malseq audit: every figure against a plain computation over generated traces, the groups file, sources that show and sources that do
not, and the published data sets where they are."""
# in release: Published
import collections
import csv
import io
import itertools
import json
import os
import pathlib
import random
import sqlite3
import sys
import unittest
import zipfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from gen.schema import Schema  # noqa: E402
from test_export_traces import TracesCase, sha256  # noqa: E402

DATA = os.environ.get("MALSEQ_DATA")
SCHEMA = Schema("audit.schema.json")


def process_of(names):
    return [{"first_seen": 1, "track": True, "calls": [{"api": name, "time": 1600000000, "repeated": 0} for name in names]}]


def collapsed(names):
    return [name for name, _ in itertools.groupby(names)]


def shingles(names):
    runs = collapsed(names)
    return set(runs) | set(zip(runs, runs[1:]))


def copies(keys, labels):
    groups = collections.defaultdict(collections.Counter)
    for key, label in zip(keys, labels):
        groups[key][label] += 1
    errors = sum(sum(group.values()) - max(group.values()) for group in groups.values())
    mixed = [group for group in groups.values() if len(group) > 1]
    return {"distinct": len(groups), "largest": max(sum(group.values()) for group in groups.values()), "contradicting_groups": len(mixed),
            "contradicting": sum(sum(group.values()) for group in mixed), "unavoidable_errors": errors}


def near_groups(sets, threshold):
    """All pairs, joined one by one."""
    parent = list(range(len(sets)))

    def find(x):
        while parent[x] != x:
            x = parent[x]
        return x
    for x, y in itertools.combinations(range(len(sets)), 2):
        if len(sets[x] & sets[y]) >= threshold * len(sets[x] | sets[y]):
            x, y = sorted((find(x), find(y)))
            parent[y] = x
    return [find(x) for x in range(len(sets))]


class AuditCase(TracesCase):
    def audit(self, *args, **more):
        found = json.loads(self.tool("malseq", "audit", "--json", *args, **more))
        SCHEMA.check(found, "audit")
        return found

    def check_copies(self, found, traces, labels, view=lambda names: tuple(names)):
        keys = {"raw": [tuple(names) for names in traces], "collapsed": [tuple(collapsed(names)) for names in traces],
                "set": [frozenset(names) for names in traces], "view": [view(names) for names in traces]}
        for kind, values in keys.items():
            expected = copies(values, labels)
            ceiling = found["copies"][kind].pop("ceiling")
            self.assertEqual(found["copies"][kind], expected, kind)
            self.assertAlmostEqual(ceiling, 1 - expected["unavoidable_errors"] / len(traces))


class Generated(AuditCase):
    def make(self):
        rng = random.Random(8)
        names = [f"Api{number}" for number in range(14)]
        traces = {}
        for number in range(90):
            old = traces.get(number - rng.randrange(1, 9))
            draw = rng.random()
            if old and draw < .3:
                traces[number] = list(old)
            elif old and draw < .5:
                traces[number] = [name for name in old for _ in range(rng.choice((1, 1, 2)))]
            elif old and draw < .7:
                traces[number] = old + [rng.choice(names)]
            else:
                traces[number] = [rng.choice(names[:rng.randrange(2, 14)]) for _ in range(rng.randrange(1, 40))]
        return traces

    def test_against_plain_figures(self):
        traces = self.make()
        self.fill({number: process_of(names) for number, names in traces.items()})
        groups = self.root / "groups.csv"
        found = self.audit("--groups", groups, "--max-calls", "5", "--top", "100")
        order = sorted(traces, key=sha256)
        labels = {number: "benign" if number % 3 == 0 else ("Worm", "=Virus")[number % 2] for number in traces}
        in_order, by_order = [traces[number] for number in order], [labels[number] for number in order]
        self.assertEqual(found["traces"], len(traces))
        self.check_copies(found, in_order, by_order, lambda names: tuple(names[:5]))
        self.assertGreater(found["copies"]["raw"]["contradicting_groups"], 0)
        expected = near_groups([shingles(names) for names in in_order], .8)
        counts = copies(expected, by_order)
        self.assertEqual({name: found["near"][name] for name in counts}, counts)
        self.assertLess(found["near"]["distinct"], found["copies"]["collapsed"]["distinct"])
        self.check_groups(groups, in_order, by_order, expected, order)
        self.check_tables(found, traces, labels)
        # The same again; by another seed the same groups, for these pairs are far from being missed.
        self.assertEqual(self.audit("--max-calls", "5", "--top", "100"), {**found, "copies": self.audit("--max-calls", "5")["copies"]})
        self.assertEqual(self.audit("--seed", "9")["near"]["distinct"], found["near"]["distinct"])
        text = self.tool("malseq", "audit").decode()
        self.assertIn(f"{len(traces)} labelled traces", text)
        self.assertIn("one source", text)
        self.tool("malseq", "audit", "--near", "0", expect=2)
        self.tool("malseq", "audit", "--near", "1.5", expect=2)

    def test_processes_in_another_order_are_near(self):
        """Which process runs first says little: no pair of calls goes from one to the next, as in train."""
        def processes(names):
            return [{"first_seen": at, "track": True, "calls": process_of([name])[0]["calls"]} for at, name in enumerate(names, 1)]
        names = ["Api%d" % n for n in range(5)]
        self.fill({1: processes(names), 2: processes(names[::-1]), 4: process_of(names)})
        found = self.audit()
        self.assertEqual((found["copies"]["collapsed"]["distinct"], found["near"]["distinct"]), (2, 2))  # 1 and 4 are one sequence, and 1 and 2 one set

    def check_groups(self, path, traces, labels, near, order):
        rows = list(csv.DictReader(io.StringIO(path.read_bytes().decode(), newline="")))
        self.assertEqual([row["id"] for row in rows], [sha256(number) for number in order])
        self.assertEqual([row["label"] for row in rows], ["'" + label if label[0] == "=" else label for label in labels])
        keys = {"raw": [tuple(names) for names in traces], "collapsed": [tuple(collapsed(names)) for names in traces], "near": near}
        for column, values in keys.items():
            first = {}
            self.assertEqual([int(row[column]) for row in rows], [first.setdefault(value, len(first)) for value in values], column)

    def check_tables(self, found, traces, labels):
        self.assertEqual([row["label"] for row in found["labels"]], sorted(set(labels.values())))
        rows_of = collections.Counter(name for names in traces.values() for name in set(names))
        self.assertEqual((found["calls"]["calls"], found["calls"]["distinct"], found["calls"]["in_one_trace"]),
                         (sum(map(len, traces.values())), len(rows_of), sum(count == 1 for count in rows_of.values())))
        best = 0
        for name in rows_of:
            parts = [collections.Counter(labels[number] for number, names in traces.items() if (name in names) == there) for there in (True, False)]
            best = max(best, sum(max(part.values(), default=0) for part in parts))
        self.assertAlmostEqual(found["calls"]["label_by_best"]["accuracy"], best / len(traces))
        for row in found["labels"]:
            inside = [set(names) for number, names in traces.items() if labels[number] == row["label"]]
            outside = [set(names) for number, names in traces.items() if labels[number] != row["label"]]
            lengths = sorted(len(names) for number, names in traces.items() if labels[number] == row["label"])
            self.assertEqual((row["traces"], row["lengths"][0], row["lengths"][5]), (len(inside), lengths[0], lengths[-1]))
            middle = (len(lengths) - 1) / 2
            self.assertEqual(row["lengths"][2], (lengths[int(middle)] + lengths[int(middle + .5)]) // 2)
            differences = [call["inside"] - call["outside"] for call in row["calls"]]
            self.assertEqual(differences, sorted(differences, reverse=True))
            for call in row["calls"]:
                self.assertAlmostEqual(call["inside"], sum(call["call"] in names for names in inside) / len(inside))
                self.assertAlmostEqual(call["outside"], sum(call["call"] in names for names in outside) / len(outside))

    def sources(self, own_names):
        """Benign traces from one sandbox, malicious ones from another, whose names differ or do not."""
        rng = random.Random(3)
        names = [f"Api{number}" for number in range(30)]
        traces = {number: [rng.choice(names) for _ in range(12)] + (["Hook"] if own_names and number % 3 else []) for number in range(150)}
        self.fill({number: process_of(calls) for number, calls in traces.items()})
        with sqlite3.connect(self.corpus / "corpus.db") as db:
            for number in traces:
                db.execute("UPDATE analysis SET sandbox = ? WHERE sample = (SELECT id FROM sample WHERE sha256 = ?)",
                           ("other" if number % 3 else "cuckoo2", bytes.fromhex(sha256(number))))
        return self.audit()["sources"]

    def test_a_source_that_shows(self):
        found = self.sources(True)
        self.assertEqual(found["traces"], {"cuckoo2": 50, "other": 100})
        self.assertAlmostEqual(found["label_by_source"]["accuracy"], 100 / 150)
        self.assertAlmostEqual(found["label_by_source"]["majority"], 50 / 150)
        told = found["source_by_calls"]
        self.assertGreater(told["low"], .9)
        self.assertAlmostEqual(told["majority"], 100 / told["traces"], delta=.02)
        self.assertIn("telling sandboxes", self.tool("malseq", "audit").decode())

    def test_a_source_that_does_not(self):
        told = self.sources(False)["source_by_calls"]
        self.assertLess(told["low"], told["majority"])
        self.assertGreater(told["high"], .5)
        self.assertNotIn("telling sandboxes", self.tool("malseq", "audit").decode())

    def test_nothing_to_audit(self):
        self.fill({1: process_of(["NtClose"])})
        self.tool("malseq", "audit", "--min-calls", "2", expect=3)
        self.assertIn("no labelled traces", self.talk)
        self.tool("malseq", "audit", "--policy", "othr", expect=3)
        found = self.audit()
        self.assertEqual((found["near"]["distinct"], found["copies"]["raw"]["ceiling"], found["labels"][0]["lengths"]), (1, 1, [1] * 6))


@unittest.skipUnless(DATA, "MALSEQ_DATA is not set")
@unittest.skipIf(os.environ.get("MALSEQ_SANITIZED") == "1", "the published data takes long under sanitizers")
class Published(AuditCase):
    def test_mal_api_2019(self):
        """The figures known of the 808 rows: distinct ones, and what is left of them in the first 100 calls."""
        folder = pathlib.Path(DATA) / "mal-api-2019-subset"
        self.tool("extract", "dataset", "mal-api-2019", folder, "-q")
        found = self.audit("--pseudo", "keep", "--max-calls", "100")
        copies_of = found["copies"]
        self.assertEqual((found["traces"], copies_of["raw"]["distinct"], copies_of["collapsed"]["distinct"]), (808, 786, 784))
        self.assertEqual((808 - copies_of["view"]["distinct"], copies_of["view"]["contradicting"], copies_of["view"]["unavoidable_errors"]), (229, 190, 109))
        found = self.audit("--pseudo", "keep", "--max-calls", "100", "--collapse", "1")
        self.assertEqual(found["copies"]["view"]["unavoidable_errors"], 10)
        with zipfile.ZipFile(folder / "mal-api-2019.zip") as archive, archive.open("all_analysis_data.txt") as lines:
            lengths = sorted(line.count(b" ") + 1 for line in map(bytes.strip, lines))
        self.assertEqual(min(row["lengths"][0] for row in found["labels"]), lengths[0])
        self.assertEqual(max(row["lengths"][5] for row in found["labels"]), lengths[-1])

    def test_malbehavd(self):
        path = pathlib.Path(DATA) / "malbehavd-v1/MalBehavD-V1-dataset.csv"
        self.tool("extract", "dataset", "malbehavd-v1", path, "-q")
        with path.open(newline="") as file:     # of a hash that is there twice the later row counts: the newest analysis
            rows = {row[0].lower(): (row[1], [name for name in row[2:] if name]) for row in itertools.islice(csv.reader(file), 1, None)}
        found = self.audit("--pseudo", "keep")
        self.assertEqual(found["traces"], len(rows))
        labels = ["malicious" if label == "1" else "benign" for label, _ in rows.values()]
        self.check_copies(found, [names for _, names in rows.values()], labels)


if __name__ == "__main__":
    unittest.main()
