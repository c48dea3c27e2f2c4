"""Benches of train: sequences a second of our nets beside PyTorch at its best setting, and two threads beside one.

The sequences are in a file that both sides read. The LSTM starts from the same weights on both sides, and their losses, step by step, have to
agree: else the bench fails.
"""
import array
import collections
import json
import os
import random
import subprocess
import zipfile

from measure import DATA, HERE, Missing, Side, Wrong, processors, race, tool

PACKAGES = ("python3-torch", "libopenblas0-openmp")
SYSTEM_PYTHON = "/usr/bin/python3"      # python3-torch belongs to Debian's interpreter, whichever runs this
OPENMP_BLAS = "/usr/lib/x86_64-linux-gnu/openblas-openmp"
# A call sequence's last 100 calls have 15.5 different ones on average in Mal-API-2019; UNIFORM: every call of the vocabulary as likely.
REALISTIC, UNIFORM = 16, 0
# Every so many-th batch of the real sequences in order of their length: the whole distribution in seconds.
SHARE, SHARE_RUNS, BATCH = 2, 3, 64
VOCABULARY, CLASSES, HIDDEN = {"article": 279, "lstm": 511}, {"article": 2, "lstm": 8}, 128
SAME_LOSS = 2e-3


def write(path, sequences):
    numbers = array.array("i", [len(sequences)])
    for label, tokens in sequences:
        numbers.extend([label, len(tokens)])
        numbers.extend(tokens)
    with open(path, "wb") as file:
        numbers.tofile(file)
    return path


def made(work, model, count, length, distinct=UNIFORM):
    """Sequences of random calls; with `distinct`, of so many different ones each."""
    path = os.path.join(work, "%s-%d-%d-%d.sequences" % (model, count, length, distinct))
    if not os.path.exists(path):
        rng = random.Random("bench/train")
        calls = range(1, VOCABULARY[model] + 1)
        write(path, [(rng.randrange(CLASSES[model]), rng.choices(rng.sample(calls, distinct) if distinct else calls, k=length)) for _ in range(count)])
    return path


def real(work, most):
    """Mal-API-2019's sequences, cut to their first `most` calls, longest first, every SHARE-th batch; names numbered by falling frequency."""
    folder = os.path.join(DATA, "mal-api-2019-subset") if DATA else ""
    if not os.path.isdir(folder):
        raise Missing("MALSEQ_DATA has no mal-api-2019-subset")
    with zipfile.ZipFile(os.path.join(folder, "mal-api-2019.zip")) as archive, archive.open("all_analysis_data.txt") as lines:
        traces = [line.decode("latin-1").split(None, most)[:most] for line in lines]
    with open(os.path.join(folder, "labels.csv"), encoding="latin-1") as file:
        labels = [line.strip() for line in file]
    seen = collections.Counter(name for trace in traces for name in trace)
    number = {name: index + 1 for index, (name, _) in enumerate(seen.most_common(VOCABULARY["lstm"]))}
    classes = sorted(set(labels))
    sequences = [(classes.index(label), [number[name] for name in trace if name in number]) for label, trace in zip(labels, traces)]
    sequences.sort(key=lambda item: -len(item[1]))
    chosen = [item for index, item in enumerate(sequences) if index // BATCH % SHARE == 0]
    return write(os.path.join(work, "real.sequences"), chosen), len(chosen), sum(len(tokens) for _, tokens in chosen)


def ours(model, mode, path, batch, jobs, rounds):
    return Side(tool("bench_net", model, mode, path, str(batch), str(jobs), str(rounds)), own_clock=True, processors=jobs)


def torch(model, mode, path, batch, threads, rounds, weights=None):
    """PyTorch as it is fastest on a small machine: OpenBLAS with OpenMP, each thread bound to a processor of its own."""
    if not os.path.exists(SYSTEM_PYTHON) or subprocess.run([SYSTEM_PYTHON, "-c", "import torch"], capture_output=True).returncode:
        raise Missing("python3-torch is not installed")
    environment = {"OMP_NUM_THREADS": str(threads)}
    if os.path.isdir(OPENMP_BLAS):
        environment["LD_LIBRARY_PATH"] = OPENMP_BLAS
    if threads > 1:
        environment.update(OMP_PROC_BIND="true", OMP_PLACES=",".join("{%d}" % number for number in sorted(processors(threads))))
    words = [model, mode, path, str(batch), str(threads), str(rounds)] + ([weights] if weights else [])
    return Side([SYSTEM_PYTHON, "-B", os.path.join(HERE, "peer_torch.py"), *words], own_clock=True, processors=threads, environment=environment)


def said(side):
    result = subprocess.run(side.command, capture_output=True, env=dict(os.environ, **(side.environment or {})), timeout=300)
    if result.returncode:
        raise Wrong("%s ended with %d: %s" % (side.command[0], result.returncode, result.stderr.decode(errors="replace")[-300:]))
    return json.loads(result.stdout)


def same_losses(mine, peer):
    """What to say of the losses, step by step, of the two sides' last runs."""
    pairs = list(zip(mine.said["losses"], peer.said["losses"]))
    worst = max(abs(a - b) for a, b in pairs)
    if worst > SAME_LOSS:
        raise Wrong("the losses differ: %s" % pairs)
    return "losses of %d steps from %.3f to %.3f differ by %.1g at most" % (len(pairs), pairs[0][0], pairs[-1][0], worst)


def peak_share(seconds, steps):
    """How much of the speed of a large product, measured now, the recurrent products of a round alone (three a step and direction) reach."""
    peak = said(Side(tool("bench_net", "peak")))["gflops"]
    return "%.0f %% of the %.0f GFLOP/s of a large sgemm" % (100 * steps * 2 * 3 * 2 * HIDDEN * 4 * HIDDEN / seconds / 1e9 / peak, peak)


def article(work):
    for count, threads, rounds, distinct in ((32, 1, 12, REALISTIC), (32, 2, 12, REALISTIC), (1000, 1, 2, REALISTIC), (1000, 2, 2, REALISTIC),
                                             (32, 1, 12, UNIFORM)):
        path = made(work, "article", count, 100, distinct)
        words = ("article", "train", path, count, threads, rounds)
        case = "batch %d, %d thread%s%s" % (count, threads, "s" if threads > 1 else "", "" if distinct else ", every call as likely")
        yield race(work, "train.article", ours(*words), torch(*words), count, "sequences/s", case, "PyTorch")


def weights_of(work):
    path = os.path.join(work, "weights")
    subprocess.run(tool("bench_net", "lstm", "weights", path), check=True)
    return path


def like_torch(work, bench, case, path, batch, rounds, count, against, **more):
    """Both with one thread, and both with two; the same losses, or it fails."""
    weights = weights_of(work)
    for threads in (1, 2):
        words = ("lstm", "train", path, batch, threads, rounds)
        mine, peer = ours(*words), torch(*words, weights)
        line = race(work, bench, mine, peer, count, "sequences/s", "%s, %d thread%s" % (case, threads, "s" if threads > 1 else ""), against, **more)
        yield dict(line, note=same_losses(mine, peer))


def lstm(work):
    for line in like_torch(work, "train.lstm", "batch 64", made(work, "lstm", 64, 400), 64, 3, 64, "PyTorch"):
        if "1 thread" in line["case"]:
            line["note"] += "; " + peak_share(64 / line["ours"], 64 * 400)
        yield line


def sequences(work):
    """Real sequences: both sides take the batches longest first. Of PyTorch's steps 5 % are padding: packed they would take minutes."""
    path, count, calls = real(work, 1000)
    case = "Mal-API-2019 cut to 1,000 calls, every second batch by length (%d calls)" % calls
    yield from like_torch(work, "train.sequences", case, path, BATCH, 1, count, "PyTorch, sorted by length", runs=SHARE_RUNS)


def predict(work):
    """As like_torch: of PyTorch's single processes the one with two threads is the fastest."""
    for count, threads, rounds in ((64, 1, 5), (64, 2, 5), (1, 1, 30)):
        path = made(work, "lstm", count, 400)
        words = ("lstm", "predict", path, count, threads, rounds)
        case = "LSTM, batch %d, 400 calls, %d thread%s" % (count, threads, "s" if threads > 1 else "")
        line = race(work, "train.predict", ours(*words), torch(*words), count, "sequences/s", case, "PyTorch")
        if count == 1:
            line["note"] = "%.2f ms a sequence; the bound is 4" % (1e3 / line["ours"])
        yield line


def jobs(work):
    for model, batch, length, rounds in (("article", 32, 100, 20), ("article", 1000, 100, 2), ("lstm", 64, 400, 3)):
        path = made(work, model, batch, length, REALISTIC if model == "article" else UNIFORM)
        yield race(work, "train.jobs", ours(model, "train", path, batch, 2, rounds), ours(model, "train", path, batch, 1, rounds), batch, "sequences/s",
                   "%s, batch %d" % (model, batch), "ours with one thread")
