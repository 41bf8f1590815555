/**
 * The language of cell tags as far as the editor needs it: which step each cell belongs to. It follows
 * nbkube/notebook/tags.py and nbkube/pipeline/cells.py; what is wrong with tags is said by the server alone.
 */

/** What a tag makes of a cell, beside being part of a step. */
export const ROLES = ['imports', 'functions', 'parameters', 'pipeline-metrics', 'checks', 'skip'] as const;
export type Role = (typeof ROLES)[number];

/** What roles are for, for people. */
export const ROLE_HELP: Readonly<Record<Role, string>> = {
  imports: 'set-up: imports, for every step',
  functions: 'set-up: definitions, for every step',
  parameters: 'plain values that a run may change',
  'pipeline-metrics': 'its values are the metrics of a run',
  checks: 'a failing assertion stops the run here',
  skip: 'left out of the pipeline'
};

export interface CellTags {
  readonly id: string;
  readonly code: boolean;
  readonly empty: boolean;
  readonly tags: readonly string[];
  /** The text after `%%step`, if the cell opens with that line. */
  readonly magic: string | null;
}

/** Where a cell stands. */
export interface Placed {
  readonly id: string;
  /** The step's name; '' for a cell that takes no part. */
  readonly step: string;
  /** The role that its tags give it, if any. */
  readonly role: Role | '';
  /** Whether its own tags place it, rather than the cells above. */
  readonly own: boolean;
}

/** A step of a notebook as its tags alone tell. */
export interface TaggedStep {
  readonly name: string;
  readonly kind: 'setup' | 'step' | 'metrics' | 'checks';
  readonly cells: readonly string[];
}

const NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const ALIASES: Readonly<Record<string, Role>> = {
  'pipeline-parameters': 'parameters',
  'injected-parameters': 'parameters'
};

function roleOf(tag: string): Role | '' {
  const plain = tag.startsWith('block:') ? tag.slice(6) : tag;
  return (ROLES as readonly string[]).includes(plain) ? (plain as Role) : (ALIASES[plain] ?? '');
}

/** The name a text stands for: Kale's underscores are dashes. */
export function stepName(text: string): string {
  return text.includes('_') ? text.replace(/_/g, '-').replace(/^-+|-+$/g, '') : text;
}

/** The step that a tag names, or ''. */
export function stepOf(tag: string): string {
  const found = /^(?:step|block):(.+)$/.exec(tag);
  return found && !roleOf(tag) ? stepName(found[1]!) : '';
}

/** Whether a tag places a cell. */
export function isPlacing(tag: string): boolean {
  return roleOf(tag) !== '' || /^(step|block):/.test(tag);
}

/** What is wrong with a name for a step; '' if nothing is. */
export function nameFault(name: string): string {
  if (!name) {
    return 'Write a name, such as train.';
  }
  if ((ROLES as readonly string[]).includes(name) || name in ALIASES) {
    return `${name} is a tag of its own.`;
  }
  return NAME.test(name) ? '' : 'Use letters a-z, digits and dashes, at most 63.';
}

/** The nearest valid name to what was typed. */
export function slug(text: string): string {
  const plain = text.normalize('NFKD').replace(/[\u0300-\u036f]/g, '').toLowerCase();
  return plain
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 63)
    .replace(/^-+|-+$/g, '');
}

/** Tags of a cell after it has been given a step or role ('' takes it out of both); others stay. */
export function retagged(tags: readonly string[], value: string): string[] {
  const kept = tags.filter(tag => !isPlacing(tag));
  if (!value) {
    return kept;
  }
  return [(ROLES as readonly string[]).includes(value) ? value : `step:${value}`, ...kept];
}

/** Say for every cell where it stands, in notebook order. */
export function place(cells: readonly CellTags[]): Placed[] {
  let current = 'setup';
  return cells.map(cell => {
    const nowhere: Placed = { id: cell.id, step: '', role: '', own: false };
    if (!cell.code) {
      return nowhere;
    }
    const roles = cell.tags.map(roleOf).filter(role => role !== '');
    if (roles.includes('skip')) {
      return { ...nowhere, role: 'skip' as const, own: true };
    }
    const named = cell.magic !== null ? stepName(cell.magic.split(/\s/)[0] ?? '') : '';
    const step = named || cell.tags.map(stepOf).find(name => name !== '') || '';
    if (step) {
      current = step;
      return { id: cell.id, step, role: '' as const, own: true };
    }
    const role = roles[0];
    if (role) {
      const unit = role === 'pipeline-metrics' ? 'metrics' : role === 'checks' ? 'checks' : 'setup';
      return { id: cell.id, step: unit, role, own: true };
    }
    return cell.empty ? nowhere : { id: cell.id, step: current, role: '' as const, own: false };
  });
}

/** The steps that tags make, in notebook order. */
export function taggedSteps(placed: readonly Placed[]): TaggedStep[] {
  const steps = new Map<string, { kind: TaggedStep['kind']; cells: string[] }>();
  for (const cell of placed) {
    if (!cell.step) {
      continue;
    }
    const kind =
      cell.role === 'pipeline-metrics' ? 'metrics' : cell.role === 'checks' ? 'checks' : cell.step === 'setup' ? 'setup' : 'step';
    const known = steps.get(cell.step);
    if (known) {
      known.cells.push(cell.id);
    } else {
      steps.set(cell.step, { kind, cells: [cell.id] });
    }
  }
  return [...steps].map(([name, step]) => ({ name, ...step }));
}

/** How many colours steps are told apart by; the names tell them apart, too. */
export const HUES = 8;

/** The number of a step's colour (0 for set-up, checks and metrics): by its place among the steps. */
export function hues(steps: readonly { readonly name: string; readonly kind: string }[]): Map<string, number> {
  let next = 0;
  return new Map(steps.map(step => [step.name, step.kind === 'step' ? (next++ % HUES) + 1 : 0]));
}
