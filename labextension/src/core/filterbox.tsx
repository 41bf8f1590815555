import React from 'react';

const PAUSE = 200;

/** A box for the beginning of names. What is typed counts once no further key follows for a moment. */
export function FilterBox(props: { readonly prefix: string; onFilter(prefix: string): void }): React.JSX.Element {
  const { prefix, onFilter } = props;
  const timer = React.useRef(0);
  const [text, setText] = React.useState(prefix);
  React.useEffect(() => setText(prefix), [prefix]);
  const filter = (next: string) => {
    setText(next);
    window.clearTimeout(timer.current);
    timer.current = window.setTimeout(() => onFilter(next), PAUSE);
  };
  return (
    <input
      className="nbk-storage-filter"
      type="search"
      value={text}
      placeholder="Names that begin with…"
      aria-label="Show names that begin with"
      spellCheck={false}
      onChange={event => filter(event.target.value)}
      onKeyDown={event => event.key === 'Escape' && filter('')}
    />
  );
}
