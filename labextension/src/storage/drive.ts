import { PathExt, URLExt } from '@jupyterlab/coreutils';
import type { Contents, ServerConnection } from '@jupyterlab/services';
import { type ISignal, Signal } from '@lumino/signaling';

import { ApiError, reason } from '../core/api';
import { bytes } from '../core/format';
import type { ObjectAt, StorageApi } from '../core/storageapi';
import type { StorageState } from '../core/storagestate';
import type { StorageEntry } from '../core/wire';
import { encodeSegment, placeOf, shownName } from './paths';

export const DRIVE = 'nbkube';
const PAGE = 500;
const OPENED = 64 << 20;
const EPOCH = new Date(0).toISOString();

/** Buckets and their objects as a drive of JupyterLab: PLACE/BUCKET/KEY. Lists are read a page at a time. */
export class StorageDrive implements Contents.IDrive {
  readonly name = DRIVE;
  isDisposed = false;
  /** The profile whose server cells and steps read from. */
  usual = '';
  private readonly moved = new Signal<this, Contents.IChangedArgs>(this);
  /** What is known of paths that were listed: whether they are folders. */
  private readonly folders = new Map<string, boolean>();
  private last: { path: string; entries: readonly StorageEntry[] } = { path: '', entries: [] };
  private pages = 1;
  private filter = { path: '', prefix: '' };

  constructor(
    readonly api: StorageApi,
    readonly serverSettings: ServerConnection.ISettings,
    readonly state: StorageState
  ) {}

  get fileChanged(): ISignal<this, Contents.IChangedArgs> {
    return this.moved;
  }

  dispose(): void {
    this.isDisposed = true;
    Signal.clearData(this);
  }

  /** Show only names that begin with a text, in one folder. */
  setFilter(path: string, prefix: string): void {
    this.filter = { path: tidy(path), prefix };
    this.pages = 1;
  }

  /** Have the next reading of the folder that is shown bring one page more. */
  wantMore(): void {
    this.pages += 1;
  }

  async get(localPath: string, options: Contents.IFetchOptions = {}): Promise<Contents.IModel> {
    const path = tidy(localPath);
    const folder = options.type === 'directory' || (options.type === undefined && (await this.isFolder(path)));
    if (folder) {
      return options.content === false ? directory(path, null) : this.list(path);
    }
    const at = placeOf(path);
    const stat = await this.ask(this.api.stat(at));
    const model = file(path, stat.size, stat.modified, stat.writable);
    if (options.content === false) {
      return model;
    }
    if (stat.size > OPENED) {
      throw new Error(`${stat.location} has ${bytes(stat.size)}, too much to be opened as a whole. Choose Preview, or download it.`);
    }
    return filled(model, await this.ask(this.api.objectContent(at)), options);
  }

  async getDownloadUrl(localPath: string): Promise<string> {
    const address = this.api.contentPath(placeOf(tidy(localPath)));
    const xsrf = /\b_xsrf=([^;]*)/.exec(document.cookie);
    const url = `${URLExt.join(this.serverSettings.baseUrl, 'nbkube', 'api', 'v1', '/')}${address}`;
    return xsrf ? `${url}&_xsrf=${encodeURIComponent(xsrf[1]!)}` : url;
  }

  async newUntitled(options: Contents.ICreateOptions = {}): Promise<Contents.IModel> {
    const path = tidy(options.path ?? '');
    const into = placeOf(path, true);
    if (!into.bucket) {
      throw new Error('Only buckets can be made here: choose New bucket.');
    }
    const isFolder = options.type === 'directory';
    const [stem, ext] = isFolder ? ['Untitled Folder', ''] : ['untitled', options.type === 'notebook' ? '.ipynb' : (options.ext ?? '.txt')];
    for (let count = 0; ; count++) {
      const name = `${stem}${count ? (isFolder ? ` ${count}` : `${count}`) : ''}${ext}`;
      const made = PathExt.join(path, encodeSegment(name));
      const at = { ...into, key: into.key + name };
      if (isFolder) {
        if (!(await this.ask(this.api.makeFolder({ ...at, key: `${at.key}/` }))).made) {
          continue;
        }
      } else if (await this.exists(at)) {
        continue;
      } else {
        await this.ask(this.api.write(at, new Blob([options.type === 'notebook' ? EMPTY_NOTEBOOK : ''])));
      }
      this.folders.set(made, isFolder);
      const model = isFolder ? directory(made, null) : file(made, 0, Date.now() / 1000, true);
      this.tell('new', null, model);
      return model;
    }
  }

  /** Make a bucket of a place, or a folder in a bucket. */
  async make(path: string, name: string): Promise<void> {
    const into = placeOf(tidy(path), true);
    const at = into.bucket ? { ...into, key: `${into.key}${name}/` } : { ...into, bucket: name };
    const { made } = await this.ask(this.api.makeFolder(at));
    if (!made) {
      throw new Error(`${name} is there already.`);
    }
    const target = PathExt.join(tidy(path), encodeSegment(name));
    this.folders.set(target, true);
    this.tell('new', null, directory(target, null));
  }

  async delete(localPath: string): Promise<void> {
    const path = tidy(localPath);
    const at = placeOf(path, await this.isFolder(path));
    if (!at.bucket) {
      throw new Error('Profiles are written in nbkube.toml, and not removed here.');
    }
    await this.ask(this.api.removeObject(at));
    this.folders.delete(path);
    this.tell('delete', { path }, null);
  }

  async rename(oldLocalPath: string, newLocalPath: string): Promise<Contents.IModel> {
    const [from, to] = [tidy(oldLocalPath), tidy(newLocalPath)];
    const folder = await this.isFolder(from);
    const [source, target] = [placeOf(from, folder), placeOf(to, folder)];
    if (!source.key || !target.key || source.place !== target.place) {
      throw new Error(source.key ? 'Files move within the buckets of one profile only.' : 'S3 servers cannot rename buckets.');
    }
    if (from !== to) {
      await this.ask(this.api.copy(source, target, { move: true }));
    }
    this.folders.delete(from);
    this.folders.set(to, folder);
    const model = folder ? directory(to, null) : await this.get(to, { content: false, type: 'file' });
    this.tell('rename', { path: from }, model);
    return model;
  }

  async copy(localPath: string, toLocalDir: string): Promise<Contents.IModel> {
    const path = tidy(localPath);
    const folder = await this.isFolder(path);
    const [source, into] = [placeOf(path, folder), placeOf(tidy(toLocalDir), true)];
    if (!source.key || !into.bucket || source.place !== into.place) {
      throw new Error('Files are copied within the buckets of one profile only.');
    }
    const name = source.key.replace(/\/$/, '').split('/').pop()!;
    const [stem, ext] = folder ? [name, ''] : [PathExt.basename(name, PathExt.extname(name)), PathExt.extname(name)];
    for (let count = 0; ; count++) {
      const free = count ? `${stem}-Copy${count}${ext}` : name;
      const target = { ...into, key: `${into.key}${free}${folder ? '/' : ''}` };
      if (await this.exists(target)) {
        continue;
      }
      await this.ask(this.api.copy(source, target, { move: false }));
      const made = PathExt.join(tidy(toLocalDir), encodeSegment(free));
      this.folders.set(made, folder);
      const model = folder ? directory(made, null) : await this.get(made, { content: false, type: 'file' });
      this.tell('new', null, model);
      return model;
    }
  }

  async save(localPath: string, options: Partial<Contents.IModel> = {}): Promise<Contents.IModel> {
    const path = tidy(localPath);
    if (options.type === 'directory') {
      await this.ask(this.api.makeFolder(placeOf(path, true)));
      return directory(path, null);
    }
    await this.ask(this.api.write(placeOf(path), packed(options)));
    const model = await this.get(path, { content: false, type: 'file' });
    this.tell('save', null, model);
    return model;
  }

  /** Tell that an object has arrived by another way. */
  arrived(localPath: string): void {
    this.folders.set(tidy(localPath), false);
    this.tell('new', null, file(tidy(localPath), 0, Date.now() / 1000, true));
  }

  // Buckets keep versions themselves, where they do; JupyterLab asks for these at each save.
  async createCheckpoint(): Promise<Contents.ICheckpointModel> {
    return { id: 'none', last_modified: EPOCH };
  }
  async listCheckpoints(): Promise<Contents.ICheckpointModel[]> {
    return [];
  }
  async restoreCheckpoint(): Promise<void> {
    return undefined;
  }
  async deleteCheckpoint(): Promise<void> {
    return undefined;
  }

  private tell(type: Contents.IChangedArgs['type'], oldValue: Partial<Contents.IModel> | null, newValue: Contents.IModel | null): void {
    this.moved.emit({ type, oldValue, newValue });
  }

  private async exists(at: ObjectAt): Promise<boolean> {
    if (at.key.endsWith('/')) {
      return (await this.ask(this.api.list(at, '', '', 1))).entries.length > 0;
    }
    try {
      await this.api.stat(at);
      return true;
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) {
        return false;
      }
      throw error;
    }
  }

  private async isFolder(path: string): Promise<boolean> {
    const { key } = placeOf(path);
    return !key || (this.folders.get(path) ?? (key.endsWith('/') || !(await this.exists(placeOf(path)))));
  }

  /** Read a folder; where that fails, what is known of it is shown with the reason beside it. */
  private async list(path: string): Promise<Contents.IModel> {
    const at = placeOf(path, true);
    const prefix = this.filter.path === path ? this.filter.prefix : '';
    const level = !at.place ? 'places' : !at.bucket ? 'buckets' : 'files';
    if (this.last.path !== path) {
      this.pages = 1;
      this.last = { path, entries: [] };
    }
    this.state.set({ level, prefix, busy: true });
    try {
      const entries: StorageEntry[] = level === 'places' ? await this.placeEntries() : [];
      let after = '';
      let writable = false;
      for (let page = 0; level !== 'places' && page < this.pages; page++) {
        const found = await this.api.list(at, prefix, after, PAGE);
        entries.push(...found.entries);
        writable = found.writable;
        after = found.next;
        if (!after) {
          break;
        }
      }
      this.last = { path, entries };
      this.state.set({ fault: '', shown: entries.length, more: after !== '', writable, busy: false });
    } catch (error) {
      this.state.set({ fault: reason(error), shown: this.last.entries.length, more: false, busy: false });
    }
    return directory(path, this.models(path, this.last.entries));
  }

  private async placeEntries(): Promise<StorageEntry[]> {
    const { places, fault } = await this.api.places();
    this.usual = places.find(one => one.default)?.name ?? '';
    if (fault) {
      throw new Error(fault);
    }
    return places.map(one => ({ kind: 'bucket', name: one.name, key: '', location: one.detail, size: null, modified: null, holds: '' }));
  }

  private models(path: string, entries: readonly StorageEntry[]): Contents.IModel[] {
    const objects = new Set(entries.filter(one => one.kind === 'object').map(one => one.name));
    return entries.map(one => {
      const isFolder = one.kind !== 'object';
      const child = (path ? `${path}/` : '') + encodeSegment(one.name, isFolder && objects.has(one.name));
      this.folders.set(child, isFolder);
      const name = shownName(one.name);
      return isFolder
        ? { ...directory(child, null, one.modified), name: one.holds ? `${name} (${one.holds})` : name }
        : { ...file(child, one.size ?? 0, one.modified, true), name };
    });
  }

  private async ask<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer;
    } catch (error) {
      throw new Error(reason(error));
    }
  }
}

const EMPTY_NOTEBOOK = JSON.stringify({ cells: [], metadata: {}, nbformat: 4, nbformat_minor: 5 });

function tidy(path: string): string {
  return path.split('/').filter(Boolean).join('/');
}

function iso(seconds: number | null): string {
  return seconds === null ? '' : new Date(seconds * 1000).toISOString();
}

function base(path: string): Pick<Contents.IModel, 'path' | 'name'> {
  return { path, name: shownName(placeOf(`x/y/${path.split('/').pop() ?? ''}`).key.replace(/\/$/, '')) };
}

function directory(path: string, content: Contents.IModel[] | null, modified: number | null = null): Contents.IModel {
  const when = iso(modified);
  return { ...base(path), type: 'directory', writable: true, created: when, last_modified: when, mimetype: '', content, format: 'json' };
}

function file(path: string, size: number, modified: number | null, writable: boolean): Contents.IModel {
  const when = iso(modified);
  const type = path.endsWith('.ipynb') ? 'notebook' : 'file';
  return { ...base(path), type, writable, created: when, last_modified: when, mimetype: '', size, content: null, format: null };
}

async function filled(model: Contents.IModel, blob: Blob, options: Contents.IFetchOptions): Promise<Contents.IModel> {
  if (model.type === 'notebook' && options.type !== 'file') {
    return { ...model, content: JSON.parse(await blob.text()), format: 'json' };
  }
  const shown = { ...model, type: 'file' };
  if (options.format !== 'base64') {
    try {
      const content = new TextDecoder('utf-8', { fatal: true }).decode(await blob.arrayBuffer());
      return { ...shown, content, format: 'text', mimetype: 'text/plain' };
    } catch {
      if (options.format === 'text') {
        throw new Error(`${model.name} is no text. Choose Preview, or download it.`);
      }
    }
  }
  return { ...shown, content: await base64(blob), format: 'base64', mimetype: 'application/octet-stream' };
}

function base64(blob: Blob): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result).split(',')[1] ?? '');
    reader.onerror = () => reject(reader.error ?? new Error('the file cannot be read'));
    reader.readAsDataURL(blob);
  });
}

function packed(model: Partial<Contents.IModel>): Blob {
  if (model.format === 'base64') {
    return new Blob([Uint8Array.from(atob(String(model.content)), one => one.charCodeAt(0))]);
  }
  return new Blob([typeof model.content === 'string' ? model.content : JSON.stringify(model.content, null, 1)]);
}
