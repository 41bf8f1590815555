import { Api, query } from './api';
import type {
  Copied,
  Made,
  ObjectPreview,
  ObjectStat,
  Part,
  Removed,
  StoragePage,
  StoragePlaces,
  Upload,
  Versions
} from './wire';

/** A place of the store: a profile, a bucket in it ('' for all), a key in that ('' for the bucket, '…/' for a folder). */
export interface ObjectAt {
  readonly place: string;
  readonly bucket: string;
  readonly key: string;
}

/** The part of the server's interface that is about files. */
export class StorageApi extends Api {
  /** A notebook or folder of the project whose profiles count. */
  path = '';

  places(): Promise<StoragePlaces> {
    return this.ask('GET', `storage/places?${query({ path: this.path })}`);
  }

  list(at: ObjectAt, prefix: string, after: string, limit: number): Promise<StoragePage> {
    return this.ask('GET', `storage/list?${this.at(at, { prefix, after, limit })}`);
  }

  stat(at: ObjectAt): Promise<ObjectStat> {
    return this.ask('GET', `storage/stat?${this.at(at)}`);
  }

  objectPreview(at: ObjectAt): Promise<ObjectPreview> {
    return this.ask('GET', `storage/preview?${this.at(at)}`);
  }

  /** The address of an object's content, for a download. */
  contentPath(at: ObjectAt): string {
    return `storage/content?${this.at(at)}`;
  }

  async objectContent(at: ObjectAt): Promise<Blob> {
    return (await this.fetch('GET', this.contentPath(at))).blob();
  }

  write(at: ObjectAt, body: Blob, signal?: AbortSignal): Promise<ObjectStat> {
    return this.ask('PUT', this.contentPath(at), body, signal);
  }

  removeObject(at: ObjectAt): Promise<Removed> {
    return this.ask('DELETE', this.contentPath(at));
  }

  makeFolder(at: ObjectAt): Promise<Made> {
    return this.ask('POST', `storage/folder?${this.at(at)}`);
  }

  copy(at: ObjectAt, to: ObjectAt, how: { readonly move: boolean; readonly replace?: boolean }): Promise<Copied> {
    return this.ask('POST', `storage/copy?${this.at(at)}`, { bucket: to.bucket, key: to.key, ...how });
  }

  versions(at: ObjectAt): Promise<Versions> {
    return this.ask('GET', `storage/versions?${this.at(at)}`);
  }

  restore(at: ObjectAt, version: string): Promise<Versions> {
    return this.ask('POST', `storage/versions?${this.at(at)}`, { version });
  }

  beginUpload(at: ObjectAt, size: number, signal: AbortSignal): Promise<Upload> {
    return this.ask('POST', `storage/upload?${this.at(at)}`, { size }, signal);
  }

  sendPart(at: ObjectAt, upload: string, number: number, body: Blob, signal: AbortSignal): Promise<Part> {
    return this.ask('PUT', `storage/upload?${this.at(at, { upload, number })}`, body, signal);
  }

  completeUpload(at: ObjectAt, upload: string, parts: readonly string[], signal: AbortSignal): Promise<ObjectStat> {
    return this.ask('PATCH', `storage/upload?${this.at(at)}`, { upload, parts }, signal);
  }

  giveUpUpload(at: ObjectAt, upload: string): Promise<unknown> {
    return this.ask('DELETE', `storage/upload?${this.at(at, { upload })}`);
  }

  private at(at: ObjectAt, more: object = {}): string {
    return query({ path: this.path, ...at, ...more });
  }
}
