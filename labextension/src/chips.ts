import type { NotebookPanel } from '@jupyterlab/notebook';

import { clipped, hasEnded, SIGNS, type Phase } from './core/format';
import type { RunsModel } from './core/runs';
import { hues, type Placed } from './core/tags';
import type { OpenNotebook } from './notebooks';

const ROW = 'nbk-chip-row';
const HAS = 'nbk-has-chip';

/** A chip above each code cell that says which step it belongs to, and how that step does in a run. */
export class Chips {
  private frame = 0;
  private readonly ends: (() => void)[];
  /** The cells of each run by number as they were when the run was first seen. */
  private readonly cellsOf = new Map<string, readonly string[]>();
  private readonly drawn = new WeakMap<HTMLElement, string>();

  constructor(
    private readonly notebook: OpenNotebook,
    private readonly runs: RunsModel,
    private readonly edit: (notebook: OpenNotebook, id: string, anchor: HTMLElement) => void
  ) {
    const { panel } = notebook;
    this.ends = [notebook.subscribe(() => this.update()), runs.subscribe(() => this.update())];
    panel.content.modelContentChanged.connect(this.schedule);
    panel.disposed.connect(() => this.dispose());
    void panel.context.ready.then(() => this.schedule());
  }

  /** Take the chips away. */
  dispose(): void {
    this.ends.forEach(end => end());
    cancelAnimationFrame(this.frame);
    for (const cell of this.notebook.panel.isDisposed ? [] : this.notebook.panel.content.widgets) {
      remove(cell.node);
    }
  }

  private readonly schedule = (): void => {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.update();
    });
  };

  private update(): void {
    const { panel, placed, steps } = this.notebook;
    if (panel.isDisposed) {
      return;
    }
    const tagged = placed.some(cell => cell.own);
    const colours = hues(steps);
    const phases = this.phases(panel);
    const byId = new Map(placed.map(cell => [cell.id, cell]));
    for (const widget of panel.content.widgets) {
      const cell = byId.get(widget.model.id);
      const shown = tagged && cell && (cell.step || cell.role === 'skip');
      const phase = phases.get(widget.model.id);
      const hue = cell ? (colours.get(cell.step) ?? 0) : 0;
      const key = shown ? `${cell.step} ${cell.role} ${cell.own} ${hue} ${phase ?? ''}` : '';
      if ((this.drawn.get(widget.node) ?? '') === key) {
        continue;
      }
      this.drawn.set(widget.node, key);
      if (shown) {
        this.draw(widget.node, cell, hue, phase);
      } else {
        remove(widget.node);
      }
    }
  }

  private draw(node: HTMLElement, cell: Placed, hue: number, phase: Phase | undefined): void {
    let row = node.querySelector<HTMLElement>(`:scope > .${ROW}`);
    if (!row) {
      row = document.createElement('div');
      row.className = ROW;
      // At the end, where it is in no way of the cell's own parts; it is placed above them by style.
      node.appendChild(row);
      node.classList.add(HAS);
    }
    const chip = document.createElement('button');
    chip.type = 'button';
    chip.className = `nbk-chip nbk-hue-${hue}${cell.own ? '' : ' nbk-mod-joined'}`;
    const name = cell.role && cell.role !== 'skip' ? cell.role : cell.role === 'skip' ? 'skip' : cell.step;
    const dot = document.createElement('span');
    dot.className = 'nbk-dot';
    dot.setAttribute('aria-hidden', 'true');
    chip.append(dot, clipped(name, 40));
    const what = cell.role === 'skip' ? 'Left out of the pipeline' : cell.role ? `Tagged ${cell.role}` : `Step ${clipped(cell.step)}`;
    const how = cell.own || cell.role ? '' : ', with the cell above';
    chip.setAttribute('aria-label', `${what}${how}. Change`);
    chip.title = `${what}${how}`;
    chip.addEventListener('click', event => {
      event.stopPropagation();
      this.edit(this.notebook, cell.id, chip);
    });
    chip.addEventListener('mousedown', event => event.stopPropagation());
    row.replaceChildren(chip);
    if (phase) {
      const mark = document.createElement('span');
      mark.className = `nbk-phase nbk-phase-${phase}`;
      mark.setAttribute('role', 'img');
      mark.setAttribute('aria-label', phase);
      mark.title = phase;
      mark.textContent = SIGNS[phase];
      row.append(mark);
    }
  }

  /** The phase of each cell in the newest run, if that was started or goes on while this page is open. */
  private phases(panel: NotebookPanel): ReadonlyMap<string, Phase> {
    const found = new Map<string, Phase>();
    const latest = this.runs.latest(this.notebook.path);
    const detail = latest && this.runs.details.get(latest.id);
    if (!latest || !detail) {
      return found;
    }
    let ids = this.cellsOf.get(latest.id);
    if (!ids && !hasEnded(latest.phase)) {
      ids = panel.content.widgets.map(widget => widget.model.id);
      this.cellsOf.set(latest.id, ids);
    }
    for (const step of ids ? detail.steps : []) {
      const done = new Set(step.cells_done);
      for (const number of step.cells) {
        const id = ids![number - 1];
        const running = step.phase === 'Running';
        const phase = running && done.has(number) ? 'Succeeded' : running && step.cell !== number ? 'Pending' : step.phase;
        const failed = step.phase === 'Failed' && step.failure?.cell !== null && step.failure?.cell !== number;
        if (id) {
          found.set(id, failed ? (done.has(number) ? 'Succeeded' : 'Skipped') : phase);
        }
      }
    }
    return found;
  }
}

function remove(node: HTMLElement): void {
  node.querySelector(`:scope > .${ROW}`)?.remove();
  node.classList.remove(HAS);
}
