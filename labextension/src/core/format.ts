import type { RunSummary } from './wire';

export type Phase = RunSummary['phase'];

/** A sign for each phase, so that nothing is said by colour alone. */
export const SIGNS: Readonly<Record<Phase, string>> = {
  Pending: '·',
  Running: '▶',
  Paused: '‖',
  Succeeded: '✓',
  Cached: '=',
  Skipped: '–',
  Failed: '✗',
  Cancelled: '■',
  Unknown: '?'
};

/** Whether nothing more is to come. */
export function hasEnded(phase: Phase): boolean {
  return !['Pending', 'Running', 'Paused', 'Unknown'].includes(phase);
}

/** 0.4 s, 12 s, 3 min 5 s, 2 h 4 min. */
export function duration(seconds: number): string {
  if (seconds < 10) {
    return `${seconds.toFixed(1)} s`;
  }
  const whole = Math.round(seconds);
  if (whole < 60) {
    return `${whole} s`;
  }
  return whole < 3600
    ? `${Math.floor(whole / 60)} min ${whole % 60} s`
    : `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** 512 B, 1.5 KiB, 22 GiB. */
export function bytes(count: number): string {
  let value = count;
  for (const unit of ['B', 'KiB', 'MiB', 'GiB']) {
    if (value < 1024) {
      return `${unit === 'B' || value >= 10 ? Math.round(value) : value.toFixed(1)} ${unit}`;
    }
    value /= 1024;
  }
  return `${value >= 10 ? Math.round(value) : value.toFixed(1)} TiB`;
}

/** An amount of a resource as people write it. */
export function amount(resource: string, count: number): string {
  return /memory|storage/.test(resource) ? bytes(count) : String(Math.round(count * 10) / 10);
}

/** A memory request with room above what was used: 1.25 times, rounded up to a readable quantity. */
export function memoryRequest(peak: number): string {
  const wanted = Math.max(64, Math.ceil((peak * 1.25) / (1 << 20)));
  const step = wanted > 8192 ? 1024 : wanted > 1024 ? 256 : 64;
  const rounded = Math.ceil(wanted / step) * step;
  return rounded % 1024 ? `${rounded}Mi` : `${rounded / 1024}Gi`;
}

/** A CPU request after what was used on average, in tenths of a core. */
export function cpuRequest(cpuSeconds: number, seconds: number): string {
  const cores = seconds > 0 ? cpuSeconds / seconds : 0;
  return String(Math.max(0.1, Math.ceil(cores * 10) / 10));
}

/** A moment as people say it: the time today, else the date, too. */
export function moment(seconds: number, now: number = Date.now()): string {
  if (!seconds) {
    return '';
  }
  const when = new Date(seconds * 1000);
  const time = when.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  const today = when.toDateString() === new Date(now).toDateString();
  return today ? time : `${when.toLocaleDateString([], { month: 'short', day: 'numeric' })} ${time}`;
}

/** A value as short text. */
export function value(what: unknown): string {
  if (typeof what === 'number' && !Number.isInteger(what)) {
    return String(Number(what.toPrecision(6)));
  }
  return typeof what === 'string' ? what : (JSON.stringify(what) ?? '');
}

/** One or many. */
export function counted(count: number, one: string): string {
  return `${count} ${one}${count === 1 ? '' : 's'}`;
}

/** A name as far as anybody reads it. */
export function clipped(name: string, most: number = 80): string {
  return name.length > most ? `${name.slice(0, most - 1)}…` : name;
}
