import React from 'react';

import { reason, type Api } from './api';
import { Button, Field, Meter, Note, PhaseMark, Problems, Section, useChanges } from './controls';
import { clipped, counted, moment, type Phase } from './format';
import { Graph } from './graph';
import type { NotebookSource } from './notebook';
import { Options } from './options';
import type { RunsModel } from './runs';
import { hues, nameFault, slug } from './tags';
import type { Capacity, PipelineEdge, PipelineStep, ProposedTag, RunDetail, StepRunView } from './wire';

const Labs = React.lazy(() => import('../labs'));

export interface PipelineProps {
  readonly api: Api;
  readonly notebook: NotebookSource;
  readonly runs: RunsModel;
  readonly schema: Readonly<Record<string, unknown>> | null;
  onRun(): void;
  onShowRun(run: string): void;
}

/** A step as tags and analysis together tell it. */
interface Row {
  readonly name: string;
  readonly kind: string;
  readonly hue: number;
  readonly cells: readonly number[];
  readonly known: PipelineStep | undefined;
}

/** The pipeline of the notebook that is open. */
export function Pipeline(props: PipelineProps): React.JSX.Element {
  const { notebook, runs, api } = props;
  useChanges(notebook, runs);
  const [selected, setSelected] = React.useState('');
  const [proposal, setProposal] = React.useState<readonly ProposedTag[] | null>(null);
  const [fault, setFault] = React.useState('');
  const capacity = useCapacity(api, notebook.path, runs.at.place);
  const rows = rowsOf(notebook);
  const edges = edgesOf(notebook, rows);
  const latest = runs.latest(notebook.path);
  const detail = latest && runs.details.get(latest.id);
  React.useEffect(() => {
    if (latest && !detail) {
      void runs.fetch(latest.id);
    }
  }, [latest?.id, detail === undefined]);
  const phases = phasesOf(detail);
  const problems = notebook.view?.problems ?? [];
  const chosen = rows.find(row => row.name === selected);
  const empty = !notebook.placed.length;
  const untagged = !empty && !notebook.placed.some(cell => cell.own);
  const waiting = !notebook.view && !notebook.fault;
  const errors = problems.filter(one => one.severity === 'error').length;
  const bar = React.useRef<HTMLDivElement>(null);
  const done = () => {
    setProposal(null);
    bar.current?.querySelector<HTMLElement>('button:not(:disabled)')?.focus();
  };
  const suggest = async () => {
    setFault('');
    try {
      setProposal((await api.proposal({ path: notebook.path, content: notebook.content() })).tags);
    } catch (error) {
      setFault(reason(error));
    }
  };
  return (
    <div className="nbk-pipeline">
      <div className="nbk-bar-row nbk-mod-main" ref={bar}>
        <Button primary={!untagged} disabled={errors > 0 || !rows.length} onClick={props.onRun}>
          Run…
        </Button>
        <Button primary={untagged && !proposal} disabled={empty} onClick={() => void suggest()}>
          Suggest tags
        </Button>
        <span className="nbk-hint nbk-mod-end" role="status">
          {notebook.pending ? 'looking…' : untagged || empty ? '' : counted(rows.length, 'step')}
        </span>
      </div>
      {fault && <Note error>{fault}</Note>}
      {notebook.fault && <Note error>{notebook.fault}</Note>}
      {proposal && <Proposal tags={proposal} notebook={notebook} onDone={done} />}
      {empty && <Note>This notebook has no code yet. Its steps will stand here.</Note>}
      {untagged && !proposal && (
        <Note>
          <b>No cell is tagged yet.</b> Let nbkube suggest steps from headings and data flow, or select cells and press
          Alt+Shift+S to name their step.
        </Note>
      )}
      {latest && detail && (
        <button type="button" className="nbk-latest" onClick={() => props.onShowRun(latest.id)}>
          <span>Last run</span> <PhaseMark phase={latest.phase} />{' '}
          <span className="nbk-hint">
            {latest.done} of {latest.total} steps · {moment(latest.started || latest.created)}
          </span>
        </button>
      )}
      {rows.length > 0 && !untagged && (
        <>
          {waiting && <p className="nbk-hint">Working out what flows between the steps…</p>}
          <Graph
            nodes={rows}
            edges={edges}
            selected={selected}
            phases={phases}
            faulty={new Set(problems.filter(one => one.severity === 'error').flatMap(one => stepsAt(rows, one.cell)))}
            onSelect={name => setSelected(name === selected ? '' : name)}
          />
          <Steps rows={rows} edges={edges} selected={selected} phases={phases} onSelect={name => setSelected(name === selected ? '' : name)} />
        </>
      )}
      {problems.length > 0 && (
        <Section title={`Problems (${problems.length})`} closed={errors === 0}>
          <Problems problems={problems} jump={(cell, line) => notebook.jump(cell, line)} />
        </Section>
      )}
      {chosen && (
        <Step
          key={chosen.name}
          row={chosen}
          notebook={notebook}
          schema={props.schema}
          capacity={capacity}
          used={detail?.steps.find(step => step.step === chosen.name && step.phase !== 'Pending') ?? null}
        />
      )}
      {capacity && (
        <Room capacity={capacity} api={api} path={notebook.path} place={runs.at.place} />
      )}
    </div>
  );
}

/** What the place to run at has, node by node. */
function Room(props: { readonly capacity: Capacity; readonly api: Api; readonly path: string; readonly place: string }): React.JSX.Element {
  const { capacity } = props;
  const here = capacity.source === 'this machine';
  const names = ['cpu', 'memory', ...Object.keys(capacity.total).filter(name => name.includes('/'))];
  return (
    <Section title={here ? 'This machine' : `Cluster (${capacity.place})`} closed>
      {capacity.nodes.slice(0, 50).map(node => (
        <div key={node.name} className="nbk-room">
          {!here && (
            <p>
              {node.name} {node.note && <span className="nbk-hint">{node.note}</span>}
            </p>
          )}
          {names
            .filter(name => node.total[name] !== undefined)
            .map(name => (
              <Meter key={name} name={name} free={node.free?.[name] ?? null} total={node.total[name]!} />
            ))}
        </div>
      ))}
      {capacity.quotas.map(one => (
        <Meter key={`${one.name} ${one.resource}`} name={one.resource} label={`quota ${one.resource}`} free={one.hard - one.used} total={one.hard} />
      ))}
      {!names.some(name => name.includes('/')) && <p className="nbk-hint">No GPU was found.</p>}
      {capacity.storage_classes.length > 0 && <p className="nbk-hint">Storage classes: {capacity.storage_classes.join(', ')}</p>}
      {capacity.hidden.length > 0 && <p className="nbk-hint">Not visible to you: {capacity.hidden.join(', ')}</p>}
      {!here && (
        <React.Suspense fallback={null}>
          <Labs {...props} />
        </React.Suspense>
      )}
    </Section>
  );
}

function rowsOf(notebook: NotebookSource): Row[] {
  const known = new Map(notebook.view?.steps.map(step => [step.name, step]));
  const colours = hues(notebook.steps);
  return notebook.steps.map(step => ({
    name: step.name,
    kind: step.kind,
    hue: colours.get(step.name) ?? 0,
    cells: step.cells.map(id => notebook.numberOf(id)),
    known: known.get(step.name)
  }));
}

/** The ways between steps: those analysis has found, as far as the steps are still there. */
function edgesOf(notebook: NotebookSource, rows: readonly Row[]): readonly PipelineEdge[] {
  const names = new Set(rows.map(row => row.name));
  return (notebook.view?.edges ?? []).filter(edge => names.has(edge.producer) && names.has(edge.consumer));
}

function stepsAt(rows: readonly Row[], cell: number | null): string[] {
  return rows.filter(row => cell !== null && row.cells.includes(cell)).map(row => row.name);
}

/** Worst phase of the parts of each step. */
export function phasesOf(detail: RunDetail | undefined): Map<string, Phase> {
  const order: readonly Phase[] = ['Failed', 'Running', 'Unknown', 'Cancelled', 'Pending', 'Paused', 'Skipped', 'Succeeded', 'Cached'];
  const found = new Map<string, Phase>();
  for (const step of detail?.steps ?? []) {
    const before = found.get(step.step);
    if (before === undefined || order.indexOf(step.phase) < order.indexOf(before)) {
      found.set(step.step, step.phase);
    }
  }
  return found;
}

function useCapacity(api: Api, path: string, place: string): Capacity | null {
  const [capacity, setCapacity] = React.useState<Capacity | null>(null);
  React.useEffect(() => {
    let current = true;
    const look = () => {
      if (!document.hidden) {
        api.capacity({ path, place }).then(
          found => current && setCapacity(found),
          () => current && setCapacity(null)
        );
      }
    };
    look();
    const timer = setInterval(look, 10_000);
    return () => {
      current = false;
      clearInterval(timer);
    };
  }, [api, path, place]);
  return capacity;
}

function Steps(props: {
  readonly rows: readonly Row[];
  readonly edges: readonly PipelineEdge[];
  readonly selected: string;
  readonly phases: ReadonlyMap<string, Phase>;
  onSelect(name: string): void;
}): React.JSX.Element {
  const direct = directly(props.edges);
  return (
    <ul className="nbk-steps" aria-label="Steps">
      {props.rows.map(row => {
        const phase = props.phases.get(row.name);
        const after = direct.get(row.name) ?? [];
        return (
          <li key={row.name}>
            <button
              type="button"
              className={`nbk-step nbk-hue-${row.hue}`}
              aria-expanded={row.name === props.selected}
              onClick={() => props.onSelect(row.name)}
            >
              <span className="nbk-dot" aria-hidden="true" />
              <span className="nbk-name">{clipped(row.name)}</span>
              <span className="nbk-hint nbk-cells">{ranges(row.cells)}</span>
              <span className="nbk-hint nbk-after" title={after.length ? `after ${after.join(', ')}` : ''}>
                {after.length ? `after ${after.join(', ')}` : ''}
              </span>
              {phase && <PhaseMark phase={phase} bare />}
            </button>
          </li>
        );
      })}
    </ul>
  );
}

/** The steps right before each step: those that none of the others comes after. Edges come sorted by their ends. */
export function directly(edges: readonly PipelineEdge[]): ReadonlyMap<string, readonly string[]> {
  const before = new Map<string, string[]>();
  for (const edge of edges) {
    before.set(edge.consumer, [...(before.get(edge.consumer) ?? []), edge.producer]);
  }
  const reach = new Map<string, Set<string>>();
  const all = (name: string): Set<string> => {
    let found = reach.get(name);
    if (!found) {
      reach.set(name, (found = new Set()));
      for (const one of before.get(name) ?? []) {
        found.add(one);
        all(one).forEach(other => found!.add(other));
      }
    }
    return found;
  };
  return new Map([...before].map(([name, found]) => [name, found.filter(one => !found.some(other => all(other).has(one)))]));
}

/** Cells as text: cells 2-4, 7. */
export function ranges(cells: readonly number[]): string {
  const parts: string[] = [];
  for (let index = 0; index < cells.length; index++) {
    const first = cells[index]!;
    while (cells[index + 1] === cells[index]! + 1) {
      index++;
    }
    parts.push(first === cells[index] ? `${first}` : `${first}-${cells[index]}`);
  }
  const word = cells.length === 1 ? 'cell' : 'cells';
  return parts.length > 4 ? `${word} ${parts.slice(0, 4).join(', ')} …` : `${word} ${parts.join(', ')}`;
}

function Step(props: {
  readonly row: Row;
  readonly notebook: NotebookSource;
  readonly schema: Readonly<Record<string, unknown>> | null;
  readonly capacity: Capacity | null;
  readonly used: StepRunView | null;
}): React.JSX.Element {
  const { row, notebook } = props;
  const [fault, setFault] = React.useState('');
  const { values, fixed } = notebook.options(row.name);
  const others = notebook.steps.filter(step => step.kind === 'step' && step.name !== row.name).map(step => step.name);
  const rename = (text: string) => {
    const name = nameFault(text) ? slug(text) : text;
    const wrong = nameFault(name);
    setFault(wrong);
    if (!wrong && name !== row.name) {
      notebook.rename(row.name, name);
    }
  };
  return (
    <Section
      title={`Step ${clipped(row.name)}`}
      extra={
        <Button small label={`Go to the first cell of ${row.name}`} onClick={() => notebook.jump(row.cells[0]!)}>
          Go to cell
        </Button>
      }
    >
      {row.known && (
        <dl className="nbk-flow">
          <dt>Takes</dt>
          <dd>{row.known.inputs.map(one => `${one.name} (${one.source})`).join(', ') || 'nothing'}</dd>
          <dt>Leaves</dt>
          <dd>{row.known.outputs.join(', ') || 'nothing'}</dd>
        </dl>
      )}
      {row.kind === 'step' && (
        <>
          <Field label="name" text={row.name} fault={fault} onCommit={rename} />
          {others.length > 0 && (
            <div className="nbk-field">
              <label htmlFor={`merge-${row.name}`}>merge into</label>
              <select id={`merge-${row.name}`} value="" onChange={event => event.target.value && notebook.rename(row.name, event.target.value)}>
                <option value="">…</option>
                {others.map(name => (
                  <option key={name}>{name}</option>
                ))}
              </select>
            </div>
          )}
        </>
      )}
      {props.schema && (
        <Options
          schema={props.schema}
          values={values}
          fixed={fixed}
          capacity={props.capacity}
          used={props.used}
          onChange={(name, value) => notebook.setOption(row.name, name, value)}
        />
      )}
    </Section>
  );
}

/** Proposed tags, to be accepted as a whole or in part. */
function Proposal(props: {
  readonly tags: readonly ProposedTag[];
  readonly notebook: NotebookSource;
  onDone(): void;
}): React.JSX.Element {
  const [left, setLeft] = React.useState<ReadonlySet<number>>(new Set());
  const taken = props.tags.filter(one => !left.has(one.number));
  const toggle = (number: number) => {
    const next = new Set(left);
    if (!next.delete(number)) {
      next.add(number);
    }
    setLeft(next);
  };
  const box = React.useRef<HTMLElement>(null);
  React.useEffect(() => box.current?.focus(), []);
  if (!props.tags.length) {
    return (
      <Note>
        There is nothing to suggest: every part is tagged. <Button small onClick={props.onDone}>Close</Button>
      </Note>
    );
  }
  return (
    <section ref={box} tabIndex={-1} className="nbk-proposal" aria-label="Suggested tags">
      <h3>Suggested tags</h3>
      <p className="nbk-hint">Nothing is written until you accept; undo takes it back.</p>
      <ul>
        {props.tags.map(one => (
          <li key={one.number}>
            <label>
              <input type="checkbox" checked={!left.has(one.number)} onChange={() => toggle(one.number)} />
              <span>
                <b>{one.tags[0]}</b> <span className="nbk-hint">{one.reason}</span>
              </span>
            </label>
            <button
              type="button"
              className="nbk-link nbk-hint"
              aria-label={`Go to cell ${one.number}`}
              onClick={() => props.notebook.jump(one.id || one.number)}
            >
              cell {one.number}
            </button>
          </li>
        ))}
      </ul>
      <div className="nbk-bar-row">
        <Button
          primary
          disabled={!taken.length}
          onClick={() => {
            props.notebook.apply(taken);
            props.onDone();
          }}
        >
          {taken.length === props.tags.length ? 'Accept all' : `Accept ${taken.length}`}
        </Button>
        <Button onClick={props.onDone}>Discard</Button>
      </div>
    </section>
  );
}
