"""The steps of a run as an SVG drawing: layers from top to bottom, long edges led around the boxes between."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from nbkube.report.model import ReportEdge, ReportStep

_BOX = 40
_ROW = 96
_GAP = 28
_CHARACTER = 7.6
_LETTER = 6.8
_LINE = 13.0
_SHARES = (0.5, 0.7, 0.3, 0.85, 0.15)
_SIGNS = {"Succeeded": "✓", "Cached": "=", "Failed": "✗", "Skipped": "–", "Cancelled": "■", "Running": "▶"}


@dataclass
class _Node:
    """A box, or a bend of a long edge (without a step)."""

    key: str
    layer: int
    step: ReportStep | None = None
    width: float = 14.0
    x: float = 0.0
    above: list[str] = field(default_factory=list)
    below: list[str] = field(default_factory=list)

    @property
    def top(self) -> float:
        return self.layer * _ROW + 8 + (0 if self.step else _BOX / 2)

    @property
    def bottom(self) -> float:
        return self.layer * _ROW + 8 + (_BOX if self.step else _BOX / 2)


def draw_graph(steps: Sequence[ReportStep], edges: Sequence[ReportEdge]) -> str:
    """Return an inline SVG of the steps and what flowed between them, or nothing for no steps."""
    if not steps:
        return ""
    known = {step.name for step in steps}
    links = _links(steps, [edge for edge in edges if edge.producer in known and edge.consumer in known])
    nodes, chains = _nodes(steps, links)
    layers = _ordered(nodes)
    width = _place(nodes, layers)
    height = (len(layers) - 1) * _ROW + _BOX + 16
    lines = [[nodes[key] for key in chain] for chain, _ in chains]
    drawn = [_edge(points, names) for points, (_, names) in zip(lines, chains, strict=True)]
    drawn += _edge_labels([(points, names) for points, (_, names) in zip(lines, chains, strict=True) if names], width)
    drawn += [_box(node) for node in nodes.values()]
    return (
        f'<svg class="graph" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" '
        f'role="img" aria-label="Graph of the steps">'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path class="tip" d="M0 0 8 4 0 8z"/></marker></defs>'
        f"{''.join(drawn)}</svg>"
    )


def _links(steps: Sequence[ReportStep], edges: Sequence[ReportEdge]) -> dict[tuple[str, str], tuple[str, ...]]:
    """Join data edges with those order edges that no longer way implies."""
    names: dict[tuple[str, str], tuple[str, ...]] = {}
    for edge in edges:
        pair = (edge.producer, edge.consumer)
        names[pair] = names.get(pair, ()) + edge.names
    position = {step.name: index for index, step in enumerate(steps)}
    reach: dict[str, set[str]] = {}
    for step in steps:
        before = sorted((one for one in step.after if one in position), key=position.__getitem__, reverse=True)
        reach[step.name] = set()
        for earlier in before:
            if earlier not in reach[step.name] and position[earlier] < position[step.name]:
                names.setdefault((earlier, step.name), ())
            reach[step.name] |= {earlier} | reach.get(earlier, set())
    return {pair: carried for pair, carried in names.items() if position[pair[0]] < position[pair[1]]}


def _nodes(
    steps: Sequence[ReportStep], links: Mapping[tuple[str, str], tuple[str, ...]]
) -> tuple[dict[str, _Node], list[tuple[list[str], tuple[str, ...]]]]:
    layer: dict[str, int] = {}
    for step in steps:
        layer[step.name] = 1 + max((layer[first] for first, last in links if last == step.name), default=-1)
    nodes = {step.name: _Node(step.name, layer[step.name], step, _width(step, links)) for step in steps}
    chains = []
    for (first, last), names in links.items():
        chain = [first]
        for between in range(layer[first] + 1, layer[last]):
            bend = _Node(f"{first}\0{last}\0{between}", between, width=14.0 + len(_carried(names)) * _LETTER)
            nodes[bend.key] = bend
            chain.append(bend.key)
        chain.append(last)
        for above, below in zip(chain, chain[1:], strict=False):
            nodes[above].below.append(below)
            nodes[below].above.append(above)
        chains.append((chain, names))
    return nodes, chains


def _ordered(nodes: Mapping[str, _Node]) -> list[list[_Node]]:
    """Order each layer so that edges cross little: a few sweeps by the mean place of neighbours."""
    by_layer: dict[int, list[_Node]] = defaultdict(list)
    for node in nodes.values():
        by_layer[node.layer].append(node)
    layers = [by_layer[index] for index in sorted(by_layer)]
    for sweep in range(6):
        down = sweep % 2 == 0
        for layer in layers if down else reversed(layers):
            place = {node.key: index for each in layers for index, node in enumerate(each)}
            current = {node.key: index for index, node in enumerate(layer)}

            def mean(node: _Node, down: bool = down, place: dict[str, int] = place) -> float:
                near = node.above if down else node.below
                return sum(place[one] for one in near) / len(near) if near else place[node.key]

            layer.sort(key=lambda node, current=current, mean=mean: (mean(node), current[node.key]))  # type: ignore[misc]
    return layers


def _place(nodes: Mapping[str, _Node], layers: Sequence[Sequence[_Node]]) -> float:
    """Give every node its x (of its centre): layers centred on the widest; return the width of the drawing."""
    widths = [sum(node.width for node in layer) + _GAP * (len(layer) - 1) for layer in layers]
    whole = max(widths)
    for layer, width in zip(layers, widths, strict=True):
        left = 8 + (whole - width) / 2
        for node in layer:
            node.x = left + node.width / 2
            left += node.width + _GAP
    return whole + 16


def _label(step: ReportStep) -> str:
    return step.name if len(step.name) <= 28 else step.name[:27] + "…"


def _width(step: ReportStep, links: Mapping[tuple[str, str], tuple[str, ...]]) -> float:
    """Return a box wide enough for its name, and for the label of an edge that ends at it."""
    labels = [len(_carried(names)) * _LETTER for (_, last), names in links.items() if last == step.name]
    return max(90.0, (len(_label(step)) + 3) * _CHARACTER + 20, *labels)


def _box(node: _Node) -> str:
    step = node.step
    if step is None:
        return ""
    phase = "Cached" if step.cached else step.phase
    left = node.x - node.width / 2
    return (
        f'<g class="box {escape(phase.lower())}"><title>{escape(f"{step.name}: {phase}")}</title>'
        f'<rect x="{left:.1f}" y="{node.top:.1f}" width="{node.width:.1f}" height="{_BOX}" rx="6"/>'
        f'<text x="{node.x:.1f}" y="{node.top + _BOX / 2 + 5:.1f}" text-anchor="middle">'
        f"{_SIGNS.get(phase, '·')} {escape(_label(step))}</text></g>"
    )


def _edge(points: Sequence[_Node], names: tuple[str, ...]) -> str:
    path = f"M{points[0].x:.1f} {points[0].bottom:.1f}"
    for above, below in zip(points, points[1:], strict=False):
        end = below.top - (2 if below.step else 0)
        middle = (above.bottom + end) / 2
        path += f"C{above.x:.1f} {middle:.1f} {below.x:.1f} {middle:.1f} {below.x:.1f} {end:.1f}"
    carried = ", ".join(names) if names else "order only"
    return (
        f'<g class="edge {"data" if names else "order"}"><title>{escape(carried)}</title>'
        f'<path d="{path}" marker-end="url(#tip)"/></g>'
    )


def _edge_labels(edges: Sequence[tuple[Sequence[_Node], tuple[str, ...]]], width: float) -> list[str]:
    """Write what each edge carries beside it, no label over another while there is room along the edge."""
    taken: list[tuple[float, float, float]] = []
    drawn = []
    for points, names in edges:
        text = _carried(names)
        half = len(text) * _LETTER / 2
        places = [(min(max(x, half + 2), width - half - 2), y) for x, y in _label_places(points)]
        x, y = next((place for place in places if _is_free(taken, *place, half)), places[0])
        taken.append((x, y, half))
        drawn.append(f'<text class="carried" x="{x:.1f}" y="{y:.1f}" text-anchor="middle">{escape(text)}</text>')
    return drawn


def _is_free(taken: Sequence[tuple[float, float, float]], x: float, y: float, half: float) -> bool:
    return all(abs(y - other_y) >= _LINE or abs(x - other_x) >= half + other for other_x, other_y, other in taken)


def _carried(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3]) + (f" +{len(names) - 3}" if len(names) > 3 else "")
    return shown if len(shown) <= 30 else shown[:29] + "…"


def _label_places(points: Sequence[_Node]) -> list[tuple[float, float]]:
    """Return where an edge's label may stand, the best place first: at a bend of its own, at the end where fewer edges
    meet, then anywhere along the edge."""
    first, last = points[0], points[-1]
    if len(points) > 2:
        bend = points[len(points) // 2]
        best = (bend.x, bend.top + 4)
    elif len(last.above) == 1:
        best = (last.x, last.top - 16)
    elif len(first.below) == 1:
        best = (first.x, first.bottom + 24)
    else:
        best = ((first.x + 2 * last.x) / 3, (first.bottom + last.top) / 2 + 8)
    along = [
        _on_curve(above, below, share) for above, below in zip(points, points[1:], strict=False) for share in _SHARES
    ]
    return [best, *along]


def _on_curve(above: _Node, below: _Node, share: float) -> tuple[float, float]:
    """Return a point of the curve that `_edge` draws, lowered to the middle of a line of text."""
    sideways = 3 * share**2 - 2 * share**3
    down = 1.5 * share * (1 - share) + share**3
    x = above.x + (below.x - above.x) * sideways
    return x, above.bottom + (below.top - above.bottom) * down + 4
