import React from 'react';
import { createRoot } from 'react-dom/client';

import { GraphView } from './graph';
import { useModel, type Model } from './model';
import { RunView } from './run';
import { StorageView } from './storage';

const VIEWS = { graph: GraphView, run: RunView, storage: StorageView } as const;

function Widget(props: { readonly model: Model }): React.JSX.Element {
  const kind = useModel<keyof typeof VIEWS>(props.model, 'kind')[0];
  const View = VIEWS[kind];
  return View ? <View model={props.model} /> : <pre>{String(props.model.get('text'))}</pre>;
}

/** The front end of all widgets, as anywidget calls it. */
export default {
  render({ model, el }: { readonly model: Model; readonly el: HTMLElement }): () => void {
    el.classList.add('nbk-widget', 'nbk-in-cell');
    const root = createRoot(el);
    root.render(<Widget model={model} />);
    return () => root.unmount();
  }
};
