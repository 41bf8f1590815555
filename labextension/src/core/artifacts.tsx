import React from 'react';

import { reason, type Api, type At } from './api';
import { Button, Note } from './controls';
import { bytes } from './format';
import { save } from './log';
import type { ArtifactList, FilePreview } from './wire';

/** Variables and files that a run has left, with previews. */
export function Artifacts(props: { readonly api: Api; readonly run: string; readonly at: At }): React.JSX.Element {
  const { api, run, at } = props;
  const [made, setMade] = React.useState<ArtifactList | null>(null);
  const [shown, setShown] = React.useState<FilePreview | null>(null);
  const [fault, setFault] = React.useState('');
  React.useEffect(() => {
    let current = true;
    setShown(null);
    api.artifacts(run, at).then(
      found => current && setMade(found),
      error => current && setFault(reason(error))
    );
    return () => {
      current = false;
    };
  }, [api, run, at]);
  if (fault) {
    return <Note error>{fault}</Note>;
  }
  if (!made) {
    return <Note>Loading…</Note>;
  }
  const open = async (file: string) => {
    if (shown?.path === file) {
      setShown(null);
      return;
    }
    try {
      setShown(await api.file(run, at, file));
    } catch (error) {
      setFault(reason(error));
    }
  };
  const get = async (file: string) => save(file.split('/').at(-1)!, await api.content(run, at, file));
  return (
    <div className="nbk-artifacts">
      {made.files.length === 0 && made.variables.length === 0 && <p className="nbk-hint">The run has left nothing.</p>}
      {made.files.length > 0 && (
        <ul className="nbk-files" aria-label="Files">
          {made.files.map(file => (
            <li key={file.path}>
              <button type="button" className="nbk-link" aria-expanded={shown?.path === file.path} onClick={() => void open(file.path)}>
                {file.path}
              </button>
              <span className="nbk-hint">{bytes(file.size)}</span>
              <Button small label={`Download ${file.path}`} onClick={() => void get(file.path)}>
                ↓
              </Button>
              {shown?.path === file.path && <FileView file={shown} />}
            </li>
          ))}
        </ul>
      )}
      {made.variables.length > 0 && (
        <table className="nbk-table" aria-label="Variables">
          <thead>
            <tr>
              <th scope="col">Variable</th>
              <th scope="col">Step</th>
              <th scope="col">What</th>
              <th scope="col">Size</th>
            </tr>
          </thead>
          <tbody>
            {made.variables.map(one => (
              <tr key={`${one.step} ${one.name}`}>
                <th scope="row">{one.name}</th>
                <td>{one.step}</td>
                <td title={one.type}>{one.summary || one.type}</td>
                <td>{bytes(one.size)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </div>
  );
}

function FileView(props: { readonly file: FilePreview }): React.JSX.Element {
  const { file } = props;
  const cut = file.cut && <p className="nbk-hint">Only the beginning is shown.</p>;
  if (file.kind === 'image' && file.text) {
    return <img className="nbk-figure" src={`data:${file.media};base64,${file.text}`} alt={file.path} />;
  }
  if (file.kind === 'table') {
    const [head, ...rows] = file.rows;
    return (
      <div className="nbk-frame" tabIndex={0} role="region" aria-label={`Beginning of ${file.path}`}>
        <table className="nbk-table">
          <thead>
            <tr>
              {head?.map((name, index) => (
                <th scope="col" key={index}>
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map((row, index) => (
              <tr key={index}>
                {row.map((one, column) => (
                  <td key={column}>{one}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
        {cut}
      </div>
    );
  }
  return (
    <div className="nbk-frame" tabIndex={0} role="region" aria-label={`Beginning of ${file.path}`}>
      {file.text ? <pre>{file.text}</pre> : <p className="nbk-hint">This file is not shown here; download it.</p>}
      {cut}
    </div>
  );
}
