import type { ObjectAt } from '../core/storageapi';

/**
 * Keys as paths of JupyterLab and back.
 *
 * JupyterLab takes '', '.' and '..' out of paths, and has one path for a folder and an object of the same name. Such
 * segments are written with a mark from Unicode's private use area, followed by hexadecimal digits or a letter.
 */
const MARK = '\uE0F5';
const AWKWARD = /[\u0000-\u001f\u007f\ud800-\udfff\uE0F5]/g;

/** Write a segment of a key as one of a path. `folder`: there is an object of the same name. */
export function encodeSegment(segment: string, folder = false): string {
  if (segment === '' || segment === '.' || segment === '..') {
    return `${MARK}${segment.length}`;
  }
  const safe = segment.replace(/[\ud800-\udbff][\udc00-\udfff]|[\u0000-\u001f\u007f\ud800-\udfff\uE0F5]/g, found =>
    found.length === 2 ? found : `${MARK}x${found.charCodeAt(0).toString(16).padStart(4, '0')}`
  );
  return safe + (folder ? `${MARK}f` : '');
}

/** Return the segment of a key that a segment of a path stands for. */
export function decodeSegment(segment: string): string {
  const plain = segment.endsWith(`${MARK}f`) ? segment.slice(0, -2) : segment;
  const whole = /^\uE0F5([012])$/.exec(plain);
  if (whole) {
    return '.'.repeat(Number(whole[1]));
  }
  return plain.replace(/\uE0F5x([0-9a-f]{4})/g, (_, digits: string) => String.fromCharCode(parseInt(digits, 16)));
}

/** Return a name as it can be seen: characters that have no shape of their own are named. */
export function shownName(name: string): string {
  return name.replace(AWKWARD, found => (/[\ud800-\udfff]/.test(found) ? found : '�')) || '(no name)';
}

/** Return where a path of the drive leads to; a folder's key if `folder`. */
export function placeOf(path: string, folder = false): ObjectAt {
  const [place = '', bucket = '', ...rest] = path.split('/').filter(Boolean);
  const key = rest.map(decodeSegment).join('/');
  return { place, bucket, key: key && (folder || path.endsWith(`${MARK}f`)) ? `${key}/` : key };
}

/** Return what stands for a place as people and cells write it. */
export function locationOf(at: ObjectAt): string {
  return `s3://${at.bucket}/${at.key}`;
}
