import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ILayoutRestorer } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { IFileBrowserFactory } from '@jupyterlab/filebrowser';
import type { Contents } from '@jupyterlab/services';
import { PromiseDelegate } from '@lumino/coreutils';
import type { Message } from '@lumino/messaging';
import { Signal } from '@lumino/signaling';
import { PanelLayout, Widget } from '@lumino/widgets';

import { storageIcon } from './icons';
import type { StorageDrive } from './storage/drive';
import { INbkube } from './tokens';

type Chunk = typeof import('./storage');

/** The tab in the side bar; what is in it is loaded when it is looked at first. */
class StorageTab extends Widget {
  private asked = false;

  constructor(private readonly fill: () => Promise<Widget>) {
    super();
    this.id = 'nbkube-storage';
    this.addClass('nbk-storage-tab');
    this.title.icon = storageIcon;
    this.title.caption = 'Storage';
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', 'Storage');
    this.layout = new PanelLayout();
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    if (!this.asked) {
      this.asked = true;
      void this.fill().then(
        content => (this.layout as PanelLayout).addWidget(content),
        () => (this.asked = false)
      );
    }
  }
}

interface LazyDrive extends Contents.IDrive {
  fileChanged: Signal<LazyDrive, Contents.IChangedArgs>;
}

/** The drive, of which only the name is there until somebody reads from it. */
function lazyDrive(app: JupyterFrontEnd, load: () => Promise<StorageDrive>): LazyDrive {
  const drive: LazyDrive = {
    name: 'nbkube',
    serverSettings: app.serviceManager.serverSettings,
    isDisposed: false,
    dispose: () => Signal.clearData(drive),
    get: async (path, options) => (await load()).get(path, options),
    getDownloadUrl: async path => (await load()).getDownloadUrl(path),
    newUntitled: async options => (await load()).newUntitled(options),
    delete: async path => (await load()).delete(path),
    rename: async (from, to) => (await load()).rename(from, to),
    save: async (path, options) => (await load()).save(path, options),
    copy: async (path, into) => (await load()).copy(path, into),
    createCheckpoint: async () => ({ id: 'none', last_modified: new Date(0).toISOString() }),
    listCheckpoints: async () => [],
    restoreCheckpoint: async () => undefined,
    deleteCheckpoint: async () => undefined
  } satisfies Omit<Contents.IDrive, 'fileChanged'> as unknown as LazyDrive;
  drive.fileChanged = new Signal<LazyDrive, Contents.IChangedArgs>(drive);
  return drive;
}

/** Buckets and their objects in the side bar. */
export const storage: JupyterFrontEndPlugin<void> = {
  id: 'nbkube:storage',
  description: 'Shows the buckets of the profiles in the side bar.',
  autoStart: true,
  requires: [INbkube, IFileBrowserFactory],
  optional: [ICommandPalette, ILayoutRestorer],
  activate: (
    app: JupyterFrontEnd,
    nbkube: INbkube,
    factory: IFileBrowserFactory,
    palette: ICommandPalette | null,
    restorer: ILayoutRestorer | null
  ) => {
    let loaded: PromiseDelegate<{ chunk: Chunk; drive: StorageDrive }> | null = null;
    const load = () => {
      if (!loaded) {
        const mine = (loaded = new PromiseDelegate());
        import('./storage').then(
          chunk => {
            const drive = chunk.makeDrive(app);
            drive.fileChanged.connect((_, change) => lazy.fileChanged.emit(change));
            mine.resolve({ chunk, drive });
          },
          error => {
            loaded = null;
            mine.reject(error);
          }
        );
      }
      return loaded.promise;
    };
    const lazy = lazyDrive(app, async () => (await load()).drive);
    app.serviceManager.contents.addDrive(lazy);
    const tab = new StorageTab(async () => {
      const { chunk, drive } = await load();
      return chunk.makePanel(app, nbkube, factory, drive);
    });
    app.shell.add(tab, 'left', { rank: 210, type: 'nbkube' });
    restorer?.add(tab, tab.id);
    app.commands.addCommand('nbkube:show-storage', {
      label: 'Show Storage',
      caption: 'Show the buckets of the profiles',
      describedBy: { args: { type: 'object', properties: {} } },
      execute: () => app.shell.activateById(tab.id)
    });
    palette?.addItem({ command: 'nbkube:show-storage', category: 'nbkube' });
  }
};
