// In this chunk: what JupyterLab loads at its start is to stay small.
import '../../style/serving.css';

import React from 'react';

import { type Api, reason } from '../core/api';
import { Button, Note, Section } from '../core/controls';
import type { EndpointRow, Information, ModelList, ModelRow } from '../core/wire';
import { Endpoint } from './endpoint';

const EVERY = 3000;

/** The models of a project with those of another place, and what is being served in that place. */
async function listed(api: Api, path: string, place: string): Promise<ModelList> {
  const there = await api.send<ModelList>('GET', 'models', { path, place });
  if (!place) {
    return there;
  }
  const here = await api.send<ModelList>('GET', 'models', { path });
  const more = there.models.filter(one => here.models.every(known => known.name !== one.name));
  return { ...there, models: [...here.models, ...more], fault: there.fault || here.fault || '' };
}

/** The models of a project and what is being served; a chunk of its own. */
export default function Models(props: { readonly api: Api; readonly path: string }): React.JSX.Element {
  const { api, path } = props;
  const [found, setFound] = React.useState<ModelList | null>(null);
  const [fault, setFault] = React.useState('');
  const [information, setInformation] = React.useState<Information | null>(null);
  const [place, setPlace] = React.useState('');
  const id = React.useId();
  React.useEffect(() => {
    api.information(path).then(setInformation, () => setInformation(null));
  }, [api, path]);
  const look = React.useCallback(
    () =>
      listed(api, path, place).then(
        list => {
          setFound(list);
          setFault('');
        },
        error => setFault(reason(error))
      ),
    [api, path, place]
  );
  React.useEffect(() => {
    let ended = false;
    let timer = 0;
    const again = () => {
      void look().then(() => {
        if (!ended) {
          timer = window.setTimeout(again, EVERY);
        }
      });
    };
    again();
    return () => {
      ended = true;
      window.clearTimeout(timer);
    };
  }, [look]);
  if (!found) {
    return fault ? <Note error>{fault}</Note> : <Note>Loading…</Note>;
  }
  const running = found.endpoints.filter(one => one.phase === 'Ready');
  return (
    <>
      {information && information.places.length > 1 && (
        <div className="nbk-serve-line">
          <label htmlFor={`${id}-place`}>Served</label>
          <select id={`${id}-place`} value={place || information.default} onChange={event => setPlace(event.target.value === information.default ? '' : event.target.value)}>
            {information.places.map(one => (
              <option key={one.name} value={one.name}>
                {one.name}: {one.detail}
              </option>
            ))}
          </select>
        </div>
      )}
      {(fault || found.fault) && <Note error>{fault || found.fault}</Note>}
      <Section title="Endpoints">
        {running.length === 0 && <Note>Nothing is being served.</Note>}
        {running.map(one => (
          <Endpoint key={one.name} api={api} path={path} place={place} row={one} model={found.models.find(model => model.name === one.name)} onChanged={look} />
        ))}
      </Section>
      <Section title="Models">
        {found.models.length === 0 && <Note>No model yet. Give a step the option model, for instance digits=reader, and run.</Note>}
        {found.models.map(one => (
          <Model key={one.name} api={api} path={path} place={place} row={one} endpoint={running.find(endpoint => endpoint.name === one.name)} onChanged={look} />
        ))}
      </Section>
    </>
  );
}

/** A model, a version to choose, and the button that serves it. */
function Model(props: {
  readonly api: Api;
  readonly path: string;
  readonly place: string;
  readonly row: ModelRow;
  readonly endpoint: EndpointRow | undefined;
  onChanged(): Promise<void>;
}): React.JSX.Element {
  const { api, path, place, row, endpoint } = props;
  const newest = row.versions[0]!;
  const [number, setNumber] = React.useState(newest.version);
  const [workers, setWorkers] = React.useState(2);
  const [busy, setBusy] = React.useState(false);
  const [fault, setFault] = React.useState('');
  const [agreed, setAgreed] = React.useState(false);
  const version = row.versions.find(one => one.version === number) ?? newest;
  const id = React.useId();
  const serve = () => {
    setBusy(true);
    setFault('');
    const trust = version.runs_code && agreed ? version.digest : '';
    api
      .send<EndpointRow>('POST', 'endpoints', { path, place, name: row.name, version: version.version, workers, trust })
      .then(props.onChanged, error => setFault(reason(error)))
      .finally(() => setBusy(false));
  };
  const metrics = Object.entries(version.metrics);
  return (
    <div className="nbk-model" role="group" aria-label={`Model ${row.name}`}>
      <h4>{row.name}</h4>
      <div className="nbk-serve-line">
        <label htmlFor={`${id}-version`}>version</label>
        <select id={`${id}-version`} value={version.version} onChange={event => setNumber(Number(event.target.value))}>
          {row.versions.map(one => (
            <option key={one.version} value={one.version}>
              {one.version}
            </option>
          ))}
        </select>
        <label htmlFor={`${id}-workers`}>workers</label>
        <input
          id={`${id}-workers`}
          type="number"
          min={1}
          max={16}
          value={workers}
          disabled={endpoint !== undefined}
          onChange={event => setWorkers(Math.min(16, Math.max(1, Number(event.target.value) || 1)))}
        />
        <Button primary disabled={busy || endpoint?.version === version.version} onClick={serve}>
          {busy ? 'Starting…' : endpoint ? `Switch to ${version.version}` : 'Serve'}
        </Button>
      </div>
      <dl className="nbk-pairs">
        <dt>format</dt>
        <dd>{version.format}</dd>
        <dt>takes</dt>
        <dd>{version.takes.join('; ')}</dd>
        <dt>gives</dt>
        <dd>{version.gives.join('; ')}</dd>
        {metrics.map(([name, value]) => (
          <React.Fragment key={name}>
            <dt>{name}</dt>
            <dd>{typeof value === 'number' ? Number(value.toPrecision(6)) : String(value)}</dd>
          </React.Fragment>
        ))}
        <dt>made by</dt>
        <dd>{version.run ? `${version.step} of ${version.run}` : version.source}</dd>
      </dl>
      {version.runs_code && (
        <label className="nbk-consent">
          <input type="checkbox" checked={agreed} onChange={event => setAgreed(event.target.checked)} /> It runs code when it is loaded. I trust{' '}
          <code title={version.digest}>{version.digest.slice(0, 16)}…</code>
        </label>
      )}
      {busy && <Note>Starting: it is ready when it has answered its example.</Note>}
      {fault && <Note error>{fault}</Note>}
    </div>
  );
}
