import { Token } from '@lumino/coreutils';

import type { Api } from './core/api';
import type { PanelState } from './core/panel';
import type { RunsModel } from './core/runs';
import type { Notebooks } from './notebooks';

/** What the plugins of nbkube share. */
export interface INbkube {
  readonly api: Api;
  readonly runs: RunsModel;
  readonly state: PanelState;
  readonly notebooks: Notebooks;
  /** Have parameters chosen for another run of a notebook; its path as the server names it. */
  again(path: string, parameters: Readonly<Record<string, unknown>>): Promise<void>;
  /** Show a cell of a notebook, which is opened if need be. */
  jump(path: string, cell: number | string, line: number | null): Promise<void>;
}

/** Require this token to follow pipelines and runs of nbkube in another extension. */
export const INbkube = new Token<INbkube>('nbkube:INbkube', 'Pipelines of the open notebooks, and the runs of their project.');
