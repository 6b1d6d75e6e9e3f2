// Starts the dashboard.
import { render } from 'preact';
import { App } from './components/App.tsx';
import { openSession } from './state/session.ts';
import { applyTheme, readTheme } from './state/theme.ts';
import './styles/index.css';

applyTheme(readTheme());
openSession();
const root = document.getElementById('app');
if (root) render(<App />, root);
