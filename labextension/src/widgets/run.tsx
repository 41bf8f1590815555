import React from 'react';

import { Button, Note, PhaseMark } from '../core/controls';
import { duration } from '../core/format';
import { Graph } from '../core/graph';
import type { RunDetail } from '../core/wire';
import { useModel, type Model } from './model';

/** A run with its steps, as the kernel tells of them. */
export function RunView(props: { readonly model: Model }): React.JSX.Element {
  const [run] = useModel<RunDetail>(props.model, 'run');
  const [fault] = useModel<string>(props.model, 'fault');
  const { summary, steps } = run;
  const share = summary.total ? Math.round((summary.done / summary.total) * 100) : 0;
  return (
    <div className="nbk-cell-run" role="group" aria-label={`Run ${summary.id}`}>
      <header className="nbk-object-head">
        <b>{summary.name || summary.notebook}</b>
        <PhaseMark phase={summary.phase} />
        <progress max={100} value={share} aria-label="Steps that are done" />
        <span className="nbk-hint" role="status">
          {summary.done} of {summary.total} steps, {duration(summary.seconds)}
        </span>
        {run.actions.includes('stop') && (
          <Button small onClick={() => props.model.send({ act: 'stop' })}>
            Stop
          </Button>
        )}
      </header>
      {fault && <Note error>{fault}</Note>}
      <Graph
        nodes={steps.map((step, index) => ({ name: step.name, hue: step.kind === 'step' ? (index % 8) + 1 : 0, kind: step.kind }))}
        edges={run.edges}
        selected=""
        phases={new Map(steps.map(step => [step.name, step.phase]))}
        onSelect={() => undefined}
      />
      {steps
        .filter(step => step.failure)
        .map(step => (
          <Note key={step.name} error>
            {step.name}: {step.failure!.sentence}
          </Note>
        ))}
    </div>
  );
}
