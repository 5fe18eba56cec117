// npm's eventsource-parser: reads a JSON list of streams (lists of chunks in base64) from stdin, prints what is in each.
const { readFileSync } = require("node:fs");
const { join } = require("node:path");
const { pathToFileURL } = require("node:url");

// A module that `require` does not take, in a folder where `import` does not look.
const folder = join(process.env.NODE_PATH, "eventsource-parser");
const { exports: entries } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));

(async () => {
  const { createParser } = await import(pathToFileURL(join(folder, entries["."].default)));
  const read = (chunks) => {
    const events = [];
    let id = "";
    let retry = null;
    const parser = createParser({
      onId: (value) => (id = value),
      onEvent: ({ event, data }) => events.push([event || "message", data, id]),
      onRetry: (value) => (retry = value),
    });
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true }); // it removes one by itself
    for (const chunk of chunks) parser.feed(decoder.decode(Buffer.from(chunk, "base64"), { stream: true }));
    return { events, id, retry };
  };
  console.log(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map(read)));
})();
