#!/usr/bin/env python3
"""Serves the synthetic demo world on loopback: a GitHub, a VirusTotal and a sandbox in one process; it runs no tool and judges no result.

    python3 demo_world.py --out DIR [--samples N] [--seed S] [--shuffle-labels] [--sandbox cuckoo|cape|both] [--faults FILE] [--no-stdin]

Writes into DIR, which is made where it is missing:
    services.json   last and atomically, mode 0600, when everything answers:
        github_url, virustotal_url (with /api/v3), cuckoo_url (and cape_url with /apiv2 where asked for), repos (path of repos.txt),
        fresh (folder of reports for detect), fresh_truth {file: class or "benign"}, github_token, vt_key, vt_user, cuckoo_token (of this run only),
        key_files {github, vt, cuckoo} (the same secrets, each in a 0600 file, for `@FILE`), counts (what a full run must find), seed,
        shuffled, pid, control {service: URL} (see services/httpd.py)
    repos.txt, fresh/fresh-NN.json, keys/*
and serves until its standard input ends (the parent is gone; --no-stdin turns that off) or until SIGTERM or SIGINT; then it ends with 0.
"""
import argparse
import json
import os
import secrets
import signal
import sys
import threading

sys.dont_write_bytecode = True      # the source tree may be read-only, and is nobody's cache
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from gen import world as worlds  # noqa: E402 (the path must be set first)
from services.cape import Cape  # noqa: E402
from services.cuckoo import Cuckoo  # noqa: E402
from services.github import GitHub  # noqa: E402
from services.virustotal import VirusTotal  # noqa: E402


def write_private(path, text):
    """A 0600 file that appears whole or not at all."""
    temporary = path + ".tmp"
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(temporary, path)


def start_services(world, sandboxes):
    """{name: running service}. Quotas are generous, so that the run is short, but they are real and counted."""
    github = GitHub(token=secrets.token_hex(20), limit=5000)
    for name, files in world.repositories.items():
        github.add(name, files)
    virustotal = VirusTotal(minute=6000, day=20000, month=600000)
    for spec in world.specs:
        virustotal.add(spec)
    services = {"github": github, "virustotal": virustotal}
    quick = {"machines": 8, "pending_seconds": 0.02, "running_seconds": 0.06, "processing_seconds": 0.02}
    if sandboxes in ("cuckoo", "both"):
        services["cuckoo"] = Cuckoo(world.report, token=secrets.token_hex(16), **quick)
    if sandboxes in ("cape", "both"):
        services["cape"] = Cape(world.cape_report, **quick)
    for service in services.values():
        service.start()
    return services


def write_fresh(world, folder):
    os.makedirs(folder, exist_ok=True)
    truth = {}
    for name, cls, data in world.fresh:
        with open(os.path.join(folder, name), "wb") as file:
            file.write(data)
        truth[name] = cls or "benign"
    return truth


def describe(world, services, out):
    """The content of services.json; writes the files it names."""
    answer = {"github_url": services["github"].url, "virustotal_url": services["virustotal"].api, "github_token": services["github"].token,
              "vt_key": services["virustotal"].key, "vt_user": services["virustotal"].user, "repos": os.path.join(out, "repos.txt"), "fresh": os.path.join(out, "fresh"),
              "counts": world.counts(), "seed": world.seed, "shuffled": world.shuffled, "pid": os.getpid(),
              "control": {name: "%s/__control/%s" % (service.url, service.control_token) for name, service in services.items()}}
    if "cuckoo" in services:
        answer.update(cuckoo_url=services["cuckoo"].url, cuckoo_token=services["cuckoo"].token)
    if "cape" in services:
        answer.update(cape_url=services["cape"].api)
    with open(answer["repos"], "w", encoding="utf-8") as file:
        file.write(world.repository_list())
    answer["fresh_truth"] = write_fresh(world, answer["fresh"])
    os.makedirs(os.path.join(out, "keys"), mode=0o700, exist_ok=True)
    answer["key_files"] = {}
    for name, key in (("github", "github_token"), ("vt", "vt_key"), ("cuckoo", "cuckoo_token")):
        if key in answer:
            answer["key_files"][name] = os.path.join(out, "keys", name)
            write_private(answer["key_files"][name], answer[key] + "\n")
    return answer


def main():
    parser = argparse.ArgumentParser(description="Serve the synthetic demo world on loopback.")
    parser.add_argument("--out", required=True, metavar="DIR")
    parser.add_argument("--samples", type=int, default=400, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="S")
    parser.add_argument("--shuffle-labels", action="store_true")
    parser.add_argument("--sandbox", choices=("cuckoo", "cape", "both"), default="cuckoo")
    parser.add_argument("--faults", metavar="FILE", help='JSON: {"github": [fault, ...], "virustotal": [...], "cuckoo": [...], "cape": [...]}')
    parser.add_argument("--no-stdin", action="store_true", help="do not end when standard input ends")
    options = parser.parse_args()
    if options.samples < 40:
        parser.error("--samples must be 40 or more")
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    out = os.path.abspath(options.out)
    os.makedirs(out, exist_ok=True)
    world = worlds.build(options.samples, options.seed, options.shuffle_labels)
    services = start_services(world, options.sandbox)
    if options.faults:
        with open(options.faults, encoding="utf-8") as file:
            for name, faults in json.load(file).items():
                for fault in faults:
                    services[name].fault(**fault)
    write_private(os.path.join(out, "services.json"), json.dumps(describe(world, services, out), indent=2, sort_keys=True) + "\n")
    if not options.no_stdin:
        threading.Thread(target=lambda: (sys.stdin.buffer.read(), done.set()), daemon=True).start()
    done.wait()
    for service in services.values():
        service.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
