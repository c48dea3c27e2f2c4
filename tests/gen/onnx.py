"""Reader of ONNX files by their wire format alone (protocol buffers: key = field number << 3 | type), written from ONNX's documentation. It
shares nothing with the C that writes them.

read(bytes) -> {"ir", "opset", "producer", "metadata", "inputs", "outputs", "ops", "initializers"}"""


def fields(data):
    """(number, value) of each field: numbers for varints, bytes for the rest."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
            continue
        n = varint() if key & 7 == 2 else {1: 8, 5: 4}[key & 7]
        if at + n > len(data):
            raise ValueError("a field beyond the end")
        yield key >> 3, data[at:at + n]
        at += n


def all_of(data, number):
    return [value for n, value in fields(data) if n == number]


def one(data, number, default=b""):
    return (all_of(data, number) or [default])[-1]


def value_info(data):
    """A name and its dimensions: numbers, or names where any size goes."""
    tensor = one(one(data, 2), 1)
    dims = [one(d, 1, None) if one(d, 1, None) is not None else one(d, 2).decode() for d in all_of(one(tensor, 2), 1)]
    return one(data, 1).decode(), (one(tensor, 1), dims)


def read(data):
    graph = one(data, 7)
    return {
        "ir": one(data, 1), "producer": one(data, 2).decode(),
        "opset": [(one(o, 1).decode(), one(o, 2)) for o in all_of(data, 8)],
        "metadata": {one(e, 1).decode(): one(e, 2).decode() for e in all_of(data, 14)},
        "inputs": dict(value_info(v) for v in all_of(graph, 11)),
        "outputs": dict(value_info(v) for v in all_of(graph, 12)),
        "ops": [one(n, 4).decode() for n in all_of(graph, 1)],
        "initializers": [one(t, 8).decode() for t in all_of(graph, 5)],
    }
