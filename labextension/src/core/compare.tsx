import React from 'react';

import { Button } from './controls';
import { duration, moment, value } from './format';
import type { RunSummary } from './wire';

/** Runs beside each other: a table of what differs, and a plot of one number over another. */
export function Compare(props: { readonly runs: readonly RunSummary[]; onBack(): void }): React.JSX.Element {
  const { runs } = props;
  const parameters = namesOf(runs.map(run => run.parameters));
  const metrics = namesOf(runs.map(run => run.metrics));
  const row = (name: string, read: (run: RunSummary) => unknown) => {
    const texts = runs.map(run => value(read(run) ?? ''));
    const differs = new Set(texts).size > 1;
    return (
      <tr key={name} className={differs ? 'nbk-mod-differs' : ''}>
        <th scope="row">{name}</th>
        {texts.map((text, index) => (
          <td key={runs[index]!.id} title={text}>
            {text}
          </td>
        ))}
      </tr>
    );
  };
  return (
    <div className="nbk-compare">
      <Button small onClick={props.onBack}>
        ← All runs
      </Button>
      <Plot runs={runs} parameters={parameters} metrics={metrics} />
      <div className="nbk-frame" tabIndex={0} role="region" aria-label="Comparison of runs">
        <table className="nbk-table">
          <thead>
            <tr>
              <th scope="col">Run</th>
              {runs.map(run => (
                <th scope="col" key={run.id} title={run.id}>
                  {run.labels[0] ?? moment(run.created)} <span className="nbk-hint">{run.id.slice(-6)}</span>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {row('state', run => run.phase)}
            {row('time', run => duration(run.seconds))}
            {metrics.map(name => row(name, run => run.metrics[name]))}
            {parameters.map(name => row(name, run => run.parameters[name]))}
          </tbody>
        </table>
      </div>
    </div>
  );
}

function namesOf(values: readonly Readonly<Record<string, unknown>>[]): string[] {
  return [...new Set(values.flatMap(one => Object.keys(one)))];
}

const WIDTH = 280;
const HEIGHT = 150;
const LEFT = 46;
const BOTTOM = 22;

function Plot(props: {
  readonly runs: readonly RunSummary[];
  readonly parameters: readonly string[];
  readonly metrics: readonly string[];
}): React.JSX.Element | null {
  const numeric = (of: 'parameters' | 'metrics', names: readonly string[]) =>
    names.filter(name => props.runs.some(run => typeof run[of][name] === 'number'));
  const vertical = numeric('metrics', props.metrics);
  const horizontal = numeric('parameters', props.parameters);
  const [x, setX] = React.useState('');
  const [y, setY] = React.useState('');
  const id = React.useId();
  const metric = y || vertical[0];
  if (!metric) {
    return <p className="nbk-hint">These runs have no numbers as metrics.</p>;
  }
  const points = props.runs.flatMap((run, index) => {
    const at = x ? run.parameters[x] : index + 1;
    const high = run.metrics[metric];
    return typeof at === 'number' && typeof high === 'number' ? [{ run, at, high }] : [];
  });
  const scale = (values: readonly number[], from: number, to: number) => {
    const low = Math.min(...values);
    const span = Math.max(...values) - low || 1;
    return (one: number) => from + ((one - low) / span) * (to - from);
  };
  const across = scale(points.map(point => point.at), LEFT + 8, WIDTH - 10);
  const up = scale(points.map(point => point.high), HEIGHT - BOTTOM - 8, 10);
  const highs = points.map(point => point.high);
  const ats = points.map(point => point.at);
  return (
    <figure className="nbk-plot">
      <div className="nbk-bar-row">
        <select aria-label="Metric" value={metric} onChange={event => setY(event.target.value)}>
          {vertical.map(name => (
            <option key={name}>{name}</option>
          ))}
        </select>
        <span className="nbk-hint">over</span>
        <select aria-label="Over" value={x} onChange={event => setX(event.target.value)}>
          <option value="">order</option>
          {horizontal.map(name => (
            <option key={name}>{name}</option>
          ))}
        </select>
      </div>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-labelledby={id}>
        <title id={id}>{`${metric} over ${x || 'order'}: ${points.map(point => `${point.at}: ${value(point.high)}`).join(', ')}`}</title>
        <path className="nbk-axis" d={`M${LEFT} 4V${HEIGHT - BOTTOM}H${WIDTH - 4}`} />
        {Math.max(...highs) > Math.min(...highs) && (
          <text className="nbk-tick" x={LEFT - 4} y={14} textAnchor="end">
            {value(Math.max(...highs))}
          </text>
        )}
        <text className="nbk-tick" x={LEFT - 4} y={HEIGHT - BOTTOM - 4} textAnchor="end">
          {value(Math.min(...highs))}
        </text>
        <text className="nbk-tick" x={LEFT + 8} y={HEIGHT - 6}>
          {value(Math.min(...ats))}
        </text>
        {Math.max(...ats) > Math.min(...ats) && (
          <text className="nbk-tick" x={WIDTH - 10} y={HEIGHT - 6} textAnchor="end">
            {value(Math.max(...ats))}
          </text>
        )}
        {points.map(({ run, at, high }) => (
          <circle key={run.id} className="nbk-point" cx={across(at)} cy={up(high)} r="4">
            <title>{`${run.id}: ${value(high)}`}</title>
          </circle>
        ))}
      </svg>
    </figure>
  );
}
