import { ReactWidget } from '@jupyterlab/ui-components';
import type { Message } from '@lumino/messaging';
import React from 'react';

import { reason } from './core/api';
import { Panel } from './core/panel';
import { pipelineIcon } from './icons';
import type { INbkube } from './tokens';

/** The panel as a widget of JupyterLab. While it is hidden nothing is analysed. */
export class NbkubePanel extends ReactWidget {
  constructor(
    private readonly nbkube: INbkube,
    private readonly runsOnly = false
  ) {
    super();
    this.id = runsOnly ? 'nbkube-runs-panel' : 'nbkube-panel';
    this.addClass('nbk-widget');
    this.title.icon = pipelineIcon;
    this.title.caption = 'nbkube: pipeline and runs';
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', 'nbkube');
    const end = nbkube.notebooks.subscribe(() => this.follow());
    this.disposed.connect(end);
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this.follow();
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    if (this.isVisible) {
      this.follow();
    }
  }

  protected override onBeforeHide(message: Message): void {
    super.onBeforeHide(message);
    if (!this.runsOnly) {
      this.nbkube.notebooks.watched = false;
    }
  }

  /** Show the notebook in front, and look at the runs of its project. */
  private follow(): void {
    if (!this.isVisible) {
      return;
    }
    const { notebooks, state, runs } = this.nbkube;
    if (!this.runsOnly) {
      notebooks.watched = true;
    }
    state.setNotebook(notebooks.current);
    const path = notebooks.current?.path;
    if (path === undefined && this.looked) {
      return;
    }
    if (!this.looked) {
      this.looked = true;
      void runs.refresh();
    }
    runs.look({ path: path ?? '' });
    this.nbkube.api.information(path ?? '').then(
      found => state.setInformation(found, ''),
      error => state.setInformation(null, reason(error))
    );
  }

  private looked = false;

  protected override render(): React.JSX.Element {
    const { api, state, runs, jump, again } = this.nbkube;
    return (
      <Panel
        api={api}
        state={state}
        runs={runs}
        runsOnly={this.runsOnly}
        onJump={(path, cell, line) => void jump(path, cell, line)}
        onAgain={(path, parameters) => void again(path, parameters)}
      />
    );
  }
}
