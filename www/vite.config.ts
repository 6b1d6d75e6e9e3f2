// How the dashboard is built: plain files for the Worker's static assets, nothing inlined, because
// the Content-Security-Policy allows scripts and styles from files of this origin only.
import { defineConfig } from 'vite';

export default defineConfig({
  build: {
    // Browsers of the last two years; older targets would rewrite light-dark() into something larger.
    target: 'es2023',
    cssTarget: ['chrome123', 'firefox120', 'safari17.5'],
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: {
    // `npm run dev` beside a running `cargo xtask dev`.
    proxy: { '/api': 'http://127.0.0.1:8787' },
  },
});
