"""Rules of the house that a compiler does not know: layers, first lines, sizes, style, spelling, and that help, man page and
completion agree. It judges the tree, not what the programs do."""
# ctest: full cost=50
import ast
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BIN = os.environ.get("MALSEQ_BIN", os.path.join(ROOT, "build", "dev", "bin"))
TOOLS = ["collect", "label", "extract", "train", "detect", "malseq"]
HARD_LINES, MAIN_LINES = 800, 200

# What each folder may include beside itself. Longest prefix wins.
LAYERS = {
    "include": [],
    "base": [],
    "store/trace": ["base"],
    "store": ["base", "store/trace"],
    "extract/report": ["base", "store/trace"],
    "extract/sandbox": ["base"],
    "train/nn": ["base"],
    "collect": ["base", "store", "store/trace"],
    "label": ["base", "store", "store/trace"],
    "extract": ["base", "store", "store/trace", "extract/report", "extract/sandbox"],
    "train": ["base", "store", "store/trace", "train/nn"],
    "detect": ["include", "base", "store/trace", "extract/report", "train", "train/nn"],
    "malseq": ["base", "store", "store/trace"],
}
# Files that may include more than their folder: detect's command reads stored traces; its library must not.
WIDER = {"detect/corpus.c": ["store"], "detect/corpus.h": ["store"], "detect/command.c": ["store"],
         "malseq/doctor_sandboxes.c": ["extract/sandbox"]}
# System headers that only certain files may see.
PRIVATE = {"cblas.h": r"train/(nn/openblas/openblas|fit_linear)\.c", "curl/": r"base/http[a-z_]*\.[ch]", "archive": r"base/unpack[a-z_]*\.[ch]", "sqlite3.h": r"store/[a-z_]+\.[ch]"}


def tracked(*suffixes):
    """Files of the tree (git's, or all when this is no clone), by suffix."""
    try:
        listing = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    except (OSError, subprocess.CalledProcessError):
        listing = [os.path.relpath(os.path.join(folder, name), ROOT) for folder, _, names in os.walk(ROOT)
                   if not re.search(r"/(build|\.git)(/|$)", folder) for name in names]
    files = sorted(name for name in listing if name and os.path.isfile(os.path.join(ROOT, name)))
    return [name for name in files if not suffixes or name.endswith(suffixes)]


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def layer_of(path):
    if os.path.isfile(os.path.join(ROOT, "include", path)):     # <malseq/detect.h> is no header of the folder malseq
        path = "include/" + path
    return max((layer for layer in LAYERS if path.startswith(layer + "/")), key=len, default=None)


def includes(text):
    return re.findall(r'^\s*#\s*include\s+(["<])([^">]+)[">]', text, re.M)


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT, **options)


class Layers(unittest.TestCase):
    def test_arrows_point_down(self):
        checked = 0
        for name in tracked(".c", ".h"):
            here = layer_of(name)
            if here is None:
                continue
            for _, target in includes(read(name)):
                there = layer_of(target)
                if there is None or there == here:
                    continue
                checked += 1
                with self.subTest(file=name, includes=target):
                    self.assertIn(there, LAYERS[here] + WIDER.get(name, []))
        self.assertGreater(checked, 20)

    def test_detect_sees_only_the_model_of_train(self):
        for name in tracked(".c", ".h"):
            if name.startswith("detect/"):
                for _, target in includes(read(name)):
                    if layer_of(target) == "train":
                        self.assertRegex(target, r"^train/model[a-z_]*\.h$", name)

    def test_libraries_stay_behind_their_wall(self):
        for name in tracked(".c", ".h"):
            if layer_of(name) is None:
                continue
            for mark, target in includes(read(name)):
                for library, allowed in PRIVATE.items():
                    if mark == "<" and target.startswith(library):
                        with self.subTest(file=name, includes=target):
                            self.assertRegex(name, "^" + allowed + "$")

    def test_no_sql_outside_store(self):
        for name in tracked(".c", ".h"):
            if layer_of(name) not in (None, "store"):
                with self.subTest(file=name):
                    self.assertNotRegex(read(name), r'"\s*(INSERT INTO|SELECT \w.* FROM|DELETE FROM|UPDATE \w+ SET) ')


class Files(unittest.TestCase):
    def test_first_line_says_what_the_file_is(self):
        comment = {".c": r"(/\*|#define _GNU_SOURCE)", ".h": r"/\*", ".py": r'("""|#)', ".cmake": "#", "CMakeLists.txt": "#", ".sql": "--"}
        for name in tracked(*comment):
            text = read(name)
            suffix = next(s for s in comment if name.endswith(s))
            with self.subTest(file=name):
                self.assertRegex(text, r"\A" + comment[suffix])

    def test_sizes(self):
        for name in tracked(".c", ".h", ".py"):
            lines = read(name).count("\n")
            with self.subTest(file=name):
                self.assertLessEqual(lines, MAIN_LINES if os.path.basename(name) == "main.c" else HARD_LINES)

    def test_nothing_that_does_not_belong(self):
        # Built from parts, so that this file does not contain them.
        marks = [r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b", r"(^|[\"'\s=(])/(wo" + r"rk|ro" + r"ot|ho" + r"me)/(?!cuckoo)", r"BEGIN [A-Z ]*PRIV" + r"ATE KEY",
                 r"\bgh[pousr]_[A-Za-z0-9]{36}\b", r"\bAKIA[0-9A-Z]{16}\b"]
        for name in tracked():
            if name.startswith(("tests/fuzz/corpus/", "tests/ref/")):
                continue
            text = read(name)
            for mark in marks:
                found = re.search(mark, text, re.M)
                with self.subTest(file=name, mark=mark):
                    self.assertIsNone(found, found and found.group())

    def test_messages(self):
        """`collect: warning: cannot open 'x': why`: no capital that is not a name's, no full stop, and 'x' in single quotes."""
        name_first = r"(URL|LZ4|GitHub|Git LFS|HTTP|API|AVClass|VirusTotal|MALSEQ_|SQL|JSON|PE|CSV|ONNX|ELF)\b|[^A-Z]"
        call = re.compile(r'\bms_(?:error_set|error_set_errno|error_prepend|log)\s*\([^;"]*?((?:"(?:[^"\\]|\\.)*"\s*)+)', re.S)
        checked = 0
        for name in tracked(".c"):
            if layer_of(name):
                for literals in call.findall(read(name)):
                    message = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', literals))
                    checked += 1
                    with self.subTest(file=name, message=message):
                        self.assertRegex(message, r"\A(?:%s)" % name_first)
                        self.assertNotRegex(message, r"(?<!\.\.)[.!]\Z|\\n|\\\"%s\\\"(?! %s)")
        self.assertGreater(checked, 1000)

    def test_functions_that_threads_share(self):
        """clang-tidy's check for these takes strerror(3) for one. And those that nobody can use safely."""
        for name in tracked(".c", ".h"):
            if layer_of(name):
                with self.subTest(file=name):
                    self.assertNotRegex(read(name), r"[^_.>\w](localtime|gmtime|asctime|ctime|strtok|rand|srand|getpwnam|getpwuid|gethostbyname|inet_ntoa|tmpnam|"
                                        r"tempnam|mktemp|gets|strcpy|sprintf|vsprintf|atoi|atol|system|popen)\(")

    def test_headers_compile_alone(self):
        headers = [name for name in tracked(".h") if layer_of(name)]
        with tempfile.TemporaryDirectory() as folder:
            def compile_one(name):
                source = os.path.join(folder, name.replace("/", "_") + ".c")
                with open(source, "w") as file:
                    file.write('#include "%s"\n#include "%s"\nextern int not_empty;\n' % (name, name))
                return name, run("gcc", "-std=c11", "-D_POSIX_C_SOURCE=200809L", "-fsyntax-only", "-Wall", "-Werror", "-I", ROOT, source)
            with ThreadPoolExecutor(2) as pool:
                for name, result in pool.map(compile_one, headers):
                    with self.subTest(header=name):
                        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertGreater(len(headers), 20)

    def test_python_compiles(self):
        for name in tracked(".py"):
            with self.subTest(file=name):
                compile(read(name), name, "exec")


def depend_on(tree, word):
    """Names at the top of a module whose value comes of the string `word`, also by way of another name."""
    found = set()
    for statement in tree.body:
        inside = list(ast.walk(statement))
        if isinstance(statement, ast.Assign) and any(getattr(node, "value", None) == word or getattr(node, "id", None) in found for node in inside):
            found |= {node.id for target in statement.targets for node in ast.walk(target) if isinstance(node, ast.Name)}
    return found


def tests_that_see(tree, word):
    """CLASS or CLASS.METHOD of the tests in whose text the string `word` is, or a name that depends on it; "" for functions that are no test's own."""
    names = depend_on(tree, word)

    def sees(*nodes):
        return any(getattr(inner, "value", None) == word or getattr(inner, "id", None) in names for node in nodes for inner in ast.walk(node))
    found = {"" for statement in tree.body if not isinstance(statement, (ast.Assign, ast.ClassDef)) and sees(statement)}
    for group in (statement for statement in tree.body if isinstance(statement, ast.ClassDef)):
        if sees(*group.decorator_list):
            found.add(group.name)
        for part in (part for part in group.body if sees(part)):
            found.add("%s.%s" % (group.name, part.name) if getattr(part, "name", "").startswith("test") else "")
    return found


class Halves(unittest.TestCase):
    """What is skipped or weaker where sanitised runs in the release half of ./run test: the whole script, or what it names."""
    SCRIPTS = ("tests/cli/", "tests/fault/", "tests/services/", "tests/lint/")

    @staticmethod
    def missing(text):
        """Tests that see whether they are sanitised and do not run otherwise; and whether any does."""
        seen = tests_that_see(ast.parse(text), "MALSEQ_" + "SANITIZED")
        labels = re.search(r"^# ctest: (.*)$", text, re.M)
        if labels and {"release", "also-release", "quick"} & set(labels[1].split()):
            return set(), seen
        named = re.search(r"^# in release: (.+)$", text, re.M)
        named = set(named[1].split()) if named else set()
        return {name for name in seen if not (named if name == "" else {name, name.split(".")[0]} & named)}, seen

    def test_what_sees_sanitizers_runs_without(self):
        count = 0
        for name in tracked(".py"):
            if name.startswith(self.SCRIPTS) and os.path.basename(name).startswith("test_"):
                missing, seen = self.missing(read(name))
                count += bool(seen)
                with self.subTest(file=name):
                    self.assertEqual(missing, set(), "label it release, also-release or quick, or name these in a line '# in release: CLASS.METHOD'")
        self.assertGreater(count, 10)

    def test_of_the_rule(self):
        sees = 'import os\n%%s\nA = os.environ.get("MALSEQ_%s") == "1"\nB = 1 if A else 2\nclass C:\n    def test_a(self):\n        return %%s\n' % "SANITIZED"
        for head, value, want in (("", "B", {"C.test_a"}), ("", "2", set()), ("# ctest: full", "A", {"C.test_a"}), ("# ctest: full also-release", "A", set()),
                                  ("# in release: C.test_b", "B", {"C.test_a"}), ("# in release: C.test_a", "B", set()), ("# in release: D C", "B", set())):
            self.assertEqual(self.missing(sees % (head, value))[0], want, (head, value))


class Schema(unittest.TestCase):
    def test_fields_are_described(self):
        """schemas/fields.md has each table and view and each column of the migrations, with its type and its unit, and no other. SQLite knows of
        a view's column neither whether it may be NULL nor, where it is computed, its type."""
        db = sqlite3.connect(":memory:")
        for name in tracked(".sql"):
            db.executescript(read(name))
        tables = dict(db.execute("SELECT name, type FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite%'"))
        want = {(table, row[1]): (row[2], bool(row[3] or row[5])) for table in tables for row in db.execute("PRAGMA table_info(%s)" % table)}
        found, table = {}, None
        for line in read("schemas/fields.md").split("\n"):
            if line.startswith("## "):
                table, kind = re.match(r"## (\w+)( \(view\))?$", line).groups()
                self.assertEqual(tables.get(table), "view" if kind else "table", line)
            cells = re.match(r"\| `(\w+)` \| (\w+)(, NULL)? \| *([^|]*?) *\|", line)
            if cells:
                column = (table, cells[1])
                self.assertTrue(cells[4], "no unit: " + line)
                self.assertNotIn(column, found)
                known = tables[table] == "table"
                found[column] = (cells[2] if known or want.get(column, ("",))[0] else "", not cells[3] if known else False)
        self.assertEqual(found, want)
        self.assertGreater(len(want), 220)


class Outside(unittest.TestCase):
    """Checks that other programs make; one that is missing here is a skip that says so."""

    def need(self, program):
        if not shutil.which(program):
            self.skipTest(program + " is not installed")

    def test_clang_format(self):
        self.need("clang-format")
        result = run("clang-format", "--dry-run", "-Werror", *tracked(".c", ".h"))
        self.assertEqual(result.returncode, 0, result.stderr[:3000])

    def test_clang_tidy(self):
        """Its cheap checks; ./run lint --deep asks for all."""
        self.need("clang-tidy")
        build = os.path.dirname(os.path.realpath(BIN))
        if not os.path.isfile(os.path.join(build, "compile_commands.json")):
            self.skipTest("no compile commands beside " + BIN)
        result = subprocess.run([sys.executable, "-B", os.path.join(ROOT, "tests", "lint", "tidy.py"), build], capture_output=True, text=True)
        self.assertEqual(result.returncode, 0, result.stdout[-5000:] + result.stderr[-2000:])

    def test_shellcheck(self):
        self.need("shellcheck")
        result = run("shellcheck", "run", ".ci/run")
        self.assertEqual(result.returncode, 0, result.stdout)

    def test_codespell(self):
        self.need("codespell")
        words = "wile,ninjas,nd,fpr,te,ot,ba,fo,ue,iif,deriver,struc,statics,nin,passt,staus,nulll"     # names, and errors made on purpose
        binary = (".rar", ".zip", ".7z", ".zst", ".gz", ".safetensors")
        files = [name for name in tracked() if not name.startswith(("tests/fuzz/corpus/", "tests/lint/")) and not name.endswith(binary)]
        result = run("codespell", "-L", words, *files)
        self.assertEqual(result.returncode, 0, result.stdout)


class Talk(unittest.TestCase):
    """--help, the man page and the completion of each tool."""

    def output(self, tool, *words):
        path = os.path.join(BIN, tool)
        result = run(path, *words)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return result.stdout

    def verbs(self, tool):
        """Verbs of a tool, by its completion; the umbrella's that only run another tool are left out."""
        names = re.findall(r"^    '([a-z0-9-]*)'\) options=", self.output(tool, "--print-completion"), re.M)
        return [name for name in names if tool != "malseq" or name not in TOOLS]

    def test_options_agree(self):
        for tool in TOOLS:
            with self.subTest(tool=tool):
                completion = self.output(tool, "--print-completion")
                man = self.output(tool, "--print-man")
                in_help = set()
                for verb in self.verbs(tool):
                    in_help |= set(re.findall(r"^ +(?:-., )? *(--[a-z0-9-]+)", self.output(tool, *([verb] if verb else []), "--help"), re.M))
                in_completion = {word for words in re.findall(r"options\+?='([^']*)'", completion) for word in words.split() if word.startswith("--")}
                in_man = {"--" + name.replace("\\-", "-") for line in re.findall(r"^\.It (.*)$", man, re.M) for name in re.findall(r'Fl "\\-([^"]+)"', line)}
                self.assertEqual(in_help, in_completion)
                self.assertEqual(in_help, in_man)
                self.assertIn("--corpus", in_help)

    def test_help_fits_80_columns(self):
        for tool in TOOLS:
            with self.subTest(tool=tool):
                for verb in [None] + self.verbs(tool):
                    for line in self.output(tool, *([verb] if verb else []), "--help").split("\n"):
                        self.assertLessEqual(len(line), 80, line)

    def test_version(self):
        for tool in TOOLS:
            with self.subTest(tool=tool):
                self.assertRegex(self.output(tool, "-V"), r"\A%s \(malseq\) \d+\.\d+\.\d+\n\Z" % tool)

    def test_man_page_is_clean(self):
        if not shutil.which("mandoc"):
            self.skipTest("mandoc is not installed")
        for tool in TOOLS:
            with self.subTest(tool=tool):
                result = run("mandoc", "-T", "lint", "-W", "warning", input=self.output(tool, "--print-man"))
                self.assertEqual((result.returncode, result.stdout), (0, ""))
                text = re.sub(".\b", "", run("mandoc", "-T", "utf8", input=self.output(tool, "--print-man")).stdout)
                for section in ("NAME", "SYNOPSIS", "OPTIONS", "EXIT STATUS", "SEE ALSO"):
                    self.assertIn(section, text)

    def test_completion_loads(self):
        for tool in TOOLS:
            with self.subTest(tool=tool):
                script = self.output(tool, "--print-completion") + "\nCOMP_WORDS=(%s --js); COMP_CWORD=1; _malseq_%s; echo \"${COMPREPLY[*]}\"\n" % (tool, tool)
                result = run("bash", "--norc", "-c", script)
                self.assertEqual((result.stdout, result.stderr), ("--json\n", ""))


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=1))
