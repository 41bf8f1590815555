import React from 'react';

import { reason, type Api } from './api';
import { Artifacts } from './artifacts';
import { Button, Field, Note, PhaseMark, Section, useChanges } from './controls';
import { bytes, duration, hasEnded, moment, value } from './format';
import { Graph } from './graph';
import { LogView, save } from './log';
import type { RunsModel } from './runs';
import { hues } from './tags';
import type { RunDetail, StepRunView } from './wire';

export interface RunProps {
  readonly api: Api;
  readonly runs: RunsModel;
  readonly run: string;
  /** Show a cell of the run's notebook. */
  onJump(path: string, cell: number | string, line: number | null): void;
  /** Choose parameters for another run of a notebook, those of this run to begin with. */
  onAgain(path: string, parameters: Readonly<Record<string, unknown>>): void;
  onBack(): void;
}

/** One run: where it stands, why it failed, what its steps show, what it has made. */
export function Run(props: RunProps): React.JSX.Element {
  const { runs, run } = props;
  useChanges(runs);
  const [chosen, setChosen] = React.useState('');
  const detail = runs.details.get(run);
  React.useEffect(() => void runs.fetch(run), [run]);
  const at = runs.atOf(run);
  if (!detail) {
    return (
      <div>
        <Back onBack={props.onBack} />
        {runs.gone.has(run) ? (
          <Note>This run is no longer there.</Note>
        ) : runs.fault ? (
          <Note error>{runs.fault}</Note>
        ) : (
          <Note>Loading the run…</Note>
        )}
      </div>
    );
  }
  const { summary, steps } = detail;
  const shown = steps.find(step => step.name === chosen) ?? interesting(steps);
  const colours = hues(steps.map(step => ({ name: step.name, kind: step.kind })));
  return (
    <div className="nbk-run">
      <Back onBack={props.onBack} />
      <header>
        <h3>
          <PhaseMark phase={summary.phase} /> <span className="nbk-name">{summary.name || summary.notebook}</span>
        </h3>
        <p className="nbk-hint">
          {summary.id} · {moment(summary.started || summary.created)} · <Elapsed going={summary.phase === 'Running'} since={summary.started} seconds={summary.seconds} /> · {summary.done} of {summary.total}{' '}
          steps
          {summary.experiment && ` · ${summary.experiment}`}
        </p>
        {summary.reason && <p>{summary.reason}</p>}
        {runs.fault && <Note error>{runs.fault}</Note>}
      </header>
      <Actions {...props} detail={detail} />
      {steps
        .filter(step => step.failure)
        .map(step => (
          <Failure key={step.name} {...props} step={step} path={summary.path} />
        ))}
      {Object.keys(summary.metrics).length > 0 && <Pairs title="Metrics" values={summary.metrics} />}
      {Object.keys(summary.parameters).length > 0 && <Pairs title="Parameters" values={summary.parameters} />}
      <Section title="Steps">
        <Graph
          nodes={steps.map(step => ({ name: step.name, kind: step.kind, hue: colours.get(step.name) ?? 0 }))}
          edges={detail.edges}
          selected={shown?.name ?? ''}
          phases={new Map(steps.map(step => [step.name, step.phase]))}
          onSelect={setChosen}
        />
        <StepTable colours={colours} steps={steps} chosen={shown?.name ?? ''} onChoose={setChosen} />
      </Section>
      {shown && (
        <Section
          title={`Log of ${shown.name}`}
          extra={shown.phase !== 'Pending' && shown.phase !== 'Skipped' && <OpenStep key={shown.name} {...props} step={shown} />}
        >
          {shown.phase === 'Pending' ? (
            <p className="nbk-hint">{shown.reason || waiting(shown, steps)}</p>
          ) : (
            <LogView api={props.api} run={run} at={at} step={shown.name} attempt={shown.attempts} />
          )}
        </Section>
      )}
      {hasEnded(summary.phase) && (
        <Section title="Artifacts" closed>
          <Artifacts api={props.api} run={run} at={at} />
        </Section>
      )}
      <Section title="Notes" closed={!summary.note && !summary.labels.length}>
        <Field
          label="labels"
          text={summary.labels.join(', ')}
          placeholder="separated by commas"
          onCommit={text => void runs.annotate(run, { labels: text.split(',').map(one => one.trim()).filter(Boolean) })}
        />
        <Field label="note" text={summary.note} onCommit={text => void runs.annotate(run, { note: text })} />
      </Section>
    </div>
  );
}

function Back(props: { onBack(): void }): React.JSX.Element {
  return (
    <Button small onClick={props.onBack}>
      ← All runs
    </Button>
  );
}

/** The step that one wants to see: a failed one, a running one, the last that ran. */
function interesting(steps: readonly StepRunView[]): StepRunView | undefined {
  return (
    steps.find(step => step.phase === 'Failed') ??
    steps.find(step => step.phase === 'Running') ??
    steps.filter(step => step.phase !== 'Pending' && step.phase !== 'Skipped').at(-1) ??
    steps[0]
  );
}

function waiting(step: StepRunView, steps: readonly StepRunView[]): string {
  const open = step.after.filter(name => !['Succeeded', 'Cached'].includes(steps.find(one => one.name === name)?.phase ?? ''));
  return open.length ? `Waits for ${open.join(', ')}.` : 'Waits for its turn.';
}

/** How long something took, or takes: it then goes on by itself. */
function Elapsed(props: { readonly going: boolean; readonly since: number; readonly seconds: number }): React.JSX.Element {
  const going = props.going && props.since > 0;
  const [now, setNow] = React.useState(Date.now());
  React.useEffect(() => {
    if (!going) {
      return;
    }
    setNow(Date.now());
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, [going]);
  return <>{duration(going ? Math.max(props.seconds, now / 1000 - props.since) : props.seconds)}</>;
}

function Actions(props: RunProps & { readonly detail: RunDetail }): React.JSX.Element {
  const { runs, run, detail } = props;
  const [busy, setBusy] = React.useState('');
  const [fault, setFault] = React.useState('');
  const [sure, setSure] = React.useState(false);
  const act = async (verb: string, call: () => Promise<void>) => {
    setBusy(verb);
    setFault('');
    try {
      await call();
    } catch (error) {
      setFault(reason(error));
    }
    setBusy('');
  };
  const can = (verb: string) => detail.actions.includes(verb);
  const report = async () => save(`${run}.html`, new Blob([await props.api.report(run, runs.atOf(run))], { type: 'text/html' }));
  return (
    <>
      <div className="nbk-bar-row">
        {can('stop') && (
          <Button danger disabled={busy !== ''} onClick={() => void act('stop', () => runs.act(run, 'stop'))}>
            {busy === 'stop' ? 'Stopping…' : 'Stop'}
          </Button>
        )}
        {can('pause') && (
          <Button disabled={busy !== ''} onClick={() => void act('pause', () => runs.act(run, 'pause'))}>
            Pause
          </Button>
        )}
        {can('resume') && (
          <Button primary disabled={busy !== ''} onClick={() => void act('resume', () => runs.act(run, 'resume'))}>
            Resume
          </Button>
        )}
        {hasEnded(detail.summary.phase) && detail.summary.path && (
          <Button onClick={() => props.onAgain(detail.summary.path, detail.summary.parameters)}>Run again…</Button>
        )}
        {hasEnded(detail.summary.phase) && (
          <Button disabled={busy !== ''} onClick={() => void act('report', report)}>
            Report
          </Button>
        )}
        {can('delete') && !sure && <Button onClick={() => setSure(true)}>Delete…</Button>}
        {can('delete') && sure && (
          <>
            <Button
              danger
              disabled={busy !== ''}
              onClick={() =>
                void act('delete', async () => {
                  await runs.remove(run);
                  props.onBack();
                })
              }
            >
              Delete this run
            </Button>
            <Button onClick={() => setSure(false)}>Keep it</Button>
          </>
        )}
      </div>
      {fault && <Note error>{fault}</Note>}
    </>
  );
}

function Failure(props: RunProps & { readonly step: StepRunView; readonly path: string }): React.JSX.Element {
  const { step } = props;
  const failure = step.failure!;
  return (
    <div className="nbk-failure" role="alert">
      <p>
        <b>{step.kind === 'checks' ? 'A check failed' : `${step.name} failed`}:</b> {failure.sentence}
      </p>
      {failure.cell !== null && props.path && (
        <Button small onClick={() => props.onJump(props.path, failure.cell_id || failure.cell!, failure.line)}>
          Go to cell {failure.cell}
        </Button>
      )}{' '}
      <OpenStep {...props} />
      {failure.traceback && (
        <details>
          <summary>Traceback</summary>
          <pre>{failure.traceback.replace(/\x1b\[[0-9;]*m/g, '')}</pre>
        </details>
      )}
    </div>
  );
}

/** A button that opens a step with its inputs restored: a failed one at the cell that failed. */
function OpenStep(props: RunProps & { readonly step: StepRunView }): React.JSX.Element {
  const { api, runs, run, step } = props;
  const [fault, setFault] = React.useState('');
  const [doubts, setDoubts] = React.useState<readonly string[]>([]);
  const [busy, setBusy] = React.useState(false);
  const open = async () => {
    setBusy(true);
    setFault('');
    setDoubts([]);
    try {
      const opened = await api.openStep(run, runs.atOf(run), step.name);
      if (opened.path) {
        setDoubts(opened.doubts);
        props.onJump(opened.path, opened.cell_id, null);
      } else {
        setFault('It was written outside the folder that Jupyter serves.');
      }
    } catch (error) {
      setFault(reason(error));
    }
    setBusy(false);
  };
  return (
    <>
      <Button small label={`Open step ${step.name} in a notebook`} disabled={busy} onClick={() => void open()}>
        {busy ? 'Opening…' : 'Open step'}
      </Button>
      {fault && <Note error>{fault}</Note>}
      {doubts.length > 0 && <Note>It may differ from the run: {doubts.join(' ')}</Note>}
    </>
  );
}

function Pairs(props: { readonly title: string; readonly values: Readonly<Record<string, unknown>> }): React.JSX.Element {
  return (
    <div className="nbk-pairs">
      <span className="nbk-hint" aria-hidden="true">
        {props.title}
      </span>
      <dl aria-label={props.title}>
        {Object.entries(props.values).map(([name, one]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd title={value(one)}>{value(one)}</dd>
          </div>
        ))}
      </dl>
    </div>
  );
}

function StepTable(props: {
  readonly colours: ReadonlyMap<string, number>;
  readonly steps: readonly StepRunView[];
  readonly chosen: string;
  onChoose(name: string): void;
}): React.JSX.Element {
  return (
    <table className="nbk-table" aria-label="Steps of the run">
      <thead>
        <tr>
          <th scope="col">Step</th>
          <th scope="col">State</th>
          <th scope="col">Time</th>
          <th scope="col">Memory</th>
        </tr>
      </thead>
      <tbody>
        {props.steps.map(step => (
          <React.Fragment key={step.name}>
            <tr className={step.name === props.chosen ? 'nbk-mod-selected' : ''}>
              <th scope="row">
                <button type="button" className="nbk-link nbk-mod-step" aria-pressed={step.name === props.chosen} onClick={() => props.onChoose(step.name)}>
                  <span className={`nbk-dot nbk-hue-${props.colours.get(step.name) ?? 0}`} aria-hidden="true" />
                  {step.name}
                </button>
              </th>
              <td>
                <PhaseMark phase={step.phase} />
                {step.phase === 'Running' && step.cell !== null && (
                  <span className="nbk-hint nbk-at">
                    cell {step.cell} ({step.cells_done.length}/{step.cells.length})
                  </span>
                )}
              </td>
              <td>
                {!step.cached && (step.seconds > 0 || step.phase === 'Running') && (
                  <Elapsed going={step.phase === 'Running'} since={step.started} seconds={step.seconds} />
                )}
              </td>
              <td>{step.peak_memory > 0 ? bytes(step.peak_memory) : ''}</td>
            </tr>
            {step.phase === 'Pending' && step.reason && (
              <tr className="nbk-why">
                <td colSpan={4}>{step.reason}</td>
              </tr>
            )}
          </React.Fragment>
        ))}
      </tbody>
    </table>
  );
}
