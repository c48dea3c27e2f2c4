"""Peer of the bench: steps of training of the same nets in PyTorch. Prints the median step's seconds as JSON.

    peer_torch.py article|lstm BATCH THREADS STEPS

Its LSTM has tanh where the article has softsign and no recurrent dropout, for PyTorch has neither: both make it faster, not slower.
"""
import json
import statistics
import sys
import time

import torch

model, batch, threads, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
torch.set_num_threads(threads)
torch.set_flush_denormal(True)
torch.manual_seed(7)
nn = torch.nn


class Article(nn.Module):
    steps, classes = 100, 2

    def __init__(self):
        super().__init__()
        self.embedding, self.channels, self.between = nn.Embedding(800, 300), nn.Dropout2d(.1), nn.Dropout(.1)
        self.layers = nn.ModuleList([nn.LSTM(300, 32, batch_first=True), nn.LSTM(32, 32, batch_first=True), nn.LSTM(32, 32, batch_first=True)])
        dense = []
        for inputs, units in ((32, 128), (128, 256), (256, 128)):
            dense += [nn.Linear(inputs, units), nn.Softsign(), nn.Dropout(.1)]
        self.head = nn.Sequential(*dense, nn.Linear(128, 1))

    def forward(self, tokens):
        x = self.embedding(tokens)
        x = self.channels(x.transpose(1, 2).unsqueeze(2)).squeeze(2).transpose(1, 2)
        for layer in self.layers:
            x, _ = layer(self.between(x))
        return self.head(x[:, -1]).squeeze(1)

    def loss(self, tokens, labels):
        return nn.functional.mse_loss(self(tokens), labels.float())


class Lstm(nn.Module):
    steps, classes = 400, 8

    def __init__(self):
        super().__init__()
        self.embedding, self.layer, self.head = nn.Embedding(512, 128), nn.LSTM(128, 128, batch_first=True, bidirectional=True), nn.Linear(256, 8)

    def loss(self, tokens, labels):
        _, (hidden, _) = self.layer(self.embedding(tokens))
        return nn.functional.cross_entropy(self.head(torch.cat([hidden[0], hidden[1]], 1)), labels)


net = Article() if model == "article" else Lstm()
optimizer = torch.optim.RMSprop(net.parameters(), lr=1e-3, alpha=.9, eps=1e-7)
tokens = torch.randint(1, 280, (batch, net.steps))
labels = torch.randint(0, net.classes, (batch,))
taken, cpu = [], []
for _ in range(steps + 1):
    begun, before = time.perf_counter(), time.process_time()
    optimizer.zero_grad(set_to_none=True)
    loss = net.loss(tokens, labels)
    loss.backward()
    optimizer.step()
    taken.append(time.perf_counter() - begun)
    cpu.append(time.process_time() - before)
print(json.dumps({"seconds": statistics.median(taken[1:]), "cpu_seconds": statistics.median(cpu[1:]), "loss": float(loss)}))
