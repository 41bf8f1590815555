import type { JupyterFrontEnd } from '@jupyterlab/application';
import { InputDialog, type ICommandPalette } from '@jupyterlab/apputils';
import type { INotebookTracker } from '@jupyterlab/notebook';

import { nameFault, ROLE_HELP, ROLES, slug, type Role } from './core/tags';
import { editStep } from './editor';
import { stepIcon } from './icons';
import type { Notebooks, OpenNotebook } from './notebooks';

namespace CommandIDs {
  export const setStep = 'nbkube:set-step';
  export const clearStep = 'nbkube:clear-step';
  export const renameStep = 'nbkube:rename-step';
  export const mergeStep = 'nbkube:merge-step';
  export const role = (role: Role) => `nbkube:tag-${role}`;
}

const CATEGORY = 'nbkube';

/** The cells that a command is for: those selected, or the active one. */
function selected(notebook: OpenNotebook): string[] {
  const { content } = notebook.panel;
  return content.widgets.filter(cell => content.isSelectedOrActive(cell) && cell.model.type === 'code').map(cell => cell.model.id);
}

/** Commands that tag cells, with or without the server. */
export function addTagCommands(
  app: JupyterFrontEnd,
  tracker: INotebookTracker,
  notebooks: Notebooks,
  palette: ICommandPalette | null
): void {
  const current = () => (tracker.currentWidget === app.shell.currentWidget || tracker.currentWidget ? notebooks.current : null);
  const isEnabled = () => tracker.currentWidget !== null;
  const isCode = () => tracker.activeCell?.model.type === 'code';
  const add = (id: string, label: string, caption: string, execute: (notebook: OpenNotebook, args: Args) => unknown) => {
    app.commands.addCommand(id, {
      label,
      caption,
      isEnabled,
      describedBy: { args: { type: 'object', properties: { name: { type: 'string', description: 'name of the step' } } } },
      execute: args => {
        const notebook = current();
        return notebook ? execute(notebook, args as Args) : undefined;
      }
    });
    palette?.addItem({ command: id, category: CATEGORY });
  };

  app.commands.addCommand(CommandIDs.setStep, {
    label: args => (args['toolbar'] ? '' : 'Set Step of Cells…'),
    caption: 'Set the step of the selected cells',
    icon: args => (args['toolbar'] ? stepIcon : undefined),
    isEnabled,
    isVisible: args => !args['toolbar'] || isCode(),
    describedBy: {
      args: {
        type: 'object',
        properties: {
          name: { type: 'string', description: 'name of the step, else one is asked for' },
          toolbar: { type: 'boolean', description: 'whether this is the button of a cell' }
        }
      }
    },
    execute: args => {
      const notebook = current();
      const ids = notebook ? selected(notebook) : [];
      if (!notebook || !ids.length) {
        return;
      }
      const name = args['name'];
      if (typeof name === 'string') {
        notebook.setStep(ids, nameFault(name) ? slug(name) : name);
        return;
      }
      const cell = notebook.panel.content.activeCell!;
      editStep(notebook, ids, cell.node.querySelector<HTMLElement>('.nbk-chip') ?? cell.inputArea?.node ?? cell.node);
    }
  });
  palette?.addItem({ command: CommandIDs.setStep, category: CATEGORY });

  add(CommandIDs.clearStep, 'Remove Step of Cells', 'Take the selected cells out of their step', notebook =>
    notebook.setStep(selected(notebook), '')
  );
  for (const role of ROLES) {
    add(CommandIDs.role(role), `Tag Cells: ${role}`, ROLE_HELP[role], notebook => notebook.setStep(selected(notebook), role));
  }
  add(CommandIDs.renameStep, 'Rename Step…', 'Rename the step of the active cell everywhere', async notebook => {
    const step = stepOfActive(notebook);
    if (!step) {
      return;
    }
    const answer = await InputDialog.getText({ title: `Rename step ${step}`, label: 'New name', text: step, okLabel: 'Rename' });
    const name = answer.button.accept && answer.value ? slug(answer.value) : '';
    if (name && !nameFault(name) && name !== step) {
      notebook.rename(step, name);
    }
  });
  add(CommandIDs.mergeStep, 'Merge Step…', 'Merge the step of the active cell into another one', async notebook => {
    const step = stepOfActive(notebook);
    const others = notebook.steps.filter(one => one.kind === 'step' && one.name !== step).map(one => one.name);
    if (!step || !others.length) {
      return;
    }
    const answer = await InputDialog.getItem({ title: `Merge step ${step} into`, items: others, okLabel: 'Merge' });
    if (answer.button.accept && answer.value) {
      notebook.rename(step, answer.value);
    }
  });
}

interface Args {
  readonly name?: string;
}

function stepOfActive(notebook: OpenNotebook): string {
  const id = notebook.panel.content.activeCell?.model.id;
  const step = notebook.placed.find(cell => cell.id === id)?.step ?? '';
  return notebook.steps.find(one => one.name === step)?.kind === 'step' ? step : '';
}
