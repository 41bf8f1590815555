import {
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette, MainAreaWidget, Notification, WidgetTracker } from '@jupyterlab/apputils';
import { INotebookTracker, type NotebookPanel } from '@jupyterlab/notebook';
import { IRunningSessionManagers } from '@jupyterlab/running';
import { ISettingRegistry } from '@jupyterlab/settingregistry';

import { Chips } from './chips';
import { addTagCommands } from './commands';
import { Api } from './core/api';
import { hasEnded } from './core/format';
import { PanelState } from './core/panel';
import { RunsModel } from './core/runs';
import { editStep } from './editor';
import { pipelineIcon } from './icons';
import { Notebooks, type OpenNotebook } from './notebooks';
import { NbkubePanel } from './panel';
import { showRunning } from './running';
import { storage } from './storageplugin';
import { INbkube } from './tokens';
import { transport } from './transport';

const EVENTS = 'urn:nbkube:run';

/** What the other plugins share; does nothing by itself. */
const service: JupyterFrontEndPlugin<INbkube> = {
  id: 'nbkube:service',
  description: 'Follows open notebooks and the runs of their project.',
  autoStart: true,
  requires: [INotebookTracker],
  provides: INbkube,
  activate: (app: JupyterFrontEnd, tracker: INotebookTracker): INbkube => {
    const api = new Api(transport(app.serviceManager.serverSettings));
    const { contents } = app.serviceManager;
    const runs = new RunsModel(api);
    const state = new PanelState();
    const notebooks = new Notebooks(tracker, api, path => contents.localPath(path));
    const show = async (path: string): Promise<OpenNotebook> => {
      const known = notebooks.all().find(notebook => notebook.path === path && !notebook.panel.isDisposed)?.panel;
      const panel = known ?? ((await app.commands.execute('docmanager:open', { path })) as NotebookPanel);
      await panel.context.ready;
      await panel.revealed;
      app.shell.activateById(panel.id);
      return notebooks.of(panel);
    };
    app.serviceManager.events.stream.connect((_, event) => {
      if (event.schema_id === EVENTS && typeof event['run'] === 'string') {
        runs.moved(event['run']);
      }
    });
    return {
      api,
      runs,
      state,
      notebooks,
      again: async (path, parameters) => {
        state.setNotebook(await show(path));
        state.show({ kind: 'form', parameters });
        app.shell.activateById('nbkube-panel');
      },
      jump: async (path, cell, line) => (await show(path)).jump(cell, line)
    };
  }
};

/** Chips and commands that put cells into steps. */
const tags: JupyterFrontEndPlugin<void> = {
  id: 'nbkube:tags',
  description: 'Shows the step of each cell and changes it.',
  autoStart: true,
  requires: [INotebookTracker, INbkube],
  optional: [ICommandPalette, ISettingRegistry],
  activate: (
    app: JupyterFrontEnd,
    tracker: INotebookTracker,
    nbkube: INbkube,
    palette: ICommandPalette | null,
    settings: ISettingRegistry | null
  ) => {
    addTagCommands(app, tracker, nbkube.notebooks, palette);
    const chips = new Map<object, Chips>();
    let wanted = true;
    const follow = () => {
      const open = new Set<object>(wanted ? nbkube.notebooks.all() : []);
      for (const notebook of wanted ? nbkube.notebooks.all() : []) {
        if (!chips.has(notebook)) {
          chips.set(notebook, new Chips(notebook, nbkube.runs, (one, id, anchor) => editStep(one, idsFor(one, id), anchor)));
        }
      }
      for (const [notebook, drawn] of chips) {
        if (!open.has(notebook)) {
          drawn.dispose();
          chips.delete(notebook);
        }
      }
    };
    nbkube.notebooks.subscribe(follow);
    follow();
    void settings?.load(tags.id).then(found => {
      const read = () => {
        wanted = found.get('chips').composite !== false;
        follow();
      };
      found.changed.connect(read);
      read();
    });
  }
};

/** The cells that a click on one cell's chip is for: all that are selected, if that cell is among them. */
function idsFor(notebook: { readonly panel: NotebookPanel }, id: string): string[] {
  const { content } = notebook.panel;
  const picked = content.widgets.filter(cell => content.isSelected(cell) && cell.model.type === 'code').map(cell => cell.model.id);
  return picked.includes(id) ? picked : [id];
}

/** The panel in the side bar, and the same runs in the main area. */
const panel: JupyterFrontEndPlugin<void> = {
  id: 'nbkube:panel',
  description: 'Shows the pipeline of the open notebook, starts runs and watches them.',
  autoStart: true,
  requires: [INbkube],
  optional: [ICommandPalette, ILayoutRestorer],
  activate: (app: JupyterFrontEnd, nbkube: INbkube, palette: ICommandPalette | null, restorer: ILayoutRestorer | null) => {
    const widget = new NbkubePanel(nbkube);
    app.shell.add(widget, 'right', { rank: 800, type: 'nbkube' });
    restorer?.add(widget, widget.id);
    const open = () => app.shell.activateById(widget.id);
    const add = (id: string, label: string, caption: string, execute: () => unknown, isEnabled = () => true) => {
      app.commands.addCommand(id, { label, caption, isEnabled, execute, describedBy: { args: { type: 'object', properties: {} } } });
      palette?.addItem({ command: id, category: 'nbkube' });
    };
    add('nbkube:show-pipeline', 'Show Pipeline', 'Show the steps of this notebook and what flows between them', () => {
      nbkube.state.show({ kind: 'pipeline' });
      open();
    });
    add('nbkube:show-runs', 'Show Runs', 'Show the runs of this project', () => {
      nbkube.state.show({ kind: 'runs' });
      open();
    });
    const hasNotebook = () => nbkube.notebooks.current !== null;
    add(
      'nbkube:run-notebook',
      'Run Notebook as Pipeline…',
      'Choose parameters and run this notebook as a pipeline',
      () => {
        nbkube.state.show({ kind: 'form' });
        open();
      },
      hasNotebook
    );
    const tracker = new WidgetTracker<MainAreaWidget<NbkubePanel>>({ namespace: 'nbkube-runs' });
    add('nbkube:open-runs', 'Open Runs in a Tab', 'Show the runs of this project in the main area', () => {
      const known = tracker.currentWidget;
      if (known && !known.isDisposed) {
        app.shell.activateById(known.id);
        return;
      }
      const main = new MainAreaWidget({ content: new NbkubePanel(nbkube, true) });
      main.id = 'nbkube-runs';
      main.title.label = 'Runs';
      main.title.icon = pipelineIcon;
      app.shell.add(main, 'main');
      void tracker.add(main);
      app.shell.activateById(main.id);
    });
    if (restorer) {
      void restorer.restore(tracker, { command: 'nbkube:open-runs', name: () => 'runs' });
    }
    tellEnds(nbkube, () => widget.isVisible, run => {
      nbkube.state.show({ kind: 'run', run });
      open();
    });
  }
};

/** Say how a run that was seen going on has ended, to those who look elsewhere. */
function tellEnds(nbkube: INbkube, isWatched: () => boolean, show: (run: string) => void): void {
  const going = new Set<string>();
  nbkube.runs.subscribe(() => {
    for (const row of nbkube.runs.rows) {
      if (!hasEnded(row.phase)) {
        going.add(row.id);
      } else if (going.delete(row.id) && !isWatched()) {
        const type = row.phase === 'Succeeded' ? 'success' : row.phase === 'Failed' ? 'error' : 'info';
        const actions = [{ label: 'Show', callback: () => show(row.id) }];
        Notification.emit(`${row.name || row.notebook}: ${row.phase}`, type, { actions, autoClose: 10_000 });
      }
    }
  });
}

/** Runs in JupyterLab's own list of what is running. */
const running: JupyterFrontEndPlugin<void> = {
  id: 'nbkube:running',
  description: 'Lists runs among the running sessions.',
  autoStart: true,
  requires: [INbkube, IRunningSessionManagers],
  activate: (app: JupyterFrontEnd, nbkube: INbkube, managers: IRunningSessionManagers) => {
    showRunning(managers, nbkube.runs, run => {
      nbkube.state.show({ kind: 'run', run });
      app.shell.activateById('nbkube-panel');
    });
  }
};

export * from './tokens';
export default [service, tags, panel, running, storage];
