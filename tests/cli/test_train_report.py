"""The report of a training run: page, text and JSON say the same, follow from the predictions, and the page loads and runs nothing."""
import html.parser
import json
import os
import pathlib
import random
import re
import shutil
import sqlite3
import subprocess
import tempfile
import unittest

from cli.test_train_detect import COMMON, SCHEMAS, check_schema, run, write_malbehavd, write_mal_api

HOSTILE = {"Virus": "<script>document.title='ran'</script><img src=http://127.0.0.1:9/x>", "Worm": "\"onload=\"x\" style='background:url(//x)' \u202e&amp;"}
NET = ["--kind", "lstm", "--epochs", "2", "--hidden", "4", "-q"]
BESIDE = [*NET, "--rounds", "5"]


def good(done):
    if done.returncode != 0:
        raise AssertionError("exit %d: %s" % (done.returncode, done.stderr.decode()))
    return done


class Elements(html.parser.HTMLParser):
    """What a page is made of; elements must be closed in order."""
    VOID = {"meta"}

    def __init__(self, text):
        super().__init__()
        self.open, self.names, self.attributes, self.styles, self.texts = [], [], [], "", []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            raise AssertionError("</%s> closes what was not open" % tag)

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            self.styles += data
        else:
            self.texts.append(data)


class Report(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.root = pathlib.Path(cls.folder.name)
        cls.two, cls.hostile = cls.root / "two", cls.root / "hostile"
        write_malbehavd(cls.root / "set.csv", 60)
        write_mal_api(cls.root / "set", 60)
        good(run("extract", "dataset", "malbehavd-v1", cls.root / "set.csv", "--corpus", cls.two))
        good(run("extract", "dataset", "mal-api-2019", cls.root / "set", "--corpus", cls.hostile))
        db = sqlite3.connect(cls.hostile / "corpus.db")
        for name, other in HOSTILE.items():
            cls.assert_changed(db.execute("update label set class = ? where class = ?", (other, name)).rowcount)
        db.execute("update label set class = 'Plain' where sample in (select sample from label order by sample limit 15)")
        db.commit()
        db.close()
        cls.text = good(run("train", "--corpus", cls.two, *BESIDE, "--folds", "2", "--repeats", "2", "--name", "m")).stdout.decode()
        cls.json, cls.rows = cls.read(cls.two)
        done = good(run("train", "--corpus", cls.hostile, *BESIDE, "--target", "class", "--folds", "2", "--name", "m", "--json"))
        cls.many = json.loads(done.stdout)
        cls.page = (cls.two / "models" / "m" / "report.html").read_text()
        cls.hostile_page = (cls.hostile / "models" / "m" / "report.html").read_text()

    @staticmethod
    def assert_changed(n):
        if n == 0:
            raise AssertionError("no label was changed")

    @staticmethod
    def read(corpus):
        folder = corpus / "models" / "m"
        lines = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
        return json.loads((folder / "metrics.json").read_text()), lines[1:]

    def test_json_is_as_described(self):
        schema = json.loads((SCHEMAS / "train.schema.json").read_text())
        held = json.loads(good(run("train", "--corpus", self.two, *NET, "--baselines", "no", "--test-share", ".2", "--name", "held", "--json")).stdout)
        boosted = json.loads(good(run("train", "--corpus", self.two, "--kind", "linear", "--baselines", "no", "--name", "linear", "--json")).stdout)
        for value in (self.json, self.many, held, boosted):
            check_schema(value, schema)
        self.assertIsNone(held["near"])  # without baselines nobody asked for n-grams
        self.assertEqual((held["uncalibrated"] is None, self.json["uncalibrated"] is None, self.many["thresholds"]), (True, False, []))
        self.assertEqual(self.json["tuning"]["before"]["ece"], self.json["uncalibrated"]["ece"])
        with self.assertRaises(AssertionError):
            check_schema(dict(self.json, errors=[{"key": "x"}]), schema)

    # ---- what follows from predictions.jsonl ----

    def test_repeats(self):
        for r, repeat in enumerate(self.json["repeats"]):
            rows = [row for row in self.rows if row["repeat"] == r]
            self.assertEqual([e["kind"] for e in repeat["entries"]], ["lstm", "majority", "linear", "boosted", "pooled"])
            for e, entry in enumerate(repeat["entries"]):
                self.assertAlmostEqual(entry["accuracy"], sum(row["predicted"][e] == row["truth"] for row in rows) / len(rows))
                self.assertAlmostEqual(entry["auc"], self.area(rows, e), places=5)
        self.assertEqual(len(self.json["repeats"]), 2)
        mean = sum(repeat["entries"][0]["accuracy"] for repeat in self.json["repeats"]) / 2
        self.assertAlmostEqual(mean, self.json["accuracy"])
        self.assertIn("mean", self.text)
        for repeat in self.json["repeats"]:
            self.assertIn("<td>%s</td><td>%.3f</td>" % (repeat["seed"], repeat["entries"][0]["accuracy"]), self.page)
            self.assertIn(" %s " % repeat["seed"], self.text)

    @staticmethod
    def area(rows, entry):
        good_, bad = ([row["scores"][entry][0] for row in rows if row["truth"] == c] for c in (0, 1))
        return sum((p > n) + (p == n) / 2 for p in good_ for n in bad) / len(good_) / len(bad)

    def test_differences(self):
        for e, b in enumerate(self.json["baselines"], 1):
            d = b["differences"]["accuracy"]
            self.assertAlmostEqual(d["value"], self.json["accuracy"] - b["accuracy"])
            self.assertAlmostEqual(b["figures"]["accuracy"]["value"], sum(row["predicted"][e] == row["truth"] for row in self.rows) / len(self.rows))
            self.assertEqual(b["t_test"]["fits"], 4)
            if d["low"] is not None:
                self.assertTrue(d["low"] <= d["value"] <= d["high"])
            shown = "%+.3f" % d["value"]
            self.assertRegex(self.page, r"<td>%s</td>\s*<td[^>]*>%s<" % (b["kind"], re.escape(shown)))
            self.assertRegex(self.text, r"\n  %s +%s" % (b["kind"], re.escape(shown)))
        texts = " ".join(f["text"] for f in self.json["findings"])
        self.assertIn("Recurrence", texts)
        pooled = self.json["baselines"][3]["differences"]["accuracy"]
        said = "added something" if pooled["low"] > 0 else "did harm" if pooled["high"] < 0 else "added nothing"
        self.assertIn("Recurrence " + said, texts)
        for b in self.json["baselines"]:
            lost = b["kind"] != "pooled" and b["differences"]["accuracy"]["high"] is not None and b["differences"]["accuracy"]["high"] < 0
            self.assertEqual("LOSES to the baseline %s:" % b["kind"] in texts, lost)
        for f in self.json["findings"]:
            self.assertIn(f["text"], self.text)
            self.assertIn(f["text"], "".join(Elements(self.page).texts))

    def test_curves(self):
        points = self.json["ranking"][0]
        self.assertEqual([c["class"] for c in self.json["ranking"]], ["malware"])
        self.assertEqual(len(self.many["ranking"]), len(self.many["classes"]))
        for name in ("roc", "precision_recall"):
            self.assertEqual(points[name], sorted(points[name], key=lambda p: p[0]))
        roc = points["roc"]
        self.assertEqual((roc[0], roc[-1]), ([0, 0], [1, 1]))
        self.assertAlmostEqual(sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in zip(roc, roc[1:])), self.json["auc"], places=5)
        steps = points["precision_recall"]
        self.assertAlmostEqual(sum((b[0] - a[0]) * b[1] for a, b in zip(steps, steps[1:])), self.json["average_precision"], places=5)
        self.assertGreaterEqual(self.page.count("<svg"), 5)
        self.assertGreaterEqual(self.hostile_page.count("<svg"), 3 + 2 * len(self.many["classes"]))

    def test_thresholds_and_doubt(self):
        positive, negative = ([row["scores"][0][0] for row in self.rows if row["truth"] == c] for c in (0, 1))
        self.assertEqual([t["fpr"] for t in self.json["thresholds"]], [.05, .01, .001])
        first = self.json["thresholds"][0]
        self.assertAlmostEqual(sum(x >= first["threshold"] for x in negative) / len(negative), first["reached"])
        self.assertAlmostEqual(sum(x >= first["threshold"] for x in positive) / len(positive), first["recall"])
        self.assertLessEqual(first["reached"], .05)
        self.assertIsNone(self.json["thresholds"][2]["threshold"])  # 60 negatives cannot tell a thousandth
        for band in self.json["doubt"]:
            unknown = [row for row in self.rows if band["low"] <= row["scores"][0][0] < band["high"]]
            self.assertEqual(len(unknown), band["unknown"])
            self.assertAlmostEqual(1 - len(unknown) / len(self.rows), band["coverage"])
        self.assertIn("fixed before training", self.text)
        self.assertIn("fixed before training", self.page)

    def test_errors(self):
        worst = {}
        for row in self.rows:
            if row["predicted"][0] != row["truth"]:
                worst[row["key"]] = max(worst.get(row["key"], 0), row["scores"][0][row["predicted"][0]])
        self.assertTrue(worst, "no error at all: nothing to see here")
        errors = self.json["errors"]
        self.assertEqual(len(errors), min(20, len(worst)))
        self.assertEqual([round(e["score"], 5) for e in errors], [round(x, 5) for x in sorted(worst.values(), reverse=True)[:20]])
        for e in errors:
            wrong = sum(row["predicted"][0] != row["truth"] for row in self.rows if row["key"] == e["key"])
            self.assertEqual((wrong, 2), (e["wrong"], e["judged"]))
            self.assertNotEqual(e["true"], e["predicted"])
            self.assertIn("<code>%s</code>" % e["key"], self.page)
            self.assertIn(e["key"], self.text)

    def test_data(self):
        self.assertEqual(sum(b["traces"] for b in self.json["length_counts"]), 60)
        self.assertEqual(self.json["length_counts"], [{"up_to": 16, "traces": 60}])  # ten calls each
        for column in zip(*self.json["confusion"]["rates"]):
            self.assertAlmostEqual(sum(column), 1)
        self.assertEqual((self.json["near"]["threshold"], self.json["near"]["judged_with_near_in_training"] <= 120), (.8, True))
        self.assertLessEqual(self.json["near"]["groups"], self.json["copies"]["collapsed"]["distinct"])

    def test_near_copies_are_counted(self):
        """Traces of thirty calls in one order, of which each has one call more: all nearly the same."""
        lines = ["sha256,labels," + ",".join(map(str, range(31)))]
        names = ["Call%d" % i for i in range(30)]
        for i in range(24):
            lines.append(",".join(["%064x" % i, str(i % 2), *names, "Other%d" % i]))
        (self.root / "near.csv").write_text("\n".join(lines) + "\n")
        good(run("extract", "dataset", "malbehavd-v1", self.root / "near.csv", "--corpus", self.root / "near"))
        for how, expected in (("grouped", 24), ("near", None)):
            done = run("train", "--corpus", self.root / "near", "--kind", "linear", "--rounds", "2", "--folds", "2", "--split", how, "--json", "-q")
            if expected is None:  # one group cannot be split
                self.assertEqual(done.returncode, 3)
                continue
            r = json.loads(good(done).stdout)
            self.assertEqual((r["near"]["groups"], r["near"]["judged_with_near_in_training"]), (1, expected))
            self.assertTrue(any("nearly the same" in f["text"] and f["warning"] for f in r["findings"]))

    # ---- the page ----

    def check_page(self, page, names):
        e = Elements(page)
        self.assertEqual(e.open, [])
        known = {"html", "head", "meta", "style", "title", "body", "main", "h1", "h2", "h3", "p", "div", "span", "b", "i", "ul", "li", "section", "table", "thead",
                 "tbody", "tr", "th", "td", "small", "code", "svg", "path", "line", "circle", "text"}
        self.assertEqual(set(e.names) - known, set())
        attributes = {"lang", "charset", "http-equiv", "content", "name", "class", "style", "colspan", "viewbox", "role", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy",
                      "r", "d", "text-anchor"}
        self.assertEqual({name for _, name, _ in e.attributes} - attributes, set())
        self.assertIn(("meta", "content", "default-src 'none'; style-src 'unsafe-inline'"), e.attributes)
        styles = e.styles + " ".join(value for _, name, value in e.attributes if name == "style")
        self.assertNotRegex(styles, r"(?i)url\(|@import|expression|//")
        for name in names:
            self.assertIn(name.replace("\u202e", "\\u{202e}"), "".join(e.texts))
        self.assertNotIn("\u202e", page)
        for words in ("What this says", "Models compared", "Training curves", "Confusion matrix", "Rates by class", "ROC and precision-recall", "Calibration",
                      "Thresholds and doubt", "Errors worth a look", "Classes", "Calls in a trace", "Data audit", "Split", "Provenance"):
            self.assertIn(">%s" % words, page)

    def test_page_is_made_of_harmless_elements(self):
        self.check_page(self.page, ["malware", "benign"])
        self.check_page(self.hostile_page, HOSTILE.values())

    def test_page_in_chromium(self):
        """Nothing runs, nothing is asked for, no policy is broken; a window of 390 pixels does not scroll sideways."""
        chromium = shutil.which("chromium")
        if not chromium:
            self.skipTest("no chromium here: the page was looked at by the HTML parser alone")
        (self.root / "a.html").write_text(self.page)
        (self.root / "b.html").write_text(self.hostile_page)
        (self.root / "frames.html").write_text(
            "<!DOCTYPE html><title>frames</title><body>"
            + "".join("<iframe src=%s width=%d height=900></iframe>" % (name, width) for name in ("a.html", "b.html") for width in (390, 1400)) +
            "<script>onload = () => { for (const f of document.querySelectorAll('iframe')) { const d = f.contentDocument, p = document.createElement('pre');"
            " p.textContent = JSON.stringify({width: d.documentElement.scrollWidth, title: d.title, scripts: d.scripts.length, images: d.images.length,"
            " links: d.links.length, charts: d.querySelectorAll('svg').length, asked: f.contentWindow.performance.getEntriesByType('resource').length,"
            " small: Math.min(...[...d.querySelectorAll('svg text')].map(t => t.getBoundingClientRect().height))}); document.body.append(p); } }</script>")
        done = subprocess.run([chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
                               "--allow-file-access-from-files", "--user-data-dir=%s" % (self.root / "profile"), "--enable-logging=stderr", "--window-size=1500,1000",
                               "--dump-dom", (self.root / "frames.html").as_uri()], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=250,
                              env=dict(os.environ, HOME=str(self.root)))
        self.assertNotIn("Content Security Policy", done.stderr.decode())
        found = [json.loads(text.replace("&amp;", "&")) for text in re.findall(r"<pre>(.*?)</pre>", done.stdout.decode())]
        self.assertEqual(len(found), 4, done.stderr)
        for f, width, charts in zip(found, (390, 1400, 390, 1400), (5, 5, 9, 9)):
            self.assertEqual((f["scripts"], f["images"], f["links"], f["asked"], f["title"]), (0, 0, 0, 0, "m - malseq training report"))
            self.assertLessEqual(f["width"], width)
            self.assertGreaterEqual(f["small"], 9, "text in charts is too small to read")
            self.assertEqual(f["charts"], charts)


if __name__ == "__main__":
    unittest.main()
