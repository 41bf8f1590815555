import { Observable } from './observable';
import type { FileUpload } from './uploads';

/** What the storage panel shows beside the list of files. */
export class StorageState extends Observable {
  /** How deep the list is: the places, the buckets of a place, or what is in a bucket. */
  level: 'places' | 'buckets' | 'files' = 'places';
  shown = 0;
  more = false;
  writable = false;
  prefix = '';
  busy = false;
  /** Why the list is not up to date; '' if it is. */
  fault = '';
  uploads: readonly FileUpload[] = [];

  /** Take over some fields, tell if one is another now. */
  set(fields: Partial<Pick<StorageState, 'level' | 'shown' | 'more' | 'writable' | 'prefix' | 'busy' | 'fault' | 'uploads'>>): void {
    const before = JSON.stringify([this.level, this.shown, this.more, this.writable, this.prefix, this.busy, this.fault]);
    const uploads = this.uploads;
    Object.assign(this, fields);
    const after = JSON.stringify([this.level, this.shown, this.more, this.writable, this.prefix, this.busy, this.fault]);
    if (before !== after || uploads !== this.uploads) {
      this.changed();
    }
  }
}
