"""Strict reader of safetensors files, written from the format's description (https://github.com/huggingface/safetensors#format): 8 bytes
little-endian length of a JSON header, the header, the tensors. It shares nothing with the C that writes them.

read(bytes) -> (metadata, {name: (dtype, shape, bytes)}); Refused says which rule is broken."""
import json
import math
import struct

SIZES = {"BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2, "I32": 4, "U32": 4, "F32": 4,
         "F64": 8, "I64": 8, "U64": 8}
HEADER_MAX = 100_000_000


class Refused(Exception):
    """What a reader of the format may not accept."""


def check(condition, why):
    if not condition:
        raise Refused(why)


def no_twins(pairs):
    check(len({name for name, _ in pairs}) == len(pairs), "a name twice")
    return dict(pairs)


def read(data):
    check(len(data) >= 8, "no header length")
    length, = struct.unpack("<Q", data[:8])
    check(length <= HEADER_MAX, "a header of more than 100 MB")
    check(length <= len(data) - 8, "the header is cut")
    text, tensors = data[8:8 + length], data[8 + length:]
    check(text[:1] == b"{", "the header does not begin with {")
    check(length % 8 == 0, "the tensors are not aligned to 8 bytes")
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=no_twins)
    except ValueError as error:
        raise Refused("the header is not JSON: %s" % error) from error
    check(text.rstrip(b" ")[-1:] == b"}", "padded with something that is no blank")
    metadata = header.pop("__metadata__", {})
    check(isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values()), "metadata that is no text")
    found, at = {}, 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        check(set(entry) == {"dtype", "shape", "data_offsets"}, name + ": members")
        check(entry["dtype"] in SIZES, name + ": dtype")
        check(all(isinstance(n, int) and n >= 0 for n in entry["shape"]), name + ": shape")
        first, last = entry["data_offsets"]
        check(first == at, name + ": a hole or an overlap")
        check(last - first == math.prod(entry["shape"]) * SIZES[entry["dtype"]], name + ": its bytes do not fit its shape")
        found[name] = (entry["dtype"], entry["shape"], tensors[first:last])
        at = last
    check(at == len(tensors), "bytes that belong to no tensor, or missing ones")
    return metadata, found
