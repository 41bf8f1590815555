import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Clipboard, InputDialog, MainAreaWidget, Notification, showErrorMessage } from '@jupyterlab/apputils';
import type { IFileBrowserFactory } from '@jupyterlab/filebrowser';
import { ReactWidget } from '@jupyterlab/ui-components';
import { Menu } from '@lumino/widgets';
import React from 'react';

import { reason } from '../core/api';
import { ObjectView } from '../core/objectpreview';
import { StorageApi, type ObjectAt } from '../core/storageapi';
import { StorageState } from '../core/storagestate';
import { storageIcon } from '../icons';
import type { INbkube } from '../tokens';
import { transport } from '../transport';
import { insertCell, readingCode, READERS, type Reader } from './code';
import { DRIVE, StorageDrive } from './drive';
import { StoragePanel } from './panel';
import { locationOf, placeOf } from './paths';


/** Make the drive. */
export function makeDrive(app: JupyterFrontEnd): StorageDrive {
  const settings = app.serviceManager.serverSettings;
  return new StorageDrive(new StorageApi(transport(settings)), settings, new StorageState());
}

/** Make the panel and its commands. */
export function makePanel(app: JupyterFrontEnd, nbkube: INbkube, factory: IFileBrowserFactory, drive: StorageDrive): StoragePanel {
  const browser = factory.createFileBrowser('nbkube-storage-files', {
    driveName: DRIVE,
    refreshInterval: 300_000,
    auto: true,
    restore: false
  });
  const fault = (title: string, error: unknown) => void showErrorMessage(title, reason(error));
  const panel = new StoragePanel(browser, drive, {
    name: async isBucket => {
      const label = isBucket ? '3 to 63 lower-case letters, digits, dots and dashes' : 'Name';
      return (await InputDialog.getText({ title: isBucket ? 'New bucket' : 'New folder', label, okLabel: 'Create' })).value?.trim() || null;
    },
    fault
  });
  addCommands(app, nbkube, panel);
  return panel;
}

function addCommands(app: JupyterFrontEnd, nbkube: INbkube, panel: StoragePanel): void {
  const { browser, drive } = panel;
  const selected = (): ObjectAt[] =>
    [...browser.selectedItems()].map(item => placeOf(browser.model.manager.services.contents.localPath(item.path), item.type === 'directory'));
  const one = (): ObjectAt | undefined => selected().find(at => at.bucket);
  const add = (id: string, label: string, caption: string, execute: (at: ObjectAt) => unknown, onlyFiles = false) =>
    app.commands.addCommand(id, {
      label,
      caption,
      isEnabled: () => one() !== undefined,
      isVisible: () => !onlyFiles || selected().every(at => at.key && !at.key.endsWith('/')),
      describedBy: { args: { type: 'object', properties: {} } },
      execute: () => {
        const at = one();
        return at && execute(at);
      }
    });
  /** Say so where a cell or run that is given a location alone would look for it on another server. */
  const elsewhere = (at: ObjectAt) =>
    at.place !== drive.usual &&
    showErrorMessage(`On the server of ${at.place}`, `Cells and runs read from that of ${drive.usual}. Make ${at.place} the default profile, or copy the file.`);
  const look = (at: ObjectAt) => {
    const view = ReactWidget.create(
      React.createElement(ObjectView, {
        api: drive.api,
        at,
        onDownload: () => void download(at),
        onRestored: () => void panel.refresh()
      })
    );
    view.addClass('nbk-widget');
    const main = new MainAreaWidget({ content: view });
    main.title.label = at.key.split('/').pop() ?? at.key;
    main.title.caption = locationOf(at);
    main.title.icon = storageIcon;
    app.shell.add(main, 'main');
    app.shell.activateById(main.id);
  };
  const download = async (at: ObjectAt) => {
    const link = document.createElement('a');
    link.href = await drive.getDownloadUrl(pathOf(at));
    link.download = '';
    link.click();
  };
  const pathOf = (at: ObjectAt) =>
    browser.model.manager.services.contents.localPath(
      [...browser.selectedItems()].find(item => placeOf(browser.model.manager.services.contents.localPath(item.path)).key === at.key)?.path ??
        `${at.place}/${at.bucket}/${at.key}`
    );
  add('nbkube:preview-object', 'Preview', 'Show the beginning of this object, and its versions', look, true);
  add(
    'nbkube:copy-location',
    'Copy Location',
    'Copy the address that cells and commands know this by',
    at => {
      Clipboard.copyToSystem(locationOf(at));
      Notification.emit(`Copied ${locationOf(at)}`, 'info', { autoClose: 2000 });
    }
  );
  for (const reader of READERS) {
    add(
      insertId(reader),
      `Insert Code That Reads This (${reader})`,
      'Add a cell to the notebook in front',
      at => (reader === 'tf.data' && elsewhere(at)) || insert(app, nbkube, at, reader, at.place === drive.usual ? '' : at.place),
      reader !== 'tf.data'
    );
  }
  add('nbkube:use-as-parameter', 'Use as Parameter…', 'Run the notebook in front with this as a parameter', at => elsewhere(at) || useAsParameter(app, nbkube, at));
  add('nbkube:delete-objects', 'Delete…', 'Delete what is selected', () => browser.delete());
  addMenu(app, panel);
  app.commands.addKeyBinding({ command: 'nbkube:preview-object', keys: ['Alt Enter'], selector: '.nbk-storage-files .jp-DirListing-content' });
}

function insertId(reader: Reader): string {
  return `nbkube:insert-${reader.replace('.', '-')}`;
}

/** The menu of the list; JupyterLab's own speaks of a trash and of links that buckets do not have. */
function addMenu(app: JupyterFrontEnd, panel: StoragePanel): void {
  const menu = new Menu({ commands: app.commands });
  const groups: readonly (readonly string[])[] = [
    ['filebrowser:open', 'nbkube:preview-object', 'filebrowser:download', 'nbkube:copy-location'],
    [...READERS.map(insertId), 'nbkube:use-as-parameter'],
    ['filebrowser:rename', 'filebrowser:duplicate', 'filebrowser:cut', 'filebrowser:copy', 'filebrowser:paste'],
    ['nbkube:delete-objects']
  ];
  for (const [index, group] of groups.entries()) {
    if (index) {
      menu.addItem({ type: 'separator' });
    }
    group.filter(command => app.commands.hasCommand(command)).forEach(command => menu.addItem({ command }));
  }
  panel.browser.node.addEventListener('contextmenu', event => {
    if (!event.shiftKey && event.target instanceof Element && event.target.closest('.jp-DirListing-content')) {
      event.preventDefault();
      event.stopPropagation();
      menu.open(event.clientX, event.clientY);
    }
  });
  panel.disposed.connect(() => menu.dispose());
}

function insert(app: JupyterFrontEnd, nbkube: INbkube, at: ObjectAt, reader: Reader, profile: string): void {
  const source = readingCode(reader, locationOf(at), profile);
  const notebook = nbkube.notebooks.current;
  if (!notebook) {
    Clipboard.copyToSystem(source);
    Notification.emit('No notebook is open: the code was copied.', 'info', { autoClose: 4000 });
    return;
  }
  insertCell(notebook.panel, source);
  app.shell.activateById(notebook.panel.id);
}

async function useAsParameter(app: JupyterFrontEnd, nbkube: INbkube, at: ObjectAt): Promise<void> {
  const notebook = nbkube.notebooks.current;
  const view = notebook && (await nbkube.api.pipeline({ path: notebook.path, content: notebook.content() }));
  const names = view?.parameters.map(one => one.name) ?? [];
  if (!notebook || !names.length) {
    await showErrorMessage('No parameter', notebook ? `${notebook.title} has no cell tagged parameters.` : 'Open a notebook first.');
    return;
  }
  const chosen =
    names.length === 1 ? names[0]! : (await InputDialog.getItem({ title: 'Use as parameter', label: locationOf(at), items: names, okLabel: 'Use' })).value;
  if (chosen) {
    app.shell.activateById('nbkube-panel');
    nbkube.state.setNotebook(notebook);
    nbkube.state.show({ kind: 'form', parameters: { [chosen]: locationOf(at) } });
  }
}
