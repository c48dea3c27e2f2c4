"""detect's reasons, early verdicts, samples of a corpus, and logs that are followed."""
# in release: Why.test_a_long_log_of_two_calls
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import threading
import time
import unittest

import test_train_detect as base
from gen import report
from test_train_detect import BAD, COMMON, GOOD, run

SCHEMA = json.loads((base.SCHEMAS / "detect.schema.json").read_text())


class Detect(base.Corpora):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.train(cls.verdicts, "--name", "every", "--collapse", "0", "--once", "no", "--epochs", "3")
        cls.every = cls.verdicts / "models" / "every"

    def lines(self, *args, model=None, code=None, **kwargs):
        done = run("detect", "--model", model or self.model, "--json", *args, **kwargs)
        lines = [json.loads(line) for line in done.stdout.decode().splitlines()]
        for line in lines:
            base.check_schema(line, SCHEMA)
        if code is not None:
            self.assertEqual(done.returncode, code, done.stderr)
        return lines

    def line(self, data, *args, **kwargs):
        lines = self.lines("-", *args, stdin=data, **kwargs)
        self.assertEqual(len(lines), 1)
        return lines[0]

    def scores(self, traces, **kwargs):
        """What detect says of each of these lists of calls alone; None: nothing."""
        with tempfile.TemporaryDirectory(dir=self.root) as folder:
            for i, calls in enumerate(traces):
                pathlib.Path(folder, "%04d.json" % i).write_bytes(report.cuckoo([report.Process("a.exe", calls)]))
            return [line["score"] for line in self.lines("--fast", "--min-calls", "1", folder, **kwargs)]


class Why(Detect):
    CALLS = COMMON[:3] + BAD[:1] + COMMON[3:6] + BAD[1:] + COMMON[6:9]

    def test_a_reason_is_the_difference_without_the_call(self):
        first, second = self.CALLS[:5], self.CALLS[5:]
        processes = [report.Process("a.exe", ["__anomaly__", *first], pid=100), report.Process("b\x1b.exe", second, pid=200)]
        line = self.line(report.cuckoo(processes), "--top", "100")
        self.assertEqual(line["verdict"], "malicious")
        calls = [name.lower() for name in self.CALLS]
        whole, *without = self.scores([self.CALLS] + [self.CALLS[:at] + self.CALLS[at + 1:] for at in range(len(calls))])
        self.assertAlmostEqual(line["score"], whole, 6)
        self.assertEqual(sorted(why["call"] for why in line["why"]), sorted(name.lower() for name in self.CALLS))
        self.assertEqual([abs(why["delta"]) for why in line["why"]], sorted((abs(why["delta"]) for why in line["why"]), reverse=True))
        for why in line["why"]:
            at = calls.index(why["call"])
            self.assertAlmostEqual(why["delta"], whole - without[at], 5)
            self.assertEqual((why["position"], why["first"], why["count"]), (at, at, 1))
            place = ("a.exe", 100, at + 1) if at < 5 else ("b\x1b.exe", 200, at - 5)
            self.assertEqual((why["process"], why["pid"], why["index"]), place)
        self.assertIn(line["why"][0]["call"], [name.lower() for name in BAD])
        self.assertGreater(line["why"][0]["delta"], 0)

    def test_early_is_the_first_beginning_after_which_none_falls_below(self):
        for calls in (self.CALLS, BAD + COMMON, COMMON + GOOD[:1] + BAD, GOOD + BAD + COMMON[:4]):
            line = self.line(report.cuckoo([report.Process("a.exe", calls, pid=7)]))
            scores = self.scores([calls[:n] for n in range(1, len(calls) + 1)])
            at = len(calls)
            while at and (scores[at - 1] or 0) >= .5:
                at -= 1
            if line["verdict"] != "malicious":
                self.assertIsNone(line["decided_at"])
                continue
            decided = line["decided_at"]
            self.assertEqual((decided["position"], decided["index"], decided["pid"], decided["call"]), (at, at, 7, calls[at].lower()))
            self.assertTrue(decided["exact"])

    def test_of_several_occurrences_the_one_that_matters(self):
        calls = ["NtClose"] * 3 + BAD + ["NtClose"] * 2 + ["__exception__"] + ["NtClose"] + COMMON
        data = report.cuckoo([report.Process("a.exe", calls, pid=5)])
        line = self.line(data, "--top", "100", model=self.every)
        whole, plain = line["score"], [name for name in calls if not name.startswith("__")]
        closes = [i for i, name in enumerate(plain) if name == "NtClose"]
        why = next(why for why in line["why"] if why["call"] == "ntclose")
        self.assertEqual((why["count"], why["first"]), (len(closes), 0))
        without, *alone = self.scores([[name for name in plain if name != "NtClose"]] + [plain[:i] + plain[i + 1:] for i in closes], model=self.every)
        self.assertAlmostEqual(why["delta"], whole - without, 5)
        alone = {i: abs(whole - score) for i, score in zip(closes, alone)}
        self.assertAlmostEqual(alone[why["position"]], max(alone.values()), 5)
        self.assertEqual(why["index"], {0: 0, 1: 0, 2: 0, 5: 5, 6: 5, 7: 5}.get(why["position"], why["index"]))

    def test_text(self):
        path = self.root / "text.json"
        path.write_bytes(report.cuckoo([report.Process("a\x1b\n.exe", self.CALLS, pid=100)]))
        plain = run("detect", "--model", self.model, path).stdout.decode()
        self.assertRegex(plain, r"^[^\n]*\tmalicious\t0\.\d{4}\n$")
        early = run("detect", "--model", self.model, "--early", path).stdout.decode()
        self.assertRegex(early, r"^[^\n]*\tmalicious\t0\.\d{4}\tsince \d+ of 11: \w+, a\\x1b\\n\.exe \(100\) call \d+\n$")
        lines = run("detect", "--model", self.model, "--explain", "--top", "3", path).stdout.decode().splitlines()
        self.assertEqual([lines[0] + "\n", len(lines)], [early, 4])
        for line in lines[1:]:
            self.assertRegex(line, r"^\twhy\t[+-]\d\.\d{4}\t\w+, a\\x1b\\n\.exe \(100\) call \d+$")

    def test_fast_gives_no_reasons_and_unknown_has_none(self):
        data = report.cuckoo([report.Process("a.exe", self.CALLS)])
        line = self.line(data, "--fast")
        self.assertEqual((line["verdict"], line["why"], line["decided_at"]), ("malicious", [], None))
        for data in (b"{}", report.cuckoo([report.Process("a.exe", ["Zw%d" % i for i in range(30)])])):
            line = self.line(data)
            self.assertEqual((line["verdict"], line["why"], line["decided_at"]), ("unknown", [], None))
        self.assertEqual(run("detect", "--model", self.model, "--fast", "--explain", "-", stdin=b"").returncode, 2)

    def test_a_band_without_verdict(self):
        data = report.cuckoo([report.Process("a.exe", self.CALLS)])
        line = self.line(data, "--unknown", "0.3:1.1", code=0)
        self.assertEqual((line["verdict"], line["decided_at"]), ("unknown", None))
        self.assertGreater(line["score"], .5)
        self.assertTrue(line["why"])
        self.assertIn("is no verdict", line["reason"])
        self.assertEqual(self.line(data, "--unknown", "0:0.3", code=1)["verdict"], "malicious")
        for text in ("1", "1:", "a:b", "0.5:0.4", "0:nan"):
            self.assertEqual(run("detect", "--model", self.model, "--unknown", text, "-", stdin=data).returncode, 2, text)

    def test_many_calls_cost_bounded_time(self):
        """More distinct calls than are tried, in a long view; and a log of the same call over and over."""
        calls = ["Made%04d" % (i * 7 % 1500) for i in range(6000)]
        calls[3000:3000] = BAD
        begun = time.monotonic()
        line = self.line(report.cuckoo([report.Process("a.exe", calls + COMMON)]), "--top", "5", model=self.every)
        self.assertEqual(line["calls"], 6000 + len(BAD) + len(COMMON))
        self.assertLessEqual(len(line["why"]), 5)
        data = json.loads(report.cape([report.Process("a.exe", BAD + COMMON)]))
        for call in data["behavior"]["processes"][0]["calls"]:
            call["repeated"] = 1 << 32
        line = self.line(json.dumps(data).encode())
        self.assertEqual((line["verdict"], [why["count"] for why in line["why"]]), ("malicious", [1] * 5))
        self.assertLess(time.monotonic() - begun, 60)

    def test_a_long_log_of_two_calls(self):
        pair = log(["NtClose", "NtOpenKey"], pid=3)
        times = 20000 if os.environ.get("MALSEQ_SANITIZED") == "1" else 200000
        line = self.line(log(BAD + COMMON) + pair * times)
        self.assertEqual((line["state"], line["calls"], len(line["why"])), ("ok", 2 * times + len(BAD + COMMON), 5))

    def test_a_model_of_another_normalisation_is_refused(self):
        good = (self.model / "model.safetensors").read_bytes()
        length = int.from_bytes(good[:8], "little")
        header = good[8:8 + length]
        self.assertIn(b"normalise-1 ", header)
        bad = self.root / "other.safetensors"
        bad.write_bytes(good[:8] + header.replace(b"normalise-1 ", b"normalise-7 ") + good[8 + length:])
        done = run("detect", "--model", bad, "-", stdin=b"")
        self.assertEqual((done.returncode, done.stdout), (3, b""))
        self.assertIn("normalis", done.stderr.decode())
        # Of this one the header says nothing: reading has begun, and the end of the input is not waited for.
        bad.write_bytes(good + b"more")
        process = subprocess.Popen([os.path.join(base.BIN, "detect"), "--model", bad, "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(lambda: (process.kill(), process.communicate()))
        self.assertEqual(process.wait(50), 3)
        self.assertIn("bytes of tensors", process.stderr.read().decode())


class Stored(Detect):
    def test_a_sample_of_the_corpus(self):
        corpus, sample = self.root / "stored", "ab" * 32
        calls = BAD + COMMON + ["NtBack\\slash"]
        folder = self.root / "in"
        folder.mkdir()
        made = {"one.json": report.cuckoo([report.Process("a.exe", calls, pid=11)], sha256=sample), "two.json": report.cape([report.Process("b.exe", GOOD + COMMON)], sha256=sample),
                "three.json": report.cuckoo([], sha256=sample)}
        for name, data in made.items():
            (folder / name).write_bytes(data)
        for name in made:
            self.assertIn(run("extract", "import", folder / name, "--corpus", corpus).returncode, (0, 1))
        for hash_ in (sample, sample.upper(), sample[:40], sample[:32]):
            lines = self.lines("--corpus", corpus, hash_, code=1)
            self.assertEqual([line["file"].split("#")[0] for line in lines], [hash_] * 3)
            self.assertEqual([(line["verdict"], line["state"]) for line in lines], [("malicious", "ok"), ("benign", "ok"), ("unknown", "no_calls")])
        for line, name in zip(lines, made):
            same = dict(self.line(made[name]), file=line["file"], reason=line["reason"])
            self.assertEqual(line, same)
        lines = self.lines("--corpus", corpus, folder / "two.json", sample, folder / "one.json")
        self.assertEqual([os.path.basename(line["file"]).split("#")[0] for line in lines], ["two.json", "one.json", sample, sample, sample])
        done = run("detect", "--model", self.model, "--corpus", corpus, "cd" * 32)
        self.assertEqual((done.returncode, done.stdout), (3, b""))
        self.assertIn(b"cd" * 32, done.stderr)
        self.assertEqual(run("detect", "--model", self.model, "--corpus", self.root / "nowhere", sample).returncode, 3)

    def test_a_file_called_like_a_hash_is_a_file(self):
        path = self.root / ("12" * 16)
        path.write_bytes(report.cuckoo([report.Process("a.exe", BAD + COMMON)]))
        done = subprocess.run([os.path.join(base.BIN, "detect"), "--model", self.model, path.name], cwd=self.root, capture_output=True, timeout=250)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertTrue(done.stdout.startswith(b"12"))


def log(calls, pid=4, name="a.exe"):
    return b"".join(json.dumps({"Plugin": "apimon", "TimeStamp": "%d.0" % i, "PID": pid, "PPID": 1, "TID": 8, "ProcessName": name, "Method": call, "Event": "api_called",
                                "CalledFrom": "0x1", "Arguments": []}).encode() + b"\n" for i, call in enumerate(calls))


class Follow(Detect):
    def start(self, *args, **kwargs):
        process = subprocess.Popen([os.path.join(base.BIN, "detect"), "--model", str(self.model), "--json", "--follow", *map(str, args)], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, **kwargs)
        watchdog = threading.Timer(40, process.kill)
        watchdog.start()
        self.addCleanup(lambda: (watchdog.cancel(), process.kill(), process.communicate(), [stream.close() for stream in (process.stdin, process.stdout, process.stderr) if stream]))
        return process

    def next_line(self, process):
        line = json.loads(process.stdout.readline())
        base.check_schema(line, SCHEMA)
        return line

    def test_standard_input_to_its_end(self):
        data = log(GOOD + COMMON) + b"not json\n" + log(BAD * 2, pid=9) + log(COMMON * 30)[:-30]
        lines = self.lines("--follow", stdin=data)
        self.assertEqual([line["final"] for line in lines], [False] * (len(lines) - 1) + [True])
        last = self.line(data)
        self.assertEqual({key: value for key, value in lines[-1].items() if key != "final"}, last)
        self.lines("--follow", stdin=log(BAD + COMMON), code=1)
        every = self.lines("--follow", "--every", "5", stdin=data)
        self.assertEqual([line["calls"] for line in every[:6]], [5, 10, 15, 20, 25, 30])
        for data in (b"", b"\n\n", b"words\n", b'{"Plugin": "apimon"}\n', report.cuckoo([report.Process("a.exe", BAD)])):
            line, = self.lines("--follow", stdin=data, code=0)
            self.assertEqual((line["verdict"], line["final"], line["why"]), ("unknown", True, []))

    def test_a_growing_file(self):
        path = self.root / "grow.log"
        path.write_bytes(log(GOOD + COMMON))
        process = self.start(path)
        line = self.next_line(process)
        self.assertEqual((line["verdict"], line["final"]), ("benign", False))
        with path.open("ab") as file:
            tail = log(BAD * 2 + COMMON, pid=2, name="c.exe")
            file.write(tail[:77])
            file.flush()
            time.sleep(.2)
            file.write(tail[77:])
        path_copy = self.root / "copy.log"
        path_copy.write_bytes(path.read_bytes())
        whole = self.lines("--fast", path_copy)[0]
        deadline, line = time.monotonic() + 120, None
        if whole["verdict"] != "benign":
            line = self.next_line(process)
            self.assertEqual(line["verdict"], whole["verdict"])
        else:
            time.sleep(1.5)
        process.send_signal(signal.SIGTERM)
        last = self.next_line(process)
        while not last["final"] and time.monotonic() < deadline:
            last = self.next_line(process)
        self.assertEqual((last["final"], last["score"], last["calls"]), (True, whole["score"], whole["calls"]))
        self.assertEqual(process.wait(20), int(last["verdict"] == "malicious"))  # a signal is how following ends

    def test_a_file_that_is_cut_or_replaced_is_another_log(self):
        path = self.root / "cut.log"
        path.write_bytes(log(BAD + COMMON))
        process = self.start(path, "--until", "30")
        self.assertEqual(self.next_line(process)["verdict"], "malicious")
        path.write_bytes(log(COMMON[:2]))
        line = self.next_line(process)
        self.assertEqual((line["verdict"], line["final"]), ("malicious", True))
        time.sleep(.3)
        with path.open("ab") as file:
            file.write(log(GOOD + COMMON[2:]))
        line = self.next_line(process)
        self.assertEqual((line["verdict"], line["calls"], line["final"]), ("benign", len(GOOD + COMMON), False))
        other = self.root / "other.log"
        other.write_bytes(log(BAD + COMMON[3:]))
        os.rename(other, path)
        line = self.next_line(process)
        self.assertEqual((line["verdict"], line["final"]), ("benign", True))
        line = self.next_line(process)
        self.assertEqual((line["verdict"], line["calls"]), ("malicious", len(BAD + COMMON[3:])))
        process.send_signal(signal.SIGINT)
        self.assertTrue(self.next_line(process)["final"])
        self.assertEqual(process.wait(20), 1)
        errors = process.stderr.read().decode()
        self.assertIn("was cut", errors)
        self.assertIn("was replaced", errors)

    def test_until(self):
        path = self.root / "until.log"
        path.write_bytes(log(BAD + COMMON))
        begun = time.monotonic()
        lines = self.lines("--follow", "--until", "1", path, code=1)
        self.assertGreaterEqual(time.monotonic() - begun, 1)
        self.assertEqual([(line["verdict"], line["final"]) for line in lines], [("malicious", False), ("malicious", True)])
        process = self.start("-", "--until", "1", stdin=subprocess.PIPE)
        self.assertEqual(self.next_line(process)["verdict"], "unknown")
        self.assertEqual(process.wait(20), 0)

    def test_usage(self):
        self.assertEqual(run("detect", "--model", self.model, "--follow", "a", "b").returncode, 2)
        self.assertEqual(run("detect", "--model", self.model, "--follow", self.root).returncode, 2)
        self.assertEqual(run("detect", "--model", self.model, "--follow", self.root / "gone.log").returncode, 3)


if __name__ == "__main__":
    unittest.main()
