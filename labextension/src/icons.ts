import { LabIcon } from '@jupyterlab/ui-components';

const PIPELINE = `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">
  <g class="jp-icon3" fill="#616161"><circle cx="12" cy="4" r="3"/><circle cx="5" cy="20" r="3"/><circle cx="19" cy="20" r="3"/>
  <path d="M11 6h2v4.2l5.6 6.3-1.5 1.3L12 12l-5.1 5.8-1.5-1.3L11 10.2z"/></g></svg>`;

const TAG = `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">
  <path class="jp-icon3" fill="#616161" d="M3 4h9l9 9-8 8-9-9zm2 2v5.2l7.9 7.9 5.2-5.2L10.2 6zm3.2 1.2a1.6 1.6 0 1 1 0 3.2 1.6 1.6 0 0 1 0-3.2z"/></svg>`;

const STORAGE = `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">
  <path class="jp-icon3" fill="#616161" fill-rule="evenodd" d="M12 2c5 0 9 1.6 9 3.6v12.8c0 2-4 3.6-9 3.6s-9-1.6-9-3.6V5.6C3 3.6 7 2 12 2zm7 6.7c-1.7.8-4.2 1.3-7 1.3s-5.3-.5-7-1.3V12c.4.6 3 1.6 7 1.6s6.6-1 7-1.6zm0 6.3c-1.7.8-4.2 1.3-7 1.3s-5.3-.5-7-1.3v3.4c.4.6 3 1.6 7 1.6s6.6-1 7-1.6zM12 4C8 4 5.4 5 5 5.6 5.4 6.2 8 7.2 12 7.2s6.6-1 7-1.6C18.6 5 16 4 12 4z"/></svg>`;

export const storageIcon = new LabIcon({ name: 'nbkube:storage', svgstr: STORAGE });
export const pipelineIcon = new LabIcon({ name: 'nbkube:pipeline', svgstr: PIPELINE });
export const stepIcon = new LabIcon({ name: 'nbkube:step', svgstr: TAG });
