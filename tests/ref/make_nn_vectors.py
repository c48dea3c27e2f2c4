#!/usr/bin/env python3
"""Writes nn_vectors.bin, the reference numbers of the net's tests, with PyTorch in float64 (Debian: python3-torch).

It shares no code with the net: cells with softsign are written out by hand and differentiated by autograd, those
with tanh are the functions behind torch.nn.LSTM and torch.nn.GRU over packed sequences. The shapes are repeated in tests/unit/nn_vectors.h; the parameters are
drawn here and stored. Run it only to make new vectors: make_nn_vectors.py [OUTPUT].

Format, little-endian: "MSNV1\\n", then records: u16 length of the name, name, u32 count, count doubles. Names are
CASE/WHAT; parameters lie in the order of the net's tensor table."""
import os
import struct
import sys

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)


def tensors(shapes, generator):
    return [(0.5 * torch.randn(*shape, generator=generator)).requires_grad_() for shape in shapes]


def flat(list_of_tensors):
    return torch.cat([t.detach().reshape(-1) for t in list_of_tensors])


def softsign_lstm(x, kernel, recurrent, bias):
    """x: rows x steps x in -> rows x steps x H; gates i f g o; sigmoid gates, softsign elsewhere."""
    hidden = recurrent.shape[0]
    h = x.new_zeros(x.shape[0], hidden)
    c = x.new_zeros(x.shape[0], hidden)
    outputs = []
    for t in range(x.shape[1]):
        z = x[:, t] @ kernel + h @ recurrent + bias
        i, f, g, o = z.split(hidden, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * F.softsign(g)
        h = torch.sigmoid(o) * F.softsign(c)
        outputs.append(h)
    return torch.stack(outputs, dim=1)


def torch_lstm(x, lengths, sides):
    """torch.nn.LSTM's function on packed sequences; sides: one or two (kernel, recurrent, bias)."""
    weights = []
    for kernel, recurrent, bias in sides:
        weights += [kernel.t(), recurrent.t(), bias, torch.zeros_like(bias)]
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    hidden = sides[0][1].shape[0]
    state = x.new_zeros(len(sides), x.shape[0], hidden)
    data, h, _ = torch._VF.lstm(packed.data, packed.batch_sizes, (state, state), weights, True, 1, 0.0, False,
                                len(sides) == 2)
    out = torch.nn.utils.rnn.PackedSequence(data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)
    padded, _ = torch.nn.utils.rnn.pad_packed_sequence(out, batch_first=True)
    last = h[:, packed.unsorted_indices] if packed.unsorted_indices is not None else h
    return padded, torch.cat(list(last), dim=1)


def softsign_gru(x, kernel, recurrent, bias):
    """x: rows x steps x in -> rows x steps x H; gates z r n; bias: the input's and the recurrent one."""
    hidden = recurrent.shape[0]
    h = x.new_zeros(x.shape[0], hidden)
    outputs = []
    for t in range(x.shape[1]):
        xz, xr, xn = (x[:, t] @ kernel + bias[0]).split(hidden, dim=1)
        hz, hr, hn = (h @ recurrent + bias[1]).split(hidden, dim=1)
        z = torch.sigmoid(xz + hz)
        h = (1 - z) * F.softsign(xn + torch.sigmoid(xr + hr) * hn) + z * h
        outputs.append(h)
    return torch.stack(outputs, dim=1)


def torch_gru(x, lengths, sides):
    """torch.nn.GRU's function on packed sequences; its gates are r z n, those of `sides` z r n."""
    def order(w):
        z, r, n = w.chunk(3, dim=-1)
        return torch.cat([r, z, n], dim=-1)
    weights = []
    for kernel, recurrent, bias in sides:
        weights += [order(kernel).t(), order(recurrent).t(), order(bias[0]), order(bias[1])]
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    state = x.new_zeros(len(sides), x.shape[0], sides[0][1].shape[0])
    data, h = torch._VF.gru(packed.data, packed.batch_sizes, state, weights, True, 1, 0.0, False, len(sides) == 2)
    out = torch.nn.utils.rnn.PackedSequence(data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)
    padded, _ = torch.nn.utils.rnn.pad_packed_sequence(out, batch_first=True)
    return padded, torch.cat(list(h[:, packed.unsorted_indices]), dim=1)


def attention(features, lengths, kernel, bias, vector):
    """Softmax over each sequence's own steps of vector . tanh(h W + b)."""
    mask = torch.arange(features.shape[1])[None, :] < lengths[:, None]
    scores = (torch.tanh(features @ kernel + bias) @ vector)[:, :, 0].masked_fill(~mask, float("-inf"))
    return (torch.softmax(scores, dim=1)[:, :, None] * features).sum(1)


def pooled(features, last, lengths, how):
    mask = (torch.arange(features.shape[1])[None, :] < lengths[:, None])[:, :, None]
    mean = (features * mask).sum(1) / lengths[:, None]
    largest = features.masked_fill(~mask, -1e30).max(dim=1).values
    parts = {"last": [last], "mean": [mean], "max": [largest], "all": [mean, largest, last]}
    return torch.cat(parts[how], dim=1)


class Case:
    undecayed = ()  # numbers of tensors of two dimensions that weight decay leaves alone
    feature_sizes = ()
    wide_size = 0

    def draw(self, sequences, generator):
        """Ids of the feature tables, -1 for none, and dense vectors of the wide branch, mostly zeros."""
        self.features = [[[int(torch.randint(-1, size, (1,), generator=generator)) for size in self.feature_sizes]
                          for _ in s] for s in sequences]
        wide = torch.randn(len(sequences), self.wide_size, generator=generator).float().double()
        self.wide = wide * (torch.rand(len(sequences), self.wide_size, generator=generator) < 0.4)

    def embedded(self, p, sequences):
        """Token embedding (the first tensor) plus the rows of the feature tables (those behind it)."""
        x = p[0][self.ids(sequences)]
        longest = x.shape[1]
        for f, size in enumerate(self.feature_sizes):
            table = torch.cat([p[1 + f], torch.zeros(1, p[1 + f].shape[1])])
            ids = [[step[f] if step[f] >= 0 else size for step in row] + [size] * (longest - len(row))
                   for row in self.features]
            x = x + table[torch.tensor(ids)]
        return x

    def batch(self, generator):
        raise NotImplementedError

    def ids(self, sequences):
        longest = max(len(s) for s in sequences)
        return torch.tensor([s + [0] * (longest - len(s)) for s in sequences])

    def ragged(self, lengths, vocabulary, generator):
        return [torch.randint(1, vocabulary, (n,), generator=generator).tolist() for n in lengths]


class Article(Case):
    """Three softsign LSTMs over front-padded sequences without masking, softsign dense stack, linear output, mse."""
    name = "article"
    shapes = [(12, 6)] + [s for i in (6, 4, 4) for s in ((i, 16), (4, 16), (16,))] + [
        (4, 5), (5,), (5, 6), (6,), (6, 5), (5,), (5, 1), (1,)]
    labels = [0, 1, 1, 0, 1]

    def batch(self, g):
        return self.ragged([7, 3, 5, 1, 6], 12, g)

    def logits(self, p, sequences):
        x = p[0][torch.tensor([[0] * (7 - len(s)) + s for s in sequences])]
        for layer in range(3):
            x = softsign_lstm(x, *p[1 + 3 * layer:4 + 3 * layer])
        y = x[:, -1]
        for layer in range(3):
            y = F.softsign(y @ p[10 + 2 * layer] + p[11 + 2 * layer])
        return y @ p[16] + p[17]

    def loss(self, logits):
        return F.mse_loss(logits[:, 0], torch.tensor(self.labels, dtype=torch.float64))

    def outputs(self, logits):
        return logits


class BiLstm(Case):
    """Ragged tanh bi-LSTM, mean+max+last pooling, relu dense, softmax with smoothing and class weights."""
    name = "bilstm"
    shapes = [(9, 5)] + 2 * [(5, 16), (4, 16), (16,)] + [(24, 6), (6,), (6, 3), (3,)]
    labels = [0, 2, 1, 1, 0, 2]
    weights = [1.0, 2.0, 0.5]

    def batch(self, g):
        return self.ragged([4, 8, 1, 6, 8, 2], 9, g)

    def logits(self, p, sequences):
        lengths = torch.tensor([len(s) for s in sequences])
        features, last = torch_lstm(p[0][self.ids(sequences)], lengths, [p[1:4], p[4:7]])
        y = F.relu(pooled(features, last, lengths, "all") @ p[7] + p[8])
        return y @ p[9] + p[10]

    def loss(self, logits):
        target = 0.9 * F.one_hot(torch.tensor(self.labels), 3) + 0.1 / 3
        rows = -(target * F.log_softmax(logits, dim=1)).sum(1)
        return (rows * torch.tensor(self.weights)[self.labels]).mean()

    def outputs(self, logits):
        return torch.softmax(logits, dim=1)


class Stack(Case):
    """Two ragged tanh layers, the second in both directions, largest value pooled, sigmoid head with smoothing."""
    name = "stack"
    shapes = [(8, 4), (4, 12), (3, 12), (12,)] + 2 * [(3, 8), (2, 8), (8,)] + [(4, 3), (3,), (3, 1), (1,)]
    labels = [1, 0, 0, 1]

    def batch(self, g):
        return self.ragged([3, 9, 5, 9], 8, g)

    def logits(self, p, sequences):
        lengths = torch.tensor([len(s) for s in sequences])
        x, _ = torch_lstm(p[0][self.ids(sequences)], lengths, [p[1:4]])
        x, last = torch_lstm(x, lengths, [p[4:7], p[7:10]])
        y = torch.tanh(pooled(x, last, lengths, "max") @ p[10] + p[11])
        return y @ p[12] + p[13]

    def loss(self, logits):
        target = 0.8 * torch.tensor(self.labels, dtype=torch.float64) + 0.1
        return F.binary_cross_entropy_with_logits(logits[:, 0], target)

    def outputs(self, logits):
        return torch.sigmoid(logits)


class Plain(Case):
    """No recurrence: embedding, mean, dense, softmax."""
    name = "plain"
    shapes = [(10, 4), (4, 5), (5,), (5, 4), (4,)]
    labels = [3, 0, 1, 2, 2]

    def batch(self, g):
        return self.ragged([2, 5, 4, 7, 1], 10, g)

    def logits(self, p, sequences):
        lengths = torch.tensor([len(s) for s in sequences])
        y = torch.tanh(pooled(p[0][self.ids(sequences)], None, lengths, "mean") @ p[1] + p[2])
        return y @ p[3] + p[4]

    def loss(self, logits):
        return F.cross_entropy(logits, torch.tensor(self.labels))

    def outputs(self, logits):
        return torch.softmax(logits, dim=1)


class Gru(Case):
    """Two ragged tanh GRU layers, the second in both directions, mean pooled, softmax."""
    name = "gru"
    shapes = [(9, 4), (4, 9), (3, 9), (2, 9)] + 2 * [(3, 9), (3, 9), (2, 9)] + [(6, 3), (3,)]
    undecayed = (3, 6, 9)
    labels = [0, 2, 1, 1, 0]

    def batch(self, g):
        return self.ragged([4, 7, 1, 6, 2], 9, g)

    def logits(self, p, sequences):
        lengths = torch.tensor([len(s) for s in sequences])
        x, _ = torch_gru(p[0][self.ids(sequences)], lengths, [p[1:4]])
        x, last = torch_gru(x, lengths, [p[4:7], p[7:10]])
        return pooled(x, last, lengths, "mean") @ p[10] + p[11]

    def loss(self, logits):
        return F.cross_entropy(logits, torch.tensor(self.labels))

    def outputs(self, logits):
        return torch.softmax(logits, dim=1)


class SoftsignGru(Case):
    """One softsign GRU over front-padded sequences without masking, last state, linear output, mse."""
    name = "softgru"
    shapes = [(8, 4), (4, 12), (4, 12), (2, 12), (4, 1), (1,)]
    undecayed = (3,)
    labels = [0, 1, 1, 0]

    def batch(self, g):
        return self.ragged([6, 3, 5, 1], 8, g)

    def logits(self, p, sequences):
        x = p[0][torch.tensor([[0] * (6 - len(s)) + s for s in sequences])]
        return softsign_gru(x, *p[1:4])[:, -1] @ p[4] + p[5]

    def loss(self, logits):
        return F.mse_loss(logits[:, 0], torch.tensor(self.labels, dtype=torch.float64))

    def outputs(self, logits):
        return logits


class Features(Case):
    """Two feature tables, ragged bi-LSTM, attention, sigmoid head."""
    name = "features"
    feature_sizes = (3, 5)
    shapes = [(7, 4), (3, 4), (5, 4)] + 2 * [(4, 12), (3, 12), (12,)] + [(6, 4), (4,), (4, 1), (6, 1), (1,)]
    labels = [1, 0, 0, 1, 1]

    def batch(self, g):
        return self.ragged([3, 8, 5, 1, 6], 7, g)

    def logits(self, p, sequences):
        lengths = torch.tensor([len(s) for s in sequences])
        x, _ = torch_lstm(self.embedded(p, sequences), lengths, [p[3:6], p[6:9]])
        return attention(x, lengths, *p[9:12]) @ p[12] + p[13]

    def loss(self, logits):
        return F.binary_cross_entropy_with_logits(logits[:, 0], torch.tensor(self.labels, dtype=torch.float64))

    def outputs(self, logits):
        return torch.sigmoid(logits)


class Wide(Case):
    """No recurrence: largest of the embedding, a relu wide branch beside it, dense, softmax."""
    name = "wide"
    wide_size = 14
    shapes = [(8, 3), (14, 4), (4,), (7, 5), (5,), (5, 3), (3,)]
    undecayed = (1,)
    labels = [2, 0, 1, 1, 2, 0]

    def batch(self, g):
        return self.ragged([2, 5, 4, 7, 1, 3], 8, g)

    def logits(self, p, sequences):
        lengths = torch.tensor([len(s) for s in sequences])
        y = pooled(p[0][self.ids(sequences)], None, lengths, "max")
        y = torch.cat([y, F.relu(self.wide @ p[1] + p[2])], dim=1)
        return torch.tanh(y @ p[3] + p[4]) @ p[5] + p[6]

    def loss(self, logits):
        return F.cross_entropy(logits, torch.tensor(self.labels))

    def outputs(self, logits):
        return torch.softmax(logits, dim=1)


class Every(Case):
    """A feature table, ragged bi-GRU, attention, tanh wide branch, dense, softmax with smoothing and class weights."""
    name = "every"
    feature_sizes = (4,)
    wide_size = 10
    shapes = [(9, 4), (4, 4), (10, 3)] + 2 * [(4, 9), (3, 9), (2, 9)] + [(6, 3), (3,), (3, 1), (3,), (9, 4), (4,),
                                                                            (4, 3), (3,)]
    undecayed = (2, 5, 8)
    labels = [0, 2, 1, 1, 0, 2]
    weights = [1.0, 2.0, 0.5]

    def batch(self, g):
        return self.ragged([4, 8, 1, 6, 8, 2], 9, g)

    def logits(self, p, sequences):
        lengths = torch.tensor([len(s) for s in sequences])
        x, _ = torch_gru(self.embedded(p, sequences), lengths, [p[3:6], p[6:9]])
        y = torch.cat([attention(x, lengths, *p[9:12]), torch.tanh(self.wide @ p[2] + p[12])], dim=1)
        return torch.tanh(y @ p[13] + p[14]) @ p[15] + p[16]

    loss = BiLstm.loss
    outputs = BiLstm.outputs


RATES = [0.01, 0.02, 0.005, 0.01, 0.01, 0.01, 0.005, 0.005, 0.002, 0.002]


def clip(parameters, most):
    norm = torch.sqrt(sum((p.grad ** 2).sum() for p in parameters))
    if norm > most:
        for p in parameters:
            p.grad.mul_(most / norm)


def optimised(case, start, sequences, kind):
    """Parameters after len(RATES) steps on the same batch."""
    p = [t.detach().clone().requires_grad_() for t in start]
    squares = [torch.zeros_like(t) for t in p]
    kernels = [t for i, t in enumerate(p) if t.dim() == 2 and i not in case.undecayed]
    biases = [t for i, t in enumerate(p) if t.dim() == 1 or i in case.undecayed]
    if kind == "adam":
        optimiser = torch.optim.Adam(p, betas=(0.9, 0.999), eps=1e-8)
    elif kind == "adamw":
        optimiser = torch.optim.AdamW([{"params": kernels, "weight_decay": 0.05},
                                       {"params": biases, "weight_decay": 0.0}], betas=(0.8, 0.99), eps=1e-6)
    for rate in RATES:
        for t in p:
            t.grad = None
        case.loss(case.logits(p, sequences)).backward()
        for t in p:
            if t.grad is None:
                t.grad = torch.zeros_like(t)
        if kind == "rmsprop":  # Keras 2: epsilon outside the root
            with torch.no_grad():
                for t, v in zip(p, squares):
                    v.mul_(0.9).add_(0.1 * t.grad ** 2)
                    t.sub_(rate * t.grad / (v.sqrt() + 1e-7))
            continue
        if kind == "adamw":
            clip(p, 0.05)
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.step()
    return flat(p)


def main():
    default = os.path.join(os.path.dirname(os.path.abspath(__file__)), "nn_vectors.bin")
    records = []
    for number, case in enumerate((Article(), BiLstm(), Stack(), Plain(), Gru(), SoftsignGru(), Features(), Wide(),
                                   Every())):
        g = torch.Generator().manual_seed(1000 + number)
        p = tensors(case.shapes, g)
        sequences = case.batch(g)
        case.draw(sequences, g)
        logits = case.logits(p, sequences)
        loss = case.loss(logits)
        loss.backward()
        records += [
            ("params", flat(p)),
            ("lengths", torch.tensor([float(len(s)) for s in sequences])),
            ("tokens", torch.tensor([float(x) for s in sequences for x in s])),
            ("labels", torch.tensor(case.labels, dtype=torch.float64)),
            ("features", torch.tensor([float(x) for row in case.features for step in row for x in step])),
            ("wide", case.wide.reshape(-1)),
            ("loss", loss.detach().reshape(1)),
            ("outputs", case.outputs(logits.detach()).reshape(-1)),
            ("grads", flat([t.grad for t in p])),
        ]
        records += [(kind, optimised(case, p, sequences, kind)) for kind in ("rmsprop", "adam", "adamw")]
        records = [(n if "/" in n else case.name + "/" + n, t) for n, t in records]
    with open(sys.argv[1] if len(sys.argv) > 1 else default, "wb") as out:
        out.write(b"MSNV1\n")
        for name, values in records:
            out.write(struct.pack("<H", len(name)) + name.encode() + struct.pack("<I", values.numel()))
            out.write(struct.pack("<%dd" % values.numel(), *values.tolist()))


if __name__ == "__main__":
    main()
