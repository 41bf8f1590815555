import React from 'react';

import { ApiError, reason, type Api } from './api';
import { Button, Field, Note, Problems, useChanges } from './controls';
import { amount, value } from './format';
import type { NotebookSource } from './notebook';
import type { RunsModel } from './runs';
import type { Information, PipelineParameter, Preview, Problem } from './wire';

export interface RunFormProps {
  readonly api: Api;
  readonly notebook: NotebookSource;
  readonly runs: RunsModel;
  readonly information: Information | null;
  /** Values to begin with. */
  readonly parameters: Readonly<Record<string, unknown>>;
  onStarted(run: string): void;
  onCancel(): void;
}

const FORECASTS = { known: '= known', run: '▶ will run', open: '· open' } as const;

/** Choose parameters, look at what the server would run, start it. */
export function RunForm(props: RunFormProps): React.JSX.Element {
  const { api, notebook } = props;
  useChanges(notebook);
  const [texts, setTexts] = React.useState<Readonly<Record<string, string>>>(() =>
    Object.fromEntries(Object.entries(props.parameters).map(([name, one]) => [name, value(one)]))
  );
  const [experiment, setExperiment] = React.useState('');
  const [useCache, setUseCache] = React.useState(true);
  const [place, setPlace] = React.useState(props.information?.default ?? '');
  const [preview, setPreview] = React.useState<Preview | null>(null);
  const [problems, setProblems] = React.useState<readonly Problem[]>([]);
  const [fault, setFault] = React.useState('');
  const [busy, setBusy] = React.useState(true);
  const [doing, setDoing] = React.useState('');
  const turn = React.useRef(0);
  const body = () => ({ path: notebook.path, parameters: texts, experiment, use_cache: useCache, place });

  const refuse = (error: unknown) => {
    setFault(error instanceof ApiError && error.problems.length ? '' : reason(error));
    setProblems(error instanceof ApiError ? error.problems : []);
  };
  const look = async () => {
    const mine = ++turn.current;
    setBusy(true);
    try {
      await notebook.save();
      const found = await api.preview(body());
      if (mine === turn.current) {
        setPreview(found);
        setProblems(found.problems.filter(one => one.severity !== 'info'));
        setFault('');
      }
    } catch (error) {
      if (mine === turn.current) {
        setPreview(null);
        refuse(error);
      }
    }
    if (mine === turn.current) {
      setBusy(false);
    }
  };
  // Shown again whenever what would be sent has changed.
  React.useEffect(() => void look(), [texts, useCache, place, notebook.path]);

  const start = async () => {
    setBusy(true);
    // An image may have to be built first.
    const ticket = String(Math.random());
    const timer = setInterval(() => void api.starting(ticket).then(one => setDoing(one.doing), () => undefined), 700);
    try {
      props.onStarted(await props.runs.start({ ...body(), digest: preview!.digest, ticket }));
    } catch (error) {
      refuse(error);
      setBusy(false);
    }
    clearInterval(timer);
    setDoing('');
  };
  const parameters = notebook.view?.parameters ?? [];
  const known = preview?.steps.filter(step => step.forecast === 'known').length ?? 0;
  const asks = preview?.steps.some(step => Object.keys(step.options).length > 0);
  const places = props.information?.places ?? [];
  return (
    <section className="nbk-runform" aria-label="Run the notebook">
      <h3>Run {notebook.title}</h3>
      {places.length > 1 && (
        <div className="nbk-field">
          <label htmlFor="nbk-place">where</label>
          <select id="nbk-place" value={place} onChange={event => setPlace(event.target.value)}>
            {places.map(one => (
              <option key={one.name} value={one.name}>
                {one.name}: {one.detail}
              </option>
            ))}
          </select>
        </div>
      )}
      {parameters.map(one => (
        <Parameter key={one.name} parameter={one} text={texts[one.name]} onChange={text => setTexts(changed(texts, one, text))} />
      ))}
      {!parameters.length && <p className="nbk-hint">This notebook has no parameters. Tag a cell of plain values “parameters” to have some.</p>}
      <Field label="experiment" text={experiment} placeholder="groups runs" onCommit={setExperiment} />
      <div className="nbk-field nbk-mod-check">
        <input id="nbk-cache" type="checkbox" checked={useCache} onChange={event => setUseCache(event.target.checked)} />
        <label htmlFor="nbk-cache">take results that are known already</label>
      </div>
      {fault && <Note error>{fault}</Note>}
      {problems.length > 0 && <Problems problems={problems} jump={(cell, line) => notebook.jump(cell, line)} />}
      {preview?.ready && (
        <div className="nbk-preview" aria-busy={busy}>
          <h4>What will happen</h4>
          <p className="nbk-hint">
            {preview.steps.length} steps on {preview.place.detail}
            {known > 0 && `; ${known} of them known already`}.{' '}
            {preview.steps.some(step => step.forecast === 'open') && 'Open: known or not when the steps before have run.'}
          </p>
          <table>
            <thead>
              <tr>
                <th scope="col">Step</th>
                <th scope="col">Forecast</th>
                {asks && <th scope="col">Asks for</th>}
              </tr>
            </thead>
            <tbody>
              {preview.steps.map(step => (
                <tr key={step.name}>
                  <th scope="row">{step.name}</th>
                  <td>{FORECASTS[step.forecast]}</td>
                  {asks && <td>{asked(step.options)}</td>}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      <div className="nbk-bar-row">
        <Button primary disabled={busy || !preview?.ready} onClick={() => void start()}>
          Start
        </Button>
        <Button onClick={props.onCancel}>Cancel</Button>
        {busy && (
          <span className="nbk-hint" role="status">
            {doing || 'asking the server…'}
          </span>
        )}
      </div>
    </section>
  );
}

function changed(texts: Readonly<Record<string, string>>, parameter: PipelineParameter, text: string): Record<string, string> {
  const next = { ...texts, [parameter.name]: text };
  if (text === '' || text === value(parameter.default)) {
    delete next[parameter.name];
  }
  return next;
}

function Parameter(props: {
  readonly parameter: PipelineParameter;
  readonly text: string | undefined;
  onChange(text: string): void;
}): React.JSX.Element {
  const { parameter, text } = props;
  const id = React.useId();
  if (parameter.type === 'bool') {
    return (
      <div className="nbk-field nbk-mod-check">
        <input
          id={id}
          type="checkbox"
          checked={(text ?? value(parameter.default)) === 'true'}
          onChange={event => props.onChange(String(event.target.checked))}
        />
        <label htmlFor={id} title={parameter.help}>
          {parameter.name}
        </label>
      </div>
    );
  }
  return (
    <Field
      label={parameter.name}
      text={text ?? value(parameter.default)}
      help={parameter.help}
      placeholder={value(parameter.default)}
      extra={parameter.help && <span className="nbk-beside">{parameter.help}</span>}
      onCommit={props.onChange}
    />
  );
}

function asked(options: Readonly<Record<string, unknown>>): string {
  const said = (name: string, one: unknown): string => {
    if (Array.isArray(one)) {
      return one.map(each => said(name, each)).join(' ');
    }
    if (one !== null && typeof one === 'object') {
      return Object.entries(one)
        .map(([key, count]) => `${key}=${value(count)}`)
        .join(' ');
    }
    return typeof one === 'number' ? amount(name, one) : value(one);
  };
  return Object.entries(options)
    .map(([name, one]) => `${name} ${said(name, one)}`)
    .join(', ');
}
