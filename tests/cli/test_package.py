"""The Debian package: made by cpack, looked at by dpkg-deb, unpacked and used where it lies, by programs and by a compiler."""
# ctest: release cost=60
import os
import re
import shutil
import subprocess
import tempfile
import unittest

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

    def test_what_it_wants(self):
        depends = {word.strip().split()[0] for word in self.call("dpkg-deb", "-f", self.package, "Depends").split(",")}
        # by their names in Debian 12
        wanted = {"libc6", "libcurl4", "libjansson4", "libsqlite3-0", "libarchive13", "libssl3", "libzstd1", "liblz4-1", "libseccomp2", "libcapstone4", "libinih1", "zlib1g"}
        self.assertEqual(wanted - depends, set())
        self.assertEqual({name for name in depends if name.endswith("-dev") or name.startswith("python")}, set())
        self.assertIn("python3", self.call("dpkg-deb", "-f", self.package, "Recommends"))

    def test_it_runs_where_it_was_unpacked(self):
        self.assertRegex(self.call(self.malseq, "--version"), r"^malseq \(malseq\) \d+\.\d+\.\d+\n$")
        shown = self.call(self.malseq, "demo", "--samples", "40", "--keep", "kept")
        self.assertIn("Everything of this run lies in kept", shown)
        self.assertRegex(self.call(self.malseq, "doctor", "--offline", "--corpus", "kept/corpus"), r"(?m)^programs +ok +malseq \d")
        self.build_the_example(os.path.join(self.root, "kept/corpus/models"))

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


if __name__ == "__main__":
    unittest.main()
