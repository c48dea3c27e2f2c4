"""Policies as data, labels from several scans, relabel --as-of, explain, and the seed authors' rule, through the command line."""
# ctest: full also-release cost=40
import hashlib
import itertools
import json
import os
import pathlib
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "services"))
from label_case import check_schema  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("MALSEQ_BIN", ROOT / "build/release/bin"))
DATA = os.environ.get("MALSEQ_DATA")
SCHEMA = json.loads((ROOT / "schemas/label.schema.json").read_text())
POLICY_SCHEMA = json.loads((ROOT / "schemas/policy.schema.json").read_text())
DAY = 86400
ENGINES = ["Microsoft", "Kaspersky", "DrWeb", "Panda", "Ikarus", "Sophos", "Symantec", "Fortinet", "Jiangmin", "Rising", "Bkav", "Zillya"]
SHA256, SHA1, MD5 = (hashlib.new(kind, b"one").hexdigest() for kind in ("sha256", "sha1", "md5"))


def report(day, bad, label="Worm.Win32.Zelphira.%d", first=1000 * DAY, name=b"one", **attributes):
    """A v3 object analysed on a day: `bad` engines detect, the rest do not."""
    results = {}
    for number, engine in enumerate(ENGINES):
        results[engine] = {"category": "malicious" if number < bad else "undetected", "result": label % number if number < bad else None}
    return {"data": {"type": "file", "id": hashlib.sha256(name).hexdigest(), "attributes": dict(
        attributes, sha256=hashlib.sha256(name).hexdigest(), sha1=hashlib.sha1(name).hexdigest(), md5=hashlib.md5(name).hexdigest(), size=3,
        first_submission_date=first, last_analysis_date=day * DAY, last_analysis_results=results)}}


class PolicyCase(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="malseq-policy-")
        self.addCleanup(folder.cleanup)
        self.base = pathlib.Path(folder.name)
        self.corpus = self.base / "corpus"
        self.files = 0

    def tool(self, tool, *words, expect=0):
        done = subprocess.run([str(BIN / tool), *map(str, words), "--corpus", str(self.corpus)], capture_output=True, text=True, timeout=250)
        self.assertEqual(done.returncode, expect, done.stderr)
        self.talk = done.stderr
        return done.stdout

    def take(self, *documents):
        for document in documents:
            self.files += 1
            path = self.base / ("report%d.json" % self.files)
            path.write_text(json.dumps(document))
            self.tool("label", "import", path)

    def relabel(self, *words, expect=0):
        rows = [json.loads(line) for line in self.tool("label", "relabel", "--json", *words, expect=expect).splitlines()]
        for row in rows:
            check_schema(row, SCHEMA["$defs"]["hash"])
        return rows

    def explain(self, *words):
        row = json.loads(self.tool("label", "explain", "--json", *words))
        check_schema(row, SCHEMA["$defs"]["explanation"])
        return row

    def policy(self, file="ours.json", **members):
        path = self.base / file
        path.write_text(json.dumps(dict({"name": "ours", "malicious": 3}, **members)))
        return path

    def sql(self, statement, *values):
        with sqlite3.connect(f"file:{self.corpus / 'corpus.db'}?mode=ro", uri=True) as connection:
            return connection.execute(statement, values).fetchall()

    def current(self, policy="ember2024"):
        return self.sql("SELECT verdict, contested FROM label WHERE current = 1 AND policy = ?", policy)


class Files(PolicyCase):
    def test_a_file_is_a_policy(self):
        self.take(report(1200, 4))
        self.assertEqual(self.current(), [("uncertain", None)])
        path = self.policy(summary="three are enough")
        row = self.relabel("--policy", path)[0]
        self.assertEqual((row["policy"], row["verdict"], row["class"], row["class_votes"]), ("ours", "malicious", "Worm", 4))
        text, digest, name = self.sql("SELECT p.text, p.digest, p.name FROM policy p JOIN label l ON l.policy_digest = p.digest WHERE l.policy = 'ours'")[0]
        self.assertEqual(hashlib.sha256(text.encode()).digest(), digest)
        self.assertEqual(name, "ours")
        canonical = json.loads(text)
        check_schema(canonical, POLICY_SCHEMA)
        self.assertEqual((canonical["malicious"], canonical["benign"], canonical["confirm"], canonical["count"]), (3, 0, 2, "groups"))
        self.assertEqual(self.current(), [("uncertain", None)])         # the other policy's label is as it was
        again = self.relabel("--policy", self.policy("again.json", count="groups", summary="three are enough"))
        self.assertEqual(self.sql("SELECT count(*) FROM label WHERE policy = 'ours'"), [(1,)])
        self.assertEqual(again[0]["verdict"], "malicious")
        self.relabel("--policy", self.policy("stricter.json", malicious=5))
        self.assertEqual(self.sql("SELECT before, after, cause FROM label_change WHERE policy = 'ours'"), [("malicious", "uncertain", "policy")])
        self.assertEqual(self.sql("SELECT count(*) FROM label_flip"), [(0,)])      # no engine changed its mind
        self.assertEqual(self.sql("SELECT count(*) FROM policy WHERE name = 'ours'"), [(2,)])
        self.assertEqual(self.tool("malseq", "fsck", "--json"), "")
        with sqlite3.connect(self.corpus / "corpus.db") as connection:
            connection.execute("UPDATE policy SET text = replace(text, '\"malicious\":3', '\"malicious\":4')")
        found = [json.loads(line) for line in self.tool("malseq", "fsck", "--json", expect=1).splitlines()]
        self.assertEqual([(row["where"], "digest" in row["what"]) for row in found], [("policy ours", True)])

    def test_engine_lists_and_own_groups(self):
        self.take(report(1200, 4))
        row = self.relabel("--policy", self.policy(engines=["kaspersky", "DR.WEB", "Panda", "Bkav"]))[0]
        self.assertEqual((row["positives"], row["responding"], row["verdict"]), (3, 4, "malicious"))
        row = self.relabel("--policy", self.policy(groups=[["Microsoft", "Kaspersky", "DrWeb"]]))[0]
        self.assertEqual((row["groups"], row["verdict"]), (2, "uncertain"))
        row = self.relabel("--policy", self.policy(groups=[{"engines": ["Microsoft", "Kaspersky", "DrWeb"], "until": "1972-01-01"}]))[0]
        self.assertEqual((row["groups"], row["verdict"]), (4, "malicious"))

    def test_wanted_classes_and_grayware(self):
        self.take(report(1200, 12))
        self.assertEqual(self.relabel("--policy", self.policy(classes=["Virus"]))[0]["class"], "none")
        self.assertEqual(self.relabel("--policy", self.policy(grayware=["Worm"]))[0]["verdict"], "grayware")
        self.take(report(1200, 12, "not-a-virus:RiskTool.Win32.Foo.%d", name=b"two"))
        rows = {row["hash"]: row for row in self.relabel()}
        row = rows[hashlib.sha256(b"two").hexdigest()]
        self.assertEqual((row["verdict"], row["class"]), ("grayware", "PUA"))

    def test_refused(self):
        self.take(report(1200, 4))
        self.relabel("--policy", "nobody", expect=2)
        self.assertIn("malapi2019", self.talk)
        for members, why in (({"min_mal": 4}, "min_mal"), ({"malicious": "3"}, "whole number"), ({"name": "ember2024"}, "built-in"), ({"count": "votes"}, "groups engines")):
            self.relabel("--policy", self.policy(**members), expect=3)
            self.assertIn(why, self.talk)
        self.relabel("--policy", self.base / "missing.json", expect=4)
        for day in ("2024-02-30", "yesterday", "2024-1-1"):
            self.relabel("--as-of", day, expect=2)
        self.assertEqual(self.sql("SELECT count(*) FROM policy"), [(1,)])


class Scans(PolicyCase):
    def test_two_scans_turn_a_verdict(self):
        self.take(report(1200, 12))
        self.assertEqual(self.current(), [("malicious", None)])
        self.take(report(1300, 0))
        self.assertEqual(self.current(), [("malicious", "benign")])
        self.take(report(1300, 0, times_submitted=7))                   # the same analysis fetched again is no second scan
        self.assertEqual(self.current(), [("malicious", "benign")])
        self.take(report(1400, 3))                                      # neither
        self.assertEqual(self.current(), [("malicious", "uncertain")])
        self.take(report(1500, 0))
        self.assertEqual(self.current(), [("malicious", "benign")])
        self.take(report(1600, 0))
        self.assertEqual(self.current(), [("benign", None)])
        self.assertEqual(self.sql("SELECT before, after, cause FROM label_change"), [("malicious", "benign", "scan")])
        self.assertEqual(self.sql("SELECT before, after, class, as_of_ms FROM label_flip"), [("malicious", "benign", None, 1600 * DAY * 1000)])
        before = self.tool("malseq", "fsck", "--digest")
        self.relabel()
        self.assertEqual(self.tool("malseq", "fsck", "--digest"), before)   # relabel comes to the same
        self.relabel("--policy", self.policy(confirm=1))
        self.relabel("--policy", self.policy("slow.json", name="slow", confirm=3))
        self.assertEqual(self.current("ours"), [("benign", None)])
        self.assertEqual(self.current("slow"), [("malicious", "benign")])

    def test_the_order_of_import_does_not_matter(self):
        scans = [report(1200, 12), report(1300, 0), report(1400, 0), report(1500, 12)]
        ends = set()
        flips = "SELECT before, after, as_of_ms / 86400000, f.scan = (SELECT id FROM scan WHERE last_analysis_ms = f.as_of_ms) FROM label_flip f WHERE policy = ? ORDER BY seq"
        orders = list(itertools.permutations(range(4)))
        # Sanitized, nine of them, each scan first twice or more: the other build imports in all twenty-four.
        if os.environ.get("MALSEQ_SANITIZED") == "1" and not os.environ.get("MALSEQ_LONG"):
            orders = orders[::3] + [(3, 1, 0, 2)]
        for order in orders:
            self.corpus = self.base / "corpus{}{}{}{}".format(*order)
            self.take(*(scans[number] for number in order))
            day = "1973-08-30"                                          # day 1337
            if order in ((0, 1, 2, 3), (3, 1, 0, 2)):
                self.relabel("--as-of", day)
                self.assertEqual(self.sql(flips, "ember2024@" + day), [])
                self.relabel("--policy", self.policy(confirm=1))
                self.assertEqual(self.sql(flips, "ours"), [("malicious", "benign", 1300, 1), ("benign", "malicious", 1500, 1)])
                with sqlite3.connect(self.corpus / "corpus.db") as connection:
                    connection.executescript("DELETE FROM label_flip WHERE policy <> 'ember2024'; DELETE FROM label WHERE policy <> 'ember2024';"
                                             "DELETE FROM policy WHERE name = 'ours'")
            ends.add((self.current()[0], self.tool("malseq", "fsck", "--digest"), tuple(self.sql(flips, "ember2024"))))
        self.assertEqual(len(ends), 1, ends)
        end = next(iter(ends))
        self.assertEqual((end[0], end[2]), (("benign", "malicious"), (("malicious", "benign", 1400, 1),)))

    def test_imported_today_known_long_ago(self):
        """When a report came into the corpus is one thing, since when it is known another: the second orders scans, and --as-of goes by it."""
        before = int(time.time() * 1000) - 1
        self.take(report(1400, 0), report(1200, 12))
        fetched = [row[0] for row in self.sql("SELECT fetched_ms FROM scan")]
        self.assertTrue(all(before < moment <= time.time() * 1000 for moment in fetched), fetched)
        self.assertEqual(self.sql("SELECT as_of_ms FROM label WHERE current = 1"), [(1200 * DAY * 1000,)])
        self.assertEqual(self.current(), [("malicious", "benign")])
        text = self.tool("label", "explain", SHA256)
        self.assertIn("scanned 1973-04-15", text)
        self.assertRegex(text, "in the corpus since 20[2-9]")
        self.relabel("--as-of", "1973-04-14")
        self.assertEqual(self.sql("SELECT count(*) FROM label WHERE policy LIKE '%@%'"), [(0,)])
        self.relabel("--as-of", "1973-04-15")
        self.assertEqual(self.current("ember2024@1973-04-15"), [("malicious", None)])

    def test_two_answers_of_one_day(self):
        """Reports of one analysis that contradict each other: one of them counts, the same in both orders."""
        ends = set()
        for order in ((0, 1), (1, 0)):
            self.corpus = self.base / "corpus{}{}".format(*order)
            self.take(*((report(1300, 0), report(1300, 12))[number] for number in order))
            ends.add((self.current()[0], self.tool("malseq", "fsck", "--digest")))
        self.assertEqual(len(ends), 1, ends)

    def test_old_scans_that_come_late_are_no_flips_of_engines(self):
        for scan in (report(1300, 0), report(1200, 12), report(1400, 0)):
            self.take(scan)
        self.assertEqual(self.sql("SELECT before, after, cause FROM label_change"),
                         [("benign", "malicious", "history"), ("malicious", "benign", "scan")])
        self.assertEqual(self.sql("SELECT before, after, as_of_ms FROM label_flip"), [("malicious", "benign", 1400 * DAY * 1000)])

    def test_provisional_verdicts_give_way_at_once(self):
        self.take(report(1010, 12))
        self.assertEqual(self.current(), [("immature", None)])
        self.take(report(1200, 3))
        self.assertEqual(self.current(), [("uncertain", None)])
        self.take(report(1300, 12))
        self.assertEqual(self.current(), [("malicious", None)])
        self.assertEqual(self.sql("SELECT seq, before, after, class FROM label_flip ORDER BY seq"),
                         [(1, "immature", "uncertain", None), (2, "uncertain", "malicious", "Worm")])

    def test_as_of(self):
        self.take(report(1200, 3), report(1300, 12))
        day = "1973-07-25"                                              # day 1301
        self.relabel("--as-of", day)
        self.assertEqual(self.current("ember2024@" + day), [("malicious", None)])
        early = self.relabel("--as-of", "1973-07-23")                   # day 1299
        self.assertEqual((early[0]["verdict"], early[0]["policy"]), ("uncertain", "ember2024@1973-07-23"))
        self.assertEqual(self.relabel("--as-of", "1973-07-24")[0]["verdict"], "malicious")     # that day counts
        nothing = self.relabel("--as-of", "1973-01-01")
        self.assertEqual([(row["verdict"], row["policy"]) for row in nothing], [(None, None)])
        self.assertEqual(self.current("ember2024@1973-01-01"), [])
        self.assertEqual(self.current(), [("malicious", None)])
        self.take(report(1050, 3))                                      # an old report turns up
        self.relabel("--as-of", "1973-01-01")
        self.assertEqual(self.current("ember2024@1973-01-01"), [("immature", None)])

    def test_dry_run_changes_nothing(self):
        self.take(report(1200, 4))
        before = self.tool("malseq", "fsck", "--digest")
        self.relabel("--policy", "sophos-1-5", "--dry-run")
        self.assertEqual(self.tool("malseq", "fsck", "--digest"), before)


class Explain(PolicyCase):
    def test_all_of_it(self):
        document = report(1200, 12, popular_threat_classification={
            "suggested_threat_label": "trojan.zelphira/foo", "popular_threat_category": [{"value": "trojan", "count": 9}, {"value": "worm", "count": 2}]})
        rows = document["data"]["attributes"]["last_analysis_results"]
        rows["BitDefender"] = {"category": "malicious", "result": "Gen:Variant.Zelphira.1"}
        rows["GData"] = {"category": "malicious", "result": "Gen:Variant.Zelphira.1"}
        rows["F-Secure"] = {"category": "malicious", "result": "\x1b[31mTrojan.Zelphira"}
        self.take(document, report(1300, 0))
        row = self.explain(MD5)
        self.assertEqual((row["verdict"], row["contested"], row["class"], row["agrees"], row["vt_class"]), ("malicious", "benign", "Worm", False, "Trojan"))
        self.assertEqual([scan["verdict"] for scan in row["scans"]], ["malicious", "benign"])
        engines = {entry["engine"]: entry for entry in row["engines"]}
        self.assertEqual(engines["GData"]["copy_of"], "BitDefender")
        self.assertEqual(engines["F-Secure"]["group"], "BitDefender")      # in 1973 as until 2018
        self.assertEqual(row["rule"]["malicious"], 5)
        screen = self.tool("label", "explain", SHA1)
        for part in ("= BitDefender", "Worm <-", "malicious from 5", "disagrees", "contested: the newest scan says benign", "zelphira", "1973-04-15 malicious"):
            self.assertIn(part, screen)
        self.assertNotIn("\x1b", screen)
        self.assertIn("only what was known then", self.tool("label", "explain", "--as-of", "1973-05-01", SHA256))
        self.assertIn("malapi2019", self.tool("label", "explain", "--policy", "malapi2019", SHA256))
        self.tool("label", "explain", "--as-of", "1972-01-01", SHA256, expect=1)
        self.tool("label", "explain", hashlib.md5(b"nobody").hexdigest(), expect=1)
        self.assertEqual(self.sql("SELECT class, vt_class, agrees FROM label_agreement"), [("Worm", "Trojan", 0)])

    def test_strong_and_weak_benign(self):
        self.take(report(1200, 0), report(1200, 0, name=b"two", trusted_verdict={"verdict": "goodware", "organization": "x"}))
        self.assertIn("benign (weak", self.tool("label", "explain", SHA256))
        self.assertIn("benign (strong", self.tool("label", "explain", hashlib.sha256(b"two").hexdigest()))

    def test_families_by_avclass(self):
        folder = self.corpus / "avclass"
        self.take(report(1200, 12))
        self.assertEqual(self.sql("SELECT family, family_verified FROM label"), [("zelphira", None)])
        folder.mkdir()
        (folder / "default.taxonomy").write_text("FAM:zbot\nCLASS:worm\nFILE:os:windows\n")
        (folder / "default.tagging").write_text("zelphira\tzbot\n")
        (folder / "default.expansion").write_text("")
        row = self.relabel()[0]
        self.assertEqual((row["family"], row["family_verified"], row["family_votes"]), ("zbot", True, 12))
        (folder / "default.tagging").write_text("")
        row = self.relabel()[0]
        self.assertEqual((row["family"], row["family_verified"]), ("zelphira", False))
        self.assertEqual(len(set(self.sql("SELECT taxonomy FROM label"))), 3)
        other = self.base / "other"
        self.relabel("--avclass-data", other, expect=3)
        (folder / "default.taxonomy").unlink()      # half a folder: no label may change because of it
        self.relabel(expect=3)
        self.assertEqual(self.current(), [("malicious", None)])


class Genuine(PolicyCase):
    def setUp(self):
        super().setUp()
        if not DATA:
            print("MALSEQ_DATA is not set: the seed data's labels are not compared", file=sys.stderr)
            self.skipTest("no data")
        self.labels = pathlib.Path(DATA) / "labels"

    def test_the_seed_authors_rule(self):
        reports = self.labels / "avclass/mal_dataset_lb.jsonl"
        self.tool("label", "import", reports)
        names = {}
        for line in reports.read_text().splitlines():
            document = json.loads(line)
            names[document["sha256"]] = document["md5"]
        expected = dict((line.split("\t")[0], tuple(line.split("\t")[1:])) for line in (self.labels / "seed_rule/mal_dataset_lb.seed.tsv").read_text().splitlines())
        got = {names[row["hash"]]: (row["class"], str(row["class_votes"])) for row in self.relabel("--policy", "malapi2019")}
        self.assertEqual(len(got), 500)
        self.assertEqual(got, expected)
        lines = [line.split() for line in self.tool("label", "relabel", "--policy", "malapi2019").splitlines()]
        self.assertEqual({names[words[0]]: (words[3], words[4]) for words in lines}, expected)


if __name__ == "__main__":
    unittest.main()
