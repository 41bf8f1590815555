import { md5 } from '@noble/hashes/legacy.js';
import { bytesToHex } from '@noble/hashes/utils.js';

import { ApiError, reason } from './api';
import { Observable } from './observable';
import type { ObjectAt, StorageApi } from './storageapi';

/** Files up to this size are sent in one request. */
const SINGLE = 8 << 20;
/** Parts under way at a time. */
const PARALLEL = 3;

export type UploadPhase = 'sending' | 'stopped' | 'failed' | 'done';

/** A file on its way into a bucket. What has arrived stays there: after a break only the rest is sent. */
export class FileUpload extends Observable {
  phase: UploadPhase = 'stopped';
  /** Bytes that have arrived, or were there already. */
  sent = 0;
  fault = '';
  private control = new AbortController();
  private id = '';

  constructor(
    private readonly api: StorageApi,
    readonly at: ObjectAt,
    readonly file: Blob & { readonly name: string }
  ) {
    super();
  }

  get name(): string {
    return this.file.name;
  }

  /** Send what is missing; fulfilled when the upload is done, stopped or has failed. */
  async start(): Promise<void> {
    if (this.phase === 'sending' || this.phase === 'done') {
      return;
    }
    this.control = new AbortController();
    this.sent = 0;
    this.fault = '';
    this.enter('sending');
    try {
      await (this.file.size <= SINGLE ? this.sendWhole() : this.sendParts());
      this.sent = this.file.size;
      this.enter('done');
    } catch (error) {
      if (this.control.signal.aborted) {
        this.enter('stopped');
        return;
      }
      this.control.abort();
      this.fault = reason(error);
      if (error instanceof ApiError && error.status === 404) {
        this.id = '';
      }
      this.enter('failed');
    }
  }

  /** Send nothing more for now. */
  stop(): void {
    this.control.abort();
  }

  /** Stop, and remove what has arrived. */
  async discard(): Promise<void> {
    this.control.abort();
    if (this.id) {
      await this.api.giveUpUpload(this.at, this.id);
      this.id = '';
    }
  }

  private async sendWhole(): Promise<void> {
    await this.api.write(this.at, this.file, this.control.signal);
  }

  private async sendParts(): Promise<void> {
    const { signal } = this.control;
    const begun = await this.api.beginUpload(this.at, this.file.size, signal);
    this.id = begun.upload;
    const count = Math.ceil(this.file.size / begun.part);
    const tags = new Array<string>(count);
    let next = 0;
    const work = async () => {
      while (next < count) {
        const index = next++;
        const part = this.file.slice(index * begun.part, (index + 1) * begun.part);
        const known = begun.there[String(index + 1)];
        const same = known !== undefined && known === bytesToHex(md5(new Uint8Array(await part.arrayBuffer())));
        signal.throwIfAborted();
        tags[index] = same ? known : (await this.api.sendPart(this.at, begun.upload, index + 1, part, signal)).etag;
        this.sent += part.size;
        this.changed();
      }
    };
    await Promise.all(Array.from({ length: PARALLEL }, work));
    await this.api.completeUpload(this.at, begun.upload, tags, signal);
  }

  private enter(phase: UploadPhase): void {
    this.phase = phase;
    this.changed();
  }
}
