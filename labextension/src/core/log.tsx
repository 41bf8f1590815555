import React from 'react';

import type { Api, At } from './api';
import { Button } from './controls';
import { counted } from './format';
import type { LogPiece } from './wire';

const LINE = 16;
const MOST = 200_000;

/** A log as lines, cheap to add to. */
export class LogLines {
  readonly lines: string[] = [''];
  dropped = 0;

  /** Add text; a carriage return writes over the line, as terminals do. */
  add(pieces: readonly LogPiece[]): void {
    for (const piece of pieces) {
      const parts = piece.text.split('\n');
      for (let index = 0; index < parts.length; index++) {
        if (index > 0) {
          this.lines.push('');
        }
        const part = parts[index]!.replace(/\r$/, '');
        const back = part.lastIndexOf('\r');
        const last = this.lines.length - 1;
        this.lines[last] = back >= 0 ? part.slice(back + 1) : this.lines[last] + part;
      }
    }
    if (this.lines.length > MOST + 10_000) {
      this.dropped += this.lines.length - MOST;
      this.lines.splice(0, this.lines.length - MOST);
    }
  }

  /** The number of lines, without an empty last one. */
  get count(): number {
    return this.lines.at(-1) === '' ? this.lines.length - 1 : this.lines.length;
  }
}

export interface LogProps {
  readonly api: Api;
  readonly run: string;
  readonly at: At;
  readonly step: string;
  /** Changes when the step has begun anew. */
  readonly attempt: number;
}

/** What a step shows, followed while it runs. Only the lines in sight are in the page. */
export function LogView(props: LogProps): React.JSX.Element {
  const [, draw] = React.useReducer((count: number) => count + 1, 0);
  const log = React.useRef(new LogLines());
  const box = React.useRef<HTMLDivElement>(null);
  const follow = React.useRef(true);
  const [state, setState] = React.useState<'reading' | 'ended' | string>('reading');
  const [search, setSearch] = React.useState('');
  const [found, setFound] = React.useState(0);
  const [top, setTop] = React.useState(0);

  React.useEffect(() => {
    log.current = new LogLines();
    setState('reading');
    follow.current = true;
    let frame = 0;
    const end = props.api.follow(props.run, props.at, props.step, {
      pieces: pieces => {
        setState('reading');
        log.current.add(pieces);
        frame ||= requestAnimationFrame(() => {
          frame = 0;
          draw();
        });
      },
      ended: () => setState('ended'),
      lost: why => setState(why)
    });
    draw();
    return () => {
      end();
      cancelAnimationFrame(frame);
    };
  }, [props.api, props.run, props.at, props.step, props.attempt]);

  React.useLayoutEffect(() => {
    if (box.current && follow.current) {
      box.current.scrollTop = box.current.scrollHeight;
    }
  });

  const { lines, count, dropped } = log.current;
  const needle = search.toLowerCase();
  const hits = React.useMemo(
    () => (needle ? lines.flatMap((line, index) => (line.toLowerCase().includes(needle) ? [index] : [])) : []),
    // The array is the same one while it grows: its length tells.
    [needle, lines, count]
  );
  const go = (step: number) => {
    if (!hits.length || !box.current) {
      return;
    }
    const next = (found + step + hits.length) % hits.length;
    setFound(next);
    follow.current = false;
    box.current.scrollTop = Math.max(0, hits[next]! * LINE - box.current.clientHeight / 2);
  };
  const height = box.current?.clientHeight ?? 240;
  const first = Math.max(0, Math.floor((follow.current ? count * LINE - height : top) / LINE) - 10);
  const shown = lines.slice(first, Math.min(count, first + Math.ceil(height / LINE) + 20));
  const ended = state === 'ended';
  const lost = !ended && state !== 'reading';
  return (
    <div className="nbk-log">
      <div className="nbk-bar-row">
        <input
          type="search"
          aria-label="Search the log"
          placeholder="Search the log"
          value={search}
          onChange={event => {
            setSearch(event.target.value);
            setFound(0);
          }}
          onKeyDown={event => event.key === 'Enter' && go(event.shiftKey ? -1 : 1)}
        />
        {needle && (
          <>
            <span className="nbk-hint" role="status">
              {hits.length ? `${found + 1} of ${hits.length}` : 'none'}
            </span>
            <Button small label="Previous match" onClick={() => go(-1)}>
              ↑
            </Button>
            <Button small label="Next match" onClick={() => go(1)}>
              ↓
            </Button>
          </>
        )}
        <Button
          small
          pressed={follow.current}
          label="Follow the end of the log"
          onClick={() => {
            follow.current = !follow.current;
            draw();
          }}
        >
          Follow
        </Button>
        <Button small label={`Download the log of ${props.step}`} onClick={() => download(`${props.run}-${props.step}.log`, lines)}>
          Download
        </Button>
      </div>
      <div
        ref={box}
        className="nbk-lines"
        role="log"
        aria-label={`Log of ${props.step}`}
        aria-live="off"
        tabIndex={0}
        onScroll={event => {
          const area = event.currentTarget;
          const atEnd = area.scrollHeight - area.scrollTop - area.clientHeight < LINE;
          if (follow.current !== atEnd && area.scrollHeight > area.clientHeight) {
            follow.current = atEnd;
          }
          setTop(area.scrollTop);
        }}
      >
        <div style={{ height: `${count * LINE}px`, position: 'relative' }}>
          <div style={{ transform: `translateY(${first * LINE}px)` }}>
            {shown.map((line, index) => (
              <div key={first + index} className={hits[found] === first + index ? 'nbk-log-line nbk-mod-found' : 'nbk-log-line'}>
                <Ansi text={line} />
              </div>
            ))}
          </div>
        </div>
      </div>
      <div className="nbk-hint" role="status">
        {lost && <b>{state} </b>}
        {count === 0 ? (lost ? '' : ended ? 'The step has shown nothing.' : 'Nothing shown yet…') : counted(count + dropped, 'line')}
        {ended || lost || count === 0 ? '' : ' …'}
        {dropped > 0 && `, the first ${dropped} are in the run's report`}
      </div>
    </div>
  );
}

function download(name: string, lines: readonly string[]): void {
  save(name, new Blob([lines.join('\n')], { type: 'text/plain' }));
}

/** Have the browser save a file. */
export function save(name: string, content: Blob): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

// Escape sequences of terminals: colours are kept, all else is left out.
// eslint-disable-next-line no-control-regex
const ESCAPES = /\x1b\[([0-9;]*)m|\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|.)|[\x00-\x08\x0b-\x1f]/g;

function Ansi(props: { readonly text: string }): React.JSX.Element {
  if (!/[\x00-\x1f]/.test(props.text)) {
    return <>{props.text || ' '}</>;
  }
  const spans: React.ReactNode[] = [];
  let kind = '';
  let at = 0;
  const take = (end: number) => {
    if (end > at) {
      spans.push(
        <span key={at} className={kind}>
          {props.text.slice(at, end)}
        </span>
      );
    }
  };
  for (const match of props.text.matchAll(ESCAPES)) {
    take(match.index);
    at = match.index + match[0].length;
    for (const code of (match[1] ?? '').split(';')) {
      const number = Number(code);
      if (match[1] !== undefined && (number === 0 || number === 39)) {
        kind = '';
      } else if ((number >= 30 && number <= 37) || (number >= 90 && number <= 97)) {
        kind = `nbk-ansi-${number % 10}`;
      }
    }
  }
  take(props.text.length);
  return <>{spans}</>;
}
