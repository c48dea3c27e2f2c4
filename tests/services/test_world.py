"""Tests of the generators: PE files, archives, reports and the demo world hold what they promise; no malseq program is run here."""
import hashlib
import io
import json
import lzma
import math
import shutil
import struct
import subprocess
import tarfile
import tempfile
import time
import unittest
import zipfile
from collections import Counter, defaultdict

from gen import archive, pe, report, sevenzip, world
from gen.antivirus import CLASSES, file_object, group_of


class PeTest(unittest.TestCase):
    def test_headers(self):
        for kind, subsystem in (("exe", None), ("dll", None), ("driver", 1), ("dotnet", None), ("efi", 10)):
            for bits in (32, 64):
                data = pe.pe("x", kind, bits, sections=4)
                self.assertEqual(data, pe.pe("x", kind, bits, sections=4))
                start = struct.unpack_from("<I", data, 60)[0]
                self.assertEqual((data[:2], data[start:start + 4]), (b"MZ", b"PE\0\0"))
                machine, sections, _, _, _, optional, flags = struct.unpack_from("<HHIIIHH", data, start + 4)
                self.assertEqual((machine, sections, bool(flags & 0x2000)), (0x8664 if bits == 64 else 0x14C, 4, kind == "dll"))
                self.assertEqual(struct.unpack_from("<H", data, start + 24)[0], 0x20B if bits == 64 else 0x10B)
                self.assertEqual(struct.unpack_from("<I", data, start + 40)[0], 0, "entry point")
                if subsystem:
                    self.assertEqual(struct.unpack_from("<H", data, start + 24 + 68)[0], subsystem)
                directories = start + 24 + optional - 128
                self.assertEqual(struct.unpack_from("<I", data, directories + 14 * 8)[0] != 0, kind == "dotnet")
                self.check_sections(data, start + 24 + optional, sections)

    def check_sections(self, data, table, sections):
        end = 0
        for index in range(sections):
            _, size, _, raw_size, raw, _, _, _, _, flags = struct.unpack_from("<8sIIIIIIHHI", data, table + 40 * index)
            self.assertLessEqual(size, raw_size)
            self.assertEqual(flags & 0x20000020, 0, "no code, not executable")
            end = raw + raw_size
        self.assertEqual(end, len(data))

    def test_look_alikes(self):
        whole = pe.pe("cut/0", body_bytes=4096)
        self.assertEqual(pe.truncated(0), whole[:-1500])
        self.assertEqual(pe.mz_not_pe()[0x80:0x82], b"NE")


class ArchiveTest(unittest.TestCase):
    def test_zip_against_the_standard_reader(self):
        entries = {"a/b.exe": pe.pe(1), "empty": b"", "größe.txt": b"text " * 200}
        for password in (None, "infected"):
            for method in ("store", "deflate"):
                with zipfile.ZipFile(io.BytesIO(archive.zipped(entries, password, method))) as file:
                    self.assertEqual({name: file.read(name, (password or "").encode() or None) for name in file.namelist()}, entries)
                    self.assertEqual(all(info.flag_bits & 1 for info in file.infolist()), bool(password))

    def test_wrong_password_that_passes_the_check(self):
        data = archive.zipped({"a": b"q" * 500}, "infected", "store")
        wrong = archive.wrong_but_accepted(data, 2)
        self.assertEqual(len(wrong), 2)
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            for password in wrong:
                with self.assertRaisesRegex(zipfile.BadZipFile, "CRC"):
                    file.read("a", password.encode())
            with self.assertRaisesRegex(RuntimeError, "password"):
                file.read("a", b"definitely not this one")

    def test_nested_tar_and_bomb(self):
        data = archive.nested(b"core", "core.bin", 5)
        for _ in range(5):
            with zipfile.ZipFile(io.BytesIO(data)) as file:
                data = file.read(file.namelist()[0])
        self.assertEqual(data, b"core")
        for compression in ("", "gz", "bz2", "xz"):
            with tarfile.open(fileobj=io.BytesIO(archive.tarred({"x/y": b"1"}, compression))) as file:
                self.assertEqual(file.extractfile("x/y").read(), b"1")
        bomb = archive.zip_bomb(20 << 20)
        self.assertLess(len(bomb), 30000)
        with zipfile.ZipFile(io.BytesIO(bomb)) as file:
            self.assertEqual(file.infolist()[0].file_size, 20 << 20)
            self.assertIsNone(file.testzip())


class SevenZipTest(unittest.TestCase):
    ENTRIES = {"dir/a.exe": pe.pe(1), "leer.txt": b"", "größe.bin": b"hello " * 3000}

    def test_aes_vector(self):
        """FIPS 197, appendix C.3."""
        block, key = bytes.fromhex("00112233445566778899aabbccddeeff"), bytes(range(32))
        self.assertEqual(sevenzip.aes_cbc_encrypt(block, key, bytes(16)).hex(), "8ea2b7ca516745bfeafc49904b496089")

    @unittest.skipUnless(shutil.which("7zz"), "7zz is not installed: the 7z writer is not compared with it")
    def test_against_7zz(self):
        with tempfile.NamedTemporaryFile(suffix=".7z") as file:
            for method in ("copy", "lzma", "lzma2"):
                for password, hide in ((None, False), ("infected", False), ("infected", True)):
                    with open(file.name, "wb") as out:
                        out.write(sevenzip.packed(self.ENTRIES, method, password, hide))
                    self.assertEqual(self.extract(file.name, password or "none"), (0, b"".join(self.ENTRIES.values())), (method, password, hide))
                    if password:
                        self.assertNotEqual(self.extract(file.name, "wrong")[0], 0)

    @staticmethod
    def extract(path, password):
        run = subprocess.run(["7zz", "x", "-so", "-p" + password, path], stdin=subprocess.DEVNULL, capture_output=True, timeout=250, check=False)
        return run.returncode, run.stdout


class ReportTest(unittest.TestCase):
    PROCESSES = [report.Process("a.exe", ["NtCreateFile", "NtWriteFile", "NtWriteFile", ("send", False, 1), "__exception__"] * 30),
                 report.Process("b.exe", ["NtClose"] * 7), report.Process("quiet.exe", [])]

    def test_cuckoo_layout(self):
        data = report.cuckoo(self.PROCESSES, task=5, sample=b"MZ")
        whole = json.loads(data)
        self.assertEqual(data, json.dumps(whole, indent=4, sort_keys=True).encode(), "the layout is json.dumps's own")
        rows = whole["behavior"]["processes"]
        self.assertEqual([(row["process_name"], row["track"], len(row["calls"])) for row in rows],
                         [("lsass.exe", False, 0), ("a.exe", True, 150), ("b.exe", True, 7), ("quiet.exe", True, 0)])
        names = Counter(call["api"] for row in rows for call in row["calls"])
        self.assertEqual(names, Counter(report.count(self.PROCESSES)["names"]))
        self.assertEqual(sum(sum(counts.values()) for counts in whole["behavior"]["apistats"].values()), 157)
        call = rows[1]["calls"][3]
        self.assertEqual((call["api"], call["status"], call["category"], type(call["time"]), type(call["arguments"])), ("send", 0, "network", float, dict))
        self.assertEqual(rows[1]["calls"][4]["category"], "__notification__")
        self.assertEqual(whole["target"]["file"]["sha256"], hashlib.sha256(b"MZ").hexdigest())
        self.assertNotIn("behavior", json.loads(report.cuckoo([], behavior=False)))

    def test_cape_layout(self):
        whole = json.loads(report.cape(self.PROCESSES))
        rows = whole["behavior"]["processes"]
        self.assertEqual([len(row["calls"]) for row in rows], [120, 1, 0])
        self.assertEqual(sum(1 + call["repeated"] for row in rows for call in row["calls"]), report.count(self.PROCESSES)["calls"])
        call = rows[0]["calls"][1]
        self.assertEqual((call["repeated"], call["status"], type(call["arguments"]), call["category"]), (1, True, list, "filesystem"))

    def test_counting_and_mutating(self):
        for make, entries in ((report.cuckoo, 157), (report.cape, 121)):
            data = make(self.PROCESSES)
            self.assertEqual((report.count_json(data)["calls"], report.count_json(data)["calls_expanded"]), (entries, 157))
            self.assertEqual(report.mutate(data, 1), report.mutate(data, 1))
            changed = [report.count_json(report.mutate(data, seed)) for seed in range(10)]
            self.assertGreater(len({count["calls"] for count in changed}), 5)
            self.assertEqual({count["processes"] for count in changed}, {report.count_json(data)["processes"]})
        self.assertEqual(report.count_json(b"{}"), {"processes": 0, "calls": 0, "calls_expanded": 0})


class WorldTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        start = time.monotonic()
        cls.world = world.build(400, 1)
        cls.seconds = time.monotonic() - start
        cls.shuffled = world.build(400, 1, True)
        cls.traces = [cls.names(cls.world.grammar.trace(sample.cls, sample.family, sample.trace_key)) for sample in cls.world.samples]

    @staticmethod
    def names(processes):
        return [call[0] for _, calls in processes for call in calls]

    def test_fast_and_the_same_each_time(self):
        self.assertLess(self.seconds, 5)
        again = world.build(400, 1)
        self.assertEqual(again.repositories, self.world.repositories)
        self.assertEqual([vars(spec) for spec in again.specs], [vars(spec) for spec in self.world.specs])
        self.assertNotEqual(world.build(400, 2).samples[0].sha256, self.world.samples[0].sha256)

    def unpack(self, data):
        """Every file inside, by the standard library's readers and the two known passwords; None for what cannot be opened."""
        if data[:2] == b"PK":
            try:
                file = zipfile.ZipFile(io.BytesIO(data))
            except zipfile.BadZipFile:
                return None
            found = []
            for info in file.infolist():
                for password in (world.PASSWORD, world.OTHER_PASSWORD):
                    try:
                        found.append(file.read(info, password.encode()))
                        break
                    except (RuntimeError, zipfile.BadZipFile, zipfile.zlib.error):
                        continue
                else:
                    return None
            return found
        if data[:2] == b"7z":
            # The standard library has no 7z reader; the solid stream is one raw LZMA2 or LZMA stream at offset 32.
            body = data[32:32 + struct.unpack_from("<Q", data, 12)[0]]
            lzma2 = {"id": lzma.FILTER_LZMA2, "dict_size": 1 << 16}
            lzma1 = {"id": lzma.FILTER_LZMA1, "dict_size": 1 << 16, "lc": 3, "lp": 0, "pb": 2}
            # An LZMA stream begins with a zero byte, which would end an LZMA2 stream at once.
            solid = lzma.decompress(body, lzma.FORMAT_RAW, filters=[lzma2 if body[0] else lzma1])
            return [sample.data for sample in self.world.samples if sample.data in solid]
        try:
            with tarfile.open(fileobj=io.BytesIO(data)) as file:
                return [file.extractfile(member).read() for member in file]
        except tarfile.TarError:
            return []

    def test_every_sample_is_in_a_repository(self):
        found, locked, queue = Counter(), 0, [data for files in self.world.repositories.values() for data in files.values()]
        while queue:
            data = queue.pop()
            if data[:2] == b"MZ":
                if data[struct.unpack_from("<I", data, 60)[0]:][:4] == b"PE\0\0":
                    found[hashlib.sha256(data).hexdigest()] += 1
                continue
            inside = self.unpack(data)
            locked += inside is None
            queue += inside or []
        self.assertEqual(set(found), {sample.sha256 for sample in self.world.samples})
        self.assertEqual(sum(count - 1 for count in found.values()), self.world.seen_twice)
        self.assertEqual(locked, len(self.world.rejects))

    def test_verdicts_agree_with_the_specs(self):
        specs = {spec.sha256: file_object(spec)["attributes"] for spec in self.world.specs}
        for sample in self.world.samples:
            attributes = specs.get(sample.sha256)
            if sample.label == "not_found":
                self.assertIsNone(attributes)
                continue
            groups = {group_of(engine) for engine, row in attributes["last_analysis_results"].items() if row["category"] == "malicious"}
            age = attributes["last_analysis_date"] - attributes["first_submission_date"]
            low, high = {"malicious": (5, 99), "doubtful": (1, 4)}.get(sample.label, (0, 0))
            self.assertTrue(low <= len(groups) <= high, sample.label)
            self.assertEqual(age < 90 * 86400, sample.label == "immature")
        self.assertTrue(all(self.world.counts()["classes_by_label"].get(cls, 0) > 20 for cls in CLASSES + ("benign",)))

    @staticmethod
    def accuracy(traces, labels):
        """Hold-out accuracy of naive Bayes on call counts (a quarter held out), and the share of the largest class there."""
        features = [Counter(name for index, name in enumerate(trace[:300]) if index == 0 or trace[index - 1] != name) for trace in traces]
        held = range(0, len(labels), 4)
        counts, prior, words = defaultdict(Counter), Counter(), set()
        for index in set(range(len(labels))) - set(held):
            counts[labels[index]] += features[index]
            prior[labels[index]] += 1
            words |= set(features[index])
        totals = {label: sum(count.values()) for label, count in counts.items()}

        def score(label, feature):
            return math.log(prior[label]) + sum(number ** 0.5 * math.log((counts[label][name] + 0.5) / (totals[label] + 0.5 * len(words)))
                                                for name, number in feature.items())
        hits = sum(max(counts, key=lambda label: score(label, features[index])) == labels[index] for index in held)
        return hits / len(held), max(Counter(labels[index] for index in held).values()) / len(held)

    def test_behaviour_tells_the_class_but_not_always(self):
        told = [(trace, sample.told or "benign") for trace, sample in zip(self.traces, self.world.samples) if sample.label in ("malicious", "benign")]
        reached, majority = self.accuracy(*map(list, zip(*told)))
        self.assertGreater(reached, majority + 0.3)
        self.assertLess(reached, 0.995)

    def test_shuffled_labels_carry_nothing(self):
        self.assertEqual([sample.sha256 for sample in self.shuffled.samples], [sample.sha256 for sample in self.world.samples])
        self.assertEqual(self.shuffled.counts()["classes_by_label"], self.world.counts()["classes_by_label"])
        told = [(trace, sample.told or "benign") for trace, sample in zip(self.traces, self.shuffled.samples) if sample.label in ("malicious", "benign")]
        reached, majority = self.accuracy(*map(list, zip(*told)))
        self.assertLess(reached, majority + 0.1)

    def test_traces_and_reports(self):
        lengths = [len(trace) for trace in self.traces]
        self.assertTrue(50 <= min(lengths) and max(lengths) <= 1510)
        self.assertGreater(len({tuple(trace) for trace in self.traces}), 350)
        self.assertLess(len({tuple(trace) for trace in self.traces}), 400, "re-packed copies share their behaviour")
        task = type("Task", (), {"id": 7, "fields": {"custom": "job"}})()
        for sample in self.world.samples[:20]:
            if sample.trouble:
                continue
            for data, expanded in ((self.world.report(task, sample.data), 0), (self.world.cape_report(task, sample.data), 1)):
                whole = json.loads(data)
                self.assertEqual(whole["target"]["file"]["sha256"], sample.sha256)
                calls = sum(1 + call.get("repeated", 0) for row in whole["behavior"]["processes"] for call in row["calls"])
                self.assertEqual(calls, lengths[sample.index], "expanded" if expanded else "plain")
        self.assertIsNone(self.world.report(task, b"unknown"))

    def test_fresh_reports_are_new(self):
        fresh = self.world.fresh
        self.assertEqual({cls for _, cls, _ in fresh}, set(CLASSES) | {None})
        known = {sample.sha256 for sample in self.world.samples}
        for _, _, data in fresh:
            self.assertNotIn(json.loads(data)["target"]["file"]["sha256"], known)


if __name__ == "__main__":
    unittest.main()
