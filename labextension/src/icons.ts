import { LabIcon } from '@jupyterlab/ui-components';

const PIPELINE = `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">
  <g class="jp-icon3" fill="#616161"><circle cx="12" cy="4" r="3"/><circle cx="5" cy="20" r="3"/><circle cx="19" cy="20" r="3"/>
  <path d="M11 6h2v4.2l5.6 6.3-1.5 1.3L12 12l-5.1 5.8-1.5-1.3L11 10.2z"/></g></svg>`;

const TAG = `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">
  <path class="jp-icon3" fill="#616161" d="M3 4h9l9 9-8 8-9-9zm2 2v5.2l7.9 7.9 5.2-5.2L10.2 6zm3.2 1.2a1.6 1.6 0 1 1 0 3.2 1.6 1.6 0 0 1 0-3.2z"/></svg>`;

export const pipelineIcon = new LabIcon({ name: 'nbkube:pipeline', svgstr: PIPELINE });
export const stepIcon = new LabIcon({ name: 'nbkube:step', svgstr: TAG });
