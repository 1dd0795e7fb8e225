import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

const backend = "http://localhost:3567";

export default defineConfig({
  plugins: [react()],
  // The Go program embeds what is built. The pre-built pages are most of it.
  build: { outDir: "../site/dist", emptyOutDir: true, chunkSizeWarningLimit: 1500 },
  // npm run dev, with the Go program running: pages are served here and everything else there. Both have paths below /auth.
  server: {
    proxy: {
      "/config.json": backend,
      "/api/": backend,
      "/auth": { target: backend, bypass: (request) => (request.headers.accept?.includes("text/html") ? "/index.html" : undefined) },
    },
  },
});
