import React from 'react';

import { Graph } from '../core/graph';
import { hues } from '../core/tags';
import type { PipelineView } from '../core/wire';
import { useModel, type Model } from './model';

/** The pipeline of a notebook; its selected step is the widget's value. */
export function GraphView(props: { readonly model: Model }): React.JSX.Element {
  const [pipeline] = useModel<PipelineView>(props.model, 'pipeline');
  const [value, setValue] = useModel<string>(props.model, 'value');
  const colours = hues(pipeline.steps);
  const nodes = pipeline.steps.map(step => ({ name: step.name, hue: colours.get(step.name) ?? 0, kind: step.kind }));
  const errors = pipeline.problems.filter(one => one.severity === 'error');
  const choose = (name: string) => setValue(name === value ? '' : name);
  return (
    <div className="nbk-cell-graph" role="group" aria-label={`Pipeline ${pipeline.name}`}>
      <Graph nodes={nodes} edges={pipeline.edges} selected={value} onSelect={choose} />
      <ul className="nbk-cell-steps" aria-label="Steps">
        {pipeline.steps.map(step => (
          <li key={step.name}>
            <button type="button" className={`nbk-chip nbk-hue-${colours.get(step.name) ?? 0}`} aria-pressed={step.name === value} onClick={() => choose(step.name)}>
              <span className="nbk-dot" aria-hidden="true" />
              {step.name}
            </button>
          </li>
        ))}
      </ul>
      {errors.map((one, index) => (
        <div key={index} className="nbk-note nbk-mod-error">
          {one.message}
        </div>
      ))}
    </div>
  );
}
