// A worker: where the boxes of a graph go. It may take its time without holding up the page.

import { Graph, layout } from "/page/dagre.js";

onmessage = ({ data: { key, nodes, edges, direction, width, height } }) => {
  const graph = new Graph();
  graph.setGraph({ rankdir: direction, nodesep: 14, ranksep: direction === "LR" ? 34 : 28, marginx: 6, marginy: 6 });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const id of nodes) graph.setNode(id, { width, height });
  for (const [before, after] of edges) graph.setEdge(before, after);
  layout(graph);
  const { width: wide, height: high } = graph.graph();
  postMessage({
    key, width, wide, high,
    nodes: nodes.map((id) => ({ id, x: graph.node(id).x, y: graph.node(id).y })),
    edges: graph.edges().map((edge) => ({ id: `${edge.v} ${edge.w}`, points: graph.edge(edge).points })),
  });
};
