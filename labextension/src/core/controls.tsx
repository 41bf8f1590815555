import React from 'react';

import type { Observable } from './observable';
import { amount, type Phase, SIGNS } from './format';
import type { Problem } from './wire';

/** Draw anew whenever one of the models changes. */
export function useChanges(...models: readonly (Observable | null | undefined)[]): void {
  const [, draw] = React.useReducer((count: number) => count + 1, 0);
  React.useEffect(() => {
    const ends = models.map(model => model?.subscribe(draw));
    return () => ends.forEach(end => end?.());
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, models);
}

/** A button; `primary` for the one thing to do next. */
export function Button(props: {
  readonly children: React.ReactNode;
  readonly label?: string;
  readonly primary?: boolean;
  readonly small?: boolean;
  readonly danger?: boolean;
  readonly disabled?: boolean;
  readonly pressed?: boolean;
  onClick(event: React.MouseEvent): void;
}): React.JSX.Element {
  const kind = [props.primary && 'nbk-mod-primary', props.small && 'nbk-mod-small', props.danger && 'nbk-mod-danger'];
  return (
    <button
      type="button"
      className={['nbk-button', ...kind].filter(Boolean).join(' ')}
      aria-label={props.label}
      title={props.label}
      aria-pressed={props.pressed}
      disabled={props.disabled}
      onClick={props.onClick}
    >
      {props.children}
    </button>
  );
}

/** A part of the panel with a heading that folds it. */
export function Section(props: {
  readonly title: string;
  readonly extra?: React.ReactNode;
  readonly closed?: boolean;
  readonly children: React.ReactNode;
}): React.JSX.Element {
  const [open, setOpen] = React.useState(!props.closed);
  const id = React.useId();
  return (
    <section className="nbk-section" aria-labelledby={id}>
      <h3 className="nbk-section-head">
        <button type="button" id={id} className="nbk-fold" aria-expanded={open} onClick={() => setOpen(!open)}>
          <span className="nbk-caret" aria-hidden="true">
            {open ? '▾' : '▸'}
          </span>
          {props.title}
        </button>
        {props.extra}
      </h3>
      {open && <div className="nbk-section-body">{props.children}</div>}
    </section>
  );
}

/** A phase as sign and word. */
export function PhaseMark(props: { readonly phase: Phase; readonly bare?: boolean }): React.JSX.Element {
  return (
    <span className={`nbk-phase nbk-phase-${props.phase}`} title={props.phase}>
      <span aria-hidden={!props.bare} role={props.bare ? 'img' : undefined} aria-label={props.bare ? props.phase : undefined}>
        {SIGNS[props.phase]}
      </span>
      {props.bare ? '' : ` ${props.phase}`}
    </span>
  );
}

/** A message where something else would be. */
export function Note(props: { readonly children: React.ReactNode; readonly error?: boolean }): React.JSX.Element {
  return (
    <div className={props.error ? 'nbk-note nbk-mod-error' : 'nbk-note'} role={props.error ? 'alert' : 'status'}>
      {props.children}
    </div>
  );
}

const KINDS = { error: ['✗', 'Error'], warning: ['!', 'Warning'], info: ['i', 'Note'] } as const;

/** Findings about a notebook; a click goes to the cell. */
export function Problems(props: {
  readonly problems: readonly Problem[];
  jump(cell: number | string, line: number | null): void;
}): React.JSX.Element {
  return (
    <ul className="nbk-problems">
      {props.problems.slice(0, 100).map((one, index) => {
        const [sign, word] = KINDS[one.severity];
        const text = (
          <>
            <span className={`nbk-sign nbk-mod-${one.severity}`} role="img" aria-label={word}>
              {sign}
            </span>
            <span>
              {one.cell !== null && <b>Cell {one.cell}: </b>}
              {one.message}
              {one.hint && <span className="nbk-hint"> Fix: {one.hint}</span>}
            </span>
          </>
        );
        return (
          <li key={index}>
            {one.cell === null ? (
              <div className="nbk-problem">{text}</div>
            ) : (
              <button type="button" className="nbk-problem" onClick={() => props.jump(one.cell_id || one.cell!, one.line)}>
                {text}
              </button>
            )}
          </li>
        );
      })}
      {props.problems.length > 100 && <li className="nbk-hint">and {props.problems.length - 100} more</li>}
    </ul>
  );
}

/** A text field that gives its value when one leaves it or presses Enter. */
export function Field(props: {
  readonly label: string;
  readonly text: string;
  readonly help?: string;
  readonly placeholder?: string;
  readonly fault?: string;
  readonly disabled?: boolean;
  readonly extra?: React.ReactNode;
  onCommit(text: string): void;
}): React.JSX.Element {
  const [text, setText] = React.useState(props.text);
  const id = React.useId();
  React.useEffect(() => setText(props.text), [props.text]);
  const commit = () => {
    if (text !== props.text) {
      props.onCommit(text);
    }
  };
  return (
    <div className="nbk-field">
      <label htmlFor={id}>{props.label}</label>
      <input
        id={id}
        type="text"
        value={text}
        placeholder={props.placeholder}
        title={props.help}
        disabled={props.disabled}
        spellCheck={false}
        autoComplete="off"
        aria-invalid={props.fault ? true : undefined}
        aria-describedby={props.fault ? `${id}-fault` : undefined}
        onChange={event => setText(event.target.value)}
        onBlur={commit}
        onKeyDown={event => {
          if (event.key === 'Enter') {
            commit();
          } else if (event.key === 'Escape') {
            setText(props.text);
          }
        }}
      />
      {props.extra}
      {props.fault && (
        <div className="nbk-fault" id={`${id}-fault`}>
          {props.fault}
        </div>
      )}
    </div>
  );
}

/** A share of something as a bar with words; null where what is free is not visible. */
export function Meter(props: {
  readonly name: string;
  readonly label?: string;
  readonly free: number | null;
  readonly total: number;
}): React.JSX.Element {
  const { name, free, total } = props;
  const used = free !== null && total > 0 ? 1 - free / total : 0;
  return (
    <div className="nbk-meter">
      <span>{props.label ?? (name === 'cpu' ? 'CPUs' : name)}</span>
      <span className="nbk-track" aria-hidden="true">
        <span style={{ width: `${Math.round(Math.min(1, Math.max(0, used)) * 100)}%` }} />
      </span>
      <span>{free === null ? amount(name, total) : `${amount(name, free)} of ${amount(name, total)} free`}</span>
    </div>
  );
}
