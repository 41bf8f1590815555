import { ReactWidget } from '@jupyterlab/ui-components';
import { Widget } from '@lumino/widgets';
import React from 'react';

import { hues, nameFault, ROLE_HELP, ROLES, slug } from './core/tags';
import type { OpenNotebook } from './notebooks';

interface Choice {
  readonly value: string;
  readonly text: string;
  readonly help: string;
  readonly hue: number;
}

/** Ask for the step of some cells, beside the place that was clicked. */
export function editStep(notebook: OpenNotebook, ids: readonly string[], anchor: HTMLElement): void {
  open?.dispose();
  open = new StepEditor(notebook, ids);
  Widget.attach(open, document.body);
  open.moveTo(anchor);
}

let open: StepEditor | null = null;

class StepEditor extends ReactWidget {
  constructor(
    private readonly notebook: OpenNotebook,
    private readonly ids: readonly string[]
  ) {
    super();
    this.addClass('nbk-editor');
  }

  /** Stand below an element, or above it where there is no room. */
  moveTo(anchor: HTMLElement): void {
    const at = anchor.getBoundingClientRect();
    const below = at.bottom + 320 < window.innerHeight;
    this.node.style.left = `${Math.max(4, Math.min(at.left, window.innerWidth - 284))}px`;
    this.node.style.top = below ? `${at.bottom + 4}px` : '';
    this.node.style.bottom = below ? '' : `${Math.max(4, window.innerHeight - at.top + 4)}px`;
  }

  override render(): React.JSX.Element {
    const close = () => {
      if (!this.isDisposed) {
        open = null;
        this.dispose();
        this.notebook.panel.content.activate();
      }
    };
    return (
      <Choices
        notebook={this.notebook}
        ids={this.ids}
        onClose={close}
        onChoose={value => {
          this.notebook.setStep(this.ids, value);
          close();
        }}
      />
    );
  }
}

function choicesFor(notebook: OpenNotebook, text: string, tagged: boolean): Choice[] {
  const colours = hues(notebook.steps);
  const wanted = text.trim().toLowerCase();
  const fits = (name: string) => name.includes(wanted);
  const steps = notebook.steps.filter(step => step.kind === 'step').map(step => step.name);
  const found: Choice[] = steps.filter(fits).map(name => ({ value: name, text: name, help: 'step', hue: colours.get(name) ?? 0 }));
  const name = nameFault(wanted) ? slug(wanted) : wanted;
  if (name && !nameFault(name) && !steps.includes(name)) {
    found.unshift({ value: name, text: name, help: 'new step', hue: 0 });
  }
  found.push(...ROLES.filter(fits).map(role => ({ value: role, text: role, help: ROLE_HELP[role], hue: 0 })));
  if (tagged && !wanted) {
    found.push({ value: '', text: 'no tag', help: 'goes with the cell above', hue: 0 });
  }
  return found;
}

function Choices(props: {
  readonly notebook: OpenNotebook;
  readonly ids: readonly string[];
  onChoose(value: string): void;
  onClose(): void;
}): React.JSX.Element {
  const { notebook, ids } = props;
  const [text, setText] = React.useState('');
  const [at, setAt] = React.useState(0);
  const input = React.useRef<HTMLInputElement>(null);
  const id = React.useId();
  React.useEffect(() => input.current?.focus(), []);
  const tagged = notebook.placed.some(cell => ids.includes(cell.id) && cell.own);
  const choices = choicesFor(notebook, text, tagged);
  const chosen = choices[Math.min(at, choices.length - 1)];
  const many = ids.length > 1 ? ` of ${ids.length} cells` : '';
  const keys = (event: React.KeyboardEvent) => {
    const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (move) {
      setAt((Math.min(at, choices.length - 1) + move + choices.length) % choices.length);
    } else if (event.key === 'Enter' && chosen) {
      props.onChoose(chosen.value);
    } else if (event.key === 'Escape' || event.key === 'Tab') {
      props.onClose();
    } else {
      event.stopPropagation();
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <div
      role="dialog"
      aria-label={`Step${many}`}
      onBlur={event => !event.currentTarget.contains(event.relatedTarget) && props.onClose()}
    >
      <input
        ref={input}
        type="text"
        role="combobox"
        aria-label={`Step${many}`}
        aria-expanded="true"
        aria-controls={`${id}-list`}
        aria-activedescendant={chosen ? `${id}-${choices.indexOf(chosen)}` : undefined}
        aria-autocomplete="list"
        placeholder="Type a step, or choose"
        spellCheck={false}
        value={text}
        onChange={event => {
          setText(event.target.value);
          setAt(0);
        }}
        onKeyDown={keys}
      />
      <ul id={`${id}-list`} role="listbox" aria-label="Steps and roles">
        {choices.map((choice, index) => (
          <li
            key={choice.value}
            id={`${id}-${index}`}
            role="option"
            aria-selected={choice === chosen}
            className={`nbk-hue-${choice.hue}`}
            onMouseDown={event => {
              event.preventDefault();
              props.onChoose(choice.value);
            }}
            onMouseEnter={() => setAt(index)}
          >
            <span className="nbk-dot" aria-hidden="true" />
            <span className="nbk-name">{choice.text}</span>
            <span className="nbk-hint">{choice.help}</span>
          </li>
        ))}
        {!choices.length && <li className="nbk-hint">{nameFault(text)}</li>}
      </ul>
    </div>
  );
}
