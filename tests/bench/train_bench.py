"""Benches of train: sequences a second of our net beside PyTorch at its best setting, and two threads beside one."""
import os
import subprocess

from measure import HERE, Missing, Side, processors, race, tool

PACKAGES = ("python3-torch", "libopenblas0-openmp")
SYSTEM_PYTHON = "/usr/bin/python3"      # python3-torch belongs to Debian's interpreter, whichever runs this
OPENMP_BLAS = "/usr/lib/x86_64-linux-gnu/openblas-openmp"
# A call sequence's last 100 calls have 15.5 different ones on average in Mal-API-2019; 0: drawn from the whole vocabulary.
REALISTIC, UNIFORM = 16, 0


def ours(model, batch, jobs, steps, distinct=REALISTIC):
    return Side(tool("bench_net", model, str(batch), str(jobs), str(steps), str(distinct)), own_clock=True, processors=jobs)


def torch(model, batch, threads, steps):
    """PyTorch as it is fastest on a small machine: OpenBLAS with OpenMP, each thread bound to a processor of its own."""
    environment = {"OMP_NUM_THREADS": str(threads)}
    if os.path.isdir(OPENMP_BLAS):
        environment["LD_LIBRARY_PATH"] = OPENMP_BLAS
    if threads > 1:
        environment.update(OMP_PROC_BIND="true", OMP_PLACES=",".join("{%d}" % number for number in sorted(processors(threads))))
    command = [SYSTEM_PYTHON, "-B", os.path.join(HERE, "peer_torch.py"), model, str(batch), str(threads), str(steps)]
    return Side(command, own_clock=True, processors=threads, environment=environment)


def compare(work, bench, model, plan):
    if not os.path.exists(SYSTEM_PYTHON) or subprocess.run([SYSTEM_PYTHON, "-c", "import torch"], capture_output=True).returncode:
        raise Missing("python3-torch is not installed")
    for batch, threads, steps, distinct in plan:
        case = "batch %d, %d thread%s%s" % (batch, threads, "s" if threads > 1 else "", "" if distinct else ", uniform tokens")
        yield race(work, bench, ours(model, batch, threads, steps, distinct), torch(model, batch, threads, steps), batch, "sequences/s", case, "PyTorch")


def article(work):
    return compare(work, "train.article", "article", ((32, 1, 12, REALISTIC), (32, 2, 12, REALISTIC), (1000, 1, 2, REALISTIC), (1000, 2, 2, REALISTIC),
                                                      (32, 1, 12, UNIFORM)))


def lstm(work):
    return compare(work, "train.lstm", "lstm", ((32, 1, 3, REALISTIC), (32, 2, 3, REALISTIC)))


def jobs(work):
    for batch, steps in ((32, 20), (1000, 2)):
        yield race(work, "train.jobs", ours("article", batch, 2, steps), ours("article", batch, 1, steps), batch, "sequences/s",
                   "article, batch %d" % batch, "ours with one thread")
