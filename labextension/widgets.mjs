// The front end of the widgets as one module, which anywidget loads wherever a notebook is shown.
import { copyFileSync, mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { rspack } from '@rspack/core';

const target = fileURLToPath(new URL('../nbkube/widgets/static', import.meta.url));
mkdirSync(target, { recursive: true });
copyFileSync(new URL('style/base.css', import.meta.url), `${target}/widgets.css`);
const compiler = rspack({
  mode: 'production',
  devtool: false,
  context: fileURLToPath(new URL('.', import.meta.url)),
  entry: { widgets: './lib/widgets/index.js' },
  output: { path: target, filename: '[name].js', library: { type: 'module' }, module: true },
  experiments: { outputModule: true },
  performance: { hints: false }
});
compiler.run((error, stats) => {
  if (error || stats?.hasErrors()) {
    console.error(error ?? stats?.toString({ colors: false }));
    process.exit(1);
  }
  console.log(stats?.toString({ preset: 'summary' }));
});
