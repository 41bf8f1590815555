import React from 'react';

import { Button, Note, PhaseMark, useChanges } from './controls';
import { Compare } from './compare';
import { counted, duration, moment, value } from './format';
import type { RunsModel } from './runs';
import type { Place, RunSummary } from './wire';

const ROW = 44;
const PHASES = ['Running', 'Succeeded', 'Failed', 'Cancelled', 'Unknown'];

/** The runs of a project, newest first. Only the rows in sight are in the page. */
export function RunList(props: {
  readonly runs: RunsModel;
  readonly places: readonly Place[];
  onShow(run: string): void;
}): React.JSX.Element {
  const { runs } = props;
  useChanges(runs);
  const [top, setTop] = React.useState(0);
  const [height, setHeight] = React.useState(600);
  const [picked, setPicked] = React.useState<ReadonlySet<string>>(new Set());
  const [compare, setCompare] = React.useState(false);
  const [text, setText] = React.useState(runs.filter.text);
  const box = React.useRef<HTMLDivElement>(null);
  React.useEffect(() => {
    const timer = setTimeout(() => text !== runs.filter.text && runs.find({ text }), 250);
    return () => clearTimeout(timer);
  }, [text]);
  React.useEffect(() => {
    if (!box.current) {
      return;
    }
    const observer = new ResizeObserver(() => setHeight(box.current?.clientHeight ?? 600));
    observer.observe(box.current);
    return () => observer.disconnect();
  }, [compare]);
  const { rows } = runs;
  if (compare) {
    return <Compare runs={rows.filter(row => picked.has(row.id))} onBack={() => setCompare(false)} />;
  }
  const first = Math.max(0, Math.floor(top / ROW) - 5);
  const shown = rows.slice(first, first + Math.ceil(height / ROW) + 10);
  const filtered = runs.filter.text !== '' || runs.filter.phase !== '' || runs.filter.notebook;
  const pick = (run: string) => {
    const next = new Set(picked);
    if (!next.delete(run)) {
      next.add(run);
    }
    setPicked(next);
  };
  return (
    <div className="nbk-runs">
      <div className="nbk-bar-row">
        <input
          type="search"
          className="nbk-mod-wide"
          aria-label="Find runs"
          placeholder="Name, label, note, rate=0.1"
          value={text}
          onChange={event => setText(event.target.value)}
        />
        <select aria-label="State" value={runs.filter.phase} onChange={event => runs.find({ phase: event.target.value })}>
          <option value="">any state</option>
          {PHASES.map(phase => (
            <option key={phase}>{phase}</option>
          ))}
        </select>
        {props.places.length > 1 && (
          <select aria-label="Runs of" value={runs.at.place} onChange={event => runs.look({ place: event.target.value })}>
            <option value="">default place</option>
            {props.places.map(one => (
              <option key={one.name}>{one.name}</option>
            ))}
          </select>
        )}
        <Button label="Only runs of this notebook" small pressed={runs.filter.notebook} onClick={() => runs.find({ notebook: !runs.filter.notebook })}>
          This notebook
        </Button>
        {runs.loading && rows.length > 0 && (
          <span className="nbk-hint nbk-late" role="status">
            {filtered ? 'Searching…' : 'Loading…'}
          </span>
        )}
        {picked.size > 1 && (
          <Button small primary onClick={() => setCompare(true)}>
            Compare {picked.size}
          </Button>
        )}
      </div>
      {runs.fault && <Note error>{runs.fault}</Note>}
      {!rows.length && !runs.loading && !runs.fault && (
        <Note>{filtered ? 'No run fits.' : 'There are no runs yet. Open a notebook, look at its pipeline, and press Run.'}</Note>
      )}
      {!rows.length && runs.loading && <Note>Loading…</Note>}
      <div
        ref={box}
        className="nbk-rows"
        onScroll={event => {
          const area = event.currentTarget;
          setTop(area.scrollTop);
          if (area.scrollTop + area.clientHeight > area.scrollHeight - ROW * 20) {
            void runs.loadMore();
          }
        }}
      >
        <div style={{ height: `${rows.length * ROW}px`, position: 'relative' }}>
          <ul aria-label="Runs" style={{ transform: `translateY(${first * ROW}px)` }}>
            {shown.map(row => (
              <Row key={row.id} row={row} picked={picked.has(row.id)} onPick={() => pick(row.id)} onShow={() => props.onShow(row.id)} />
            ))}
          </ul>
        </div>
      </div>
      {rows.length > 0 && (
        <div className="nbk-hint" role="status">
          {filtered ? `${rows.length}${runs.more ? '+' : ''} fit, ${runs.total} in all` : counted(runs.total, 'run')}
        </div>
      )}
    </div>
  );
}

function Row(props: { readonly row: RunSummary; readonly picked: boolean; onPick(): void; onShow(): void }): React.JSX.Element {
  const { row } = props;
  const metrics = Object.entries(row.metrics).slice(0, 2);
  const going = row.phase === 'Running' || row.phase === 'Pending';
  return (
    <li className="nbk-row" style={{ height: `${ROW}px` }}>
      <input type="checkbox" aria-label={`Compare ${row.id}`} checked={props.picked} onChange={props.onPick} />
      <button type="button" onClick={props.onShow} aria-label={`${row.name || row.notebook}, ${row.phase}, ${moment(row.created)}, run ${row.id}`}>
        <span className="nbk-row-top">
          <PhaseMark phase={row.phase} bare />
          <span className="nbk-name">{row.name || row.notebook}</span>
          <span className="nbk-hint">
            {going ? `${row.done}/${row.total} ${row.current}` : duration(row.seconds)} · {moment(row.started || row.created)}
          </span>
        </span>
        <span className="nbk-hint nbk-row-low">
          {[
            ...row.labels.map(label => `#${label}`),
            row.experiment,
            ...metrics.map(([name, one]) => `${name} ${value(one)}`),
            row.note || (row.phase === 'Failed' ? row.reason : '')
          ]
            .filter(Boolean)
            .join(' · ') || row.id}
        </span>
      </button>
    </li>
  );
}
