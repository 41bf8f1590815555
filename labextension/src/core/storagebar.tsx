import React from 'react';

import { Button, Note, useChanges } from './controls';
import { FilterBox } from './filterbox';
import { bytes, counted } from './format';
import type { StorageState } from './storagestate';
import type { FileUpload } from './uploads';

export interface StorageBarProps {
  readonly state: StorageState;
  onFilter(prefix: string): void;
  onNew(): void;
  onUpload(files: readonly File[]): void;
  onRefresh(): void;
  onForget(upload: FileUpload): void;
}

/** Above the list of files: filter, buttons, what is wrong, and what is on its way. */
export function StorageBar(props: StorageBarProps): React.JSX.Element {
  const { state } = props;
  useChanges(state);
  const picker = React.useRef<HTMLInputElement>(null);
  const inFiles = state.level === 'files';
  return (
    <div className="nbk-storage-bar">
      <div className="nbk-storage-buttons">
        <Button small disabled={state.level === 'places' || !state.writable} onClick={props.onNew}>
          {inFiles ? 'New folder' : 'New bucket'}
        </Button>
        <Button small primary disabled={!inFiles || !state.writable} onClick={() => picker.current?.click()}>
          Upload
        </Button>
        <Button small label="Read the list again" onClick={props.onRefresh}>
          ⟳
        </Button>
        <input
          ref={picker}
          type="file"
          multiple
          hidden
          aria-label="Files to upload"
          onChange={event => {
            props.onUpload([...(event.target.files ?? [])]);
            event.target.value = '';
          }}
        />
      </div>
      {inFiles && <FilterBox prefix={state.prefix} onFilter={props.onFilter} />}
      {state.fault && (
        <Note error>
          {state.fault}{' '}
          <Button small onClick={props.onRefresh}>
            Try again
          </Button>
        </Note>
      )}
      {state.uploads.length > 0 && (
        <ul className="nbk-storage-uploads" aria-label="Uploads">
          {state.uploads.map((upload, index) => (
            <UploadRow key={index} upload={upload} onForget={() => props.onForget(upload)} />
          ))}
        </ul>
      )}
    </div>
  );
}

function UploadRow(props: { readonly upload: FileUpload; onForget(): void }): React.JSX.Element {
  const { upload } = props;
  useChanges(upload);
  const { size } = upload.file;
  const share = size ? Math.round((upload.sent / size) * 100) : 100;
  return (
    <li>
      <span className="nbk-storage-upload-name" title={upload.name}>
        {upload.name}
      </span>
      <progress max={100} value={share} aria-label={`Upload of ${upload.name}`} />
      <span className="nbk-hint" role="status">
        {upload.phase === 'sending'
          ? `${share} % of ${bytes(size)}`
          : upload.phase === 'failed'
            ? upload.fault
            : upload.phase === 'done'
              ? 'done'
              : `stopped at ${share} %`}
      </span>
      {upload.phase === 'sending' && (
        <Button small label={`Cancel the upload of ${upload.name}`} onClick={() => upload.stop()}>
          Cancel
        </Button>
      )}
      {(upload.phase === 'stopped' || upload.phase === 'failed') && (
        <>
          <Button small primary label={`Resume the upload of ${upload.name}`} onClick={() => void upload.start()}>
            Resume
          </Button>
          <Button small label={`Discard the upload of ${upload.name}`} onClick={props.onForget}>
            Discard
          </Button>
        </>
      )}
    </li>
  );
}

const EMPTY = {
  places: 'No profile leads to files. Name an S3 server in nbkube.toml: nbkube profile add NAME store.endpoint=URL',
  buckets: 'There are no buckets here yet. New bucket makes one.',
  files: 'Nothing is here yet. Drop files here, or press Upload.'
} as const;

/** Below the list: what there is to say where it is empty, and more of it. */
export function StorageFoot(props: { readonly state: StorageState; onMore(): void }): React.JSX.Element | null {
  const { state } = props;
  useChanges(state);
  if (state.fault || (state.busy && !state.shown)) {
    return null;
  }
  if (!state.shown) {
    return <Note>{state.prefix ? `No name begins with “${state.prefix}”.` : state.writable || state.level !== 'files' ? EMPTY[state.level] : 'Nothing is here.'}</Note>;
  }
  return (
    <div className="nbk-storage-foot">
      <span className="nbk-hint" role="status">
        {counted(state.shown, 'entry').replace('entrys', 'entries')}
        {state.more && ', and there are more'}
      </span>
      {state.more && (
        <Button small disabled={state.busy} onClick={props.onMore}>
          Load more
        </Button>
      )}
    </div>
  );
}
