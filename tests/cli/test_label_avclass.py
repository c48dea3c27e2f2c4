"""label avclass beside AVClass: its recorded output on real and made-up reports where MALSEQ_DATA is set, and everywhere the oracle of
tests/ref on thousands of generated ones, with rules made for the test. Files that are broken or hostile, and the download of rules."""
# in release: Reference.test_recombined_real_labels Differential.test_generated_reports Differential.test_mutated_lines Differential.test_odd_rules Files.test_many_words
import bz2
import gzip
import hashlib
import http.server
import io
import json
import lzma
import os
import pty
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TESTS, "ref"))
sys.path.insert(0, TESTS)
import avclass_oracle as oracle  # noqa: E402 (the path must be set first)
from services.label_case import SCHEMA, check_schema  # noqa: E402

BIN = os.environ.get("MALSEQ_BIN", "build/dev/bin")
DATA = os.environ.get("MALSEQ_DATA")
SLOW = os.environ.get("MALSEQ_SANITIZED") == "1"
LONG = bool(os.environ.get("MALSEQ_LONG"))

TAXONOMY = """# rules of the test
FAM:zelphira
FAM:korvath
FAM:ab
BEH:korvath
CLASS:grayware
CLASS:grayware:adware
CLASS:grayware:tool:cracker
CLASS:downloader
CLASS:worm
FILE:os:windows
FILE:packed
BEH:execdownload
BEH:selfpropagate
GEN:trojan
GEN:malware
GEN:heur
GEN:variant
GEN:agent
UNK:strange
loose
"""
TAGGING = """adload\tadware
pup\tgrayware
win\twindows
dloader\tdownloader trojan
zelphi\tzelphira
zelphi\tpacked
gone\ttrojan
itself itself
Upper\tKorvath
not\tfilewipe
"""
EXPANSION = "downloader\texecdownload\nworm\tselfpropagate\nzelphira worm\n"

ENGINES = ["Alpha", "Beta", "Gamma", "Delta", "AVG", "Agnitum", "Avast", "Avira", "Kaspersky", "ESET-NOD32", "Fortinet", "GData", "Sophos",
           "TrendMicro", "TrendMicro-HouseCall", "NANO-Antivirus", "Microsoft", "Norman", "Jiangmin", "Comodo", "Emsisoft", "F-Secure",
           "avast", "AVG ", "Agnitu", "Kasperskyy", "", "\u00c4ngine"]
WORDS = ["zelphira", "Zelphi", "KORVATH", "ab", "trojan", "Malware", "HEUR", "variant", "agent", "adware", "AdLoad", "pup", "win32", "Win",
         "dloader", "downloader", "worm", "gone", "itself", "upper", "not", "strange", "loose", "grayware", "cracker", "packed", "tool",
         "newword", "NewWord12", "another1word", "abc", "x", "1234", "0", "quitealongwordthatgoesonandon", "quitealongwordthatgoesonandoff",
         "exactlysixteenxx", "exactlyeight", "eightlet", "seventeenlettersx"]
SEPARATORS = list("./:-_ !@#()[]{}\\\"'\t\n\r\v\f\x00\x1f\x7f") + ["\u00e9", "\u2603", "\U0001f600", "\u0130", "\u017f", "\u0661", " (B)", "Malware."]


def digests(number):
    text = b"sample %d" % number
    return {kind: hashlib.new(kind, text).hexdigest() for kind in ("md5", "sha1", "sha256")}


def make_label(rng, hashes):
    parts = []
    for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 3, 4, 6, 30))):
        word = rng.choice(WORDS)
        if rng.random() < 0.1:
            word = rng.choice(list(hashes.values()))[:rng.randrange(1, 20)]
            word = word.upper() if rng.random() < 0.5 else word
        if rng.random() < 0.2:
            word += str(rng.randrange(1000))
        parts.append(word + (rng.choice(SEPARATORS) if rng.random() < 0.9 else ""))
    label = "".join(parts)
    if rng.random() < 0.15:
        label += rng.choice((" (B)", ".AZ19", ".az", ".A\n", "!x9Y", ".", "!", " "))
    if rng.random() < 0.1:
        label = rng.choice(("Malware.", " ", "\t")) + label
    return label


def make_rows(rng, hashes):
    pool = [make_label(rng, hashes) for _ in range(rng.randrange(1, 8))]
    count = rng.choice((0, 1, 2, 5, 12, 40))
    return [(rng.choice(ENGINES) if rng.random() < 0.7 else "Engine%d" % i, rng.choice(pool) if rng.random() < 0.5 else make_label(rng, hashes))
            for i in range(count)]


def member(name, value):
    return json.dumps(name) + ":" + value


def make_report(rng, form, number):
    """One line of JSON; engines may occur twice, as a hostile or careless writer has them."""
    hashes = digests(number)
    if rng.random() < 0.05:
        hashes = {kind: value.upper() for kind, value in hashes.items()}
    rows = make_rows(rng, hashes)
    dump = json.dumps if rng.random() < 0.5 else lambda value: json.dumps(value, ensure_ascii=False)
    names = [member(kind, dump(value)) for kind, value in hashes.items()]
    tags = rng.choice(([], ["peexe"], ["peexe", "upx", "\u00fcx"], []))
    if form == "lb":
        pairs = [[engine, rng.choice((None, False)) if rng.random() < 0.02 else label] for engine, label in rows]
        parts = names + [member("av_labels", dump(pairs))]
    elif form == "vt2":
        parts = names + [member("scans", "{" + ",".join(
            member(engine, dump({"detected": rng.choice((True, True, 1, "yes", False, 0, None)), "result": label})) for engine, label in rows) + "}")]
        parts += [member("tags", dump(tags))] if tags else []
    elif form == "md":
        results = ",".join(member(engine, dump({"threat_found": rng.choice((label, label, None)), "scan_result_i": rng.choice((1, 1, 1, 0, 1.0))}))
                           for engine, label in rows)
        parts = [member("file_info", "{" + ",".join(names) + "}"), member("scan_results", '{"scan_details":{%s}}' % results)]
    else:
        results = ",".join(member(engine, dump({"category": "malicious", "result": label if rng.random() < 0.8 else None})) for engine, label in rows)
        attributes = names + [member("last_analysis_results", "{" + results + "}")]
        attributes += [member("tags", dump(tags))] if tags else []
        rng.shuffle(attributes)
        parts = [member("attributes", "{" + ",".join(attributes) + "}"), member("type", '"file"')]
    rng.shuffle(parts)
    line = "{" + (" , " if rng.random() < 0.3 else ",").join(parts) + "}"
    return '{"data":%s}' % line if form == "vt3" and rng.random() < 0.5 else line


BROKEN = ["{", "[]", "7", "null", '"text"', '{"md5":"x"}', '{"error":{"code":"NotFoundError"}}', "{} {}", "\x00", '{"data":null}', '{"data":[]}',
          '{"attributes":{"md5":"a","sha1":"b","sha256":"c"}}', '{"md5":"a","sha1":"b","sha256":"c","av_labels":[["x","y"],["z"]]}',
          '{"md5":"a","sha1":"b","sha256":"c","av_labels":[["x",7]]}', '{"md5":1,"sha1":"b","sha256":"c","av_labels":[["x","y"]]}',
          '{"md5":"a","sha1":"b","sha256":"c","scans":{"x":7}}', '{"md5":"a","sha1":"b","sha256":"c","scans":{"x":{"detected":true}}}',
          '{"attributes":{"md5":"a","sha1":"b","sha256":"c","last_analysis_results":{"x":{}}}}',
          '{"attributes":{"md5":"a","sha1":"b","sha256":"c","last_analysis_results":null}}',
          '{"file_info":{"md5":"a","sha1":"b","sha256":"c"},"scan_results":{"scan_details":{"x":{"threat_found":"y"}}}}', "{" * 100000]


def run(*words, stdin=None):
    return subprocess.run([os.path.join(BIN, "label"), "avclass", *words], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=250)


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="malseq-avclass-")
        self.addCleanup(folder.cleanup)
        self.work = folder.name
        self.rules = self.file("rules/default.taxonomy", TAXONOMY)
        self.file("rules/default.tagging", TAGGING)
        self.file("rules/default.expansion", EXPANSION)
        self.rules = os.path.dirname(self.rules)

    def path(self, name):
        return os.path.join(self.work, name)

    def file(self, name, content):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as stream:
            stream.write(content.encode() if isinstance(content, str) else content)
        return path

    def judge(self, *words, stdin=None):
        return run("--avclass-data", self.rules, *words, stdin=stdin)

    def expect(self, words, paths, rules=None):
        """The oracle's output, and whether each line gave one."""
        options = oracle.parse([*words, "--avclass-data", rules or self.rules, *paths])
        out, compiled, bad = io.StringIO(), oracle.Rules(rules or self.rules), 0
        for path in sorted(set(paths)):
            bad += len(oracle.label_file(compiled, path, options, out.write))
        return out.getvalue().encode(), 1 if bad else 0


MODES = ([], ["-t"], ["--pup", "--vtt"], ["-t", "--pup", "--vtt", "--hash", "sha1"], ["--vtt", "--hash", "sha256"])


class Reference(Case):
    """What AVClass itself printed."""

    @unittest.skipUnless(DATA, "MALSEQ_DATA is not set: no output of AVClass to compare with")
    def test_recorded_output(self):
        labels = os.path.join(DATA, "labels")
        seen = 0
        for folder in ("avclass", "edge", "vt3"):
            for name in sorted(os.listdir(os.path.join(labels, folder))):
                base, _, kind = name.partition(".json")
                if not (kind == "" and name.endswith(".json")) and kind != "l":
                    continue
                words = ["--hash", "md5" if folder == "edge" else "sha256", "--avclass-data", os.path.join(labels, "avclass", "data")]
                for ending, mode in (("family", []), ("tags", ["-t"]), ("pup_vtt", ["--pup", "--vtt"])):
                    with open(os.path.join(labels, folder, "%s.%s.tsv" % (base, ending)), "rb") as stream:
                        wanted = stream.read()
                    done = run(*words, *mode, os.path.join(labels, folder, name))
                    self.assertEqual(done.stdout, wanted, (name, ending))
                    self.assertEqual(done.returncode, 0, done.stderr)
                    seen += 1
        self.assertEqual(seen, 24)

    @unittest.skipUnless(DATA, "MALSEQ_DATA is not set: no real labels to recombine")
    def test_recombined_real_labels(self):
        rng = random.Random(7)
        with open(os.path.join(DATA, "labels/avclass/mal_dataset_lb.jsonl"), encoding="utf-8") as stream:
            pairs = [pair for line in stream for pair in json.loads(line)["av_labels"]]
        lines = [json.dumps(dict(digests(i), av_labels=rng.sample(pairs, rng.randrange(2, 80)))) for i in range(300 if SLOW else 2000)]
        path, rules = self.file("real.jsonl", "\n".join(lines)), os.path.join(DATA, "labels/avclass/data")
        for mode in (["-t"], ["--pup"]):
            self.assertEqual((run("--avclass-data", rules, *mode, path).stdout, 0), self.expect(mode, [path], rules))


class Differential(Case):
    def test_generated_reports(self):
        rng = random.Random(1)
        for form in ("lb", "vt2", "vt3", "md"):
            lines = [make_report(rng, form, i) for i in range(150 if SLOW else 2500 if LONG else 600)]
            path = self.file(form + ".jsonl", "\n".join(lines) + "\n")
            tagged = 0
            for mode in MODES:
                done = self.judge(*mode, path)
                wanted, code = self.expect(mode, [path])
                for ours, theirs in zip(done.stdout.splitlines(), wanted.splitlines()):
                    self.assertEqual(ours, theirs, (form, mode))
                self.assertEqual((done.stdout, done.returncode, code), (wanted, 0, 0), (form, mode, done.stderr[:500]))
                tagged += wanted.count(b"|")
            self.assertGreater(tagged, len(lines), "the generator has become dull")

    def test_broken_lines_cost_themselves(self):
        rng = random.Random(2)
        for form in ("lb", "vt2", "vt3", "md"):
            lines = [make_report(rng, form, 0)]
            for i in range(150):
                lines.append(rng.choice(BROKEN) if rng.random() < 0.3 else make_report(rng, form, i))
            path = self.file(form + ".jsonl", "\n".join(lines) + "\n")
            done = self.judge("-t", path)
            self.assertEqual((done.stdout, done.returncode), self.expect(["-t"], [path]), done.stderr[:800])
            self.assertEqual(done.returncode, 1)
            self.assertIn(b"more reports gave no line", done.stderr)

    def test_mutated_lines(self):
        """Bytes changed anywhere: whatever Python's json makes of the line, the outcome is the same."""
        rng = random.Random(3)
        for form in ("lb", "vt3"):
            lines = [make_report(rng, form, 0).encode()]
            while len(lines) < (200 if SLOW else 800):
                line = bytearray(make_report(rng, form, len(lines)).encode())
                if len(line) > 3000:
                    continue
                for _ in range(rng.randrange(1, 3)):
                    line[rng.randrange(len(line))] = rng.choice(b'{}[]",:0aZ \\.!-\x01e')
                lines.append(bytes(line))
            path = self.file(form + ".jsonl", b"\n".join(lines) + b"\n")
            done = self.judge("-t", path)
            wanted, code = self.expect(["-t"], [path])
            self.assertEqual(done.stdout.splitlines(), wanted.splitlines())
            self.assertEqual((done.returncode, code), (1, 1))

    def test_list_of_engines(self):
        rng = random.Random(4)
        path = self.file("in.jsonl", "\n".join(make_report(rng, "lb", i) for i in range(200)))
        for content in ("Alpha\n AVG \r\n\nKaspersky", "", "Nobody\n"):
            engines = self.file("engines", content)
            for mode in (["-t", "--engines", engines], ["--pup", "--engines", engines]):
                done = self.judge(*mode, path)
                self.assertEqual((done.stdout, done.returncode), self.expect(mode, [path]))

    def test_odd_rules(self):
        rng = random.Random(5)
        alphabet = ["FAM", "gen", "Class", ":", ":", "\t", " ", "\n", "\n", "\r\n", "\r", "#", "zelphira", "korvath", "adware", "Grayware", "worm", "win",
                    "abcd", "\x1c", "ab"]
        path = self.file("in.jsonl", "\n".join(make_report(rng, "lb", i) for i in range(120)))
        for turn in range(5 if SLOW else 30 if LONG else 12):
            for name in ("taxonomy", "tagging", "expansion"):
                self.file("rules/default." + name, "".join(rng.choice(alphabet) for _ in range(rng.choice((0, 5, 200)))))
            for mode in (["-t"], ["--pup"]):
                done = self.judge(*mode, path)
                self.assertEqual((done.stdout, done.returncode), self.expect(mode, [path]), turn)


GOOD = json.dumps(dict(digests(1), av_labels=[["A", "Zelphira.x"], ["B", "Win32/Zelphira"]]))
NAME = digests(1)["md5"]
LINE = ("%s\tzelphira\n" % NAME).encode()


class Files(Case):
    def test_line_ends_and_blanks(self):
        for end in ("\n", "\r\n", "\r", "\n\n", "\n\r\n \t\n"):
            done = self.judge("-", stdin=(GOOD + end + GOOD + end + GOOD).encode())
            self.assertEqual((done.stdout, done.returncode), (3 * LINE, 0), repr(end))
        done = self.judge("-", stdin=b"")
        self.assertEqual((done.stdout, done.returncode), (b"", 0))
        done = self.judge("-", stdin=(GOOD + "\r\n" + GOOD + "\r\n{\r\n").encode())
        self.assertIn(b"standard input: line 3: ", done.stderr)

    def test_lines_across_blocks(self):
        """Line ends at every place of a block's edge."""
        pad = (1 << 20) - len(GOOD) - 1
        for shift in range(-2, 3):
            text = " " * (pad + shift) + GOOD + "\r\n" + GOOD + "\n"
            done = self.judge("-", stdin=text.encode())
            self.assertEqual((done.stdout, done.returncode, done.stderr), (2 * LINE, 0, b""), shift)

    def test_several_files(self):
        """In the order of their names, each once; folders stand for their files."""
        names = []
        for i, name in enumerate(("b.json", "a.json", "sub/c.json", "sub/deep/d.json")):
            self.file(name, json.dumps(dict(digests(i), av_labels=[])) + "\n")
            names.append(digests(i)["md5"])
        words = [self.path("sub"), self.path("b.json"), self.path("a.json"), self.path("b.json")]
        done = self.judge(*words)
        self.assertEqual(done.stdout.decode(), "".join("%s\t-\t[]\n" % names[i] for i in (1, 0, 2)))
        done = self.judge(self.path("a.json"), self.path("gone.json"))
        self.assertEqual((done.stdout.decode(), done.returncode), ("%s\t-\t[]\n" % names[1], 3))
        self.assertIn(b"gone.json", done.stderr)

    def test_compressed(self):
        packed = gzip.compress((GOOD + "\n").encode() * 3000)
        done = self.judge(self.file("x.anything", packed))
        self.assertEqual((done.stdout, done.returncode), (3000 * LINE, 0))
        if shutil.which("zstd"):
            packed_too = subprocess.run(["zstd", "-c"], input=(GOOD + "\n").encode() * 3000, stdout=subprocess.PIPE, check=True, timeout=250).stdout
            done = self.judge(self.file("y.anything", packed_too))
            self.assertEqual((done.stdout, done.returncode), (3000 * LINE, 0))
        for form, why in ((bz2, b"bzip2-compressed; decompress it first"), (lzma, b"xz-compressed; decompress it first")):
            done = self.judge(self.file("z.anything", form.compress((GOOD + "\n").encode() * 3000)))
            self.assertEqual((done.stdout, done.returncode, done.stderr.count(b"z.anything")), (b"", 1, 1))
            self.assertIn(why, done.stderr)
        done = self.judge(self.file("cut.gz", packed[:-9]))
        self.assertEqual(done.returncode, 1)
        self.assertTrue(done.stdout.startswith(LINE))
        self.assertIn(b"cut.gz", done.stderr)

    def test_invalid_utf8(self):
        done = self.judge("-", stdin=GOOD.encode() + b"\n" + GOOD.encode().replace(b"Win32", b"W\xff") + b"\n" + GOOD.encode())
        self.assertEqual((done.stdout, done.returncode), (2 * LINE, 1))
        self.assertIn(b"line 2: ", done.stderr)

    def test_a_line_without_end(self):
        done = self.judge("-", stdin=GOOD.encode() + b"\n" + b"[" + b" " * (40 << 20) + b"]\n" + GOOD.encode())
        self.assertEqual((done.stdout, done.returncode), (2 * LINE, 1))
        self.assertIn(b"line 2: the line is longer than", done.stderr)

    def test_a_label_without_end(self):
        """Longer than what is kept of one: rejected, not judged by its beginning. Shorter ones are judged."""
        for length, code in ((70000, 1), (65500, 0)):
            line = json.dumps(dict(digests(1), av_labels=[["A", "zelphira " + "x" * length], ["B", "zelphira"]]))
            done = self.judge("-", stdin=line.encode())
            self.assertEqual((done.stdout, done.returncode), (b"" if code else LINE, code))

    def test_many_words(self):
        """A report as large as allowed, of words that differ: all are kept apart, in good time."""
        words = " ".join("w%07dx" % i for i in range(200000 if SLOW else 700000))
        line = json.dumps(dict(digests(1), av_labels=[["A", words[i:i + 60000]] for i in range(0, len(words), 60000)] +
                               [["B", words[i:i + 60000] + "."] for i in range(0, len(words), 60000)]))
        done = self.judge("-t", "-", stdin=line.encode())
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertGreater(done.stdout.count(b"|2"), 190000)

    def test_json(self):
        line = json.dumps({"data": {"attributes": dict(digests(2), tags=["a\"b", "\x1b"], last_analysis_results={
            "A": {"result": "adload zelphira"}, "B": {"result": "Zelphira/adware"}})}})
        done = self.judge("--json", "-", stdin=line.encode())
        row = json.loads(done.stdout)
        check_schema(row, SCHEMA["$defs"]["avclass"])
        self.assertEqual(row["hash"], digests(2)["md5"])
        self.assertEqual((row["family"], row["verified"], row["pup"], row["vt_count"], row["vt_tags"]), ("zelphira", True, False, 2, ["a\"b", "\x1b"]))
        self.assertEqual(row["tags"][0], {"path": "FAM:zelphira", "count": 2})

    def test_terminal(self):
        """Bytes as AVClass prints them in a file, harmless ones on a terminal."""
        line = json.dumps(dict(digests(1), md5="\x1b[31m\u202eevil", av_labels=[]))
        self.assertEqual(self.judge("-", stdin=line.encode()).stdout, "\x1b[31m\u202eevil\t-\t[]\n".encode())
        master, slave = pty.openpty()
        child = subprocess.run([os.path.join(BIN, "label"), "avclass", "--avclass-data", self.rules, "-"], input=line.encode(), stdout=slave,
                               stderr=subprocess.PIPE, timeout=250)
        os.close(slave)
        shown = os.read(master, 4096)
        os.close(master)
        self.assertEqual(child.returncode, 0)
        self.assertIn(b"\t-\t[]", shown)
        self.assertNotIn(b"\x1b", shown)
        self.assertNotIn("\u202e".encode(), shown)

    def test_closed_output(self):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([os.path.join(BIN, "label"), "avclass", "--avclass-data", self.rules, "-"], input=GOOD.encode(), stdout=full,
                                  stderr=subprocess.PIPE, timeout=250)
        self.assertEqual(done.returncode, 4)


class Rules(Case):
    def test_default_folder(self):
        os.rename(self.rules, self.path("avclass"))
        done = run("--corpus", self.work, "-", stdin=GOOD.encode())
        self.assertEqual((done.stdout, done.returncode), (LINE, 0))

    def test_missing(self):
        done = run("--corpus", self.path("nowhere"), "-", stdin=GOOD.encode())
        self.assertEqual((done.stdout, done.returncode), (b"", 3))
        self.assertIn(b"--fetch-data", done.stderr)
        os.remove(os.path.join(self.rules, "default.tagging"))
        self.assertNotEqual(self.judge("-", stdin=GOOD.encode()).returncode, 0)

    def test_too_large(self):
        self.file("rules/default.expansion", b"#" * ((16 << 20) + 1))
        done = self.judge("-", stdin=GOOD.encode())
        self.assertEqual((done.stdout, done.returncode), (b"", 3))

    def test_rules_that_multiply(self):
        self.file("rules/default.tagging", "".join("source%d hub\n" % i for i in range(6000)))
        self.file("rules/default.expansion", "hub " + " ".join("t%d" % i for i in range(6000)))
        done = self.judge("-", stdin=GOOD.encode())
        self.assertEqual((done.stdout, done.returncode), (b"", 1))
        self.assertIn(b"rules give more than", done.stderr)


class Server(http.server.ThreadingHTTPServer):
    """Serves what `files` has; counts what was asked for."""

    def __init__(self, files):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.asked = files, []
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        body = self.server.files.get(self.path)
        self.send_response(200 if body is not None else 404)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_):
        pass


NAMES = ("avclass/data/default.taxonomy", "avclass/data/default.tagging", "avclass/data/default.expansion", "LICENSE")


class Fetch(Case):
    def serve(self, files):
        server = Server(files)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return server, "http://127.0.0.1:%d" % server.server_address[1]

    def test_another_commit(self):
        server, url = self.serve({"/v9/" + name: name.encode() for name in NAMES})
        done = run("--fetch-data", "--data-url", url + "/", "--data-commit", "v9", "--avclass-data", self.path("new/folder"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(b"known digests", done.stderr)
        self.assertEqual(sorted(os.listdir(self.path("new/folder"))), ["LICENSE", "default.expansion", "default.tagging", "default.taxonomy"])
        self.assertEqual(len(server.asked), 4)

    def test_files_that_are_not_those(self):
        _, url = self.serve({"/35b0c15/" + name: b"FAM:evil\n" for name in NAMES})
        done = run("--fetch-data", "--data-url", url, "--avclass-data", self.rules)
        self.assertEqual(done.returncode, 5, done.stderr)
        with open(os.path.join(self.rules, "default.taxonomy"), encoding="utf-8") as stream:
            self.assertEqual(stream.read(), TAXONOMY)

    def test_one_is_missing(self):
        files = {"/v9/" + name: b"x y\n" for name in NAMES}
        del files["/v9/LICENSE"]
        _, url = self.serve(files)
        done = run("--fetch-data", "--data-url", url, "--data-commit", "v9", "--avclass-data", self.path("fresh"))
        self.assertEqual(done.returncode, 5)
        self.assertIn(b"LICENSE: the server answered 404", done.stderr)
        self.assertFalse(os.path.exists(self.path("fresh")))

    def test_too_large(self):
        _, url = self.serve({"/v9/" + name: b"x" * ((16 << 20) + 1) for name in NAMES})
        done = run("--fetch-data", "--data-url", url, "--data-commit", "v9", "--avclass-data", self.path("fresh"))
        self.assertEqual(done.returncode, 3)
        self.assertFalse(os.path.exists(self.path("fresh")))

    def test_only_safe_addresses(self):
        done = run("--fetch-data", "--data-url", "http://example.org/x", "--avclass-data", self.path("fresh"))
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertEqual(run("--fetch-data", "file").returncode, 2)
        self.assertEqual(run("--data-commit", "x", "file").returncode, 2)
        self.assertEqual(run().returncode, 2)

    def test_dry_run(self):
        server, url = self.serve({})
        done = run("--fetch-data", "--dry-run", "--data-url", url, "--avclass-data", self.path("fresh"))
        self.assertEqual((done.returncode, server.asked), (0, []))

    @unittest.skipUnless(DATA, "MALSEQ_DATA is not set: no files of AVClass to serve")
    def test_the_known_files(self):
        """From the commit, or the branch where the server has no such commit."""
        for at in ("35b0c15", "master"):
            files = {}
            for name in NAMES:
                with open(os.path.join(DATA, "labels/avclass/data", os.path.basename(name)), "rb") as stream:
                    files["/%s/%s" % (at, name)] = stream.read()
            server, url = self.serve(files)
            done = run("--fetch-data", "--data-url", url, "--corpus", self.work)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn(b"AVClass 2.8.10", done.stderr)
            self.assertEqual(len(server.asked), 4 + (at == "master"))
        done = run("--corpus", self.work, "-", stdin=GOOD.replace("Zelphira", "Zbot").encode())
        self.assertEqual(done.stdout, ("%s\tzbot\n" % NAME).encode())


if __name__ == "__main__":
    unittest.main()
