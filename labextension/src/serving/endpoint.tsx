import React from 'react';

import { type Api, reason } from '../core/api';
import { Button, Note } from '../core/controls';
import type { EndpointRow, ModelRow, Prediction } from '../core/wire';

/** An endpoint: where it is, what it does, a form to try it, code that calls it, its versions. */
export function Endpoint(props: {
  readonly api: Api;
  readonly path: string;
  readonly place: string;
  readonly row: EndpointRow;
  readonly model: ModelRow | undefined;
  onChanged(): Promise<void>;
}): React.JSX.Element {
  const { api, path, place, row, model } = props;
  const [busy, setBusy] = React.useState('');
  const [fault, setFault] = React.useState('');
  const act = (verb: 'stop' | 'rollback' | 'canary', values: object = {}) => {
    setBusy(verb);
    setFault('');
    api
      .send<EndpointRow>('POST', `endpoints/${verb}`, { path, place, name: row.name, ...values })
      .then(props.onChanged, error => setFault(reason(error)))
      .finally(() => setBusy(''));
  };
  const version = model?.versions.find(one => one.version === row.version);
  return (
    <div className="nbk-endpoint" role="group" aria-label={`Endpoint ${row.name}`}>
      <h4>
        {row.name} <span className="nbk-phase nbk-phase-Succeeded">✓ {row.phase}</span>
      </h4>
      <p className="nbk-url">
        <code>{row.url}</code>
      </p>
      <p>
        Version {row.version}
        {row.canary > 0 && `; ${Math.round(row.share * 100)} % go to version ${row.canary}`}
        {row.shadow > 0 && `; copies go to version ${row.shadow}`}. {row.answers} answers, {row.faults} of them refusals or faults.
      </p>
      <Latency seconds={row.latencies} />
      <TryIt api={api} path={path} place={place} row={row} example={version?.example ?? '[]'} onAnswered={props.onChanged} />
      <Canary row={row} model={model} busy={busy !== ''} onShare={(number, share) => act('canary', { version: number, share })} />
      <details>
        <summary>Code that calls it</summary>
        <pre className="nbk-code">{python(row, version?.example ?? '[]')}</pre>
        <pre className="nbk-code">{curl(row, version?.example ?? '[]')}</pre>
      </details>
      <div className="nbk-serve-line">
        {(row.previous > 0 || row.canary > 0) && (
          <Button disabled={busy !== ''} onClick={() => act('rollback')}>
            {row.canary > 0 ? 'End the canary' : `Roll back to ${row.previous}`}
          </Button>
        )}
        <Button danger disabled={busy !== ''} label={`Stop the endpoint ${row.name}`} onClick={() => act('stop')}>
          {busy === 'stop' ? 'Stopping…' : 'Stop'}
        </Button>
      </div>
      {fault && <Note error>{fault}</Note>}
    </div>
  );
}

/** A request filled with the model's example, and its answer. */
function TryIt(props: {
  readonly api: Api;
  readonly path: string;
  readonly place: string;
  readonly row: EndpointRow;
  readonly example: string;
  onAnswered(): Promise<void>;
}): React.JSX.Element {
  const { api, path, place, row, example } = props;
  const [text, setText] = React.useState(example);
  const [answer, setAnswer] = React.useState<Prediction | null>(null);
  const [fault, setFault] = React.useState('');
  const [busy, setBusy] = React.useState(false);
  const id = React.useId();
  React.useEffect(() => setText(example), [example]);
  const send = () => {
    setBusy(true);
    setFault('');
    setAnswer(null);
    api
      .send<Prediction>('POST', 'endpoints/predict', { path, place, name: row.name, data: text })
      .then(
        found => {
          setAnswer(found);
          return props.onAnswered();
        },
        error => setFault(reason(error))
      )
      .finally(() => setBusy(false));
  };
  return (
    <div className="nbk-try">
      <label htmlFor={id}>Rows to send</label>
      <textarea id={id} rows={4} spellCheck={false} value={text} onChange={event => setText(event.target.value)} />
      <Button primary disabled={busy || row.authenticated} onClick={send}>
        {busy ? 'Sending…' : 'Send'}
      </Button>
      {row.authenticated && <Note>It asks for a token: use the code below.</Note>}
      {answer && (
        <div className="nbk-answer" role="status" aria-label="Answer">
          <code>{answer.answer}</code> <span className="nbk-hint">{(answer.seconds * 1000).toFixed(0)} ms</span>
        </div>
      )}
      {fault && <Note error>{fault}</Note>}
    </div>
  );
}

/** A share of the requests for another version. */
function Canary(props: {
  readonly row: EndpointRow;
  readonly model: ModelRow | undefined;
  readonly busy: boolean;
  onShare(version: number, share: number): void;
}): React.JSX.Element | null {
  const { row, model } = props;
  const others = (model?.versions ?? []).filter(one => one.version !== row.version);
  const [number, setNumber] = React.useState(row.canary || others[0]?.version || 0);
  const [percent, setPercent] = React.useState(Math.round(row.share * 100) || 10);
  const id = React.useId();
  if (others.length === 0) {
    return null;
  }
  const chosen = others.some(one => one.version === number) ? number : others[0]!.version;
  return (
    <div className="nbk-serve-line">
      <label htmlFor={`${id}-version`}>canary</label>
      <select id={`${id}-version`} value={chosen} onChange={event => setNumber(Number(event.target.value))}>
        {others.map(one => (
          <option key={one.version} value={one.version}>
            {one.version}
          </option>
        ))}
      </select>
      <label htmlFor={`${id}-share`}>share</label>
      <input id={`${id}-share`} type="range" min={0} max={100} step={5} value={percent} onChange={event => setPercent(Number(event.target.value))} />
      <span>{percent} %</span>
      <Button disabled={props.busy} onClick={() => props.onShare(chosen, percent / 100)}>
        Apply
      </Button>
    </div>
  );
}

const WIDTH = 240;
const HEIGHT = 36;

/** The times of the last answers. */
function Latency(props: { readonly seconds: readonly number[] }): React.JSX.Element | null {
  const { seconds } = props;
  if (seconds.length === 0) {
    return null;
  }
  const sorted = [...seconds].sort((one, two) => one - two);
  const at = (share: number) => ((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0) * 1000).toFixed(1);
  const top = sorted[sorted.length - 1]! || 1;
  const step = WIDTH / Math.max(seconds.length, 40); // few answers are few bars, not wide ones
  const words = `last ${seconds.length} answers: median ${at(0.5)} ms, 95 % within ${at(0.95)} ms`;
  return (
    <figure className="nbk-latency">
      <svg role="img" aria-label={words} viewBox={`0 0 ${WIDTH} ${HEIGHT}`} width="100%" height={HEIGHT} preserveAspectRatio="none">
        {seconds.map((one, index) => {
          const height = Math.max(1, (one / top) * HEIGHT);
          return <rect key={index} x={index * step} y={HEIGHT - height} width={Math.max(1, step - 1)} height={height} />;
        })}
      </svg>
      <figcaption className="nbk-hint">{words}</figcaption>
    </figure>
  );
}

function python(row: EndpointRow, example: string): string {
  const header = row.authenticated ? ', headers={"Authorization": f"Bearer {token}"}' : '';
  return `import requests\n\nrows = ${example}\nanswer = requests.post(\n    "${row.url}/v1/models/${row.name}:predict", json={"instances": rows}${header}\n)\nprint(answer.json()["predictions"])`;
}

function curl(row: EndpointRow, example: string): string {
  const header = row.authenticated ? ' -H "Authorization: Bearer $TOKEN"' : '';
  const body = `{"instances": ${example.replaceAll('\n', '')}}`.replaceAll("'", `'\\''`);
  return `curl ${row.url}/v1/models/${row.name}:predict${header} -d '${body}'`;
}
