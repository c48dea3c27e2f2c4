"""Peer of the bench: rounds of training or prediction of the same nets in PyTorch. Prints the median round's seconds as JSON.

    peer_torch.py article|lstm train|predict FILE BATCH THREADS ROUNDS [WEIGHTS]

FILE as net_bench.c reads it. With WEIGHTS (lstm) it starts from our initial parameters, and only one of PyTorch's two biases is trained: so
the losses of all steps must be ours. The article's LSTM has tanh here where the article has softsign, and no recurrent dropout, for PyTorch
has neither: both make it faster, not slower.
"""
import array
import json
import statistics
import sys
import time

import torch

model, mode, path, batch, threads, rounds = sys.argv[1], sys.argv[2], sys.argv[3], *map(int, sys.argv[4:7])
torch.set_num_threads(threads)
torch.set_flush_denormal(True)
torch.manual_seed(7)
nn = torch.nn


class Article(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.channels, self.between = nn.Embedding(800, 300), nn.Dropout2d(.1), nn.Dropout(.1)
        self.layers = nn.ModuleList([nn.LSTM(300, 32, batch_first=True), nn.LSTM(32, 32, batch_first=True), nn.LSTM(32, 32, batch_first=True)])
        dense = []
        for inputs, units in ((32, 128), (128, 256), (256, 128)):
            dense += [nn.Linear(inputs, units), nn.Softsign(), nn.Dropout(.1)]
        self.head = nn.Sequential(*dense, nn.Linear(128, 1))

    def forward(self, tokens, lengths):
        x = self.embedding(tokens)
        x = self.channels(x.transpose(1, 2).unsqueeze(2)).squeeze(2).transpose(1, 2)
        for layer in self.layers:
            x, _ = layer(self.between(x))
        return self.head(x[:, -1]).squeeze(1)

    def loss(self, tokens, lengths, labels):
        return nn.functional.mse_loss(self(tokens, lengths), labels.float())


class Lstm(nn.Module):
    """Of sequences of different lengths each direction goes by itself over padded ones, the second over them turned round, and their ends are
    picked. Packed sequences would be the same net: but then the backward pass fills and adds a tensor of the whole batch for every step."""

    def __init__(self):
        super().__init__()
        self.embedding, self.layer, self.head = nn.Embedding(512, 128), nn.LSTM(128, 128, bidirectional=True), nn.Linear(256, 8)

    def forward(self, tokens, lengths):
        if lengths is None:
            ends = self.layer(self.embedding(tokens[0]))[1][0]
        else:
            start, which = torch.zeros(1, len(lengths), 128), torch.arange(len(lengths))
            ends = [torch._VF.lstm(self.embedding(x), (start, start), weights, True, 1, 0., self.training, False, False)[0][lengths - 1, which]
                    for x, weights in zip(tokens, self.layer.all_weights)]
        return self.head(torch.cat([ends[0], ends[1]], 1))

    def loss(self, tokens, lengths, labels):
        return nn.functional.cross_entropy(self(tokens, lengths), labels)

    def take(self, path):
        with open(path, "rb") as file:
            block = torch.frombuffer(bytearray(file.read()), dtype=torch.float32)
        at = 0

        def piece(rows, columns):
            nonlocal at
            at += rows * columns
            return block[at - rows * columns:at].view(rows, columns)
        with torch.no_grad():
            self.embedding.weight.copy_(piece(512, 128))
            for suffix in ("l0", "l0_reverse"):
                getattr(self.layer, "weight_ih_" + suffix).copy_(piece(128, 512).t())
                getattr(self.layer, "weight_hh_" + suffix).copy_(piece(128, 512).t())
                getattr(self.layer, "bias_ih_" + suffix).copy_(piece(1, 512)[0])
                unused = getattr(self.layer, "bias_hh_" + suffix)
                unused.zero_()
                unused.requires_grad = False
            self.head.weight.copy_(piece(256, 8).t())
            self.head.bias.copy_(piece(1, 8)[0])


def batches():
    """Tensors of each batch, longest first; for the LSTM forwards and backwards. Lengths only where they differ: picking the ends costs time."""
    numbers = array.array("i")
    with open(path, "rb") as file:
        numbers.frombytes(file.read())
    sequences, at = [], 1
    for _ in range(numbers[0]):
        label, length = numbers[at:at + 2]
        sequences.append((label, numbers[at + 2:at + 2 + length]))
        at += 2 + length
    for index in range(0, len(sequences), batch):
        chosen = sorted(sequences[index:index + batch], key=lambda item: -len(item[1]))
        lengths = [len(tokens) for _, tokens in chosen]
        padded = torch.zeros((2, len(chosen), lengths[0]), dtype=torch.long)
        for row, (_, tokens) in enumerate(chosen):
            padded[0, row, :len(tokens)] = torch.tensor(list(tokens))
            padded[1, row, :len(tokens)] = torch.tensor(list(tokens)).flip(0)
        tokens = padded[0] if model == "article" else padded.transpose(1, 2).contiguous()
        yield tokens, torch.tensor(lengths) if lengths[0] != lengths[-1] else None, torch.tensor([label for label, _ in chosen])


net = Article() if model == "article" else Lstm()
if len(sys.argv) > 7:
    net.take(sys.argv[7])
optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=1e-3, betas=(.9, .999), eps=1e-7)
data = list(batches())
losses = []


def train_batch(tokens, lengths, labels):
    optimizer.zero_grad(set_to_none=True)
    loss = net.loss(tokens, lengths, labels)
    loss.backward()
    optimizer.step()
    losses.append(float(loss))


def predict_batch(tokens, lengths, labels):
    with torch.inference_mode():
        net(tokens, lengths)


net.train(mode == "train")
one = train_batch if mode == "train" else predict_batch
one(*data[0])       # the first batch goes before all rounds, once, uncounted: it allocates
taken, cpu = [], []
for _ in range(rounds):
    begun, before = time.perf_counter(), time.process_time()
    for item in data:
        one(*item)
    taken.append(time.perf_counter() - begun)
    cpu.append(time.process_time() - before)
print(json.dumps({"seconds": statistics.median(taken), "cpu_seconds": statistics.median(cpu), "losses": losses}))
