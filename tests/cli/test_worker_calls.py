"""The system calls that confined workers make over the whole table of containers, as strace sees them, against docs/confinement.md and the
rules of base/confine.c. What a worker may not do is tests/unit/test_worker.c's business."""
# ctest: full release cost=50
import collections
import os
import pathlib
import re
import shutil
import subprocess
import unittest

import test_collect_table as table

ROOT = pathlib.Path(__file__).resolve().parents[2]
LOADED = re.compile(r"prctl\(PR_SET_SECCOMP.*\{len=")     # by a child; a seat of base/quick, which forks them, uses seccomp(2)
ALSO = {"tgkill"}     # the one rule with a process id, beside the table of rules


def documented():
    """({call: (condition, seen)}, {call}) of the page: what is allowed, and what fails."""
    text = (ROOT / "docs" / "confinement.md").read_text(encoding="utf-8")
    allowed, refused = text.split("## Allowed")[1].split("## Refused")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in allowed.splitlines() if line.startswith("| ")][1:]
    words = refused.split("well without:")[1].split("## ")[0].replace("newfstatat by path", "")
    return {row[0]: (row[1], row[3] == "seen") for row in rows}, set(re.findall(r"[a-z0-9_]+", words))


def policy():
    """({call: [(argument, mask, value)]}, {call}) of the table of rules, without what only the sanitizers and valgrind need."""
    source = (ROOT / "base" / "confine.c").read_text(encoding="utf-8")
    text = re.sub(r"#if.*?#endif", "", source.split("static const struct rule rules[] = {")[1].split("};")[0], flags=re.S)
    rules = re.findall(r'\{"(\w+)", (ALLOW|REFUSE), ([^{}]*)\}', text)
    allowed = {}
    for name, action, tests in rules:
        if action == "ALLOW":
            allowed.setdefault(name, []).append(tuple(part.strip() for part in tests.split(",")))
    return allowed, {name for name, action, _ in rules if action == "REFUSE"}


def quick():
    """({call} of a child of base/quick, {call} of what forks it), twice: by the page and by the rules."""
    page = (ROOT / "docs" / "confinement.md").read_text(encoding="utf-8").split("## The quick reader")[1]
    lists = [re.search(words + r": ([a-z0-9_,\s]+)", page).group(1) for words in ("may make these calls", "may make these as well")]
    source = (ROOT / "base" / "quick_confine.c").read_text(encoding="utf-8").split("static const struct rule rules[] = {")[1].split("#if")[0]
    rules = re.findall(r'\{"(\w+)",\s*(true|false),', source)
    return ([set(re.findall(r"[a-z0-9_]+", words)) for words in lists],
            [{name for name, of_seat in rules if of_seat == flag} for flag in ("false", "true")])


def read_trace(path):
    """({call: [line…]} of confined processes, how many there were); each line is the call as it was begun."""
    confined, count, calls = set(), 0, collections.defaultdict(collections.Counter)
    with open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            pid, rest = line.rstrip("\n").split(None, 1)
            if rest.startswith("+++"):
                confined.discard(pid)
            elif not rest.startswith(("<...", "---")):
                if pid in confined:
                    calls[rest.split("(")[0]][re.sub(r"\d{2,}|0x[0-9a-f]+", "N", rest)] += 1
                elif LOADED.match(rest):
                    confined.add(pid)
                    count += 1
    return calls, count


class Page(unittest.TestCase):
    def test_page_and_rules_say_the_same(self):
        (page, page_refused), (rules, rules_refused) = documented(), policy()
        self.assertEqual(set(page), set(rules) | ALSO)
        self.assertEqual(page_refused, rules_refused)
        self.assertEqual({name for name, tests in rules.items() if any(test[1] != "0" for test in tests)} | ALSO,
                         {name for name, (condition, _) in page.items() if condition})

    def test_page_and_rules_of_the_quick_reader_say_the_same(self):
        page, rules = quick()
        self.assertEqual(page, rules)
        self.assertTrue(all(page))


@unittest.skipUnless(shutil.which("strace"), "strace is not installed: the calls of workers cannot be seen")
class Calls(unittest.TestCase):
    def trace(self, bench, corpus, words, folders):
        listed, log = bench.root / "words", bench.root / "trace"
        listed.write_text("".join(word + "\n" for word in words), encoding="utf-8")
        command = ["strace", "-f", "-q", "-s", "0", "-o", str(log), os.path.join(table.BIN, "collect"), "--dir",
                   *(str(bench.input / folder) for folder in folders), "--jobs", "2", "--corpus", str(bench.root / corpus), "--password-list", str(listed)]
        run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=250, check=False)
        self.assertEqual(run.returncode, 1, run.stderr.decode("utf-8", "replace"))
        return read_trace(log)

    def test_the_whole_table(self):
        table.Table.setUpClass()
        self.addCleanup(table.Table.doClassCleanups)
        bench = table.Table.bench
        calls, workers = self.trace(bench, "opened", table.ALL, ("some", "alone", "zip", "tar", "locked"))
        self.assertGreater(workers, len(table.Table.blobs))
        # One more: before all, a probe that must not get through is killed at its attempt to open a socket.
        self.assertEqual(list(calls.pop("socket").values()), [1])
        self.assertEqual({line.split(" = ")[0].replace(" <unfinished ...>", ")") for line in calls.pop("openat")}, {'openat(AT_FDCWD, "/", O_RDONLY|O_CLOEXEC)'})
        # And the quick reader's at one to receive.
        self.assertEqual(list(calls.pop("recvmsg").values()), [1])
        more, _ = self.trace(bench, "closed", table.WRONG, ("some",))
        more.pop("socket"), more.pop("openat"), more.pop("recvmsg")
        for name, lines in more.items():
            calls[name].update(lines)
        page, _ = documented()
        print("workers made: " + ", ".join("%s %d" % (name, sum(lines.values())) for name, lines in sorted(calls.items())))
        self.assertLessEqual(set(calls), {name for name, (_, seen) in page.items() if seen} | quick()[0][0])
        for line in [*calls["mmap"], *calls["mprotect"]]:
            self.assertNotIn("PROT_EXEC", line)
        for name in ("memfd_create", "newfstatat"):
            for line in calls[name]:
                if "unfinished" not in line:
                    self.assertIn("MFD_CLOEXEC" if name == "memfd_create" else "AT_EMPTY_PATH", line)


if __name__ == "__main__":
    unittest.main()
