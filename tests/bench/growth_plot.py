"""The lines of `./run bench scale` as a picture: processor seconds of each command, and its peak memory, over the number of samples, both axes
logarithmic.

    growth_plot.py LINES.jsonl > growth.svg
"""
import html
import json
import math
import sys

# What the legend calls a bench, in the order of the table in docs/operation.md.
NAMES = {"import": "extract dataset", "dataset": "train --dry-run", "nightly.first": "nightly, everything new", "export.npz": "export, npz",
         "export.samples": "export, samples", "fsck": "fsck", "backup": "backup", "nightly.unchanged": "nightly, nothing new", "status": "status"}
COLOURS = ("#2f6fb7", "#c2561f", "#1f7a4d", "#8a4fb0", "#7d6a00", "#b02a5b", "#0f7f86", "#5b6675", "#1c2430")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM, LINE = 480, 400, 76, 34, 46, 46, 20
SMALLEST_MIB = 1    # what an ended process held is not seen: a point at the edge would say too much


def read(path):
    """{bench: {samples: line}}; a line that failed has no time."""
    found = {}
    with open(path, encoding="utf-8") as file:
        for line in map(json.loads, filter(str.strip, file)):
            name = line.get("bench", "").removeprefix("scale.")
            if name in NAMES and "cpu" in line:
                found.setdefault(name, {})[int(line["case"])] = line
    return found


class Axes:
    """One plot, at `left` in the picture: x samples, y values, whole powers of ten at the edges."""

    def __init__(self, left, title, points, unit):
        self.left, self.title, self.unit = left, title, unit
        xs, ys = [p[0] for line in points for p in line], [p[1] for line in points for p in line]
        self.x = math.floor(math.log10(min(xs))), math.ceil(math.log10(max(xs)))
        self.y = math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys)))

    def at(self, x, y):
        across = (math.log10(x) - self.x[0]) / max(1, self.x[1] - self.x[0])
        up = (math.log10(y) - self.y[0]) / max(1, self.y[1] - self.y[0])
        return (self.left + LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM))

    def frame(self):
        yield '<text x="%g" y="24" font-weight="600" fill="#123">%s</text>' % (self.left + LEFT, self.title)
        for power in range(self.y[0], self.y[1] + 1):
            (x0, y), (x1, _) = self.at(10 ** self.x[0], 10 ** power), self.at(10 ** self.x[1], 10 ** power)
            yield '<path d="M%.1f %.1fH%.1f" stroke="#d9dee6"/>' % (x0, y, x1)
            yield '<text x="%.1f" y="%.1f" text-anchor="end" fill="#456">%s</text>' % (x0 - 7, y + 4, "%g" % 10 ** power + self.unit)
        for power in range(self.x[0], self.x[1] + 1):
            (x, y0), (_, y1) = self.at(10 ** power, 10 ** self.y[0]), self.at(10 ** power, 10 ** self.y[1])
            yield '<path d="M%.1f %.1fV%.1f" stroke="#d9dee6"/>' % (x, y0, y1)
            yield '<text x="%.1f" y="%.1f" text-anchor="middle" fill="#456">%s</text>' % (x, y0 + 20, format(10 ** power, ","))
        # How a command would grow that takes a certain time a sample.
        steps = min(self.x[1] - self.x[0], self.y[1] - self.y[0])
        (x0, y0), (x1, y1) = self.at(10 ** self.x[0], 10 ** self.y[0]), self.at(10 ** (self.x[0] + steps), 10 ** (self.y[0] + steps))
        yield '<path d="M%.1f %.1fL%.1f %.1f" stroke="#9ab" stroke-dasharray="5 4"/>' % (x0, y0, x1, y1)

    def line(self, points, colour):
        places = [self.at(*point) for point in points]
        yield '<path d="M%s" fill="none" stroke="%s" stroke-width="2"/>' % ("L".join("%.1f %.1f" % place for place in places), colour)
        yield "".join('<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>' % (*place, colour) for place in places)


def picture(found):
    drawn = [name for name in NAMES if name in found]
    rows = {name: sorted(found[name].items()) for name in drawn}
    cpu = {name: [(size, max(line["cpu"], 1e-3)) for size, line in rows[name]] for name in drawn}
    memory = {name: [(size, line["peak_mib"]) for size, line in rows[name] if line["peak_mib"] >= SMALLEST_MIB] for name in drawn}
    memory = {name: points for name, points in memory.items() if points}
    plots = (Axes(0, "processor time", list(cpu.values()), " s"), cpu), (Axes(WIDTH, "memory", list(memory.values()), " MiB"), memory)
    height = HEIGHT + LINE * (-(-len(drawn) // 3) + 1)
    yield ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13" role="img" '
           'aria-label="Processor time and memory of commands over the number of samples">' % (2 * WIDTH, height))
    yield '<rect width="%d" height="%d" fill="#fff"/>' % (2 * WIDTH, height)
    for axes, lines in plots:
        yield from axes.frame()
        yield '<text x="%g" y="%g" text-anchor="end" fill="#456">samples</text>' % (axes.left + WIDTH - RIGHT, HEIGHT - 6)
        for name, points in lines.items():
            yield from axes.line(points, COLOURS[drawn.index(name)])
    for index, name in enumerate(drawn):
        x, y = LEFT + index % 3 * 300, HEIGHT + LINE * (index // 3 + 1)
        yield '<path d="M%d %dh22" stroke="%s" stroke-width="3"/>' % (x, y - 4, COLOURS[index])
        yield '<text x="%d" y="%d" fill="#123">%s</text>' % (x + 30, y, html.escape(NAMES[name]))
    yield "</svg>"


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    found = read(sys.argv[1])
    if not found:
        sys.exit("growth_plot.py: no line of the scale bench in %s" % sys.argv[1])
    print("\n".join(picture(found)))


if __name__ == "__main__":
    main()
