"""Runs one test with all of our programs under valgrind, and fails when valgrind found something in any process of it: a worker
that ends badly may be what the test expects, and nobody would see why. Decides nothing of what is tested.

usage: under.py PROGRAM | under.py PYTHON -B SCRIPT [ONLY…], with $MALSEQ_BIN the folder of the programs for a script."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
# Programs of ours exec each other; what is not ours is not looked at. Leaks: memory that nothing points to any more.
OPTIONS = ["-q", "--trace-children=yes", "--trace-children-skip=/usr/*,/bin/*,/sbin/*,*/python*", "--vgdb=no", "--error-limit=no", "--num-callers=30",
           "--leak-check=full", "--show-leak-kinds=definite", "--errors-for-leak-kinds=definite", "--gen-suppressions=all",
           "--suppressions=" + os.path.join(HERE, "known.supp")]
# These stand in for the C library's allocator; memcheck would put its own in the place of theirs.
OWN_ALLOCATOR = ("test_nn_fault", "test_inputs_fault", "test_detect_host")
# Forks from a thread: what only the other threads' stacks point to is lost in the child, which is not where it would be freed.
FORKS_FROM_THREADS = ("test_label_nights",)
# What valgrind says of itself and not of the program.
TALK = re.compile(r"^(==\d+== *$|--\d+-- WARNING: unhandled amd64-linux syscall|--\d+-- You may be able|--\d+-- Nevertheless|--\d+-- Read the file|--\d+-- it at http|$"
                  r"|==\d+== Warning: invalid file descriptor \d+ in syscall|==\d+== Warning: set address range perms"
                  r"|==\d+== (Process terminating with|at 0x|by 0x|  )|\*\*\d+\*\* )")

# The end of a worker that a test asked to die so: known.supp has the write itself.
ASKED_TO_DIE = re.compile(r"==\d+== Process terminating with default action of signal 11 \(SIGSEGV\)\n==\d+==  Access not within mapped region at address 0x0\n"
                          r"==\d+==    at \S+ die_of .*?stack size used in this run[^\n]*\n", re.DOTALL)


def findings(logs):
    """What the logs say, less what valgrind says of itself."""
    found = []
    for name in sorted(os.listdir(logs)):
        with open(os.path.join(logs, name), errors="replace") as file:
            text = ASKED_TO_DIE.sub("", file.read())
        if any(not TALK.match(line) for line in text.splitlines()):
            found.append("---- %s\n%s" % (name, text))
    return found


def wrap(programs, folder, options):
    """A folder with a script for each program that execs valgrind on it."""
    for name in sorted(os.listdir(programs)):
        path = os.path.join(programs, name)
        if name.startswith("test") or not os.access(path, os.X_OK) or os.path.isdir(path):
            continue
        with open(os.path.join(folder, name), "w") as file:
            # What only a register pointed to when a test killed the program is no leak.
            words = " ".join("'%s'" % option for option in options)
            file.write('#!/bin/sh\nexec %s %s ${MALSEQ_TEST_KILL:+--leak-check=no} %s "$@"\n' % (shutil.which("valgrind"), words, path))
        os.chmod(file.name, 0o755)


def main():
    command = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        logs, wrapped = os.path.join(folder, "logs"), os.path.join(folder, "bin")
        os.mkdir(logs)
        os.mkdir(wrapped)
        os.chmod(logs, 0o777)
        options = OPTIONS + ["--log-file=%s/%%p" % logs]
        environment = dict(os.environ)
        if os.path.basename(command[0]).startswith("test"):
            if os.path.basename(command[0]) in OWN_ALLOCATOR:
                options.append("--soname-synonyms=somalloc=nouserintercepts")
            if os.path.basename(command[0]) in FORKS_FROM_THREADS:
                options.append("--leak-check=no")
            command = ["valgrind", *options, *command]
        else:
            wrap(environment["MALSEQ_BIN"], wrapped, options)
            environment["MALSEQ_BIN"] = wrapped
            environment["MALSEQ_TEST_HURRY"] = "20"     # a command alone takes seconds
            environment["MALSEQ_TEST_VALGRIND"] = "1"   # some tests are about what valgrind does itself
            environment["PYTHONPATH"] = os.pathsep.join([HERE, environment["PYTHONPATH"]])
        code = subprocess.run(command, env=environment).returncode
        processes = len(os.listdir(logs))
        found = findings(logs)
        keep = os.environ.get("MALSEQ_VALGRIND_KEEP")
        if keep:
            shutil.copytree(logs, keep, dirs_exist_ok=True)
    print("valgrind: %d programs, %d with findings" % (processes, len(found)))
    print("\n".join(found)[:200000])
    if not processes and not code:
        print("valgrind: nothing ran under it")     # ctest calls such a test skipped
    return code or (1 if found else 0)


if __name__ == "__main__":
    sys.exit(main())
