"""The Debian package: made by cpack, looked at by dpkg-deb, unpacked and used where it lies, by programs and by a compiler."""
# ctest: release cost=60
import gzip
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time
import unittest

from gen import report
from test_train_detect import write_mal_api

BIN = os.environ["MALSEQ_BIN"]
BUILD = os.path.dirname(BIN)
NEEDED = ["cpack", "dpkg-deb", "dpkg-shlibdeps"]
# Where the package's files must be, in extended regular expressions; all it has beside documents, the demo's world and folders.
FILES = [r"/usr/bin/malseq", r"/usr/include/malseq/detect\.h", r"/usr/lib\S*/libmalseq-detect\.so(\.0(\.\d+\.\d+)?)?", r"/usr/lib\S*/malseq/malseq_calls\.so",
         r"/usr/lib\S*/pkgconfig/malseq-detect\.pc", r"/usr/libexec/malseq/(collect|label|extract|train|detect|malseq-reader)",
         r"/usr/share/man/man1/malseq(-(collect|label|extract|train|detect))?\.1",
         r"/usr/share/bash-completion/completions/malseq(-(collect|label|extract|train|detect))?"]
BESIDE = r"/usr/share/(doc/malseq|malseq/demo)/"


@unittest.skipUnless(all(map(shutil.which, NEEDED)), "needs " + ", ".join(NEEDED))
class Package(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.root = tempfile.mkdtemp(prefix="malseq-test-package-")
        cls.addClassCleanup(shutil.rmtree, cls.root, True)
        cls.call("cpack", "--config", os.path.join(BUILD, "CPackConfig.cmake"), "-G", "DEB", "-B", cls.root)
        cls.package, = [os.path.join(cls.root, name) for name in os.listdir(cls.root) if name.endswith(".deb")]
        cls.unpacked = os.path.join(cls.root, "unpacked")
        cls.call("dpkg-deb", "-x", cls.package, cls.unpacked)
        cls.malseq = os.path.join(cls.unpacked, "usr/bin/malseq")
        cls.shown = cls.call(cls.malseq, "demo", "--samples", "40", "--keep", "kept")

    @classmethod
    def call(cls, *words, code=0, **options):
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240, cwd=cls.root, **options)
        if done.returncode != code:
            raise AssertionError("%s ended with %d: %s" % (" ".join(words), done.returncode, done.stdout[-2000:] + done.stderr[-2000:]))
        return done.stdout

    def test_what_it_holds(self):
        listing = [line.split(None, 5) for line in self.call("dpkg-deb", "-c", self.package).splitlines()]
        files = {name.split(" -> ")[0][1:]: (mode, owner) for mode, owner, _, _, _, name in listing if not mode.startswith("d")}
        self.assertEqual({owner for _, owner in files.values()}, {"root/root"})
        self.assertEqual([name for name, (mode, _) in files.items() if mode[0] == "-" and (mode[5] == "w" or mode[8] == "w")], [])
        rest = {name for name in files if not re.match(BESIDE, name)}
        for place in FILES:
            found = {name for name in rest if re.fullmatch(place, name)}
            self.assertTrue(found, place)
            rest -= found
        self.assertEqual(rest, set())                           # no tool under its bare name, above all
        for name in ("copyright", "README.md", "docs/tour.md", "schemas/README.md", "examples/detect.c", "examples/nightly.conf"):
            self.assertIn("/usr/share/doc/malseq/" + name, files)

    def test_pages_that_pages_name(self):
        folder = pathlib.Path(self.unpacked, "usr/share/man/man1")
        pages = {path.stem for path in folder.iterdir()}
        for name in pages:
            text = (folder / (name + ".1")).read_text()
            self.assertEqual({name} | set(re.findall(r"(?m)^\.Xr (\S+) 1", text)), pages)
            self.assertEqual(re.findall(r"(?m)^\.Dt (\S+) 1$", text), [name.upper()])
        self.assertEqual(set(re.findall(r"see\s+([\w-]+)\(1\)", self.call(self.malseq, "--help"))), pages - {"malseq"})

    def test_what_it_wants(self):
        depends = {word.strip().split()[0] for word in self.call("dpkg-deb", "-f", self.package, "Depends").split(",")}
        # by their names in Debian 12
        wanted = {"libc6", "libcurl4", "libjansson4", "libsqlite3-0", "libarchive13", "libssl3", "libzstd1", "liblz4-1", "libseccomp2", "libcapstone4", "libinih1", "zlib1g",
                  "libxgboost0", "liblinear4", "libprotobuf-c1"}
        self.assertEqual(wanted - depends, set())
        self.assertEqual({name for name in depends if name.endswith("-dev") or name.startswith("python")}, set())
        recommends = self.call("dpkg-deb", "-f", self.package, "Recommends")
        self.assertIn("python3", recommends)
        self.assertRegex(recommends, r"libarchive13 \(>= 3\.6\.2-1\+deb12u\d+\)")

    def test_it_runs_where_it_was_unpacked(self):
        self.assertRegex(self.call(self.malseq, "--version"), r"^malseq \(malseq\) \d+\.\d+\.\d+\n$")
        self.assertIn("Everything of this run lies in kept", self.shown)
        self.assertRegex(self.call(self.malseq, "doctor", "--offline", "--corpus", "kept/corpus"), r"(?m)^programs +ok +malseq \d")
        self.build_the_example(os.path.join(self.root, "kept/corpus/models"))

    def starters(self, root):
        """What of the examples starts a night: the line of the unit, the lines of cron's file, its PATH."""
        folder = pathlib.Path(root, "share/doc/malseq/examples")
        unit, cron = ((folder / ("malseq-nightly." + kind)).read_text() for kind in ("service", "cron"))
        return re.search(r"(?m)^ExecStart=(\S+) nightly", unit)[1], re.findall(r"(?m)^#?[\d*]+ [\d*]+ \* \* \S+  malseq  (.*)$", cron), re.search(r"(?m)^PATH=(.*)$", cron)[1]

    def test_installed_elsewhere(self):
        """The package is for /usr; cmake --install puts its prefix into the unit and cron's file."""
        prefix = os.path.join(self.root, "elsewhere")
        self.call("cmake", "--install", BUILD, "--prefix", prefix)
        program = os.path.join(prefix, "bin/malseq")
        self.assertRegex(self.call(program, "-V"), r"^malseq ")
        for root, found, folders in ((prefix, program, prefix + "/bin:/usr/bin:/bin"), (self.unpacked + "/usr", "/usr/bin/malseq", "/usr/local/bin:/usr/bin:/bin")):
            run, lines, paths = self.starters(root)
            self.assertEqual((run, len(lines), paths), (found, 4, folders))

    def test_what_cron_mails(self):
        """Its lines by cron's shell: nothing after 0 and 75, else the summary and the reason; also where a disk is not mounted."""
        folder = pathlib.Path(self.root, "cron")
        folder.mkdir()
        for name, text in (("malseq", r"printf '%s\n' 'Night 1: C:\new'; echo 'malseq: error: why' >&2; exit $CODE"), ("mountpoint", 'echo "$1 is or is not a mountpoint"; exit $MOUNTED')):
            (folder / name).write_text("#!/bin/sh\n%s\n" % text)
            (folder / name).chmod(0o755)
        for line in self.starters(self.unpacked + "/usr")[1]:
            self.assertNotIn("%", line)                         # which cron takes for an end of line
            for code, mounted in ((0, 0), (75, 0), (1, 0), (4, 0), (0, 32)):
                shown = self.call("/bin/sh", "-c", line, env={"PATH": "%s:/bin" % folder, "CODE": str(code), "MOUNTED": str(mounted)})
                if mounted and "mountpoint" in line:
                    self.assertRegex(shown, r"\A/\w+ is or is not a mountpoint\n\Z")
                elif code in (0, 75):
                    self.assertEqual(shown, "")
                else:
                    self.assertRegex(shown, r"(?m)^Night 1: C:\\new\nmalseq: error: why\n\Z")

    def build_the_example(self, models):
        """As the example's first lines say, with nothing but the package."""
        pkgconfig, = [folder for folder, _, names in os.walk(self.unpacked) if "malseq-detect.pc" in names]
        flags = self.call("pkg-config", "--cflags", "--libs", "malseq-detect", env={**os.environ, "PKG_CONFIG_PATH": pkgconfig}).split()
        source = os.path.join(self.unpacked, "usr/share/doc/malseq/examples/detect.c")
        self.call("cc", "-Wall", "-Wextra", "-Werror", source, *flags, "-o", "example")
        paths = {**os.environ, "LD_LIBRARY_PATH": os.path.dirname(pkgconfig)}
        shown = subprocess.run([os.path.join(self.root, "example"), os.path.join(models, "malware")], input="1 NtClose\n\n", capture_output=True, text=True, timeout=60,
                               env=paths)
        self.assertEqual((shown.returncode, shown.stderr), (0, ""))
        self.assertRegex(shown.stdout, r"^unknown nan - 1 calls: 1 calls: the model needs at least \d+\n$")

    # What an example of a man page gets beside what it says, by how it begins: another run of the demo's services, less to learn, less to wait.
    BESIDE = {"malseq collect --github-list": "--github-url {github_url} --github-token @{github}", "malseq train onnx": "", "malseq train compare": "", "malseq train --dry-run": "",
              "malseq train --kind lstm": "--epochs 1 --baselines no", "malseq train": "--dry-run", "malseq label avclass --fetch-data": "--dry-run",
              "malseq nightly": "--dry-run",
              "malseq doctor --github-token": "--github-url {github_url} --vt-url {virustotal_url}", "malseq collect --github-list /etc": "--github-url {github_url}",
              "malseq label quota": "--vt-url {virustotal_url}", "malseq label --vt-key": "--vt-url {virustotal_url} --vt-user {vt_user}",
              "malseq train --target malware --name first": "--kind lstm --hidden 8 --epochs 1 --test-share .2"}
    INSTEAD = {"http://sandbox:8090": "{cuckoo_url}", "http://a:8090": "{cuckoo_url}", "http://b:8000": "{cuckoo_url}/", "/etc/malseq/vt.key": "vt.key", "/etc/malseq/github.key": "{github}",
               "/etc/malseq/cuckoo.key": "cuckoo.token", "/etc/malseq/": "", "/srv/vt-answers": "vt-answers", "/srv/reports": "reports", "/backup/": "backup/",
               "--until 60": "--until 2",
               "/srv/clean": "clean", "corpus/models/default-malware": "corpus/models/malware",
               "275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f": "HASH", "44d88612fea8a8f36de82e1278abb02f": "HASH", "HASH": "{hash}"}

    def examples(self):
        """The commands of the installed man pages, and of the page about the first hour."""
        for name in ("collect", "label", "extract", "train", "detect", None):
            text = pathlib.Path(self.unpacked, "usr/share/man/man1", "malseq%s.1" % ("-" + name if name else "")).read_text()
            for line in re.findall(r'^\.Dl "(.*)"$', text.split(".Sh EXAMPLES")[1], re.M):
                yield line.replace('""', '"').replace("\\&", "").replace("\\-", "-").replace("\\e", "\\")
        page = pathlib.Path(self.unpacked, "usr/share/doc/malseq/docs/first-hour.md").read_text()
        yield from re.findall(r"(?m)^    (malseq .*?)(?: +#.*)?$", page)

    def prepare(self, folder, world):
        """What the examples speak of, and malseq by its name, as the package has it: no tool by its own; returns the environment."""
        shutil.copytree(os.path.join(self.root, "kept/corpus"), folder / "corpus")
        shutil.copytree(world["fresh"], folder / "reports")
        first = next((folder / "reports").iterdir()).read_bytes()
        (folder / "report.json").write_bytes(first)
        (folder / "report.json.gz").write_bytes(gzip.compress(first))
        shutil.copy(folder / "corpus/models/malware/model.safetensors", folder)
        (folder / "apimon.log").write_bytes(report.drakvuf([report.Process("a.exe", ["NtClose", "NtOpenFile"] * 20)]))
        answer = json.dumps({"response_code": 1, "md5": "a" * 32, "sha1": "a" * 40, "sha256": "a" * 64, "scan_date": "2020-01-01 00:00:00", "positives": 1, "total": 1,
                             "scans": {"Engine": {"detected": True, "result": "Trojan.Zelphira", "version": "1", "update": "20200101"}}}).encode() + b"\n"
        for name in ("clean", "incoming", "vt-answers", "names"):
            (folder / name).mkdir()
        (folder / "feed.jsonl.gz").write_bytes(gzip.compress(answer))
        (folder / "reports.jsonl").write_bytes(answer)
        (folder / "vt-answers/one.json").write_bytes(answer)
        subprocess.run(["zstd", "-q", "-o", folder / "old-v2.json.zst"], input=answer, check=True)
        write_mal_api(folder / "malware_api_class", 20)
        shutil.copy(world["repos"], folder / "repos.txt")
        for name, text in (("vt.key", world["vt_key"]), ("cuckoo.token", pathlib.Path(world["key_files"]["cuckoo"]).read_text())):
            for path in {name, *({"a.token"} if name == "cuckoo.token" else ())}:
                (folder / path).touch(0o600)
                (folder / path).write_text(text)
        (folder / "nightly.conf").write_text("[label]\nvt-key = @vt.key\n[audit]\n")
        (folder / "corpus/avclass").mkdir()
        for name, rule in (("taxonomy", "FAM:zelphira\n"), ("tagging", "zelfira\tzelphira\n"), ("expansion", "zelphira\tCLASS:virus\n")):
            (folder / "corpus/avclass" / ("default." + name)).write_text(rule)
        (folder / "names/malseq").symlink_to(self.malseq)
        return {"PATH": "%s:%s" % (folder / "names", os.environ["PATH"]), "HOME": str(folder), "VT_API_KEY": world["vt_key"], "MALSEQ_CORPUS": "corpus"}

    def test_the_examples(self):
        folder = pathlib.Path(self.root, "examples")
        out = folder / "world"
        out.mkdir(parents=True)
        script = os.path.join(self.unpacked, "usr/share/malseq/demo/services/demo_world.py")
        with subprocess.Popen(["python3", "-B", script, "--out", out, "--samples", "40", "--seed", "1"], stdin=subprocess.PIPE) as services:
            self.addCleanup(services.kill)
            until = time.monotonic() + 60
            while not (out / "services.json").exists() and time.monotonic() < until:
                time.sleep(.05)
            world = json.loads((out / "services.json").read_text())
            environment = self.prepare(folder, world)
            sample = self.call(self.malseq, "query", "--csv", "--corpus", "kept/corpus", "select lower(hex(sha256)) from sample where vaulted limit 1").split()[-1]
            words = {**{key: value for key, value in world.items() if isinstance(value, str)}, "github": world["key_files"]["github"], "hash": sample}
            ran = 0
            for line in self.examples():
                beside = max((start for start in self.BESIDE if line.startswith(start)), key=len, default=None)
                command = line + (" " + self.BESIDE[beside] if beside else "")
                for what, other in self.INSTEAD.items():
                    command = command.replace(what, other)
                command = re.sub(r"\{(\w+)\}", lambda found: words[found[1]], command)
                if line == "malseq demo":                       # is where all this comes from
                    continue
                done = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100)
                with self.subTest(example=line):
                    self.assertIn(done.returncode, (0, 1), command + ": " + done.stderr[-500:])     # 1: findings
                ran += 1
            services.stdin.close()
        self.assertGreater(ran, 45)


if __name__ == "__main__":
    unittest.main()
