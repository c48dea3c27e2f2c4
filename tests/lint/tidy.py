"""Asks clang-tidy about the C files, by .clang-tidy. Plain: the checks that are cheap, over all files (in ./run test). --deep: the
path analysis too, minutes a hundred files; a file that it found clean is asked again only when its preprocessed text, .clang-tidy
or clang-tidy itself has changed (build/tidy holds what was clean). It mends nothing.

usage: tidy.py BUILD-FOLDER [--deep] [FILE…]; ends with 1 when there are warnings."""
import hashlib
import json
import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
# Not of the dear checks: a file of ours takes clang-analyzer three seconds, all the others together a tenth of one.
CHEAP = "--checks=-clang-analyzer-*"
BATCH = 8


def units(build):
    """Source to its compile command, for the files of the product that this build has. Not the tests: cmocka's macros."""
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        commands = json.load(file)
    found = {}
    for one in commands:
        name = os.path.relpath(os.path.realpath(os.path.join(one["directory"], one["file"])), os.path.realpath(ROOT))
        if name.endswith(".c") and not name.startswith(("..", "build", "tests")):
            found.setdefault(name, one)     # one compiled twice is asked about once
    return found


def tidy(build, names, *options):
    """clang-tidy on files: what it said, empty when clean."""
    result = subprocess.run(["clang-tidy", "-p", build, "--quiet", *options, *names], cwd=ROOT, capture_output=True, text=True)
    return result.stdout + (result.stderr[-2000:] if result.returncode and not result.stdout.strip() else "")


def stamp(name, unit, settings):
    """What the answer about a file hangs on."""
    words = [word for word in shlex.split(unit["command"]) if word != "-c"]
    if "-o" in words:
        at = words.index("-o")
        del words[at:at + 2]
    if os.path.basename(words[0]) == "ccache":
        del words[0]
    text = subprocess.run([*words, "-E", "-P"], cwd=unit["directory"], capture_output=True).stdout
    with open(os.path.join(ROOT, name), "rb") as file:     # NOLINT comments
        return hashlib.sha256(settings + text + file.read()).hexdigest() if text else None


def deep(build, found, names):
    folder = os.path.join(ROOT, "build", "tidy")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(ROOT, ".clang-tidy"), "rb") as file:
        settings = file.read() + subprocess.run(["clang-tidy", "--version"], capture_output=True, check=True).stdout
    known = set(os.listdir(folder))

    def ask(name):
        key = stamp(name, found[name], settings)
        if key in known:
            return ""
        said = tidy(build, [name])
        if key and not said:
            with open(os.path.join(folder, key), "w"):
                pass
        return said
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for said in pool.map(ask, names):
            yield said


def cheap(build, names):
    """In batches, so that starting it is not most of the time."""
    batches = [names[i:i + BATCH] for i in range(0, len(names), BATCH)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for said in pool.map(lambda batch: tidy(build, batch, CHEAP), batches):
            yield said


def main(arguments):
    build, wanted = arguments[0], [word for word in arguments[1:] if word != "--deep"]
    found = units(build)
    names = wanted or sorted(found)
    warnings = 0
    for said in deep(build, found, names) if "--deep" in arguments else cheap(build, names):
        if said:
            print(said.replace(ROOT + "/", ""), end="", flush=True)
            warnings += 1
    print("clang-tidy: %d files asked about" % len(names))
    return 1 if warnings or len(names) == 0 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
