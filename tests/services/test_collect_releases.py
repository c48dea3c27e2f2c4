"""collect --releases: what is fetched and what is not, assets that are not what they are said to be, and places they may not lead to."""
import hashlib
import os
import subprocess
import unittest

from gen import archive, pe
from services.github import GitHub
from services.github_case import BIN, GitHubCase


class Releases(GitHubCase):
    def setUp(self):
        super().setUp()
        self.hub.add("lab/a", {"x.exe": pe.pe("x")})
        self.write_list("lab/a claim=malware")

    def fetched(self):
        return self.hub.count("/asset-store/")

    def sightings(self):
        return {path.decode(): gone is None for path, gone in self.rows("SELECT path, gone_ms FROM sighting")}

    def test_assets_once(self):
        self.hub.release("lab/a", "v1", {"a.exe": pe.pe("a"), "a.zip": archive.zipped({"z.exe": pe.pe("z")}, "infected"), "a.txt": b"text"})
        samples, rest = self.collect()
        self.assertEqual((len(samples), self.hub.count("releases"), rest), (1, 0, []))       # only when asked for
        samples, rest = self.collect("--releases")
        self.assertEqual(({line["path"] for line in samples}, rest), ({"releases/v1/a.exe", "releases/v1/a.zip"}, []))
        self.assertEqual(self.fetched(), 3)
        self.assertEqual(self.rows("SELECT name, ref, state, claim FROM origin ORDER BY ref"),
                         [("lab/a", "", "ok", "malware"), ("lab/a", ":releases", "ok", "malware")])
        before = self.digest(self.corpus)
        self.hub.clear_log()
        self.assertEqual(self.collect("--releases", days=1), ([], []))
        self.assertEqual([r["status"] for r in self.hub.requests()], [304, 304])
        self.assertEqual(self.digest(self.corpus), before)
        # A new release, an asset counted and one taken away: what is new is fetched.
        record = self.hub.get("lab/a").releases[0]
        record["assets"][2]["download_count"] += 1
        del record["assets"][0]
        self.hub.release("lab/a", "v2/beta", {"b.exe": pe.pe("b"), "again.zip": self.hub.asset_bytes[9001]})
        self.hub.clear_log()
        samples, _ = self.collect("--releases", days=2)
        self.assertEqual([line["path"] for line in samples], ["releases/v2/beta/b.exe"])
        self.assertEqual(self.fetched(), 1)
        self.assertEqual(self.sightings(), {"x.exe": True, "releases/v1/a.exe": False, "releases/v1/a.zip": True, "releases/v2/beta/b.exe": True,
                                            "releases/v2/beta/again.zip": True})

    def test_what_the_corpus_has_is_not_fetched(self):
        other = pe.pe("forgotten")
        self.hub.commit("lab/a", {"x.zip": archive.zipped({"x.exe": pe.pe("x")}), "o.exe": other, "l.txt": self.hub.put_lfs(b"no program")})
        self.collect()
        forgotten = hashlib.sha256(other).hexdigest()
        subprocess.run([os.path.join(BIN, "collect"), "forget", forgotten, "--corpus", str(self.corpus)], check=True, capture_output=True, timeout=250)
        self.hub.release("lab/a", "v1", {"x.exe": pe.pe("x"), "o.exe": other, "same.txt": b"no program"})
        self.assertEqual(self.collect("--releases"), ([], []))
        self.assertEqual((self.fetched(), self.hub.count("/releases/assets/")), (0, 0))
        self.assertEqual(self.sightings(), {"x.zip": True, "releases/v1/x.exe": True})

    def test_without_digest_by_id_and_time(self):
        record = self.hub.release("lab/a", "v1", {"a.exe": pe.pe("a")}, digest=False)
        self.collect("--releases")
        record["body"] = "told anew"
        self.collect("--releases")
        self.assertEqual(self.fetched(), 1)
        record["assets"][0]["updated_at"] = "2025-02-02T00:00:00Z"
        self.collect("--releases")
        self.assertEqual(self.fetched(), 2)

    def test_drafts_and_halves_are_passed_over(self):
        self.hub.release("lab/a", "d", {"d.exe": pe.pe("d")}, draft=True)
        self.hub.release("lab/a", "u", {"u.exe": pe.pe("u")})["assets"][0]["state"] = "starter"
        self.hub.release("lab/a", "n", {"n.exe": pe.pe("n")})["assets"][0]["name"] = 7
        self.hub.release("lab/a", "s", {"s.exe": pe.pe("s")})["assets"][0]["size"] = -1
        self.hub.release("lab/a", "i", {"i.exe": pe.pe("i")})["assets"][0]["id"] = "9"
        self.hub.release("lab/a", "t", {"t.exe": pe.pe("t")})["tag_name"] = None
        self.hub.release("lab/a", "l", {"l" * 5000: pe.pe("l")})
        self.hub.release("lab/a", "a", {})["assets"] = "none"
        samples, rest = self.collect("--releases")
        self.assertEqual(([line["path"] for line in samples], rest, self.fetched()), (["x.exe"], [], 0))

    def test_too_large_is_said_and_not_fetched(self):
        self.hub.release("lab/a", "v1", {"a.iso": b"disk"})["assets"][0]["size"] = 1 << 40
        _, rest = self.collect("--releases", expect=1)
        self.assertEqual([(line["path"], line["outcome"]) for line in rest], [("releases/v1/a.iso", "too_big")])
        self.assertEqual((self.collect("--releases"), self.fetched()), (([], []), 0))

    def test_wrong_bytes_are_no_sample(self):
        for digest in (True, False):
            with self.subTest(digest=digest):
                corpus = self.root / str(digest)
                record = self.hub.release("lab/a", "v%d" % digest, {"a.exe": pe.pe("a%d" % digest, body_bytes=5000)}, digest)["assets"][0]
                true = self.hub.asset_bytes[record["id"]]
                wrongs = [true[:-1], true + b"x", true * 9, b""] + [true[:-1] + b"x"] * digest
                for wrong in wrongs:
                    self.hub.asset_bytes[record["id"]] = wrong
                    samples, rest = self.collect("--releases", expect=1, corpus=corpus)
                    self.assertEqual([line["path"] for line in samples if line["path"] != "x.exe"], [])
                    self.assertIn(rest[0]["outcome"], ("mismatch", "error"))
                self.hub.asset_bytes[record["id"]] = true
                for kind in ("cut", "reset", "truncated", "html"):
                    self.hub.fault(kind, path="/asset-store/")
                    samples, rest = self.collect("--releases", expect=1, corpus=corpus)
                    self.assertEqual((samples, len(rest)), ([], 1))
                    self.hub.clear_faults()
                samples, rest = self.collect("--releases", corpus=corpus)
                self.assertEqual((len(samples), rest), (1, []))
                self.hub.get("lab/a").releases.clear()

    def test_redirects_may_not_lead_inside(self):
        other = GitHub()
        other.start()
        self.addCleanup(other.stop)
        self.hub.release("lab/a", "v1", {"a.exe": pe.pe("a")})
        for index, location in enumerate((other.url + "/steal", "https://10.0.0.1/x", "http://169.254.169.254/latest", "file:///etc/passwd")):
            with self.subTest(location=location):
                self.hub.asset_location = lambda _identity, location=location: location
                samples, rest = self.collect("--releases", expect=1, corpus=self.root / str(index))
                self.assertEqual((len(samples), [line["outcome"] for line in rest]), (1, ["error"]))
        self.assertEqual(other.count(), 0)

    def test_many_releases_are_paged(self):
        for index in range(101):
            self.hub.release("lab/a", "v%d" % index, {"n.txt": b"number %d" % (index // 50)})
        self.hub.release("lab/a", "last", {"a.exe": pe.pe("a")})
        self.collect("--releases")
        self.assertEqual((self.hub.count("/releases[?]"), self.fetched()), (2, 4))
        self.hub.clear_log()
        self.assertEqual(self.collect("--releases"), ([], []))
        self.assertEqual((self.hub.count(), self.fetched()), (3, 0))     # the head, and both pages: one validator does not speak for both

    def test_passwords_heal_without_a_new_list(self):
        self.hub.release("lab/a", "v1", {"a.zip": archive.zipped({"a.exe": pe.pe("a")}, "odd word")})
        _, rest = self.collect("--releases", expect=1)
        self.assertEqual([line["outcome"] for line in rest], ["need_password"])
        self.hub.clear_log()
        self.collect("--releases")
        self.assertEqual((self.hub.count(), self.fetched()), (2, 0))
        (self.root / "words").write_text("odd word\n")
        samples, _ = self.collect("--releases", "--password-list", str(self.root / "words"))
        self.assertEqual([line["path"] for line in samples], ["releases/v1/a.zip"])

    def test_a_list_that_is_none(self):
        self.hub.release("lab/a", "v1", {"a.exe": pe.pe("a")})
        self.hub.fault("body", path="/releases", body=b"{}")
        samples, rest = self.collect("--releases", expect=5)
        self.assertEqual(([line["path"] for line in samples], [line["state"] for line in rest]), (["x.exe"], ["error"]))


if __name__ == "__main__":
    unittest.main()
