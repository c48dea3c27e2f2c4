"""ONNX files and model files as others read them: exported nets run by onnxruntime say what the nets say, and a model file passes the
format's own library and a strict reader. The libraries lie where ./run test puts them; without them the tests fail."""
import itertools
import json
import math
import os
import pathlib
import random
import struct
import subprocess
import tempfile
import unittest

from cli.test_train_detect import check_schema
from gen import onnx, report, safetensors

BIN = pathlib.Path(os.environ["MALSEQ_BIN"])
NODE = pathlib.Path(__file__).resolve().parents[1] / "node"
MODULES = pathlib.Path(os.environ.get("MALSEQ_NODE", NODE.parents[1] / "build" / "node")) / "node_modules"
SCHEMA = NODE.parents[1] / "schemas" / "train-onnx.schema.json"
CLOSE = 1e-5
CALLS = ["NtClose", "NtCreateFile", "NtReadFile", "NtWriteFile", "LdrLoadDll", "RegOpenKeyExW", "WriteProcessMemory", "MessageBoxTimeoutW"]


def run(tool, *args, **more):
    return subprocess.run([str(BIN / tool), *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=250, **more)


def node(script, *args):
    if not (MODULES / "onnxruntime-node").is_dir():
        raise AssertionError("onnxruntime-node is not in %s: ./run test installs it (npm ci --ignore-scripts with tests/node/package-lock.json)" % MODULES)
    done = subprocess.run(["node", str(NODE / script), str(MODULES), *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=250)
    if done.returncode != 0:
        raise AssertionError("node %s: %s" % (script, done.stderr.decode()))
    return [json.loads(line) for line in done.stdout.splitlines()]


def runs_of(calls):
    return [(call, len(list(group))) for call, group in itertools.groupby(call.lower() for call in calls)]


def view(calls, names, first, once):
    """Steps (token, bucket of the run's length, bucket of the call's runs) as the two presets leave them."""
    runs, counts, steps, seen = runs_of(calls), {}, [], set()
    for call, _ in runs:
        counts[call] = counts.get(call, 0) + 1
    for call, n in runs:
        if not (once and call in seen) and (call in names or first == 2):
            step = (names.index(call) + first if call in names else 1, min(n.bit_length() - 1, 15), min(counts[call].bit_length() - 1, 15))
            steps += [step] * (1 if once else n)
        seen.add(call)
    return steps


def hashed(tokens, buckets):
    mask = (1 << 64) - 1
    h = len(tokens)
    for token in tokens:
        h = (h + 1 + token) & mask
        h = ((h ^ h >> 30) * 0xbf58476d1ce4e5b9) & mask
        h = ((h ^ h >> 27) * 0x94d049bb133111eb) & mask
        h ^= h >> 31
    return h % buckets


def weigh(calls, grams, weights, l2):
    trace = [call for call, _ in runs_of(calls)]
    have = {tuple(trace[i:i + n]) for n in (1, 2, 3) for i in range(len(trace) - n + 1)}
    row = [w if gram in have else 0.0 for gram, w in zip(grams, weights)]
    norm = math.sqrt(sum(w * w for w in row)) if l2 else 1
    return [w / norm if norm else 0.0 for w in row]


class Shapes(unittest.TestCase):
    """Nets of every shape with random parameters on random ragged rows, an empty one among them."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.root = pathlib.Path(folder.name)
        done = run("onnx_cases", cls.root)
        if done.returncode != 0:
            raise AssertionError(done.stderr.decode())
        cls.names = sorted(path.stem for path in cls.root.glob("*.onnx"))

    def test_onnxruntime_says_what_the_net_says(self):
        found = node("onnx_run.js", *(self.root / (name + end) for name in self.names for end in (".onnx", ".json")))
        self.assertEqual([f["model"][:-5] for f in found], self.names)
        self.assertGreaterEqual(len(found), 30)
        for f in found:
            with self.subTest(model=f["model"]):
                # the mse head is no probability: its numbers are as large as they like
                self.assertLessEqual(float(f["worst"]), CLOSE * max(1, f["spread"]))
                self.assertGreater(f["spread"], .05)  # what says the same of every row would agree with anything

    def test_another_net_is_told_apart(self):
        for model, data in [("pool_mean_both", "pool_max_both"), ("pool_last_both", "pool_mean_both")]:
            f, = node("onnx_run.js", self.root / (model + ".onnx"), self.root / (data + ".json"))
            self.assertGreater(float(f["worst"]), 1e-3)

    def test_the_file_by_its_wire_format(self):
        for name in self.names:
            model = onnx.read((self.root / (name + ".onnx")).read_bytes())
            with self.subTest(model=name):
                sets = [("", 13)] + [("ai.onnx.ml", 2)] * ("trees" in name)
                self.assertEqual((model["ir"], model["opset"], model["producer"]), (7, sets, "malseq"))
                self.assertEqual(model["metadata"], {"case": name, "text": "é \"quoted\""})
                self.assertEqual(list(model["outputs"]), ["scores"])
                self.assertEqual("tokens" in model["inputs"], not name.startswith(("linear", "trees")))
                self.assertEqual("lengths" in model["inputs"], name != "article" and "unmasked" not in name and not name.startswith(("linear", "trees")))
                names = model["initializers"] + list(model["inputs"])
                self.assertEqual(len(names), len(set(names)))
        deep = onnx.read((self.root / "deep.onnx").read_bytes())
        self.assertEqual(deep["ops"].count("LSTM"), 3)
        self.assertEqual(onnx.read((self.root / "deep_gru.onnx").read_bytes())["ops"].count("GRU"), 3)
        self.assertEqual(onnx.read((self.root / "article.onnx").read_bytes())["inputs"], {"tokens": (7, ["batch", 12])})


class Verb(unittest.TestCase):
    """train onnx on a trained model, and the model file itself."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.root = pathlib.Path(folder.name)
        rng, rows = random.Random(4), []
        for i in range(60):
            calls = rng.sample(CALLS[:6], 6)
            calls.insert(rng.randrange(6), CALLS[6 + i % 2])
            rows.append(",".join(["%064x" % (i + 1), str(1 - i % 2), *calls]))
        (cls.root / "set.csv").write_text("sha256,labels," + ",".join(map(str, range(7))) + "\n" + "\n".join(rows) + "\n")
        cls.corpus = cls.root / "corpus"
        for args in (["extract", "dataset", "malbehavd-v1", cls.root / "set.csv"],
                     ["train", "-q", "--name", "plain", "--kind", "lstm", "--baselines", "no", "--test-share", ".2", "--epochs", "3", "--hidden", "8", "--lr", "0.01"],
                     ["train", "-q", "--name", "whole", "--calibrate", "none", "--baselines", "no", "--test-share", ".2", "--epochs", "2", "--hidden", "4",
                      "--ensemble", "recurrent,hybrid,pooled,linear,boosted", "--rounds", "5"],
                     ["train", "-q", "--name", "straight", "--kind", "linear", "--calibrate", "none", "--baselines", "no", "--test-share", ".2"],
                     ["train", "-q", "--name", "trees", "--kind", "boosted", "--rounds", "30", "--calibrate", "none", "--baselines", "no", "--test-share", ".2"],
                     ["train", "-q", "--name", "article", "--preset", "article", "--baselines", "no", "--epochs", "1", "--hidden", "8"]):
            done = run(*args, "--corpus", cls.corpus)
            if done.returncode != 0:
                raise AssertionError(done.stderr.decode())
        cls.traces = [[rng.choice(CALLS + ["NeverSeenA"]) for _ in range(n)] for n in (5, 9, 17, 40)]
        (cls.root / "reports").mkdir()
        for i, calls in enumerate(cls.traces):
            (cls.root / "reports" / ("%d.json" % i)).write_bytes(report.cuckoo([report.Process("a.exe", calls)]))

    def export(self, name):
        done = run("train", "onnx", self.corpus / "models" / name, "-o", self.root / (name + ".onnx"), "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout), onnx.read((self.root / (name + ".onnx")).read_bytes())

    def scores(self, name):
        done = run("detect", "--model", self.corpus / "models" / name, "--json", "--min-calls", "1", self.root / "reports")
        self.assertIn(done.returncode, (0, 1), done.stderr)
        return [json.loads(line)["score"] for line in done.stdout.splitlines()]

    def wide_of(self, name, meta):
        options = dict(word.split("=") for word in meta["inputs"].split()[1:])
        _, tensors = safetensors.read((self.corpus / "models" / name / "model.safetensors").read_bytes())
        words = json.loads(meta["ngram_calls"])
        places = struct.unpack("<%di" % (len(tensors["ngrams.calls"][2]) // 4), tensors["ngrams.calls"][2])
        weights = struct.unpack("<%df" % (len(tensors["ngrams.weight"][2]) // 4), tensors["ngrams.weight"][2])
        grams = [tuple(words[p] for p in places[3 * i:3 * i + 3] if p >= 0) for i in range(len(weights))]
        return [weigh(calls, grams, weights, options["l2"] == "yes") for calls in self.traces]

    def inputs_of(self, name, model):
        """What docs/onnx.md and the metadata say is fed to the file, made here without malseq."""
        meta = model["metadata"]
        if "tokens" not in model["inputs"]:
            return {"wide": self.wide_of(name, meta)}
        names, options = json.loads(meta["vocabulary"]), dict(word.split("=") for word in meta["inputs"].split()[1:])
        rows = [view(calls, names, 2 if meta["unknown"] == "yes" else 1, "once=yes" in meta["normalisation"]) for calls in self.traces]
        steps = model["inputs"]["tokens"][1][1]
        longest = steps if isinstance(steps, int) else max(len(row) for row in rows)

        def grid(values, fill):
            pads = [[fill] * (longest - len(v)) for v in values]
            return [pad + v if isinstance(steps, int) else v + pad for v, pad in zip(values, pads)]

        inputs = {"tokens": grid([[step[0] for step in row] for row in rows], 0)}
        tables = [[[step[1] for step in row] for row in rows]] * (options["run-length"] == "yes")
        tables += [[[step[2] for step in row] for row in rows]] * (options["run-count"] == "yes")
        for n, buckets in ((2, int(options["bigrams"])), (3, int(options["trigrams"]))):
            if buckets:
                tokens = [[step[0] for step in row] for row in rows]
                tables.append([[hashed(t[i - n + 1:i + 1], buckets) if i >= n - 1 else -1 for i in range(len(t))] for t in tokens])
        inputs.update(("feature%d" % i, grid(table, -1)) for i, table in enumerate(tables))
        if "lengths" in model["inputs"]:
            inputs["lengths"] = [len(row) for row in rows]
        if "wide" in model["inputs"]:
            inputs["wide"] = self.wide_of(name, meta)
        return inputs

    def test_a_model_detects_the_same_elsewhere(self):
        for name in ("plain", "article", "whole", "straight", "trees"):
            told, model = self.export(name)
            want = self.scores(name)
            self.assertEqual(len(want), len(self.traces))
            (self.root / "e2e.json").write_text(json.dumps({"inputs": self.inputs_of(name, model), "scores": [[p, 1 - p] for p in want]}))
            found, = node("onnx_run.js", self.root / (name + ".onnx"), self.root / "e2e.json")
            with self.subTest(model=name):
                self.assertLessEqual(float(found["worst"]), CLOSE)
                self.assertEqual(json.loads(model["metadata"]["classes"]), ["malware", "benign"])
                self.assertEqual(told["inputs"], {name: dims for name, (_, dims) in model["inputs"].items()})
                check_schema(told, json.loads(SCHEMA.read_text()))
                self.assertEqual(told["bytes"], (self.root / (name + ".onnx")).stat().st_size)

    def test_metadata_is_the_model_files(self):
        _, model = self.export("plain")
        metadata, tensors = safetensors.read((self.corpus / "models" / "plain" / "model.safetensors").read_bytes())
        self.assertEqual(model["metadata"], metadata)
        for key in ("vocabulary", "normalisation", "classes", "threshold", "dataset", "split", "seed", "settings"):
            self.assertIn(key, metadata)
        kind, shape, data = next(tensor for name, tensor in tensors.items() if name.endswith("embedding"))
        self.assertEqual((kind, shape[0]), ("F32", len(json.loads(metadata["vocabulary"])) + 2))
        values = struct.unpack("<%df" % (len(data) // 4), data)
        self.assertGreater(max(values), 0)

    def test_the_formats_own_library_reads_the_model_file(self):
        path = self.corpus / "models" / "plain" / "model.safetensors"
        metadata, tensors = safetensors.read(path.read_bytes())
        (self.root / "bad").write_bytes(path.read_bytes()[:400])
        good, bad = node("safetensors_header.js", path, self.root / "bad")
        self.assertEqual(good["header"].pop("__metadata__"), metadata)
        self.assertEqual({name: (entry["dtype"], entry["shape"]) for name, entry in good["header"].items()},
                         {name: (dtype, shape) for name, (dtype, shape, _) in tensors.items()})
        counts = {}
        for dtype, _, data in tensors.values():
            counts[dtype] = counts.get(dtype, 0) + len(data) // safetensors.SIZES[dtype]
        self.assertEqual(good["parameters"], counts)
        self.assertIn("not valid JSON", bad["error"])

    def test_the_strict_reader_is_strict(self):
        data = (self.corpus / "models" / "plain" / "model.safetensors").read_bytes()
        length, = struct.unpack("<Q", data[:8])
        text, rest = data[8:8 + length], data[8 + length:]
        for old, new, why in [(b'"F32"', b'"F33"', "dtype"), (b'"seed":"1"', b'"seed": 1 ', "no text"), (b'"data_offsets":[0,', b'"data_offsets":[4,', "hole")]:
            self.assertIn(old, text)
            with self.assertRaisesRegex(safetensors.Refused, why):
                safetensors.read(data[:8] + text.replace(old, new, 1) + rest)
        for bad, why in [(data[:-1], "missing"), (data + b"\0", "no tensor"), (data[:7], "length"), (struct.pack("<Q", length - 1) + text[:-1] + rest, "aligned")]:
            with self.assertRaisesRegex(safetensors.Refused, why):
                safetensors.read(bad)

    def test_the_same_model_gives_the_same_file(self):
        self.export("plain")
        one = (self.root / "plain.onnx").read_bytes()
        done = run("malseq", "train", "onnx", self.corpus / "models" / "plain" / "model.safetensors", "--output", self.root / "again.onnx")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(b"scores", done.stdout)
        self.assertEqual(one, (self.root / "again.onnx").read_bytes())

    def test_refuses(self):
        model = self.corpus / "models" / "plain"
        (self.root / "junk.safetensors").write_bytes(b"\x08" + b"\0" * 7 + b'{"a": 1}')
        for args, code, words in [
            ([model], 2, "--output"),
            (["-o", self.root / "x.onnx"], 2, ""),
            ([self.root / "none", "-o", self.root / "x.onnx"], 3, "none"),
            ([self.root / "junk.safetensors", "-o", self.root / "x.onnx"], 3, "no model of malseq"),
            ([model, "-o", self.root / "no" / "x.onnx"], 4, "x.onnx"),
            ([model, "-o", self.root], 2, ""),
        ]:
            with self.subTest(args=args):
                done = run("train", "onnx", *args)
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertIn(words, done.stderr.decode())
        self.assertFalse((self.root / "x.onnx").exists())
        done = run("train", "onnx", model, "-o", self.root / "x.onnx", "--dry-run")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertFalse((self.root / "x.onnx").exists())


if __name__ == "__main__":
    unittest.main()
