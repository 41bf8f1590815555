import React from 'react';

import { clipped, SIGNS, type Phase } from './format';
import { fitted, HEIGHT, place, type Edge, type Node } from './layout';

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
  const id = React.useId();
  return (
    <div className="nbk-graph" role="img" aria-label={described(props)}>
      <svg
        viewBox={`${Math.floor(found.left)} 0 ${Math.ceil(found.width)} ${Math.ceil(found.height)}`}
        style={{ maxWidth: `${Math.ceil(found.width)}px`, minWidth: `${Math.min(found.width * 0.7, 900)}px` }}
        aria-hidden="true"
      >
        <defs>
          <marker id={`${id}-tip`} viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" markerUnits="userSpaceOnUse" orient="auto">
            <path className="nbk-tip" d="M0 0 8 4 0 8z" />
          </marker>
        </defs>
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
            <path d={edge.path} markerEnd={`url(#${id}-tip)`} />
            {edge.label && (
              <text x={edge.x} y={edge.y + 3}>
                {edge.label}
              </text>
            )}
          </g>
        ))}
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
      </svg>
    </div>
  );
}

function described(props: GraphProps): string {
  const ways = props.edges.map(edge => `${clipped(edge.producer)} to ${clipped(edge.consumer)}`);
  return `Graph of ${props.nodes.length} steps${ways.length ? `: ${ways.slice(0, 30).join(', ')}` : ''}`;
}
