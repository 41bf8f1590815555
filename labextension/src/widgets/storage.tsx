import React from 'react';

import { Button, Note } from '../core/controls';
import { FilterBox } from '../core/filterbox';
import { bytes, moment } from '../core/format';
import { useModel, type Model } from './model';

interface Entry {
  readonly name: string;
  readonly location: string;
  readonly size: number | null;
  readonly modified: number | null;
}

/** Files of a folder or bucket; the one that is chosen is the widget's value. */
export function StorageView(props: { readonly model: Model }): React.JSX.Element {
  const { model } = props;
  const [location, setLocation] = useModel<string>(model, 'location');
  const [prefix, setPrefix] = useModel<string>(model, 'prefix');
  const [value, setValue] = useModel<string>(model, 'value');
  const [entries] = useModel<readonly Entry[]>(model, 'entries');
  const [more] = useModel<boolean>(model, 'more');
  const [fault] = useModel<string>(model, 'fault');
  const above = location.replace(/[^/]+\/$/, '');
  const canGoUp = above !== location && (location.startsWith('s3://') ? above !== 's3:/' : above !== '');
  return (
    <div className="nbk-cell-storage" role="group" aria-label="Storage">
      <div className="nbk-storage-buttons">
        <Button small disabled={!canGoUp} label="Folder above" onClick={() => setLocation(above)}>
          ↑
        </Button>
        <Button small label="Read the list again" onClick={() => model.send({ act: 'refresh' })}>
          ⟳
        </Button>
        <code className="nbk-object-name">{location}</code>
      </div>
      <FilterBox prefix={prefix} onFilter={setPrefix} />
      {fault && <Note error>{fault}</Note>}
      {!fault && !entries.length && <Note>Nothing is here.</Note>}
      <ul className="nbk-cell-files" role="listbox" aria-label="Files">
        {entries.map(one => (
          <li key={one.location} role="presentation">
            <button
              type="button"
              role="option"
              aria-selected={one.location === value}
              className="nbk-cell-file"
              onClick={() => setValue(one.location)}
              onDoubleClick={() => one.size === null && setLocation(one.location)}
              onKeyDown={event => {
                if (event.key === 'Enter' && one.size === null) {
                  event.preventDefault();
                  setLocation(one.location);
                }
              }}
            >
              <span>{one.size === null ? `${one.name}/` : one.name}</span>
              <span className="nbk-hint">{one.size === null ? '' : bytes(one.size)}</span>
              <span className="nbk-hint">{one.modified === null ? '' : moment(one.modified)}</span>
            </button>
          </li>
        ))}
      </ul>
      {more && (
        <Button small onClick={() => model.send({ act: 'more' })}>
          Load more
        </Button>
      )}
    </div>
  );
}
