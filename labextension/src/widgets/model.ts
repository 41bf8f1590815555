import React from 'react';

/** The part of anywidget's model that is used here. */
export interface Model {
  get(name: string): unknown;
  set(name: string, value: unknown): void;
  save_changes(): void;
  on(event: string, listener: () => void): void;
  off(event: string, listener: () => void): void;
  send(content: unknown): void;
}

/** A trait of the widget, and what sets it; drawn anew whenever the kernel changes it. */
export function useModel<T>(model: Model, name: string): [T, (value: T) => void] {
  const [value, setValue] = React.useState(() => model.get(name) as T);
  React.useEffect(() => {
    const listen = () => setValue(model.get(name) as T);
    model.on(`change:${name}`, listen);
    listen();
    return () => model.off(`change:${name}`, listen);
  }, [model, name]);
  const set = (next: T) => {
    model.set(name, next);
    model.save_changes();
  };
  return [value, set];
}
