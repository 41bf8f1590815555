import React from 'react';

import { reason } from './api';
import { Button, Note } from './controls';
import { bytes, moment } from './format';
import type { ObjectAt, StorageApi } from './storageapi';
import type { ObjectPreview, ObjectStat, ObjectVersion } from './wire';

export interface ObjectViewProps {
  readonly api: StorageApi;
  readonly at: ObjectAt;
  onDownload(): void;
  onRestored(): void;
}

/** An object: what is known of it, its beginning, and its versions. */
export function ObjectView(props: ObjectViewProps): React.JSX.Element {
  const { api, at } = props;
  const [stat, setStat] = React.useState<ObjectStat | null>(null);
  const [found, setFound] = React.useState<ObjectPreview | null>(null);
  const [versions, setVersions] = React.useState<readonly ObjectVersion[]>([]);
  const [fault, setFault] = React.useState('');
  const look = async () => {
    setFault('');
    try {
      const known = await api.stat(at);
      setStat(known);
      setFound(await api.objectPreview(at));
      setVersions(known.writable ? (await api.versions(at)).versions : []);
    } catch (error) {
      setFault(reason(error));
    }
  };
  React.useEffect(() => void look(), [at.place, at.bucket, at.key]);
  const restore = async (version: string) => {
    try {
      setVersions((await api.restore(at, version)).versions);
      props.onRestored();
      await look();
    } catch (error) {
      setFault(reason(error));
    }
  };
  return (
    <section className="nbk-object" aria-label={`Preview of ${at.key}`}>
      <header className="nbk-object-head">
        <b className="nbk-object-name">{stat?.location ?? at.key}</b>
        {stat && (
          <span className="nbk-hint">
            {bytes(stat.size)}
            {stat.modified !== null && `, ${moment(stat.modified)}`}
            {stat.type && `, ${stat.type}`}
          </span>
        )}
        <Button small onClick={props.onDownload}>
          Download
        </Button>
      </header>
      {fault && (
        <Note error>
          {fault}{' '}
          <Button small onClick={() => void look()}>
            Try again
          </Button>
        </Note>
      )}
      {!found && !fault && <Note>Reading its beginning…</Note>}
      {found && <Beginning preview={found} name={at.key} />}
      {versions.length > 1 && <VersionList versions={versions} onRestore={version => void restore(version)} />}
    </section>
  );
}

function Beginning(props: { readonly preview: ObjectPreview; readonly name: string }): React.JSX.Element {
  const { preview, name } = props;
  return (
    <div className="nbk-object-body">
      {preview.kind === 'text' && <pre className="nbk-object-text">{preview.text}</pre>}
      {preview.kind === 'image' && preview.text && (
        <img className="nbk-object-image" alt={name} src={`data:${preview.media};base64,${preview.text}`} />
      )}
      {preview.kind === 'image' && !preview.text && <Note>This image is too large to be shown here.</Note>}
      {preview.kind === 'table' && <Table rows={preview.rows ?? []} />}
      {preview.kind === 'notebook' &&
        preview.cells?.map((cell, index) => (
          <pre key={index} className={`nbk-object-cell nbk-mod-${cell.kind === 'code' ? 'code' : 'prose'}`}>
            {cell.source}
          </pre>
        ))}
      {preview.kind === 'records' &&
        preview.records?.map((record, index) => (
          <div key={index} className="nbk-object-record">
            <div className="nbk-hint">
              Record {index + 1}, {bytes(record.size)}
            </div>
            <Table rows={[['feature', 'type', 'values', ''], ...record.features.map(one => [one.name, one.type, String(one.count), one.text])]} />
          </div>
        ))}
      {preview.kind === 'other' && <Note>These bytes are nothing that can be shown as text. Download them to look at them.</Note>}
      {preview.cut && preview.kind !== 'image' && preview.kind !== 'other' && <p className="nbk-hint">There is more: this is the beginning.</p>}
    </div>
  );
}

function Table(props: { readonly rows: readonly (readonly string[])[] }): React.JSX.Element {
  const [head, ...rows] = props.rows;
  return (
    <div className="nbk-object-scroll" tabIndex={0} role="region" aria-label="Table">
      <table className="nbk-object-table">
        <thead>
          <tr>{head?.map((cell, index) => <th key={index}>{cell}</th>)}</tr>
        </thead>
        <tbody>
          {rows.map((row, index) => (
            <tr key={index}>
              {row.map((cell, column) => (
                <td key={column}>{cell}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function VersionList(props: { readonly versions: readonly ObjectVersion[]; onRestore(version: string): void }): React.JSX.Element {
  return (
    <section aria-label="Versions">
      <h3>Versions</h3>
      <ul className="nbk-object-versions">
        {props.versions.map(one => (
          <li key={one.id}>
            <span>{one.modified === null ? '' : moment(one.modified)}</span>
            <span className="nbk-hint">{one.deleted ? 'removed' : bytes(one.size)}</span>
            {one.latest ? (
              <span className="nbk-hint">the newest</span>
            ) : one.deleted ? (
              <span />
            ) : (
              <Button small onClick={() => props.onRestore(one.id)}>
                Restore
              </Button>
            )}
          </li>
        ))}
      </ul>
    </section>
  );
}
