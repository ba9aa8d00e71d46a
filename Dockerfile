# syntax=docker/dockerfile:1
# Three stages: compile, gather what is needed at run time, and an image with nothing else in it: no shell, no package
# manager, no root. It expects Kafka, Redis, ClickHouse and a store; the embedded engine (543 MB) is left out.

ARG NODE_IMAGE=node:24.18.0-bookworm-slim
# Bare C and C++ libraries, 25 MB. It has no version tags: put a digest here where builds must repeat exactly.
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN --mount=type=cache,target=/root/.npm npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY scripts ./scripts
COPY src ./src
RUN node scripts/build.ts

FROM ${NODE_IMAGE} AS modules
WORKDIR /app
COPY package.json package-lock.json ./
# Native parts (sharp, lz4) come compiled, as packages for this platform: no install script has to run.
RUN --mount=type=cache,target=/root/.npm npm ci --omit=dev --ignore-scripts \
  && rm -rf node_modules/chdb node_modules/@chdb \
  && find node_modules -type f \( -name '*.md' -o -name '*.map' -o -name '*.d.ts' -o -name '*.d.mts' -o -name '*.d.cts' \) -delete

FROM ${RUNTIME_IMAGE}
WORKDIR /app
COPY --from=modules /usr/local/bin/node /usr/local/bin/node
COPY --from=modules /app/node_modules ./node_modules
COPY package.json ./
COPY --from=build /app/dist ./dist

# MALLOC_ARENA_MAX: glibc's default of 8 arenas a core fragments under image work; two save about 50 MB.
ENV NODE_ENV=production MALLOC_ARENA_MAX=2
USER nonroot
EXPOSE 9464
# Node is process 1 and handles SIGTERM itself: it drains. No shell or init stands in between.
ENTRYPOINT ["/usr/local/bin/node", "/app/dist/main.js"]
CMD ["run", "--config", "/etc/millrace/millrace.yaml"]
