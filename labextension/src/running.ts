import type { IRunningSessionManagers, IRunningSessions } from '@jupyterlab/running';
import { Signal } from '@lumino/signaling';

import { hasEnded } from './core/format';
import type { RunsModel } from './core/runs';
import type { RunSummary } from './core/wire';
import { pipelineIcon } from './icons';

/** Show runs that go on in JupyterLab's own list of what is running. */
export function showRunning(managers: IRunningSessionManagers, runs: RunsModel, show: (run: string) => void): void {
  const changed = new Signal<object, void>({});
  let before = '';
  runs.subscribe(() => {
    const now = going(runs)
      .map(row => `${row.id} ${row.phase} ${row.done}`)
      .join('\n');
    if (now !== before) {
      before = now;
      changed.emit();
    }
  });
  managers.add({
    name: 'Pipeline runs',
    running: () => going(runs).map(row => item(row, runs, show)),
    refreshRunning: () => void runs.refresh(),
    runningChanged: changed,
    shutdownAll: () => going(runs).forEach(row => void runs.act(row.id, 'stop')),
    shutdownLabel: 'Stop',
    shutdownAllLabel: 'Stop All',
    shutdownAllConfirmationText: 'Stop all runs? Finished steps are kept.'
  });
}

function going(runs: RunsModel): readonly RunSummary[] {
  return runs.rows.filter(row => !hasEnded(row.phase) && row.phase !== 'Unknown');
}

function item(row: RunSummary, runs: RunsModel, show: (run: string) => void): IRunningSessions.IRunningItem {
  return {
    icon: () => pipelineIcon,
    label: () => row.name || row.notebook,
    labelTitle: () => `Run ${row.id}: ${row.phase}`,
    detail: () => `${row.current || row.phase} ${row.done}/${row.total}`,
    open: () => show(row.id),
    shutdown: () => void runs.act(row.id, 'stop')
  };
}
