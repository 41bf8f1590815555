// In a chunk of its own: what JupyterLab loads at its start is to stay small.
import '../../style/labs.css';

import React from 'react';

import { type Api, ApiError, reason } from '../core/api';
import { Button, Field, Note, Problems } from '../core/controls';
import type { Capacity, Empty, LabAddress, LabList, LabRow, Problem } from '../core/wire';

const EVERY = 3000;
const HERE = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;

interface LabsProps {
  readonly api: Api;
  readonly path: string;
  readonly place: string;
  readonly capacity: Capacity;
}

/** The notebook servers of a cluster's namespace, and the form that makes one. */
export default function Labs(props: LabsProps): React.JSX.Element {
  const { api, path, place } = props;
  const [found, setFound] = React.useState<LabList | null>(null);
  const [fault, setFault] = React.useState('');
  const [making, setMaking] = React.useState(false);
  const look = React.useCallback(
    () =>
      api.send<LabList>('GET', 'labs', { path, place }).then(
        list => {
          setFound(list);
          setFault('');
        },
        error => setFault(reason(error))
      ),
    [api, path, place]
  );
  React.useEffect(() => {
    void look();
    const timer = setInterval(() => document.hidden || void look(), EVERY);
    return () => clearInterval(timer);
  }, [look]);
  return (
    <section className="nbk-labs" aria-label="Notebook servers">
      <h4>Notebook servers</h4>
      {fault && <Note error>{fault}</Note>}
      {found?.labs.length === 0 && !making && <p className="nbk-hint">None is there. A server runs JupyterLab in a pod, its files on a volume.</p>}
      {found?.labs.map(one => (
        <Server key={one.name} {...props} row={one} onChanged={look} />
      ))}
      {found && making && (
        <Form
          {...props}
          known={found}
          onEnd={() => {
            setMaking(false);
            void look();
          }}
        />
      )}
      {found && !making && <Button onClick={() => setMaking(true)}>New server…</Button>}
    </section>
  );
}

/** A server: how it is, the way to it, the way out. */
function Server(props: LabsProps & { readonly row: LabRow; onChanged(): Promise<void> }): React.JSX.Element {
  const { api, path, place, row } = props;
  const [url, setUrl] = React.useState('');
  const [asking, setAsking] = React.useState(false);
  const [files, setFiles] = React.useState(false);
  const [fault, setFault] = React.useState('');
  const own = row.workspace === `nbkube-lab-${row.name}`;
  const connect = () => {
    setFault('');
    api.send<LabAddress>('POST', 'labs/connect', { path, place, name: row.name }).then(
      one => setUrl(one.url),
      error => setFault(reason(error))
    );
  };
  const remove = () => {
    setFault('');
    setAsking(false);
    api.send<Empty>('POST', 'labs/down', { path, place, name: row.name, workspace: files }).then(props.onChanged, error => setFault(reason(error)));
  };
  const devices = Object.entries(row.devices).map(([name, count]) => `${name}=${count}`);
  return (
    <div className="nbk-lab" role="group" aria-label={`Server ${row.name}`}>
      <p>
        <b>{row.name}</b> <span>{row.phase}</span> <span className="nbk-hint">{[row.cpu && `${row.cpu} CPU`, row.memory, ...devices].filter(Boolean).join(', ')}</span>
      </p>
      <p className="nbk-hint">
        {row.reason && <>{row.reason} · </>}
        {row.image} · files on {row.workspace}
      </p>
      {url && (
        <p>
          <a href={url} target="_blank" rel="noopener noreferrer">
            Open {row.name} in a new page
          </a>
          {!HERE.test(location.hostname) && (
            <span className="nbk-hint">
              {' '}
              This address is on the machine of your Jupyter server. On your own machine type <code>nbkube lab up {row.name}</code> instead.
            </span>
          )}
        </p>
      )}
      <div className="nbk-bar-row">
        {!url && (
          <Button label={`Connect to ${row.name}`} disabled={row.phase !== 'Ready'} onClick={connect}>
            Connect
          </Button>
        )}
        {!asking && (
          <Button danger label={`Take ${row.name} away…`} onClick={() => setAsking(true)}>
            Take away…
          </Button>
        )}
      </div>
      {asking && (
        <div className="nbk-bar-row">
          {own && (
            <label>
              <input type="checkbox" checked={files} onChange={event => setFiles(event.target.checked)} /> with its volume and all files
            </label>
          )}
          <Button danger label={`Take ${row.name} away`} onClick={remove}>
            {own && files ? 'Delete server and files' : 'Take away, keep the files'}
          </Button>
          <Button onClick={() => setAsking(false)}>Keep</Button>
        </div>
      )}
      {fault && <Note error>{fault}</Note>}
    </div>
  );
}

const NEW = 'new';

/** What a server is made of. */
function Form(props: LabsProps & { readonly known: LabList; onEnd(): void }): React.JSX.Element {
  const { api, path, place, capacity, known } = props;
  const id = React.useId();
  const devices = Object.keys(capacity.total).filter(name => name.includes('/'));
  const usual = devices.find(one => one === 'nvidia.com/gpu') ?? devices[0] ?? ''; // what a step's `gpu` means, too
  const [texts, setTexts] = React.useState<Readonly<Record<string, string>>>({ size: '10Gi', device: usual });
  const [workspace, setWorkspace] = React.useState(NEW);
  const [busy, setBusy] = React.useState(false);
  const [fault, setFault] = React.useState('');
  const [problems, setProblems] = React.useState<readonly Problem[]>([]);
  const text = (name: string) => texts[name] ?? '';
  const field = (name: string, label: string, placeholder: string) => (
    <Field label={label} text={text(name)} placeholder={placeholder} onCommit={given => setTexts(before => ({ ...before, [name]: given }))} />
  );
  const choice = (name: string, label: string, options: readonly string[], empty: string) => (
    <div className="nbk-field">
      <label htmlFor={`${id}-${name}`}>{label}</label>
      <select id={`${id}-${name}`} value={text(name)} onChange={event => setTexts(before => ({ ...before, [name]: event.target.value }))}>
        {empty && <option value="">{empty}</option>}
        {options.map(one => (
          <option key={one}>{one}</option>
        ))}
      </select>
    </div>
  );
  const make = () => {
    setBusy(true);
    setFault('');
    setProblems([]);
    const volume = [NEW, text('size').trim(), text('class')].filter(Boolean).join(':');
    const body = {
      path,
      place,
      name: text('name'),
      image: text('image'),
      cpu: text('cpu'),
      memory: text('memory'),
      gpu: text('gpu') && (text('device') ? `${text('device')}=${text('gpu')}` : text('gpu')),
      gpu_type: text('kind'),
      workspace: workspace === NEW ? volume : workspace,
      volumes: text('volumes')
        .split(',')
        .map(one => one.trim())
        .filter(Boolean)
    };
    api
      .send<LabRow>('POST', 'labs', body)
      .then(props.onEnd, error => {
        setProblems(error instanceof ApiError ? error.problems : []);
        setFault(error instanceof ApiError && error.problems.length ? '' : reason(error));
      })
      .finally(() => setBusy(false));
  };
  return (
    <form
      className="nbk-labform"
      aria-label="New notebook server"
      onSubmit={event => {
        event.preventDefault();
        make();
      }}
    >
      {field('name', 'name', 'lower-case letters, digits, dashes')}
      {field('image', 'image', known.image || 'one that holds JupyterLab')}
      {field('cpu', 'cpu', 'of the profile')}
      {field('memory', 'memory', 'of the profile')}
      {field('gpu', 'gpu', 'how many; none')}
      {devices.length > 1 && choice('device', 'gpu kind', devices, '')}
      {field('kind', 'gpu model', 'any')}
      <div className="nbk-field">
        <label htmlFor={`${id}-workspace`}>workspace</label>
        <select id={`${id}-workspace`} value={workspace} onChange={event => setWorkspace(event.target.value)}>
          <option value={NEW}>a new volume</option>
          {known.claims.map(one => (
            <option key={one}>{one}</option>
          ))}
        </select>
      </div>
      {workspace === NEW && field('size', 'size', '10Gi')}
      {workspace === NEW && choice('class', 'storage class', capacity.storage_classes, 'the default one')}
      {field('volumes', 'data volumes', 'CLAIM:/path, new:SIZE:/path')}
      {fault && <Note error>{fault}</Note>}
      {problems.length > 0 && <Problems problems={problems} jump={() => undefined} />}
      <div className="nbk-bar-row">
        <Button primary disabled={busy || !text('name')} onClick={make}>
          {busy ? 'Making…' : 'Make the server'}
        </Button>
        <Button onClick={props.onEnd}>Cancel</Button>
      </div>
    </form>
  );
}
