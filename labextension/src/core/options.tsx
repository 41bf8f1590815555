import React from 'react';

import { amount, bytes, cpuRequest, duration, memoryRequest } from './format';
import { Button, Field } from './controls';
import type { Capacity, StepRunView } from './wire';

interface OptionSchema {
  readonly type?: string | readonly string[];
  readonly enum?: readonly string[];
  readonly pattern?: string;
  readonly minimum?: number;
  readonly description?: string;
}

export interface OptionsProps {
  readonly schema: Readonly<Record<string, unknown>>;
  readonly values: Readonly<Record<string, unknown>>;
  readonly fixed: string;
  readonly capacity: Capacity | null;
  /** What the step used in its last run. */
  readonly used: StepRunView | null;
  onChange(name: string, value: unknown): void;
}

const FIRST = ['cpu', 'memory', 'gpu'];
const NEXT = ['retries', 'timeout', 'cache'];

/** The options of a step, from the one JSON Schema. */
export function Options(props: OptionsProps): React.JSX.Element {
  const known = (props.schema['properties'] ?? {}) as Readonly<Record<string, OptionSchema>>;
  const rest = Object.keys(known).filter(name => !FIRST.includes(name) && !NEXT.includes(name));
  const set = rest.filter(name => name in props.values);
  const field = (name: string) =>
    known[name] && <Option key={name} {...props} name={name} form={known[name]} extra={<Beside name={name} {...props} />} />;
  return (
    <div className="nbk-options">
      {props.fixed && <p className="nbk-hint">{props.fixed}</p>}
      {FIRST.map(field)}
      {NEXT.map(field)}
      {set.map(field)}
      <details>
        <summary>More options</summary>
        {rest.filter(name => !set.includes(name)).map(field)}
      </details>
    </div>
  );
}

/** What is free, and what was used with a click to ask for it. */
function Beside(props: OptionsProps & { readonly name: string }): React.JSX.Element | null {
  const { capacity, used, name } = props;
  const parts: React.ReactNode[] = [];
  const resources = name === 'gpu' ? Object.keys(capacity?.total ?? {}).filter(one => one.includes('/')) : [name];
  for (const one of capacity ? resources : []) {
    const [free, total] = [capacity!.free[one], capacity!.total[one]];
    if (total !== undefined) {
      const word = name === 'gpu' ? ` ${one}` : '';
      parts.push(free === undefined ? `${amount(one, total)}${word} in all` : `${amount(one, free)} of ${amount(one, total)}${word} free`);
    }
  }
  if (capacity && name === 'gpu' && !parts.length) {
    parts.push('none here');
  }
  const take = (wanted: string, text: string) =>
    props.values[name] === wanted || props.fixed ? (
      text
    ) : (
      <>
        {text}{' '}
        <Button small label={`Ask for ${wanted} of ${name}`} onClick={() => props.onChange(name, wanted)}>
          take {wanted}
        </Button>
      </>
    );
  if (used && used.peak_memory > 0 && name === 'memory') {
    parts.push(take(memoryRequest(used.peak_memory), `used ${bytes(used.peak_memory)}`));
  } else if (used && used.cpu_seconds > 0 && used.seconds > 0 && name === 'cpu') {
    parts.push(take(cpuRequest(used.cpu_seconds, used.seconds), `used ${duration(used.cpu_seconds)} in ${duration(used.seconds)}`));
  }
  if (!parts.length) {
    return null;
  }
  return (
    <span className="nbk-beside">
      {parts.map((part, index) => (
        <React.Fragment key={index}>
          {index > 0 && ' · '}
          {part}
        </React.Fragment>
      ))}
    </span>
  );
}

function Option(
  props: OptionsProps & { readonly name: string; readonly form: OptionSchema; readonly extra: React.ReactNode }
): React.JSX.Element {
  const { name, form: schema } = props;
  const [fault, setFault] = React.useState('');
  const id = React.useId();
  const present = props.values[name];
  if (schema.type === 'boolean') {
    const byDefault = name === 'cache';
    return (
      <div className="nbk-field nbk-mod-check">
        <input
          id={id}
          type="checkbox"
          checked={typeof present === 'boolean' ? present : byDefault}
          disabled={props.fixed !== ''}
          onChange={event => props.onChange(name, event.target.checked === byDefault ? undefined : event.target.checked)}
        />
        <label htmlFor={id} title={schema.description}>
          {name}
        </label>
      </div>
    );
  }
  if (schema.enum) {
    return (
      <div className="nbk-field">
        <label htmlFor={id}>{name}</label>
        <select
          id={id}
          value={String(present ?? '')}
          disabled={props.fixed !== ''}
          onChange={event => props.onChange(name, event.target.value || undefined)}
        >
          <option value="">none</option>
          {schema.enum.map(one => (
            <option key={one}>{one}</option>
          ))}
        </select>
      </div>
    );
  }
  const commit = (text: string) => {
    const found = read(schema, text.trim());
    setFault(found.fault);
    if (!found.fault) {
      props.onChange(name, found.value);
    }
  };
  return (
    <Field
      label={name}
      text={written(present)}
      help={schema.description}
      placeholder={schema.description?.split('Written as ')[1] ?? ''}
      fault={fault}
      disabled={props.fixed !== ''}
      extra={props.extra}
      onCommit={commit}
    />
  );
}

/** What was typed, as JSON that the schema allows. */
export function read(schema: OptionSchema, text: string): { readonly value: unknown; readonly fault: string } {
  if (!text) {
    return { value: undefined, fault: '' };
  }
  if (schema.type === 'integer') {
    return /^\d+$/.test(text) ? { value: Number(text), fault: '' } : { value: undefined, fault: 'Write a whole number.' };
  }
  if (schema.pattern && !new RegExp(schema.pattern).test(text)) {
    return { value: undefined, fault: 'Write a quantity such as 2, 500m, 4Gi.' };
  }
  const list = !schema.type && text.includes(', ') ? text.split(/,\s+/) : text;
  return { value: list, fault: '' };
}

function written(value: unknown): string {
  if (value === undefined || value === null) {
    return '';
  }
  if (Array.isArray(value)) {
    return value.map(written).join(', ');
  }
  if (typeof value === 'object') {
    return Object.entries(value as Record<string, unknown>)
      .map(([name, one]) => `${name}=${written(one)}`)
      .join(', ');
  }
  return String(value);
}
