import { NotebookActions, type NotebookPanel } from '@jupyterlab/notebook';

/** Ways to read a file in a cell. */
export const READERS = ['pandas', 'tf.data', 'bytes'] as const;
export type Reader = (typeof READERS)[number];

const PANDAS: readonly [RegExp, string][] = [
  [/\.tsv(\.gz)?$/i, "read_csv(file, sep='\\t')"],
  [/\.parquet$/i, 'read_parquet(file)'],
  [/\.(jsonl|ndjson)$/i, 'read_json(file, lines=True)'],
  [/\.json$/i, 'read_json(file)'],
  [/\.xlsx?$/i, 'read_excel(file)'],
  [/\.(feather|arrow)$/i, 'read_feather(file)']
];

/**
 * Return the source of a cell that reads a location. The location is a string literal, whatever it holds.
 *
 * `profile` is whose server it lies on; '' where that is the one that a cell reads from anyway.
 */
export function readingCode(reader: Reader, location: string, profile = ''): string {
  const name = JSON.stringify(location);
  const imports = profile ? 'from nbkube.client import Client' : 'import nbkube';
  const files = profile ? `Client(profile=${JSON.stringify(profile)}).storage()` : 'nbkube.storage()';
  if (reader === 'tf.data') {
    return `import nbkube\n\nrecords = nbkube.tfrecords(${name})\nnext(iter(records))`;
  }
  if (reader === 'bytes') {
    return `${imports}\n\ndata = ${files}.read(${name})\nlen(data)`;
  }
  const call = PANDAS.find(([ending]) => ending.test(location))?.[1] ?? 'read_csv(file)';
  const packed = /\.gz$/i.test(location) ? call.replace('file', "file, compression='gzip'") : call;
  return `${imports}\nimport pandas as pd\n\nwith ${files}.open(${name}) as file:\n    frame = pd.${packed}\nframe.head()`;
}

/** Put a cell with this source below the active one. */
export function insertCell(panel: NotebookPanel, source: string): void {
  const { content } = panel;
  NotebookActions.insertBelow(content);
  NotebookActions.changeCellType(content, 'code');
  content.activeCell?.model.sharedModel.setSource(source);
  content.deselectAll();
}
