import { Observable } from './observable';
import type { Placed, TaggedStep } from './tags';
import type { PipelineView, ProposedTag } from './wire';

/** An open notebook as the panel sees it; the editor implements it. Tells of every change. */
export abstract class NotebookSource extends Observable {
  /** Its path as the server names it. */
  abstract readonly path: string;
  abstract readonly title: string;
  /** The cells and steps as the tags in the editor tell them now. */
  abstract readonly placed: readonly Placed[];
  abstract readonly steps: readonly TaggedStep[];
  /** The server's analysis of what stands in the editor, and whether a newer one is on its way. */
  abstract readonly view: PipelineView | null;
  abstract readonly pending: boolean;
  /** Why there is no analysis; '' if there is one. */
  abstract readonly fault: string;

  /** The options written on a step's first cell; `fixed` says why they cannot be edited here, '' if they can. */
  abstract options(step: string): { readonly values: Readonly<Record<string, unknown>>; readonly fixed: string };
  /** Write an option (undefined takes it away). */
  abstract setOption(step: string, name: string, value: unknown): void;
  /** Give a step another name; the name of another step merges the two. */
  abstract rename(step: string, name: string): void;
  /** Write proposed tags. */
  abstract apply(tags: readonly ProposedTag[]): void;
  /** Show a cell: its number among all cells from 1, or its id. */
  abstract jump(cell: number | string, line?: number | null): void;
  /** The number of a cell from 1, 0 if it is gone. */
  abstract numberOf(id: string): number;
  /** Save it to its file. */
  abstract save(): Promise<void>;
  /** Its JSON without outputs. */
  abstract content(): Record<string, unknown>;
}
