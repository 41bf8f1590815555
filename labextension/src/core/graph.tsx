import React from 'react';

import { clipped, SIGNS, type Phase } from './format';
import { fitted, HEIGHT, place, type Edge, type Node } from './layout';

/** What is left for a graph in the narrowest panel, in pixels. */
const NARROWEST = 270;

export interface GraphProps {
  readonly nodes: readonly Node[];
  readonly edges: readonly Edge[];
  readonly selected: string;
  /** The phase of each step in a run, where one is shown. */
  readonly phases?: ReadonlyMap<string, Phase>;
  /** Names of steps with problems. */
  readonly faulty?: ReadonlySet<string>;
  onSelect(name: string): void;
}

/**
 * The steps and what flows between them. Boxes are reached by mouse only: the list of steps below the graph says and
 * does the same for keyboard and screen reader.
 */
export function Graph(props: GraphProps): React.JSX.Element {
  const found = place(props.nodes, props.edges, props.selected);
  const size = { width: Math.ceil(found.width), height: Math.ceil(found.height) };
  // One that fits into the narrowest panel is never scaled: else each change of its size has all its text laid out anew.
  const wide = size.width > NARROWEST;
  const scaled = { viewBox: `0 0 ${size.width} ${size.height}`, style: { maxWidth: `${size.width}px`, minWidth: `${Math.min(size.width * 0.7, 900)}px` } };
  return (
    <div className="nbk-graph" role="img" aria-label={described(props)}>
      <svg className={wide ? 'nbk-mod-wide' : ''} {...(wide ? scaled : size)} aria-hidden="true">
        <g transform={`translate(${Math.ceil(-found.left)} 0)`}>
          {found.edges.map(edge => (
            <g
              key={`${edge.producer} ${edge.consumer}`}
              className={
                (edge.names.length ? 'nbk-edge' : 'nbk-edge nbk-mod-order') +
                (edge.near ? ' nbk-mod-near' : '')
              }
            >
              <title>
                {edge.names.length
                  ? `${edge.producer} gives ${edge.consumer}: ${edge.names.join(', ')}`
                  : `${edge.consumer} comes after ${edge.producer}`}
              </title>
              <path d={edge.path} />
              {edge.label && (
                <text x={edge.x} y={edge.y + 3}>
                  {edge.label}
                </text>
              )}
            </g>
          ))}
          <path className="nbk-tip" d={found.edges.map(edge => edge.tip).join('')} />
          {found.nodes.map(node => {
            const phase = props.phases?.get(node.name);
            return (
              <g
                key={node.name}
                className={`nbk-node nbk-hue-${node.hue}${node.name === props.selected ? ' nbk-mod-selected' : ''}${phase ? ` nbk-phase-${phase}` : ''}`}
                transform={`translate(${(node.x - node.width / 2).toFixed(1)} ${(node.y - HEIGHT / 2).toFixed(1)})`}
                onClick={() => props.onSelect(node.name)}
              >
                <title>{phase ? `${node.name}: ${phase}` : node.name}</title>
                <rect width={node.width} height={HEIGHT} rx="6" />
                <rect className="nbk-bar" width="4" height={HEIGHT - 8} x="5" y="4" rx="2" />
                <text x="15" y={HEIGHT / 2 + 4}>
                  {fitted(node.name)}
                </text>
                {(phase || props.faulty?.has(node.name)) && (
                  <text className="nbk-sign" x={node.width - 9} y={HEIGHT / 2 + 4}>
                    {phase ? SIGNS[phase] : '!'}
                  </text>
                )}
              </g>
            );
          })}
        </g>
      </svg>
    </div>
  );
}

function described(props: GraphProps): string {
  const ways = props.edges.map(edge => `${clipped(edge.producer)} to ${clipped(edge.consumer)}`);
  return `Graph of ${props.nodes.length} steps${ways.length ? `: ${ways.slice(0, 30).join(', ')}` : ''}`;
}
