import React from 'react';

import type { Api } from './api';
import { Note, useChanges } from './controls';
import type { NotebookSource } from './notebook';
import { Observable } from './observable';
import { Pipeline } from './pipeline';
import { Run } from './run';
import { RunForm } from './runform';
import { RunList } from './runlist';
import type { RunsModel } from './runs';
import type { Information } from './wire';

/** Loaded when it is first looked at. */
const Models = React.lazy(() => import('../serving'));

export type View =
  | { readonly kind: 'pipeline' | 'runs' | 'models' }
  | { readonly kind: 'form'; readonly parameters?: Readonly<Record<string, unknown>> }
  | { readonly kind: 'run'; readonly run: string };

/** What the panel shows; commands and menus change it, too. */
export class PanelState extends Observable {
  view: View = { kind: 'pipeline' };
  notebook: NotebookSource | null = null;
  information: Information | null = null;
  fault = '';

  show(view: View): void {
    this.view = view;
    this.changed();
  }

  setNotebook(notebook: NotebookSource | null): void {
    if (notebook !== this.notebook) {
      this.notebook = notebook;
      if (this.view.kind === 'form') {
        this.view = { kind: 'pipeline' };
      }
      this.changed();
    }
  }

  setInformation(information: Information | null, fault: string): void {
    this.information = information;
    this.fault = fault;
    this.changed();
  }
}

export interface PanelProps {
  readonly api: Api;
  readonly state: PanelState;
  readonly runs: RunsModel;
  /** Whether it stands alone: then it shows runs only. */
  readonly runsOnly?: boolean;
  onJump(path: string, cell: number | string, line: number | null): void;
  onAgain(path: string, parameters: Readonly<Record<string, unknown>>): void;
}

/** The panel: the pipeline of the open notebook, and the runs of its project. */
export function Panel(props: PanelProps): React.JSX.Element {
  const { state, api, runs } = props;
  useChanges(state);
  const { view, notebook } = state;
  const id = React.useId();
  const inRuns = props.runsOnly || view.kind === 'runs' || view.kind === 'run';
  const tabs: readonly ['pipeline' | 'runs' | 'models', string][] = [
    ['pipeline', 'Pipeline'],
    ['runs', 'Runs'],
    ['models', 'Models']
  ];
  const chosen = inRuns ? 'runs' : view.kind === 'models' ? 'models' : 'pipeline';
  const keys = (event: React.KeyboardEvent) => {
    if (event.key === 'ArrowLeft' || event.key === 'ArrowRight') {
      const step = event.key === 'ArrowRight' ? 1 : tabs.length - 1;
      const at = tabs.findIndex(([kind]) => kind === chosen);
      const next = tabs[(at + step) % tabs.length]![0];
      state.show({ kind: next });
      document.getElementById(`${id}-${next}`)?.focus();
    }
  };
  return (
    <div className="nbk-panel">
      {!props.runsOnly && (
        <div className="nbk-tabs" role="tablist" aria-label="nbkube">
          {tabs.map(([kind, title]) => (
            <button
              key={kind}
              id={`${id}-${kind}`}
              type="button"
              role="tab"
              aria-selected={chosen === kind}
              aria-controls={`${id}-panel`}
              tabIndex={chosen === kind ? 0 : -1}
              onClick={() => state.show({ kind })}
              onKeyDown={keys}
            >
              {title}
            </button>
          ))}
        </div>
      )}
      <div
        className="nbk-view"
        id={`${id}-panel`}
        role={props.runsOnly ? undefined : 'tabpanel'}
        aria-labelledby={props.runsOnly ? undefined : `${id}-${chosen}`}
      >
        {state.fault && <Note error>{state.fault}</Note>}
        {state.information?.fault && <Note error>{state.information.fault}</Note>}
        {view.kind === 'models' && !props.runsOnly ? (
          <React.Suspense fallback={<Note>Loading…</Note>}>
            <Models api={api} path={notebook?.path ?? ''} />
          </React.Suspense>
        ) : inRuns ? (
          view.kind === 'run' ? (
            <Run key={view.run} api={api} runs={runs} run={view.run} onJump={props.onJump} onAgain={props.onAgain} onBack={() => state.show({ kind: 'runs' })} />
          ) : (
            <RunList runs={runs} places={state.information?.places ?? []} onShow={run => state.show({ kind: 'run', run })} />
          )
        ) : !notebook ? (
          <Note>Open a notebook to see its pipeline.</Note>
        ) : view.kind === 'form' ? (
          <RunForm
            key={`${notebook.path} ${JSON.stringify(view.parameters ?? {})}`}
            api={api}
            notebook={notebook}
            runs={runs}
            information={state.information}
            parameters={view.parameters ?? {}}
            onStarted={run => state.show({ kind: 'run', run })}
            onCancel={() => state.show({ kind: 'pipeline' })}
          />
        ) : (
          <Pipeline
            key={notebook.path}
            api={api}
            notebook={notebook}
            runs={runs}
            schema={state.information?.option_schema ?? null}
            onRun={() => state.show({ kind: 'form' })}
            onShowRun={run => state.show({ kind: 'run', run })}
          />
        )}
      </div>
    </div>
  );
}
