# syntax=docker/dockerfile:1
# What is needed at run time and nothing else: no shell, no package manager, no root. It expects Kafka, Redis, ClickHouse and a
# store; the embedded engine (568 MB) is left out. About 210 MB by the size of its parts: docs/guides/deploy.md.

ARG NODE_IMAGE=node:24.21.0-bookworm-slim
# Bare C and C++ libraries, 25 MB. It has no version tags: put a digest here where builds must repeat exactly.
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${NODE_IMAGE} AS packages
WORKDIR /app
COPY package.json package-lock.json ./
# Native parts (sharp, lz4) come compiled, as packages for this platform: no install script has to run.
RUN --mount=type=cache,target=/root/.npm npm ci --ignore-scripts

FROM packages AS build
COPY tsconfig.json tsconfig.build.json ./
COPY scripts ./scripts
COPY src ./src
RUN node scripts/build.ts

FROM packages AS runtime
# Beside Node and packages, jemalloc: glibc's malloc fragments under image work. Its folder is named after the machine.
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
  && apt-get install -y --no-install-recommends libjemalloc2 \
  && rm -rf /var/lib/apt/lists/* \
  && cp /usr/lib/*/libjemalloc.so.2 /usr/local/lib/
RUN npm prune --omit=dev --ignore-scripts \
  && rm -rf node_modules/chdb node_modules/@chdb \
  && find node_modules -type f \( -name '*.md' -o -name '*.map' -o -name '*.d.ts' -o -name '*.d.mts' -o -name '*.d.cts' \) -delete

FROM ${RUNTIME_IMAGE}
WORKDIR /app
COPY --from=runtime /usr/local/bin/node /usr/local/bin/node
COPY --from=runtime /usr/local/lib/libjemalloc.so.2 /usr/local/lib/
COPY --from=runtime /app/node_modules ./node_modules
COPY package.json ./
COPY --from=build /app/dist ./dist
# Where commands find their configuration without being told: `… exec … node /app/dist/main.js check`.
WORKDIR /etc/millrace

# MALLOC_ARENA_MAX: should somebody take jemalloc away, two of glibc's arenas fragment less than eight a core.
ENV NODE_ENV=production LD_PRELOAD=/usr/local/lib/libjemalloc.so.2 MALLOC_ARENA_MAX=2
# nonroot. A number, so that Kubernetes can see that it is not root.
USER 65532:65532
EXPOSE 9464 9480
# Node is process 1 and handles SIGTERM itself: it drains. No shell or init stands in between.
ENTRYPOINT ["/usr/local/bin/node", "/app/dist/main.js"]
CMD ["run", "--config", "/etc/millrace/millrace.yaml"]
