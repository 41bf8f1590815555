import { Dialog, showDialog } from '@jupyterlab/apputils';
import { PathExt } from '@jupyterlab/coreutils';
import type { FileBrowser } from '@jupyterlab/filebrowser';
import type { Contents } from '@jupyterlab/services';
import { ReactWidget } from '@jupyterlab/ui-components';
import type { Message } from '@lumino/messaging';
import { Panel } from '@lumino/widgets';
import React from 'react';

import { StorageBar, StorageFoot } from '../core/storagebar';
import { FileUpload } from '../core/uploads';
import { type StorageDrive } from './drive';
import { encodeSegment, placeOf } from './paths';

const AGAIN = [2000, 4000, 8000, 15000];

/** JupyterLab's file browser over the drive, with what buckets need around it. */
export class StoragePanel extends Panel {
  private again = 0;
  private tries = 0;

  constructor(
    readonly browser: FileBrowser,
    readonly drive: StorageDrive,
    ask: { name(isBucket: boolean): Promise<string | null>; fault(title: string, error: unknown): void }
  ) {
    super();
    this.addClass('nbk-storage-panel');
    const { state } = drive;
    browser.showFileFilter = false;
    browser.showFileSizeColumn = true;
    browser.showLastModifiedColumn = false;
    browser.showHiddenFiles = true;
    // Objects go into no trash, which JupyterLab's own question speaks of.
    browser.delete = () => this.remove().catch(error => ask.fault('Not all was deleted', error));
    browser.addClass('nbk-storage-files');
    // All ways into the browser (its drop area, folders that are dropped) end here.
    browser.model.upload = (file: File, path?: string) => this.upload(file, path);
    browser.model.pathChanged.connect(() => {
      drive.setFilter(this.path, '');
      state.set({ prefix: '' });
    });
    const bar = ReactWidget.create(
      React.createElement(StorageBar, {
        state,
        onFilter: prefix => {
          drive.setFilter(this.path, prefix);
          void this.refresh();
        },
        onNew: () => {
          void ask.name(state.level === 'buckets').then(async name => {
            if (name) {
              await drive.make(this.path, name).then(
                () => this.refresh(),
                error => ask.fault(`${name} was not made`, error)
              );
            }
          });
        },
        onUpload: files => files.forEach(file => void this.upload(file).catch(error => ask.fault(`${file.name} was not uploaded`, error))),
        onRefresh: () => void this.refresh(),
        onForget: upload => {
          this.forget(upload);
          void upload.discard().catch(error => ask.fault('What has arrived was not removed', error));
        }
      })
    );
    bar.addClass('nbk-widget');
    const foot = ReactWidget.create(
      React.createElement(StorageFoot, {
        state,
        onMore: () => {
          drive.wantMore();
          void this.refresh();
        }
      })
    );
    foot.addClass('nbk-widget');
    this.addWidget(bar);
    this.addWidget(browser);
    this.addWidget(foot);
    let soon = 0;
    drive.fileChanged.connect(() => {
      window.clearTimeout(soon);
      soon = window.setTimeout(() => void (this.isVisible && this.refresh()), 50);
    });
    const end = state.subscribe(() => this.lookAgain());
    this.disposed.connect(end);
  }

  /** The folder that is shown, as a path of the drive. */
  get path(): string {
    const { model } = this.browser;
    return model.manager.services.contents.localPath(model.path);
  }

  /** Read the list again. */
  async refresh(): Promise<void> {
    await this.browser.model.refresh();
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    void this.refresh();
  }

  /** While the list could not be read and somebody looks at it, try again. */
  private lookAgain(): void {
    window.clearTimeout(this.again);
    if (!this.drive.state.fault) {
      this.tries = 0;
      return;
    }
    if (!this.drive.state.busy) {
      const pause = AGAIN[Math.min(this.tries++, AGAIN.length - 1)];
      this.again = window.setTimeout(() => void (this.isVisible && !this.isDisposed && this.refresh()), pause);
    }
  }

  private async remove(): Promise<void> {
    const items = [...this.browser.selectedItems()];
    if (!items.length || !(await mayRemove(items))) {
      return;
    }
    const { contents } = this.browser.model.manager.services;
    for (const item of items) {
      await contents.delete(item.path);
    }
  }

  private async upload(file: File, folder?: string): Promise<Contents.IModel> {
    const { api, state } = this.drive;
    const contents = this.browser.model.manager.services.contents;
    const into = folder === undefined ? this.path : contents.localPath(folder);
    const at = placeOf(into, true);
    if (!at.bucket) {
      throw new Error('Open a bucket first, then upload into it.');
    }
    const target = { ...at, key: at.key + file.name };
    const path = PathExt.join(into, encodeSegment(file.name));
    const there = await api.stat(target).then(
      () => true,
      () => false
    );
    if (there && !(await mayReplace(file.name))) {
      throw new Error(`${file.name} was left as it is.`);
    }
    const upload = new FileUpload(api, target, file);
    state.set({ uploads: [...state.uploads.filter(one => one.phase !== 'done'), upload] });
    await new Promise<void>((resolve, reject) => {
      const end = upload.subscribe(() => {
        if (upload.phase === 'done') {
          end();
          resolve();
        } else if (!state.uploads.includes(upload)) {
          end();
          reject(new Error('The upload was given up.'));
        }
      });
      void upload.start();
    });
    this.drive.arrived(path);
    window.setTimeout(() => this.forget(upload), 4000);
    void this.refresh();
    return this.drive.get(path, { content: false, type: 'file' });
  }

  private forget(upload: FileUpload): void {
    const { state } = this.drive;
    state.set({ uploads: state.uploads.filter(one => one !== upload) });
  }
}

async function mayRemove(items: readonly Contents.IModel[]): Promise<boolean> {
  const what = items.length === 1 ? items[0]!.name : `${items.length} entries`;
  const below = items.some(item => item.type === 'directory') ? ' All that is below goes, too.' : '';
  const { button } = await showDialog({
    title: 'Delete for good?',
    body: `${what} cannot be brought back, unless the bucket keeps versions.${below}`,
    buttons: [Dialog.cancelButton(), Dialog.warnButton({ label: 'Delete' })],
    defaultButton: 0
  });
  return button.accept;
}

async function mayReplace(name: string): Promise<boolean> {
  const { button } = await showDialog({
    title: 'Replace the object?',
    body: `${name} is there already.`,
    buttons: [Dialog.cancelButton(), Dialog.warnButton({ label: 'Replace' })]
  });
  return button.accept;
}
