import type { ICellModel } from '@jupyterlab/cells';
import type { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';

import { reason, type Api } from './core/api';
import { NotebookSource } from './core/notebook';
import { Observable } from './core/observable';
import { place, retagged, stepName, stepOf, taggedSteps, type CellTags, type Placed, type TaggedStep } from './core/tags';
import type { PipelineView, ProposedTag } from './core/wire';

const PAUSE = 250;
const MAGIC = /^(?:[ \t]*\r?\n)*%%step(?=\s|$)([^\r\n]*)/;

/** What a cell's text tells about its place; kept until the text changes. */
interface Written {
  readonly magic: string | null;
  readonly empty: boolean;
}

/** A notebook that is open in JupyterLab. Tags and order are followed at once, the server's analysis after a pause. */
export class OpenNotebook extends NotebookSource {
  placed: readonly Placed[] = [];
  steps: readonly TaggedStep[] = [];
  view: PipelineView | null = null;
  pending = false;
  fault = '';
  private signature = '';
  private sent = '';
  private timer = 0;
  private watching = false;
  private saving: Promise<void> | null = null;
  private request: AbortController | null = null;
  private numbers = new Map<string, number>();
  private readonly written = new WeakMap<ICellModel, Written>();
  private readonly connected = new Set<ICellModel>();

  constructor(
    readonly panel: NotebookPanel,
    readonly path: string,
    private readonly api: Api
  ) {
    super();
    void panel.context.ready.then(() => {
      if (!panel.isDisposed) {
        panel.content.model?.cells.changed.connect(this.onCells);
        this.onCells();
      }
    });
    panel.disposed.connect(() => this.dispose());
  }

  get title(): string {
    return this.path.split('/').at(-1) ?? this.path;
  }

  /** Have the server analyse the notebook now and whenever it changes; without it only tags are followed. */
  set active(active: boolean) {
    this.watching = active;
    if (active) {
      this.analyse(0);
    }
  }

  private get cells(): ICellModel[] {
    const model = this.panel.isDisposed ? null : this.panel.content.model;
    return model ? Array.from(model.cells) : [];
  }

  private readonly onCells = (): void => {
    const cells = this.cells;
    const present = new Set(cells);
    for (const cell of cells) {
      if (!this.connected.has(cell)) {
        this.connected.add(cell);
        cell.metadataChanged.connect(this.onMetadata);
        cell.contentChanged.connect(this.onContent);
      }
    }
    for (const cell of this.connected) {
      if (!present.has(cell)) {
        this.connected.delete(cell);
        cell.metadataChanged.disconnect(this.onMetadata);
        cell.contentChanged.disconnect(this.onContent);
      }
    }
    this.follow();
  };

  private readonly onMetadata = (): void => this.follow();

  private readonly onContent = (cell: ICellModel): void => {
    const before = this.written.get(cell);
    this.written.delete(cell);
    const now = this.read(cell);
    if (before?.magic !== now.magic || before.empty !== now.empty) {
      this.follow();
    } else {
      this.analyse();
    }
  };

  private read(cell: ICellModel): Written {
    let found = this.written.get(cell);
    if (!found) {
      const source = cell.sharedModel.getSource();
      const magic = source.includes('%%step') ? (MAGIC.exec(source)?.[1]?.trim() ?? null) : null;
      const empty = !source.split('\n').some(line => line.trim() && !line.trimStart().startsWith('#'));
      found = { magic, empty };
      this.written.set(cell, found);
    }
    return found;
  }

  /** Work out where the cells stand; tell only if that has changed. */
  private follow(): void {
    const cells = this.cells;
    this.numbers = new Map(cells.map((cell, index) => [cell.id, index + 1]));
    const tagged: CellTags[] = cells.map(cell => ({
      id: cell.id,
      code: cell.type === 'code',
      tags: tagsOf(cell),
      ...this.read(cell)
    }));
    const placed = place(tagged);
    const signature = placed.map(cell => `${cell.id} ${cell.step} ${cell.role} ${cell.own}`).join('\n');
    if (signature !== this.signature) {
      this.signature = signature;
      this.placed = placed;
      this.steps = taggedSteps(placed);
      this.changed();
    }
    this.analyse();
  }

  private analyse(pause: number = PAUSE): void {
    if (!this.watching) {
      return;
    }
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.ask(), pause);
  }

  private async ask(): Promise<void> {
    if (this.panel.isDisposed || !this.panel.content.model) {
      return;
    }
    const content = this.content();
    const text = JSON.stringify(content);
    if (text === this.sent && this.view) {
      return;
    }
    this.request?.abort();
    const request = (this.request = new AbortController());
    this.pending = true;
    try {
      const view = await this.api.pipeline({ path: this.path, content }, request.signal);
      if (request.signal.aborted) {
        return;
      }
      this.view = view;
      this.sent = text;
      this.fault = '';
    } catch (error) {
      if (request.signal.aborted) {
        return;
      }
      this.fault = reason(error);
      this.timer = window.setTimeout(() => void this.ask(), 5000);
    }
    this.pending = false;
    this.changed();
  }

  content(): Record<string, unknown> {
    const model = this.panel.content.model!;
    return {
      nbformat: 4,
      nbformat_minor: 5,
      metadata: model.sharedModel.getMetadata(),
      cells: this.cells.map(cell => {
        const options = cell.getMetadata('nbkube');
        const code = cell.type === 'code' ? { outputs: [], execution_count: null } : {};
        const metadata = { tags: cell.getMetadata('tags') ?? [], ...(options === undefined ? {} : { nbkube: options }) };
        return { cell_type: cell.type, id: cell.id, source: cell.sharedModel.getSource(), metadata, ...code };
      })
    };
  }

  numberOf(id: string): number {
    return this.numbers.get(id) ?? 0;
  }

  /** The model of a cell by its id. */
  cell(id: string): ICellModel | undefined {
    return this.cells.find(cell => cell.id === id);
  }

  // -- changes: each is one entry of the notebook's own undo --------------------------------------------------------

  /** Give cells a step or role; '' takes them out of both. */
  setStep(ids: readonly string[], value: string): void {
    const wanted = new Set(ids);
    this.change(() => {
      for (const cell of this.cells) {
        if (wanted.has(cell.id) && cell.type === 'code') {
          write(cell, retagged(tagsOf(cell), value));
        }
      }
    });
  }

  apply(tags: readonly ProposedTag[]): void {
    const wanted = new Map(tags.map(one => [one.id || this.cells[one.number - 1]?.id, one.tags]));
    this.change(() => {
      for (const cell of this.cells) {
        const found = wanted.get(cell.id);
        if (found) {
          write(cell, [...found]);
        }
      }
    });
  }

  rename(step: string, name: string): void {
    this.change(() => {
      for (const cell of this.cells) {
        const tags = tagsOf(cell).map(tag => {
          if (stepOf(tag) === step) {
            return `step:${name}`;
          }
          const before = /^prev:(.+)$/.exec(tag);
          return before && stepName(before[1]!) === step ? `prev:${name}` : tag;
        });
        write(cell, [...new Set(tags)]);
        const { magic } = this.read(cell);
        if (magic !== null && stepName(magic.split(/\s/)[0] ?? '') === step) {
          const source = cell.sharedModel.getSource();
          cell.sharedModel.setSource(source.replace(/%%step[ \t]+\S+/, `%%step ${name}`));
        }
      }
    });
  }

  options(step: string): { values: Record<string, unknown>; fixed: string } {
    const values: Record<string, unknown> = {};
    let fixed = '';
    for (const cell of this.cellsOf(step)) {
      Object.assign(values, optionsOf(cell));
      if (/\s--/.test(this.read(cell).magic ?? '')) {
        fixed = `Options stand in the line %%step of cell ${this.numberOf(cell.id)}; edit them there.`;
      }
    }
    return { values, fixed };
  }

  setOption(step: string, name: string, value: unknown): void {
    const cells = this.cellsOf(step);
    const holder = cells.find(cell => name in optionsOf(cell)) ?? cells[0];
    if (!holder) {
      return;
    }
    const { [name]: _, ...rest } = optionsOf(holder);
    const next = value === undefined ? rest : { ...rest, [name]: value };
    this.change(() => {
      if (Object.keys(next).length) {
        holder.sharedModel.setMetadata('nbkube', next as never);
      } else {
        holder.sharedModel.deleteMetadata('nbkube');
      }
    });
    this.analyse(0);
    this.changed();
  }

  private cellsOf(step: string): ICellModel[] {
    const ids = new Set(this.placed.filter(cell => cell.step === step).map(cell => cell.id));
    return this.cells.filter(cell => ids.has(cell.id));
  }

  private change(apply: () => void): void {
    // As a change of the notebook, not of single cells: "Undo Cell Operation" takes it back as a whole.
    this.panel.content.model?.sharedModel.transact(apply, true);
  }

  jump(cell: number | string, line?: number | null): void {
    const { content } = this.panel;
    const index = (typeof cell === 'string' ? this.numberOf(cell) : cell) - 1;
    const found = content.widgets[index];
    if (!found) {
      return;
    }
    content.deselectAll();
    content.activeCellIndex = index;
    void content.scrollToItem(index, 'smart');
    if (line) {
      void found.ready.then(() => found.editor?.setCursorPosition({ line: line - 1, column: 0 }));
    }
    content.activate();
  }

  async save(): Promise<void> {
    // One after the other: of two that overlap JupyterLab takes the first for somebody else's change of the file.
    await this.saving;
    if (this.panel.context.model.dirty) {
      this.saving = this.panel.context.save().finally(() => (this.saving = null));
      await this.saving;
    }
  }

  private dispose(): void {
    window.clearTimeout(this.timer);
    this.request?.abort();
    this.watching = false;
  }
}

function tagsOf(cell: ICellModel): string[] {
  const found: unknown = cell.getMetadata('tags');
  return Array.isArray(found) ? found.filter(tag => typeof tag === 'string') : [];
}

function optionsOf(cell: ICellModel): Record<string, unknown> {
  const found: unknown = cell.getMetadata('nbkube');
  return found !== null && typeof found === 'object' && !Array.isArray(found) ? { ...found } : {};
}

function write(cell: ICellModel, tags: string[]): void {
  if (tags.length) {
    cell.sharedModel.setMetadata('tags', tags);
  } else if (cell.getMetadata('tags') !== undefined) {
    cell.sharedModel.deleteMetadata('tags');
  }
}

/** All notebooks that are open, and the one that is in front. */
export class Notebooks extends Observable {
  current: OpenNotebook | null = null;
  private readonly open = new Map<NotebookPanel, OpenNotebook>();
  private visible = false;

  constructor(
    private readonly tracker: INotebookTracker,
    private readonly api: Api,
    private readonly localPath: (path: string) => string
  ) {
    super();
    tracker.widgetAdded.connect((_, panel) => this.of(panel));
    tracker.forEach(panel => this.of(panel));
    tracker.currentChanged.connect(() => this.follow());
    this.follow();
  }

  /** Whether somebody looks at the pipeline: then the notebook in front is analysed. */
  set watched(watched: boolean) {
    this.visible = watched;
    if (this.current) {
      this.current.active = watched;
    }
  }

  all(): readonly OpenNotebook[] {
    return [...this.open.values()];
  }

  /** The notebook of a panel. */
  of(panel: NotebookPanel): OpenNotebook {
    let found = this.open.get(panel);
    const path = this.localPath(panel.context.path);
    if (!found || found.path !== path) {
      found = new OpenNotebook(panel, path, this.api);
      this.open.set(panel, found);
      panel.disposed.connect(() => {
        this.open.delete(panel);
        this.changed();
      });
      panel.context.pathChanged.connect(() => this.follow());
      this.changed();
    }
    return found;
  }

  private follow(): void {
    const panel = this.tracker.currentWidget;
    const next = panel && !panel.isDisposed ? this.of(panel) : null;
    if (next !== this.current) {
      if (this.current) {
        this.current.active = false;
      }
      this.current = next;
      if (next) {
        next.active = this.visible;
      }
      this.changed();
    }
  }
}
